//! The language model writes what llama.cpp writes, answers sensibly, and can be stopped.
//!
//! `golden/llm_greedy_*.json` were written by `golden/make_llm_golden.py`.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mega_pipeline::engine::llm::{Llm, LlmTranslator};
use mega_pipeline::engine::{
    Cancel, ChatMessage, Control, EngineError, Finish, GenerateOptions, Generation, Hardware,
    Progress, Translator, shared,
};
use mega_pipeline::text::{language, prose, templates};
use support::undisturbed;

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

/// One prompt of a golden file.
#[derive(serde::Deserialize)]
struct Run {
    /// Token ids of the prompt.
    prompt: Vec<u32>,
    /// What llama.cpp wrote, greedily: for each token its eight best candidates, likeliest first,
    /// with their logits.
    steps: Vec<Vec<(u32, f32)>>,
    /// Logits of the same candidates with the weights unpacked to f32.
    exact: Vec<Vec<f32>>,
}

impl Run {
    fn all(golden: &str) -> Vec<Self> {
        let runs: Vec<Self> = serde_json::from_str(golden).expect("valid JSON");
        assert_eq!(runs.len(), 5);
        runs
    }

    /// The tokens that llama.cpp wrote.
    fn tokens(&self) -> Vec<u32> {
        self.steps.iter().map(|step| step[0].0).collect()
    }
}

/// Root mean square and maximum.
#[derive(Default)]
struct Spread {
    squares: f64,
    count: usize,
    largest: f32,
}

impl Spread {
    fn add(&mut self, difference: f32) {
        self.squares += f64::from(difference).powi(2);
        self.count += 1;
        self.largest = self.largest.max(difference.abs());
    }

    fn mean(&self) -> f64 {
        (self.squares / self.count as f64).sqrt()
    }
}

/// Follows llama.cpp's own greedy text token by token.
///
/// Both programs round activations to eight bits, and a sum taken in another order tips some of
/// them the other way, so that both scatter around the logits of the unpacked weights. Held here:
/// candle scatters no more than llama.cpp does, and where it would have chosen another token
/// first, both candidates lie within that scatter.
fn greedy_text_follows_llama_cpp(llm: &mut Llm, golden: &str) {
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    let runs = Run::all(golden);
    let (mut ours, mut theirs, mut apart) =
        (Spread::default(), Spread::default(), Spread::default());
    let mut differences = Vec::new();
    for run in &runs {
        let expected = run.tokens();
        let scores = llm.score(&run.prompt, &expected, &control).expect("logits");
        let mut same = expected.len();
        for (at, logits) in scores.iter().enumerate() {
            for (&(id, logit), exact) in run.steps[at].iter().zip(&run.exact[at]) {
                ours.add(logits[id as usize] - exact);
                theirs.add(logit - exact);
                apart.add(logits[id as usize] - logit);
            }
            let best = best(logits);
            if best != expected[at] && same == expected.len() {
                same = at;
                differences.push((run, at, best, logits.clone()));
            }
        }
        // What is generated agrees with what was scored, up to the first difference.
        let options = GenerateOptions { max_tokens: expected.len(), ..GenerateOptions::default() };
        let made = llm.generate_tokens(&run.prompt, &options, &control, |_| {}).expect("text");
        let bytes: Vec<u8> =
            expected[..same].iter().flat_map(|&id| llm.tokenizer().bytes(id)).collect();
        let text = String::from_utf8_lossy(&bytes);
        assert!(made.text.starts_with(&*text), "{:?} does not begin with {text:?}", made.text);
    }
    println!(
        "{} of 5 texts equal; from the exact logits candle is {:.3} (at most {:.3}) away, \
         llama.cpp {:.3} ({:.3}); from each other {:.3} ({:.3})",
        runs.len() - differences.len(),
        ours.mean(),
        ours.largest,
        theirs.mean(),
        theirs.largest,
        apart.mean(),
        apart.largest,
    );
    assert!(ours.mean() <= 1.25 * theirs.mean(), "{} {}", ours.mean(), theirs.mean());
    for (run, at, chosen, logits) in differences {
        let place = run.steps[at].iter().position(|&(id, _)| id == chosen);
        let place = place.unwrap_or_else(|| panic!("step {at}: {chosen} is no candidate at all"));
        for candidate in [0, place] {
            let error = logits[run.steps[at][candidate].0 as usize] - run.exact[at][candidate];
            println!("step {at}: candidate {candidate} is {error} off");
            assert!(error.abs() <= theirs.largest, "step {at}: {error} off");
        }
    }
}

/// The likeliest token.
fn best(logits: &[f32]) -> u32 {
    let falling = |a: &(u32, &f32), b: &(u32, &f32)| a.1.total_cmp(b.1).then(b.0.cmp(&a.0));
    (0u32..).zip(logits).max_by(falling).expect("a vocabulary").0
}

#[test]
fn the_small_model_writes_what_llama_cpp_writes() {
    let golden = include_str!("golden/llm_greedy_smollm2-135m-instruct.json");
    greedy_text_follows_llama_cpp(&mut small(), golden);
}

/// What tells the two programs apart is the rounding alone: with the weights unpacked, so that
/// neither rounds activations, both choose the same token at every step of all five texts.
fn without_rounding_every_token_is_the_one_of_llama_cpp(model: (&str, &str), golden: &str) {
    let mut llm = load(model);
    let control = Control { cancel: &Cancel::default(), progress: &|_| {} };
    let mut apart = Spread::default();
    for run in Run::all(golden) {
        let scores = llm.score(&run.prompt, &run.tokens(), &control).expect("logits");
        for (at, logits) in scores.iter().enumerate() {
            let candidates = run.steps[at].iter().map(|&(id, _)| id).zip(&run.exact[at]);
            for (id, exact) in candidates.clone() {
                apart.add(logits[id as usize] - exact);
            }
            let chosen = candidates.max_by(|a, b| a.1.total_cmp(b.1)).expect("candidates").0;
            assert_eq!(best(logits), chosen, "step {at}");
        }
    }
    println!("{}: {} logits within {:.5}", model.0, apart.count, apart.largest);
    assert!(apart.largest < 1e-2, "{}", apart.largest);
}

#[test]
fn without_rounded_activations_every_token_is_the_one_of_llama_cpp_and_its_logits_too() {
    // candle unpacks all weights to f32 when this is set as it loads the first of them, so the
    // test runs itself once more in a process of its own.
    const UNPACK: &str = "CANDLE_DEQUANTIZE_ALL";
    if std::env::var_os(UNPACK).is_none() {
        let name =
            "without_rounded_activations_every_token_is_the_one_of_llama_cpp_and_its_logits_too";
        let status = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--nocapture"])
            .env(UNPACK, "1")
            .status()
            .expect("it starts");
        assert!(status.success(), "see above");
        return;
    }
    let small = include_str!("golden/llm_greedy_smollm2-135m-instruct.json");
    without_rounding_every_token_is_the_one_of_llama_cpp(SMOLLM2, small);
    let large = include_str!("golden/llm_greedy_qwen2.5-coder-1.5b-instruct.json");
    without_rounding_every_token_is_the_one_of_llama_cpp(QWEN, large);
}

#[test]
fn the_default_model_writes_what_llama_cpp_writes_and_serves_every_task() {
    // One test for all that needs this model: it takes 3 GB, so that two must not run at once.
    let mut llm = load(QWEN);
    let golden = include_str!("golden/llm_greedy_qwen2.5-coder-1.5b-instruct.json");
    greedy_text_follows_llama_cpp(&mut llm, golden);

    let template = templates::template("continue").expect("the default template");
    let (system, user) = template.messages(CONTAINERS, "en", "");
    let messages = [ChatMessage::system(system), ChatMessage::user(user)];
    let options = GenerateOptions {
        max_tokens: template.max_tokens as usize,
        temperature: 0.7,
        top_p: 0.9,
        repeat_penalty: 1.1,
        seed: 42,
        stop: template.stop.iter().map(|&stop| stop.to_owned()).collect(),
        follows: false,
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

    let mut translator = LlmTranslator::new(shared(llm), language::language("fr").expect("French"));
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
fn a_conversation_that_goes_on_is_read_from_where_it_goes_on() {
    let mut llm = small();
    let options = GenerateOptions { max_tokens: 40, ..GenerateOptions::default() };
    let first = ask(&mut llm, &hello(), &options);
    let [task, question] = hello();
    let next = ChatMessage::user("Why is it salty?");
    let longer = [task, question, ChatMessage::assistant(first.text.as_str()), next];
    let options = GenerateOptions { max_tokens: 8, ..options };
    let going_on = ask(&mut llm, &longer, &GenerateOptions { follows: true, ..options.clone() });
    // All but the last token of the answer was read while it was made.
    let known = first.prompt_tokens + first.tokens - 1;
    assert_eq!(going_on.read_tokens, going_on.prompt_tokens - known);
    // None of it was read in whole pieces: who does not go on gets none of it.
    let afresh = ask(&mut llm, &longer, &options);
    assert_eq!(afresh.read_tokens, afresh.prompt_tokens);
    assert_eq!(going_on.text, afresh.text);
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
    // 600 tokens: many pieces. The last of them must see the first.
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

#[test]
fn what_a_prompt_shares_with_the_one_before_is_not_read_again_and_changes_nothing() {
    let mut llm = small();
    let tokens = |llm: &Llm, text: &str| llm.tokenizer().encode(text, false).expect("tokens");
    let shared = tokens(&llm, &"The sea is wide. ".repeat(28));
    // Two whole pieces and some more.
    assert!((129..150).contains(&shared.len()), "{}", shared.len());
    let prompt = |llm: &Llm, end: &str| [shared.clone(), tokens(llm, end)].concat();
    let (first, second) = (prompt(&llm, "Boats are"), prompt(&llm, "Far away there"));
    let next = tokens(&llm, " small and slow");
    let unrelated = tokens(&llm, "Nobody knows.");
    let score = |llm: &mut Llm, prompt: &[u32]| {
        undisturbed(|control| llm.score(prompt, &next, control)).expect("logits")
    };
    score(&mut llm, &unrelated);
    let alone = score(&mut llm, &second);
    score(&mut llm, &unrelated);
    score(&mut llm, &first);
    let after = score(&mut llm, &second);
    assert!(after == alone, "the logits differ");
    // Others in between, some longer than a piece, change nothing either.
    let other = tokens(&llm, &"Two ships came home. ".repeat(40));
    score(&mut llm, &other);
    score(&mut llm, &unrelated);
    let later = score(&mut llm, &second);
    assert!(later == alone, "the logits differ");
}
