//! `/translate` and `/languages`: the part of LibreTranslate's interface that the translators can
//! serve, for clients that speak it already.

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
use super::options::names;
use super::state::AppState;

/// A text is not larger than this.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// What pipelines translate from.
const SOURCE: &str = "en";

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
    /// `en`, or `auto`, which is taken for English.
    source: String,
    /// One of the targets that `/languages` names.
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
    let targets: Vec<String> =
        state.config.targets.iter().map(|choice| choice.value.clone()).collect();
    let english = LanguageEntry { code: SOURCE.to_owned(), name: "English".to_owned(), targets };
    let others = state.config.targets.iter().map(|choice| LanguageEntry {
        code: choice.value.clone(),
        name: choice.title.clone(),
        targets: Vec::new(),
    });
    Json(std::iter::once(english).chain(others).collect())
}

/// Translates an English text, sentence by sentence; paragraphs stay.
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
    if !matches!(body.source.as_str(), SOURCE | "auto") {
        let message = format!("Only English (`{SOURCE}`) is translated here.");
        return Err(WebError::unprocessable("not_offered", message).param("source"));
    }
    let target = body.target;
    if !state.config.targets.iter().any(|choice| choice.value == target) {
        let message = format!(
            "There is no translation to `{target}` here. Choose one of: {}.",
            names(&state.config.targets)
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
    let translated: Vec<String> = engaged::run(&state, move |desk| {
        texts.iter().map(|text| desk.engines.translate(text, &target, &desk.control)).collect()
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
