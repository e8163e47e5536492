//! MPNet: BERT without segments, positions that count from the padding id, and scores that depend
//! on the distance between query and key, in buckets that widen with the distance as in T5.

use super::{Architecture, Family, Transformer};
use crate::Result;
use crate::anatomy::{Anatomy, HeadNames, RelativePositions};
use crate::config::{Keys, Spelling, TransformerConfig};
use crate::graph::encoder::{self, HeadActivation, LayerNames, Segments};
use crate::graph::{AttentionKind, Builder};
use crate::weights::Weights;

pub(super) static FAMILY: Family = Family { model_types: &["mpnet"], read };

/// The name in the weights that everything else is found by.
const ANCHOR: &str = "embeddings.word_embeddings.weight";

/// The id of padding, which the library has fixed, whatever the configuration says.
const PADDING: usize = 1;

/// Buckets that distances fall into, half of them for keys after their query.
const BUCKETS: usize = 32;

/// From this distance on there is one bucket.
const DISTANCE_MAX: f32 = 128.0;

#[derive(Debug)]
struct MpNet {
    /// Rows of the table of relative positions.
    bias_rows: usize,
}

fn read(keys: &Keys<'_>) -> Result<Transformer> {
    let spelling = Spelling { vocabulary: 30527, ..Spelling::BERT };
    let config = TransformerConfig::read(keys, &spelling)?.with_positions_after(PADDING)?;
    let bias_rows = keys.count("relative_attention_num_buckets", BUCKETS, 4096)?;
    if bias_rows < BUCKETS {
        return Err(keys.bad(format!(
            "relative_attention_num_buckets must be >= {BUCKETS} for MPNet, got {bias_rows}"
        )));
    }
    Ok(Transformer::new(config, MpNet { bias_rows }))
}

impl Architecture for MpNet {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        let prefix = encoder::prefix(b.weights, ANCHOR)?;
        let (embeddings, width) = (format!("{prefix}embeddings."), b.config.hidden);
        let mut x = encoder::embeddings(b, &embeddings, width, Segments::None)?;
        let bias = format!("{prefix}encoder.relative_attention_bias.weight");
        let bias = bias_table(b, &bias, self.bias_rows)?;
        let kind = AttentionKind { bias: Some(bias), ..AttentionKind::default() };
        for layer in 0..b.config.layers {
            let names = layer_names(&format!("{prefix}encoder.layer.{layer}."));
            x = encoder::layer(b, &x, &names, &kind)?;
        }
        Ok(x)
    }

    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String> {
        let outer = encoder::head_prefix(b.weights, ANCHOR, "mpnet.")?;
        let dense = format!("{outer}classifier.dense");
        encoder::first_token_head(
            b,
            x,
            &dense,
            HeadActivation::Tanh,
            &format!("{outer}classifier.out_proj"),
        )
    }

    fn fuses(&self) -> bool {
        true
    }

    fn anatomy(&self, config: &TransformerConfig, weights: &Weights) -> Result<Option<Anatomy>> {
        let prefix = encoder::prefix(weights, ANCHOR)?;
        let outer = encoder::head_prefix(weights, ANCHOR, "mpnet.")?;
        let head = HeadNames {
            dense: format!("{outer}classifier.dense"),
            activation: HeadActivation::Tanh,
            scores: format!("{outer}classifier.out_proj"),
        };
        let table = format!("{prefix}encoder.relative_attention_bias.weight");
        let relative = RelativePositions { table, rows: self.bias_rows, row: bucket };
        let anatomy = Anatomy::new(config, &prefix, layer_names, "encoder.layer", head);
        Ok(Some(Anatomy { relative: Some(relative), ..anatomy }))
    }
}

/// The names of a layer's tensors.
fn layer_names(layer: &str) -> LayerNames {
    LayerNames {
        query: format!("{layer}attention.attn.q"),
        key: format!("{layer}attention.attn.k"),
        value: format!("{layer}attention.attn.v"),
        attention_output: format!("{layer}attention.attn.o"),
        attention_norm: format!("{layer}attention.LayerNorm"),
        up: format!("{layer}intermediate.dense"),
        down: format!("{layer}output.dense"),
        output_norm: format!("{layer}output.LayerNorm"),
    }
}

/// The bias of every head and distance, `[heads, 2·max_tokens - 1]`, from the bias of every bucket.
fn bias_table(b: &mut Builder<'_>, name: &str, rows: usize) -> Result<String> {
    let (heads, reach) = (b.config.heads, b.config.max_tokens() as i64 - 1);
    let buckets = b.values(name, &[rows, heads])?;
    let table: Vec<f32> = (0..heads)
        .flat_map(|head| (-reach..=reach).map(move |distance| bucket(distance) * heads + head))
        .map(|place| buckets.get(place).copied().unwrap_or_default())
        .collect();
    b.constant(name, &[heads, 2 * reach as usize + 1], table.into_iter())
}

/// The bucket of a key that comes `distance` tokens after its query.
fn bucket(distance: i64) -> usize {
    let half = BUCKETS / 2;
    let side = if distance > 0 { half } else { 0 };
    let exact = half / 2;
    let far = distance.unsigned_abs() as usize;
    if far < exact {
        return side + far;
    }
    // In 32-bit floats, as the model was trained: the edges of buckets lie on whole numbers.
    let exact_f = exact as f32;
    let log = (far as f32 / exact_f).ln() / (DISTANCE_MAX / exact_f).ln();
    side + (exact + (log * (half - exact) as f32) as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_widen_with_the_distance() {
        let after: Vec<usize> =
            [0, 1, 7, 8, 11, 12, 16, 32, 64, 127, 128, 500].map(bucket).to_vec();
        assert_eq!(after, [0, 17, 23, 24, 24, 25, 26, 28, 30, 31, 31, 31]);
        let before: Vec<usize> = [-1, -7, -8, -16, -64, -128].map(bucket).to_vec();
        assert_eq!(before, [1, 7, 8, 10, 14, 15]);
    }
}
