//! `POST /v1/chat/completions`: the text model answers a conversation.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::super::body::JsonBody;
use super::super::engaged;
use super::super::error::{ErrorBody, WebError};
use super::super::sse::ServerSentEvent;
use super::super::state::{AppState, Task};
use super::{TEXT_BACKLOG, event, new_id, now_s, respond};
use crate::engine::{ChatMessage, Finish, GenerateOptions, Generation, Role};
use crate::stage::StageKind;

/// Tokens of an answer when the request names no number.
const DEFAULT_MAX_TOKENS: u32 = 1024;

/// The most that may be asked for.
const MAX_TOKENS: u32 = 8192;

/// Other servers take seeds with a sign.
const MAX_SEED: u64 = i64::MAX as u64;

/// The most stop strings, as OpenAI's interface has it.
const MAX_STOPS: usize = 4;

/// A conversation to be answered. Fields that OpenAI's interface has and this list has not are
/// not looked at.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::web) struct ChatRequest {
    /// Any name: there is one text model here.
    #[serde(default)]
    #[allow(dead_code, reason = "clients must send it")]
    model: Option<String>,
    /// The conversation so far.
    #[schema(min_items = 1)]
    messages: Vec<Message>,
    /// Whether the answer is sent as it is made.
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    /// 0 takes the likeliest token each time.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// Draw from the smallest set of tokens whose probabilities reach this.
    #[schema(exclusive_minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// Most tokens of the answer.
    #[schema(minimum = 1, maximum = 8192)]
    max_tokens: Option<u32>,
    /// The newer name of `max_tokens`.
    #[schema(minimum = 1, maximum = 8192)]
    max_completion_tokens: Option<u32>,
    /// The answer ends before any of these.
    #[serde(default)]
    stop: Option<Stop>,
    /// Makes answers repeatable.
    seed: Option<i64>,
    /// Only 1 is served.
    #[schema(minimum = 1, maximum = 1)]
    n: Option<u32>,
    /// Not served: must be absent or empty.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>, max_items = 0)]
    tools: Option<Vec<serde_json::Value>>,
    /// Only `{"type": "text"}` is served.
    #[serde(default)]
    response_format: Option<ResponseFormat>,
}

/// What a stream tells beside the text.
#[derive(Debug, Deserialize, ToSchema)]
struct StreamOptions {
    /// Whether the numbers of tokens follow the text.
    #[serde(default)]
    include_usage: Option<bool>,
}

/// The form of the answer.
#[derive(Debug, Deserialize, ToSchema)]
struct ResponseFormat {
    /// Only `text`.
    #[serde(rename = "type")]
    kind: String,
}

/// One turn.
#[derive(Debug, Deserialize, ToSchema)]
struct Message {
    /// Who says it.
    role: Speaker,
    /// What is said.
    content: Content,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    System,
    /// The newer name of `system`.
    Developer,
    User,
    Assistant,
}

/// A text, or parts of one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of what is said; only texts are served.
#[derive(Debug, Deserialize, ToSchema)]
struct Part {
    /// Only `text`.
    #[serde(rename = "type")]
    #[schema(pattern = "^text$")]
    kind: String,
    /// Of a text, there.
    #[serde(default)]
    text: String,
}

/// One or several stop strings.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::web) struct Completion {
    id: String,
    /// Always `chat.completion`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// Which model answered.
    model: String,
    /// Exactly one.
    choices: Vec<Choice>,
    usage: Usage,
}

#[derive(Debug, Serialize, ToSchema)]
struct Choice {
    index: u32,
    message: Said,
    /// `stop` or `length`.
    finish_reason: &'static str,
    /// Not served.
    #[schema(value_type = Option<Object>)]
    logprobs: (),
}

#[derive(Debug, Serialize, ToSchema)]
struct Said {
    /// Always `assistant`.
    role: &'static str,
    content: String,
}

/// Tokens that were read and made.
#[allow(clippy::struct_field_names, reason = "these are the interface's names")]
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

impl From<&Generation> for Usage {
    fn from(generation: &Generation) -> Self {
        Self {
            prompt_tokens: generation.prompt_tokens,
            completion_tokens: generation.tokens,
            total_tokens: generation.prompt_tokens + generation.tokens,
        }
    }
}

const fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

/// Answers a conversation.
///
/// With `stream`, the answer is a stream of server-sent events: pieces of the form
/// `chat.completion.chunk`, then `[DONE]`.
#[utoipa::path(
    post, path = "/v1/chat/completions", tag = "OpenAI-compatible", request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer", content(
            (Completion = "application/json"), (ServerSentEvent = "text/event-stream"),
        )),
        (status = 400, description = "The request cannot be understood, or is too long", body = ErrorBody),
        (status = 413, description = "The request is too large", body = ErrorBody),
        (status = 415, description = "The request is not JSON", body = ErrorBody),
        (status = 422, description = "Something is asked for that is not served", body = ErrorBody),
        (status = 429, description = "Too many requests wait already", body = ErrorBody),
        (status = 503, description = "The model is not to be had", body = ErrorBody),
    )
)]
pub(in crate::web) async fn complete(
    State(state): State<AppState>,
    JsonBody(request): JsonBody<ChatRequest>,
) -> Result<Response, WebError> {
    let options = options(&state, &request)?;
    let messages = messages(&request)?;
    let model = state.config.served_model(Task::Text);
    let id = new_id("chatcmpl");
    if request.stream == Some(true) {
        let with_usage =
            request.stream_options.and_then(|options| options.include_usage) == Some(true);
        return stream(
            &state,
            messages,
            options,
            Piece { id, created: now_s(), model },
            with_usage,
        )
        .await;
    }
    let generation = engaged::run(&state, StageKind::GenerateText, move |desk| {
        desk.engines.answer(&messages, &options, &desk.control, &mut |_| {})
    })
    .await?;
    let usage = Usage::from(&generation);
    let choice = Choice {
        index: 0,
        message: Said { role: "assistant", content: generation.text },
        finish_reason: reason(generation.finish),
        logprobs: (),
    };
    let object = "chat.completion";
    let created = now_s();
    Ok(Json(Completion { id, object, created, model, choices: vec![choice], usage })
        .into_response())
}

/// What all pieces of a streamed answer have in common.
struct Piece {
    id: String,
    created: u64,
    model: String,
}

impl Piece {
    fn of(&self, choices: &serde_json::Value, usage: Option<Usage>) -> axum::body::Bytes {
        let mut piece = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created,
            "model": self.model, "choices": choices,
        });
        if let Some(usage) = usage {
            piece["usage"] = json!(usage);
        }
        event(&piece)
    }
}

async fn stream(
    state: &AppState,
    messages: Vec<ChatMessage>,
    options: GenerateOptions,
    piece: Piece,
    with_usage: bool,
) -> Result<Response, WebError> {
    let stage = StageKind::GenerateText;
    let pieces = engaged::stream(state, stage, TEXT_BACKLOG, move |desk, outlet| {
        let mut begun = false;
        let mut gone = Ok(());
        let generation = desk.engines.answer(&messages, &options, &desk.control, &mut |text| {
            let mut delta = json!({ "content": text });
            if !begun {
                delta["role"] = "assistant".into();
                begun = true;
            }
            let choices =
                json!([{ "index": 0, "delta": delta, "finish_reason": null, "logprobs": null }]);
            if gone.is_ok() {
                gone = outlet.send(piece.of(&choices, None));
            }
        })?;
        gone?;
        let finish = reason(generation.finish);
        let last = json!([{ "index": 0, "delta": {}, "finish_reason": finish, "logprobs": null }]);
        outlet.send(piece.of(&last, None))?;
        if with_usage {
            outlet.send(piece.of(&json!([]), Some(Usage::from(&generation))))?;
        }
        outlet.send("[DONE]")
    })
    .await?;
    Ok(respond(pieces))
}

fn messages(request: &ChatRequest) -> Result<Vec<ChatMessage>, WebError> {
    if request.messages.is_empty() {
        let message = "There must be at least one message.";
        return Err(WebError::bad_request("bad_request", message).param("messages"));
    }
    let turns = request.messages.iter().map(|message| {
        let content = match &message.content {
            Content::Text(text) => text.clone(),
            Content::Parts(parts) if parts.iter().all(|part| part.kind == "text") => {
                parts.iter().map(|part| part.text.as_str()).collect()
            }
            Content::Parts(_) => {
                let message = "Only parts of the type text are served.";
                let refusal = WebError::unprocessable("not_served", message);
                return Err(refusal.param("messages"));
            }
        };
        let role = match message.role {
            Speaker::System | Speaker::Developer => Role::System,
            Speaker::User => Role::User,
            Speaker::Assistant => Role::Assistant,
        };
        Ok(ChatMessage { role, content })
    });
    turns.collect()
}

fn options(state: &AppState, request: &ChatRequest) -> Result<GenerateOptions, WebError> {
    let refuse = |param: &str, why: &str| {
        Err(WebError::unprocessable("not_served", format!("{param} {why}.")).param(param))
    };
    if request.n.is_some_and(|n| n != 1) {
        return refuse("n", "must be 1: one answer is made for each request");
    }
    if request.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
        return refuse("tools", "are not served here");
    }
    if request.response_format.as_ref().is_some_and(|format| format.kind != "text") {
        return refuse("response_format", "must be of the type text");
    }
    let stop = match &request.stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop.clone()],
        Some(Stop::Several(stops)) => stops.clone(),
    };
    if stop.len() > MAX_STOPS {
        return refuse("stop", "may hold at most 4 strings");
    }
    let defaults = &state.config.defaults;
    let options = GenerateOptions {
        max_tokens: request
            .max_completion_tokens
            .or(request.max_tokens)
            .unwrap_or(DEFAULT_MAX_TOKENS) as usize,
        temperature: request.temperature.unwrap_or(defaults.temperature),
        top_p: request.top_p.unwrap_or(defaults.top_p),
        repeat_penalty: defaults.repeat_penalty,
        // Any number will do, as long as the same gives the same; without one, another answer
        // each time.
        seed: request.seed.map_or_else(rand::random, |seed| seed.cast_unsigned() & MAX_SEED),
        stop,
        follows: false,
    };
    let lengths = [request.max_tokens, request.max_completion_tokens];
    if lengths.into_iter().flatten().any(|length| !(1..=MAX_TOKENS).contains(&length)) {
        return refuse("max_tokens", "must be from 1 to 8192");
    }
    if !(0.0..=2.0).contains(&options.temperature) {
        return refuse("temperature", "must be from 0 to 2");
    }
    if !(options.top_p > 0.0 && options.top_p <= 1.0) {
        return refuse("top_p", "must be above 0 and up to 1");
    }
    Ok(options)
}
