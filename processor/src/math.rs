//! Elementary functions that the compiler turns into SIMD: no branch, no table, the same bits on
//! every machine.
//!
//! `mul_add` is exact everywhere (one rounding), so a machine without fused instructions gives the
//! same values, slowly.

/// Adding this to a float of magnitude below 2²² rounds it to a whole number, which the low bits
/// then hold.
pub const ROUNDER: f32 = 12_582_912.0;

/// The nearest whole number of a value of magnitude below 2²², ties to even. The library's function
/// would be called once per value on processors without an instruction that is known for it.
#[inline(always)]
pub fn round(value: f32) -> f32 {
    (value + ROUNDER) - ROUNDER
}

/// `e^x`, relative error below 3e-7 for `x` in -87..88; smaller gives about 1e-38, larger about
/// 1.6e38.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // ln 2 in two parts, so that the product with a small whole number is exact in the first.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let n = rounded - ROUNDER;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    // Taylor's series on |r| ≤ 0.35: the next term is below 2e-8 of the result.
    let series = r.mul_add(1.0 / 5040.0, 1.0 / 720.0);
    let series = r.mul_add(series, 1.0 / 120.0);
    let series = r.mul_add(series, 1.0 / 24.0);
    let series = r.mul_add(series, 1.0 / 6.0);
    let series = r.mul_add(series, 0.5);
    let series = r.mul_add(r * series, r) + 1.0;
    // The clamp keeps n within the exponent's range; the shift leaves nothing of the rounder but n.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    series * power
}

/// The largest of some lanes, pair by pair.
#[inline(always)]
pub fn largest(lanes: [f32; 16]) -> f32 {
    fold(lanes, |a, b| if b > a { b } else { a })
}

/// The sum of some lanes, pair by pair.
#[inline(always)]
pub fn sum(lanes: [f32; 16]) -> f32 {
    fold(lanes, |a, b| a + b)
}

/// The lanes folded in half, until one is left. Each half is an array of its own: of halves within
/// one array the compiler makes code that goes lane by lane, and attention on short texts took a
/// third longer.
#[inline(always)]
fn fold(lanes: [f32; 16], function: impl Fn(f32, f32) -> f32) -> f32 {
    let lanes: [f32; 8] = half(lanes, &function);
    let lanes: [f32; 4] = half(lanes, &function);
    let lanes: [f32; 2] = half(lanes, &function);
    let [all]: [f32; 1] = half(lanes, &function);
    all
}

/// Each lane of the first half with its own of the second.
#[inline(always)]
fn half<const N: usize, const M: usize>(
    lanes: [f32; N],
    function: impl Fn(f32, f32) -> f32,
) -> [f32; M] {
    let mut folded = [0f32; M];
    for (lane, folded) in folded.iter_mut().enumerate() {
        *folded = function(lanes[lane], lanes[lane + M]);
    }
    folded
}

/// The error function, absolute error below 5e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let z = x.abs();
    let t = 1.0 / z.mul_add(0.327_591_1, 1.0);
    let p = t.mul_add(1.061_405_4, -1.453_152);
    let p = t.mul_add(p, 1.421_413_7);
    let p = t.mul_add(p, -0.284_496_74);
    let p = t.mul_add(p, 0.254_829_6);
    (t * p).mul_add(-exp(-z * z), 1.0).copysign(x)
}

/// `x·Φ(x)`.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// GELU's approximation by a hyperbolic tangent.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    let inner = 0.797_884_6 * x * (x * x).mul_add(0.044_715, 1.0);
    // tanh(y) = 1 - 2 / (e^2y + 1)
    x * (1.0 - 1.0 / (exp(2.0 * inner) + 1.0))
}

/// `x / (1 + e^-x)`.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x / (1 + e^-1.702x)`, which some call GELU too.
#[inline(always)]
pub fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> impl Iterator<Item = f32> {
        (-8000..=8000).map(|step| step as f32 / 1000.0)
    }

    #[test]
    fn rounding_is_the_library_s() {
        for value in (-1100..=1100).map(|eighth| eighth as f32 / 8.0).chain([f32::NAN]) {
            assert_eq!(round(value) as i32, value.round_ties_even() as i32, "{value}");
        }
    }

    #[test]
    fn exp_is_close_to_the_real_one() {
        for x in grid().map(|x| x * 10.0) {
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(1e9).is_finite());
    }

    #[test]
    fn gelu_is_close_to_the_real_one() {
        for x in grid() {
            let z = f64::from(x);
            // Φ by Simpson's rule from 0, fine enough for the eighth digit.
            let steps = 2000;
            let h = z / f64::from(steps);
            let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let sum: f64 = (0..=steps)
                .map(|i| {
                    let weight = match i {
                        0 => 1.0,
                        i if i == steps => 1.0,
                        i if i % 2 == 1 => 4.0,
                        _ => 2.0,
                    };
                    weight * density(f64::from(i) * h)
                })
                .sum();
            let want = z * (0.5 + sum * h / 3.0);
            let error = (f64::from(gelu(x)) - want).abs();
            assert!(error < 2e-6, "gelu({x}) is off by {error}");
        }
    }

    #[test]
    fn the_other_activations_are_close_to_theirs() {
        for x in grid() {
            let z = f64::from(x);
            let tanh = 0.5 * z * (1.0 + (0.797_884_560_8 * (z + 0.044_715 * z * z * z)).tanh());
            assert!((f64::from(gelu_tanh(x)) - tanh).abs() < 2e-6, "gelu_tanh({x})");
            let want = z / (1.0 + (-z).exp());
            assert!((f64::from(silu(x)) - want).abs() < 2e-6, "silu({x})");
            let want = z / (1.0 + (-1.702 * z).exp());
            assert!((f64::from(quick_gelu(x)) - want).abs() < 2e-6, "quick_gelu({x})");
        }
    }
}
