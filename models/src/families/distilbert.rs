//! DistilBERT: BERT without segments and pooler, under other names.

use super::{Architecture, Family, Transformer};
use crate::Result;
use crate::anatomy::{Anatomy, HeadNames};
use crate::config::{HiddenActivation, Keys, Size, Spelling, TransformerConfig};
use crate::graph::encoder::{self, HeadActivation, LayerNames, Segments};
use crate::graph::{AttentionKind, Builder};
use crate::weights::Weights;

pub(super) static FAMILY: Family = Family { model_types: &["distilbert"], read };

/// The name in the weights that everything else is found by.
const ANCHOR: &str = "embeddings.word_embeddings.weight";

/// DistilBERT's own names first; the library takes the usual ones as well.
const SPELLING: Spelling = Spelling {
    hidden: Size { keys: &["dim", "hidden_size"], default: 768 },
    layers: Size { keys: &["n_layers", "num_hidden_layers"], default: 6 },
    heads: Size { keys: &["n_heads", "num_attention_heads"], default: 12 },
    intermediate: Size { keys: &["hidden_dim", "intermediate_size"], default: 3072 },
    activation: "activation",
    norm_epsilon: None,
    ..Spelling::BERT
};

#[derive(Debug)]
struct DistilBert;

fn read(keys: &Keys<'_>) -> Result<Transformer> {
    Ok(Transformer::new(TransformerConfig::read(keys, &SPELLING)?, DistilBert))
}

impl Architecture for DistilBert {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        let prefix = encoder::prefix(b.weights, ANCHOR)?;
        let (embeddings, width) = (format!("{prefix}embeddings."), b.config.hidden);
        let mut x = encoder::embeddings(b, &embeddings, width, Segments::None)?;
        for layer in 0..b.config.layers {
            let names = layer_names(&format!("{prefix}transformer.layer.{layer}."));
            x = encoder::layer(b, &x, &names, &AttentionKind::default())?;
        }
        Ok(x)
    }

    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String> {
        let outer = encoder::head_prefix(b.weights, ANCHOR, "distilbert.")?;
        let dense = format!("{outer}pre_classifier");
        let relu = HeadActivation::Hidden(HiddenActivation::Relu);
        encoder::first_token_head(b, x, &dense, relu, &format!("{outer}classifier"))
    }

    fn fuses(&self) -> bool {
        true
    }

    fn anatomy(&self, config: &TransformerConfig, weights: &Weights) -> Result<Option<Anatomy>> {
        let prefix = encoder::prefix(weights, ANCHOR)?;
        let outer = encoder::head_prefix(weights, ANCHOR, "distilbert.")?;
        let head = HeadNames {
            dense: format!("{outer}pre_classifier"),
            activation: HeadActivation::Hidden(HiddenActivation::Relu),
            scores: format!("{outer}classifier"),
        };
        Ok(Some(Anatomy::new(config, &prefix, layer_names, "transformer.layer", head)))
    }
}

/// The names of a layer's tensors.
fn layer_names(layer: &str) -> LayerNames {
    LayerNames {
        query: format!("{layer}attention.q_lin"),
        key: format!("{layer}attention.k_lin"),
        value: format!("{layer}attention.v_lin"),
        attention_output: format!("{layer}attention.out_lin"),
        attention_norm: format!("{layer}sa_layer_norm"),
        up: format!("{layer}ffn.lin1"),
        down: format!("{layer}ffn.lin2"),
        output_norm: format!("{layer}output_layer_norm"),
    }
}
