//! The JSON files of a model folder. The first byte says which one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_fuzz::folder::Folder;

const FILES: [&str; 4] = ["config.json", "modules.json", "tokenizer.json", "tokenizer_config.json"];

fuzz_target!(|data: &[u8]| {
    let Some((first, content)) = data.split_first() else { return };
    Folder::of("bert").try_with(FILES[usize::from(*first) % FILES.len()], content);
});
