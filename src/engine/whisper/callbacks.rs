//! How a running whisper.cpp tells of its progress and is stopped.
//!
//! The safe setters of whisper-rs 0.16 want closures that live for ever, leak
//! them, and call the one that stops through a pointer of the wrong type. Plain
//! functions with a pointer to [`Callbacks`] avoid all three.

use std::ffi::{c_int, c_void};

use whisper_rs::{FullParams, WhisperSysContext, WhisperSysState};

use crate::engine::Control;

/// What the callbacks of one run need.
pub struct Callbacks<'a> {
    control: Control<'a>,
    duration_ms: u64,
}

impl<'a> Callbacks<'a> {
    /// Callbacks for a recording of `duration_ms` milliseconds.
    pub fn new(control: &Control<'a>, duration_ms: u64) -> Self {
        Self { control: *control, duration_ms }
    }

    /// Makes `params` call these callbacks.
    ///
    /// # Safety
    /// `self` must stay where it is until the run with `params` has ended.
    pub unsafe fn install(&self, params: &mut FullParams<'_, '_>) {
        let data = std::ptr::from_ref(self).cast_mut().cast::<c_void>();
        // SAFETY: both functions only read through `data`, as a `Callbacks` that the
        // caller keeps alive; its parts are `Sync`, so any thread may do so.
        unsafe {
            params.set_progress_callback(Some(on_progress));
            params.set_progress_callback_user_data(data);
            params.set_abort_callback(Some(wants_abort));
            params.set_abort_callback_user_data(data);
        }
    }
}

unsafe extern "C" fn on_progress(
    _context: *mut WhisperSysContext,
    _state: *mut WhisperSysState,
    percent: c_int,
    data: *mut c_void,
) {
    // SAFETY: `data` is what `install` was given.
    let callbacks = unsafe { &*data.cast::<Callbacks<'_>>() };
    let done = callbacks.duration_ms * u64::from(percent.clamp(0, 100).unsigned_abs()) / 100;
    callbacks.control.report(done as usize, callbacks.duration_ms as usize);
}

unsafe extern "C" fn wants_abort(data: *mut c_void) -> bool {
    // SAFETY: `data` is what `install` was given.
    let callbacks = unsafe { &*data.cast::<Callbacks<'_>>() };
    callbacks.control.cancel.is_canceled()
}
