//! How whisper.cpp is given another encoder than its own.
//!
//! Built with `WHISPER_USE_COREML` (cmake/toolchain.cmake), it asks for an encoder whenever it
//! makes the state of a run, by functions that Apple's library has on Apple's machines. Here they
//! are these, and what they answer was laid ready by the thread that makes the state. Where nothing
//! was, whisper.cpp's own encoder is used, as on a GPU.

use std::cell::RefCell;
use std::ffi::c_char;
use std::sync::Arc;

use super::encoder::Encoder;

/// An encoder, and the threads that it may use in one run.
struct External {
    encoder: Arc<Encoder>,
    threads: usize,
}

thread_local! {
    static READY: RefCell<Option<External>> = const { RefCell::new(None) };
}

/// Calls `make`, which makes the state of one run; that will use `encoder` on so many threads.
pub fn with_encoder<T>(
    encoder: Option<&Arc<Encoder>>,
    threads: usize,
    make: impl FnOnce() -> T,
) -> T {
    let ready = encoder.map(|encoder| External { encoder: Arc::clone(encoder), threads });
    READY.set(ready);
    let made = make();
    READY.set(None);
    made
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
/// positions as moments.
///
/// # Safety
/// `external` comes from [`whisper_coreml_init`], and the numbers are there.
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
    let length = moments / 2 * encoder.width();
    encoder.encode(spectrogram, *threads, unsafe { std::slice::from_raw_parts_mut(out, length) });
}
