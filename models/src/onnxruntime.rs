//! Finds ONNX Runtime's shared library and opens the one environment of the process.
//!
//! The library is looked for in `ORT_DYLIB_PATH`, beside the executable, in `lib/sembla` of its
//! installation, and in the folder that `scripts/fetch-onnxruntime.sh` fills (`.sembla/onnxruntime`
//! under the working directory or above the executable). Telemetry is off. Sessions are made by the
//! engine, not here.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ort::environment::Environment;

use crate::error::one_line;
use crate::installation::{Installed, places};
use crate::{ModelError, Result};

/// The file name of the library on this platform.
const LIBRARY: &str = if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else if cfg!(target_os = "windows") {
    "onnxruntime.dll"
} else {
    "libonnxruntime.so"
};

/// The environment of this process, opened at the first call.
///
/// # Errors
/// [`ModelError::OnnxRuntime`] when no library is found or the one found can't be loaded. The first
/// outcome is kept.
pub(crate) fn environment() -> Result<&'static Environment> {
    static ENVIRONMENT: OnceLock<std::result::Result<Environment, String>> = OnceLock::new();
    ENVIRONMENT
        .get_or_init(|| open().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(|message| ModelError::OnnxRuntime(message.clone()))
}

/// The library that [`environment`] opens.
///
/// # Errors
/// [`ModelError::OnnxRuntime`] with every place that was looked at and what to do.
pub(crate) fn library_path() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        if path.is_file() {
            return Ok(path);
        }
        return Err(ModelError::OnnxRuntime(format!(
            "ORT_DYLIB_PATH names {}, which is not a file; point it at ONNX Runtime's {LIBRARY} or unset it",
            path.display()
        )));
    }
    let candidates = candidates();
    candidates.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let looked: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        ModelError::OnnxRuntime(format!(
            "ONNX Runtime was not found; run 'make runtime' in the checkout, or set ORT_DYLIB_PATH to the path of {LIBRARY} (looked at: {})",
            looked.join(", ")
        ))
    })
}

/// Where the library may be, best first.
fn candidates() -> Vec<PathBuf> {
    let downloaded = Path::new(".sembla").join("onnxruntime").join(LIBRARY);
    places(Installed::Library, Path::new(LIBRARY), &downloaded)
}

/// Loads the library and opens the environment.
fn open() -> Result<Environment> {
    let path = library_path()?;
    // SAFETY: this runs once, before ONNX Runtime starts any thread; Rust's own readers of the
    // environment are synchronised with it.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    let fail = |message: String| {
        ModelError::OnnxRuntime(format!(
            "ONNX Runtime at {} can't be used: {}; scripts/fetch-onnxruntime.sh fetches one that works",
            path.display(),
            one_line(&message)
        ))
    };
    ort::init_from(&path)
        .map_err(|error| fail(error.to_string()))?
        .with_name("sembla")
        .with_telemetry(false)
        .build()
        .map_err(|error| fail(error.to_string()))
}

/// To be held while a session is built. ONNX Runtime looks whether it knows the domain of our
/// operators, and adds it if not, in two steps; two sessions at once would both add it.
pub(crate) fn one_session_at_a_time() -> MutexGuard<'static, ()> {
    static BUILDING: Mutex<()> = Mutex::new(());
    BUILDING.lock().unwrap_or_else(PoisonError::into_inner)
}
