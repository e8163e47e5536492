//! From token vectors to a text's vector: pooling, dense layers, normalisation, truncation.
//!
//! All of it runs per text on exactly the tokens of that text, so a text's vector never depends on
//! its batch. Formulas: sentence-transformers' `Pooling`, `Dense` and `Normalize` modules.

use std::path::PathBuf;

use crate::{ModelError, Result};

/// How token vectors become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolingMode {
    /// The first token's vector.
    Cls,
    /// The largest of each component.
    Max,
    /// The mean.
    Mean,
    /// The sum, divided by the root of the number of tokens.
    MeanSqrtLen,
    /// The mean with weights 1, 2, 3, ….
    WeightedMean,
    /// The last token's vector.
    LastToken,
}

impl PoolingMode {
    /// Every mode with its name and its older key in Sentence-Transformers' configuration, in the
    /// order in which modes are concatenated there.
    pub(crate) const ALL: [(&str, &str, Self); 6] = [
        ("cls", "pooling_mode_cls_token", Self::Cls),
        ("max", "pooling_mode_max_tokens", Self::Max),
        ("mean", "pooling_mode_mean_tokens", Self::Mean),
        ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", Self::MeanSqrtLen),
        ("weightedmean", "pooling_mode_weightedmean_tokens", Self::WeightedMean),
        ("lasttoken", "pooling_mode_lasttoken", Self::LastToken),
    ];

    /// The mode of that name, such as `mean` or `cls`.
    ///
    /// # Errors
    /// [`ModelError::BadOption`] that lists all.
    pub fn named(name: &str) -> Result<Self> {
        let short = |known: &str| name == "mean_sqrt_len" && known.starts_with("mean_sqrt");
        let found = Self::ALL.iter().find(|(known, _, _)| *known == name || short(known));
        found.map(|(_, _, mode)| *mode).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|(name, _, _)| *name).collect();
            ModelError::BadOption(format!("pooling must be of {}, got '{name}'", all.join(", ")))
        })
    }

    /// What each of a text's token vectors is multiplied by before they are added up, without the
    /// first `skip`; `None` where the result is no such sum.
    pub(crate) fn weights(self, tokens: usize, skip: usize) -> Option<Vec<f32>> {
        let mut weights = vec![0.0; tokens];
        let Some(counted) = weights.get_mut(skip..) else { return Some(weights) };
        let count = counted.len() as f32;
        match self {
            Self::Max => return None,
            Self::Cls => counted.iter_mut().take(1).for_each(|weight| *weight = 1.0),
            Self::LastToken => counted.iter_mut().rev().take(1).for_each(|weight| *weight = 1.0),
            Self::Mean => counted.fill(1.0 / count),
            Self::MeanSqrtLen => counted.fill(1.0 / count.sqrt()),
            Self::WeightedMean => {
                let total: f32 = (skip + 1..=tokens).map(|place| place as f32).sum();
                for (place, weight) in counted.iter_mut().enumerate() {
                    *weight = (skip + place + 1) as f32 / total;
                }
            }
        }
        Some(weights)
    }
}

/// An activation that a configuration names by its class in PyTorch: that of a dense layer, or of a
/// cross-encoder's scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TorchActivation {
    /// `x`.
    Identity,
    /// The hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `x·Φ(x)`.
    Gelu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x / (1 + e^-x)`.
    Silu,
}

impl TorchActivation {
    /// Reads a PyTorch class name such as `torch.nn.modules.activation.Tanh`.
    pub(crate) fn from_torch(name: &str) -> Option<Self> {
        Some(match name.rsplit('.').next().unwrap_or(name).trim_end_matches("()") {
            "Identity" => Self::Identity,
            "Tanh" => Self::Tanh,
            "ReLU" => Self::Relu,
            "GELU" => Self::Gelu,
            "Sigmoid" => Self::Sigmoid,
            "SiLU" => Self::Silu,
            _ => return None,
        })
    }

    /// Its class in PyTorch.
    pub(crate) fn torch_class(self) -> &'static str {
        match self {
            Self::Identity => "torch.nn.modules.linear.Identity",
            Self::Tanh => "torch.nn.modules.activation.Tanh",
            Self::Relu => "torch.nn.modules.activation.ReLU",
            Self::Gelu => "torch.nn.modules.activation.GELU",
            Self::Sigmoid => "torch.nn.modules.activation.Sigmoid",
            Self::Silu => "torch.nn.modules.activation.SiLU",
        }
    }

    /// The activation of that name, such as `tanh`.
    ///
    /// # Errors
    /// [`ModelError::BadOption`] that lists all.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "identity" => Self::Identity,
            "tanh" => Self::Tanh,
            "relu" => Self::Relu,
            "gelu" => Self::Gelu,
            "sigmoid" => Self::Sigmoid,
            "silu" => Self::Silu,
            other => {
                return Err(ModelError::BadOption(format!(
                    "activation must be identity, tanh, relu, gelu, sigmoid or silu, got '{other}'"
                )));
            }
        })
    }

    /// The activation of one value.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(0.0),
            Self::Gelu => crate::pool::gelu(x),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

/// GELU in its tanh-free form, `x·Φ(x)`, with Φ from a rational approximation of erf (Abramowitz
/// and Stegun 7.1.26 in f64, absolute error below 1.5e-7). The one of `processor` differs in the
/// last bits, so with it the vectors of models with such a layer would change.
fn gelu(x: f32) -> f32 {
    let z = f64::from(x) / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z.abs());
    let poly = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let erf = (1.0 - poly * (-z * z).exp()).copysign(z);
    (0.5 * f64::from(x) * (1.0 + erf)) as f32
}

/// A dense layer: `activation(W·x + b)`.
#[derive(Clone, Debug)]
pub struct Dense {
    /// The folder of its module, from the model's root.
    pub folder: PathBuf,
    /// `outputs × inputs`, row after row.
    pub weight: Vec<f32>,
    /// `outputs`, or empty.
    pub bias: Vec<f32>,
    /// Components that come in.
    pub inputs: usize,
    /// Components that go out.
    pub outputs: usize,
    /// What they go through.
    pub activation: TorchActivation,
}

/// One step after the transformer.
#[derive(Clone, Debug)]
pub enum Step {
    /// A dense layer.
    Dense(Dense),
    /// Division by the length.
    Normalize,
}

/// Everything between the transformer's token vectors and the text's vector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// Pooling modes, concatenated in this order. Empty for a graph that pools itself.
    pub(crate) pooling: Vec<PoolingMode>,
    /// Steps after pooling, in order.
    pub(crate) steps: Vec<Step>,
    /// Components that are kept at the end.
    pub(crate) truncate_dim: Option<usize>,
    /// Normalise at the very end, because the user asked.
    pub(crate) normalize: bool,
}

impl Head {
    /// Components of the result for a transformer of width `hidden`.
    pub(crate) fn dimension(&self, hidden: usize) -> usize {
        let pooled = hidden * self.pooling.len().max(1);
        let full = self.steps.iter().fold(pooled, |width, step| match step {
            Step::Dense(dense) => dense.outputs,
            Step::Normalize => width,
        });
        self.truncate_dim.map_or(full, |keep| keep.min(full))
    }

    /// Whether every vector that isn't zero has the length 1 in the end.
    pub(crate) fn gives_unit_length(&self) -> bool {
        let ends_so = matches!(self.steps.last(), Some(Step::Normalize));
        self.normalize || ends_so && self.truncate_dim.is_none()
    }

    /// The vector of one text from its token vectors (`tokens × hidden`, the first `skip` left out
    /// of pooling).
    pub(crate) fn apply(&self, tokens: &[f32], hidden: usize, skip: usize) -> Vec<f32> {
        let mut vector = Vec::with_capacity(hidden * self.pooling.len().max(1));
        for mode in &self.pooling {
            pool(*mode, tokens, hidden, skip, &mut vector);
        }
        self.finish(vector)
    }

    /// The steps after pooling, for graphs that pool themselves.
    pub(crate) fn finish(&self, mut vector: Vec<f32>) -> Vec<f32> {
        for step in &self.steps {
            match step {
                Step::Normalize => normalize(&mut vector, 1e-12),
                Step::Dense(dense) => vector = dense.apply(&vector),
            }
        }
        if let Some(keep) = self.truncate_dim {
            vector.truncate(keep);
        }
        if self.normalize {
            normalize(&mut vector, 1e-12);
        }
        vector
    }
}

impl Dense {
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        self.weight
            .chunks_exact(self.inputs)
            .enumerate()
            .map(|(row, weights)| {
                let sum: f32 = weights.iter().zip(x).map(|(w, x)| w * x).sum();
                self.activation.apply(sum + self.bias.get(row).copied().unwrap_or(0.0))
            })
            .collect()
    }
}

/// Divides a vector by its length, or by `floor` where that is larger.
pub(crate) fn normalize(vector: &mut [f32], floor: f32) {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(floor);
    for x in vector {
        *x /= length;
    }
}

/// Appends one pooled vector. A text without a token that counts pools to zeros.
fn pool(mode: PoolingMode, tokens: &[f32], hidden: usize, skip: usize, out: &mut Vec<f32>) {
    let rows: Vec<&[f32]> = tokens.chunks_exact(hidden).skip(skip).collect();
    let start = out.len();
    out.resize(start + hidden, 0.0);
    let target = &mut out[start..];
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
    match mode {
        PoolingMode::Cls => target.copy_from_slice(first),
        PoolingMode::LastToken => target.copy_from_slice(last),
        PoolingMode::Max => {
            target.copy_from_slice(first);
            for row in &rows[1..] {
                target.iter_mut().zip(*row).for_each(|(t, x)| *t = t.max(*x));
            }
        }
        PoolingMode::Mean | PoolingMode::MeanSqrtLen => {
            for row in &rows {
                target.iter_mut().zip(*row).for_each(|(t, x)| *t += x);
            }
            let count = rows.len() as f32;
            let divisor = if mode == PoolingMode::Mean { count } else { count.sqrt() };
            target.iter_mut().for_each(|t| *t /= divisor);
        }
        PoolingMode::WeightedMean => {
            let mut total = 0.0;
            for (position, row) in rows.iter().enumerate() {
                let weight = (skip + position + 1) as f32;
                total += weight;
                target.iter_mut().zip(*row).for_each(|(t, x)| *t += x * weight);
            }
            target.iter_mut().for_each(|t| *t /= total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [f32; 6] = [1.0, -2.0, 3.0, 4.0, 5.0, 0.0];

    fn pooled(mode: PoolingMode, skip: usize) -> Vec<f32> {
        Head { pooling: vec![mode], ..Head::default() }.apply(&TOKENS, 2, skip)
    }

    #[test]
    fn every_mode_on_three_tokens() {
        let root = 3f32.sqrt();
        assert_eq!(pooled(PoolingMode::Mean, 0), [3.0, 2.0 / 3.0]);
        assert_eq!(pooled(PoolingMode::Cls, 0), [1.0, -2.0]);
        assert_eq!(pooled(PoolingMode::LastToken, 0), [5.0, 0.0]);
        assert_eq!(pooled(PoolingMode::Max, 0), [5.0, 4.0]);
        assert_eq!(pooled(PoolingMode::MeanSqrtLen, 0), [9.0 / root, 2.0 / root]);
        assert_eq!(pooled(PoolingMode::WeightedMean, 0), [22.0 / 6.0, 1.0]);
    }

    #[test]
    fn a_prompt_can_be_left_out() {
        assert_eq!(pooled(PoolingMode::Mean, 1), [4.0, 2.0]);
        assert_eq!(pooled(PoolingMode::Cls, 1), [3.0, 4.0]);
        assert_eq!(pooled(PoolingMode::WeightedMean, 1), [21.0 / 5.0, 8.0 / 5.0]);
        assert_eq!(pooled(PoolingMode::Max, 3), [0.0, 0.0]);
    }

    #[test]
    fn weights_add_up_to_what_pooling_gives() {
        use PoolingMode::{Cls, LastToken, Max, Mean, MeanSqrtLen, WeightedMean};
        for mode in [Cls, LastToken, Mean, MeanSqrtLen, WeightedMean] {
            for skip in 0..4 {
                let weights = mode.weights(3, skip).expect("a sum");
                let sum = |place: usize| {
                    let tokens = TOKENS.chunks(2).zip(&weights);
                    tokens.map(|(token, weight)| token[place] * weight).sum::<f32>()
                };
                for (got, want) in [sum(0), sum(1)].iter().zip(pooled(mode, skip)) {
                    assert!((got - want).abs() < 1e-6, "{mode:?} {skip}: {got}, not {want}");
                }
            }
        }
        assert_eq!(Max.weights(3, 0), None);
    }

    #[test]
    fn steps_run_in_order_and_truncation_does_not_renormalise() {
        let dense = Dense {
            folder: PathBuf::new(),
            weight: vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0],
            bias: vec![0.0, 0.0, -10.0],
            inputs: 2,
            outputs: 3,
            activation: TorchActivation::Relu,
        };
        let mut head = Head {
            pooling: vec![PoolingMode::Cls],
            steps: vec![Step::Dense(dense), Step::Normalize],
            truncate_dim: Some(2),
            normalize: false,
        };
        assert_eq!(head.dimension(2), 2);
        assert_eq!(head.apply(&[3.0, 4.0], 2, 0), [0.6, 0.8]);
        head.truncate_dim = Some(1);
        assert_eq!(head.apply(&[3.0, 4.0], 2, 0), [0.6]);
        head.normalize = true;
        assert_eq!(head.apply(&[3.0, 4.0], 2, 0), [1.0]);
    }

    #[test]
    fn activations_have_their_values() {
        for (name, x, want) in [
            ("torch.nn.modules.activation.Tanh", 0.5f32, 0.462_117_16f32),
            ("torch.nn.modules.linear.Identity", -2.0, -2.0),
            ("torch.nn.modules.activation.GELU", 1.0, 0.841_344_8),
            ("torch.nn.modules.activation.GELU", -1.0, -0.158_655_26),
            ("torch.nn.modules.activation.Sigmoid", 0.0, 0.5),
        ] {
            let got = TorchActivation::from_torch(name).expect(name).apply(x);
            assert!((got - want).abs() < 1e-6, "{name}({x}) = {got}, not {want}");
        }
        assert_eq!(TorchActivation::from_torch("builtins.eval"), None);
    }
}
