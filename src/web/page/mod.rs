//! The pages and their parts: one file each, with its template beside it in
//! `templates/`. Called by `router` only.

pub(super) mod actions;
pub(super) mod home;
pub(super) mod job;
pub(super) mod job_row;
pub(super) mod models;
mod plot;
mod show;
pub(super) mod status;
pub(super) mod waveform;

use askama::Template;
use axum::http::{HeaderName, header};
use axum::response::Html;

use super::error::PageError;

/// Lengths of the text that are offered, in tokens.
const LENGTHS: [u32; 4] = [60, 160, 400, 1600];

/// A page. It depends on the language that the browser asks for, and on what just happened.
pub(super) type Page = ([(HeaderName, &'static str); 2], Html<String>);

pub(super) fn page(template: &impl Template) -> Result<Page, PageError> {
    let headers = [(header::VARY, "Accept-Language"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Html(template.render()?)))
}
