//! `model.safetensors`: its header, its offsets and its tensors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_fuzz::folder::Folder;

fuzz_target!(|data: &[u8]| {
    Folder::of("bert").try_with("model.safetensors", data);
});
