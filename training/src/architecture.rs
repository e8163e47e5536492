//! New models from modules: which transformer, how its vectors are pooled, and the dense layers
//! after it; weights copied from a model, or random.
//!
//! How the wish is written down is left to others, as is training the result.

use std::path::Path;

use sembla_models::ModelSpec;
use sembla_models::trainable::{
    Body, Dense, FloatTensor, Modules, NewTransformer, PoolingMode, Tensors, TorchActivation,
    Trainable,
};

use crate::distil;
use crate::error::{Result, TrainError};
use crate::random::Random;

/// The standard deviation of random weights, as BERT's makers chose it.
const DEVIATION: f32 = 0.02;

/// The largest width of anything, and the most tokens of an input.
const WIDTH_MAX: usize = 16_384;

/// The most layers.
const LAYERS_MAX: usize = 128;

/// The most weights, 8 GiB of them in floats.
const WEIGHTS_MAX: usize = 1 << 31;

/// Where the transformer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The base's weights, with so many of its layers, evenly spaced; all where none are named.
    Copied(Option<usize>),
    /// Random weights, with the base's tokenizer.
    Random(NewTransformer),
}

/// A dense layer with random weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewDense {
    /// Components that go out.
    pub outputs: usize,
    /// What they go through.
    pub activation: TorchActivation,
    /// Whether something is added to each.
    pub bias: bool,
}

/// A model that is to be made.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The model whose tokenizer it has, and whose weights where they are copied.
    pub base: ModelSpec,
    /// Its transformer.
    pub transformer: Source,
    /// Pooling modes; their vectors stand one after another.
    pub pooling: Vec<PoolingMode>,
    /// The dense layers after pooling, first to last.
    pub dense: Vec<NewDense>,
    /// Whether vectors get length 1 at the end.
    pub normalize: bool,
    /// What random weights follow from.
    pub seed: u64,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Layers.
    pub layers: usize,
    /// Components of a vector.
    pub dimension: usize,
    /// All weights.
    pub parameters: usize,
}

/// Makes a model and writes its directory `target`. The same wish gives the same weights.
///
/// # Errors
/// A base that can't be taken apart, sizes that don't fit together or are too large, and those of
/// the disk.
pub fn make(wish: &Architecture, target: &Path) -> Result<Made> {
    if wish.pooling.is_empty() {
        return Err(TrainError::Option("pooling names no mode; mean is usual".into()));
    }
    let base = Trainable::open(&wish.base)?;
    let mut random = Random::new(wish.seed);
    let (base, other, tensors, hidden) = match &wish.transformer {
        Source::Copied(layers) => {
            let base = match layers {
                Some(layers) => distil::spread(base, *layers)?,
                None => base,
            };
            let hidden = match base.body() {
                Body::Transformer(anatomy) => anatomy.hidden,
                Body::Table { .. } => 0,
            };
            let tensors = base.tensors()?;
            (base, None, tensors, hidden)
        }
        Source::Random(new) => {
            check(new, base.token_count())?;
            let tensors = random_tensors(new, base.token_count(), &mut random);
            (base, Some(new), tensors, new.hidden)
        }
    };
    let mut width = hidden * wish.pooling.len();
    let mut dense = Vec::new();
    for new in &wish.dense {
        within("a dense layer's outputs", new.outputs, WIDTH_MAX)?;
        dense.push(random_dense(new, width, &mut random));
        width = new.outputs;
    }
    let of_dense = |dense: &Dense| dense.weight.len() + dense.bias.len();
    let parameters = tensors.values().map(|tensor| tensor.values.len()).sum::<usize>()
        + dense.iter().map(of_dense).sum::<usize>();
    let modules = Modules { pooling: wish.pooling.clone(), dense, normalize: wish.normalize };
    base.save_assembled(target, other, &tensors, &modules)?;
    let layers = other.map_or_else(|| base.layers(), |new| new.layers);
    Ok(Made { layers, dimension: width, parameters })
}

/// Refuses sizes that no model can have.
fn check(new: &NewTransformer, vocabulary: usize) -> Result<()> {
    within("layers", new.layers, LAYERS_MAX)?;
    within("width", new.hidden, WIDTH_MAX)?;
    within("feed_forward", new.intermediate, WIDTH_MAX)?;
    within("max_length", new.positions, WIDTH_MAX)?;
    within("heads", new.heads, new.hidden)?;
    if !new.hidden.is_multiple_of(new.heads) {
        return Err(TrainError::Option(format!(
            "width must be a multiple of heads, got {} and {}",
            new.hidden, new.heads
        )));
    }
    let weights = new.shapes(vocabulary);
    let weights = weights.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>();
    if weights > WEIGHTS_MAX {
        return Err(TrainError::Option(format!(
            "a model of these sizes has {weights} weights; at most {WEIGHTS_MAX} are made"
        )));
    }
    Ok(())
}

fn within(what: &str, value: usize, most: usize) -> Result<()> {
    match value {
        0 => Err(TrainError::Option(format!("{what} must be at least 1"))),
        _ if value > most => {
            Err(TrainError::Option(format!("{what} must be at most {most}, got {value}")))
        }
        _ => Ok(()),
    }
}

/// Weights as BERT begins with them: normal ones, norms that change nothing, no biases.
fn random_tensors(new: &NewTransformer, vocabulary: usize, random: &mut Random) -> Tensors {
    let mut tensors = Tensors::new();
    for (name, shape) in new.shapes(vocabulary) {
        let count = shape.iter().product();
        let values = match name.as_str() {
            name if name.ends_with("LayerNorm.weight") => vec![1.0; count],
            name if name.ends_with(".bias") => vec![0.0; count],
            _ => (0..count).map(|_| DEVIATION * random.normal()).collect(),
        };
        tensors.insert(name, FloatTensor { shape, values });
    }
    tensors
}

/// A layer as PyTorch begins with it: uniform between plus and minus the root of 1 / inputs.
fn random_dense(new: &NewDense, inputs: usize, random: &mut Random) -> Dense {
    let bound = (inputs.max(1) as f32).sqrt().recip();
    let mut uniform = |count: usize| -> Vec<f32> {
        (0..count).map(|_| bound * (2.0 * random.unit() as f32 - 1.0)).collect()
    };
    Dense {
        folder: std::path::PathBuf::new(),
        weight: uniform(new.outputs * inputs),
        bias: uniform(if new.bias { new.outputs } else { 0 }),
        inputs,
        outputs: new.outputs,
        activation: new.activation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: NewTransformer =
        NewTransformer { layers: 2, hidden: 64, heads: 4, intermediate: 128, positions: 32 };

    #[test]
    fn random_weights_follow_from_the_seed_and_have_their_spread() {
        let of = |seed| random_tensors(&SMALL, 100, &mut Random::new(seed));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let tensors = of(1);
        let words = &tensors["embeddings.word_embeddings.weight"].values;
        let mean = words.iter().sum::<f32>() / words.len() as f32;
        let square = words.iter().map(|x| x * x).sum::<f32>() / words.len() as f32;
        assert!(mean.abs() < 0.002 && (square.sqrt() - DEVIATION).abs() < 0.002, "{mean} {square}");
        assert!(
            tensors["encoder.layer.1.output.LayerNorm.weight"].values.iter().all(|x| *x == 1.0)
        );
        assert!(tensors["encoder.layer.0.output.dense.bias"].values.iter().all(|x| *x == 0.0));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let told = |new: NewTransformer| check(&new, 1000).expect_err("refused").to_string();
        assert!(told(NewTransformer { heads: 5, ..SMALL }).contains("multiple of heads"));
        assert_eq!(told(NewTransformer { layers: 0, ..SMALL }), "layers must be at least 1");
        let wide =
            NewTransformer { hidden: 16_384, heads: 1, intermediate: 16_384, layers: 128, ..SMALL };
        assert!(told(wide).contains("weights; at most"));
    }
}
