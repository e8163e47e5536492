//! `model.onnx` of a folder without other weights: what is checked before ONNX Runtime sees it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_fuzz::folder::Folder;
use sembla_fuzz::only_uncaught_panics;

thread_local! {
    static FOLDER: Folder = Folder::of("bert").without("model.safetensors");
}

fuzz_target!(|data: &[u8]| {
    only_uncaught_panics();
    FOLDER.with(|folder| folder.try_with("model.onnx", data));
});
