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
    Piper::load(&onnx, &config, &hardware()).expect("the voice loads")
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
pub struct Listener(Whisper);

impl Listener {
    /// The small English model.
    pub fn english() -> Self {
        Self::load("whisper-base.en", "ggml-base.en.bin")
    }

    /// The smallest model of many languages.
    pub fn multilingual() -> Self {
        Self::load("whisper-tiny", "ggml-tiny.bin")
    }

    fn load(model: &str, file: &str) -> Self {
        Self(Whisper::load(&model_file(model, file), &hardware()).expect("the model loads"))
    }

    /// What is said in `audio`, which may have any sample rate.
    pub fn hear(&self, audio: &Audio, language: &str) -> String {
        let mut samples = Vec::new();
        let mut resampler =
            Resampler::new(audio.sample_rate, SPEECH_RATE).expect("a usual sample rate");
        resampler.push(&audio.samples, &mut samples).expect("the sound is resampled");
        resampler.finish(&mut samples).expect("the sound is resampled");
        let audio = Audio { sample_rate: SPEECH_RATE, samples };
        let heard = undisturbed(|it| self.0.transcribe(&audio, Some(language), it));
        heard.expect("there is speech").text
    }
}
