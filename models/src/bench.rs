//! The kernels of this crate, ready to be timed. For `sembla bench kernels`.

use sembla_processor::Level;
use sembla_processor::bench::Kernel;

/// All kernels of a level, over made-up data of the shape that MiniLM has: 384 components, 12
/// heads, 128 tokens a text.
pub fn kernels(level: Level) -> Vec<Kernel> {
    crate::ops::kernels(level)
}
