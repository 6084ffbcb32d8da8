//! What a stage drives: one file an engine, each keeping one model in memory.
//!
//! Called by `stage` only. An engine gets paths, settings and text or sound; it
//! knows nothing of jobs or stages. Those in `remote` have another server do the work.

pub mod control;
mod disjoint;
pub mod error;
mod exponential;
pub mod firefox;
pub mod gpu;
mod guard;
pub mod kokoro;
mod kokoro_symbols;
pub mod llm;
pub mod marian;
pub mod onnx;
pub mod phonemes;
pub mod piper;
pub mod pivot;
mod pool;
pub mod remote;
pub mod shared;
mod spm;
pub mod text_model;
mod tile;
pub mod transcriber;
pub mod translator;
pub mod vad;
pub mod voice;
pub mod whisper;

pub use control::{Cancel, Control, Progress};
pub use error::EngineError;
pub use shared::{Shared, end_turn, shared, turn};
pub use text_model::{ChatMessage, Finish, GenerateOptions, Generation, Role, TextModel};
pub use transcriber::Transcriber;
pub use translator::Translator;
pub use voice::Voice;

/// What an engine may compute on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// Threads for one model at work.
    pub threads: usize,
    /// Ordinal of the CUDA device, or `None` for the CPU.
    pub gpu: Option<usize>,
}

impl Hardware {
    /// `cpu` or `cuda:0`, as it stands in timings.
    #[must_use]
    pub fn name(&self) -> String {
        self.gpu.map_or_else(|| "cpu".to_owned(), |ordinal| format!("cuda:{ordinal}"))
    }
}
