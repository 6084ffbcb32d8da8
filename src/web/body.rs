//! JSON in the body of a request.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::error::WebError;
use super::upload::{broken_off, stood_still};

/// The body, read as JSON; what is wrong with it is told like every other error.
pub(super) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = WebError;

    async fn from_request(request: Request, state: &S) -> Result<Self, WebError> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

impl From<JsonRejection> for WebError {
    fn from(error: JsonRejection) -> Self {
        if stood_still(&error) {
            return broken_off(&error);
        }
        let message = format!("{}.", error.body_text().trim_end_matches('.'));
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message)
            }
            _ => Self::bad_request("bad_json", message),
        }
    }
}
