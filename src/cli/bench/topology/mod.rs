//! `mega-pipeline bench topology`: the same five stages as one process, as microservices over
//! HTTP, and as microservices around a shared folder.

mod arrangement;
mod process;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::error::AppError;
use crate::settings::Settings;
use arrangement::{JobTimes, Plan, Running, Topology};

/// Arguments of `bench topology`.
#[derive(Debug, Args)]
pub struct TopologyArgs {
    /// The recording
    #[arg(default_value = "samples/prompt.flac")]
    input: PathBuf,
    /// Arrangements to measure, of which each takes its turn in every round
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "monolith,http,bucket"
    )]
    only: Vec<Topology>,
    /// Rounds; the table shows the median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Recordings at each concurrency
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    jobs: u32,
    /// Recordings under way at once, one after another
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2,4")]
    concurrency: Vec<u32>,
    /// Milliseconds between two looks into the shared folder
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    poll_ms: u64,
    /// Leave out what happens when a process is killed
    #[arg(long)]
    no_crash: bool,
    #[command(flatten)]
    files: super::Files,
    /// Every stage a fast stub: what everything but the models costs
    #[arg(long)]
    stub: bool,
}

/// What one round of one arrangement has shown. Times in seconds, memory and traffic in bytes.
#[derive(Debug, Clone, Serialize)]
struct Measured {
    topology: Topology,
    /// From start to every process having its models, nothing of them in the page cache; none
    /// where the system does not let us empty it.
    cold_ready_s: Option<f64>,
    /// The same with everything in the page cache.
    ready_s: f64,
    /// From start to the results of a recording that waited for it.
    first_result_s: f64,
    /// Median time of a recording alone.
    job_s: f64,
    /// Median time of each stage, in order.
    stages_s: Vec<f64>,
    /// Median time of a recording in which no stage worked for it.
    beside_s: f64,
    /// Jobs a minute at each concurrency that was asked for.
    jobs_per_minute: Vec<f64>,
    cpu_s_per_job: f64,
    moved_bytes_per_job: u64,
    idle_bytes: u64,
    peak_bytes: u64,
    /// What the death of the process that generates text did.
    crash: Option<Crash>,
}

/// What became of a recording whose process died.
#[derive(Debug, Clone, Copy, Serialize)]
struct Crash {
    /// 1 if no result ever came.
    jobs_lost: u32,
    /// From the kill to the last result.
    until_result_s: f64,
    /// How much later the result came than without it.
    delay_s: f64,
}

/// Measures the arrangements and prints the table.
///
/// # Errors
/// When a process does not start or a recording fails.
pub fn run(args: &TopologyArgs, settings: &Settings) -> Result<(), AppError> {
    if !args.input.is_file() {
        return Err(AppError::Other(format!("{}: no such file", args.input.display())));
    }
    let plan = Plan {
        settings,
        prompt: &args.input,
        stub: args.stub,
        poll: Duration::from_millis(args.poll_ms),
    };
    let runtime = super::super::runtime()?;
    let mut all = Vec::new();
    for round in 1..=args.rounds {
        for &topology in &args.only {
            eprintln!("round {round} of {}: {topology:?}", args.rounds);
            all.push(runtime.block_on(measure(topology, args, &plan))?);
        }
    }
    let medians: Vec<Measured> = args.only.iter().map(|&it| median_of(it, &all)).collect();
    let sizes = report::deployed(settings, args.stub)?;
    print!("{}", report::table(&medians, args, settings, &sizes));
    args.files.write(&all, || report::picture(&medians))
}

async fn measure(
    topology: Topology,
    args: &TopologyArgs,
    plan: &Plan<'_>,
) -> Result<Measured, AppError> {
    let mut cold_ready_s = None;
    if !plan.stub && process::forget_files() {
        let at = Instant::now();
        Running::start(topology, plan)?.ready().await?;
        cold_ready_s = Some(at.elapsed().as_secs_f64());
    }
    let at = Instant::now();
    let mut running = Running::start(topology, plan)?;
    running.ready().await?;
    let ready_s = at.elapsed().as_secs_f64();
    let idle_bytes = running.memory_bytes();
    let sent = running.send(plan).await?;
    running.wait(&sent).await?;
    let first_result_s = at.elapsed().as_secs_f64();

    let sampler = MemorySampler::start(running.ids());
    let (cpu_s, served_s, loopback) =
        (running.cpu_s(), running.served_s().await, process::loopback_bytes());
    let (mut jobs_per_minute, mut alone) = (Vec::new(), Vec::new());
    let (mut cpu_s_per_job, mut moved, mut served_per_job) = (0.0, 0, 0.0);
    for &concurrency in &args.concurrency {
        let batch = batch(&mut running, plan, args.jobs.max(concurrency), concurrency).await?;
        jobs_per_minute.push(batch.jobs.len() as f64 * 60.0 / batch.took_s);
        if alone.is_empty() {
            let count = batch.jobs.len() as f64;
            cpu_s_per_job = (running.cpu_s() - cpu_s) / count;
            served_per_job = (running.served_s().await - served_s) / count;
            moved = match topology {
                Topology::Bucket => batch.folder_bytes / batch.jobs.len() as u64,
                _ => (process::loopback_bytes() - loopback) / batch.jobs.len() as u64,
            };
            alone = batch.jobs;
        }
    }
    let peak_bytes = sampler.stop().max(idle_bytes);
    let job_s = median(alone.iter().map(|job| job.total_s).collect());
    let beside_s = match topology {
        // What the services themselves measured, in all: the coordinator counts sending as work.
        Topology::Http => {
            alone.iter().map(|job| job.total_s).sum::<f64>() / alone.len() as f64 - served_per_job
        }
        _ => median(alone.iter().map(|job| job.beside_s(topology)).collect()),
    };
    let crash = if args.no_crash || plan.stub {
        None
    } else {
        Some(crash(&mut running, plan, job_s).await?)
    };
    Ok(Measured {
        topology,
        cold_ready_s,
        ready_s,
        first_result_s,
        job_s,
        stages_s: crate::stage::StageKind::ALL
            .iter()
            .map(|stage| {
                median(alone.iter().filter_map(|job| job.stages_s.get(stage)).copied().collect())
            })
            .collect(),
        beside_s,
        jobs_per_minute,
        cpu_s_per_job,
        moved_bytes_per_job: moved,
        idle_bytes,
        peak_bytes,
        crash,
    })
}

struct Batch {
    jobs: Vec<JobTimes>,
    took_s: f64,
    folder_bytes: u64,
}

/// Sends `count` recordings, `concurrency` of them under way at a time.
async fn batch(
    running: &mut Running,
    plan: &Plan<'_>,
    count: u32,
    concurrency: u32,
) -> Result<Batch, AppError> {
    let at = Instant::now();
    let mut under_way = std::collections::VecDeque::new();
    let (mut jobs, mut folder_bytes) = (Vec::new(), 0);
    for number in 0..count {
        under_way.push_back(running.send(plan).await?);
        // The first sent is the first done.
        while under_way.len() as u32 >= concurrency
            || (number + 1 == count && !under_way.is_empty())
        {
            if let Some(sent) = under_way.pop_front() {
                jobs.push(running.wait(&sent).await?);
                folder_bytes += running.folder_bytes(&sent);
            }
        }
    }
    Ok(Batch { jobs, took_s: at.elapsed().as_secs_f64(), folder_bytes })
}

/// Kills the process that generates text while it does, and starts it again.
async fn crash(running: &mut Running, plan: &Plan<'_>, job_s: f64) -> Result<Crash, AppError> {
    let sent = running.send(plan).await?;
    running.until_generating(&sent, plan).await?;
    let at = Instant::now();
    running.crash()?;
    let done = running.finished(&sent).await;
    Ok(Crash {
        jobs_lost: u32::from(done.is_err()),
        until_result_s: at.elapsed().as_secs_f64(),
        delay_s: sent.at.elapsed().as_secs_f64() - job_s,
    })
}

/// Looks at the memory of processes while they work.
struct MemorySampler {
    stopping: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl MemorySampler {
    fn start(ids: Vec<u32>) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let peak = Arc::new(AtomicU64::new(0));
        let (stop, most) = (Arc::clone(&stopping), Arc::clone(&peak));
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let sum = ids.iter().map(|&id| process::proportional_bytes(id)).sum();
                most.fetch_max(sum, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(500));
            }
        });
        Self { stopping, peak, thread }
    }

    /// The most that was seen.
    fn stop(self) -> u64 {
        self.stopping.store(true, Ordering::Relaxed);
        // It only reads files.
        let _ = self.thread.join();
        self.peak.load(Ordering::Relaxed)
    }
}

/// The middle of some figures; 0 of none.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// The medians of all rounds of an arrangement.
fn median_of(topology: Topology, all: &[Measured]) -> Measured {
    let rounds: Vec<&Measured> = all.iter().filter(|it| it.topology == topology).collect();
    let of =
        |figure: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(|it| figure(it)).collect());
    let maybe = |figure: &dyn Fn(&Measured) -> Option<f64>| {
        let known: Vec<f64> = rounds.iter().filter_map(|it| figure(it)).collect();
        (!known.is_empty()).then(|| median(known))
    };
    let row = |count: usize, figures: &dyn Fn(&Measured) -> &Vec<f64>| -> Vec<f64> {
        (0..count).map(|at| of(&|it| figures(it)[at])).collect()
    };
    let (stages, loads) =
        rounds.first().map_or((0, 0), |it| (it.stages_s.len(), it.jobs_per_minute.len()));
    let crashes: Vec<Crash> = rounds.iter().filter_map(|it| it.crash).collect();
    Measured {
        topology,
        cold_ready_s: maybe(&|it| it.cold_ready_s),
        ready_s: of(&|it| it.ready_s),
        first_result_s: of(&|it| it.first_result_s),
        job_s: of(&|it| it.job_s),
        stages_s: row(stages, &|it| &it.stages_s),
        beside_s: of(&|it| it.beside_s),
        jobs_per_minute: row(loads, &|it| &it.jobs_per_minute),
        cpu_s_per_job: of(&|it| it.cpu_s_per_job),
        moved_bytes_per_job: of(&|it| it.moved_bytes_per_job as f64) as u64,
        idle_bytes: of(&|it| it.idle_bytes as f64) as u64,
        peak_bytes: of(&|it| it.peak_bytes as f64) as u64,
        crash: (!crashes.is_empty()).then(|| Crash {
            jobs_lost: crashes.iter().map(|it| it.jobs_lost).sum(),
            until_result_s: median(crashes.iter().map(|it| it.until_result_s).collect()),
            delay_s: median(crashes.iter().map(|it| it.delay_s).collect()),
        }),
    }
}
