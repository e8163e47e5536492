//! What BERT and its relatives share: embeddings that are added and normalised, and layers that
//! normalise after each of their two halves.

use super::attention::{AttentionKind, places, self_attention};
use super::builder::{Builder, Norm};
use super::{Form, fused};
use crate::Result;
use crate::config::HiddenActivation;
use crate::onnx::writer::int;
use crate::weights::Weights;

/// Names of one layer's tensors, without `.weight` and `.bias`.
#[derive(Clone, Debug)]
pub struct LayerNames {
    /// What queries are made with.
    pub query: String,
    /// What keys are made with.
    pub key: String,
    /// What values are made with.
    pub value: String,
    /// What the heads' results go through.
    pub attention_output: String,
    /// The norm after attention.
    pub attention_norm: String,
    /// The first linear layer of the feed-forward block.
    pub up: String,
    /// The second.
    pub down: String,
    /// The norm after the feed-forward block.
    pub output_norm: String,
}

/// One layer: attention and feed-forward, each added to its input and normalised.
pub(crate) fn layer(
    b: &mut Builder<'_>,
    x: &str,
    names: &LayerNames,
    kind: &AttentionKind,
) -> Result<String> {
    let (hidden, intermediate) = (b.config.hidden, b.config.intermediate);
    let parts = [(&*names.query, hidden), (&*names.key, hidden), (&*names.value, hidden)];
    let mixed = self_attention(b, x, &parts, kind)?;
    let norm = |name| Norm { name, width: hidden, shift: true };
    let (part, after) = ((&*names.attention_output, hidden), norm(&names.attention_norm));
    let x = b.linear_add_norm(&mixed, part, hidden, x, &after)?;
    let activation = Some(b.config.activation);
    let wide = b.linear(&x, &[(&names.up, intermediate)], hidden, true, activation)?;
    let (part, after) = ((&*names.down, hidden), norm(&names.output_norm));
    b.linear_add_norm(&wide, part, intermediate, &x, &after)
}

/// One layer that normalises before each of its halves: attention and feed-forward, each added to
/// its input. `scales` name the vectors that what the halves give is multiplied by first.
pub(crate) fn layer_normalised_first(
    b: &mut Builder<'_>,
    x: &str,
    names: &LayerNames,
    scales: Option<[&str; 2]>,
    kind: &AttentionKind,
) -> Result<String> {
    let (hidden, intermediate) = (b.config.hidden, b.config.intermediate);
    let norm = |name| Norm { name, width: hidden, shift: true };
    let input = b.norm(x, &norm(&names.attention_norm))?;
    let parts = [(&*names.query, hidden), (&*names.key, hidden), (&*names.value, hidden)];
    let mixed = self_attention(b, &input, &parts, kind)?;
    let mut mixed = b.linear(&mixed, &[(&names.attention_output, hidden)], hidden, true, None)?;
    if let Some([scale, _]) = scales {
        let scale = b.tensor(scale, &[hidden])?;
        mixed = b.op("Mul", &[&mixed, &scale], Vec::new());
    }
    let x = b.op("Add", &[x, &mixed], Vec::new());
    let input = b.norm(&x, &norm(&names.output_norm))?;
    let activation = Some(b.config.activation);
    let wide = b.linear(&input, &[(&names.up, intermediate)], hidden, true, activation)?;
    let mut narrow = b.linear(&wide, &[(&names.down, hidden)], intermediate, true, None)?;
    if let Some([_, scale]) = scales {
        let scale = b.tensor(scale, &[hidden])?;
        narrow = b.op("Mul", &[&narrow, &scale], Vec::new());
    }
    Ok(b.op("Add", &[&x, &narrow], Vec::new()))
}

/// Which of two kinds of sentence a token belongs to, where a model has a table of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segments {
    /// There is no such table.
    None,
    /// Every token belongs to the first, whatever its text.
    AllFirst {
        /// Rows of the table.
        rows: usize,
    },
    /// It is an input of the graph.
    Given {
        /// Rows of the table.
        rows: usize,
    },
}

/// Word, position and segment vectors of `width` components, added and normalised. `prefix` ends
/// before `word_embeddings`.
pub(crate) fn embeddings(
    b: &mut Builder<'_>,
    prefix: &str,
    width: usize,
    segments: Segments,
) -> Result<String> {
    if let Form::Fused(_) = b.form {
        return fused::embeddings(b, prefix, width, segments);
    }
    let mut x = b.words(&format!("{prefix}word_embeddings.weight"), width)?;
    let (table, segments) = position_table(b, prefix, width, segments)?;
    if let Segments::Given { rows } = segments {
        let types = b.tensor(&format!("{prefix}token_type_embeddings.weight"), &[rows, width])?;
        let ids = b.segments()?;
        let segment = b.op("Gather", &[&types, &ids], Vec::new());
        x = b.op("Add", &[&x, &segment], Vec::new());
    }
    let positions = positions(b)?;
    let positions = b.op("Gather", &[&table, &positions], Vec::new());
    b.add_norm(&x, &positions, &Norm { name: &format!("{prefix}LayerNorm"), width, shift: true })
}

/// The table of positions, and the segments that are left to add: the one vector that every token
/// would get goes into the table.
pub(super) fn position_table(
    b: &mut Builder<'_>,
    prefix: &str,
    width: usize,
    segments: Segments,
) -> Result<(String, Segments)> {
    let name = format!("{prefix}position_embeddings.weight");
    let dims = [b.config.positions, width];
    let mut table = b.values(&name, &dims)?;
    let mut left = segments;
    if let Segments::AllFirst { rows } = segments {
        let types = format!("{prefix}token_type_embeddings.weight");
        let every_token = b.values(&types, &[rows, width])?;
        for row in table.chunks_exact_mut(width) {
            row.iter_mut().zip(&every_token).for_each(|(value, add)| *value += add);
        }
        left = Segments::None;
    }
    Ok((b.constant(&name, &dims, table.into_iter())?, left))
}

/// The row of the position table for each token.
pub(crate) fn positions(b: &mut Builder<'_>) -> Result<String> {
    match (b.form, b.config.position_padding) {
        (Form::Packed | Form::Fused(_), _) => Ok("position_ids".to_string()),
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

/// What the dense layer of a classifier's head goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadActivation {
    /// The hyperbolic tangent.
    Tanh,
    /// One that feed-forward blocks have as well.
    Hidden(HiddenActivation),
}

/// A classifier's head on the first token: a dense layer, an activation, and the scores.
pub(crate) fn first_token_head(
    b: &mut Builder<'_>,
    x: &str,
    dense: &str,
    activation: HeadActivation,
    scores: &str,
) -> Result<String> {
    let (hidden, labels) = (b.config.hidden, b.config.labels.len());
    let first = b.first_tokens(x)?;
    let wide = b.float_linear(&first, &[(dense, hidden)], hidden, true, None)?;
    let wide = match activation {
        HeadActivation::Tanh => b.op("Tanh", &[&wide], Vec::new()),
        HeadActivation::Hidden(activation) => b.activation(&wide, activation)?,
    };
    b.float_linear(&wide, &[(scores, labels)], hidden, true, None)
}

/// What comes before `anchor` in the weights.
pub(crate) fn prefix(weights: &Weights, anchor: &str) -> Result<String> {
    weights.prefix_of(anchor).ok_or_else(|| weights.missing(anchor))
}

/// What comes before `anchor`, without the name of the model inside a classifier.
pub(crate) fn head_prefix(weights: &Weights, anchor: &str, model: &str) -> Result<String> {
    let prefix = prefix(weights, anchor)?;
    Ok(prefix.strip_suffix(model).unwrap_or(&prefix).to_string())
}
