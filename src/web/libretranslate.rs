//! `/translate` and `/languages`: the part of LibreTranslate's interface that the translators can
//! serve, for clients that speak it already.

use std::collections::BTreeSet;

use axum::extract::{DefaultBodyLimit, Form, FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{self, Visitor};
use super::body::JsonBody;
use super::engaged;
use super::error::{ErrorBody, WebError};
use super::state::AppState;
use crate::stage::StageKind;
use crate::text::language;

/// A text is not larger than this.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What a text is taken for whose language is not named.
const DEFAULT_SOURCE: &str = "en";

/// The two addresses.
pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/translate", post(translate))
        .route("/languages", get(languages))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// A text to be translated.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TranslateBody {
    /// One text, or several.
    q: Texts,
    /// A language that `/languages` names, or `auto`, which is taken for English.
    source: String,
    /// One of the source's targets.
    target: String,
    /// Only `text` is served.
    #[serde(default)]
    format: Option<String>,
    /// A token, for clients that do not send it as a header.
    #[serde(default)]
    api_key: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

/// The translation: one text for one, a list for a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Translation {
    #[serde(rename = "translatedText")]
    translated: Translated,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Translated {
    One(String),
    Several(Vec<String>),
}

/// A language and what it can be translated to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LanguageEntry {
    /// Tag of the language.
    code: String,
    /// Its name in English.
    name: String,
    /// Tags of languages that it can be translated to.
    targets: Vec<String>,
}

/// The languages of `/translate`.
#[utoipa::path(
    get, path = "/languages", tag = "LibreTranslate-compatible",
    responses((status = 200, description = "The languages", body = Vec<LanguageEntry>))
)]
pub(super) async fn languages(State(state): State<AppState>) -> Json<Vec<LanguageEntry>> {
    let pairs = &state.config.translations;
    let mut tags: Vec<&String> = pairs.iter().flat_map(|(from, to)| [from, to]).collect();
    // English first, as the source of nearly everything.
    tags.sort_by_key(|tag| (*tag != DEFAULT_SOURCE, *tag));
    tags.dedup();
    let entry = |tag: &String| LanguageEntry {
        code: tag.clone(),
        name: language::language(tag)
            .map_or_else(|| tag.clone(), |language| language.english_name.to_owned()),
        targets: pairs.iter().filter(|(from, _)| from == tag).map(|(_, to)| to.clone()).collect(),
    };
    Json(tags.into_iter().map(entry).collect())
}

/// Translates a text sentence by sentence; paragraphs stay.
#[utoipa::path(
    post, path = "/translate", tag = "LibreTranslate-compatible",
    request_body(content(
        (TranslateBody = "application/json"), (TranslateBody = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "The translation", body = Translation),
        (status = 400, description = "The request cannot be understood", body = ErrorBody),
        (status = 413, description = "The text is too long", body = ErrorBody),
        (status = 415, description = "The request is neither JSON nor a form", body = ErrorBody),
        (status = 422, description = "The languages are not served", body = ErrorBody),
        (status = 429, description = "Too many requests wait already", body = ErrorBody),
        (status = 503, description = "The translator is not to be had", body = ErrorBody),
    )
)]
pub(super) async fn translate(
    State(state): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Either(body): Either,
) -> Result<Json<Translation>, WebError> {
    auth::check_body(&state, &visitor, body.api_key.as_deref()).await?;
    let source = match body.source.as_str() {
        "auto" => DEFAULT_SOURCE.to_owned(),
        _ => body.source,
    };
    let target = body.target;
    let pairs = &state.config.translations;
    if !pairs.iter().any(|(from, _)| *from == source) {
        let sources: BTreeSet<&str> = pairs.iter().map(|(from, _)| from.as_str()).collect();
        let sources = sources.into_iter().collect::<Vec<_>>().join(", ");
        let message = format!("Nothing is translated from `{source}` here, only from {sources}.");
        return Err(WebError::unprocessable("not_offered", message).param("source"));
    }
    if !pairs.iter().any(|(from, to)| *from == source && *to == target) {
        let targets = pairs.iter().filter(|(from, _)| *from == source);
        let targets = targets.map(|(_, to)| to.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!(
            "There is no translation from `{source}` to `{target}` here. Choose one of: {targets}."
        );
        return Err(WebError::unprocessable("not_offered", message).param("target"));
    }
    if body.format.is_some_and(|format| format != "text") {
        let message = "Only the format `text` is served.";
        return Err(WebError::unprocessable("not_served", message).param("format"));
    }
    let (texts, single) = match body.q {
        Texts::One(text) => (vec![text], true),
        Texts::Several(texts) => (texts, false),
    };
    state.config.check_text_length("q", &texts.concat())?;
    let translated: Vec<String> = engaged::run(&state, StageKind::TranslateText, move |desk| {
        let translate =
            |text: &String| desk.engines.translate(text, &source, &target, &desk.control);
        texts.iter().map(translate).collect()
    })
    .await?;
    let translated =
        if single { Translated::One(translated.concat()) } else { Translated::Several(translated) };
    Ok(Json(Translation { translated }))
}

/// JSON or a form: clients of this interface send both.
pub(super) struct Either(TranslateBody);

impl FromRequest<AppState> for Either {
    type Rejection = WebError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, WebError> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            let Form(body) = Form::from_request(request, state).await.map_err(|error| {
                let message = format!("{}.", error.body_text().trim_end_matches('.'));
                match error.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => {
                        WebError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
                    }
                    _ => WebError::bad_request("bad_form", message),
                }
            })?;
            return Ok(Self(body));
        }
        JsonBody::from_request(request, state).await.map(|JsonBody(body)| Self(body))
    }
}
