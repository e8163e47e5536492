//! DINOv2: a tower for images alone, which never saw a text. The token that stands for the picture,
//! normalised, is its vector.
//!
//! The public models are made for pictures of 518 pixels on a side and used with 224, so the table
//! of positions is interpolated to the size that the directory gives, as the library does it.

use super::towers::{self, ImageTower, TowerFamily};
use super::{Architecture, Transformer};
use crate::Result;
use crate::config::{Keys, Spelling};
use crate::graph::encoder::{self, LayerNames, layer_normalised_first};
use crate::graph::{AttentionKind, Builder};
use crate::images::Defaults;

pub(super) static FAMILY: TowerFamily = TowerFamily { texts: None, image: "dinov2", read_image };

const IMAGE: Spelling =
    Spelling { activation_default: "gelu", norm_epsilon_default: 1e-6, ..Spelling::BERT };

/// Times that a feed-forward block is as wide as a token's vector, at most.
const RATIO_MAX: usize = 64;

/// The means and deviations of ImageNet's pictures.
const DEFAULTS: Defaults = Defaults {
    crops: true,
    side: 224,
    mean: [0.485, 0.456, 0.406],
    deviation: [0.229, 0.224, 0.225],
};

/// The name in the weights that the tower is found by.
const ANCHOR: &str = "embeddings.patch_embeddings.projection.weight";

/// The shape of the cubic curve through the positions, which is PyTorch's.
const CUBIC: f64 = -0.75;

#[derive(Debug)]
struct Image {
    /// Rows of the square that the table of positions is for.
    rows: usize,
}

fn read_image(keys: &Keys<'_>, _outer: &Keys<'_>) -> Result<ImageTower> {
    if keys.flag("use_swiglu_ffn")? {
        return Err(keys.bad("use_swiglu_ffn must be false; SwiGLU is not supported".into()));
    }
    if keys.value.get("qkv_bias").is_some_and(|value| value == false) {
        return Err(keys.bad("qkv_bias must be true".into()));
    }
    let (side, patch, mut config) = towers::read_image(keys, &IMAGE, 14, 1)?;
    config.intermediate = config.hidden * keys.count("mlp_ratio", 4, RATIO_MAX)?;
    let transformer = Transformer::new(config, Image { rows: side / patch });
    let defaults = DEFAULTS;
    Ok(ImageTower {
        transformer,
        side,
        patch,
        leading: 1,
        projection: None,
        defaults,
        resizes: true,
    })
}

impl Architecture for Image {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        let prefix = encoder::prefix(b.weights, ANCHOR)?;
        let name = format!("{prefix}embeddings.position_embeddings");
        let hidden = b.config.hidden;
        let stored = b.values(&name, &[1, self.rows * self.rows + 1, hidden])?;
        let (first, patches) = stored.split_at(hidden);
        // A picture's patches make a square.
        let seen = (b.config.positions - 1).isqrt();
        let class = b.values(&format!("{prefix}embeddings.cls_token"), &[1, 1, hidden])?;
        let mut table: Vec<f32> = first.iter().zip(class).map(|(a, b)| a + b).collect();
        // The row before the patches goes through the layer too and must not get its bias.
        let kernels = format!("{prefix}embeddings.patch_embeddings.projection");
        let bias = b.values(&format!("{kernels}.bias"), &[hidden])?;
        let places = interpolated(patches, self.rows, seen, hidden);
        table.extend(places.iter().zip(bias.iter().cycle()).map(|(place, bias)| place + bias));
        let mut x = towers::placed(b, &kernels, false, (&name, table))?;
        for layer in 0..b.config.layers {
            let layer = format!("{prefix}encoder.layer.{layer}.");
            let names = LayerNames {
                query: format!("{layer}attention.attention.query"),
                key: format!("{layer}attention.attention.key"),
                value: format!("{layer}attention.attention.value"),
                attention_output: format!("{layer}attention.output.dense"),
                attention_norm: format!("{layer}norm1"),
                up: format!("{layer}mlp.fc1"),
                down: format!("{layer}mlp.fc2"),
                output_norm: format!("{layer}norm2"),
            };
            let scales = [1, 2].map(|half| format!("{layer}layer_scale{half}.lambda1"));
            let scales = Some([&*scales[0], &*scales[1]]);
            x = layer_normalised_first(b, &x, &names, scales, &AttentionKind::default())?;
        }
        Ok(x)
    }

    /// The vector of each picture's first token, normalised.
    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String> {
        let prefix = encoder::prefix(b.weights, ANCHOR)?;
        let first = b.first_tokens(x)?;
        towers::norm(b, &first, &format!("{prefix}layernorm"))
    }
}

/// The vectors of a square of `from` by `from` places for one of `to` by `to`: a cubic curve along
/// rows and columns, without a filter against aliasing.
fn interpolated(values: &[f32], from: usize, to: usize, width: usize) -> Vec<f32> {
    if from == to {
        return values.to_vec();
    }
    let taps: Vec<[(usize, f64); 4]> = (0..to).map(|place| taps(place, from, to)).collect();
    let mut result = Vec::with_capacity(to * to * width);
    for row in &taps {
        for column in &taps {
            result.extend((0..width).map(|component| {
                let at = |y: usize, x: usize| f64::from(values[(y * from + x) * width + component]);
                let along = |y| column.iter().map(|(x, part)| part * at(y, *x)).sum::<f64>();
                row.iter().map(|(y, part)| part * along(*y)).sum::<f64>() as f32
            }));
        }
    }
    result
}

/// The four places of `from` that a place of `to` is made of, and how much of each.
fn taps(place: usize, from: usize, to: usize) -> [(usize, f64); 4] {
    let at = (place as f64 + 0.5) * from as f64 / to as f64 - 0.5;
    let part = at - at.floor();
    let near = |x: f64| ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((CUBIC * x - 5.0 * CUBIC) * x + 8.0 * CUBIC) * x - 4.0 * CUBIC;
    let parts = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
    std::array::from_fn(|tap| {
        let place = at.floor() + tap as f64 - 1.0;
        (place.clamp(0.0, (from - 1) as f64) as usize, parts[tap])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_stays_a_slope_inside() {
        // Two components: the row and the column of each place.
        let values: Vec<f32> = (0..64).flat_map(|at| [(at / 8) as f32, (at % 8) as f32]).collect();
        assert_eq!(interpolated(&values, 8, 8, 2), values);
        let half = interpolated(&values, 8, 4, 2);
        assert_eq!(half.len(), 32);
        for (row, column) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let found = &half[2 * (row * 4 + column)..][..2];
            let wanted = [row, column].map(|place| 2.0 * place as f32 + 0.5);
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }
}
