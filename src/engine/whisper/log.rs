//! whisper.cpp's log lines, which it would write to standard error, among those of the program.

use std::ffi::{CStr, c_char, c_uint, c_void};
use std::sync::Once;

use whisper_rs::GGMLLogLevel;

/// Takes over whisper.cpp's log. A second call changes nothing.
pub(super) fn take_over() {
    static ONCE: Once = Once::new();
    // SAFETY: the function needs no data, and may be called from any thread.
    ONCE.call_once(|| unsafe { whisper_rs::set_log_callback(Some(line), std::ptr::null_mut()) });
}

unsafe extern "C" fn line(level: c_uint, text: *const c_char, _data: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: whisper.cpp gives a string that lasts for this call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let text = text.trim();
    match GGMLLogLevel::from(level) {
        // What it says wherever its own encoder is to be used: see `external`.
        GGMLLogLevel::Error if text.contains("Core ML") => tracing::debug!("{text}"),
        GGMLLogLevel::Error => tracing::error!("{text}"),
        GGMLLogLevel::Warn => tracing::warn!("{text}"),
        _ if text.is_empty() => {}
        _ => tracing::debug!("{text}"),
    }
}
