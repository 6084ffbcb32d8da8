//! What every response carries and what every request must pass: the headers
//! that keep a page from being misused, and the check that a request which
//! changes something was not sent by another site.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowHeaders, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use super::error::WebError;
use super::request_id;
use super::state::WebConfig;
use crate::access::Access;

/// Everything comes from this server: no inline script or style, no other host.
/// `blob:` lets a recording be heard before it is sent.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; media-src 'self' blob:; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Puts the guards around every route.
pub(super) fn protect(router: Router, config: &Arc<WebConfig>) -> Router {
    let guarded = router
        .layer(middleware::from_fn_with_state(Arc::clone(config), refuse_other_sites))
        .layer(middleware::from_fn_with_state(Arc::clone(config), refuse_other_names));
    let guarded = match cors(&config.access) {
        Some(cors) => guarded.layer(cors),
        None => guarded,
    };
    HEADERS.into_iter().fold(guarded, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    })
}

/// What lets the pages of other sites use the API, where the configuration names some: with a
/// token of their own, and never with the cookie of somebody who is signed in.
fn cors(access: &Access) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> =
        access.cors_origins.iter().filter_map(|it| HeaderValue::from_str(it).ok()).collect();
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            // Clients send headers of their own, such as those of OpenAI's package.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([header::LOCATION, header::RETRY_AFTER, request_id::HEADER])
    })
}

/// Refuses a request that calls the server by a name that is not its own: a page of another site
/// could have its name point at this machine, and would then be this server's own page to the
/// browser (DNS rebinding). An address in numbers is nobody's name.
async fn refuse_other_names(
    State(config): State<Arc<WebConfig>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 has the name in the address instead.
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    if host.is_none_or(|host| is_own_name(host, &config.access)) {
        return next.run(request).await;
    }
    WebError::new(
        StatusCode::FORBIDDEN,
        "wrong_host",
        "This server is not known by this name. Whoever runs it can add it to `allowed_hosts`.",
    )
    .into_response()
}

fn is_own_name(host: &str, access: &Access) -> bool {
    let Ok(host) = host.parse::<Authority>() else { return false };
    if host.as_str().contains('@') {
        return false;
    }
    let name = host.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok()
        || access.hosts.iter().any(|own| own == "*" || own.eq_ignore_ascii_case(&name))
}

/// Refuses a request that changes something and comes from a page of another
/// site: any page that a person visits could otherwise send a form to a server
/// on that person's machine. Programs send neither header and pass. The rule is
/// that of Go's `http.CrossOriginProtection`.
async fn refuse_other_sites(
    State(config): State<Arc<WebConfig>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if is_safe(request.method()) || is_own_page(headers) || is_allowed(headers, &config.access) {
        return next.run(request).await;
    }
    WebError::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "Another site's page sent this request. Only this server's own page and programs may.",
    )
    .into_response()
}

/// Whether a page of a site that the configuration names sent the request.
fn is_allowed(headers: &HeaderMap, access: &Access) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.is_some_and(|origin| access.allows_origin(origin))
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, b"same-origin" | b"none");
    }
    let Some(origin) = text(header::ORIGIN) else { return true };
    let origin = Uri::try_from(origin).ok();
    let host = origin.as_ref().and_then(Uri::authority).map(|host| host.as_str().as_bytes());
    host.is_some() && host == text(header::HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_program_without_browser_headers_passes() {
        assert!(is_own_page(&headers(&[("host", "127.0.0.1:8080")])));
    }

    #[test]
    fn the_own_page_passes_and_other_sites_do_not() {
        assert!(is_own_page(&headers(&[("sec-fetch-site", "same-origin")])));
        assert!(is_own_page(&headers(&[("sec-fetch-site", "none")])));
        assert!(!is_own_page(&headers(&[("sec-fetch-site", "same-site")])));
        assert!(!is_own_page(&headers(&[("sec-fetch-site", "cross-site")])));
    }

    #[test]
    fn an_origin_must_be_the_host_that_was_asked() {
        let origin =
            |origin| is_own_page(&headers(&[("host", "localhost:8080"), ("origin", origin)]));
        assert!(origin("http://localhost:8080"));
        assert!(!origin("http://localhost:9090"));
        assert!(!origin("https://evil.example"));
        assert!(!origin("null"));
    }

    #[test]
    fn only_own_names_and_addresses_in_numbers_are_answered_to() {
        let access = Access { hosts: vec!["studio.lan".to_owned()], ..Access::default() };
        for own in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:8080",
            "192.168.1.4",
            "[::1]:8080",
            "Studio.LAN:8080",
            "mega.localhost",
        ] {
            assert!(is_own_name(own, &access), "{own}");
        }
        for other in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "a b",
            "evil.example@localhost",
        ] {
            assert!(!is_own_name(other, &access), "{other}");
        }
        let anything = Access { hosts: vec!["*".to_owned()], ..Access::default() };
        assert!(is_own_name("evil.example", &anything));
    }
}
