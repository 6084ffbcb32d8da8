//! `mega-pipeline bench quality`: how well the voices are understood and how good the
//! translations are.
//!
//! A voice says sentences, and the speech model writes down what it hears. Translations are
//! written to files beside their references; `script/quality` has sacrebleu compare them.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::audio;
use crate::engine::{Cancel, Control};
use crate::error::AppError;
use crate::models::{Kind, LLM, ModelStore};
use crate::settings::Settings;
use crate::stage::{self, Artifact, Artifacts, JobOptions, Stage, StageContext, StageKind};
use crate::text::word_errors::word_errors;

/// Arguments of `bench quality`.
#[derive(Debug, Args)]
pub struct QualityArgs {
    /// Folder of the sentences: en-fr.tsv has English and its French on each line
    #[arg(default_value = "benches/quality")]
    sentences: PathBuf,
    /// Folder for the translations and what was heard
    #[arg(long, value_name = "DIR", default_value = "quality")]
    out: PathBuf,
    /// Measure one of the two alone
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
    /// Most sentences for each voice and each translation
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Voices,
    Translations,
}

/// Sentences that a voice says, where nothing else is asked for.
const SPOKEN: usize = 100;

/// A file of sentences with their translations.
struct Pair {
    /// Such as `fr`.
    target: String,
    english: Vec<String>,
    references: Vec<String>,
}

/// Measures what is installed and prints a table.
///
/// # Errors
/// When a file cannot be read or written, or a stage fails.
pub fn run(args: &QualityArgs, settings: &Settings) -> Result<(), AppError> {
    let pairs = read_pairs(&args.sentences)?;
    let store = ModelStore::open(&settings.models_dir)?;
    fs::create_dir_all(&args.out).map_err(AppError::io(&args.out))?;
    if args.only != Some(Part::Translations) {
        voices(args, settings, &store, &pairs)?;
    }
    if args.only != Some(Part::Voices) {
        for pair in &pairs {
            translations(args, settings, &store, pair)?;
        }
    }
    Ok(())
}

/// Every `en-XX.tsv` in `dir`, in order of name.
fn read_pairs(dir: &Path) -> Result<Vec<Pair>, AppError> {
    let mut pairs = Vec::new();
    for entry in fs::read_dir(dir).map_err(AppError::io(dir))? {
        let path = entry.map_err(AppError::io(dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(target) = name.strip_prefix("en-").and_then(|it| it.strip_suffix(".tsv")) else {
            continue;
        };
        let text = fs::read_to_string(&path).map_err(AppError::io(&path))?;
        let lines: Option<Vec<(&str, &str)>> =
            text.lines().map(|line| line.split_once('\t')).collect();
        let lines = lines.ok_or_else(|| {
            AppError::Other(format!("{}: a line has no tabulator", path.display()))
        })?;
        let (english, references) =
            lines.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).unzip();
        pairs.push(Pair { target: target.to_owned(), english, references });
    }
    pairs.sort_by(|one, other| one.target.cmp(&other.target));
    if pairs.is_empty() {
        return Err(AppError::Other(format!("{} holds no file like en-fr.tsv", dir.display())));
    }
    Ok(pairs)
}

/// The stage of a kind, with `model` for `role`.
fn stage_with(
    settings: &Settings,
    kind: StageKind,
    role: &str,
    model: &str,
) -> Result<Box<dyn Stage>, AppError> {
    let mut settings = settings.clone();
    settings.models.insert(role.to_owned(), model.to_owned());
    super::super::stages(false, &settings)?
        .into_iter()
        .find(|stage| stage.kind() == kind)
        .ok_or_else(|| AppError::Other(format!("there is no stage {kind}")))
}

fn run_stage(
    stage: &mut dyn Stage,
    inputs: &Artifacts,
    options: &JobOptions,
) -> Result<(Artifact, u64), AppError> {
    let kind = stage.kind();
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    let output = stage
        .run(inputs, &StageContext { options, control })
        .map_err(|error| AppError::Stage { stage: kind, error })?;
    Ok((output.artifact, output.timing.run_ms))
}

// --- Voices ---------------------------------------------------------------------

/// What one model understood of one voice.
struct Listener {
    model: String,
    stage: Box<dyn Stage>,
    errors: usize,
    words: usize,
    /// A line for each sentence: wrong words, what was said, what was heard.
    heard: String,
}

/// The models that listen to a language: those of that language alone that are installed; where
/// there are none, all multilingual ones.
fn listeners(
    settings: &Settings,
    store: &ModelStore,
    language: &str,
) -> Result<Vec<Listener>, AppError> {
    let knowing = |tag: &str| -> Vec<&str> {
        let models = store.manifest().models.iter();
        models
            .filter(|it| it.kind == Kind::Whisper && it.languages.iter().any(|known| known == tag))
            .filter(|it| store.is_installed(&it.id))
            .map(|it| it.id.as_str())
            .collect()
    };
    let own = knowing(language);
    let models = if own.is_empty() { knowing("multilingual") } else { own };
    if models.is_empty() {
        let message = format!("no speech model that knows `{language}` is installed");
        return Err(AppError::Other(message));
    }
    let with = |model: &str| {
        let stage = stage_with(settings, StageKind::TranscribeAudio, "speech-to-text", model)?;
        Ok(Listener { model: model.to_owned(), stage, errors: 0, words: 0, heard: String::new() })
    };
    models.into_iter().map(with).collect()
}

fn voices(
    args: &QualityArgs,
    settings: &Settings,
    store: &ModelStore,
    pairs: &[Pair],
) -> Result<(), AppError> {
    println!("| voice | language | listener | sentences | word errors | s of speech a s |");
    println!("|---|---|---|---|---|---|");
    for voice in stage::voices(store, &settings.models).iter().filter(|voice| voice.installed) {
        let language = voice.language.tag;
        let sentences = match pairs.iter().find(|pair| pair.target == language) {
            Some(pair) => &pair.references,
            None if language == "en" => &pairs[0].english,
            None => continue,
        };
        let kind =
            if language == "en" { StageKind::SynthesisAudioEn } else { StageKind::SynthesisAudio };
        let mut speak = stage_with(settings, kind, &format!("voice-{language}"), &voice.model.id)?;
        let mut listeners = listeners(settings, store, language)?;
        let options = JobOptions {
            language: language.to_owned(),
            target: language.to_owned(),
            voice: voice.id(),
            voice_en: voice.id(),
            ..settings.defaults.clone()
        };
        let said = args.out.join("said.wav");
        let (mut sound_ms, mut work_ms) = (0, 0);
        let sentences = &sentences[..sentences.len().min(args.limit.unwrap_or(SPOKEN))];
        for sentence in sentences {
            let inputs = Artifacts {
                text: Some(sentence.clone()),
                translation: Some(sentence.clone()),
                ..Artifacts::default()
            };
            let (artifact, ms) = run_stage(speak.as_mut(), &inputs, &options)?;
            let Artifact::Audio(audio) = artifact else { continue };
            (sound_ms, work_ms) = (sound_ms + audio.duration_ms(), work_ms + ms);
            fs::write(&said, audio::wav_bytes(&audio)).map_err(AppError::io(&said))?;
            let inputs = Artifacts { prompt: said.clone(), ..Artifacts::default() };
            for listener in &mut listeners {
                let text = match run_stage(listener.stage.as_mut(), &inputs, &options)? {
                    (Artifact::Transcript(transcript), _) => transcript.text,
                    _ => String::new(),
                };
                let (wrong, of) = word_errors(sentence, &text, language);
                (listener.errors, listener.words) = (listener.errors + wrong, listener.words + of);
                // A string takes whatever is written to it.
                let _ = writeln!(listener.heard, "{wrong}\t{sentence}\t{text}");
            }
        }
        let _ = fs::remove_file(&said);
        for Listener { model, errors, words, heard, .. } in listeners {
            let name = format!("heard.{language}.{}.{model}.tsv", voice.id().replace(':', "."));
            let path = args.out.join(name);
            fs::write(&path, heard).map_err(AppError::io(&path))?;
            println!(
                "| {} | {language} | {model} | {} | {:.1} % | {:.1} |",
                voice.id(),
                sentences.len(),
                100.0 * errors as f64 / words.max(1) as f64,
                sound_ms as f64 / work_ms.max(1) as f64,
            );
        }
    }
    println!();
    Ok(())
}

// --- Translations ---------------------------------------------------------------

fn translations(
    args: &QualityArgs,
    settings: &Settings,
    store: &ModelStore,
    pair: &Pair,
) -> Result<(), AppError> {
    let Pair { target, english, references } = pair;
    let role = format!("translation-en-{target}");
    let count = english.len().min(args.limit.unwrap_or(usize::MAX));
    let write = |name: String, lines: &[String]| {
        let path = args.out.join(name);
        fs::write(&path, format!("{}\n", lines.join("\n"))).map_err(AppError::io(&path))
    };
    write(format!("reference.en-{target}.txt"), &references[..count])?;
    let options = JobOptions { target: target.clone(), ..settings.defaults.clone() };
    for candidate in &store.manifest().role(&role)?.candidates {
        let model = candidate.model.as_str();
        if model != LLM && !store.is_installed(model) {
            continue;
        }
        let mut translate = stage_with(settings, StageKind::TranslateText, &role, model)?;
        let (mut made, mut work_ms) = (Vec::with_capacity(count), 0);
        for sentence in &english[..count] {
            let inputs = Artifacts { text: Some(sentence.clone()), ..Artifacts::default() };
            let (artifact, ms) = run_stage(translate.as_mut(), &inputs, &options)?;
            work_ms += ms;
            if let Artifact::Text(text) = artifact {
                made.push(text.replace('\n', " "));
            }
        }
        write(format!("translation.en-{target}.{model}.txt"), &made)?;
        let words: usize = english[..count].iter().map(|it| it.split_whitespace().count()).sum();
        let odd = english.iter().zip(&made).filter(|(from, to)| is_odd(from, to)).count();
        println!(
            "en-{target} by {model}: {count} sentences, {:.1} words a second, {odd} empty, echoed or \
             of an unlikely length",
            words as f64 * 1000.0 / work_ms.max(1) as f64
        );
    }
    Ok(())
}

/// Whether a translation is empty, the English again, or far too short or long.
fn is_odd(english: &str, translation: &str) -> bool {
    let ratio = translation.chars().count() as f64 / english.chars().count().max(1) as f64;
    translation.trim().is_empty() || translation == english || !(0.4..=2.5).contains(&ratio)
}
