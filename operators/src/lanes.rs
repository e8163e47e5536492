//! Sums over vectors, compiled for each level of instructions, with one result for all of them.
//!
//! Component `i` is added into lane `i % LANES`, first to last, in f32, without fused multiply-add;
//! then the lanes are folded in halves, the last sixteen in f64. That order is part of each
//! function's meaning. The compiler turns the same source into vector code of whatever width is
//! enabled, and may not reorder it.

#[cfg(target_arch = "x86_64")]
use sembla_processor::InstructionSet;
use sembla_processor::Level;

/// Partial sums that a vector is spread over: two AVX-512 registers, four AVX2 registers.
const LANES: usize = 32;

type Lanes = [f32; LANES];

/// Compiles a function for several instruction sets and picks that of a level when it is called.
/// The widest has AVX-512F, or the features that are named. The function `$name` runs at the level
/// that kernels run at, `$name::at` at any.
macro_rules! dispatched {
    (
        $(#[$doc:meta])*
        with [$($feature:tt),+]
        $name:ident = $body:ident($($arg:ident: $type:ty),*) -> $out:ty
    ) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name($($arg: $type),*) -> $out {
            $name::at(Level::active(), $($arg),*)
        }

        pub(crate) mod $name {
            use super::*;

            #[cfg(target_arch = "x86_64")]
            #[target_feature($(enable = $feature),+)]
            fn avx512($($arg: $type),*) -> $out {
                $body($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) -> $out {
                $body($($arg),*)
            }

            pub(crate) fn at(level: Level, $($arg: $type),*) -> $out {
                #[cfg(target_arch = "x86_64")]
                {
                    use std::arch::is_x86_feature_detected as has;
                    if level.instructions() >= InstructionSet::Avx512 && $(has!($feature))&&+ {
                        // SAFETY: the processor has all features that the function asks for.
                        return unsafe { avx512($($arg),*) };
                    }
                    if level.instructions() >= InstructionSet::Avx2 {
                        // SAFETY: a level is one that the processor has, and this has AVX2.
                        return unsafe { avx2($($arg),*) };
                    }
                }
                let _ = level;
                $body($($arg),*)
            }
        }
    };
    (
        $(#[$doc:meta])*
        $name:ident = $body:ident($($arg:ident: $type:ty),*) -> $out:ty
    ) => {
        dispatched! {
            $(#[$doc])*
            with ["avx512f"]
            $name = $body($($arg: $type),*) -> $out
        }
    };
}

dispatched! {
    /// Sum of the products of components. The longer vector's surplus counts for nothing.
    dot = dot_body(a: &[f32], b: &[f32]) -> f64
}
dispatched! {
    /// Sum of the squared differences of components.
    squared_distance = squared_distance_body(a: &[f32], b: &[f32]) -> f64
}
dispatched! {
    /// Sum of the absolute differences of components.
    absolute_distance = absolute_distance_body(a: &[f32], b: &[f32]) -> f64
}
dispatched! {
    /// Sum of the products, and the sum of the squares of the first vector, in one pass.
    dot_and_squares = dot_and_squares_body(a: &[f32], b: &[f32]) -> (f64, f64)
}
dispatched! {
    /// Number of bits that differ. The longer slice's surplus counts for nothing.
    differing_bits = differing_bits_body(a: &[u8], b: &[u8]) -> u64
}
dispatched! {
    /// The number of bits that differ between a vector and each of those that lie one after
    /// another, as far as there is room for them.
    with ["avx512f", "avx512bw", "avx512vpopcntdq", "popcnt"]
    each_differing_bits = each_differing_bits_body(a: &[u8], others: &[u8], out: &mut [i32]) -> ()
}
dispatched! {
    /// The greatest absolute component. NaN counts for nothing.
    max_abs = max_abs_body(a: &[f32]) -> f32
}
dispatched! {
    /// Rounds components by `inverse` to whole numbers in -127..=127, ties to even, and writes them
    /// plus 128. Gives the sum of the squares of what is lost when a number stands for `scale`; its
    /// order of additions is not promised.
    round_to_codes = round_to_codes_body(
        a: &[f32], inverse: f32, scale: f32, codes: &mut [u8]
    ) -> f64
}

/// The greatest magnitude of a code of [`round_to_codes`].
const CODE_MAX: f32 = 127.0;

/// What [`round_to_codes`] adds to codes.
pub(crate) const CODE_OFFSET: u8 = 128;

/// Adding and subtracting it rounds an f32 of less than 2²² to a whole number, ties to even. A call
/// of the library's function would keep the compiler from doing many at once.
const ROUNDING: f32 = 12_582_912.0;

#[inline(always)]
fn max_abs_body(a: &[f32]) -> f32 {
    let (blocks, rest) = a.as_chunks::<LANES>();
    let mut max: Lanes = [0.0; LANES];
    for block in blocks {
        raise(&mut max, block);
    }
    raise(&mut max, &filled_up(rest));
    max.iter().fold(0.0, |max, x| x.max(max))
}

/// Raises maxima to the magnitudes that are greater.
#[inline(always)]
fn raise(max: &mut Lanes, block: &Lanes) {
    for (max, x) in max.iter_mut().zip(block) {
        *max = if x.abs() > *max { x.abs() } else { *max };
    }
}

#[inline(always)]
fn round_to_codes_body(a: &[f32], inverse: f32, scale: f32, codes: &mut [u8]) -> f64 {
    let scale = f64::from(scale);
    let mut lost = [0.0_f64; LANES];
    for (block, codes) in a.chunks(LANES).zip(codes.chunks_mut(LANES)) {
        for ((x, code), lost) in block.iter().zip(codes).zip(&mut lost) {
            let whole = ((x * inverse + ROUNDING) - ROUNDING).clamp(-CODE_MAX, CODE_MAX);
            let rest = f64::from(*x) - scale * f64::from(whole);
            *lost += rest * rest;
            *code = (whole as i32 + i32::from(CODE_OFFSET)) as u8;
        }
    }
    lost.iter().sum()
}

#[inline(always)]
fn dot_body(a: &[f32], b: &[f32]) -> f64 {
    sum_pairs(a, b, |x, y| x * y)
}

#[inline(always)]
fn squared_distance_body(a: &[f32], b: &[f32]) -> f64 {
    sum_pairs(a, b, |x, y| (x - y) * (x - y))
}

#[inline(always)]
fn absolute_distance_body(a: &[f32], b: &[f32]) -> f64 {
    sum_pairs(a, b, |x, y| (x - y).abs())
}

#[inline(always)]
fn dot_and_squares_body(a: &[f32], b: &[f32]) -> (f64, f64) {
    let (blocks_a, rest_a) = a.as_chunks();
    let (blocks_b, rest_b) = b.as_chunks();
    let mut products: Lanes = [0.0; LANES];
    let mut squares: Lanes = [0.0; LANES];
    for (x, y) in blocks_a.iter().zip(blocks_b) {
        add_terms(&mut products, x, y, |x, y| x * y);
        add_terms(&mut squares, x, x, |x, y| x * y);
    }
    if !rest_a.is_empty() {
        let rest_a = filled_up(rest_a);
        add_terms(&mut products, &rest_a, &filled_up(rest_b), |x, y| x * y);
        add_terms(&mut squares, &rest_a, &rest_a, |x, y| x * y);
    }
    (fold(&products), fold(&squares))
}

#[inline(always)]
fn sum_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let (blocks_a, rest_a) = a.as_chunks();
    let (blocks_b, rest_b) = b.as_chunks();
    let mut sums: Lanes = [0.0; LANES];
    for (x, y) in blocks_a.iter().zip(blocks_b) {
        add_terms(&mut sums, x, y, &term);
    }
    if !rest_a.is_empty() {
        add_terms(&mut sums, &filled_up(rest_a), &filled_up(rest_b), &term);
    }
    fold(&sums)
}

#[inline(always)]
fn add_terms(sums: &mut Lanes, x: &Lanes, y: &Lanes, term: impl Fn(f32, f32) -> f32) {
    for lane in 0..LANES {
        sums[lane] += term(x[lane], y[lane]);
    }
}

/// The last components of a vector, with zeros after them.
#[inline(always)]
fn filled_up(rest: &[f32]) -> Lanes {
    let mut lanes = [0.0; LANES];
    lanes.iter_mut().zip(rest).for_each(|(lane, x)| *lane = *x);
    lanes
}

/// The sum of all lanes: each half onto the other, the last sixteen in f64.
// Inlined, its halving would make the compiler keep the lanes in narrow registers.
#[inline(never)]
fn fold(lanes: &Lanes) -> f64 {
    fold_at(Level::active(), lanes)
}

#[inline(always)]
fn fold_at(level: Level, lanes: &Lanes) -> f64 {
    #[cfg(target_arch = "x86_64")]
    match level.instructions() {
        // SAFETY: a level is one that the processor has; these have AVX-512F.
        InstructionSet::Avx512 | InstructionSet::Avx512Vnni => {
            return unsafe { fold_avx512(lanes) };
        }
        // SAFETY: as above, with AVX2.
        InstructionSet::Avx2 | InstructionSet::AvxVnni => return unsafe { fold_avx2(lanes) },
        InstructionSet::Plain => {}
    }
    let _ = level;
    fold_plain(lanes)
}

fn fold_plain(lanes: &Lanes) -> f64 {
    let mut half = [0.0_f64; LANES / 2];
    for (lane, sum) in half.iter_mut().enumerate() {
        *sum = f64::from(lanes[lane] + lanes[lane + LANES / 2]);
    }
    let mut width = LANES / 4;
    while width > 0 {
        for lane in 0..width {
            half[lane] += half[lane + width];
        }
        width /= 2;
    }
    half[0]
}

/// The same in registers, which the compiler does not find by itself: a third of the time of a dot
/// product of 128 components.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn fold_avx512(lanes: &Lanes) -> f64 {
    use std::arch::x86_64::*;
    let [low, high] = [0, LANES / 2].map(|start| {
        // SAFETY: sixteen lanes are there from either start on.
        unsafe { _mm512_loadu_ps(lanes.as_ptr().add(start)) }
    });
    let sixteen = _mm512_add_ps(low, high);
    let upper = _mm512_shuffle_f32x4::<0b1110>(sixteen, sixteen);
    let eight = _mm512_add_pd(
        _mm512_cvtps_pd(_mm512_castps512_ps256(sixteen)),
        _mm512_cvtps_pd(_mm512_castps512_ps256(upper)),
    );
    let four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd::<1>(eight));
    let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
    _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
}

/// The same with half as wide registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fold_avx2(lanes: &Lanes) -> f64 {
    use std::arch::x86_64::*;
    // SAFETY: there are four registers of lanes.
    let (low, high) = unsafe {
        let at = lanes.as_ptr();
        (
            _mm256_add_ps(_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(16))),
            _mm256_add_ps(_mm256_loadu_ps(at.add(8)), _mm256_loadu_ps(at.add(24))),
        )
    };
    let eight = [
        _mm256_add_pd(
            _mm256_cvtps_pd(_mm256_castps256_ps128(low)),
            _mm256_cvtps_pd(_mm256_castps256_ps128(high)),
        ),
        _mm256_add_pd(
            _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(low)),
            _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(high)),
        ),
    ];
    let four = _mm256_add_pd(eight[0], eight[1]);
    let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
    _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
}

#[inline(always)]
fn differing_bits_body(a: &[u8], b: &[u8]) -> u64 {
    let (words_a, rest_a) = a.as_chunks::<8>();
    let (words_b, rest_b) = b.as_chunks::<8>();
    let words = words_a.iter().zip(words_b);
    let whole: u64 = words
        .map(|(x, y)| u64::from((u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y)).count_ones()))
        .sum();
    let rest: u64 = rest_a.iter().zip(rest_b).map(|(x, y)| u64::from((x ^ y).count_ones())).sum();
    whole + rest
}

#[inline(always)]
fn each_differing_bits_body(a: &[u8], others: &[u8], out: &mut [i32]) {
    for (other, out) in others.chunks_exact(a.len().max(1)).zip(out) {
        *out = differing_bits_body(a, other) as i32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similarity::tests::random_vector;

    #[test]
    fn lanes_are_folded_alike_everywhere() {
        for seed in 0..200 {
            let values = random_vector(LANES, seed);
            let mut lanes: Lanes = [0.0; LANES];
            // Some much larger than others, so that the order of additions can be seen.
            lanes.iter_mut().zip(&values).enumerate().for_each(|(n, (lane, x))| {
                *lane = x * 10_f32.powi((n * 7 % 13) as i32 - 6);
            });
            for level in Level::available() {
                let folded = fold_at(level, &lanes);
                assert_eq!(folded.to_bits(), fold_plain(&lanes).to_bits(), "{level}");
            }
        }
    }

    /// The order of additions that the module's head promises, written plainly.
    fn dot_in_promised_order(a: &[f32], b: &[f32]) -> f64 {
        let mut sums = [0.0_f32; LANES];
        for (i, (x, y)) in a.iter().zip(b).enumerate() {
            sums[i % LANES] += x * y;
        }
        let mut folded: Vec<f64> =
            (0..16).map(|lane| f64::from(sums[lane] + sums[lane + 16])).collect();
        while folded.len() > 1 {
            let upper = folded.split_off(folded.len() / 2);
            folded.iter_mut().zip(upper).for_each(|(low, high)| *low += high);
        }
        folded[0]
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        for len in [0, 1, 7, 16, 31, 32, 33, 100, 384, 1000] {
            let (a, b) = (random_vector(len, 1), random_vector(len, 2));
            let expected = dot_in_promised_order(&a, &b).to_bits();
            assert_eq!(dot(&a, &b).to_bits(), expected, "active, {len}");
            for level in Level::available() {
                assert_eq!(dot::at(level, &a, &b).to_bits(), expected, "{level}, {len}");
                let (products, squares) = dot_and_squares::at(level, &a, &b);
                assert_eq!(products.to_bits(), expected, "together at {level}, {len}");
                assert_eq!(squares.to_bits(), dot(&a, &a).to_bits(), "squares at {level}, {len}");
                let squared = squared_distance::at(level, &a, &b);
                assert_eq!(squared.to_bits(), squared_distance_body(&a, &b).to_bits());
                let absolute = absolute_distance::at(level, &a, &b);
                assert_eq!(absolute.to_bits(), absolute_distance_body(&a, &b).to_bits());
                assert_eq!(max_abs::at(level, &a).to_bits(), max_abs_body(&a).to_bits());
                let (mut codes, mut plain) = (vec![0; len], vec![0; len]);
                round_to_codes::at(level, &a, 100.0, 0.01, &mut codes);
                round_to_codes_body(&a, 100.0, 0.01, &mut plain);
                assert_eq!(codes, plain, "{level}, {len}");
            }
        }
    }

    #[test]
    fn differing_bits_are_counted_one_by_one() {
        for len in [0, 1, 7, 8, 9, 48, 100] {
            let bytes = |seed| -> Vec<u8> {
                random_vector(len, seed).iter().map(|x| x.to_bits().to_le_bytes()[1]).collect()
            };
            let (a, b) = (bytes(3), bytes(4));
            let slow: u64 = (0..len * 8)
                .map(|bit| {
                    u64::from((a[bit / 8] >> (bit % 8)) & 1 != (b[bit / 8] >> (bit % 8)) & 1)
                })
                .sum();
            for level in Level::available() {
                assert_eq!(differing_bits::at(level, &a, &b), slow, "{level}, {len}");
            }
        }
    }

    #[test]
    fn each_of_many_gets_what_it_gets_alone() {
        for length in [1, 7, 48, 384, 1000] {
            let codes = |seed| -> Vec<u8> {
                let codes = random_vector(length * 9, seed);
                codes.into_iter().map(|x| (x * 128.0 + 128.0) as u8).collect()
            };
            let (query, others) = (&codes(1)[..length], codes(2));
            for level in Level::available() {
                let mut distances = [0; 9];
                each_differing_bits::at(level, query, &others, &mut distances);
                for (other, found) in others.chunks(length).zip(distances) {
                    let differing = other.iter().zip(query).map(|(x, y)| (x ^ y).count_ones());
                    assert_eq!(found as u32, differing.sum::<u32>(), "{level}, {length}");
                }
            }
        }
    }
}
