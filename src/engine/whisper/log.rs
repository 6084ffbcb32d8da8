//! whisper.cpp's log lines, which it would write to standard error, among those of the program.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::sync::Once;

use whisper_rs::GGMLLogLevel;

use crate::engine::Cancel;

/// What a log filter calls its lines.
const TARGET: &str = "whisper_cpp";

/// Takes over whisper.cpp's log. A second call changes nothing.
pub(super) fn take_over() {
    static ONCE: Once = Once::new();
    // SAFETY: the function needs no data, and may be called from any thread.
    ONCE.call_once(|| unsafe { whisper_rs::set_log_callback(Some(line), std::ptr::null_mut()) });
}

thread_local! {
    /// What stops the run on this thread, and after a panic what stopped the one before.
    static CANCEL: RefCell<Option<Cancel>> = const { RefCell::new(None) };
}

/// Does `run`, whose complaints are no errors once it was canceled: whisper.cpp says that it has
/// failed when it was stopped.
pub(super) fn quiet_once_canceled<T>(cancel: &Cancel, run: impl FnOnce() -> T) -> T {
    CANCEL.set(Some(cancel.clone()));
    let result = run();
    CANCEL.set(None);
    result
}

unsafe extern "C" fn line(level: c_uint, text: *const c_char, _data: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: whisper.cpp gives a string that lasts for this call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let text = text.trim();
    match GGMLLogLevel::from(level) {
        _ if text.is_empty() => {}
        // What it says wherever its own encoder is to be used: see `external`.
        GGMLLogLevel::Error if text.contains("failed to load Core ML") => {}
        GGMLLogLevel::Error if is_canceled() => tracing::debug!(target: TARGET, "{text}"),
        GGMLLogLevel::Error => tracing::error!(target: TARGET, "{text}"),
        GGMLLogLevel::Warn => tracing::warn!(target: TARGET, "{text}"),
        _ => tracing::debug!(target: TARGET, "{text}"),
    }
}

fn is_canceled() -> bool {
    CANCEL.with_borrow(|cancel| cancel.as_ref().is_some_and(Cancel::is_canceled))
}
