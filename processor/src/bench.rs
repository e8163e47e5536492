//! What benchmarks of kernels are made of, and the peak they are compared with: loops that stay in
//! registers.
//!
//! Kernels are private to their crates; each crate hands out [`Kernel`]s here, ready to be timed.
//! Timing them is the caller's work; the clocks are here.

use std::hint::black_box;

use crate::{InstructionSet, Level};

/// A kernel over made-up data.
pub struct Kernel {
    /// What it is, in a few words.
    pub name: &'static str,
    /// The peak that it is compared with.
    pub peak: Option<Peak>,
    /// Additions and multiplications (or values, where it has no peak) of one call.
    pub operations: f64,
    /// Runs it once.
    pub run: Box<dyn FnMut()>,
}

/// What limits a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    /// Fused multiplications and additions of f32.
    Floats,
    /// Exact products of 8-bit numbers, summed in 32 bits.
    Bytes,
}

/// Seconds of processor time that this thread has taken, so that other programs' turns don't count;
/// on other systems than Unix, the time that passes.
pub fn thread_seconds() -> f64 {
    #[cfg(unix)]
    return clock(libc::CLOCK_THREAD_CPUTIME_ID);
    #[cfg(not(unix))]
    passed()
}

/// Seconds of processor time that all threads of this process have taken; on other systems than
/// Unix, the time that passes.
pub fn processor_seconds() -> f64 {
    #[cfg(unix)]
    return clock(libc::CLOCK_PROCESS_CPUTIME_ID);
    #[cfg(not(unix))]
    passed()
}

#[cfg(unix)]
fn clock(id: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the time that it is given.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The time since the first call.
#[cfg(not(unix))]
fn passed() -> f64 {
    static BEGUN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGUN.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
}

/// Steps of a loop: some tens of microseconds.
const STEPS: usize = 4096;

/// Chains of dependent instructions, enough to hide their latency.
#[cfg(target_arch = "x86_64")]
const CHAINS: usize = 12;

/// The loop that shows a peak at a level; `None` where a level has no instructions of its own for
/// it, since a loop in plain code would show the compiler and not the processor.
pub fn peak(peak: Peak, level: Level) -> Option<Kernel> {
    #[cfg(target_arch = "x86_64")]
    {
        // Operations of a step; a multiplication and an addition are two.
        let (lanes, run): (usize, fn()) = match (peak, level.instructions()) {
            // SAFETY: a level is one that the processor has.
            (Peak::Floats, InstructionSet::Avx512 | InstructionSet::Avx512Vnni) => {
                (16, || unsafe { floats_avx512() })
            }
            // SAFETY: as above.
            (Peak::Floats, InstructionSet::Avx2 | InstructionSet::AvxVnni) => {
                (8, || unsafe { floats_avx2() })
            }
            // SAFETY: as above.
            (Peak::Bytes, InstructionSet::AvxVnni) if crate::has_avx_vnni() => {
                (32, || unsafe { bytes_avx_vnni() })
            }
            // SAFETY: as above.
            (Peak::Bytes, InstructionSet::AvxVnni) => (32, || unsafe { bytes_vnni_256() }),
            // SAFETY: as above.
            (Peak::Bytes, InstructionSet::Avx512Vnni) => (64, || unsafe { bytes_vnni() }),
            // SAFETY: as above; 512 bits of 16-bit numbers are no faster than these everywhere.
            (Peak::Bytes, InstructionSet::Avx512 | InstructionSet::Avx2) => {
                (16, || unsafe { words_avx2() })
            }
            (_, InstructionSet::Plain) => return None,
        };
        let name = match peak {
            Peak::Floats => "peak of f32",
            Peak::Bytes => "peak of 8 bits",
        };
        let operations = (STEPS * CHAINS * lanes * 2) as f64;
        Some(Kernel { name, peak: Some(peak), operations, run: Box::new(run) })
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (peak, level, STEPS);
        None
    }
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn floats_avx2() {
    let (a, b) = (_mm256_set1_ps(black_box(0.5)), _mm256_set1_ps(black_box(1.0)));
    let mut chains = [a; CHAINS];
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = _mm256_fmadd_ps(*chain, a, b);
        }
    }
    black_box(chains);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn floats_avx512() {
    let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(1.0)));
    let mut chains = [a; CHAINS];
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = _mm512_fmadd_ps(*chain, a, b);
        }
    }
    black_box(chains);
}

/// `vpmaddwd` and an addition: the widest exact products that AVX2 has for any two 8-bit numbers.
/// A kernel that saves multiplications can be faster than this.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn words_avx2() {
    let (a, b) = (_mm256_set1_epi16(black_box(3)), _mm256_set1_epi32(black_box(5)));
    let mut chains = [a; CHAINS];
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = _mm256_add_epi32(_mm256_madd_epi16(*chain, a), b);
        }
    }
    black_box(chains);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avxvnni")]
fn bytes_avx_vnni() {
    let (a, b) = (_mm256_set1_epi8(black_box(3)), _mm256_set1_epi8(black_box(5)));
    let mut chains = [_mm256_setzero_si256(); CHAINS];
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = _mm256_dpbusd_avx_epi32(*chain, a, b);
        }
    }
    black_box(chains);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512vnni,avx512vl")]
fn bytes_vnni_256() {
    let (a, b) = (_mm256_set1_epi8(black_box(3)), _mm256_set1_epi8(black_box(5)));
    let mut chains = [_mm256_setzero_si256(); CHAINS];
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = _mm256_dpbusd_epi32(*chain, a, b);
        }
    }
    black_box(chains);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn bytes_vnni() {
    let (a, b) = (_mm512_set1_epi8(black_box(3)), _mm512_set1_epi8(black_box(5)));
    let mut chains = [_mm512_setzero_si512(); CHAINS];
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = _mm512_dpbusd_epi32(*chain, a, b);
        }
    }
    black_box(chains);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_with_instructions_of_its_own_has_both_peaks() {
        for level in Level::available() {
            for kind in [Peak::Floats, Peak::Bytes] {
                let peak = peak(kind, level);
                assert_eq!(peak.is_some(), level != Level::PLAIN, "{kind:?} at {level}");
                if let Some(mut peak) = peak {
                    assert!(peak.operations > 0.0);
                    (peak.run)();
                }
            }
        }
    }
}
