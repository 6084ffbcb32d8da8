//! Words a second of the translation engines.
//!
//! `cargo bench --bench translate`. Firefox needs the model firefox-en-pt; Marian runs in the size
//! of opus-mt-en-fr on weights made of a counter, so that its translations are nonsense of the
//! longest length, 24 tokens for each sentence.

#[path = "../tests/support/marian_full.rs"]
mod full_size;

use std::path::PathBuf;

use criterion::{Criterion, Throughput};
use mega_pipeline::config::Config;
use mega_pipeline::engine::firefox::Firefox;
use mega_pipeline::engine::marian::Marian;
use mega_pipeline::engine::{Cancel, Control, Hardware, Translator};
use mega_pipeline::models::ModelStore;
use mega_pipeline::settings::Settings;

const SENTENCES: &str = include_str!("quality/en-pt.tsv");

fn sentences() -> Vec<String> {
    SENTENCES.lines().filter_map(|line| Some(line.split_once('\t')?.0.to_owned())).collect()
}

fn words(sentences: &[String]) -> Throughput {
    let words = sentences.iter().map(|sentence| sentence.split_whitespace().count()).sum::<usize>();
    Throughput::Elements(words as u64)
}

fn translate(translator: &mut dyn Translator, sentences: &[String]) -> Vec<String> {
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    translator.translate(sentences, &control).expect("a translation")
}

fn hardware() -> Hardware {
    Hardware { threads: std::thread::available_parallelism().map_or(1, Into::into), gpu: None }
}

fn firefox(criterion: &mut Criterion) {
    let settings = Settings::new(&Config::defaults()).expect("the defaults are valid");
    let store = ModelStore::open(&settings.models_dir).expect("a folder of models");
    let file = |name: &str| -> PathBuf {
        store.path("firefox-en-pt", name).expect("run `mega-pipeline models pull firefox-en-pt`")
    };
    let vocab = file("vocab.enpt.spm");
    let mut firefox = Firefox::load(
        &file("model.enpt.intgemm.alphas.bin"),
        &vocab,
        &vocab,
        Some(&file("lex.50.50.enpt.s2t.bin")),
        &hardware(),
    )
    .expect("the model loads");
    let sentences = sentences();
    let mut group = criterion.benchmark_group("firefox en-pt");
    group.throughput(words(&sentences));
    group.bench_function("50 sentences together", |bencher| {
        bencher.iter(|| translate(&mut firefox, &sentences));
    });
    group.bench_function("50 sentences one by one", |bencher| {
        bencher.iter(|| {
            for sentence in &sentences {
                translate(&mut firefox, std::slice::from_ref(sentence));
            }
        });
    });
    group.finish();
}

fn marian(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    full_size::write(dir.path());
    let hardware = hardware();
    let marian = Marian::load(dir.path(), &hardware).expect("the model loads");
    let sentences = sentences();
    // Whole sentences: where 24 tokens are the most, a translator would cut each into four.
    let mut tokens: Vec<Vec<u32>> = sentences.iter().map(|it| marian.tokens(it)).collect();
    tokens.sort_by_key(Vec::len);
    let generate = |size: usize| {
        for batch in tokens.chunks(size) {
            let batch: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
            marian.generate(&batch, &Cancel::default()).expect("a translation");
        }
    };
    let mut group = criterion.benchmark_group("marian, size of opus-mt-en-fr");
    group.throughput(words(&sentences)).sample_size(10);
    group.bench_function("50 sentences, 4 beams", |bencher| bencher.iter(|| generate(16)));
    group.bench_function("50 sentences one by one, 4 beams", |bencher| {
        bencher.iter(|| generate(1));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    firefox(&mut criterion);
    marian(&mut criterion);
    criterion.final_summary();
}
