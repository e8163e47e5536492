//! The JSON files of a model folder. The first byte says which one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_fuzz::folder::Folder;
use sembla_fuzz::only_uncaught_panics;

const FILES: [&str; 4] = ["config.json", "modules.json", "tokenizer.json", "tokenizer_config.json"];

thread_local! {
    static FOLDER: Folder = Folder::of("bert");
}

fuzz_target!(|data: &[u8]| {
    only_uncaught_panics();
    let Some((first, content)) = data.split_first() else { return };
    let file = FILES[usize::from(*first) % FILES.len()];
    FOLDER.with(|folder| folder.try_with(file, content));
});
