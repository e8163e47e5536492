//! Sums of products of 8-bit codes, exact: one vector of unsigned codes with many of signed ones.
//!
//! With AVX-512 VNNI one instruction multiplies and adds 64 codes, with AVX2 sixteen that were
//! widened to 16 bits. Four rows are gone over together, so that the vector is loaded once for
//! them. Integer sums have one result in any order.

use sembla_processor::{InstructionSet, Level};

/// Rows that are gone over together.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 4;

/// Writes the sum of the products of the codes of `a` and of each of the vectors that lie one after
/// another in `others`, as many as `out` has room for. Exact up to 60 000 components.
pub(crate) fn each(a: &[u8], others: &[i8], out: &mut [i32]) {
    each_at(Level::active(), a, others, out);
}

/// [`each`] at a level.
pub(crate) fn each_at(level: Level, a: &[u8], others: &[i8], out: &mut [i32]) {
    match level.instructions() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is one that the processor has.
        InstructionSet::Avx512Vnni => unsafe { vnni::each(a, others, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; all from AVX2 on have it.
        set if set >= InstructionSet::Avx2 => unsafe { avx2::each(a, others, out) },
        _ => each_plain(a, others, out),
    }
}

fn each_plain(a: &[u8], others: &[i8], out: &mut [i32]) {
    for (other, out) in others.chunks_exact(a.len().max(1)).zip(out) {
        *out = plain(a, other);
    }
}

#[inline(always)]
fn plain(a: &[u8], other: &[i8]) -> i32 {
    a.iter().zip(other).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{ROWS, plain};

    /// Codes in a register, once they are widened.
    const WIDTH: usize = 16;

    #[target_feature(enable = "avx2")]
    pub(super) fn each(a: &[u8], others: &[i8], out: &mut [i32]) {
        let length = a.len().max(1);
        let whole = others.chunks_exact(ROWS * length).zip(out.chunks_exact_mut(ROWS));
        let done = whole.len() * ROWS;
        for (others, out) in whole {
            out.copy_from_slice(&rows::<ROWS>(a, others));
        }
        let rest = others[done * length..].chunks_exact(length).zip(&mut out[done..]);
        for (other, out) in rest {
            [*out] = rows::<1>(a, other);
        }
    }

    /// The sums of as many rows, each as long as `a`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rows<const N: usize>(a: &[u8], others: &[i8]) -> [i32; N] {
        let length = a.len();
        assert!(others.len() >= N * length, "the rows are whole");
        let whole = length / WIDTH * WIDTH;
        let mut sums = [_mm256_setzero_si256(); N];
        for start in (0..whole).step_by(WIDTH) {
            // SAFETY: sixteen codes are there from `start` on, in `a` and in each of the N rows.
            unsafe {
                let codes = _mm256_cvtepu8_epi16(_mm_loadu_si128(a.as_ptr().add(start).cast()));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let other = others.as_ptr().add(row * length + start);
                    let other = _mm256_cvtepi8_epi16(_mm_loadu_si128(other.cast()));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(codes, other));
                }
            }
        }
        let mut totals = [0; N];
        for (row, (total, sum)) in totals.iter_mut().zip(sums).enumerate() {
            let half =
                _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let pair = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
            let last = _mm_add_epi32(pair, _mm_shuffle_epi32::<1>(pair));
            let rest = &others[row * length + whole..(row + 1) * length];
            *total = _mm_cvtsi128_si32(last) + plain(&a[whole..], rest);
        }
        totals
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::{
        _mm512_dpbusd_epi32, _mm512_maskz_loadu_epi8, _mm512_reduce_add_epi32, _mm512_setzero_si512,
    };

    use super::ROWS;

    /// Codes in a register.
    const WIDTH: usize = 64;

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn each(a: &[u8], others: &[i8], out: &mut [i32]) {
        let length = a.len().max(1);
        let whole = others.chunks_exact(ROWS * length).zip(out.chunks_exact_mut(ROWS));
        let done = whole.len() * ROWS;
        for (others, out) in whole {
            out.copy_from_slice(&rows::<ROWS>(a, others));
        }
        let rest = others[done * length..].chunks_exact(length).zip(&mut out[done..]);
        for (other, out) in rest {
            [*out] = rows::<1>(a, other);
        }
    }

    /// The sums of as many rows, each as long as `a`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn rows<const N: usize>(a: &[u8], others: &[i8]) -> [i32; N] {
        let length = a.len();
        assert!(others.len() >= N * length, "the rows are whole");
        let mut sums = [_mm512_setzero_si512(); N];
        for start in (0..length).step_by(WIDTH) {
            let mask = u64::MAX >> (WIDTH - WIDTH.min(length - start));
            // SAFETY: the mask leaves out what is behind the end of `a`.
            let codes = unsafe { _mm512_maskz_loadu_epi8(mask, a.as_ptr().add(start).cast()) };
            for (row, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the mask leaves out what is behind the end of the row, and `others` has
                // all rows.
                let other = unsafe {
                    let at = others.as_ptr().add(row * length + start);
                    _mm512_maskz_loadu_epi8(mask, at)
                };
                *sum = _mm512_dpbusd_epi32(*sum, codes, other);
            }
        }
        sums.map(|sum| _mm512_reduce_add_epi32(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similarity::tests::random_vector;

    #[test]
    fn every_level_gives_the_sums_of_products() {
        for length in [1, 7, 63, 64, 65, 384, 1000] {
            for rows in [0, 1, 3, 4, 9] {
                let a: Vec<u8> =
                    random_vector(length, 1).iter().map(|x| (x * 128.0 + 128.0) as u8).collect();
                let others = random_vector(length * rows, 2);
                let others: Vec<i8> = others.iter().map(|x| (x * 128.0) as i8).collect();
                let wanted: Vec<i32> = others
                    .chunks(length)
                    .map(|row| row.iter().zip(&a).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum())
                    .collect();
                for level in Level::available() {
                    let mut found = vec![0; rows];
                    each_at(level, &a, &others, &mut found);
                    assert_eq!(found, wanted, "{level}: {length} {rows}");
                }
            }
        }
        each(&[], &[], &mut [0; 3]);
    }
}
