//! Compiles a closure for each level of instructions and runs the one that is asked for.
//!
//! Only what is inlined is compiled for a level: the closure and what it calls must be
//! `#[inline(always)]`. A function that is handed over by its name is called through a shim that
//! has none of the level's instructions, and each `mul_add` in it becomes a call of the library;
//! so hand over closures. A test reads the compiled code for such calls.

use crate::{InstructionSet, Level};

/// Runs `body` compiled for a level.
pub fn run(level: Level, body: impl FnOnce()) {
    match level.instructions() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is one that the processor has.
        InstructionSet::Avx512Vnni | InstructionSet::Avx512 => unsafe { with_avx512(body) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is one that the processor has.
        InstructionSet::Avx2 | InstructionSet::AvxVnni => unsafe { with_avx2(body) },
        _ => with_plain(body),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
fn with_avx512(body: impl FnOnce()) {
    body();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2(body: impl FnOnce()) {
    body();
}

#[inline(never)]
fn with_plain(body: impl FnOnce()) {
    body();
}
