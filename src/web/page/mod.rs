//! The page and its parts: one file each, with its template beside it in
//! `templates/`. Called by `router` only.

pub(super) mod home;
pub(super) mod job_row;
mod show;
