//! MPNet: BERT without segments, positions that count from the padding id, and scores that depend
//! on the distance between query and key, in buckets that widen with the distance as in T5.

use super::attention::Attention;
use super::builder::Builder;
use super::encoder::{self, LayerNames};
use crate::Result;

const ANCHOR: &str = "embeddings.word_embeddings.weight";

/// Buckets that distances fall into, half of them for keys after their query.
const BUCKETS: usize = 32;

/// From this distance on there is one bucket.
const DISTANCE_MAX: f32 = 128.0;

/// The vectors of all tokens.
pub(super) fn body(b: &mut Builder<'_>) -> Result<String> {
    let prefix = encoder::prefix(b, ANCHOR)?;
    let mut x = encoder::embeddings(b, &format!("{prefix}embeddings."))?;
    let bias = bias_table(b, &format!("{prefix}encoder.relative_attention_bias.weight"))?;
    let kind = Attention { bias: Some(bias), ..Attention::default() };
    for layer in 0..b.config.layers {
        let layer = format!("{prefix}encoder.layer.{layer}.");
        let names = LayerNames {
            query: format!("{layer}attention.attn.q"),
            key: format!("{layer}attention.attn.k"),
            value: format!("{layer}attention.attn.v"),
            attention_output: format!("{layer}attention.attn.o"),
            attention_norm: format!("{layer}attention.LayerNorm"),
            up: format!("{layer}intermediate.dense"),
            down: format!("{layer}output.dense"),
            output_norm: format!("{layer}output.LayerNorm"),
        };
        x = encoder::layer(b, &x, &names, &kind)?;
    }
    Ok(x)
}

/// The scores of each text.
pub(super) fn head(b: &mut Builder<'_>, x: &str) -> Result<String> {
    let outer = encoder::head_prefix(b, ANCHOR, "mpnet.")?;
    let dense = format!("{outer}classifier.dense");
    encoder::first_token_head(b, x, &dense, "Tanh", &format!("{outer}classifier.out_proj"))
}

/// The bias of every head and distance, `[heads, 2·max_tokens - 1]`, from the bias of every bucket.
fn bias_table(b: &mut Builder<'_>, name: &str) -> Result<String> {
    let (heads, reach) = (b.config.heads, b.config.max_tokens() as i64 - 1);
    let buckets = b.values(name, &[b.config.relative_buckets, heads])?;
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
