//! `model.onnx` of a folder without other weights: what is checked before ONNX Runtime sees it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_fuzz::folder::Folder;

fuzz_target!(|data: &[u8]| {
    let folder = Folder::of("bert");
    folder.remove("model.safetensors");
    folder.try_with("model.onnx", data);
});
