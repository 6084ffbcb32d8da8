//! Keeps ALSA from writing its search for devices to standard error.

#[cfg(target_os = "linux")]
pub use linux::silence;

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{c_char, c_int, c_void};

    /// `snd_local_error_handler_t` of alsa/error.h; the last argument is a `va_list`,
    /// which is passed as a pointer.
    type Handler =
        extern "C" fn(*const c_char, c_int, *const c_char, c_int, *const c_char, *mut c_void);

    unsafe extern "C" {
        fn snd_lib_error_set_local(handler: Option<Handler>) -> Option<Handler>;
    }

    extern "C" fn ignore(
        _file: *const c_char,
        _line: c_int,
        _function: *const c_char,
        _code: c_int,
        _format: *const c_char,
        _arguments: *mut c_void,
    ) {
    }

    /// Silences ALSA on this thread. What went wrong still comes back as an error.
    pub fn silence() {
        // SAFETY: the function stores the pointer, which is valid for ever, and the
        // handler touches none of its arguments.
        unsafe { snd_lib_error_set_local(Some(ignore)) };
    }
}

/// Other systems write nothing.
#[cfg(not(target_os = "linux"))]
pub fn silence() {}
