//! The attention kernel against its formula in f64, text by text.

use sembla_processor::Level;

use super::kernel::{Scratch, Shape, run};

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
        })
        .collect()
}

/// The formula, without any cleverness.
fn slow(shape: &Shape, qkv: &[f32], bias: &[f32]) -> Vec<f32> {
    let (size, hidden) = (shape.size, shape.heads * shape.size);
    let tokens = qkv.len() / (3 * hidden);
    let part = |token: usize, which: usize, head: usize| -> Vec<f64> {
        let at = token * 3 * hidden + which * hidden + head * size;
        let row: Vec<f64> = qkv[at..at + size].iter().map(|x| f64::from(*x)).collect();
        if which == 2 || shape.rope_theta == 0.0 {
            return row;
        }
        let half = size / 2;
        (0..size)
            .map(|i| {
                let exponent = (2 * (i % half)) as f64 / size as f64;
                let angle = token as f64 / f64::from(shape.rope_theta).powf(exponent);
                let other = if i < half { -row[i + half] } else { row[i - half] };
                row[i] * angle.cos() + other * angle.sin()
            })
            .collect()
    };
    let mut out = vec![0f32; tokens * hidden];
    for head in 0..shape.heads {
        for i in 0..tokens {
            let query = part(i, 0, head);
            let weights: Vec<f64> = (0..tokens)
                .map(|j| {
                    let is_outside = shape.window > 0 && i.abs_diff(j) > shape.window;
                    if is_outside || (shape.causal && j > i) {
                        return 0.0;
                    }
                    let key = part(j, 1, head);
                    let dot: f64 = query.iter().zip(&key).map(|(q, k)| q * k).sum();
                    let reach = bias.len() / shape.heads;
                    let near = if reach == 0 {
                        0.0
                    } else {
                        f64::from(bias[head * reach + reach / 2 + j - i])
                    };
                    (dot * f64::from(shape.scale) + near).exp()
                })
                .collect();
            let total: f64 = weights.iter().sum();
            for (j, weight) in weights.iter().enumerate() {
                for (k, value) in part(j, 2, head).iter().enumerate() {
                    out[i * hidden + head * size + k] += (weight / total * value) as f32;
                }
            }
        }
    }
    out
}

fn shape(heads: usize, size: usize) -> Shape {
    Shape {
        heads,
        size,
        scale: 1.0 / (size as f32).sqrt(),
        rope_theta: 0.0,
        window: 0,
        causal: false,
    }
}

fn fast(level: Level, shape: &Shape, qkv: &[f32], bias: &[f32], scratch: &mut Scratch) -> Vec<f32> {
    let hidden = shape.heads * shape.size;
    let tokens = qkv.len() / (3 * hidden);
    scratch.prepare(shape, tokens);
    let mut out = vec![f32::NAN; tokens * hidden];
    run(level, shape, qkv, bias, &mut out, scratch);
    out
}

#[test]
fn every_form_is_close_to_the_formula() {
    let plain = shape(3, 32);
    let rotary = Shape { rope_theta: 10_000.0, ..shape(2, 64) };
    let windowed = Shape { rope_theta: 160_000.0, window: 2, ..shape(2, 8) };
    let causal = Shape { causal: true, ..shape(2, 24) };
    for shape in [plain, rotary, windowed, causal] {
        let mut scratch = Scratch::default();
        for tokens in [1, 2, 5, 16, 17, 40] {
            let qkv = noise(tokens as u64, tokens * 3 * shape.heads * shape.size);
            let got = fast(Level::best(), &shape, &qkv, &[], &mut scratch);
            for (got, want) in got.iter().zip(slow(&shape, &qkv, &[])) {
                assert!((got - want).abs() < 2e-6, "{got} is not {want} with {tokens} tokens");
            }
        }
    }
}

#[test]
fn relative_positions_are_added_at_their_distance() {
    let shape = shape(2, 8);
    let bias = noise(7, 2 * 39);
    let qkv = noise(8, 20 * 3 * 16);
    let got = fast(Level::best(), &shape, &qkv, &bias, &mut Scratch::default());
    for (got, want) in got.iter().zip(slow(&shape, &qkv, &bias)) {
        assert!((got - want).abs() < 2e-6, "{got} is not {want}");
    }
}

#[test]
fn levels_and_used_buffers_give_the_same_bits() {
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let bias = noise(3, 2 * 99);
    for (shape, bias) in [
        (Shape { window: 3, ..shape(2, 24) }, &[][..]),
        (Shape { rope_theta: 10_000.0, ..shape(2, 64) }, &[][..]),
        (Shape { causal: true, ..shape(2, 24) }, &[][..]),
        (shape(2, 32), &bias[..]),
    ] {
        let width = 3 * shape.heads * shape.size;
        for tokens in [1, 4, 19, 50] {
            let qkv = noise(2, tokens * width);
            let fresh = fast(Level::PLAIN, &shape, &qkv, bias, &mut Scratch::default());
            for level in Level::available() {
                let mut used = Scratch::default();
                fast(level, &shape, &noise(1, 50 * width), bias, &mut used);
                let got = fast(level, &shape, &qkv, bias, &mut used);
                assert!(bits(&fresh) == bits(&got), "{level}: {tokens} tokens");
            }
        }
    }
}
