//! The kernels of this crate, ready to be timed. For `sembla bench kernels`.

use sembla_processor::Level;
use sembla_processor::bench::{Kernel, Peak};

use crate::{code_dots, lanes, neighbours};

/// Components of a vector.
const DIMENSION: usize = 384;

/// Vectors that are compared with one: they stay in the first-level cache.
const ROWS: usize = 16;

/// All kernels of a level, over made-up vectors of 384 components.
pub fn kernels(level: Level) -> Vec<Kernel> {
    let mut kernels = neighbours::bench::kernels(level, DIMENSION, made_up);
    let vectors = made_up(ROWS * DIMENSION);
    let bytes: Vec<u8> = vectors.iter().map(|x| (x * 100.0 + 128.0) as u8).collect();
    let signed: Vec<i8> = bytes.iter().map(|code| code.wrapping_sub(128) as i8).collect();
    let (floats, rounded) = (vectors.clone(), vectors);
    let operations = 2.0 * (ROWS * DIMENSION) as f64;
    kernels.push(Kernel {
        name: "cosine of unit vectors",
        peak: Some(Peak::Floats),
        operations,
        run: Box::new(move || {
            let (first, _) = floats.split_at(DIMENSION);
            for row in floats.chunks_exact(DIMENSION) {
                std::hint::black_box(lanes::dot::at(level, first, row));
            }
        }),
    });
    let mut sums = [0; ROWS];
    kernels.push(Kernel {
        name: "dot products of 8-bit codes",
        peak: Some(Peak::Bytes),
        operations,
        run: Box::new(move || {
            code_dots::each_at(level, &bytes[..DIMENSION], &signed, &mut sums);
        }),
    });
    let mut codes = vec![0; DIMENSION];
    kernels.push(Kernel {
        name: "rounding to 8-bit codes",
        peak: None,
        operations: (ROWS * DIMENSION) as f64,
        run: Box::new(move || {
            for row in rounded.chunks_exact(DIMENSION) {
                let largest = lanes::max_abs::at(level, row);
                lanes::round_to_codes::at(level, row, 127.0 / largest, largest, &mut codes);
            }
        }),
    });
    kernels
}

/// Made-up values in -1..1.
fn made_up(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
