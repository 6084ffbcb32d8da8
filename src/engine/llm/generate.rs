//! The generation loop: prompt in, text out, token by token.
//!
//! Used through [`TextModel`].

use std::time::Instant;

use super::Llm;
use super::prefix::{PIECE, in_common, told_before};
use super::sampler::Sampler;
use super::stream::TextStream;
use crate::engine::{
    ChatMessage, Control, EngineError, Finish, GenerateOptions, Generation, Progress, TextModel,
};

impl TextModel for Llm {
    fn answer(
        &mut self,
        messages: &[ChatMessage],
        options: &GenerateOptions,
        control: &Control<'_>,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation, EngineError> {
        self.generate(messages, options, control, on_text)
    }

    fn count_tokens(&self, text: &str) -> Result<usize, EngineError> {
        Ok(self.tokenizer.encode(text, false)?.len())
    }
}

impl Llm {
    /// Answers a conversation. `on_text` gets the text as it comes, in whole characters; so does
    /// `control.progress`, with the number of tokens made.
    ///
    /// # Errors
    /// `TooLong` before the model runs when prompt and answer cannot fit; `Canceled` within a
    /// token, or within 64 tokens of the prompt; `Run` when the model fails.
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
        let (mut logits, read_tokens) = self.prefill(prompt, options.follows, control)?;
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
                logits = self.read(&[token])?;
            }
        }
        show(stream.finish());
        Ok(Generation {
            text: stream.into_text(),
            prompt_tokens: prompt.len(),
            read_tokens,
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
        let mut logits = vec![self.prefill(prompt, false, control)?.0];
        for &token in continuation.iter().take(continuation.len().max(1) - 1) {
            control.cancel.check()?;
            logits.push(self.read(&[token])?);
        }
        Ok(logits)
    }

    /// Forgets the text before and reads `prompt`; returns the logits of what comes next, and how
    /// many tokens were read.
    ///
    /// A beginning that it has in common with the prompt before, or with one before that, is not
    /// read again. It was read in the same pieces: the result is the same to the last bit. If the
    /// prompt `follows`, neither is what it has in common with the answer before.
    fn prefill(
        &mut self,
        prompt: &[u32],
        follows: bool,
        control: &Control<'_>,
    ) -> Result<(Vec<f32>, usize), EngineError> {
        let mut same = in_common(&self.known[..self.exact], prompt);
        if same < self.exact
            && let Err(error) =
                self.shelf.put(&self.known[..self.exact], |tokens| self.model.save(tokens))
        {
            // It will be read again; that is all.
            tracing::debug!(%error, "the beginning of a prompt was not kept");
        }
        let told = if follows { told_before(&self.known, prompt) } else { 0 };
        // What fails on the way leaves nothing that is taken for known.
        let exact = std::mem::take(&mut self.exact);
        self.known.clear();
        if let Some((longer, state)) = self.shelf.find(prompt, same.max(told)) {
            self.model.restore(state, longer)?;
            same = longer;
            self.exact = longer;
        } else if told > same {
            self.model.forget_from(told);
            same = told;
            self.exact = exact.min(told / PIECE * PIECE);
        } else {
            self.model.forget_from(same);
            self.exact = same;
        }
        self.known.extend(&prompt[..same]);
        let mut logits = Vec::new();
        for piece in prompt[same..].chunks(PIECE) {
            control.cancel.check()?;
            let exact = self.exact == self.known.len() && piece.len() == PIECE;
            logits = self.read(piece)?;
            if exact {
                self.exact += PIECE;
            }
        }
        Ok((logits, prompt.len() - same))
    }

    /// Reads tokens behind those that are known.
    fn read(&mut self, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        let logits = self.model.forward(tokens, self.known.len())?;
        self.known.extend(tokens);
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
