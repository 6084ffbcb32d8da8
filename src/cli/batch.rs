//! `mega-pipeline batch`: a folder laid out as the bucket of the course's tutorial app, in which
//! this one program takes the place of the five containers.
//!
//! Recordings lie in `input_audios/`; what the stages make of them lies under the same names in
//! folders of the group: `text_prompts/`, `text_paragraphs/`, `text_audios/`, `text_translated/`
//! and `output_audios/`. What is there already is not made again.
//!
//! With `--only STAGE --watch SECONDS` it takes the place of one of the five containers: it looks
//! again and again for what the stage before has left.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::run::{run_stage, stop_on_interrupt};
use crate::audio::Compression;
use crate::engine::Cancel;
use crate::error::{AppError, exit};
use crate::settings::Settings;
use crate::stage::{Artifact, Artifacts, ErrorCode, JobOptions, Stage, StageKind};
use crate::text::Transcript;

/// Where the recordings lie.
const RECORDINGS: &str = "input_audios";

/// A watcher that sleeps heeds an interrupt within this time.
const HEED: Duration = Duration::from_millis(100);

/// Arguments of `batch`.
#[derive(Debug, Args)]
pub struct BatchArgs {
    /// The folder that stands for the bucket
    dir: PathBuf,
    /// Name of the group, under which the results lie
    #[arg(long, value_name = "NAME")]
    group: String,
    /// Make everything again, whatever is there
    #[arg(long)]
    force: bool,
    /// Run this stage alone, on what the stages before it have left
    #[arg(long, value_name = "STAGE")]
    only: Option<StageKind>,
    /// Go on, and look again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", conflicts_with = "force", value_parser = seconds)]
    watch: Option<Duration>,
    /// Language to translate to, such as fr
    #[arg(long, value_name = "TAG")]
    target: Option<String>,
    /// Every stage a fast stub, for tests and load tests
    #[arg(long)]
    stub: bool,
}

/// Seconds between two looks, as typed.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "from 0.01 to 3600 is expected".to_owned())
}

/// The work, and what has become of it so far.
struct Batch<'a> {
    args: &'a BatchArgs,
    stages: Vec<Box<dyn Stage>>,
    options: JobOptions,
    cancel: Cancel,
    made: usize,
    skipped: usize,
    /// Recordings that failed; they are not tried again.
    failed: BTreeSet<PathBuf>,
}

/// Takes every recording through the stages whose results are not there yet.
///
/// # Errors
/// When the folder has no recordings or cannot be written. A recording that fails does not keep
/// the others from being done; the exit code then tells of it.
pub fn run(args: &BatchArgs, settings: &Settings) -> Result<(), AppError> {
    let mut parts = Path::new(&args.group).components();
    let is_name = matches!(parts.next(), Some(std::path::Component::Normal(_)));
    if !is_name || parts.next().is_some() {
        return Err(AppError::Other(format!("`{}` cannot be the name of a folder", args.group)));
    }
    let mut options = settings.defaults.clone();
    if let Some(target) = &args.target {
        options.target.clone_from(target);
    }
    let mut stages = super::stages(args.stub, settings)?;
    stages.retain(|stage| args.only.is_none_or(|only| stage.kind() == only));
    let cancel = Cancel::default();
    stop_on_interrupt(&cancel)?;
    let failed = BTreeSet::new();
    let mut batch = Batch { args, stages, options, cancel, made: 0, skipped: 0, failed };
    if let Some(pause) = args.watch {
        for stage in &mut batch.stages {
            let kind = stage.kind();
            stage.load().map_err(|error| AppError::Stage { stage: kind, error })?;
        }
        println!("ready");
        loop {
            for recording in recordings(&args.dir.join(RECORDINGS))? {
                batch.take_or_tell(&recording)?;
            }
            if batch.cancel.is_canceled() {
                return Err(AppError::Told(exit::INTERRUPTED));
            }
            let next = Instant::now() + pause;
            while !batch.cancel.is_canceled()
                && let Some(left) = next.checked_duration_since(Instant::now())
            {
                thread::sleep(left.min(HEED));
            }
        }
    }
    let began = Instant::now();
    let recordings = recordings(&args.dir.join(RECORDINGS))?;
    if recordings.is_empty() {
        let dir = args.dir.join(RECORDINGS);
        return Err(AppError::Other(format!("there are no recordings in {}", dir.display())));
    }
    for (number, recording) in recordings.iter().enumerate() {
        eprintln!("{} of {}: {}", number + 1, recordings.len(), recording.display());
        batch.take_or_tell(recording)?;
    }
    println!(
        "{} recordings: {} results made, {} there already, {} recordings failed; {:.1} s",
        recordings.len(),
        batch.made,
        batch.skipped,
        batch.failed.len(),
        began.elapsed().as_secs_f64()
    );
    if batch.failed.is_empty() { Ok(()) } else { Err(AppError::Told(exit::FAILED)) }
}

impl Batch<'_> {
    /// Takes a recording through the stages and tells what keeps it from going on; only an
    /// interrupt ends the others too.
    fn take_or_tell(&mut self, recording: &Path) -> Result<(), AppError> {
        if self.failed.contains(recording) {
            return Ok(());
        }
        match self.take(recording) {
            Err(AppError::Stage { error, .. }) if error.code == ErrorCode::Canceled => {
                Err(AppError::Told(exit::INTERRUPTED))
            }
            Err(error) => {
                self.failed.insert(recording.to_owned());
                eprintln!("{}: {}", recording.display(), error.sentence().unwrap_or_default());
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Takes one recording through the stages, as far as what they read is there.
    fn take(&mut self, recording: &Path) -> Result<(), AppError> {
        let args = self.args;
        let stem = recording.file_stem().unwrap_or_default();
        let result = |kind| result_of(&args.dir, kind, &args.group, stem);
        let mut inputs = Artifacts { prompt: recording.to_owned(), ..Artifacts::default() };
        for stage in &mut self.stages {
            let kind = stage.kind();
            let path = result(kind);
            if !args.force && path.is_file() {
                self.skipped += 1;
                if args.only.is_none() {
                    read_into(&mut inputs, kind, &path)?;
                }
                continue;
            }
            if let Some(source) = kind.reads().filter(|_| args.only.is_some()) {
                let left = result(source);
                if !left.is_file() {
                    continue;
                }
                read_into(&mut inputs, source, &left)?;
            }
            let began = Instant::now();
            let output = run_stage(stage.as_mut(), &inputs, &self.options, &self.cancel)?;
            write(&path, &output.artifact)?;
            self.made += 1;
            if args.watch.is_some() {
                let (all_ms, run_ms) = (began.elapsed().as_millis(), output.timing.run_ms);
                println!("{}\t{run_ms}\t{all_ms}", path.display());
            }
            inputs.accept(kind, output.artifact);
        }
        Ok(())
    }
}

/// The recordings in order of name.
fn recordings(dir: &Path) -> Result<Vec<PathBuf>, AppError> {
    let mut recordings = Vec::new();
    for entry in fs::read_dir(dir).map_err(AppError::io(dir))? {
        let path = entry.map_err(AppError::io(dir))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_file() && !hidden {
            recordings.push(path);
        }
    }
    recordings.sort();
    Ok(recordings)
}

/// Where the course has a stage's result.
pub(super) fn result_of(dir: &Path, kind: StageKind, group: &str, stem: &OsStr) -> PathBuf {
    let (folder, extension) = match kind {
        StageKind::TranscribeAudio => ("text_prompts", "txt"),
        StageKind::GenerateText => ("text_paragraphs", "txt"),
        StageKind::SynthesisAudioEn => ("text_audios", "mp3"),
        StageKind::TranslateText => ("text_translated", "txt"),
        StageKind::SynthesisAudio => ("output_audios", "mp3"),
    };
    let mut name = stem.to_owned();
    name.push(".");
    name.push(extension);
    dir.join(folder).join(group).join(name)
}

/// What a stage made before, for those that follow. Speech is read by none.
fn read_into(inputs: &mut Artifacts, kind: StageKind, path: &Path) -> Result<(), AppError> {
    if matches!(kind, StageKind::SynthesisAudioEn | StageKind::SynthesisAudio) {
        return Ok(());
    }
    let text = fs::read_to_string(path).map_err(AppError::io(path))?.trim().to_owned();
    inputs.accept(
        kind,
        match kind {
            StageKind::TranscribeAudio => Artifact::Transcript(Transcript {
                language: "en".to_owned(),
                text,
                segments: Vec::new(),
            }),
            _ => Artifact::Text(text),
        },
    );
    Ok(())
}

/// Writes a result in the form that its name says, whole or not at all.
fn write(path: &Path, artifact: &Artifact) -> Result<(), AppError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(AppError::io(dir))?;
    let mut bytes = Vec::new();
    match artifact {
        Artifact::Transcript(transcript) => bytes.extend(transcript.text.as_bytes()),
        Artifact::Text(text) => bytes.extend(text.as_bytes()),
        Artifact::Audio(audio) => {
            Compression::Mp3.write(audio, &mut bytes).map_err(AppError::io(path))?;
        }
    }
    let written = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&bytes)?;
        // Others may be waiting for the results, as the course's containers do.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode)?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(AppError::io(path))
}
