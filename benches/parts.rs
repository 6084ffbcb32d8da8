//! The small work between the models: reading a text, making it speakable, tokens, sample rates, WAV.
//!
//! `cargo bench --bench parts`. The tokenizer needs the model qwen2.5-coder-1.5b-instruct.

#![allow(missing_docs, reason = "criterion's macros make functions without any")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mega_pipeline::audio::resample::Resampler;
use mega_pipeline::audio::{Audio, SPEECH_RATE, wav_bytes};
use mega_pipeline::config::Config;
use mega_pipeline::engine::llm::Tokenizer;
use mega_pipeline::models::ModelStore;
use mega_pipeline::settings::Settings;
use mega_pipeline::text::{sentences, spoken};

/// About a thousand words.
fn text() -> String {
    let english =
        include_str!("quality/en-fr.tsv").lines().filter_map(|line| line.split('\t').next());
    english.collect::<Vec<_>>().join(" ")
}

fn texts(criterion: &mut Criterion) {
    let text = text();
    let mut group = criterion.benchmark_group("text");
    group.throughput(Throughput::Elements(text.split_whitespace().count() as u64));
    group.bench_function("into sentences", |bencher| {
        bencher.iter(|| sentences::paragraphs(black_box(&text), "en"));
    });
    group.bench_function("made speakable", |bencher| {
        bencher.iter(|| spoken::prepare(black_box(&text), "en"));
    });
    let settings = Settings::new(&Config::defaults()).expect("the defaults are valid");
    let store = ModelStore::open(&settings.models_dir).expect("a folder of models");
    let model = "qwen2.5-coder-1.5b-instruct";
    let file = store
        .path(model, &format!("{model}-q4_k_m.gguf"))
        .expect("run `mega-pipeline models pull`");
    let tokenizer = Tokenizer::open(&file).expect("a vocabulary");
    group.bench_function("into tokens", |bencher| {
        bencher.iter(|| tokenizer.encode(black_box(&text), false).expect("tokens"));
    });
    group.finish();
}

fn sound(criterion: &mut Criterion) {
    const SECONDS: u32 = 60;
    let wave = |rate: u32| (0..rate * SECONDS).map(|at| (at as f32 * 0.05).sin() * 0.5);
    let mut group = criterion.benchmark_group("a minute of sound");
    group.throughput(Throughput::Elements(u64::from(SECONDS)));
    for rate in [48_000, 44_100, 22_050] {
        let samples: Vec<f32> = wave(rate).collect();
        group.bench_function(format!("from {rate} Hz to {SPEECH_RATE} Hz"), |bencher| {
            bencher.iter(|| {
                let mut out = Vec::new();
                let mut resampler = Resampler::new(rate, SPEECH_RATE).expect("usual rates");
                resampler.push(black_box(&samples), &mut out).expect("it is resampled");
                resampler.finish(&mut out).expect("it is resampled");
                out
            });
        });
    }
    let audio = Audio { sample_rate: 24_000, samples: wave(24_000).collect() };
    group.bench_function("to a WAV file in memory", |bencher| {
        bencher.iter(|| wav_bytes(black_box(&audio)));
    });
    group.finish();
}

criterion_group!(benches, texts, sound);
criterion_main!(benches);
