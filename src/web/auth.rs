//! Tokens: asked for on every request where the configuration has some. Programs send them as
//! `Authorization: Bearer …`; a browser signs in once and keeps a cookie.

use askama::Template;
use axum::Form;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::error::{PageError, WebError, wants_page};
use super::state::AppState;
use super::words::Words;
use crate::access::{Access, ApiToken};

/// What the cookie is called.
const COOKIE: &str = "mega_session";

/// A browser stays signed in for this long.
const SIGNED_IN_S: u32 = 30 * 24 * 60 * 60;

/// A wrong token is answered after this time, which spares the server and the log of whoever
/// guesses. What makes guessing hopeless is the length.
const SLOWED: std::time::Duration = std::time::Duration::from_secs(1);

/// Whose request it is.
#[derive(Debug, Clone)]
pub(super) enum Visitor {
    /// Nobody is asked.
    Anybody,
    /// Whoever has the token of this name.
    Named(String),
    /// Nobody yet: the token may be in the body, where LibreTranslate's clients put it.
    Unknown,
}

/// Lets through what carries a token, and what needs none.
pub(super) async fn require(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = &state.config.access;
    if is_public(request.uri()) {
        return next.run(request).await;
    }
    let Ok(visitor) = visitor(access, request.headers()) else {
        return slowed(&state).await.into_response();
    };
    // Of `/translate`, the body has to be read first.
    if matches!(visitor, Visitor::Unknown) && request.uri().path() != "/translate" {
        return lead_to_sign_in(&request);
    }
    if let Visitor::Named(name) = &visitor {
        tracing::debug!(token = %name, "admitted");
    }
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

/// Whose request it is; an error for a token that is none.
fn visitor(access: &Access, headers: &HeaderMap) -> Result<Visitor, ()> {
    if access.is_open() {
        return Ok(Visitor::Anybody);
    }
    let named = |token: &ApiToken| Visitor::Named(token.name.clone());
    // Other schemes are a proxy's business.
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    if let Some(secret) = bearer {
        return access.by_secret(secret).map(named).ok_or(());
    }
    // The page of another site may use the API with a token of its own alone.
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    if origin.is_some_and(|origin| access.allows_origin(origin)) {
        return Ok(Visitor::Unknown);
    }
    // An old cookie is no attempt to guess: it leads to the sign-in page.
    let session = cookie(headers).and_then(|session| access.by_session(session));
    Ok(session.map_or(Visitor::Unknown, named))
}

/// Checks the token that stands in a request's body.
///
/// # Errors
/// 401 when it is none, after a while.
pub(super) async fn check_body(
    state: &AppState,
    visitor: &Visitor,
    secret: Option<&str>,
) -> Result<(), WebError> {
    if !matches!(visitor, Visitor::Unknown) {
        return Ok(());
    }
    match secret {
        None => Err(unauthorized()),
        Some(secret) if state.config.access.by_secret(secret).is_some() => Ok(()),
        Some(_) => Err(slowed(state).await),
    }
}

/// What may be seen by whoever asks: whether the server is well, the sign-in page, and which
/// languages are translated, for which LibreTranslate's clients do not send a token.
fn is_public(uri: &Uri) -> bool {
    let path = uri.path();
    matches!(path, "/healthz" | "/readyz" | "/login" | "/languages") || path.starts_with("/static/")
}

/// A person gets the form, a program the reason.
fn lead_to_sign_in(request: &Request) -> Response {
    if request.method() == Method::GET && wants_page(request.headers()) {
        let wanted = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let query = serde_urlencoded::to_string([("next", wanted)]).unwrap_or_default();
        return Redirect::to(&format!("/login?{query}")).into_response();
    }
    unauthorized().into_response()
}

fn unauthorized() -> WebError {
    let message = "This server asks for a token: send it as `Authorization: Bearer …`.";
    WebError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// The answer to a wrong token, once it has been waited for.
async fn slowed(state: &AppState) -> WebError {
    let Ok(_place) = state.guesses.try_acquire() else {
        let message = "Too many wrong tokens came at once. Try again in a moment.";
        return WebError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", message);
    };
    tokio::time::sleep(SLOWED).await;
    tracing::warn!("a wrong token was refused");
    WebError::new(StatusCode::UNAUTHORIZED, "wrong_token", "This token is not known here.")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|it| it.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    w: &'static Words,
    next: &'a str,
    wrong: bool,
}

/// Where to go on to.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    next: String,
}

/// `GET /login`.
pub(super) async fn page(
    w: &'static Words,
    Query(wanted): Query<Wanted>,
) -> Result<Html<String>, PageError> {
    let page = LoginPage { w, next: own_path(&wanted.next), wrong: false };
    Ok(Html(page.render()?))
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct SignIn {
    token: String,
    #[serde(default)]
    next: String,
}

/// `POST /login`: gives the browser its cookie.
pub(super) async fn sign_in(
    State(state): State<AppState>,
    w: &'static Words,
    Form(form): Form<SignIn>,
) -> Result<Response, PageError> {
    let next = own_path(&form.next);
    let Some(token) = state.config.access.by_secret(form.token.trim()) else {
        let error = slowed(&state).await;
        let page = LoginPage { w, next, wrong: true };
        return Ok((error.status(), Html(page.render()?)).into_response());
    };
    let cookie = cookie_of(&token.session(), SIGNED_IN_S, state.config.access.tls);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// `POST /logout`: takes the cookie away.
pub(super) async fn sign_out(State(state): State<AppState>) -> Response {
    let cookie = cookie_of("", 0, state.config.access.tls);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

fn cookie_of(session: &str, seconds: u32, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={session}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // Hexadecimal digits and what stands above.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// An address on this server; the home page for everything else.
fn own_path(next: &str) -> &str {
    let is_own = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(|c: char| c.is_control() || c == '\\');
    if is_own { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_never_led_to_another_site() {
        assert_eq!(own_path("/jobs/1?version=2"), "/jobs/1?version=2");
        for bad in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "x",
        ] {
            assert_eq!(own_path(bad), "/", "{bad}");
        }
    }
}
