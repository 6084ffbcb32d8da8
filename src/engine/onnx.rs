//! ONNX Runtime: its shared library is opened here, and sessions are made here.
//!
//! Called by `cli` at start ([`init`], [`version`]) and by the engines that run
//! ONNX models ([`session`], [`quick_session`]). The crate `ort` waits for ever when the library is
//! absent or too old, so nothing else in this program may open it.

#[cfg(target_arch = "x86_64")]
mod convolution;
#[cfg(target_arch = "x86_64")]
mod operators;
#[cfg(target_arch = "x86_64")]
mod sine;

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use libloading::{Library, Symbol};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, Session};
use ort::sys::OrtApiBase;

use super::{EngineError, Hardware};

/// Oldest ONNX Runtime 1.x whose API `ort` can use.
const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// What messages call the library.
const LIBRARY: &str = "ONNX Runtime";

/// The library in use, once [`init`] succeeded. Locked while it is being opened.
static IN_USE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Opens the ONNX Runtime at `library` for this process.
///
/// Calling it again with the same library does nothing.
///
/// # Errors
/// When the file is absent, is not a library, is not ONNX Runtime, is older than
/// 1.24, or when another library is already in use: all at once, without waiting.
pub fn init(library: &Path) -> Result<(), EngineError> {
    let mut in_use = IN_USE.lock().map_err(|_| load_error(library, "opening it failed before"))?;
    let path = find(library)?;
    if let Some(opened) = in_use.as_ref() {
        return if *opened == path {
            Ok(())
        } else {
            Err(load_error(library, format_args!("{} is in use already", opened.display())))
        };
    }
    // Kept open until `ort` holds its own handle, so that it is loaded only once.
    let (_open, version) = open(&path)?;
    let minor = minor_of(&version);
    if minor.is_none_or(|minor| minor < OLDEST_MINOR) {
        let detail = format_args!("it is version {version}; 1.{OLDEST_MINOR} or newer is needed");
        return Err(load_error(library, detail));
    }
    let environment = ort::init_from(&path).map_err(|error| load_error(library, error))?;
    // That stops only what comes after it; ORT_DISABLE_TELEMETRY, which `cli` sets, stops all.
    environment.with_name("mega-pipeline").with_telemetry(false).commit();
    *in_use = Some(path);
    Ok(())
}

/// The version of the ONNX Runtime at `library`, such as `1.32.0`.
///
/// Does not change which library the process uses.
///
/// # Errors
/// When the file is absent, is not a library, or is not ONNX Runtime.
pub fn version(library: &Path) -> Result<String, EngineError> {
    open(&find(library)?).map(|(_, version)| version)
}

/// Loads the ONNX model at `model`, ready to run on the CPU.
///
/// # Errors
/// When [`init`] has not succeeded, when the file is absent, or when ONNX Runtime
/// cannot use it.
pub fn session(model: &Path, hardware: &Hardware) -> Result<Session, EngineError> {
    commit(model, || builder(hardware))
}

/// As [`session`], with operators of our own where this processor has what they need: convolutions
/// of 8-bit numbers and sines, which are most of the time that Kokoro takes. A model that they do not
/// fit has ONNX Runtime's.
///
/// # Errors
/// As [`session`].
pub fn quick_session(model: &Path, hardware: &Hardware) -> Result<Session, EngineError> {
    #[cfg(target_arch = "x86_64")]
    match commit(model, || Ok(builder(hardware)?.with_operators(operators::quick()?)?)) {
        Err(EngineError::Load { what, detail }) => {
            tracing::warn!(what, detail, "loaded without quicker operators");
        }
        made => return made,
    }
    session(model, hardware)
}

/// Has ONNX Runtime read the file with the settings of `builder`.
fn commit(
    model: &Path,
    builder: impl FnOnce() -> ort::Result<SessionBuilder>,
) -> Result<Session, EngineError> {
    let what = || format!("The model {}", model.display());
    let ready = IN_USE.lock().is_ok_and(|in_use| in_use.is_some());
    if !ready {
        return Err(EngineError::load(what(), "ONNX Runtime has not been opened"));
    }
    if !model.is_file() {
        return Err(EngineError::Missing { what: "The model".into(), path: model.into() });
    }
    builder()
        .and_then(|mut builder| builder.commit_from_file(model))
        .map_err(|error| EngineError::load(what(), error))
}

/// Options of a run at whose end ONNX Runtime gives back the memory that runs took. Without them it
/// keeps as much as the longest sentence needed, some 200 MB for a voice.
///
/// # Errors
/// When the options cannot be made. A session without an arena, which none here is, would refuse
/// the run.
pub fn giving_back() -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    options.add_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    Ok(options)
}

/// Settings that every session shares.
fn builder(hardware: &Hardware) -> ort::Result<SessionBuilder> {
    let builder = Session::builder()?
        .with_intra_threads(hardware.threads.max(1))?
        .with_optimization_level(GraphOptimizationLevel::All)?
        // Sentences differ in length, so a memory plan made for one never fits the next.
        .with_memory_pattern(false)?
        // Idle threads sleep: other stages of the pipeline want the same cores.
        .with_intra_op_spinning(false)?;
    Ok(builder)
}

/// The absolute path of `library`, which must exist.
fn find(library: &Path) -> Result<PathBuf, EngineError> {
    library
        .canonicalize()
        .map_err(|_| EngineError::Missing { what: LIBRARY.into(), path: library.into() })
}

/// Opens the library and reads its version.
fn open(path: &Path) -> Result<(Library, String), EngineError> {
    type GetApiBase = unsafe extern "C" fn() -> *const OrtApiBase;
    // SAFETY: loading runs the file's initialisers. The path comes from the model
    // store or from the person's own configuration, like any program they start.
    let library = unsafe { Library::new(path) }.map_err(|error| load_error(path, error))?;
    // SAFETY: this is the signature that ONNX Runtime's C header gives the symbol.
    let get_api_base: Symbol<'_, GetApiBase> = unsafe { library.get(b"OrtGetApiBase") }
        .map_err(|_| load_error(path, "the file is a library, but not ONNX Runtime"))?;
    // SAFETY: takes no arguments; returns null or a table that lives with the library.
    let base = unsafe { get_api_base().as_ref() }
        .ok_or_else(|| load_error(path, "it offers no interface"))?;
    // SAFETY: returns a NUL-terminated string that lives with the library.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) };
    let version = version.to_string_lossy().into_owned();
    Ok((library, version))
}

/// `32` for `1.32.0`; nothing for another major version.
fn minor_of(version: &str) -> Option<u32> {
    let mut parts = version.split('.');
    if parts.next() != Some("1") {
        return None;
    }
    parts.next()?.parse().ok()
}

fn load_error(library: &Path, detail: impl std::fmt::Display) -> EngineError {
    EngineError::load(format!("{LIBRARY} at {}", library.display()), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read_from_the_version_string() {
        assert_eq!(minor_of("1.32.0"), Some(32));
        assert_eq!(minor_of("1.24.1-dev"), Some(24));
        assert_eq!(minor_of("2.0.0"), None);
        assert_eq!(minor_of(""), None);
    }
}
