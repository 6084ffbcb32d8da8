//! Promise: where nobody speaks nothing is written down, whatever else can be heard.
//!
//! Each sound goes through the first stage as a job's recording would, with real models.

mod support;

use std::f32::consts::TAU;

use mega_pipeline::audio::{Audio, DecodeLimits, SPEECH_RATE, decode, write_wav};
use mega_pipeline::config::{Config, Origin};
use mega_pipeline::engine::{Cancel, Control};
use mega_pipeline::models::ModelStore;
use mega_pipeline::settings::Settings;
use mega_pipeline::stage::{
    self, Artifact, Artifacts, ErrorCode, Stage, StageContext, StageError, StageKind, StageOutput,
};
use mega_pipeline::text::word_errors::word_errors;
use support::models_dir;
use support::sound::Noise;
use support::speech::librivox;

const RATE: usize = SPEECH_RATE as usize;

/// The first stage with the model that hears words most easily.
struct Listener {
    stage: Box<dyn Stage>,
    settings: Settings,
}

impl Listener {
    fn new() -> Self {
        let mut config = Config::defaults();
        let models = models_dir().to_string_lossy().into_owned();
        for (key, value) in
            [("models_dir", models.as_str()), ("model.speech-to-text", "whisper-tiny")]
        {
            config.set(key, value, Origin::Default).expect("a setting");
        }
        let settings = Settings::new(&config).expect("valid settings");
        let stages =
            stage::local(&settings, &ModelStore::open(&settings.models_dir).expect("a store"));
        let stage = stages.into_iter().find(|it| it.kind() == StageKind::TranscribeAudio);
        Self { stage: stage.expect("all five are there"), settings }
    }

    fn hear(&mut self, samples: Vec<f32>) -> Result<StageOutput, StageError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let prompt = dir.path().join("prompt.wav");
        write_wav(&prompt, &Audio { sample_rate: SPEECH_RATE, samples }).expect("written");
        let inputs = Artifacts { prompt, ..Artifacts::default() };
        let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
        self.stage.run(&inputs, &StageContext { options: &self.settings.defaults, control })
    }

    /// Asserts that `samples` end as `no_speech`.
    #[track_caller]
    fn assert_nothing_heard(&mut self, what: &str, samples: Vec<f32>) {
        match self.hear(samples) {
            Err(error) => assert_eq!(error.code, ErrorCode::NoSpeech, "{what}: {error}"),
            Ok(output) => panic!("{what} was heard as {:?}", output.artifact),
        }
    }
}

/// So many seconds of `sound`, a function of seconds and of the sample's number.
fn make(seconds: usize, mut sound: impl FnMut(f32) -> f32) -> Vec<f32> {
    (0..seconds * RATE).map(|n| sound(n as f32 / RATE as f32)).collect()
}

#[test]
fn digital_silence_and_the_hiss_of_a_quiet_room() {
    let mut listener = Listener::new();
    listener.assert_nothing_heard("digital silence", vec![0.0; 5 * RATE]);
    listener.assert_nothing_heard("a minute of silence", vec![0.0; 60 * RATE]);
    let mut noise = Noise::new(1);
    listener.assert_nothing_heard("a quiet room", make(5, |_| 0.002 * noise.next()));
}

#[test]
fn noise_at_every_height() {
    let mut listener = Listener::new();
    for height in [0.01, 0.1, 0.7] {
        let mut noise = Noise::new(7);
        let white = make(6, |_| height * noise.next());
        listener.assert_nothing_heard(&format!("white noise at {height}"), white);
    }
    // Deep noise, as of wind or a street.
    let (mut noise, mut sum) = (Noise::new(3), 0.0);
    let brown = make(6, |_| {
        sum = 0.99 * sum + 0.05 * noise.next();
        sum
    });
    listener.assert_nothing_heard("brown noise", brown);
}

#[test]
fn coughs_claps_and_a_hum() {
    let mut listener = Listener::new();
    // A cough: a sudden burst of noise through the throat, then a shorter one.
    let (mut noise, mut low, mut band) = (Noise::new(5), 0.0_f32, 0.0_f32);
    let coughs = make(4, |t| {
        let burst = |start: f32, length: f32| {
            let since = t - start;
            if (0.0..0.5).contains(&since) {
                (since / 0.01).min(1.0) * (-since / length).exp()
            } else {
                0.0
            }
        };
        // A resonance at about 700 Hz.
        low += 0.27 * band;
        band += 0.27 * (noise.next() - low - 0.6 * band);
        0.5 * band * (burst(1.0, 0.08) + 0.7 * burst(1.45, 0.06))
    });
    listener.assert_nothing_heard("coughs", coughs);
    let mut noise = Noise::new(9);
    let claps = make(4, |t| 0.8 * noise.next() * (-(t % 0.7) / 0.01).exp());
    listener.assert_nothing_heard("claps", claps);
    let hum =
        make(5, |t| (1..=5).map(|k| (TAU * 50.0 * k as f32 * t).sin() / k as f32).sum::<f32>());
    listener.assert_nothing_heard("a mains hum", hum.iter().map(|sample| 0.1 * sample).collect());
}

#[test]
fn music_without_a_singer() {
    let mut listener = Listener::new();
    // Chords of plucked strings, with a bass and a cymbal on the beat.
    let chords = [[220.0, 261.6, 329.6], [174.6, 220.0, 261.6], [196.0, 246.9, 293.7]];
    let mut noise = Noise::new(11);
    let music = make(12, |t| {
        let beat = (t / 0.5) as usize;
        let since = t % 0.5;
        let pluck = |frequency: f32| -> f32 {
            (1..=6)
                .map(|k| {
                    let k = k as f32;
                    (TAU * frequency * k * t).sin() / k * (-since * (2.0 + k)).exp()
                })
                .sum()
        };
        let chord = chords[beat / 4 % chords.len()];
        let strings: f32 = chord.iter().map(|&frequency| pluck(frequency)).sum();
        let melody = pluck(chord[beat % 3] * 2.0);
        let cymbal = noise.next() * (-since / 0.03).exp();
        0.08 * strings + 0.08 * melody + 0.1 * pluck(chord[0] / 2.0) + 0.03 * cymbal
    });
    listener.assert_nothing_heard("strings and a cymbal", music);
    // A whistled tune: one sweeping tone.
    let mut phase = 0.0;
    let whistle = make(6, |t| {
        let frequency = 1000.0 + 300.0 * (TAU * 0.4 * t).sin() + 20.0 * (TAU * 5.0 * t).sin();
        phase += TAU * frequency / RATE as f32;
        0.2 * phase.sin()
    });
    listener.assert_nothing_heard("a whistle", whistle);
}

#[test]
fn words_among_noise_are_heard_all_the_same() {
    let clip = &librivox()[0];
    let said = decode(&clip.path, &DecodeLimits::default()).expect("a clip is decoded");
    let mut noise = Noise::new(13);
    let mut samples = make(2, |_| 0.0);
    samples.extend(said.samples);
    for sample in &mut samples {
        *sample += 0.003 * noise.next();
    }
    let output = Listener::new().hear(samples).expect("somebody speaks");
    let Artifact::Transcript(transcript) = output.artifact else { panic!("no transcript") };
    let (errors, words) = word_errors(&clip.text, &transcript.text, "en");
    assert!(errors * 5 < words, "{errors} of {words} words are wrong: {}", transcript.text);
}
