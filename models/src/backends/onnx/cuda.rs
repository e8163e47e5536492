//! CUDA: what ONNX Runtime's provider is told, and what is missing where it can't be had.
//!
//! Written from ONNX Runtime's documentation. Not used: CUDA graphs, which need fixed shapes and
//! addresses, and a stream or memory of the caller's.

use std::path::Path;

use ort::ep;
use ort::ep::{ArenaExtendStrategy, ExecutionProviderDispatch};

use crate::onnxruntime::library_path;
use crate::{ModelError, Result};

/// The file name of ONNX Runtime's CUDA provider, which it looks for beside itself.
const PROVIDER: &str = if cfg!(target_os = "windows") {
    "onnxruntime_providers_cuda.dll"
} else {
    "libonnxruntime_providers_cuda.so"
};

/// The library that comes with NVIDIA's driver.
const DRIVER: &str = if cfg!(target_os = "windows") { "nvcuda.dll" } else { "libcuda.so.1" };

/// The provider of one GPU. Its memory grows by what is asked for, to at most `memory_mib`; 32-bit
/// products are made of 32-bit floats.
pub(super) fn provider(number: u32, memory_mib: Option<u64>) -> ExecutionProviderDispatch {
    let mut cuda = ep::CUDA::default()
        .with_device_id(i32::try_from(number).unwrap_or(i32::MAX))
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        .with_tf32(false);
    if let Some(mib) = memory_mib {
        let bytes = usize::try_from(mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        cuda = cuda.with_memory_limit(bytes);
    }
    cuda.build().error_on_failure()
}

/// Looks for what a GPU needs before ONNX Runtime does, whose own messages name no fix.
///
/// # Errors
/// [`ModelError::Device`] that names what is missing, and [`ModelError::OnnxRuntime`] where there
/// is no ONNX Runtime at all.
pub(super) fn check(device: &str) -> Result<()> {
    let library = library_path()?;
    let has_provider = library.with_file_name(PROVIDER).is_file();
    let has_driver = has_provider && ort::util::preload_dylib(DRIVER).is_ok();
    match missing(&library, has_provider, has_driver) {
        Some(reason) => Err(ModelError::Device { device: device.to_string(), reason }),
        None => Ok(()),
    }
}

/// What is missing, and how to get it.
fn missing(library: &Path, has_provider: bool, has_driver: bool) -> Option<String> {
    if !has_provider {
        return Some(format!(
            "{PROVIDER} is not beside {}, which is for processors only; set ORT_DYLIB_PATH to the library of \
             PyPI's onnxruntime-gpu, or use device cpu",
            library.display()
        ));
    }
    if !has_driver {
        return Some(format!(
            "{DRIVER}, a part of NVIDIA's driver, can't be loaded; install the driver (in a container, start it \
             with --gpus all), or use device cpu"
        ));
    }
    None
}

/// ONNX Runtime's refusal of a GPU, with the fix where it is known.
pub(super) fn explain(device: &str, message: &str) -> ModelError {
    let fix = if message.contains("cannot open shared object file") {
        "install the CUDA and cuDNN that this ONNX Runtime needs, and put them on LD_LIBRARY_PATH"
    } else if message.contains("invalid device ordinal") {
        "nvidia-smi -L lists the GPUs of this machine"
    } else if message.contains("out of memory") || message.contains("Failed to allocate memory") {
        "lower batch_tokens or workers, or use a GPU with more memory"
    } else if message.contains("driver version is insufficient") {
        "update NVIDIA's driver, or use an onnxruntime-gpu for an older CUDA"
    } else {
        "see docs/gpu.md for what it needs"
    };
    ModelError::Device { device: device.to_string(), reason: format!("{message}; {fix}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_fix() {
        let library = Path::new("/opt/x/libonnxruntime.so");
        let provider = missing(library, false, false).expect("missing");
        assert!(provider.contains(PROVIDER) && provider.contains("/opt/x/"), "{provider}");
        assert!(provider.contains("onnxruntime-gpu") && provider.contains("device cpu"));
        let driver = missing(library, true, false).expect("missing");
        assert!(driver.contains(DRIVER) && driver.contains("install the driver"), "{driver}");
        assert_eq!(missing(library, true, true), None);
    }

    /// Messages as ONNX Runtime and CUDA word them.
    #[test]
    fn refusals_get_the_fix_that_is_known() {
        for (message, fix) in [
            (
                "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: \
                 cannot open shared object file: No such file or directory",
                "LD_LIBRARY_PATH",
            ),
            ("CUDA failure 101: invalid device ordinal ; GPU=-1", "nvidia-smi -L"),
            ("CUDA failure 2: out of memory ; GPU=0", "batch_tokens"),
            (
                "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
                "update",
            ),
            ("something else", "docs/gpu.md"),
        ] {
            let line = explain("cuda:3", message).to_string();
            assert!(line.contains("cuda:3") && line.contains(message), "{line}");
            assert!(line.contains(fix) && !line.contains('\n'), "{line}");
        }
    }
}
