//! The generation loop: prompt in, text out, token by token.
//!
//! Used by `stage::generate_text` and by `translate`, through [`Llm`].

use std::time::Instant;

use super::sampler::Sampler;
use super::stream::TextStream;
use super::{ChatMessage, Llm};
use crate::engine::{Control, EngineError, Progress};

/// Tokens of a prompt that are read between two looks at the cancel flag: large enough for full
/// speed, small enough to answer within a second on two cores.
const PREFILL_CHUNK: usize = 128;

/// How text is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens to make.
    pub max_tokens: usize,
    /// 0 takes the likeliest token each time; higher is freer.
    pub temperature: f64,
    /// Draw from the smallest set of tokens whose probabilities reach this; 1 is all of them.
    pub top_p: f64,
    /// Above 1, the 64 tokens made last become less likely; 1 is off.
    pub repeat_penalty: f32,
    /// Makes drawing repeatable.
    pub seed: u64,
    /// Text ends before the first of these.
    pub stop: Vec<String>,
}

impl Default for GenerateOptions {
    /// Greedy, 256 tokens.
    fn default() -> Self {
        Self {
            max_tokens: 256,
            temperature: 0.0,
            top_p: 1.0,
            repeat_penalty: 1.0,
            seed: 0,
            stop: Vec::new(),
        }
    }
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its turn, or a stop string came.
    Stop,
    /// `max_tokens` were made: the text may end anywhere.
    Length,
}

/// What was made and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The text as the model wrote it.
    pub text: String,
    /// Tokens of the prompt, chat template included.
    pub prompt_tokens: usize,
    /// Tokens made, the end of turn included.
    pub tokens: usize,
    /// Reading the prompt.
    pub prompt_ms: u64,
    /// Making the tokens.
    pub decode_ms: u64,
    /// Why it ended.
    pub finish: Finish,
}

impl Llm {
    /// Answers a conversation. `on_text` gets the text as it comes, in whole characters; so does
    /// `control.progress`, with the number of tokens made.
    ///
    /// # Errors
    /// `TooLong` before the model runs when prompt and answer cannot fit; `Canceled` within a
    /// token, or within 128 tokens of the prompt; `Run` when the model fails.
    pub fn generate(
        &mut self,
        messages: &[ChatMessage],
        options: &GenerateOptions,
        control: &Control<'_>,
        on_text: impl FnMut(&str),
    ) -> Result<Generation, EngineError> {
        let prompt = self.prompt(messages)?;
        self.generate_tokens(&prompt, options, control, on_text)
    }

    /// Continues a prompt that is tokens already, without a chat template.
    ///
    /// # Errors
    /// As [`Llm::generate`].
    pub fn generate_tokens(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        control: &Control<'_>,
        mut on_text: impl FnMut(&str),
    ) -> Result<Generation, EngineError> {
        self.check_length(prompt.len(), options.max_tokens)?;
        let mut show = |text: &str| {
            if !text.is_empty() {
                on_text(text);
                (control.progress)(Progress::Text { delta: text.to_owned() });
            }
        };

        let started = Instant::now();
        let mut logits = self.prefill(prompt, control)?;
        let prompt_ms = started.elapsed().as_millis() as u64;

        let started = Instant::now();
        let mut sampler = Sampler::new(options);
        let mut stream = TextStream::new(&options.stop);
        let mut tokens = 0;
        let mut finish = Finish::Length;
        while tokens < options.max_tokens {
            control.cancel.check()?;
            let token = sampler.next(&mut logits)?;
            tokens += 1;
            control.report(tokens, options.max_tokens);
            if self.tokenizer.is_end(token) {
                finish = Finish::Stop;
                break;
            }
            show(stream.push(&self.tokenizer.bytes(token)));
            if stream.stopped() {
                finish = Finish::Stop;
                break;
            }
            if tokens < options.max_tokens {
                logits = self.model.forward(&[token], prompt.len() + tokens - 1)?;
            }
        }
        show(stream.finish());
        Ok(Generation {
            text: stream.into_text(),
            prompt_tokens: prompt.len(),
            tokens,
            prompt_ms,
            decode_ms: started.elapsed().as_millis() as u64,
            finish,
        })
    }

    /// The logits from which each token of `continuation` would be chosen after `prompt`: one
    /// list for each token, one value in it for each token of the vocabulary. For comparing two
    /// implementations on the same text.
    ///
    /// # Errors
    /// As [`Llm::generate`].
    pub fn score(
        &mut self,
        prompt: &[u32],
        continuation: &[u32],
        control: &Control<'_>,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        self.check_length(prompt.len(), continuation.len())?;
        let mut logits = vec![self.prefill(prompt, control)?];
        for (at, &token) in continuation.iter().enumerate().take(continuation.len().max(1) - 1) {
            control.cancel.check()?;
            logits.push(self.model.forward(&[token], prompt.len() + at)?);
        }
        Ok(logits)
    }

    /// Forgets the text before and reads `prompt`; returns the logits of what comes next.
    fn prefill(&mut self, prompt: &[u32], control: &Control<'_>) -> Result<Vec<f32>, EngineError> {
        self.model.clear();
        let mut position = 0;
        let mut logits = Vec::new();
        for chunk in prompt.chunks(PREFILL_CHUNK) {
            control.cancel.check()?;
            logits = self.model.forward(chunk, position)?;
            position += chunk.len();
        }
        Ok(logits)
    }

    fn check_length(&self, prompt: usize, max_tokens: usize) -> Result<(), EngineError> {
        let context = self.model.context();
        if prompt + max_tokens > context {
            return Err(EngineError::TooLong(format!(
                "The prompt has {prompt} tokens and up to {max_tokens} are to be generated, but \
                 the model takes {context} in all: shorten the prompt or lower max_tokens."
            )));
        }
        Ok(())
    }
}
