//! Reads the compiled code of the kernels: code for wide instructions calls nothing that was
//! compiled without them.
//!
//! A function that is handed to a kernel by its name, or an iterator's closure that is not inlined,
//! is compiled for the plain level. It gives the right result, many times slower: each `mul_add`
//! in it is a call of the C library. No other test would notice. The library files beside this
//! test are archives of ELF objects, and what a function calls is in its relocations, by name.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_endian = "little"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Functions of the C library that stand for an instruction where the compiler may not use it.
const SLOW: [&str; 18] = [
    "fma",
    "fmaf",
    "rint",
    "rintf",
    "round",
    "roundf",
    "roundeven",
    "roundevenf",
    "floor",
    "floorf",
    "ceil",
    "ceilf",
    "trunc",
    "truncf",
    "exp",
    "expf",
    "nearbyint",
    "nearbyintf",
];

/// What compiled-in names of kernels contain: the levels.
const LEVELS: [&str; 3] = ["avx2", "avx512", "vnni"];

/// What a kernel may call although it is not compiled for its level: moving memory, growing a
/// buffer, the ends of checks that failed, and `fold`, which picks the code of its level itself.
const HARMLESS: [&str; 14] = [
    "copy_tail",
    "lanes4fold",
    "memcpy",
    "memset",
    "memmove",
    "bcmp",
    "memcmp",
    "panic",
    "slice_index",
    "slice_start_index",
    "slice_end_index",
    "len_mismatch",
    "raw_vec",
    "alloc",
];

/// Per function the names that its code refers to.
type Calls = BTreeMap<String, BTreeSet<String>>;

/// The newest library file of a crate beside this test.
fn library(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let folder = test.parent().expect("a folder");
    let prefix = format!("lib{name}-");
    let files = fs::read_dir(folder).expect("the folder of the test").flatten();
    let libraries = files.map(|file| file.path()).filter(|path| {
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned());
        file.is_some_and(|file| file.starts_with(&prefix) && file.ends_with(".rlib"))
    });
    let changed = |path: &PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
    libraries.max_by_key(changed).unwrap_or_else(|| panic!("no {prefix}*.rlib in {folder:?}"))
}

/// The object files of an archive in the format of `ar`.
fn objects(archive: &[u8]) -> Vec<&[u8]> {
    assert!(archive.starts_with(b"!<arch>\n"), "not an archive");
    let (mut at, mut objects) = (8, Vec::new());
    while at + 60 <= archive.len() {
        let size = std::str::from_utf8(&archive[at + 48..at + 58]).expect("a number").trim();
        let size: usize = size.parse().expect("a size");
        let content = &archive[at + 60..at + 60 + size];
        if content.starts_with(b"\x7fELF") {
            objects.push(content);
        }
        at += 60 + size.next_multiple_of(2);
    }
    objects
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Text up to a zero byte.
fn text(bytes: &[u8], at: usize) -> String {
    let end = bytes[at..].iter().position(|byte| *byte == 0).expect("an end");
    String::from_utf8_lossy(&bytes[at..at + end]).into_owned()
}

/// A section of a 64-bit ELF object: name, type, content, and the two sections it refers to.
struct Section<'a> {
    name: usize,
    kind: usize,
    content: &'a [u8],
    link: usize,
    info: usize,
}

/// Adds what the functions of an object call. Each function has a section `.text.NAME`.
fn read(object: &[u8], calls: &mut Calls) {
    let (table, size) = (number(object, 0x28, 8), number(object, 0x3A, 2));
    let sections: Vec<Section<'_>> = (0..number(object, 0x3C, 2))
        .map(|index| {
            let header = &object[table + index * size..][..size];
            let (from, length) = (number(header, 0x18, 8), number(header, 0x20, 8));
            let kind = number(header, 4, 4);
            let (link, info) = (number(header, 0x28, 4), number(header, 0x2C, 4));
            // Sections of zeros (8) take no room in the file.
            let content = if kind == 8 { &[][..] } else { &object[from..from + length] };
            Section { name: number(header, 0, 4), kind, content, link, info }
        })
        .collect();
    let names = sections[number(object, 0x3E, 2)].content;
    for section in sections.iter().filter(|section| section.kind == 4) {
        let target = text(names, sections[section.info].name);
        let Some(function) = target.strip_prefix(".text.") else { continue };
        let symbols = &sections[section.link];
        let strings = sections[symbols.link].content;
        let called = calls.entry(function.to_string()).or_default();
        for relocation in section.content.chunks_exact(24) {
            let symbol = &symbols.content[number(relocation, 12, 4) * 24..][..24];
            // A symbol without a name stands for a section.
            let name = match number(symbol, 0, 4) {
                0 => text(names, sections[number(symbol, 6, 2)].name),
                name => text(strings, name),
            };
            called.insert(name.strip_prefix(".text.").unwrap_or(&name).to_string());
        }
    }
}

fn calls_of(library: &Path) -> Calls {
    let archive = fs::read(library).expect("a library");
    let mut calls = Calls::new();
    objects(&archive).into_iter().for_each(|object| read(object, &mut calls));
    calls
}

fn is_kernel(function: &str) -> bool {
    LEVELS.iter().any(|level| function.contains(level))
}

/// Data, not code.
fn is_data(name: &str) -> bool {
    [".rodata", ".Lanon", ".data", ".bss", "anon.", ".LCPI", "vtable."]
        .iter()
        .any(|start| name.starts_with(start) || name.contains("anon."))
        || name.is_empty()
}

/// Complaints about a crate of which these modules hold kernels.
fn complaints(library: &Path, modules: &[&str]) -> Vec<String> {
    let calls = calls_of(library);
    let mut complaints = Vec::new();
    let ours = |function: &str| modules.iter().any(|module| function.contains(module));
    for (function, called) in &calls {
        let slow = called.iter().find(|name| SLOW.contains(&name.as_str()));
        if let Some(slow) = slow.filter(|_| ours(function) && !function.contains("plain")) {
            complaints.push(format!("{function} calls {slow}"));
        }
        if !is_kernel(function) {
            continue;
        }
        for name in called {
            let fits = is_kernel(name)
                || is_data(name)
                || HARMLESS.iter().any(|harmless| name.contains(harmless));
            if !fits {
                complaints.push(format!(
                    "{function} calls {name}, which is compiled without its instructions"
                ));
            }
        }
    }
    let kernels = calls.keys().filter(|function| is_kernel(function)).count();
    if kernels < modules.len() {
        complaints.push(format!("{}: only {kernels} kernels", library.display()));
    }
    complaints
}

#[test]
fn kernels_call_nothing_that_was_compiled_for_less() {
    let mut all = complaints(&library("sembla_models"), &["attention", "linear", "pointwise"]);
    all.extend(complaints(&library("sembla_operators"), &["tile", "lanes", "code_dots"]));
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn calls_are_read_from_compiled_code() {
    // The plain level does what kernels may not, so the reader must see it there.
    let calls = calls_of(&library("sembla_models"));
    let plain = calls.iter().filter(|(function, _)| function.contains("plain"));
    let slow = plain.filter(|(_, called)| called.contains("fmaf")).count();
    assert!(slow >= 2, "{slow} functions of the plain level call fmaf");
}
