//! DistilBERT: BERT without segments and pooler, under other names.

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
        let layer = format!("{prefix}transformer.layer.{layer}.");
        let names = LayerNames {
            query: format!("{layer}attention.q_lin"),
            key: format!("{layer}attention.k_lin"),
            value: format!("{layer}attention.v_lin"),
            attention_output: format!("{layer}attention.out_lin"),
            attention_norm: format!("{layer}sa_layer_norm"),
            up: format!("{layer}ffn.lin1"),
            down: format!("{layer}ffn.lin2"),
            output_norm: format!("{layer}output_layer_norm"),
        };
        x = encoder::layer(b, &x, &names, &Attention::default())?;
    }
    Ok(x)
}

/// The scores of each text.
pub(super) fn head(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let outer = encoder::head_prefix(b, ANCHOR, "distilbert.")?;
    let dense = format!("{outer}pre_classifier");
    encoder::first_token_head(b, x, &dense, "Relu", &format!("{outer}classifier"))
}
