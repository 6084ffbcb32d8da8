//! The voices that the tests use, and somebody who listens to them.

use mega_pipeline::audio::resample::Resampler;
use mega_pipeline::audio::{Audio, SPEECH_RATE};
use mega_pipeline::engine::kokoro::Kokoro;
use mega_pipeline::engine::piper::Piper;
use mega_pipeline::engine::whisper::Whisper;

use super::{hardware, model_file, start_speech, undisturbed};

/// The English Piper voice.
pub fn piper() -> Piper {
    start_speech();
    let model = "piper-en_US-joe-medium";
    let onnx = model_file(model, "en_US-joe-medium.onnx");
    let config = model_file(model, "en_US-joe-medium.onnx.json");
    Piper::load(&onnx, &config, None, &hardware()).expect("the voice loads")
}

/// A Kokoro voice, such as `ff_siwis` for `fr`.
pub fn kokoro(voice: &str, language: &str) -> Kokoro {
    start_speech();
    let onnx = model_file("kokoro-82m-q8", "model_quantized.onnx");
    let config = model_file("kokoro-config", "config.json");
    let style = model_file(&format!("kokoro-voice-{voice}"), &format!("{voice}.bin"));
    Kokoro::load(&onnx, &config, &style, language, &hardware()).expect("the voice loads")
}

/// A Whisper model that writes down what a voice said.
pub struct Listener {
    whisper: Whisper,
    /// Samples that a recording is filled up to with silence.
    window: usize,
}

impl Listener {
    /// The small English model.
    pub fn english() -> Self {
        Self::load("whisper-base.en", "ggml-base.en.bin", 0)
    }

    /// The smallest model of many languages. It judges a voice fairly only through the
    /// window of 30 s that it was trained on; with less it mishears French.
    pub fn multilingual() -> Self {
        Self::load("whisper-tiny", "ggml-tiny.bin", 30 * SPEECH_RATE as usize)
    }

    fn load(model: &str, file: &str, window: usize) -> Self {
        let whisper = Whisper::load(&model_file(model, file), &hardware());
        Self { whisper: whisper.expect("the model loads"), window }
    }

    /// What is said in `audio`, which may have any sample rate.
    pub fn hear(&self, audio: &Audio, language: &str) -> String {
        let mut samples = Vec::new();
        let mut resampler =
            Resampler::new(audio.sample_rate, SPEECH_RATE).expect("a usual sample rate");
        resampler.push(&audio.samples, &mut samples).expect("the sound is resampled");
        resampler.finish(&mut samples).expect("the sound is resampled");
        samples.resize(samples.len().max(self.window), 0.0);
        let audio = Audio { sample_rate: SPEECH_RATE, samples };
        let heard = undisturbed(|it| self.whisper.transcribe(&audio, Some(language), it));
        heard.expect("there is speech").text
    }
}
