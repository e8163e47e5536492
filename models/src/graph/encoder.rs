//! What BERT and its relatives share: embeddings that are added and normalised, and layers that
//! normalise after each of their two halves.

use super::Form;
use super::attention::{Attention, attention, places};
use super::builder::Builder;
use crate::Result;
use crate::onnx::writer::int;

/// Names of one layer's tensors, without `.weight` and `.bias`.
pub(super) struct LayerNames {
    pub(super) query: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) attention_output: String,
    pub(super) attention_norm: String,
    pub(super) up: String,
    pub(super) down: String,
    pub(super) output_norm: String,
}

/// One layer: attention and feed-forward, each added to its input and normalised.
pub(super) fn layer(
    b: &mut Builder<'_>,
    x: &str,
    names: &LayerNames,
    kind: &Attention,
) -> Result<String> {
    let (hidden, intermediate) = (b.config.hidden, b.config.intermediate);
    let parts = [(&*names.query, hidden), (&*names.key, hidden), (&*names.value, hidden)];
    let qkv = b.linear(x, &parts, hidden, true, None)?;
    let mixed = attention(b, &qkv, kind)?;
    let mixed = b.linear(&mixed, &[(&names.attention_output, hidden)], hidden, true, None)?;
    let x = b.add_norm(&mixed, x, &names.attention_norm, true)?;
    let activation = Some(b.config.activation);
    let wide = b.linear(&x, &[(&names.up, intermediate)], hidden, true, activation)?;
    let narrow = b.linear(&wide, &[(&names.down, hidden)], intermediate, true, None)?;
    b.add_norm(&narrow, &x, &names.output_norm, true)
}

/// Word, position and segment vectors, added and normalised. `prefix` ends before
/// `word_embeddings`.
pub(super) fn embeddings(b: &mut Builder<'_>, prefix: &str) -> Result<String> {
    let hidden = b.config.hidden;
    let mut x = b.words(&format!("{prefix}word_embeddings.weight"))?;
    let (types, rows) = (format!("{prefix}token_type_embeddings.weight"), b.config.type_vocabulary);
    let mut every_token = None;
    if b.config.uses_type_ids() {
        let table = b.tensor(&types, &[rows, hidden])?;
        let segment = b.op("Gather", &[&table, "token_type_ids"], Vec::new());
        x = b.op("Add", &[&x, &segment], Vec::new());
    } else if rows > 0 {
        // Every token is of segment 0, so its vector goes into the table of positions.
        every_token = Some(b.values(&types, &[rows, hidden])?);
    }
    let name = format!("{prefix}position_embeddings.weight");
    let dims = [b.config.positions, hidden];
    let mut table = b.values(&name, &dims)?;
    if let Some(segments) = every_token {
        for row in table.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&segments).for_each(|(value, add)| *value += add);
        }
    }
    let table = b.constant(&name, &dims, table.into_iter())?;
    let positions = positions(b)?;
    let positions = b.op("Gather", &[&table, &positions], Vec::new());
    b.add_norm(&x, &positions, &format!("{prefix}LayerNorm"), true)
}

/// The row of the position table for each token.
fn positions(b: &mut Builder<'_>) -> Result<String> {
    match (b.form, b.config.position_padding) {
        (Form::Packed, _) => Ok("position_ids".to_string()),
        (Form::Padded, None) => places(b),
        (Form::Padded, Some(padding)) => {
            let padding = b.int(padding as i64)?;
            let is_padding = b.op("Equal", &["input_ids", &padding], Vec::new());
            let counts = b.op("Not", &[&is_padding], Vec::new());
            let counts = b.op("Cast", &[&counts], vec![int("to", 7)]);
            let axis = b.int(1)?;
            let seen = b.op("CumSum", &[&counts, &axis], Vec::new());
            let seen = b.op("Mul", &[&seen, &counts], Vec::new());
            Ok(b.op("Add", &[&seen, &padding], Vec::new()))
        }
    }
}

/// A classifier's head on the first token: a dense layer, an activation, and the scores.
pub(super) fn first_token_head(
    b: &mut Builder<'_>,
    x: &str,
    dense: &str,
    activation: &str,
    scores: &str,
) -> Result<String> {
    let (hidden, labels) = (b.config.hidden, b.config.labels.len());
    let first = b.first_tokens(x)?;
    let wide = b.float_linear(&first, &[(dense, hidden)], hidden, true, None)?;
    let wide = b.op(activation, &[&wide], Vec::new());
    b.float_linear(&wide, &[(scores, labels)], hidden, true, None)
}

/// What comes before `anchor` in the weights.
pub(super) fn prefix(b: &Builder<'_>, anchor: &str) -> Result<String> {
    b.weights.prefix_of(anchor).ok_or_else(|| b.weights.missing(anchor))
}

/// What comes before `anchor`, without the name of the model inside a classifier.
pub(super) fn head_prefix(b: &Builder<'_>, anchor: &str, model: &str) -> Result<String> {
    let prefix = prefix(b, anchor)?;
    Ok(prefix.strip_suffix(model).unwrap_or(&prefix).to_string())
}
