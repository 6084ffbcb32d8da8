//! Speech to text with whisper.cpp.
//!
//! Called by `stage::transcribe_audio`. The model always looks at a window of 30
//! seconds, which makes a short prompt as dear as a long one; [`Whisper`] narrows
//! the window to the recording (`audio_ctx` of whisper.cpp) and widens it again
//! when what came out cannot be right. How much that saves and costs is in
//! docs/BENCHMARKS.md.

mod callbacks;
mod plausible;

use std::path::Path;
use std::sync::Once;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

use super::{Control, EngineError, Hardware};
use crate::audio::{Audio, SPEECH_RATE};
use crate::text::{Segment, Transcript};
use callbacks::Callbacks;
use plausible::{is_plausible, without_annotations};

/// Encoder positions in the full window of 30 s: one for every 20 ms.
const FULL_CONTEXT: usize = 1500;

/// Positions added to the length of the recording. Without any the model, which
/// was trained on windows padded with silence, loses the last words.
const CONTEXT_MARGIN: usize = 256;

/// Encoder positions for one second of sound.
const POSITIONS_PER_SECOND: usize = 50;

/// whisper.cpp computes attention in blocks of this many positions.
const CONTEXT_STEP: usize = 8;

/// whisper.cpp ignores recordings that are shorter than this.
const MIN_SAMPLES: usize = SPEECH_RATE as usize;

/// Below this height (about -80 dB) a recording is silence, in which the model
/// would hear words that nobody said.
const SILENCE_PEAK: f32 = 1e-4;

/// A loaded Whisper model in whisper.cpp's own file format.
pub struct Whisper {
    state: WhisperState,
    is_multilingual: bool,
    threads: usize,
}

impl Whisper {
    /// Loads the weights at `model` and reserves the memory that a run needs.
    ///
    /// # Errors
    /// [`EngineError::Missing`] without the file, [`EngineError::Load`] when it is no
    /// Whisper model or memory does not suffice.
    pub fn load(model: &Path, hardware: &Hardware) -> Result<Self, EngineError> {
        // whisper.cpp would write its log to standard error.
        static LOG: Once = Once::new();
        LOG.call_once(whisper_rs::install_logging_hooks);

        let what = "The speech recognition model";
        if !model.is_file() {
            return Err(EngineError::Missing { what: what.to_owned(), path: model.to_owned() });
        }
        let mut params = WhisperContextParameters::new();
        params.use_gpu(hardware.gpu.is_some()).gpu_device(hardware.gpu.unwrap_or(0) as i32);
        params.flash_attn(true);
        let context = WhisperContext::new_with_params(model, params)
            .map_err(|error| EngineError::load(what, error))?;
        let state = context.create_state().map_err(|error| EngineError::load(what, error))?;
        let is_multilingual = context.is_multilingual();
        Ok(Self { state, is_multilingual, threads: hardware.threads.max(1) })
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
        &mut self,
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

        let context = context_for(audio.samples.len());
        let mut transcript = self.run(audio, language, context, control)?;
        if context < FULL_CONTEXT && !is_plausible(&transcript, &audio.samples) {
            tracing::debug!(context, "the transcript is implausible; using the full window");
            transcript = self.run(audio, language, FULL_CONTEXT, control)?;
        }
        if transcript.segments.is_empty() {
            return Err(EngineError::NoSpeech);
        }
        Ok(transcript)
    }

    /// The language as whisper.cpp calls it; `None` is to be found out.
    fn language<'a>(&self, tag: Option<&'a str>) -> Result<Option<&'a str>, EngineError> {
        if !self.is_multilingual {
            return Ok(Some("en"));
        }
        let Some(tag) = tag else { return Ok(None) };
        let primary = tag.split(['-', '_']).next().unwrap_or(tag);
        // whisper-rs panics on a zero byte.
        let is_name = !primary.is_empty() && primary.bytes().all(|b| b.is_ascii_lowercase());
        if is_name && whisper_rs::get_lang_id(primary).is_some() {
            return Ok(Some(primary));
        }
        Err(EngineError::UnsupportedLanguage(format!(
            "Speech in the language `{tag}` cannot be transcribed. Use a tag such as `en` or `fr`."
        )))
    }

    /// One pass of whisper.cpp over the whole recording.
    fn run(
        &mut self,
        audio: &Audio,
        language: Option<&str>,
        context: usize,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 5 });
        params.set_n_threads(self.threads as i32);
        params.set_language(language);
        params.set_audio_ctx(if context < FULL_CONTEXT { context as i32 } else { 0 });
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
        let result = self.state.full(params, samples);
        control.cancel.check()?;
        result.map_err(|error| EngineError::run("Transcribing", error))?;
        Ok(self.transcript(audio.duration_ms()))
    }

    /// What the last run wrote down, without notes such as `[MUSIC]`, with times
    /// that lie within the recording and follow one another.
    fn transcript(&self, duration_ms: u64) -> Transcript {
        let mut segments: Vec<Segment> = Vec::new();
        for segment in self.state.as_iter() {
            let Ok(said) = segment.to_str_lossy() else { continue };
            let text = without_annotations(&said);
            if text.is_empty() {
                continue;
            }
            // whisper.cpp counts hundredths of a second.
            let milliseconds = |hundredths: i64| (hundredths.max(0) as u64 * 10).min(duration_ms);
            let earliest = segments.last().map_or(0, |last| last.end_ms);
            let start_ms = milliseconds(segment.start_timestamp()).max(earliest);
            let end_ms = milliseconds(segment.end_timestamp()).max(start_ms);
            segments.push(Segment { start_ms, end_ms, text });
        }
        let language = whisper_rs::get_lang_str(self.state.full_lang_id_from_state());
        let text = segments.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>();
        Transcript { language: language.unwrap_or("en").to_owned(), text: text.join(" "), segments }
    }
}

/// Encoder positions for a recording of so many samples.
fn context_for(samples: usize) -> usize {
    let positions = (samples * POSITIONS_PER_SECOND).div_ceil(SPEECH_RATE as usize);
    (positions + CONTEXT_MARGIN).next_multiple_of(CONTEXT_STEP).min(FULL_CONTEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_recording_up_to_thirty_seconds() {
        assert_eq!(context_for(16_000), 312);
        assert_eq!(context_for(5 * 16_000 + 1), 512);
        assert_eq!(context_for(25 * 16_000), FULL_CONTEXT);
        assert_eq!(context_for(3600 * 16_000), FULL_CONTEXT);
    }

    #[test]
    fn a_missing_model_is_named_with_its_path() {
        let hardware = Hardware { threads: 1, gpu: None };
        let path = Path::new("nowhere/ggml-tiny.bin");
        let Err(error) = Whisper::load(path, &hardware) else { panic!("there is no such file") };
        assert!(error.to_string().contains("nowhere/ggml-tiny.bin"), "{error}");
    }
}
