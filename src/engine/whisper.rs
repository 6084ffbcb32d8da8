//! Speech to text with whisper.cpp.
//!
//! whisper.cpp always encodes 30 s of sound. For a short prompt most of that is padding,
//! so the encoder's context is cut to the prompt's length; where the result looks wrong
//! the prompt is transcribed again with the full context.

use std::collections::HashSet;
use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::Once;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
};

use super::{Cancel, Control, EngineError, Hardware};
use crate::audio::{Audio, SPEECH_RATE};
use crate::text::{Segment, Transcript};

/// Encoder positions for 30 s of sound, the most there are.
const FULL_CONTEXT: usize = 1500;
/// Encoder positions a second.
const POSITIONS_PER_SECOND: usize = 50;
/// Positions beyond the prompt's end that a cut context keeps; with fewer, the word error
/// rate rises.
const CONTEXT_MARGIN: usize = 256;
/// whisper.cpp refuses less than a second of sound.
const LEAST_SAMPLES: usize = SPEECH_RATE as usize * 11 / 10;
/// Slower than this, in characters a second, speech was probably left out.
const LEAST_CHARACTERS_PER_SECOND: f32 = 2.0;

/// A loaded Whisper model in whisper.cpp's own format.
pub struct Whisper {
    // The state keeps the context alive.
    state: WhisperState,
    multilingual: bool,
    threads: c_int,
}

impl Whisper {
    /// Loads a `ggml-*.bin` file.
    ///
    /// # Errors
    /// When the file is missing or is no Whisper model.
    pub fn load(model: &Path, hardware: &Hardware) -> Result<Self, EngineError> {
        static LOGGING: Once = Once::new();
        LOGGING.call_once(whisper_rs::install_logging_hooks);
        let what = "The speech model";
        if !model.is_file() {
            return Err(EngineError::Missing { what: what.to_owned(), path: model.to_owned() });
        }
        let mut params = WhisperContextParameters::new();
        params.use_gpu(hardware.gpu.is_some());
        params.gpu_device(hardware.gpu.unwrap_or_default() as c_int);
        params.flash_attn(true);
        let context = WhisperContext::new_with_params(model, params)
            .map_err(|error| EngineError::load(what, error))?;
        let state = context.create_state().map_err(|error| EngineError::load(what, error))?;
        Ok(Self {
            state,
            multilingual: context.is_multilingual(),
            threads: hardware.threads as c_int,
        })
    }

    /// Writes down what is said in `audio`, which is mono at [`SPEECH_RATE`].
    ///
    /// `language` is a BCP 47 tag; `None` lets the model find out. Models that know only
    /// English ignore it.
    ///
    /// # Errors
    /// [`EngineError::NoSpeech`] when nothing is said; when the model fails or the job
    /// was canceled.
    pub fn transcribe(
        &mut self,
        audio: &Audio,
        language: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        let cut = context_for(audio);
        let mut transcript = self.attempt(audio, language, cut, control)?;
        if cut < FULL_CONTEXT && looks_wrong(&transcript.text, audio.duration_ms()) {
            tracing::debug!(context = cut, "transcribing again with the full context");
            transcript = self.attempt(audio, language, FULL_CONTEXT, control)?;
        }
        if transcript.text.is_empty() { Err(EngineError::NoSpeech) } else { Ok(transcript) }
    }

    fn attempt(
        &mut self,
        audio: &Audio,
        language: Option<&str>,
        context: usize,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        let language = if self.multilingual { language } else { Some("en") };
        let mut params = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        params.set_n_threads(self.threads);
        params.set_language(language.or(Some("auto")));
        params.set_audio_ctx(context as c_int);
        params.set_no_context(true);
        params.set_suppress_nst(true);
        params.set_print_special(false);
        params.set_print_progress(false);
        params.set_print_realtime(false);
        params.set_print_timestamps(false);

        let mut samples = audio.samples.clone();
        samples.resize(samples.len().max(LEAST_SAMPLES), 0.0);
        let watch = Watch { control, audio_ms: audio.duration_ms() };
        let watch_pointer = (&raw const watch).cast_mut().cast::<c_void>();
        // SAFETY: both callbacks read a `Watch` from this pointer, and whisper.cpp calls
        // them only inside `full`, which ends while `watch` is alive. whisper-rs's safe
        // setters would leak a closure at every call.
        unsafe {
            params.set_abort_callback(Some(abort));
            params.set_abort_callback_user_data(watch_pointer);
            params.set_progress_callback(Some(progress));
            params.set_progress_callback_user_data(watch_pointer);
        }
        let result = self.state.full(params, &samples);
        control.cancel.check()?;
        result.map_err(|error| EngineError::run("Transcribing", error))?;
        Ok(self.transcript(audio.duration_ms(), language))
    }

    fn transcript(&self, audio_ms: u64, language: Option<&str>) -> Transcript {
        let segments: Vec<Segment> = self
            .state
            .as_iter()
            .filter_map(|segment| {
                let text = spoken(&segment.to_str_lossy().ok()?);
                let milliseconds = |hundredths: i64| {
                    (u64::try_from(hundredths).unwrap_or(0) * 10).min(audio_ms)
                };
                (!text.is_empty()).then(|| Segment {
                    start_ms: milliseconds(segment.start_timestamp()),
                    end_ms: milliseconds(segment.end_timestamp()),
                    text,
                })
            })
            .collect();
        let text = segments.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join(" ");
        let language = language.map_or_else(
            || {
                whisper_rs::get_lang_str(self.state.full_lang_id_from_state())
                    .unwrap_or("und")
                    .to_owned()
            },
            str::to_owned,
        );
        Transcript { language, text, segments }
    }
}

/// What the callbacks need while whisper.cpp works.
struct Watch<'a> {
    control: &'a Control<'a>,
    audio_ms: u64,
}

/// Asked by whisper.cpp between steps of its graph; true ends the work.
unsafe extern "C" fn abort(watch: *mut c_void) -> bool {
    // SAFETY: `watch` is the pointer to a live `Watch` that `attempt` has set.
    let cancel: &Cancel = unsafe { (*watch.cast::<Watch<'_>>()).control.cancel };
    cancel.is_canceled()
}

/// Called by whisper.cpp with the percentage of the sound that is done.
unsafe extern "C" fn progress<C, S>(_: *mut C, _: *mut S, percent: c_int, watch: *mut c_void) {
    // SAFETY: `watch` is the pointer to a live `Watch` that `attempt` has set.
    let watch = unsafe { &*watch.cast::<Watch<'_>>() };
    let done = watch.audio_ms * u64::try_from(percent).unwrap_or(0) / 100;
    watch.control.report(done.min(watch.audio_ms) as usize, watch.audio_ms as usize);
}

/// Encoder positions for a recording: its own length and a margin, or all of them.
fn context_for(audio: &Audio) -> usize {
    let seconds = audio.samples.len().div_ceil(SPEECH_RATE as usize);
    let positions = seconds * POSITIONS_PER_SECOND + CONTEXT_MARGIN;
    // ggml's matrix kernels like multiples of eight.
    positions.next_multiple_of(8).min(FULL_CONTEXT)
}

/// Whether a transcript with a cut context should not be believed: empty, far too short
/// for its recording, or the same words over and over.
fn looks_wrong(text: &str, audio_ms: u64) -> bool {
    let seconds = audio_ms as f32 / 1000.0;
    if (text.chars().count() as f32) < LEAST_CHARACTERS_PER_SECOND * seconds {
        return true;
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let distinct: HashSet<&[&str]> = words.windows(3).collect();
    words.len() > 12 && distinct.len() * 2 < words.len() - 2
}

/// What was really said: without `[BLANK_AUDIO]`, `(music)` and the like.
fn spoken(text: &str) -> String {
    let mut depth = 0_usize;
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '[' | '(' if depth == 0 => depth = 1,
            ']' | ')' if depth > 0 => depth = 0,
            '♪' | '♫' | '*' => {}
            _ if depth == 0 => kept.push(character),
            _ => {}
        }
    }
    let kept = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    if kept.chars().any(char::is_alphanumeric) { kept } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(seconds: usize) -> Audio {
        Audio { sample_rate: SPEECH_RATE, samples: vec![0.0; seconds * SPEECH_RATE as usize] }
    }

    #[test]
    fn the_context_follows_the_recording_up_to_thirty_seconds() {
        assert_eq!(context_for(&silence(5)), 512);
        assert_eq!(context_for(&silence(11)), 808);
        assert_eq!(context_for(&silence(30)), FULL_CONTEXT);
        assert_eq!(context_for(&silence(300)), FULL_CONTEXT);
    }

    #[test]
    fn a_transcript_that_repeats_itself_or_says_too_little_is_not_believed() {
        assert!(looks_wrong("", 2000));
        assert!(looks_wrong("Hi.", 8000));
        assert!(looks_wrong(&"and so on ".repeat(10), 5000));
        assert!(!looks_wrong("Containers changed how we ship software everywhere.", 4000));
    }

    #[test]
    fn what_is_not_speech_does_not_reach_the_text() {
        assert_eq!(spoken(" [BLANK_AUDIO]"), "");
        assert_eq!(spoken(" (upbeat music) Hello *there* ♪"), "Hello there");
        assert_eq!(spoken(" ..."), "");
        assert_eq!(spoken(" It's  3.14, yes."), "It's 3.14, yes.");
    }
}
