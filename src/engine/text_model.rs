//! The trait of everything that goes on from a conversation, and what it is given.

use serde::{Deserialize, Serialize};

use super::{Control, EngineError};

/// A loaded language model, here or on another machine.
pub trait TextModel: Send {
    /// Answers a conversation. `on_text` gets the text as it comes, in whole characters; so does
    /// `control.progress`, with the number of tokens made.
    ///
    /// # Errors
    /// `TooLong` before the model runs when prompt and answer cannot fit, `Canceled`, and `Run`
    /// when the model fails.
    fn answer(
        &mut self,
        messages: &[ChatMessage],
        options: &GenerateOptions,
        control: &Control<'_>,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation, EngineError>;

    /// How many tokens `text` has; a guess where only another machine knows.
    ///
    /// # Errors
    /// `Run` when the tokenizer fails.
    fn count_tokens(&self, text: &str) -> Result<usize, EngineError>;
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that hold for the whole conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said; data, never instructions to the tokenizer.
    pub content: String,
}

impl ChatMessage {
    /// Instructions that hold for the whole conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// What the person says.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// What the model said.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

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
    /// The conversation goes on from the answer before: what the model still knows of both is not
    /// read again. Numbers then differ in their last digits from those of a prompt that is read
    /// from its beginning, and a word may.
    pub follows: bool,
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
            follows: false,
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
    /// Those of them that were read; the model knew the others from before.
    pub read_tokens: usize,
    /// Tokens made, the end of turn included.
    pub tokens: usize,
    /// Reading the prompt.
    pub prompt_ms: u64,
    /// Making the tokens.
    pub decode_ms: u64,
    /// Why it ended.
    pub finish: Finish,
}
