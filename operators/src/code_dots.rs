//! Sums of products of 8-bit codes, exact: one vector of unsigned codes with many of signed ones.
//!
//! With AVX-512 VNNI one instruction multiplies and adds 64 codes; four rows are gone over
//! together, so that the vector is loaded once for them. Elsewhere the compiler makes of the plain
//! loop what it can. Integer sums have one result in any order.

/// Writes the sum of the products of the codes of `a` and of each of the vectors that lie one after
/// another in `others`, as many as `out` has room for. Exact up to 60 000 components.
pub(crate) fn each(a: &[u8], others: &[i8], out: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected;
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        if wide && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the processor has what the function asks for.
            return unsafe { vnni::each(a, others, out) };
        }
        if is_x86_feature_detected!("avx2") {
            #[target_feature(enable = "avx2")]
            fn each_avx2(a: &[u8], others: &[i8], out: &mut [i32]) {
                each_plain(a, others, out);
            }
            // SAFETY: the processor has AVX2, which is all that the function asks for.
            return unsafe { each_avx2(a, others, out) };
        }
    }
    each_plain(a, others, out);
}

#[inline(always)]
fn each_plain(a: &[u8], others: &[i8], out: &mut [i32]) {
    for (other, out) in others.chunks_exact(a.len().max(1)).zip(out) {
        *out = a.iter().zip(other).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::{
        _mm512_dpbusd_epi32, _mm512_maskz_loadu_epi8, _mm512_reduce_add_epi32, _mm512_setzero_si512,
    };

    /// Codes in a register.
    const WIDTH: usize = 64;

    /// Rows that are gone over together.
    const ROWS: usize = 4;

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
    fn every_instruction_set_gives_the_sums_of_products() {
        for length in [1, 7, 63, 64, 65, 384, 1000] {
            for rows in [0, 1, 3, 4, 9] {
                let a: Vec<u8> =
                    random_vector(length, 1).iter().map(|x| (x * 128.0 + 128.0) as u8).collect();
                let others = random_vector(length * rows, 2);
                let others: Vec<i8> = others.iter().map(|x| (x * 128.0) as i8).collect();
                let (mut fast, mut plain) = (vec![0; rows], vec![0; rows]);
                each(&a, &others, &mut fast);
                each_plain(&a, &others, &mut plain);
                let wanted: Vec<i32> = others
                    .chunks(length)
                    .map(|row| row.iter().zip(&a).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum())
                    .collect();
                assert_eq!(fast, wanted, "{length} {rows}");
                assert_eq!(plain, wanted, "{length} {rows}");
            }
        }
        each(&[], &[], &mut [0; 3]);
    }
}
