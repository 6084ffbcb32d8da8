//! Speech to text with whisper.cpp.
//!
//! Called by `stage::transcribe_audio`. The model always looks at a window of 30
//! seconds, which makes a short prompt as dear as a long one; [`Whisper`] narrows
//! the window to the recording (`audio_ctx` of whisper.cpp) and widens it again
//! when what came out cannot be right. On sentences of 3 to 7 s that made base.en
//! four times faster. Of English only: other languages are heard worse through a
//! narrow window.

mod callbacks;
mod encoder;
mod external;
mod lanes;
mod log;
mod parts;
mod plausible;
mod segments;

use std::path::Path;
use std::sync::Arc;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

use super::{Control, EngineError, Hardware};
use crate::audio::{Audio, SPEECH_RATE};
use crate::text::{Transcript, language};
use callbacks::Callbacks;
pub use encoder::Encoder;
pub use external::create_state;
use plausible::is_plausible;
use segments::Vocabulary;

/// Encoder positions in the full window of 30 s: one for every 20 ms.
const FULL_CONTEXT: usize = 1500;

/// Positions added to the length of the recording. The model was trained on windows
/// padded with silence; with half as many, base.en gets 7 words in 100 wrong where
/// it otherwise gets 1 or 2, and with fewer it says sentences twice.
const CONTEXT_MARGIN: usize = 256;

/// Encoder positions for one second of sound.
const POSITIONS_PER_SECOND: usize = 50;

/// whisper.cpp computes attention in blocks of this many positions.
const CONTEXT_STEP: usize = 8;

/// Transcripts that are followed side by side, as many as OpenAI's own program follows.
const BEAMS: i32 = 5;

/// whisper.cpp ignores recordings that are shorter than this.
const MIN_SAMPLES: usize = SPEECH_RATE as usize;

/// Languages that whisper.cpp calls otherwise than BCP 47.
const OWN_TAGS: [(&str, &str); 2] = [("jv", "jw"), ("nb", "no")];

/// Tokens of a multilingual model that do not name a language.
const TOKENS_BESIDE_LANGUAGES: i32 = 51_766;

/// Below this height (about -80 dB) a recording is silence, in which the model
/// would hear words that nobody said.
const SILENCE_PEAK: f32 = 1e-4;

/// How a recording is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passes {
    /// Once, through a window of so many positions. After a pass whisper.cpp would
    /// go on from the last time that the model said, and in the few tenths of a
    /// second that are left the model hears words that nobody said.
    One { context: usize },
    /// As often as whisper.cpp thinks fit, 30 s at a time.
    Many,
}

/// A loaded Whisper model in whisper.cpp's own file format.
pub struct Whisper {
    context: WhisperContext,
    /// In place of whisper.cpp's.
    encoder: Option<Arc<Encoder>>,
    vocabulary: Vocabulary,
    threads: usize,
    /// Parts of a long recording that are written down side by side.
    lanes: usize,
}

impl Whisper {
    /// Loads the weights at `model` and sees whether whisper.cpp's memory for a run can be had.
    ///
    /// # Errors
    /// [`EngineError::Missing`] without the file, [`EngineError::Load`] when it is no
    /// Whisper model or memory does not suffice.
    pub fn load(model: &Path, hardware: &Hardware) -> Result<Self, EngineError> {
        log::take_over();
        let what = "The speech recognition model";
        if !model.is_file() {
            return Err(EngineError::Missing { what: what.to_owned(), path: model.to_owned() });
        }
        let mut params = WhisperContextParameters::new();
        params.use_gpu(hardware.gpu.is_some()).gpu_device(hardware.gpu.unwrap_or(0) as i32);
        // Quicker on a GPU. On a CPU narrow windows come out better with it: base.en got 1 of 70
        // words wrong with it and 14 without, because it wrote one sentence twice.
        params.flash_attn(true);
        let context = WhisperContext::new_with_params(model, params)
            .map_err(|error| EngineError::load(what, error))?;
        let threads = hardware.threads.max(1);
        let encoder = hardware.gpu.is_none().then(|| own_encoder(model)).flatten();
        create_state(&context, encoder.as_ref(), threads)
            .map_err(|error| EngineError::load(what, error))?;
        let vocabulary = Vocabulary::of(&context);
        // A GPU does one after the other anyway.
        let lanes = if hardware.gpu.is_some() { 1 } else { threads.min(lanes::LANES) };
        Ok(Self { context, encoder, vocabulary, threads, lanes })
    }

    /// Whether the model knows more than English.
    #[must_use]
    pub fn is_multilingual(&self) -> bool {
        self.context.is_multilingual()
    }

    /// Writes down what is said in `audio`, which must be mono at [`SPEECH_RATE`].
    ///
    /// `language` is the BCP 47 tag of what is spoken; `None` lets the model find
    /// out. A model that knows only English ignores it. Progress is reported in
    /// milliseconds of sound.
    ///
    /// # Errors
    /// [`EngineError::NoSpeech`] when nothing is said,
    /// [`EngineError::UnsupportedLanguage`] for a language that Whisper does not
    /// know, [`EngineError::Canceled`], and [`EngineError::Run`] when whisper.cpp
    /// fails.
    pub fn transcribe(
        &self,
        audio: &Audio,
        language: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        self.transcribe_with(self.threads, audio, language, control)
    }

    /// As [`Whisper::transcribe`], with so many threads.
    fn transcribe_with(
        &self,
        threads: usize,
        audio: &Audio,
        language: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        if audio.sample_rate != SPEECH_RATE {
            let detail = format!("sound at {} Hz and not at {SPEECH_RATE} Hz", audio.sample_rate);
            return Err(EngineError::run("Transcribing", detail));
        }
        let language = self.language(language)?;
        control.cancel.check()?;
        if audio.samples.iter().all(|sample| sample.abs() < SILENCE_PEAK) {
            return Err(EngineError::NoSpeech);
        }

        let passes = match passes_for(audio.samples.len()) {
            // Other languages than English suffer from a narrow window: see docs/BENCHMARKS.md.
            Passes::One { .. } if language != Some("en") => Passes::One { context: FULL_CONTEXT },
            passes => passes,
        };
        let mut transcript = self.run(threads, audio, language, passes, control)?;
        if passes != Passes::Many && !is_plausible(&transcript, &audio.samples) {
            tracing::debug!(?passes, "the transcript is implausible; using the full window");
            transcript = self.run(threads, audio, language, Passes::Many, control)?;
        }
        if transcript.segments.is_empty() {
            return Err(EngineError::NoSpeech);
        }
        Ok(transcript)
    }

    /// The language as whisper.cpp calls it; `None` is to be found out. Models before large-v3 know
    /// one less than whisper.cpp, and hear Cantonese as Chinese.
    fn language<'a>(&self, tag: Option<&'a str>) -> Result<Option<&'a str>, EngineError> {
        if !self.context.is_multilingual() {
            return Ok(Some("en"));
        }
        let Some(tag) = tag else { return Ok(None) };
        let primary = tag.split(['-', '_']).next().unwrap_or(tag);
        let named = language::language(tag).map_or(primary, |language| language.tag);
        let own = OWN_TAGS.iter().find(|(tag, _)| *tag == named).map_or(named, |(_, own)| own);
        // whisper-rs panics on a zero byte.
        let is_name = !own.is_empty() && own.bytes().all(|b| b.is_ascii_lowercase());
        let known = self.context.n_vocab() - TOKENS_BESIDE_LANGUAGES;
        match is_name.then(|| whisper_rs::get_lang_id(own)).flatten() {
            Some(id) if id < known => return Ok(Some(own)),
            Some(_) if own == "yue" => return Ok(Some("zh")),
            _ => {}
        }
        Err(EngineError::UnsupportedLanguage(format!(
            "Speech in the language `{tag}` cannot be transcribed. Use a tag such as `en` or `fr`."
        )))
    }

    /// Has whisper.cpp go through the whole recording.
    fn run(
        &self,
        threads: usize,
        audio: &Audio,
        language: Option<&str>,
        passes: Passes,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        let mut params = FullParams::new(if self.is_multilingual() {
            // Where a model knows many languages, the likeliest word is wrong more often: see
            // docs/BENCHMARKS.md. English-only models do not gain.
            SamplingStrategy::BeamSearch { beam_size: BEAMS, patience: -1.0 }
        } else {
            SamplingStrategy::Greedy { best_of: 5 }
        });
        params.set_n_threads(threads as i32);
        params.set_language(language);
        if let Passes::One { context } = passes {
            params.set_audio_ctx(context as i32);
            params.set_single_segment(true);
        }
        params.set_print_progress(false);
        params.set_print_timestamps(false);
        let callbacks = Callbacks::new(control, audio.duration_ms());
        // SAFETY: `callbacks` lives to the end of this function; the run ends before.
        unsafe { callbacks.install(&mut params) };

        let padded;
        let samples = if audio.samples.len() < MIN_SAMPLES {
            let mut longer = audio.samples.clone();
            longer.resize(MIN_SAMPLES, 0.0);
            padded = longer;
            padded.as_slice()
        } else {
            &audio.samples
        };
        // A new state takes some 30 ms, and gets the encoder with its threads. Besides, flash
        // attention reads the window up to the next multiple of 256 positions, and in an old
        // state finds there what the last recording left: the same recording would not always
        // give the same text.
        let failed = |error| EngineError::run("Transcribing", error);
        let mut state =
            create_state(&self.context, self.encoder.as_ref(), threads).map_err(failed)?;
        let result = log::quiet_once_canceled(control.cancel, || state.full(params, samples));
        control.cancel.check()?;
        result.map_err(failed)?;
        Ok(self.transcript(&state, passes, audio.duration_ms()))
    }

    /// What the run that left `state` wrote down.
    fn transcript(&self, state: &WhisperState, passes: Passes, duration_ms: u64) -> Transcript {
        let segments = match passes {
            Passes::One { .. } => self.vocabulary.one_pass(state, duration_ms),
            Passes::Many => segments::many_passes(state, duration_ms),
        };
        let own = whisper_rs::get_lang_str(state.full_lang_id_from_state()).unwrap_or("en");
        let language = language::language(own).map_or(own, |language| language.tag);
        let text = segments.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>();
        Transcript { language: language.to_owned(), text: text.join(" "), segments }
    }
}

/// The encoder of our own for the model at `path`, where it is quicker than whisper.cpp's.
fn own_encoder(path: &Path) -> Option<Arc<Encoder>> {
    // Other processors compute with what the compiler makes of plain loops, and nobody has measured
    // that beside ggml's kernels.
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    match Encoder::read(path) {
        Ok(encoder) => encoder.map(Arc::new),
        Err(error) => {
            tracing::warn!(%error, "only whisper.cpp can read this model's encoder, which is slower");
            None
        }
    }
}

/// One pass for a recording of so many samples if it fits into the window.
fn passes_for(samples: usize) -> Passes {
    let positions = (samples * POSITIONS_PER_SECOND).div_ceil(SPEECH_RATE as usize);
    if positions > FULL_CONTEXT {
        return Passes::Many;
    }
    let context = (positions + CONTEXT_MARGIN).next_multiple_of(CONTEXT_STEP).min(FULL_CONTEXT);
    Passes::One { context }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_recording_up_to_thirty_seconds() {
        let one = |context| Passes::One { context };
        assert_eq!(passes_for(16_000), one(312));
        assert_eq!(passes_for(5 * 16_000 + 1), one(512));
        assert_eq!(passes_for(30 * 16_000), one(FULL_CONTEXT));
        assert_eq!(passes_for(30 * 16_000 + 1), Passes::Many);
    }

    #[test]
    fn every_language_of_whisper_can_be_named_and_the_other_way_round() {
        let own = |tag| OWN_TAGS.iter().find(|(it, _)| *it == tag).map_or(tag, |(_, own)| *own);
        for id in 0..=whisper_rs::get_lang_max_id() {
            let tag = whisper_rs::get_lang_str(id).expect("a language");
            let found = language::language(tag).unwrap_or_else(|| panic!("{tag} has no name"));
            assert_eq!(whisper_rs::get_lang_id(own(found.tag)), Some(id), "{tag}");
        }
        for language in language::LANGUAGES {
            assert!(whisper_rs::get_lang_id(own(language.tag)).is_some(), "{language:?}");
        }
    }

    #[test]
    fn a_missing_model_is_named_with_its_path() {
        let hardware = Hardware { threads: 1, gpu: None };
        let path = Path::new("nowhere/ggml-tiny.bin");
        let Err(error) = Whisper::load(path, &hardware) else { panic!("there is no such file") };
        assert!(error.to_string().contains("nowhere/ggml-tiny.bin"), "{error}");
    }
}
