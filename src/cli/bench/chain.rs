//! `mega-pipeline bench chain`: a recording through all stages, again and again.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::picture::{Bar, picture};
use crate::engine::{Cancel, Control};
use crate::error::AppError;
use crate::settings::Settings;
use crate::stage::{Artifacts, JobOptions, Stage, StageContext, StageKind};

/// Arguments of `bench chain`.
#[derive(Debug, Args)]
pub struct ChainArgs {
    /// The recording
    #[arg(default_value = "samples/prompt.flac")]
    input: PathBuf,
    /// Language to translate to
    #[arg(long, value_name = "TAG")]
    target: Option<String>,
    /// Measured runs, after the first
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    #[command(flatten)]
    files: super::Files,
    /// Every stage a fast stub: what everything but the models costs
    #[arg(long)]
    stub: bool,
}

/// One way of a recording through the stages, in seconds.
#[derive(Debug, Clone, Serialize)]
struct Passage {
    /// Each stage, in order.
    stages_s: Vec<f64>,
    all_s: f64,
}

/// What was measured, in seconds.
#[derive(Debug, Serialize)]
struct Measured {
    /// Every model's loading.
    load_s: f64,
    first: Passage,
    /// All runs after the first.
    warm: Vec<Passage>,
}

/// Runs the benchmark.
///
/// # Errors
/// When a stage fails or a file cannot be written.
pub fn run(args: &ChainArgs, settings: &Settings) -> Result<(), AppError> {
    let mut options = settings.defaults.clone();
    if let Some(target) = &args.target {
        options.target.clone_from(target);
    }
    let mut stages = super::super::stages(args.stub, settings)?;
    let loading = Instant::now();
    for stage in &mut stages {
        let kind = stage.kind();
        stage.load().map_err(|error| AppError::Stage { stage: kind, error })?;
    }
    let load_s = loading.elapsed().as_secs_f64();
    let first = passage(&mut stages, args, &options)?;
    let mut warm = Vec::new();
    for _ in 0..args.runs {
        warm.push(passage(&mut stages, args, &options)?);
    }
    let measured = Measured { load_s, first, warm };
    let median = measured.median();
    print!("{}", measured.table(&median, settings));

    args.files.write(&measured, || {
        let bar = |name: &str, it: &Passage| Bar {
            name: name.to_owned(),
            parts: it.stages_s.clone(),
            all: it.all_s,
        };
        let bars = [bar("first", &measured.first), bar("warm", &median)];
        picture(&bars, StageKind::ALL.iter().map(|stage| stage.as_str()))
    })
}

/// Sends the recording through the stages once.
fn passage(
    stages: &mut [Box<dyn Stage>],
    args: &ChainArgs,
    options: &JobOptions,
) -> Result<Passage, AppError> {
    let cancel = Cancel::default();
    let context = StageContext { options, control: Control { cancel: &cancel, progress: &|_| {} } };
    let mut artifacts = Artifacts { prompt: args.input.clone(), ..Artifacts::default() };
    let mut stages_s = Vec::new();
    for stage in stages {
        let (kind, at) = (stage.kind(), Instant::now());
        let outcome = stage.run(&artifacts, &context);
        let outcome = outcome.map_err(|error| AppError::Stage { stage: kind, error })?;
        stages_s.push(at.elapsed().as_secs_f64());
        artifacts.accept(kind, outcome.artifact);
    }
    let all_s = stages_s.iter().sum();
    Ok(Passage { stages_s, all_s })
}

impl Measured {
    /// The warm run that is neither among the quicker nor the slower half.
    fn median(&self) -> Passage {
        let mut runs = self.warm.clone();
        runs.sort_by(|a, b| a.all_s.total_cmp(&b.all_s));
        runs.swap_remove(runs.len() / 2)
    }

    fn table(&self, median: &Passage, settings: &Settings) -> String {
        let mut text = format!(
            "{} threads, median of {} runs after the first; models loaded in {:.2} s\n\n\
             | seconds | first | warm |\n|---|---|---|\n",
            settings.hardware.threads,
            self.warm.len(),
            self.load_s
        );
        let stages = StageKind::ALL.iter().map(|stage| stage.as_str());
        let seconds = self.first.stages_s.iter().zip(&median.stages_s);
        let all = ("all", (&self.first.all_s, &median.all_s));
        for (name, (first, warm)) in stages.zip(seconds).chain([all]) {
            let _ = writeln!(text, "| {name} | {first:.2} | {warm:.2} |");
        }
        text
    }
}
