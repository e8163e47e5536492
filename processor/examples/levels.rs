//! Shows the instruction levels of this processor, and runs a kernel at each of them.
//!
//! ```text
//! cargo run --release -p sembla-processor --example levels
//! SEMBLA_CPU=plain cargo run --release -p sembla-processor --example levels
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use sembla_processor::{InstructionSet, Level, LevelError};

fn main() -> Result<(), LevelError> {
    // A program checks SEMBLA_CPU when it starts; kernels read the decision later.
    println!("{} is active, of {:?}", sembla_processor::check()?, Level::available());

    let (a, b) = (vec![3_i8; 1000], vec![5_i8; 1000]);
    for level in Level::available() {
        println!("{level}: {}", dot(level, &a, &b));
    }
    Ok(())
}

/// A dot product at a level. All levels must return the same.
fn dot(level: Level, a: &[i8], b: &[i8]) -> i32 {
    match level.instructions() {
        #[cfg(target_arch = "x86_64")]
        set if set >= InstructionSet::Avx2 => {
            // SAFETY: a level exists only if this processor has its instructions, and all from
            // AVX2 on include it.
            unsafe { dot_avx2(a, b) }
        }
        _ => dot_plain(a, b),
    }
}

#[inline(always)]
fn dot_plain(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// The same loop, compiled for AVX2.
///
/// # Safety
/// The processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn dot_avx2(a: &[i8], b: &[i8]) -> i32 {
    dot_plain(a, b)
}
