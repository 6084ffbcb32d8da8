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

const fn script(name: &'static str, body: &'static str) -> Asset {
    Asset { name, media_type: "text/javascript; charset=utf-8", body }
}

const ASSETS: [Asset; 7] = [
    script("common.js", include_str!("../../static/common.js")),
    script("home.js", include_str!("../../static/home.js")),
    script("job.js", include_str!("../../static/job.js")),
    script("recorder.js", include_str!("../../static/recorder.js")),
    script("pcm.js", include_str!("../../static/pcm.js")),
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
