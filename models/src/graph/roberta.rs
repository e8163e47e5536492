//! RoBERTa, XLM-RoBERTa and CamemBERT: BERT's layers, positions that count from the padding id, a
//! head of their own.

use super::builder::Builder;
use super::{bert, encoder};
use crate::Result;

const ANCHOR: &str = "embeddings.word_embeddings.weight";

/// The vectors of all tokens.
pub(super) fn body(b: &mut Builder<'_>) -> Result<String> {
    bert::body(b)
}

/// The scores of each text.
pub(super) fn head(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let outer = encoder::head_prefix(b, ANCHOR, "roberta.")?;
    let dense = format!("{outer}classifier.dense");
    encoder::first_token_head(b, x, &dense, "Tanh", &format!("{outer}classifier.out_proj"))
}
