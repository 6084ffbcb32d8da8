//! Turns a library's panic into an error.
//!
//! Called by the engines whose library indexes files without checking them, so
//! that a damaged file fails a job and does not end the worker's thread.

use std::any::Any;
use std::panic::{UnwindSafe, catch_unwind};

/// Runs `work`; a panic inside it becomes the error's text.
///
/// What `work` borrows must be usable after a panic halfway: `UnwindSafe`.
///
/// # Errors
/// The message of the panic.
pub fn caught<T>(work: impl FnOnce() -> T + UnwindSafe) -> Result<T, String> {
    catch_unwind(work).map_err(|payload| message(payload.as_ref()))
}

/// The text that a panic carries: a literal or a formatted string.
fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the library stopped without saying why".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let nothing: Vec<u8> = Vec::new();
        let error = caught(|| nothing[3]).unwrap_err();
        assert!(error.contains("index is 3"), "{error}");
    }

    #[test]
    fn a_result_passes_through() {
        assert_eq!(caught(|| 7), Ok(7));
    }
}
