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

/// Sets of instructions, slower ones first. Each includes AVX2 from there on; the last has all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstructionSet {
    /// What every processor of the architecture has.
    Plain,
    /// AVX2 and FMA: 256 bits.
    Avx2,
    /// AVX2 with VNNI, the products of bytes, in 256 bits: processors without AVX-512 have it as
    /// AVX-VNNI, those with AVX-512 VNNI and VL as a form of that.
    AvxVnni,
    /// AVX-512 F and BW: 512 bits.
    Avx512,
    /// AVX-512 with VNNI, the products of bytes.
    Avx512Vnni,
}

/// All sets, in their order.
const ALL: [InstructionSet; 5] = [
    InstructionSet::Plain,
    InstructionSet::Avx2,
    InstructionSet::AvxVnni,
    InstructionSet::Avx512,
    InstructionSet::Avx512Vnni,
];

impl InstructionSet {
    /// Whether this processor has it.
    #[cfg(target_arch = "x86_64")]
    fn is_here(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma");
        let avx512 = avx2 && has!("avx512f") && has!("avx512bw");
        match self {
            Self::Plain => true,
            Self::Avx2 => avx2,
            Self::AvxVnni => {
                avx2 && (has_avx_vnni() || (avx512 && has!("avx512vnni") && has!("avx512vl")))
            }
            Self::Avx512 => avx512,
            Self::Avx512Vnni => avx512 && has!("avx512vnni"),
        }
    }

    /// Whether this processor has it.
    #[cfg(not(target_arch = "x86_64"))]
    fn is_here(self) -> bool {
        self == Self::Plain
    }
}

/// Whether [`InstructionSet::AvxVnni`] is AVX-VNNI on this processor; else it is the form of
/// AVX-512 VL, which is another encoding of the same instructions.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn has_avx_vnni() -> bool {
    std::arch::is_x86_feature_detected!("avxvnni")
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
    #[error("{VARIABLE} must be plain, avx2, avxvnni or avx512, got {0}")]
    Unknown(String),
    /// The processor does not have it.
    #[error(
        "{VARIABLE}={wanted}: this processor does not have it; its best is {best}: use that, or unset it"
    )]
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
        Self::available().pop().unwrap_or(Self::PLAIN)
    }

    /// All levels of this processor, from plain to the best.
    pub fn available() -> Vec<Self> {
        ALL.into_iter().filter(|set| set.is_here()).map(Self).collect()
    }

    /// The level that kernels run at: what [`VARIABLE`] says, else the best. Read once.
    ///
    /// A value that [`check`] rejects counts as none, so call that first.
    #[inline]
    pub fn active() -> Self {
        match ACTIVE.load(Ordering::Relaxed) {
            AVX2 => Self(InstructionSet::Avx2),
            AVX_VNNI => Self(InstructionSet::AvxVnni),
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
const AVX_VNNI: u8 = 5;

#[cold]
fn decide() -> Level {
    let level = check().unwrap_or_else(|_| Level::best());
    let number = match level.instructions() {
        InstructionSet::Plain => PLAIN,
        InstructionSet::Avx2 => AVX2,
        InstructionSet::AvxVnni => AVX_VNNI,
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
        Some(value) => wanted(&value.to_string_lossy(), &Level::available()),
        None => Ok(Level::best()),
    }
}

/// The level of a word, of those that there are.
fn wanted(word: &str, available: &[Level]) -> Result<Level, LevelError> {
    let best = available.last().copied().unwrap_or(Level::PLAIN);
    let sets: &[InstructionSet] = match word.trim().to_ascii_lowercase().as_str() {
        "" => return Ok(best),
        "plain" => &[InstructionSet::Plain],
        "avx2" => &[InstructionSet::Avx2],
        "avxvnni" => &[InstructionSet::AvxVnni],
        // VNNI is used with it wherever the processor has both.
        "avx512" => &[InstructionSet::Avx512Vnni, InstructionSet::Avx512],
        _ => return Err(LevelError::Unknown(word.to_string())),
    };
    let found = sets.iter().copied().map(Level).find(|level| available.contains(level));
    found.ok_or_else(|| LevelError::Missing { wanted: word.trim().to_string(), best })
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            InstructionSet::Plain => "plain",
            InstructionSet::Avx2 => "avx2",
            InstructionSet::AvxVnni => "avxvnni",
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

    #[test]
    fn a_word_gives_its_level_or_says_why_not() {
        use InstructionSet::*;
        let older = [Plain, Avx2, Avx512].map(Level);
        let client = [Plain, Avx2, AvxVnni].map(Level);
        let server = ALL.map(Level);
        for available in [&older[..1], &older[..2], &older, &client, &server] {
            let best = *available.last().expect("a level");
            assert_eq!(wanted(" ", available), Ok(best));
            assert_eq!(wanted("Plain", available), Ok(Level::PLAIN));
            for (word, set) in [("avx2", Avx2), ("AvxVnni", AvxVnni), ("AVX512", Avx512)] {
                let missing = LevelError::Missing { wanted: word.to_string(), best };
                match available.contains(&Level(set)) {
                    true => assert!(wanted(word, available).expect(word).instructions() >= set),
                    false => assert_eq!(wanted(word, available), Err(missing), "{word} on {best}"),
                }
            }
        }
        let error = wanted("sse9", &server).expect_err("no level").to_string();
        assert_eq!(error, "SEMBLA_CPU must be plain, avx2, avxvnni or avx512, got sse9");
        assert_eq!(wanted("avx512", &server), Ok(Level(Avx512Vnni)));
        assert_eq!(wanted("avx512", &older), Ok(Level(Avx512)));
        assert_eq!(wanted("avx2", &server), Ok(Level(Avx2)));
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
