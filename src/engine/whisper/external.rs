//! How whisper.cpp is given another encoder than its own.
//!
//! Built with `WHISPER_USE_COREML` (cmake/toolchain.cmake), it asks for an encoder whenever it
//! makes the state of a run, by functions that Apple's library has on Apple's machines. Here they
//! are these, and what they answer was laid ready by the thread that makes the state. Where nothing
//! was, whisper.cpp's own encoder is used, as on a GPU.

use std::cell::Cell;
use std::ffi::c_char;
use std::sync::Arc;

use whisper_rs::{WhisperContext, WhisperError, WhisperState};

use super::encoder::Encoder;

/// An encoder, and the threads that it may use in one run.
struct External {
    encoder: Arc<Encoder>,
    threads: usize,
}

thread_local! {
    static READY: Cell<Option<External>> = const { Cell::new(None) };
}

/// Makes the state of one run of `context`, which uses `encoder` on so many threads if it is one
/// of such a model.
///
/// # Errors
/// Those of whisper.cpp, for want of memory.
pub fn create_state(
    context: &WhisperContext,
    encoder: Option<&Arc<Encoder>>,
    threads: usize,
) -> Result<WhisperState, WhisperError> {
    let shape =
        [context.model_n_audio_ctx(), context.model_n_audio_state(), context.model_n_mels()];
    let fitting = encoder.filter(|encoder| encoder.shape().map(|it| it as i32) == shape);
    READY.set(fitting.map(|encoder| External { encoder: Arc::clone(encoder), threads }));
    let state = context.create_state();
    if READY.take().is_some() && state.is_ok() {
        tracing::warn!("whisper.cpp was built so that it takes no other encoder than its own");
    }
    state
}

/// The encoder for a state that is being made; null where there is none.
// SAFETY: no other library of the program has this name; nor those below.
#[unsafe(no_mangle)]
extern "C" fn whisper_coreml_init(_path: *const c_char) -> *mut External {
    READY.take().map_or(std::ptr::null_mut(), |ready| Box::into_raw(Box::new(ready)))
}

/// Ends what [`whisper_coreml_init`] began.
///
/// # Safety
/// `external` comes from there and is not used any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn whisper_coreml_free(external: *mut External) {
    // SAFETY: as the caller says.
    drop(unsafe { Box::from_raw(external) });
}

/// Encodes a spectrogram of `bands` times `moments` numbers; `out` has room for half as many
/// positions as moments. A panic would end the process.
///
/// # Safety
/// `external` comes from [`whisper_coreml_init`], the numbers are there, and `out` is not among
/// them.
#[unsafe(no_mangle)]
unsafe extern "C" fn whisper_coreml_encode(
    external: *const External,
    moments: i64,
    bands: i64,
    spectrogram: *const f32,
    out: *mut f32,
) {
    // SAFETY (all): as the caller says.
    let External { encoder, threads } = unsafe { &*external };
    let (moments, bands) = (moments as usize, bands as usize);
    let spectrogram = unsafe { std::slice::from_raw_parts(spectrogram, moments * bands) };
    let [_, width, _] = encoder.shape();
    let length = moments / 2 * width;
    // Nobody has written there yet.
    let out = unsafe {
        out.write_bytes(0, length);
        std::slice::from_raw_parts_mut(out, length)
    };
    encoder.encode(spectrogram, *threads, out);
}
