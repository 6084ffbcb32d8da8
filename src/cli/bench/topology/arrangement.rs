//! The three ways to arrange the same five stages, each started and given work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use clap::ValueEnum;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::process::{GIVE_UP, Launch, Process};
use crate::error::AppError;
use crate::settings::Settings;
use crate::stage::StageKind;

/// How the stages are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// One process.
    Monolith,
    /// One process a stage, asked over HTTP by a coordinator that has the job table.
    Http,
    /// One process a stage, each looking for its work in a shared folder.
    Bucket,
}

impl Topology {
    /// What a person types to start it.
    pub const fn commands(self) -> usize {
        match self {
            Self::Monolith => 1,
            Self::Http => 6,
            Self::Bucket => 5,
        }
    }

    /// What a person must write beside `serve` or `batch`: what `benches/topology` does.
    pub const fn settings(self) -> usize {
        let stages = StageKind::ALL.len();
        match self {
            Self::Monolith => 0,
            // For each service its stage, port and folder, and for the coordinator how it is asked:
            // engine, address, patience. Workers of the coordinator.
            Self::Http => 6 * stages + 1,
            // For each its stage, the folder, the group and the pause.
            Self::Bucket => 4 * stages,
        }
    }
}

/// How often a folder, or a state, is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A process is killed this long after it has begun.
const INTO_WORK: Duration = Duration::from_millis(500);

/// Name of the group in the shared folder.
const GROUP: &str = "bench";

/// What all arrangements have in common.
pub struct Plan<'a> {
    /// Where models lie and how many threads may work.
    pub settings: &'a Settings,
    /// The recording that is sent.
    pub prompt: &'a Path,
    /// Whether the stages are stubs.
    pub stub: bool,
    /// Pause between two looks into the shared folder.
    pub poll: Duration,
}

/// One job's times.
#[derive(Debug, Clone, Default)]
pub struct JobTimes {
    /// From sending the recording to the last result.
    pub total_s: f64,
    /// Work of each stage, as whoever runs it measures it.
    pub stages_s: BTreeMap<StageKind, f64>,
}

impl JobTimes {
    /// What is not the work of a stage: waiting, sending, packing, looking. Stages that ran side
    /// by side count once.
    pub fn beside_s(&self, topology: Topology) -> f64 {
        let took = |stage: StageKind| self.stages_s.get(&stage).copied().unwrap_or_default();
        let all: f64 = StageKind::ALL.iter().map(|&stage| took(stage)).sum();
        let work = match topology {
            // English is spoken while the translation is made.
            Topology::Bucket => {
                let (en, other) = (
                    took(StageKind::SynthesisAudioEn),
                    took(StageKind::TranslateText) + took(StageKind::SynthesisAudio),
                );
                all - en.min(other)
            }
            _ => all,
        };
        self.total_s - work
    }
}

/// A started arrangement.
pub struct Running {
    topology: Topology,
    /// The one to ask comes first; then, where there are several, the stages in their order.
    processes: Vec<Process>,
    folder: tempfile::TempDir,
    client: reqwest::Client,
    sent: usize,
    /// Stage times that watchers of the folder have told.
    told: BTreeMap<(PathBuf, StageKind), f64>,
}

impl Running {
    /// Starts an arrangement; it may not be ready yet.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn start(topology: Topology, plan: &Plan<'_>) -> Result<Self, AppError> {
        let folder = tempfile::tempdir().map_err(AppError::io("a temporary folder"))?;
        let mut processes = Vec::new();
        match topology {
            Topology::Monolith => {
                processes.push(Process::start(server(plan, folder.path(), "monolith", &[]))?);
            }
            Topology::Http => {
                for stage in StageKind::ALL {
                    let only = ["--only".to_owned(), stage.to_string()];
                    processes.push(Process::start(server(
                        plan,
                        folder.path(),
                        stage.as_str(),
                        &only,
                    ))?);
                }
                // Its workers only wait for others, so that several jobs may be under way.
                let mut addresses = vec!["--set=workers=4".to_owned()];
                for (stage, process) in StageKind::ALL.iter().zip(&processes) {
                    let (engine, path) = match stage {
                        StageKind::TranslateText => ("libretranslate", ""),
                        _ => ("openai", "/v1"),
                    };
                    addresses.push(format!("--set=stages.{stage}.engine={engine}"));
                    addresses
                        .push(format!("--set=stages.{stage}.base_url={}{path}", process.url()));
                    addresses.push(format!("--set=stages.{stage}.timeout_s=600"));
                }
                let coordinator = server(plan, folder.path(), "coordinator", &addresses);
                processes.insert(0, Process::start(coordinator)?);
            }
            Topology::Bucket => {
                let input = folder.path().join("input_audios");
                fs::create_dir(&input).map_err(AppError::io(&input))?;
                for stage in StageKind::ALL {
                    let mut arguments = shared(plan, folder.path(), stage.as_str());
                    arguments.extend(["batch".to_owned(), folder.path().display().to_string()]);
                    arguments
                        .extend(["--group", GROUP, "--only", stage.as_str()].map(str::to_owned));
                    arguments.push(format!("--watch={}", plan.poll.as_secs_f64()));
                    arguments.extend(plan.stub.then(|| "--stub".to_owned()));
                    let name = stage.to_string();
                    processes.push(Process::start(Launch { name, arguments, listens: false })?);
                }
            }
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| AppError::Other(error.to_string()))?;
        Ok(Self { topology, processes, folder, client, sent: 0, told: BTreeMap::new() })
    }

    /// Waits until every process has its models.
    ///
    /// # Errors
    /// When one ends or says that it has none.
    pub async fn ready(&self) -> Result<(), AppError> {
        for process in &self.processes {
            if self.topology == Topology::Bucket {
                process.line()?;
                continue;
            }
            loop {
                let answer = self.client.get(format!("{}/readyz", process.url())).send().await;
                let answer = answer.map_err(lost)?;
                if answer.status().is_success() {
                    break;
                }
                let body: Value = answer.json().await.map_err(lost)?;
                if body["status"] == "failed" {
                    return Err(AppError::Other(body["reason"].to_string()));
                }
                thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Sends the recording.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn send(&mut self, plan: &Plan<'_>) -> Result<Sent, AppError> {
        let bytes = fs::read(plan.prompt).map_err(AppError::io(plan.prompt))?;
        let extension = plan.prompt.extension().unwrap_or_default().to_string_lossy().into_owned();
        self.sent += 1;
        let at = Instant::now();
        if self.topology == Topology::Bucket {
            let dir = self.folder.path().join("input_audios");
            let name = format!("input-{:03}", self.sent);
            // It appears as a whole, as an object in a bucket does.
            let (hidden, path) =
                (dir.join(format!(".{name}")), dir.join(format!("{name}.{extension}")));
            fs::write(&hidden, bytes).map_err(AppError::io(&hidden))?;
            fs::rename(&hidden, &path).map_err(AppError::io(&path))?;
            return Ok(Sent { at, name });
        }
        let part = reqwest::multipart::Part::bytes(bytes).file_name(format!("prompt.{extension}"));
        let form = reqwest::multipart::Form::new().part("file", part);
        let url = format!("{}/api/v1/jobs", self.processes[0].url());
        let answer = self.client.post(url).multipart(form).send().await.map_err(lost)?;
        let status = answer.status();
        let job: Value = answer.json().await.map_err(lost)?;
        match job["id"].as_str() {
            Some(id) if status == StatusCode::ACCEPTED || status == StatusCode::CREATED => {
                Ok(Sent { at, name: id.to_owned() })
            }
            _ => Err(AppError::Other(format!("the recording was not taken: {job}"))),
        }
    }

    /// Waits for all results of a recording, and gives what it took.
    ///
    /// # Errors
    /// When it ends without them, or never.
    pub async fn wait(&mut self, sent: &Sent) -> Result<JobTimes, AppError> {
        let (total_s, job) = self.finished(sent).await?;
        let stages_s = if self.topology == Topology::Bucket {
            self.told(&sent.name)?
        } else {
            let runs = job["stages"].as_array().into_iter().flatten();
            runs.filter_map(|run| {
                let stage = run["stage"].as_str()?.parse().ok()?;
                Some((stage, run["timing"]["run_ms"].as_f64()? / 1000.0))
            })
            .collect()
        };
        Ok(JobTimes { total_s, stages_s })
    }

    /// Waits for all results of a recording, whatever happens to the processes meanwhile, and gives
    /// the seconds since it was sent, and the job, which in a folder there is none of.
    ///
    /// # Errors
    /// When it ends without them, or never.
    pub async fn finished(&self, sent: &Sent) -> Result<(f64, Value), AppError> {
        let url = format!("{}/api/v1/jobs/{}", self.processes[0].url(), sent.name);
        loop {
            let left = sent.time_left()?;
            if self.topology == Topology::Bucket {
                if StageKind::ALL.iter().all(|&stage| self.result(stage, &sent.name).is_file()) {
                    return Ok((sent.at.elapsed().as_secs_f64(), Value::Null));
                }
                thread::sleep(LOOK);
                continue;
            }
            // The events end with the job, or with the server.
            let events = self.client.get(format!("{url}/events")).timeout(left).send().await;
            let ended = match events {
                Ok(events) => events.bytes().await.is_ok(),
                Err(_) => false,
            };
            let total_s = sent.at.elapsed().as_secs_f64();
            let job = if ended { self.job(&sent.name).await } else { None }.unwrap_or_default();
            match job["state"].as_str() {
                Some("succeeded") => return Ok((total_s, job)),
                Some("failed" | "canceled") => {
                    return Err(AppError::Other(format!("the job failed: {}", job["error"])));
                }
                _ => thread::sleep(LOOK),
            }
        }
    }

    async fn job(&self, id: &str) -> Option<Value> {
        let url = format!("{}/api/v1/jobs/{id}", self.processes[0].url());
        self.client.get(url).send().await.ok()?.json().await.ok()
    }

    /// Waits until `generate_text` is in the middle of its work on the recording.
    ///
    /// # Errors
    /// When it never begins.
    pub async fn until_generating(&self, sent: &Sent, plan: &Plan<'_>) -> Result<(), AppError> {
        loop {
            sent.time_left()?;
            if self.topology == Topology::Bucket {
                if self.result(StageKind::TranscribeAudio, &sent.name).is_file() {
                    // The watcher begins when it looks next: after half a pause on average, and a
                    // whole one at most.
                    thread::sleep(plan.poll.max(plan.poll / 2 + INTO_WORK));
                    return Ok(());
                }
            } else {
                let job = self.job(&sent.name).await.unwrap_or_default();
                let works = |run: &Value| {
                    run["stage"] == StageKind::GenerateText.as_str() && run["state"] == "running"
                };
                if job["stages"].as_array().is_some_and(|runs| runs.iter().any(works)) {
                    thread::sleep(INTO_WORK);
                    return Ok(());
                }
            }
            thread::sleep(LOOK);
        }
    }

    /// Kills the process that generates text and starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn crash(&mut self) -> Result<(), AppError> {
        let at = match self.topology {
            Topology::Monolith => 0,
            Topology::Http => 1 + StageKind::GenerateText as usize,
            Topology::Bucket => StageKind::GenerateText as usize,
        };
        self.processes[at].crash()
    }

    /// The processes' numbers.
    pub fn ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// Memory of all processes in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.processes.iter().map(Process::memory_bytes).sum()
    }

    /// Seconds of all cores that the processes have used.
    pub fn cpu_s(&self) -> f64 {
        self.processes.iter().map(Process::cpu_s).sum()
    }

    /// Seconds that the engines of stages in processes of their own have worked for others so far.
    pub async fn served_s(&self) -> f64 {
        let mut sum = 0.0;
        for process in &self.processes {
            let url = format!("{}/metrics", process.url());
            let Ok(answer) = self.client.get(url).send().await else { continue };
            let text = answer.text().await.unwrap_or_default();
            sum += text
                .lines()
                .filter(|line| line.starts_with("mega_pipeline_request_run_seconds_sum"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>();
        }
        sum
    }

    /// Bytes written to and read from the shared folder for one recording: every result once
    /// written, and read by the stages that follow.
    pub fn folder_bytes(&self, sent: &Sent) -> u64 {
        let size = |path: PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let readers = |stage: StageKind| {
            StageKind::ALL.iter().filter(|reader| reader.reads() == Some(stage)).count() as u64
        };
        let results = StageKind::ALL
            .iter()
            .map(|&stage| size(self.result(stage, &sent.name)) * (1 + readers(stage)));
        let prompts = self.folder.path().join("input_audios");
        let prompt = fs::read_dir(prompts).into_iter().flatten().flatten().find(|entry| {
            entry.path().file_stem().is_some_and(|stem| stem.to_string_lossy() == sent.name)
        });
        results.sum::<u64>() + prompt.map_or(0, |entry| size(entry.path()) * 2)
    }

    fn result(&self, stage: StageKind, name: &str) -> PathBuf {
        super::super::super::batch::result_of(self.folder.path(), stage, GROUP, name.as_ref())
    }

    /// What the watchers have told of a recording.
    fn told(&mut self, name: &str) -> Result<BTreeMap<StageKind, f64>, AppError> {
        let mut stages_s = BTreeMap::new();
        for stage in StageKind::ALL {
            let key = (self.result(stage, name), stage);
            while !self.told.contains_key(&key) {
                // The line follows the result.
                let line = self.processes[stage as usize].line()?;
                let mut fields = line.split('\t');
                let (path, run_ms) = (fields.next(), fields.next());
                if let Some((path, run_ms)) = path.zip(run_ms.and_then(|ms| ms.parse::<f64>().ok()))
                {
                    self.told.insert((path.into(), stage), run_ms / 1000.0);
                }
            }
            stages_s.insert(stage, self.told[&key]);
        }
        Ok(stages_s)
    }
}

/// A recording on its way.
pub struct Sent {
    /// When it was sent.
    pub at: Instant,
    /// The job's id, or the recording's name in the folder.
    name: String,
}

impl Sent {
    /// How long its results may still take.
    fn time_left(&self) -> Result<Duration, AppError> {
        let left = GIVE_UP.checked_sub(self.at.elapsed());
        left.ok_or_else(|| AppError::Other(format!("{} has no result", self.name)))
    }
}

/// Settings that every process is given.
fn shared(plan: &Plan<'_>, folder: &Path, name: &str) -> Vec<String> {
    let settings = plan.settings;
    vec![
        format!("--data-dir={}", folder.join(name).display()),
        format!("--models-dir={}", settings.models_dir.display()),
        format!("--threads={}", settings.hardware.threads),
        format!("--set=target={}", settings.defaults.target),
    ]
}

fn server(plan: &Plan<'_>, folder: &Path, name: &str, more: &[String]) -> Launch {
    let mut arguments = shared(plan, folder, name);
    let (settings, flags): (Vec<_>, Vec<_>) =
        more.iter().cloned().partition(|argument| argument.starts_with("--set="));
    arguments.extend(settings);
    arguments.push("serve".to_owned());
    arguments.extend(flags);
    // A coordinator's own stages are elsewhere, so that it has no stubs.
    if plan.stub && name != "coordinator" {
        arguments.push("--stub".to_owned());
    }
    Launch { name: name.to_owned(), arguments, listens: true }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
fn lost(error: reqwest::Error) -> AppError {
    AppError::Other(format!("a process does not answer: {error}"))
}
