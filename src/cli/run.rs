//! `mega-pipeline run`: one recording through the stages, without a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::progress::StageProgress;
use crate::audio::{self, playback};
use crate::engine::{Cancel, Control};
use crate::error::AppError;
use crate::settings::Settings;
use crate::stage::{
    Artifact, Artifacts, JobOptions, Stage, StageContext, StageError, StageKind, StageOutput,
    Timing,
};
use crate::text::{Transcript, templates};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The recording; with --only, a text file where the stage reads text
    input: PathBuf,
    /// Run one stage alone on its kind of input
    #[arg(long, value_name = "STAGE")]
    only: Option<StageKind>,
    #[command(flatten)]
    how: HowArgs,
}

/// How the stages run and what becomes of their results; shared with `record`.
#[derive(Debug, Clone, Args)]
pub struct HowArgs {
    /// Folder for the results [default: the recording's name with -mega]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Language that is spoken, such as fr, or auto
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Language to translate to, such as fr
    #[arg(long, value_name = "TAG")]
    target: Option<String>,
    /// Prompt template, such as continue or podcast
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// In your own words what to write, instead of a template
    #[arg(long, value_name = "TEXT", conflicts_with = "template")]
    instruction: Option<String>,
    /// Voice for the English text; `mega-pipeline voices en` lists them
    #[arg(long, value_name = "ID")]
    voice_en: Option<String>,
    /// Voice for the translation; `mega-pipeline voices` lists them
    #[arg(long, value_name = "ID")]
    voice: Option<String>,
    /// Play the results at the end
    #[arg(long)]
    play: bool,
    /// Print job.json to standard output at the end
    #[arg(long)]
    json: bool,
    /// Every stage a fast stub, for tests and load tests
    #[arg(long)]
    stub: bool,
}

/// What `job.json` holds.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    options: JobOptions,
    stages: Vec<StageReport>,
    /// From the first stage's start to the last one's end, loading included.
    total_ms: u64,
}

#[derive(Debug, Serialize)]
struct StageReport {
    stage: StageKind,
    file: String,
    #[serde(flatten)]
    timing: Timing,
}

/// Runs the stages and writes their results.
///
/// # Errors
/// When a stage fails or a file cannot be read or written.
pub fn run(args: &RunArgs, settings: &Settings) -> Result<(), AppError> {
    pipeline(&args.input, args.only, &args.how, settings)
}

/// Runs the stages on `input`, or one alone, and writes their results.
///
/// # Errors
/// As [`run`].
pub fn pipeline(
    input: &Path,
    only: Option<StageKind>,
    args: &HowArgs,
    settings: &Settings,
) -> Result<(), AppError> {
    let options = args.options(settings)?;
    let mut inputs = read_input(input, only)?;
    let out = args.out.clone().unwrap_or_else(|| default_out(input));
    fs::create_dir_all(&out).map_err(AppError::io(&out))?;
    let mut stages = super::stages(args.stub, settings)?;

    let cancel = Cancel::default();
    stop_on_interrupt(&cancel)?;
    if only.is_none() {
        copy_prompt(input, &out)?;
    }
    let started = Instant::now();
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        options: options.clone(),
        stages: Vec::new(),
        total_ms: 0,
    };
    let mut speeches = Vec::new();
    for stage in &mut stages {
        let kind = stage.kind();
        if only.is_some_and(|only| only != kind) {
            continue;
        }
        let output = run_stage(stage.as_mut(), &inputs, &options, &cancel)?;
        let file = write_result(&out, kind, &output.artifact, &options)?;
        if matches!(output.artifact, Artifact::Audio(_)) {
            speeches.push(out.join(&file));
        }
        inputs.accept(kind, output.artifact);
        report.stages.push(StageReport { stage: kind, file, timing: output.timing });
    }
    report.total_ms = started.elapsed().as_millis() as u64;

    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| AppError::Other(error.to_string()))?;
    if only.is_none() {
        let path = out.join("job.json");
        fs::write(&path, &json).map_err(AppError::io(&path))?;
    }
    eprintln!("{:.1} s in all; results in {}", report.total_ms as f64 / 1000.0, out.display());
    if args.json {
        println!("{json}");
    }
    if args.play { play(&speeches) } else { Ok(()) }
}

impl HowArgs {
    /// What the job asks for: the configured defaults, changed by what was typed.
    ///
    /// # Errors
    /// When there is no such template.
    pub fn options(&self, settings: &Settings) -> Result<JobOptions, AppError> {
        let mut options = settings.defaults.clone();
        if let Some(target) = &self.target {
            options.target.clone_from(target);
        }
        if let Some(name) = &self.template {
            let template = templates::template(name).ok_or_else(|| {
                AppError::Other(format!(
                    "there is no template `{name}`; the templates are {}",
                    templates::names().join(", ")
                ))
            })?;
            options.template.clone_from(name);
            options.max_tokens = template.max_tokens;
        }
        for (wanted, option) in [
            (&self.language, &mut options.language),
            (&self.instruction, &mut options.instruction),
            (&self.voice_en, &mut options.voice_en),
            (&self.voice, &mut options.voice),
        ] {
            if let Some(wanted) = wanted {
                option.clone_from(wanted);
            }
        }
        Ok(options)
    }
}

/// What the first stage that runs will read.
fn read_input(input: &Path, only: Option<StageKind>) -> Result<Artifacts, AppError> {
    let text = || fs::read_to_string(input).map_err(AppError::io(input));
    let mut inputs = Artifacts::default();
    match only {
        None | Some(StageKind::TranscribeAudio) => {
            // Told now, with the file's name, and not by a stage after models were loaded.
            fs::File::open(input).map_err(AppError::io(input))?;
            input.clone_into(&mut inputs.prompt);
        }
        Some(StageKind::GenerateText) => {
            let text = text()?.trim().to_owned();
            inputs.transcript =
                Some(Transcript { language: "en".to_owned(), text, segments: Vec::new() });
        }
        Some(StageKind::SynthesisAudioEn | StageKind::TranslateText) => inputs.text = Some(text()?),
        Some(StageKind::SynthesisAudio) => inputs.translation = Some(text()?),
    }
    Ok(inputs)
}

/// Loads a stage and runs it, showing how far it is.
pub(super) fn run_stage(
    stage: &mut dyn Stage,
    inputs: &Artifacts,
    options: &JobOptions,
    cancel: &Cancel,
) -> Result<StageOutput, AppError> {
    let kind = stage.kind();
    let progress = StageProgress::begin(kind);
    let update = |news| progress.update(&news);
    let loading = Instant::now();
    let failed = |error: StageError| AppError::Stage { stage: kind, error };
    stage.load().map_err(failed)?;
    let load_ms = loading.elapsed().as_millis() as u64;
    let context = StageContext { options, control: Control { cancel, progress: &update } };
    let mut output = stage.run(inputs, &context).map_err(failed)?;
    output.timing.load_ms += load_ms;
    progress.finish(&output.timing);
    Ok(output)
}

/// Writes a stage's result under the name that scripts rely on, and returns that name.
fn write_result(
    out: &Path,
    kind: StageKind,
    artifact: &Artifact,
    options: &JobOptions,
) -> Result<String, AppError> {
    let target = &options.target;
    let name = match kind {
        StageKind::TranscribeAudio => "transcript.txt".to_owned(),
        StageKind::GenerateText => "text.txt".to_owned(),
        StageKind::SynthesisAudioEn => "speech.en.wav".to_owned(),
        StageKind::TranslateText => format!("translation.{target}.txt"),
        StageKind::SynthesisAudio => format!("speech.{target}.wav"),
    };
    let path = out.join(&name);
    let bytes = match artifact {
        Artifact::Transcript(transcript) => format!("{}\n", transcript.text).into_bytes(),
        Artifact::Text(text) => format!("{text}\n").into_bytes(),
        Artifact::Audio(audio) => audio::wav_bytes(audio),
    };
    fs::write(&path, bytes).map_err(AppError::io(&path))?;
    Ok(name)
}

/// Keeps the recording beside its results, as `prompt` with its own ending.
fn copy_prompt(input: &Path, out: &Path) -> Result<(), AppError> {
    let mut name = PathBuf::from("prompt");
    if let Some(extension) = input.extension() {
        name.set_extension(extension);
    }
    let copy = out.join(name);
    // The recording may already lie there, from an earlier run on it.
    if fs::canonicalize(input).ok() != fs::canonicalize(&copy).ok() {
        fs::copy(input, &copy).map_err(AppError::io(&copy))?;
    }
    Ok(())
}

fn default_out(input: &Path) -> PathBuf {
    let stem = input.file_stem().map_or_else(|| "prompt".into(), |stem| stem.to_string_lossy());
    PathBuf::from(format!("{stem}-mega"))
}

/// The first Ctrl-C stops the running stage at its next check, the second ends the process.
pub(super) fn stop_on_interrupt(cancel: &Cancel) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AppError::Other(format!("signals cannot be watched: {error}")))?;
    let cancel = cancel.clone();
    std::thread::spawn(move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if cancel.is_canceled() {
                    std::process::exit(i32::from(crate::error::exit::INTERRUPTED));
                }
                cancel.cancel();
            }
        });
    });
    Ok(())
}

fn play(speeches: &[PathBuf]) -> Result<(), AppError> {
    for path in speeches {
        let audio = audio::read_wav(path).map_err(AppError::io(path))?;
        playback::play(&audio).map_err(|error| AppError::Sound(error.to_string()))?;
    }
    Ok(())
}
