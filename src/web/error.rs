//! What a client is told when a request fails: one error, two renderings.
//!
//! JSON is `{"error": {"message", "type", "param", "code"}}`; pages get a small
//! HTML document. What went wrong inside is logged here, once, and never sent.

use askama::Template;
use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::request_id;
use super::words::Words;
use crate::jobs::JobError;
use crate::stage::{ErrorCode, StageError};

/// How every error looks.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what `WebError` writes")]
pub(super) struct ErrorBody {
    error: ErrorDetails,
}

#[derive(Serialize, ToSchema)]
struct ErrorDetails {
    /// A sentence for a person.
    message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    r#type: String,
    /// The option, field or header that is at fault, if it is one.
    param: Option<String>,
    /// For programs, such as `job_not_found`.
    code: String,
}

/// A refusal or a failure, as the client is told.
#[derive(Debug, Clone)]
pub(super) struct WebError {
    status: StatusCode,
    /// For programs, such as `job_not_found`.
    code: &'static str,
    /// A sentence for the person.
    message: String,
    /// The option, field or header that is at fault.
    param: Option<String>,
    /// For the log only.
    detail: Option<String>,
}

impl WebError {
    /// A refusal: `message` is a sentence that the person can act on.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None, detail: None }
    }

    /// 400 with a sentence.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400 for a query that does not have the form it should.
    pub fn bad_query(error: &QueryRejection) -> Self {
        Self::bad_request("bad_query", format!("{}.", error.body_text()))
    }

    /// 422 with a sentence.
    pub fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// 404 for an address that nothing answers to.
    pub fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.")
    }

    /// 404 for a job that is not, or no longer, in the table.
    pub fn no_such_job() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "job_not_found",
            "There is no such job. It may have been deleted.",
        )
    }

    /// 500: `detail` goes to the log.
    pub fn internal(detail: impl std::fmt::Display) -> Self {
        Self {
            detail: Some(detail.to_string()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                match request_id::current() {
                    Some(id) => format!(
                        "Something went wrong in the server. Its log says what, under {id}."
                    ),
                    None => "Something went wrong in the server. Its log says what.".to_owned(),
                },
            )
        }
    }

    /// 507: `detail` goes to the log.
    pub fn disk_full(detail: impl std::fmt::Display) -> Self {
        Self {
            detail: Some(detail.to_string()),
            ..Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk_full",
                "The server's disk is full. Delete some jobs and try again.",
            )
        }
    }

    /// A failed read or write: 507 when the disk is full, 500 otherwise.
    pub fn io(what: &str, error: &std::io::Error) -> Self {
        let detail = format!("{what}: {error}");
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::disk_full(detail)
            }
            _ => Self::internal(detail),
        }
    }

    /// The status that the client gets.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Names the option, field or header that is at fault.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The type of the error in the manner of OpenAI's interface, which many clients know.
    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// Writes what went wrong inside to the log. The renderings do; call it only for an
    /// error that is not rendered.
    pub fn log(&self) {
        if let Some(detail) = &self.detail {
            tracing::error!(status = self.status.as_u16(), code = self.code, "{detail}");
        }
    }

    /// Adds the header that tells clients when to come back.
    fn finish(&self, mut response: Response) -> Response {
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }

    /// The error for somebody who reads it as a page; [`write_pages`] puts it into words.
    pub fn into_page(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }

    fn page(self, w: &'static Words) -> Response {
        self.log();
        let message = w.error(self.code, &self.message);
        let page = ErrorPage { w, status: self.status.as_u16(), message };
        let response = match page.render() {
            Ok(html) => (self.status, Html(html)).into_response(),
            Err(error) => {
                tracing::error!("the error page cannot be rendered: {error}");
                (self.status, self.message.clone()).into_response()
            }
        };
        self.finish(response)
    }
}

impl WebError {
    /// What programs are told.
    pub fn body(&self) -> serde_json::Value {
        json!({ "error": {
            "message": self.message,
            "type": self.kind(),
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        self.log();
        let response = (self.status, Json(self.body())).into_response();
        self.finish(response)
    }
}

impl From<JobError> for WebError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::BadId(_) => Self::no_such_job(),
            JobError::QueueFull { max_queued } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "queue_full",
                format!("{max_queued} jobs are waiting already. Try again in a while."),
            ),
            JobError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                "This Idempotency-Key was used before for another recording or other options.",
            ),
            JobError::NotNow(why) => Self::new(StatusCode::CONFLICT, "not_now", why),
            error if error.is_disk_full() => Self::disk_full(error),
            error => Self::internal(error),
        }
    }
}

impl From<StageError> for WebError {
    /// What stopped an engine that was asked directly.
    fn from(error: StageError) -> Self {
        let status = match error.code {
            ErrorCode::TooLong => StatusCode::BAD_REQUEST,
            ErrorCode::UnreadableAudio => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::NoSpeech | ErrorCode::UnsupportedLanguage => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ErrorCode::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::ModelMissing
            | ErrorCode::OutOfMemory
            | ErrorCode::RemoteUnreachable
            | ErrorCode::RemoteBadAnswer
            | ErrorCode::Canceled => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Internal => {
                let detail = error.detail.unwrap_or_default();
                return Self::internal(format_args!("{} {detail}", error.message));
            }
        };
        if error.code == ErrorCode::Canceled {
            // Whoever went away does not read this; what else ends such work is the server's end.
            let message = "The server is being stopped. Try again in a moment.";
            return Self::new(status, "stopping", message);
        }
        let told = Self::new(status, error.code.as_str(), error.message);
        Self { detail: error.detail, ..told }
    }
}

impl From<askama::Error> for WebError {
    fn from(error: askama::Error) -> Self {
        Self::internal(format_args!("a page cannot be rendered: {error}"))
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    w: &'static Words,
    status: u16,
    message: &'a str,
}

/// A [`WebError`] that is shown as a page.
pub(super) struct PageError(WebError);

impl<E: Into<WebError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        self.0.into_page()
    }
}

/// Whether the client is a browser that follows a form or a link, and not a program.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Writes the pages of errors in the reader's language, which only the request tells.
pub(super) async fn write_pages(w: &'static Words, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<WebError>() {
        Some(error) => error.page(w),
        None => response,
    }
}

/// Answers every path that no route knows.
pub(super) async fn no_such_path(headers: HeaderMap) -> Response {
    let error = WebError::no_such_path();
    if wants_page(&headers) { error.into_page() } else { error.into_response() }
}

/// Gives the bare 405 that the router makes a body like every other error's.
pub(super) async fn explain_method(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let message = format!("This address does not answer to {method}.");
    let mut explained =
        WebError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
            .into_response();
    if let Some(allow) = allow {
        explained.headers_mut().insert(header::ALLOW, allow);
    }
    explained
}
