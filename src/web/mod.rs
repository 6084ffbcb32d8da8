//! The server: one page and a JSON interface over the job table.
//!
//! Called by `cli serve`. Handlers read and write through [`crate::jobs`] and
//! never run a model; a handler that must block uses a blocking thread. One
//! file a page in `page/` (its template beside it in `templates/`), one file a
//! resource in `api/`.

mod api;
mod archive;
mod assets;
mod auth;
mod body;
mod compressed;
mod describe;
mod engaged;
mod error;
mod guard;
mod kept;
mod libretranslate;
mod openai;
mod options;
mod page;
mod recording;
mod request_id;
mod router;
mod serve;
mod sse;
mod state;
mod texts;
mod tls;
mod upload;
mod words;

pub use router::router;
pub use serve::serve;
pub use state::{AppState, Choice, Models, OfferedVoice, Served, StageEngine, Task, WebConfig};
pub use tls::{Certificate, TlsError};
