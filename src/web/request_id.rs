//! One name for a request, from the client's header or made here: in the answer, in every line of
//! the log that the request causes, and in the answer's text when something goes wrong inside.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

/// Where it stands, in requests and answers.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest that is taken from a client.
const MAX_LENGTH: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// The name of the request that this task answers, if it answers one.
pub(super) fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Does `work` under the name of a request, from outside its task.
pub(super) fn within<T>(id: Option<String>, work: impl FnOnce() -> T) -> T {
    match id {
        Some(id) => CURRENT.sync_scope(id, work),
        None => work(),
    }
}

/// Gives the request its name.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let sent = request.headers().get(&HEADER).and_then(|value| value.to_str().ok());
    let id = match sent {
        Some(id) if is_harmless(id) => id.to_owned(),
        _ => uuid::Uuid::now_v7().simple().to_string(),
    };
    let span = tracing::info_span!(
        "request", %id, method = %request.method(), path = request.uri().path()
    );
    let header = HeaderValue::from_str(&id).ok();
    let mut response = CURRENT.scope(id, next.run(request)).instrument(span).await;
    if let Some(header) = header {
        response.headers_mut().insert(HEADER, header);
    }
    response
}

/// Whether a client's name can stand in a log as it is.
fn is_harmless(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_forge_a_line_of_the_log_are_not_taken() {
        for good in ["a", "01HZ-x_7.9"] {
            assert!(is_harmless(good), "{good}");
        }
        for bad in ["", "a b", "a\nb", "\u{1b}[31m", "é", &"x".repeat(65)] {
            assert!(!is_harmless(bad), "{bad:?}");
        }
    }
}
