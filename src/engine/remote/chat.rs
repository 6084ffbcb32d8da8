//! Text from a server that speaks OpenAI's chat completions: llama.cpp, vLLM, Ollama and others.

use eventsource_stream::Eventsource;
use futures::StreamExt;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use super::RemoteOptions;
use super::server::Server;
use crate::engine::{
    ChatMessage, Control, EngineError, Finish, GenerateOptions, Generation, Progress, TextModel,
};

/// Characters in a token of English, about, for whoever must guess.
const CHARS_PER_TOKEN: usize = 3;

/// What ends a stream of events.
const DONE: &str = "[DONE]";

/// A language model on another server.
pub struct RemoteTextModel(Server);

impl RemoteTextModel {
    /// The model that `options` name; the server is not asked yet.
    ///
    /// # Errors
    /// `Load` when the system refuses a connection.
    pub fn new(options: RemoteOptions) -> Result<Self, EngineError> {
        Ok(Self(Server::new(options)?))
    }
}

/// A request. What this program does not set, such as a penalty that not every server knows, is
/// the server's to choose.
#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    messages: &'a [ChatMessage],
    max_tokens: usize,
    temperature: f64,
    top_p: f64,
    seed: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// An answer, or a piece of one.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    /// Of a piece.
    delta: Option<Said>,
    /// Of a whole answer.
    message: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
}

/// What has come so far.
struct Taken<'a, 'b> {
    control: &'a Control<'b>,
    on_text: &'a mut dyn FnMut(&str),
    max_tokens: usize,
    text: String,
    pieces: usize,
    usage: Option<Usage>,
    finish: Option<Finish>,
}

impl Taken<'_, '_> {
    fn take(&mut self, answer: Answer) {
        self.usage = answer.usage.or(self.usage.take());
        let Some(choice) = answer.choices.into_iter().next() else { return };
        let said = choice.delta.or(choice.message).and_then(|said| said.content);
        if let Some(text) = said.filter(|text| !text.is_empty()) {
            // Most servers send one token at a time.
            self.pieces += 1;
            self.control.report(self.pieces.min(self.max_tokens), self.max_tokens);
            (self.on_text)(&text);
            self.text.push_str(&text);
            (self.control.progress)(Progress::Text { delta: text });
        }
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(if reason == "length" { Finish::Length } else { Finish::Stop });
        }
    }
}

impl TextModel for RemoteTextModel {
    fn answer(
        &mut self,
        messages: &[ChatMessage],
        options: &GenerateOptions,
        control: &Control<'_>,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generation, EngineError> {
        let request = Request {
            model: &self.0.options().model,
            messages,
            max_tokens: options.max_tokens,
            temperature: options.temperature,
            top_p: options.top_p,
            seed: options.seed,
            stop: &options.stop,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
        };
        let started = std::time::Instant::now();
        let mut taken = Taken {
            control,
            on_text,
            max_tokens: options.max_tokens,
            text: String::new(),
            pieces: 0,
            usage: None,
            finish: None,
        };
        self.0.post_and_read(
            "chat/completions",
            control.cancel,
            &|http| http.json(&request),
            async |response| self.read(response, &mut taken).await,
        )?;
        let finish =
            taken.finish.ok_or_else(|| self.0.bad_answer("the answer broke off in the middle"))?;
        let usage = taken.usage.unwrap_or(Usage { prompt_tokens: 0, completion_tokens: 0 });
        Ok(Generation {
            text: taken.text,
            prompt_tokens: usage.prompt_tokens,
            read_tokens: usage.prompt_tokens,
            tokens: usage.completion_tokens.max(taken.pieces),
            prompt_ms: 0,
            decode_ms: started.elapsed().as_millis() as u64,
            finish,
        })
    }

    fn count_tokens(&self, text: &str) -> Result<usize, EngineError> {
        Ok(text.chars().count().div_ceil(CHARS_PER_TOKEN))
    }
}

impl RemoteTextModel {
    async fn read(&self, response: Response, taken: &mut Taken<'_, '_>) -> Result<(), EngineError> {
        let parse = |text: &str| {
            serde_json::from_str::<Answer>(text).map_err(|error| {
                let beginning: String = text.chars().take(80).collect();
                self.0.bad_answer(format_args!("{error} in {beginning:?}"))
            })
        };
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        let mut pieces = self.0.pieces(response);
        if !is_stream {
            // A server that cannot stream answers at once.
            let mut whole = Vec::new();
            while let Some(piece) = pieces.next().await {
                whole.extend(piece?);
            }
            taken.take(parse(&String::from_utf8_lossy(&whole))?);
            return Ok(());
        }
        let mut events = pieces.eventsource();
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| match error {
                eventsource_stream::EventStreamError::Transport(error) => error,
                other => self.0.bad_answer(other),
            })?;
            if event.data == DONE {
                break;
            }
            taken.take(parse(&event.data)?);
        }
        Ok(())
    }
}
