//! `mega-pipeline bench stages`: what the stages cost on this machine.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::picture::{Bar, picture};
use crate::engine::{Cancel, Control, gpu};
use crate::error::AppError;
use crate::settings::Settings;
use crate::stage::{self, Artifacts, Stage, StageContext, StageKind, Timing};

/// Arguments of `bench stages`.
#[derive(Debug, Args)]
pub struct StagesArgs {
    /// The recording
    #[arg(default_value = "samples/prompt.flac")]
    input: PathBuf,
    /// Language to translate to
    #[arg(long, value_name = "TAG")]
    target: Option<String>,
    /// Measured runs, after one run that warms up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a picture of the stages' times here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Every stage a fast stub: what everything but the models costs
    #[arg(long)]
    stub: bool,
}

/// One row of the table: the median of the measured runs.
#[derive(Debug, Serialize)]
struct Row {
    stage: StageKind,
    model: String,
    device: String,
    load_s: f64,
    first_run_s: f64,
    median_run_s: f64,
    real_time_factor: Option<f64>,
    units_per_s: Option<f64>,
    unit: Option<String>,
    /// Most memory the whole process has held so far.
    peak_mb: Option<u64>,
    /// Most memory that was taken on the GPU, by whoever, while the stage was loaded and ran.
    gpu_peak_mb: Option<u64>,
}

/// Runs the benchmark.
///
/// # Errors
/// When a stage fails.
pub fn run(args: &StagesArgs, settings: &Settings) -> Result<(), AppError> {
    let mut options = settings.defaults.clone();
    if let Some(target) = &args.target {
        options.target.clone_from(target);
    }
    let stages = super::super::stages(args.stub, settings)?;
    let mut inputs = Artifacts { prompt: args.input.clone(), ..Artifacts::default() };
    let memory = settings.hardware.gpu.and_then(gpu::Memory::of);
    let mut rows = Vec::new();
    for mut stage in stages {
        let (row, gpu_peak) =
            watched(memory.as_ref(), || measure(stage.as_mut(), &mut inputs, &options, args.runs));
        rows.push(Row { gpu_peak_mb: gpu_peak.map(|bytes| bytes / 1_000_000), ..row? });
    }
    if args.json {
        let json = serde_json::to_string_pretty(&rows)
            .map_err(|error| AppError::Other(error.to_string()))?;
        println!("{json}");
    } else {
        print_table(&rows, settings, args.runs);
    }
    super::write(args.svg.as_deref(), || {
        let bar = |name: &str, of: fn(&Row) -> f64| {
            let parts: Vec<f64> = rows.iter().map(of).collect();
            Bar { name: name.to_owned(), all: parts.iter().sum(), parts }
        };
        let bars = [bar("first", |row| row.first_run_s), bar("warm", |row| row.median_run_s)];
        Ok(picture(&bars, rows.iter().map(|row| row.stage.as_str())))
    })
}

/// What `work` returns, and the most bytes that were taken on the GPU meanwhile.
fn watched<T>(gpu: Option<&gpu::Memory>, work: impl FnOnce() -> T) -> (T, Option<u64>) {
    const PAUSE: Duration = Duration::from_millis(20);
    let Some(gpu) = gpu else { return (work(), None) };
    std::thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        let watcher = scope.spawn(move || {
            let mut peak = gpu.taken();
            while waiting.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(gpu.taken());
            }
            peak
        });
        let made = work();
        drop(done);
        (made, watcher.join().ok().flatten())
    })
}

fn measure(
    stage: &mut dyn Stage,
    inputs: &mut Artifacts,
    options: &stage::JobOptions,
    runs: u32,
) -> Result<Row, AppError> {
    let kind = stage.kind();
    let failed = |error| AppError::Stage { stage: kind, error };
    let loading = std::time::Instant::now();
    stage.load().map_err(failed)?;
    let load_s = loading.elapsed().as_secs_f64();
    let cancel = Cancel::default();
    let context = StageContext { options, control: Control { cancel: &cancel, progress: &|_| {} } };
    let first = stage.run(inputs, &context).map_err(failed)?;
    let mut timings = Vec::with_capacity(runs as usize);
    for _ in 0..runs {
        timings.push(stage.run(inputs, &context).map_err(failed)?.timing);
    }
    timings.sort_by_key(|timing| timing.run_ms);
    let median = timings[timings.len() / 2].clone();
    inputs.accept(kind, first.artifact);
    Ok(row(kind, load_s, &first.timing, median))
}

fn row(stage: StageKind, load_s: f64, first: &Timing, median: Timing) -> Row {
    let median_run_s = median.run_ms as f64 / 1000.0;
    Row {
        stage,
        load_s,
        first_run_s: first.run_ms as f64 / 1000.0,
        median_run_s,
        real_time_factor: median.real_time_factor(),
        units_per_s: median
            .tokens
            .filter(|_| median_run_s > 0.0)
            .map(|count| count as f64 / median_run_s),
        unit: median.unit,
        model: median.model,
        device: median.device,
        peak_mb: peak_mb(),
        gpu_peak_mb: None,
    }
}

fn print_table(rows: &[Row], settings: &Settings, runs: u32) {
    println!("{} threads, median of {runs} runs\n", settings.hardware.threads);
    println!(
        "| stage | model | device | load s | first run s | run s | real-time factor | rate | \
         peak MB | GPU peak MB |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for row in rows {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        println!(
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {} |",
            row.stage,
            row.model,
            row.device,
            row.load_s,
            row.first_run_s,
            row.median_run_s,
            or_dash(row.real_time_factor.map(|factor| format!("{factor:.3}"))),
            or_dash(
                row.units_per_s
                    .zip(row.unit.as_deref())
                    .map(|(rate, unit)| format!("{rate:.1} {unit}/s"))
            ),
            or_dash(row.peak_mb.map(|mb| mb.to_string())),
            or_dash(row.gpu_peak_mb.map(|mb| mb.to_string())),
        );
    }
    let total: f64 = rows.iter().map(|row| row.median_run_s).sum();
    println!("\nwhole chain, warm: {total:.2} s");
}

/// The most resident memory this process has held, in megabytes, where the system tells.
fn peak_mb() -> Option<u64> {
    Some(super::memory_kb("/proc/self/status", "VmHWM")? / 1000)
}
