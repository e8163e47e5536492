//! The 8-bit layer against its formula in plain floats, and its instruction levels against each
//! other.

use super::kernel::run;
use super::*;

/// A small deterministic generator; quality does not matter here.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn layer(inputs: usize, outputs: usize) -> (Linear, Vec<f32>, Vec<f32>) {
    let (weight, bias) = (noise(1, inputs * outputs), noise(2, outputs));
    let linear = Linear {
        name: "test".into(),
        outputs,
        inputs,
        weight: Matrix::F32(weight.clone()),
        bias: Some(bias.clone()),
    };
    (linear, weight, bias)
}

/// Rows, inputs, outputs. 131 and 1031 are prime: one block, and one too large to be widened with
/// others.
const SHAPES: [(usize, usize, usize); 7] = [
    (1, 384, 384),
    (13, 384, 70),
    (6, 1536, 33),
    (7, 32, 96),
    (3, 18, 5),
    (4, 131, 20),
    (2, 1031, 16),
];

#[test]
fn every_level_gives_the_same_bits() {
    for (rows, inputs, outputs) in SHAPES {
        let packed = PackedLinear::new(layer(inputs, outputs).0);
        let x = noise(3, rows * inputs);
        for function in [Function::None, Function::Gelu, Function::Silu, Function::GeluTanh] {
            let results: Vec<Vec<u32>> = Level::available()
                .into_iter()
                .map(|level| {
                    let mut out = vec![f32::NAN; rows * outputs];
                    run(level, &packed, &x, &mut out, function, &mut Scratch::default());
                    out.into_iter().map(f32::to_bits).collect()
                })
                .collect();
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{rows}×{inputs}×{outputs}");
        }
    }
}

#[test]
fn the_result_is_close_to_floats() {
    for (rows, inputs, outputs) in SHAPES {
        let (linear, weight, bias) = layer(inputs, outputs);
        let packed = PackedLinear::new(linear);
        let x = noise(4, rows * inputs);
        let mut out = vec![0f32; rows * outputs];
        let mut scratch = Scratch::default();
        run(Level::best(), &packed, &x, &mut out, Function::Relu, &mut scratch);
        for row in 0..rows {
            for output in 0..outputs {
                let pairs =
                    weight[output * inputs..].iter().zip(&x[row * inputs..(row + 1) * inputs]);
                let want = (bias[output] + pairs.map(|(w, x)| w * x).sum::<f32>()).max(0.0);
                let got = out[row * outputs + output];
                // Rounding errors of 1/254 and 1/255 of the ranges, added up like a random walk.
                let bound = 0.02 * (inputs as f32).sqrt();
                assert!((got - want).abs() < bound, "{got} is not {want} at {row}, {output}");
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    let packed = PackedLinear::new(layer(384, 100).0);
    let x = noise(5, 17 * 384);
    let one = |rows: &[f32]| {
        let mut out = vec![0f32; rows.len() / 384 * 100];
        let mut scratch = Scratch::default();
        run(Level::best(), &packed, rows, &mut out, Function::Gelu, &mut scratch);
        out
    };
    let together = one(&x);
    for row in 0..17 {
        assert_eq!(one(&x[row * 384..(row + 1) * 384]), together[row * 100..(row + 1) * 100]);
    }
}

#[test]
fn zeros_constants_and_infinities_do_not_break_it() {
    let packed = PackedLinear::new(layer(32, 8).0);
    let mut out = vec![0f32; 3 * 8];
    let mut x = vec![0f32; 3 * 32];
    x[32..64].fill(2.5);
    x[64] = f32::INFINITY;
    run(Level::best(), &packed, &x, &mut out, Function::None, &mut Scratch::default());
    assert_eq!(out[..8], packed.bias[..8], "zeros give the bias");
    assert!(out[8..16].iter().all(|value| value.is_finite()));
}

#[test]
fn values_that_are_no_numbers_give_the_same_bits_at_every_level() {
    // A block with a rest: 131 inputs.
    for inputs in [384, 131] {
        let packed = PackedLinear::new(layer(inputs, 40).0);
        let mut x = noise(6, 4 * inputs);
        for (place, value) in [(3, f32::NAN), (60, -f32::NAN), (127, -0.0), (130, f32::NAN)] {
            x[place] = value;
            x[2 * inputs + place] = value * 1e30;
        }
        x[inputs..2 * inputs].fill(-1e-40);
        let results: Vec<Vec<u32>> = Level::available()
            .into_iter()
            .map(|level| {
                let mut out = vec![0f32; 4 * 40];
                run(level, &packed, &x, &mut out, Function::None, &mut Scratch::default());
                out.into_iter().map(f32::to_bits).collect()
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{inputs} inputs");
    }
}

#[test]
fn blocks_divide_the_width() {
    for (width, block) in [(384, 128), (1536, 128), (768, 128), (312, 104), (32, 32), (18, 18)] {
        assert_eq!(block_of(width), block);
    }
    // 131 is prime: one block.
    assert_eq!(block_of(131), 131);
}
