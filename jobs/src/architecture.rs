//! A file that says what a new model is made of, and the model.
//!
//! ```toml
//! base = "minilm"          # its tokenizer, and its weights where they are copied
//! pooling = ["cls", "mean"]
//! normalize = true
//!
//! [transformer]
//! weights = "copied"       # or "random", with width, heads, feed_forward and max_length
//! layers = 3
//!
//! [[dense]]
//! outputs = 128
//! activation = "tanh"
//! ```
//!
//! How weights are made is left to `sembla-training`.

use std::path::Path;

use sembla_models::ModelSpec;
use sembla_models::trainable::{NewTransformer, PoolingMode, TorchActivation};
use sembla_training::architecture::{self, Architecture, Made, NewDense, Source};
use serde::Deserialize;

use crate::description;
use crate::distil::check_new;
use crate::failure::{Failure, Result};
use crate::train::failure;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    base: String,
    #[serde(default = "mean")]
    pooling: Vec<String>,
    #[serde(default)]
    normalize: bool,
    #[serde(default = "usual_seed")]
    seed: u64,
    #[serde(default)]
    transformer: Transformer,
    #[serde(default)]
    dense: Vec<DenseEntry>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Transformer {
    weights: Option<String>,
    layers: Option<usize>,
    width: Option<usize>,
    heads: Option<usize>,
    feed_forward: Option<usize>,
    max_length: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DenseEntry {
    outputs: usize,
    #[serde(default = "identity")]
    activation: String,
    #[serde(default = "yes")]
    bias: bool,
}

fn mean() -> Vec<String> {
    vec!["mean".into()]
}

fn identity() -> String {
    "identity".into()
}

fn yes() -> bool {
    true
}

fn usual_seed() -> u64 {
    42
}

/// Makes the model that `file` describes, in the new folder `output`.
///
/// # Errors
/// A file that can't be read or says what no model can have, a base that can't be taken apart, and
/// an output that exists or can't be written.
pub fn new_model(file: &Path, output: &Path) -> Result<Made> {
    let text = description::text(file)?;
    let wish = read(&text).map_err(|failure| failure.context(file.display()))?;
    check_new(output)?;
    architecture::make(&wish, output).map_err(failure)
}

/// What a description says.
fn read(text: &str) -> Result<Architecture> {
    let file: File = description::parse(text)?;
    let dense = |entry: &DenseEntry| -> Result<NewDense> {
        let activation = TorchActivation::named(&entry.activation)?;
        Ok(NewDense { outputs: entry.outputs, activation, bias: entry.bias })
    };
    let pooling = file.pooling.iter().map(|name| PoolingMode::named(name));
    Ok(Architecture {
        base: ModelSpec::new(&file.base),
        transformer: source(&file.transformer)?,
        pooling: pooling.collect::<Result<_, _>>()?,
        dense: file.dense.iter().map(dense).collect::<Result<_>>()?,
        normalize: file.normalize,
        seed: file.seed,
    })
}

/// Where the transformer comes from.
fn source(wish: &Transformer) -> Result<Source> {
    let Transformer { width, heads, feed_forward, max_length, layers, .. } = *wish;
    match wish.weights.as_deref().unwrap_or("copied") {
        "copied" => {
            let sizes = [
                ("width", width),
                ("heads", heads),
                ("feed_forward", feed_forward),
                ("max_length", max_length),
            ];
            match sizes.iter().find(|(_, value)| value.is_some()) {
                Some((name, _)) => Err(Failure::user(format!(
                    "transformer: {name} is the base's where weights are copied; leave it out, or set weights = \"random\""
                ))),
                None => Ok(Source::Copied(layers)),
            }
        }
        "random" => {
            let wanted = |name: &str, value: Option<usize>| {
                value.ok_or_else(|| {
                    Failure::user(format!("transformer: random weights need {name}"))
                })
            };
            let hidden = wanted("width", width)?;
            Ok(Source::Random(NewTransformer {
                layers: wanted("layers", layers)?,
                hidden,
                heads: wanted("heads", heads)?,
                intermediate: feed_forward.unwrap_or(hidden.saturating_mul(4)),
                positions: max_length.unwrap_or(512),
            }))
        }
        other => Err(Failure::user(format!(
            "transformer: weights must be \"copied\" or \"random\", got \"{other}\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(text).expect_err("refused").message().expect("words")
    }

    #[test]
    fn a_short_description_is_the_base_with_its_mean() {
        let wish = read("base = 'minilm'").expect("read");
        assert_eq!(wish.transformer, Source::Copied(None));
        assert_eq!(wish.pooling, [PoolingMode::Mean]);
        assert!(wish.dense.is_empty() && !wish.normalize && wish.seed == 42);
    }

    #[test]
    fn what_no_model_has_is_refused_by_name() {
        assert!(refused("base = 'minilm'\npoling = ['mean']").contains("poling"));
        assert!(refused("base = 'x'\npooling = ['middle']").contains("got 'middle'"));
        assert!(refused("base = 'x'\n[[dense]]\noutputs = 3\nactivation = 'cos'").contains("cos"));
        assert!(refused("base = 'x'\n[transformer]\nwidth = 3").contains("leave it out"));
        assert!(refused("base = 'x'\n[transformer]\nweights = 'random'").contains("need width"));
        assert!(refused("base = 'x'\n[transformer]\nweights = 'new'").contains("got \"new\""));
    }
}
