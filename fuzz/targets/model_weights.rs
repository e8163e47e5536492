//! `model.safetensors`: its header, its offsets and its tensors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_fuzz::folder::Folder;
use sembla_fuzz::only_uncaught_panics;

thread_local! {
    static FOLDER: Folder = Folder::of("bert");
}

fuzz_target!(|data: &[u8]| {
    only_uncaught_panics();
    FOLDER.with(|folder| folder.try_with("model.safetensors", data));
});
