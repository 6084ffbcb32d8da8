//! What every response carries and what every request must pass: the headers
//! that keep a page from being misused, and the check that a request which
//! changes something was not sent by another site.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::set_header::SetResponseHeaderLayer;

use super::error::WebError;

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
pub(super) fn protect(router: Router) -> Router {
    HEADERS.into_iter().fold(
        router.layer(middleware::from_fn(refuse_other_sites)),
        |router, (name, value)| {
            router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
        },
    )
}

/// Refuses a request that changes something and comes from a page of another
/// site: any page that a person visits could otherwise send a form to a server
/// on that person's machine. Programs send neither header and pass. The rule is
/// that of Go's `http.CrossOriginProtection`.
async fn refuse_other_sites(request: Request, next: Next) -> Response {
    if is_safe(request.method()) || is_own_page(request.headers()) {
        return next.run(request).await;
    }
    WebError::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "Another site's page sent this request. Only this server's own page and programs may.",
    )
    .into_response()
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
}
