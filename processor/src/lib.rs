//! Which vector instructions Sembla's kernels may use: the best that the processor has, or fewer
//! where the environment variable `SEMBLA_CPU` says so.
//!
//! *Invariant:* a [`Level`] exists only if this processor has its instructions, so whoever holds
//! one may call code that was compiled for them. All levels give the same bits; a level decides
//! about speed alone. What runs at a level is left to the kernels. The matrix products of f32
//! models are ONNX Runtime's own, which chooses its instructions without asking here.

pub mod bench;
pub mod level;
pub mod math;

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

/// The environment variable that lowers the level.
pub const VARIABLE: &str = "SEMBLA_CPU";

/// Sets of instructions, each a superset of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstructionSet {
    /// What every processor of the architecture has.
    Plain,
    /// AVX2 and FMA: 256 bits.
    Avx2,
    /// AVX-512 F and BW: 512 bits.
    Avx512,
    /// AVX-512 with VNNI, the products of bytes.
    Avx512Vnni,
}

/// A set of instructions that this processor has.
///
/// # Examples
/// ```
/// use sembla_processor::Level;
///
/// // From plain code to the best that this processor has.
/// let levels = Level::available();
/// assert_eq!(levels.first(), Some(&Level::PLAIN));
/// assert_eq!(levels.last(), Some(&Level::best()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(InstructionSet);

/// What [`VARIABLE`] asks for is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// The word is not the name of a level.
    #[error("{VARIABLE} must be plain, avx2 or avx512, got {0}")]
    Unknown(String),
    /// The processor does not have it.
    #[error("{VARIABLE}={wanted}: this processor supports at most {best}; use that, or unset it")]
    Missing {
        /// The level that was asked for.
        wanted: String,
        /// The best level here.
        best: Level,
    },
}

impl Level {
    /// What every processor has.
    pub const PLAIN: Self = Self(InstructionSet::Plain);

    /// The instructions.
    pub fn instructions(self) -> InstructionSet {
        self.0
    }

    /// The best that this processor has.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") {
                let wide = has!("avx512f") && has!("avx512bw");
                return Self(match wide {
                    true if has!("avx512vnni") => InstructionSet::Avx512Vnni,
                    true => InstructionSet::Avx512,
                    false => InstructionSet::Avx2,
                });
            }
        }
        Self::PLAIN
    }

    /// All levels of this processor, from plain to the best.
    pub fn available() -> Vec<Self> {
        let all = [
            InstructionSet::Plain,
            InstructionSet::Avx2,
            InstructionSet::Avx512,
            InstructionSet::Avx512Vnni,
        ];
        all.into_iter().map(Self).filter(|level| *level <= Self::best()).collect()
    }

    /// The level that kernels run at: what [`VARIABLE`] says, else the best. Read once.
    ///
    /// A value that [`check`] rejects counts as none, so call that first.
    #[inline]
    pub fn active() -> Self {
        match ACTIVE.load(Ordering::Relaxed) {
            AVX2 => Self(InstructionSet::Avx2),
            AVX512 => Self(InstructionSet::Avx512),
            AVX512_VNNI => Self(InstructionSet::Avx512Vnni),
            PLAIN => Self::PLAIN,
            _ => decide(),
        }
    }
}

/// The level that was decided on, as a number; 0 before that.
static ACTIVE: AtomicU8 = AtomicU8::new(0);
const PLAIN: u8 = 1;
const AVX2: u8 = 2;
const AVX512: u8 = 3;
const AVX512_VNNI: u8 = 4;

#[cold]
fn decide() -> Level {
    let level = check().unwrap_or_else(|_| Level::best());
    let number = match level.instructions() {
        InstructionSet::Plain => PLAIN,
        InstructionSet::Avx2 => AVX2,
        InstructionSet::Avx512 => AVX512,
        InstructionSet::Avx512Vnni => AVX512_VNNI,
    };
    ACTIVE.store(number, Ordering::Relaxed);
    level
}

/// The level that kernels run at, or why what [`VARIABLE`] asks for is not available. Programs call
/// it when they start.
///
/// # Errors
/// [`LevelError`].
pub fn check() -> Result<Level, LevelError> {
    match std::env::var_os(VARIABLE) {
        Some(value) => wanted(&value.to_string_lossy(), Level::best()),
        None => Ok(Level::best()),
    }
}

/// The level of a word, where the best is known.
fn wanted(word: &str, best: Level) -> Result<Level, LevelError> {
    let kind = match word.trim().to_ascii_lowercase().as_str() {
        "" => return Ok(best),
        "plain" => InstructionSet::Plain,
        "avx2" => InstructionSet::Avx2,
        // VNNI is used with it wherever the processor has both.
        "avx512" => best.instructions().max(InstructionSet::Avx512),
        _ => return Err(LevelError::Unknown(word.to_string())),
    };
    let level = Level(kind);
    if level > best {
        return Err(LevelError::Missing { wanted: word.trim().to_string(), best });
    }
    Ok(level)
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            InstructionSet::Plain => "plain",
            InstructionSet::Avx2 => "avx2",
            InstructionSet::Avx512 => "avx512",
            InstructionSet::Avx512Vnni => "avx512 (VNNI)",
        })
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [InstructionSet; 4] = [
        InstructionSet::Plain,
        InstructionSet::Avx2,
        InstructionSet::Avx512,
        InstructionSet::Avx512Vnni,
    ];

    #[test]
    fn a_word_gives_its_level_or_says_why_not() {
        for best in ALL.map(Level) {
            assert_eq!(wanted(" ", best), Ok(best));
            assert_eq!(wanted("Plain", best), Ok(Level::PLAIN));
            for (word, least) in
                [("avx2", InstructionSet::Avx2), ("AVX512", InstructionSet::Avx512)]
            {
                let level = wanted(word, best);
                if best.instructions() >= least {
                    let level = level.expect(word);
                    assert!(level <= best && level.instructions() >= least, "{word} on {best}");
                } else {
                    let word = word.to_string();
                    assert_eq!(level, Err(LevelError::Missing { wanted: word, best }));
                }
            }
            let error = wanted("sse9", best).expect_err("no level");
            assert_eq!(error.to_string(), "SEMBLA_CPU must be plain, avx2 or avx512, got sse9");
        }
        assert_eq!(
            wanted("avx512", Level(InstructionSet::Avx512Vnni)),
            Ok(Level(InstructionSet::Avx512Vnni))
        );
        assert_eq!(wanted("avx2", Level(InstructionSet::Avx512)), Ok(Level(InstructionSet::Avx2)));
    }

    #[test]
    fn the_active_level_is_one_that_the_processor_has() {
        let available = Level::available();
        assert_eq!(available.first(), Some(&Level::PLAIN));
        assert_eq!(available.last(), Some(&Level::best()));
        assert!(available.contains(&Level::active()));
        assert_eq!(Level::active(), Level::active());
    }
}
