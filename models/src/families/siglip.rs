//! SigLIP, and SigLIP 2 in its sizes for pictures of one shape: every text is filled up to the same
//! length and its last token stands for it; a learned question asks all patches of a picture.
//!
//! What a tower says of a pair goes through a sigmoid, so scores of labels don't compete.

use super::towers::{self, ImageTower, Projection, TextFamily, TextTower, TowerFamily, Words};
use super::{Architecture, Transformer};
use crate::Result;
use crate::config::{Keys, Spelling, TransformerConfig};
use crate::graph::encoder;
use crate::graph::{AttentionKind, Builder};
use crate::images::Defaults;
use crate::inputs::Extent;
use crate::onnx::writer::{int, ints};

pub(super) static FAMILY: TowerFamily = TowerFamily {
    texts: Some(TextFamily { both: "siglip", alone: "siglip_text_model", read: read_text }),
    image: "siglip_vision_model",
    read_image,
};

const TEXT: Spelling = Spelling {
    vocabulary: 32000,
    positions: 64,
    activation_default: "gelu_pytorch_tanh",
    norm_epsilon_default: 1e-6,
    ..Spelling::BERT
};

/// Pictures come in the range -1 to 1, whatever their shape.
const DEFAULTS: Defaults =
    Defaults { crops: false, side: 224, mean: [0.5; 3], deviation: [0.5; 3] };

/// The name in the weights that the image tower is found by.
const IMAGE_ANCHOR: &str = "embeddings.patch_embedding.weight";

#[derive(Debug)]
struct Image;

fn read_text(keys: &Keys<'_>, _outer: &Keys<'_>) -> Result<TextTower> {
    let config = TransformerConfig::read(keys, &TEXT)?;
    let padding = keys.number("pad_token_id", 1, 1 << 24)?;
    let projection = Projection {
        name: "text_model.head".into(),
        inputs: config.hidden,
        outputs: keys.count("projection_size", config.hidden, 1 << 16)?,
        has_bias: true,
        is_optional: false,
    };
    let padding = u32::try_from(padding).unwrap_or(1);
    let extent = Extent::Filled { length: config.positions, padding };
    Ok(TextTower {
        transformer: Transformer::new(config, Words { causal: false }),
        extent,
        projection,
    })
}

fn read_image(keys: &Keys<'_>, _outer: &Keys<'_>) -> Result<ImageTower> {
    let (side, patch, config) = towers::read_image(keys, &TEXT, 16, 0)?;
    if keys.value.get("vision_use_head").is_some_and(|value| value == false) {
        return Err(keys.bad("vision_use_head must be true; else there is no vector".into()));
    }
    let transformer = Transformer::new(config, Image);
    let defaults = Defaults { side, ..DEFAULTS };
    Ok(ImageTower {
        transformer,
        side,
        patch,
        leading: 0,
        projection: None,
        defaults,
        resizes: false,
    })
}

impl Architecture for Image {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        let prefix = encoder::prefix(b.weights, IMAGE_ANCHOR)?;
        let x = towers::patches(b, &prefix, true, None)?;
        let x = towers::layers(b, x, &prefix, &AttentionKind::default())?;
        towers::norm(b, &x, &format!("{prefix}post_layernorm"))
    }

    /// The answer of each picture's patches to the learned question, and a feed-forward block.
    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String> {
        let head = format!("{}head.", encoder::prefix(b.weights, IMAGE_ANCHOR)?);
        let (hidden, intermediate) = (b.config.hidden, b.config.intermediate);
        let mixed = answer(b, x, &head)?;
        // Every row twice: a product of one row has another order of additions than one of many,
        // and a vector must not depend on how many pictures came along.
        let mixed = b.op("Concat", &[&mixed, &mixed], vec![int("axis", 0)]);
        let out = format!("{head}attention.out_proj");
        let mixed = b.float_linear(&mixed, &[(&out, hidden)], hidden, true, None)?;
        let input = towers::norm(b, &mixed, &format!("{head}layernorm"))?;
        let (up, down) = (format!("{head}mlp.fc1"), format!("{head}mlp.fc2"));
        let activation = Some(b.config.activation);
        let wide = b.float_linear(&input, &[(&up, intermediate)], hidden, true, activation)?;
        let narrow = b.float_linear(&wide, &[(&down, hidden)], intermediate, true, None)?;
        let both = b.op("Add", &[&mixed, &narrow], Vec::new());
        let starts = b.starts()?;
        let count = b.op("Shape", &[&starts], Vec::new());
        let from = b.ints(&[0])?;
        Ok(b.op("Slice", &[&both, &from, &count], Vec::new()))
    }
}

/// What the learned question takes from the patches of each picture, `[pictures, hidden]`.
fn answer(b: &mut Builder<'_>, x: &str, head: &str) -> Result<String> {
    let (hidden, heads, positions) = (b.config.hidden, b.config.heads, b.config.positions);
    let size = b.config.head_width();
    let (weight, bias) =
        (format!("{head}attention.in_proj_weight"), format!("{head}attention.in_proj_bias"));
    let weights = b.values(&weight, &[3 * hidden, hidden])?;
    let biases = b.values(&bias, &[3 * hidden])?;
    let probe = b.values(&format!("{head}probe"), &[1, 1, hidden])?;
    let scale = 1.0 / (size as f32).sqrt();
    let question: Vec<f32> = weights
        .chunks_exact(hidden)
        .zip(&biases)
        .take(hidden)
        .map(|(row, bias)| {
            let sum: f32 = row.iter().zip(&probe).map(|(weight, value)| weight * value).sum();
            (sum + bias) * scale
        })
        .collect();
    let question =
        b.constant(&format!("{head}question"), &[heads, 1, size], question.into_iter())?;
    // MatMul takes `inputs × outputs`.
    let turned = (0..hidden * 2 * hidden)
        .map(|at| weights[(hidden + at % (2 * hidden)) * hidden + at / (2 * hidden)]);
    let turned: Vec<f32> = turned.collect();
    let matrix = b.constant(&weight, &[hidden, 2 * hidden], turned.into_iter())?;
    let bias = b.constant(&bias, &[2 * hidden], biases[hidden..].iter().copied())?;
    let both = b.op("Gemm", &[x, &matrix, &bias], Vec::new());
    let [keys, values] = b.split(&both, hidden)?;
    let by_head = b.ints(&[-1, positions as i64, heads as i64, size as i64])?;
    let keys = b.op("Reshape", &[&keys, &by_head], Vec::new());
    let keys = b.op("Transpose", &[&keys], vec![ints("perm", &[0, 2, 3, 1])]);
    let values = b.op("Reshape", &[&values, &by_head], Vec::new());
    let values = b.op("Transpose", &[&values], vec![ints("perm", &[0, 2, 1, 3])]);
    let scores = b.op("MatMul", &[&question, &keys], Vec::new());
    let shares = b.op("Softmax", &[&scores], vec![int("axis", -1)]);
    let mixed = b.op("MatMul", &[&shares, &values], Vec::new());
    let flat = b.ints(&[-1, hidden as i64])?;
    Ok(b.op("Reshape", &[&mixed, &flat], Vec::new()))
}
