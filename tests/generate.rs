//! The language model writes what llama.cpp writes, answers sensibly, and can be stopped.
//!
//! `golden/llm_greedy_*.json` were written by `golden/make_llm_golden.py`.

mod support;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mega_pipeline::engine::llm::{
    ChatMessage, Finish, GenerateOptions, Generation, Llm, LlmTranslator,
};
use mega_pipeline::engine::{Cancel, Control, EngineError, Hardware, Progress, Translator};
use mega_pipeline::text::{prose, templates};
use serde_json::Value;

const SMOLLM2: (&str, &str) = ("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf");
const QWEN: (&str, &str) =
    ("qwen2.5-coder-1.5b-instruct", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf");

const CONTAINERS: &str = "Containers changed how we ship software. Instead of one big program on \
                          one big server, we pack each part with everything it needs, and run it \
                          anywhere.";

fn load((model, file): (&str, &str)) -> Llm {
    let started = Instant::now();
    let hardware = Hardware { threads: 2, gpu: None };
    let llm = Llm::load(&support::model_file(model, file), &hardware).expect("the model loads");
    println!("{model}: loaded and warmed up in {:.2} s", started.elapsed().as_secs_f64());
    llm
}

/// One small model for all tests of this file, one at a time: two would only slow each other.
fn small() -> MutexGuard<'static, Llm> {
    static SMALL: std::sync::LazyLock<Mutex<Llm>> =
        std::sync::LazyLock::new(|| Mutex::new(load(SMOLLM2)));
    SMALL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(llm: &mut Llm, messages: &[ChatMessage], options: &GenerateOptions) -> Generation {
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    llm.generate(messages, options, &control, |_| {}).expect("text is made")
}

fn hello() -> [ChatMessage; 2] {
    [ChatMessage::system("You are helpful."), ChatMessage::user("Tell me about the sea.")]
}

/// Follows llama.cpp's own greedy text token by token. Where candle would have chosen another
/// token first, the two candidates must be as good as equal in both.
///
/// `near` is how far apart the logits of two such candidates may be. Returns the largest
/// difference between the two programs' logits among llama.cpp's best eight.
fn greedy_text_follows_llama_cpp(llm: &mut Llm, golden: &str, near: f32) -> f32 {
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    let runs: Vec<Value> = serde_json::from_str(golden).expect("valid JSON");
    assert_eq!(runs.len(), 5);
    let mut largest = 0.0f32;
    let mut equal = 0;
    for run in &runs {
        let prompt: Vec<u32> = serde_json::from_value(run["prompt"].clone()).expect("ids");
        let steps: Vec<Vec<(u32, f32)>> =
            serde_json::from_value(run["steps"].clone()).expect("ids with logits");
        let theirs: Vec<u32> = steps.iter().map(|step| step[0].0).collect();
        let scores = llm.score(&prompt, &theirs, &control).expect("logits");
        let mut first_difference = None;
        for (at, (step, logits)) in steps.iter().zip(&scores).enumerate() {
            for &(id, expected) in step {
                largest = largest.max((logits[id as usize] - expected).abs());
            }
            let ours = (0u32..)
                .zip(logits)
                .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))
                .expect("a vocabulary")
                .0;
            if ours != step[0].0 && first_difference.is_none() {
                let their_gap = step.iter().find(|(id, _)| *id == ours).map(|c| step[0].1 - c.1);
                let our_gap = logits[ours as usize] - logits[step[0].0 as usize];
                println!("step {at}: {ours} and not {}: {our_gap} {their_gap:?}", step[0].0);
                assert!(
                    our_gap <= near && their_gap.is_some_and(|gap| gap <= near),
                    "step {at} of {:?}: {ours} and not {}, {our_gap} ahead, {their_gap:?} behind \
                     in llama.cpp",
                    run["text"],
                    step[0].0
                );
                first_difference = Some(at);
            }
        }
        // What is generated agrees with what was scored, up to the first difference.
        let options = GenerateOptions { max_tokens: theirs.len(), ..GenerateOptions::default() };
        let made = llm.generate_tokens(&prompt, &options, &control, |_| {}).expect("text");
        let expected: Vec<u8> = theirs[..first_difference.unwrap_or(theirs.len())]
            .iter()
            .flat_map(|&id| llm.tokenizer().bytes(id))
            .collect();
        assert!(
            made.text.as_bytes().starts_with(&expected),
            "{:?} does not begin with {:?}",
            made.text,
            String::from_utf8_lossy(&expected)
        );
        equal += usize::from(first_difference.is_none());
    }
    println!("{equal} of 5 texts equal, logits within {largest:.4}");
    largest
}

#[test]
fn the_small_model_writes_what_llama_cpp_writes() {
    let golden = include_str!("golden/llm_greedy_smollm2-135m-instruct.json");
    let largest = greedy_text_follows_llama_cpp(&mut small(), golden, 1e-2);
    assert!(largest < 1.0, "{largest}");
}

#[test]
fn the_default_model_writes_what_llama_cpp_writes_and_serves_every_task() {
    // One test for all that needs this model: it takes 3 GB, so that two must not run at once.
    let mut llm = load(QWEN);
    let golden = include_str!("golden/llm_greedy_qwen2.5-coder-1.5b-instruct.json");
    let largest = greedy_text_follows_llama_cpp(&mut llm, golden, 1e-2);
    assert!(largest < 1.0, "{largest}");

    let template = templates::template("continue").expect("the default template");
    let (system, user) = template.messages(CONTAINERS);
    let messages = [ChatMessage::system(system), ChatMessage::user(user)];
    let options = GenerateOptions {
        max_tokens: template.max_tokens as usize,
        temperature: 0.7,
        top_p: 0.9,
        repeat_penalty: 1.1,
        seed: 42,
        stop: Vec::new(),
    };
    let made = ask(&mut llm, &messages, &options);
    println!("{made:?}");
    println!("prompt {:.0} tok/s", made.prompt_tokens as f64 / made.prompt_ms as f64 * 1e3);
    println!("decode {:.1} tok/s", made.tokens as f64 / made.decode_ms as f64 * 1e3);
    let text = prose::tidy(&made.text);
    assert!(text.starts_with("Containers changed how we ship software"), "{text}");
    assert!(text.split_whitespace().count() > 45, "nothing was added: {text}");
    assert!(text.ends_with(['.', '!', '?']), "{text}");
    assert!(!text.contains(['#', '*', '`', '\n', '{']), "{text}");

    let mut translator = LlmTranslator::new(Arc::new(Mutex::new(llm)), "French");
    let english: Vec<String> =
        CONTAINERS.split_inclusive(". ").map(|sentence| sentence.trim().to_owned()).collect();
    let reports = Mutex::new(Vec::new());
    let progress = |progress: Progress| reports.lock().expect("not poisoned").push(progress);
    let control = Control { cancel: &Cancel::default(), progress: &progress };
    let french = translator.translate(&english, &control).expect("it is translated");
    println!("{french:?}");
    assert_eq!(french.len(), english.len());
    assert!(french[0].to_lowercase().contains("conteneurs"), "{french:?}");
    assert!(french[1].to_lowercase().contains("serveur"), "{french:?}");
    let reports = reports.into_inner().expect("not poisoned");
    assert_eq!(
        reports,
        [Progress::Fraction { done: 1, total: 2 }, Progress::Fraction { done: 2, total: 2 }]
    );
}

#[test]
fn the_streamed_pieces_make_up_the_text_and_every_token_is_reported() {
    let mut llm = small();
    let reports = Mutex::new(Vec::new());
    let progress = |progress: Progress| reports.lock().expect("not poisoned").push(progress);
    let control = Control { cancel: &Cancel::default(), progress: &progress };
    let options = GenerateOptions { max_tokens: 24, ..GenerateOptions::default() };
    let mut streamed = String::new();
    let made = llm
        .generate(&hello(), &options, &control, |text| streamed.push_str(text))
        .expect("text is made");
    assert_eq!(streamed, made.text);
    let mut deltas = String::new();
    let mut counts = Vec::new();
    for report in reports.into_inner().expect("not poisoned") {
        match report {
            Progress::Text { delta } => deltas.push_str(&delta),
            Progress::Fraction { done, total } => counts.push((done, total)),
        }
    }
    assert_eq!(deltas, made.text);
    assert_eq!(counts, (1..=made.tokens as u64).map(|done| (done, 24)).collect::<Vec<_>>());
}

#[test]
fn equal_seeds_give_equal_text_and_an_earlier_answer_leaves_no_trace() {
    let mut llm = small();
    let options = |seed| GenerateOptions {
        max_tokens: 24,
        temperature: 0.9,
        top_p: 0.95,
        seed,
        ..GenerateOptions::default()
    };
    let first = ask(&mut llm, &hello(), &options(1)).text;
    let other = ask(&mut llm, &hello(), &options(2)).text;
    assert_ne!(first, other);
    assert_eq!(ask(&mut llm, &hello(), &options(1)).text, first);
}

#[test]
fn text_ends_before_a_stop_string() {
    let mut llm = small();
    let options = GenerateOptions { max_tokens: 40, ..GenerateOptions::default() };
    let whole = ask(&mut llm, &hello(), &options).text;
    let word = whole.split_whitespace().nth(5).expect("more than five words").to_owned();
    let stopped = ask(&mut llm, &hello(), &GenerateOptions { stop: vec![word.clone()], ..options });
    assert_eq!(stopped.finish, Finish::Stop);
    assert_eq!(Some(stopped.text.as_str()), whole.split(&word).next());
}

#[test]
fn a_limit_of_tokens_is_kept_and_told() {
    let mut llm = small();
    let options = GenerateOptions { max_tokens: 3, ..GenerateOptions::default() };
    let made = ask(&mut llm, &hello(), &options);
    assert_eq!((made.tokens, made.finish), (3, Finish::Length));
}

#[test]
fn a_prompt_that_cannot_fit_is_refused_before_the_model_runs() {
    let mut llm = small();
    let told = Mutex::new(0);
    let progress = |_: Progress| *told.lock().expect("not poisoned") += 1;
    let control = Control { cancel: &Cancel::default(), progress: &progress };
    let long = [ChatMessage::user("sea ".repeat(5000))];
    let started = Instant::now();
    let error = llm
        .generate(&long, &GenerateOptions::default(), &control, |_| {})
        .expect_err("it does not fit");
    assert!(started.elapsed().as_secs() < 5, "the model ran");
    let EngineError::TooLong(sentence) = error else { panic!("{error:?}") };
    assert!(sentence.contains("4096") && sentence.contains("256"), "{sentence}");
    assert_eq!(*told.lock().expect("not poisoned"), 0);
}

#[test]
fn a_canceled_job_stops_at_the_next_token() {
    let mut llm = small();
    let cancel = Cancel::default();
    let control = Control { cancel: &cancel, progress: &|_| {} };
    let mut pieces = 0;
    let result = llm.generate(&hello(), &GenerateOptions::default(), &control, |_| {
        pieces += 1;
        if pieces == 3 {
            cancel.cancel();
        }
    });
    assert!(matches!(result, Err(EngineError::Canceled)), "{result:?}");
    assert_eq!(pieces, 3);
}

#[test]
fn a_long_prompt_is_read_in_pieces_with_the_same_result_as_at_once() {
    // 600 tokens: three pieces. The last of them must see the first.
    let mut llm = small();
    let secret = format!(
        "The password is marmalade. {} What is the password?",
        "The sea is wide. ".repeat(110)
    );
    let messages = [ChatMessage::user(secret)];
    assert!(llm.prompt(&messages).expect("a prompt").len() > 550);
    let options = GenerateOptions { max_tokens: 24, ..GenerateOptions::default() };
    let text = ask(&mut llm, &messages, &options).text;
    assert!(text.to_lowercase().contains("marmalade"), "{text}");
}

#[test]
fn a_job_canceled_before_it_begins_does_not_read_the_prompt() {
    let mut llm = small();
    let cancel = Cancel::default();
    cancel.cancel();
    let control = Control { cancel: &cancel, progress: &|_| {} };
    let result = llm.generate(&hello(), &GenerateOptions::default(), &control, |_| {});
    assert!(matches!(result, Err(EngineError::Canceled)), "{result:?}");
}
