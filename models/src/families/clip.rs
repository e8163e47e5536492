//! CLIP: a text tower with causal attention whose end token stands for the text, an image tower
//! with a token that stands for the picture, and a projection behind each.
//!
//! These are the models of OpenAI, and those of OpenCLIP in the form of Hugging Face.

use super::towers::{self, ImageTower, Projection, TextFamily, TextTower, TowerFamily, Words};
use super::{Architecture, Transformer};
use crate::Result;
use crate::config::{Keys, Size, Spelling, TransformerConfig};
use crate::graph::encoder;
use crate::graph::{AttentionKind, Builder};
use crate::images::Defaults;
use crate::inputs::Extent;

pub(super) static FAMILY: TowerFamily = TowerFamily {
    texts: Some(TextFamily { both: "clip", alone: "clip_text_model", read: read_text }),
    image: "clip_vision_model",
    read_image,
};

const TEXT: Spelling = Spelling {
    hidden: Size { keys: &["hidden_size"], default: 512 },
    heads: Size { keys: &["num_attention_heads"], default: 8 },
    intermediate: Size { keys: &["intermediate_size"], default: 2048 },
    vocabulary: 49408,
    positions: 77,
    activation_default: "quick_gelu",
    norm_epsilon_default: 1e-5,
    ..Spelling::BERT
};

const IMAGE: Spelling =
    Spelling { activation_default: "quick_gelu", norm_epsilon_default: 1e-5, ..Spelling::BERT };

/// The end token that older configurations name by mistake; the library takes the largest id then.
const OLD_END: usize = 2;

/// The means and deviations of the pictures that OpenAI trained on.
const DEFAULTS: Defaults = Defaults {
    crops: true,
    side: 224,
    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
    deviation: [0.268_629_54, 0.261_302_58, 0.275_777_11],
};

/// The name in the weights that the image tower is found by.
const IMAGE_ANCHOR: &str = "embeddings.patch_embedding.weight";

#[derive(Debug)]
struct Image;

fn projection(name: &str, keys: &Keys<'_>, outer: &Keys<'_>, inputs: usize) -> Result<Projection> {
    let is_optional = std::ptr::eq(keys.value, outer.value);
    let outputs = outer.count("projection_dim", 512, 1 << 16)?;
    Ok(Projection { name: name.to_string(), inputs, outputs, has_bias: false, is_optional })
}

fn read_text(keys: &Keys<'_>, outer: &Keys<'_>) -> Result<TextTower> {
    let config = TransformerConfig::read(keys, &TEXT)?;
    let end = keys.number("eos_token_id", 49407, 1 << 24)?;
    let end = u32::try_from(end).ok().filter(|_| end != OLD_END);
    let projection = projection("text_projection", keys, outer, config.hidden)?;
    let transformer = Transformer::new(config, Words { causal: true });
    Ok(TextTower { transformer, extent: Extent::UpTo(end), projection })
}

fn read_image(keys: &Keys<'_>, outer: &Keys<'_>) -> Result<ImageTower> {
    let (side, patch, config) = towers::read_image(keys, &IMAGE, 32, 1)?;
    let projection = Some(projection("visual_projection", keys, outer, config.hidden)?);
    let transformer = Transformer::new(config, Image);
    let defaults = Defaults { side, ..DEFAULTS };
    Ok(ImageTower { transformer, side, patch, leading: 1, projection, defaults, resizes: false })
}

impl Architecture for Image {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        let prefix = encoder::prefix(b.weights, IMAGE_ANCHOR)?;
        let first = format!("{prefix}embeddings.class_embedding");
        let x = towers::patches(b, &prefix, false, Some(&first))?;
        // The name is misspelt in the weights.
        let x = towers::norm(b, &x, &format!("{prefix}pre_layrnorm"))?;
        towers::layers(b, x, &prefix, &AttentionKind::default())
    }

    /// The vector of each picture's first token, normalised.
    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String> {
        let prefix = encoder::prefix(b.weights, IMAGE_ANCHOR)?;
        let first = b.first_tokens(x)?;
        towers::norm(b, &first, &format!("{prefix}post_layernorm"))
    }
}
