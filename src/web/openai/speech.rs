//! `POST /v1/audio/speech`: a text, spoken, and sent while it is.

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::body::JsonBody;
use super::super::engaged;
use super::super::error::{ErrorBody, WebError};
use super::super::options::names;
use super::super::state::{AppState, OfferedVoice};
use crate::audio::{EncodedStream, StreamForm};
use crate::stage::{SpeechRequest, StageError, StageKind};

/// Names of OpenAI's voices, which clients send that know no others: the default English voice
/// speaks for them.
const FOREIGN_VOICES: [&str; 13] = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
];

/// Sentences that are spoken ahead of a client that falls behind.
const SOUND_BACKLOG: usize = 16;

/// A text to be spoken.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::web) struct SpeechBody {
    /// Any name: the voice decides what speaks.
    #[serde(default)]
    #[allow(dead_code, reason = "clients must send it")]
    model: Option<String>,
    /// The text.
    #[schema(min_length = 1)]
    input: String,
    /// An installed voice (`mega-pipeline voices`), one of OpenAI's names for the default
    /// English voice, or absent for the default voice of `language`.
    #[serde(default)]
    voice: Option<String>,
    /// Form of the sound; MP3 when it is not named.
    #[serde(default)]
    response_format: Option<Form>,
    /// 1 is the voice's own pace.
    #[serde(default)]
    #[schema(minimum = 0.25, maximum = 4)]
    speed: Option<f32>,
    /// An extension: tag of the text's language when no voice is named; `en` otherwise, or the
    /// target language where the server does that stage alone.
    #[serde(default)]
    language: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    Mp3,
    Opus,
    Wav,
    /// 16-bit samples, little-endian, mono, 24,000 a second.
    Pcm,
}

impl From<Form> for StreamForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Mp3 => Self::Mp3,
            Form::Opus => Self::Opus,
            Form::Wav => Self::Wav,
            Form::Pcm => Self::Pcm,
        }
    }
}

/// Speaks a text. The sound is sent sentence by sentence, while the rest is still being made.
#[utoipa::path(
    post, path = "/v1/audio/speech", tag = "OpenAI-compatible", request_body = SpeechBody,
    responses(
        (status = 200, description = "The sound", content(
            (Vec<u8> = "audio/mpeg"), (Vec<u8> = "audio/ogg"), (Vec<u8> = "audio/wav"),
            (Vec<u8> = "audio/pcm"),
        )),
        (status = 400, description = "The request cannot be understood", body = ErrorBody),
        (status = 413, description = "The text is too long", body = ErrorBody),
        (status = 415, description = "The request is not JSON", body = ErrorBody),
        (status = 422, description = "There is no such voice, or something else is not served", body = ErrorBody),
        (status = 429, description = "Too many requests wait already", body = ErrorBody),
        (status = 503, description = "The voice is not to be had", body = ErrorBody),
    )
)]
pub(in crate::web) async fn speak(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<SpeechBody>,
) -> Result<Response, WebError> {
    if body.input.trim().is_empty() {
        return Err(WebError::bad_request("empty", "There is no text to speak.").param("input"));
    }
    state.config.check_text_length("input", &body.input)?;
    let speed = body.speed.unwrap_or(1.0);
    if !(0.25..=4.0).contains(&speed) {
        let message = "speed must be from 0.25 to 4.";
        return Err(WebError::unprocessable("out_of_range", message).param("speed"));
    }
    let (language, voice) = voice(&state, &body)?;
    let form = StreamForm::from(body.response_format.unwrap_or(Form::Mp3));
    let stage = StageKind::speaks(&language);
    let request = SpeechRequest { text: body.input, language, voice, speed };
    let pieces = engaged::stream(&state, stage, SOUND_BACKLOG, move |desk, outlet| {
        let encoding = |error: io::Error| StageError::internal("Encoding failed.", error);
        let mut stream: Option<EncodedStream> = None;
        desk.engines.speak(&request, &desk.control, &mut |audio| {
            let mut encoder = match stream.take() {
                Some(encoder) => encoder,
                None => EncodedStream::new(form, audio.sample_rate).map_err(encoding)?,
            };
            let bytes = encoder.push(&audio.samples).map_err(encoding)?;
            stream = Some(encoder);
            if bytes.is_empty() { Ok(()) } else { outlet.send(bytes) }
        })?;
        match stream {
            Some(stream) => outlet.send(stream.finish().map_err(encoding)?),
            None => Ok(()),
        }
    })
    .await?;
    let body = Body::from_stream(pieces_or_abort(pieces));
    Ok(([(header::CONTENT_TYPE, form.media_type())], body).into_response())
}

/// Sound has no place for an error in its middle: the connection is broken off.
fn pieces_or_abort(
    pieces: impl futures::Stream<Item = Result<axum::body::Bytes, WebError>>,
) -> impl futures::Stream<Item = io::Result<axum::body::Bytes>> {
    futures::StreamExt::map(pieces, |piece| {
        piece.map_err(|_| io::Error::other("the speech could not be finished"))
    })
}

/// Language and voice that are asked for.
fn voice(state: &AppState, body: &SpeechBody) -> Result<(String, String), WebError> {
    let wanted = body.voice.as_deref().unwrap_or_default().trim();
    let offered: Vec<&OfferedVoice> = state.config.voices.iter().collect();
    if let Some(voice) = offered.iter().find(|voice| voice.choice.value == wanted) {
        return Ok((voice.language.clone(), voice.choice.value.clone()));
    }
    if wanted.is_empty() || FOREIGN_VOICES.contains(&wanted) {
        // A server that does not speak English speaks what it is there for.
        let own = match state.config.only[..] {
            [StageKind::SynthesisAudio] => &state.config.defaults.target,
            _ => "en",
        };
        let language = body.language.clone().unwrap_or_else(|| own.to_owned());
        let targets = state.config.targets.iter().map(|choice| choice.value.as_str());
        let spoken: Vec<&str> = std::iter::once("en").chain(targets).collect();
        if !spoken.contains(&language.as_str()) {
            let message =
                format!("`{language}` is not spoken here. Choose one of: {}.", spoken.join(", "));
            return Err(WebError::unprocessable("not_offered", message).param("language"));
        }
        return Ok((language, String::new()));
    }
    let choices: Vec<_> = offered.iter().map(|voice| voice.choice.clone()).collect();
    let message = format!("There is no voice `{wanted}`. Choose one of: {}.", names(&choices));
    Err(WebError::unprocessable("not_offered", message).param("voice"))
}
