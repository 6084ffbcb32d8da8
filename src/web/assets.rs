//! Script, style and icon: compiled into the binary, so the page needs no files.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::no_such_path;

struct Asset {
    name: &'static str,
    media_type: &'static str,
    body: &'static str,
}

const ASSETS: [Asset; 4] = [
    Asset {
        name: "app.js",
        media_type: "text/javascript; charset=utf-8",
        body: include_str!("../../static/app.js"),
    },
    Asset {
        name: "recorder.js",
        media_type: "text/javascript; charset=utf-8",
        body: include_str!("../../static/recorder.js"),
    },
    Asset {
        name: "style.css",
        media_type: "text/css; charset=utf-8",
        body: include_str!("../../static/style.css"),
    },
    Asset {
        name: "favicon.svg",
        media_type: "image/svg+xml",
        body: include_str!("../../static/favicon.svg"),
    },
];

/// One tag for all assets: they change only with the binary.
static ETAG: LazyLock<String> = LazyLock::new(|| {
    let hash = ASSETS.iter().fold(Sha256::new(), |hash, asset| hash.chain_update(asset.body));
    let start = hash.finalize().first_chunk().copied().map_or(0, u64::from_be_bytes);
    format!("\"{start:016x}\"")
});

/// `GET /static/{name}`. Browsers ask again every time and get a 304 while the
/// binary is the same, so a new version shows at once.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return no_such_path(headers).await;
    };
    let caching = [(header::ETAG, ETAG.as_str()), (header::CACHE_CONTROL, "no-cache")];
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == ETAG.as_str());
    if known {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, asset.media_type)], asset.body).into_response()
}
