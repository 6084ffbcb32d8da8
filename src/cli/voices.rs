//! `mega-pipeline voices`: list them, and hear one.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::audio::{self, playback};
use crate::engine::{Cancel, Control};
use crate::error::AppError;
use crate::models::ModelStore;
use crate::settings::Settings;
use crate::stage::{self, Artifact, Artifacts, StageContext, StageKind, VoiceInfo};
use crate::text::language;

/// Arguments of `voices`.
#[derive(Debug, Args)]
pub struct VoicesArgs {
    /// A language, such as fr, or a voice, such as kokoro-voice-ff_siwis [default: all]
    #[arg(value_name = "TAG_OR_ID")]
    which: Option<String>,
    /// Say this with the voice, or with the language's default voice [language: en]
    #[arg(long, value_name = "TEXT")]
    say: Option<String>,
    /// Write what is said to a WAV file instead of playing it
    #[arg(long, value_name = "FILE", requires = "say")]
    out: Option<PathBuf>,
    /// Print JSON, for scripts
    #[arg(long, conflicts_with = "say")]
    json: bool,
}

/// A line of the list.
#[derive(Serialize)]
struct Row<'a> {
    language: &'static str,
    id: String,
    title: String,
    engine: &'static str,
    licence: &'a str,
    /// Samples per second, where known.
    sample_rate: Option<u32>,
    installed: bool,
    default: bool,
}

/// Lists the voices, or says something with one.
///
/// # Errors
/// An unknown language or voice, and whatever keeps the voice from speaking.
pub fn run(args: &VoicesArgs, settings: &Settings) -> Result<(), AppError> {
    let store = ModelStore::open(&settings.models_dir)?;
    let voices = stage::voices(&store, &settings.models);
    let chosen = choose(&voices, args.which.as_deref())?;
    match &args.say {
        Some(text) => say(text, &chosen, args, settings),
        None => list(&chosen, args.json, &store),
    }
}

/// The voices that `which` names.
fn choose<'a, 'b>(
    voices: &'b [VoiceInfo<'a>],
    which: Option<&str>,
) -> Result<Vec<&'b VoiceInfo<'a>>, AppError> {
    let Some(which) = which else { return Ok(voices.iter().collect()) };
    let tag = language::language(which).map(|language| language.tag);
    let chosen: Vec<_> = voices
        .iter()
        .filter(|voice| {
            voice.model.id == which || voice.id() == which || Some(voice.language.tag) == tag
        })
        .collect();
    if chosen.is_empty() {
        let mut tags: Vec<&str> = voices.iter().map(|voice| voice.language.tag).collect();
        tags.dedup();
        return Err(AppError::Other(format!(
            "there is no voice or language `{which}`; there are voices for {}",
            tags.join(", ")
        )));
    }
    Ok(chosen)
}

fn list(voices: &[&VoiceInfo<'_>], json: bool, store: &ModelStore) -> Result<(), AppError> {
    let rows: Vec<Row<'_>> = voices
        .iter()
        .map(|voice| Row {
            language: voice.language.tag,
            id: voice.id(),
            title: voice.title(),
            engine: voice.engine(),
            licence: &voice.model.licence,
            sample_rate: voice.sample_rate(store),
            installed: voice.installed,
            default: voice.default,
        })
        .collect();
    if json {
        let text = serde_json::to_string_pretty(&rows);
        println!("{}", text.map_err(|error| AppError::Other(error.to_string()))?);
        return Ok(());
    }
    for row in rows {
        let mark = match (row.default, row.installed) {
            (true, _) => '>',
            (false, true) => '*',
            (false, false) => ' ',
        };
        let rate = row.sample_rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate} Hz"));
        println!(
            "{mark} {:3} {:26} {:7} {rate:>8}  {:12} {}",
            row.language, row.id, row.engine, row.licence, row.title
        );
    }
    println!("\n> spoken by default, * installed; others: mega-pipeline models pull ID");
    Ok(())
}

fn say(
    text: &str,
    chosen: &[&VoiceInfo<'_>],
    args: &VoicesArgs,
    settings: &Settings,
) -> Result<(), AppError> {
    let mut options = settings.defaults.clone();
    let language = match args.which.as_deref() {
        None => "en",
        Some(which) => {
            // A voice that was named, and not only its language.
            let named = |voice: &&&VoiceInfo<'_>| voice.id() == which || voice.model.id == which;
            if let Some(voice) = chosen.iter().find(named) {
                options.voice = voice.id();
                options.voice_en = voice.id();
            }
            chosen.first().map_or("en", |voice| voice.language.tag)
        }
    };
    let (kind, inputs) = if language == "en" {
        let inputs = Artifacts { text: Some(text.to_owned()), ..Artifacts::default() };
        (StageKind::SynthesisAudioEn, inputs)
    } else {
        language.clone_into(&mut options.target);
        let inputs = Artifacts { translation: Some(text.to_owned()), ..Artifacts::default() };
        (StageKind::SynthesisAudio, inputs)
    };
    let failed = |error| AppError::Stage { stage: kind, error };
    let mut stages = super::stages(false, settings)?;
    let stage = stages
        .iter_mut()
        .find(|stage| stage.kind() == kind)
        .ok_or_else(|| AppError::Other(format!("there is no stage {kind}")))?;
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    let output =
        stage.run(&inputs, &StageContext { options: &options, control }).map_err(failed)?;
    let Artifact::Audio(speech) = output.artifact else {
        return Err(AppError::Other(format!("{kind} made no speech")));
    };
    match &args.out {
        Some(path) => {
            fs::write(path, audio::wav_bytes(&speech)).map_err(AppError::io(path))?;
            eprintln!(
                "{}: {:.1} s by {}",
                path.display(),
                speech.duration_ms() as f64 / 1000.0,
                output.timing.model
            );
            Ok(())
        }
        None => playback::play(&speech).map_err(|error| AppError::Sound(error.to_string())),
    }
}
