//! The voices speak for real, pause where the text does, and silence is silence.

mod support;

use std::time::Instant;

use mega_pipeline::audio::{self, Audio};
use mega_pipeline::engine::kokoro::{Kokoro, KokoroModel};
use mega_pipeline::engine::phonemes::{self, TIE};
use mega_pipeline::engine::vad::Vad;
use mega_pipeline::engine::{Cancel, EngineError, Hardware, Voice};
use mega_pipeline::stage::StageKind;
use support::process::{mega, run};
use support::stages::Stages;
use support::voices::{kokoro, piper};
use support::{model_file, models_dir, start_speech};

const HARDWARE: Hardware = Hardware { threads: 2, gpu: None };
const ENGLISH: &str = "A container image holds a program together with everything it needs to run.";
const FRENCH: &str = "Une image de conteneur réunit un programme et tout ce qu’il lui faut.";
const PORTUGUESE: &str = "Uma imagem de contêiner reúne um programa e tudo de que ele precisa.";

/// Says `sentence` twice, checks the promise of [`Voice::say`] and that it took
/// `seconds` of sound; prints what it cost cold and warm.
fn speaks(voice: &mut dyn Voice, sentence: &str, seconds: std::ops::Range<f32>) -> Vec<f32> {
    let began = Instant::now();
    voice.say(sentence, 1.0, &Cancel::default()).expect("it speaks");
    let cold = began.elapsed().as_secs_f32();
    let began = Instant::now();
    let samples = voice.say(sentence, 1.0, &Cancel::default()).expect("it speaks");
    let warm = began.elapsed().as_secs_f32();
    let length = samples.len() as f32 / voice.sample_rate() as f32;
    println!(
        "{length:.2} s of speech: first {cold:.2} s, then {warm:.2} s, RTF {:.3}",
        warm / length
    );
    assert!(seconds.contains(&length), "{length} s of speech");
    assert!(samples.iter().all(|sample| (-1.0..=1.0).contains(sample)));
    let loudest = samples.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
    assert!(loudest > 0.05, "the loudest sample is {loudest}");
    samples
}

#[test]
fn piper_speaks_english() {
    let mut voice = piper();
    assert_eq!(voice.sample_rate(), 22_050);
    speaks(&mut voice, ENGLISH, 3.0..6.5);
}

#[test]
fn kokoro_speaks_french() {
    let mut voice = kokoro("ff_siwis", "fr");
    assert_eq!(voice.sample_rate(), 24_000);
    speaks(&mut voice, FRENCH, 3.0..6.5);
}

#[test]
fn kokoro_speaks_portuguese() {
    speaks(&mut kokoro("pf_dora", "pt-BR"), PORTUGUESE, 3.0..6.5);
}

#[test]
fn two_kokoro_voices_share_one_model() {
    start_speech();
    let model = KokoroModel::load(
        &model_file("kokoro-82m-q8", "model_quantized.onnx"),
        &model_file("kokoro-config", "config.json"),
        &HARDWARE,
    )
    .expect("the model loads");
    let style = |voice: &str| model_file(&format!("kokoro-voice-{voice}"), &format!("{voice}.bin"));
    let mut english = Kokoro::with_model(model.clone(), &style("af_heart"), "en").expect("a voice");
    let mut french = Kokoro::with_model(model, &style("ff_siwis"), "fr").expect("a voice");
    assert!(!english.say("Good morning.", 1.0, &Cancel::default()).expect("it speaks").is_empty());
    assert!(!french.say("Bonjour.", 1.0, &Cancel::default()).expect("it speaks").is_empty());
}

#[test]
fn punctuation_makes_pauses() {
    for voice in [&mut piper() as &mut dyn Voice, &mut kokoro("af_heart", "en")] {
        // Piper varies its pace a little from one time to the next.
        let mut length = |text: &str| {
            (0..3)
                .map(|_| voice.say(text, 1.0, &Cancel::default()).expect("it speaks").len())
                .sum::<usize>()
        };
        let paused = length("Hello, world. How are you?");
        let run_on = length("Hello world how are you");
        assert!(paused as f32 > run_on as f32 * 1.1, "{paused} against {run_on} samples");
    }
}

#[test]
fn a_higher_speed_is_faster() {
    for voice in [&mut piper() as &mut dyn Voice, &mut kokoro("af_heart", "en")] {
        // Piper draws the pace of every sound anew: one sentence alone may be off by a fifth.
        let mut length = |speed: f32| {
            (0..4)
                .map(|_| voice.say(ENGLISH, speed, &Cancel::default()).expect("it speaks").len())
                .sum::<usize>()
        };
        let (slow, fast) = (length(0.8) as f32, length(1.6) as f32);
        assert!((1.5..2.5).contains(&(slow / fast)), "{slow} against {fast} samples");
    }
}

#[test]
fn what_marks_an_untranslated_sentence_is_not_said() {
    let mut stages = Stages::new("fr");
    let [plain, marked] = ["Bonjour.\n- Good morning.", "Bonjour.\n- [en] Good morning."]
        .map(|text| stages.speak(StageKind::SynthesisAudio, text).samples);
    assert!(plain.len() > 24_000 && plain == marked, "{} and {}", plain.len(), marked.len());
}

/// Of this process, in MB.
fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1000
}

#[test]
fn a_thousand_words_are_spoken_with_little_more_memory_than_a_hundred() {
    let mut stages = Stages::new("fr");
    let mut speak = |sentences: usize| {
        let text = vec![ENGLISH; sentences].join(" ");
        let audio = stages.speak(StageKind::SynthesisAudioEn, &text);
        (text.split(' ').count(), audio.duration_ms(), resident_memory())
    };
    let (few, short, before) = speak(8);
    let (many, long, after) = speak(77);
    println!("{few} words, {short} ms, {before} MB; {many} words, {long} ms, {after} MB");
    assert!(few > 100 && many > 1000);
    assert!((8.5..11.0).contains(&(long as f64 / short as f64)), "{short} and {long} ms");
    // The sound itself is some 30 MB, in a list that may be twice as long.
    assert!(after < before + 90, "{before} and {after} MB");
}

#[test]
fn after_a_job_voices_keep_little_of_the_memory_that_speaking_took() {
    let mut stages = Stages::new("fr");
    let long = format!("{} {ENGLISH}", ENGLISH.replace('.', ","));
    // Where all was kept, there were 255 and 180 MB more.
    for (kind, most) in [(StageKind::SynthesisAudioEn, 170), (StageKind::SynthesisAudio, 100)] {
        stages.load(kind);
        let loaded = resident_memory();
        stages.run(kind, &long);
        let rested = resident_memory();
        println!("{kind}: {loaded} MB loaded, {rested} MB after speaking");
        assert!(rested < loaded + most, "{kind}: {loaded} MB loaded, {rested} MB after speaking");
    }
}

#[test]
fn an_impossible_speed_is_refused() {
    let mut voice = piper();
    for speed in [0.0, -1.0, 100.0, f32::NAN, f32::INFINITY] {
        assert!(
            matches!(voice.say(ENGLISH, speed, &Cancel::default()), Err(EngineError::Run { .. })),
            "{speed}"
        );
    }
}

#[test]
fn text_without_words_is_silent() {
    for voice in [&mut piper() as &mut dyn Voice, &mut kokoro("ff_siwis", "fr")] {
        for text in ["", "  ", "…", "—", "\0", "\u{200b}"] {
            assert_eq!(
                voice.say(text, 1.0, &Cancel::default()).expect("no failure"),
                Vec::<f32>::new(),
                "{text:?}"
            );
        }
    }
}

#[test]
fn a_sentence_beyond_the_models_limit_is_spoken_whole() {
    let mut voice = kokoro("af_heart", "en");
    let clause = "the quick brown fox jumps over the lazy dog";
    let long = vec![clause; 20].join(", ");
    let once = voice.say(clause, 1.0, &Cancel::default()).expect("it speaks").len();
    let all = voice.say(&long, 1.0, &Cancel::default()).expect("it speaks").len();
    assert!(all > 14 * once, "{all} against {once} samples");
}

#[test]
fn a_damaged_style_file_is_refused() {
    start_speech();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let style = folder.path().join("voice.bin");
    std::fs::write(&style, vec![0; 522_239]).expect("a file");
    let onnx = model_file("kokoro-82m-q8", "model_quantized.onnx");
    let config = model_file("kokoro-config", "config.json");
    let error = Kokoro::load(&onnx, &config, &style, "fr", &HARDWARE).err().expect("refused");
    assert!(error.to_string().contains("522239 bytes instead of 522240"), "{error}");
}

#[test]
fn clauses_keep_their_marks_in_three_languages() {
    start_speech();
    let marks = |text: &str, voice: &str| -> String {
        phonemes::phonemes(text, voice).expect("phonemes").iter().map(|clause| clause.end).collect()
    };
    assert_eq!(marks("Hello, world. How are you?", "en-us"), ",.?");
    assert_eq!(
        marks("Dr. James T. Kirk paid $3.14 at 10:30; \"No way,\" she said!", "en-us"),
        ";,!"
    );
    assert_eq!(marks("It came - at last - from the U.S. Army", "en-us"), "——.");
    assert_eq!(marks("« Ça va ? » dit-il ; puis M. Dupont partit : fini !", "fr"), "?;:!");
    assert_eq!(marks("Olá, tudo bem — muito obrigado… até já!", "pt-br"), ",—…!");
}

#[test]
fn phonemes_are_those_of_espeak_ng_without_its_language_marks() {
    start_speech();
    let said = |text: &str, voice: &str| -> Vec<String> {
        let clauses = phonemes::phonemes(text, voice).expect("phonemes");
        clauses.into_iter().map(|clause| clause.phonemes.replace(TIE, "")).collect()
    };
    assert_eq!(said("Hello, world!", "en-us"), ["həlˈoʊ", "wˈɜːld"]);
    assert_eq!(said("Le football.", "fr"), ["lə- fˈʊtbɔːl"]);
    assert_eq!(said("Bonjour à tous.", "fr"), ["bɔ̃ʒˈuʁ a tˈus"]);
    assert_eq!(said("Tudo bem.", "pt-br"), ["tˈudʊ bˈeɪŋ"]);
}

#[test]
fn an_unknown_language_is_refused() {
    start_speech();
    let error = phonemes::phonemes("Hello", "xx-none").expect_err("no such language");
    assert!(matches!(error, EngineError::UnsupportedLanguage(_)), "{error}");
    phonemes::phonemes("Hello", "en\0us").expect_err("no such language");
}

#[test]
fn pronunciation_data_that_is_not_there_is_named() {
    let error = phonemes::init(&models_dir().join("no-such-folder")).expect_err("no data");
    assert!(matches!(error, EngineError::Missing { .. }), "{error}");
}

#[test]
fn voices_take_turns_with_the_phonemiser() {
    start_speech();
    let expected = phonemes::phonemes(FRENCH, "fr").expect("phonemes");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    phonemes::phonemes(ENGLISH, "en-us").expect("phonemes");
                    assert_eq!(phonemes::phonemes(FRENCH, "fr").expect("phonemes"), expected);
                }
            });
        }
    });
}

fn vad() -> Vad {
    start_speech();
    Vad::load(&model_file("silero-vad-onnx", "silero_vad.onnx")).expect("the detector loads")
}

#[test]
fn silence_and_noise_are_no_speech() {
    let mut vad = vad();
    let mut speech = |samples: Vec<f32>| {
        vad.speech(&Audio { sample_rate: 16_000, samples }, &Cancel::default()).expect("it listens")
    };
    assert!(speech(vec![]).is_empty(), "nothing at all");
    assert!(speech(vec![0.0; 80_000]).is_empty(), "digital silence");
    let mut seed = 1_u32;
    let noise = (0..80_000).map(|_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed as f32 / u32::MAX as f32 - 0.5) * 0.2
    });
    assert!(speech(noise.collect()).is_empty(), "white noise");
}

#[test]
fn a_reader_speaks_most_of_the_time_and_not_in_the_silence_around() {
    let clips = models_dir().with_file_name("fixtures").join("librivox");
    let path = clips.join("sense_and_sensibility_01_austen_64kb-0870.wav");
    let mut clip = hound::WavReader::open(&path).unwrap_or_else(|error| {
        panic!("{}: {error}: run script/test, which fetches it", path.display())
    });
    let read: Vec<f32> = clip
        .samples::<i16>()
        .map(|sample| f32::from(sample.expect("a sample")) / 32768.0)
        .collect();
    let silence = vec![0.0; 32_000];
    let samples = [&silence[..], &read, &silence].concat();
    let began = Instant::now();
    let found = vad()
        .speech(&Audio { sample_rate: 16_000, samples }, &Cancel::default())
        .expect("it listens");
    println!("{} samples heard in {:.3} s", read.len() + 64_000, began.elapsed().as_secs_f32());
    let spoken: usize = found.iter().map(ExactSizeIterator::len).sum();
    assert!(spoken * 10 > read.len() * 8, "{spoken} of {} samples: {found:?}", read.len());
    let (first, last) = (&found[0], &found[found.len() - 1]);
    assert!(first.start > 28_000 && last.end < 32_000 + read.len() + 4_000, "{found:?}");
}

#[test]
fn another_sample_rate_is_refused() {
    let audio = Audio { sample_rate: 44_100, samples: vec![0.0; 1000] };
    let error = vad().speech(&audio, &Cancel::default()).expect_err("the model knows 16 kHz only");
    assert!(error.to_string().contains("44100 Hz instead of 16000 Hz"), "{error}");
}

#[test]
fn a_voice_can_be_heard_from_the_command_line() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (which, text, rate) in [
        ("fr", "Le train part à douze heures.", 24_000),
        ("piper-en_US-joe-medium", "The train leaves at noon.", 22_050),
    ] {
        let path = dir.path().join("said.wav");
        let output =
            run(mega(dir.path()).args(["voices", which, "--say", text, "--out", "said.wav"]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = audio::read_wav(&path).expect("a WAV file");
        assert_eq!(said.sample_rate, rate);
        assert!((1_000..4_000).contains(&said.duration_ms()), "{} ms", said.duration_ms());
    }
}
