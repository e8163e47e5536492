//! BERT: segments, absolute positions, a pooler before the classifier.

use super::attention::Attention;
use super::builder::Builder;
use super::encoder::{self, LayerNames};
use crate::Result;

const ANCHOR: &str = "embeddings.word_embeddings.weight";

/// The vectors of all tokens.
pub(super) fn body(b: &mut Builder<'_>) -> Result<String> {
    let prefix = encoder::prefix(b, ANCHOR)?;
    let mut x = encoder::embeddings(b, &format!("{prefix}embeddings."))?;
    for layer in 0..b.config.layers {
        let names = layer_names(&format!("{prefix}encoder.layer.{layer}."));
        x = encoder::layer(b, &x, &names, &Attention::default())?;
    }
    Ok(x)
}

/// Names in BERT's spelling, which RoBERTa shares.
pub(super) fn layer_names(layer: &str) -> LayerNames {
    LayerNames {
        query: format!("{layer}attention.self.query"),
        key: format!("{layer}attention.self.key"),
        value: format!("{layer}attention.self.value"),
        attention_output: format!("{layer}attention.output.dense"),
        attention_norm: format!("{layer}attention.output.LayerNorm"),
        up: format!("{layer}intermediate.dense"),
        down: format!("{layer}output.dense"),
        output_norm: format!("{layer}output.LayerNorm"),
    }
}

/// The scores of each text.
pub(super) fn head(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let model = encoder::prefix(b, ANCHOR)?;
    let outer = encoder::head_prefix(b, ANCHOR, "bert.")?;
    let (dense, scores) = (format!("{model}pooler.dense"), format!("{outer}classifier"));
    encoder::first_token_head(b, x, &dense, "Tanh", &scores)
}
