//! Models of two towers, one for texts and one for images, whose vectors lie in one space.
//!
//! Each tower is a [`Transformer`]; what only towers have is here: which tokens a text's vector is
//! made of, how an image is cut into patches, and the projection into the common space. A directory
//! may hold both towers or one of them. To add a family, write its file beside this one and put it
//! on [`FAMILIES`].

use std::path::Path;

use serde_json::Value;

use super::{Transformer, clip, siglip};
use crate::config::{Keys, Size, TransformerConfig};
use crate::graph::encoder::{LayerNames, layer_normalised_first};
use crate::graph::{AttentionKind, Builder};
use crate::images::Defaults;
use crate::inputs::Extent;
use crate::pool::{Dense, TorchActivation};
use crate::weights::Weights;
use crate::{ModelError, Result};

/// Every family of two towers.
pub(super) static FAMILIES: &[&TowerFamily] = &[&clip::FAMILY, &siglip::FAMILY];

/// Pixels on the side of a picture that a graph is built for.
const SIDE_MAX: usize = 4096;

/// A family of two towers.
pub(super) struct TowerFamily {
    /// The `model_type` of a directory with both towers.
    pub(super) both: &'static str,
    /// The `model_type` of the text tower alone.
    pub(super) text: &'static str,
    /// The `model_type` of the image tower alone.
    pub(super) image: &'static str,
    /// Checks the configuration of the text tower; the second is that of the whole directory.
    pub(super) read_text: fn(&Keys<'_>, &Keys<'_>) -> Result<TextTower>,
    /// Checks the configuration of the image tower.
    pub(super) read_image: fn(&Keys<'_>, &Keys<'_>) -> Result<ImageTower>,
}

/// The layer that brings a tower's vector into the common space.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    /// The name of its tensors, without `.weight` and `.bias`.
    pub(super) name: String,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) has_bias: bool,
    /// Whether a model without it is one too.
    pub(super) is_optional: bool,
}

impl Projection {
    /// Reads its weights; `None` where there is none and needs to be none.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub(crate) fn load(&self, weights: &Weights) -> Result<Option<Dense>> {
        let Self { inputs, outputs, .. } = *self;
        let (weight, bias) = (format!("{}.weight", self.name), format!("{}.bias", self.name));
        if self.is_optional && !weights.contains(&weight) {
            return Ok(None);
        }
        Ok(Some(Dense {
            weight: weights.floats(&weight, &[outputs, inputs])?,
            bias: if self.has_bias { weights.floats(&bias, &[outputs])? } else { Vec::new() },
            inputs,
            outputs,
            activation: TorchActivation::Identity,
            folder: std::path::PathBuf::new(),
        }))
    }
}

/// The tower for texts.
#[derive(Debug)]
pub(crate) struct TextTower {
    pub(crate) transformer: Transformer,
    /// Which tokens of a text the tower sees.
    pub(crate) extent: Extent,
    pub(crate) projection: Projection,
}

/// The tower for images.
#[derive(Debug)]
pub(crate) struct ImageTower {
    pub(crate) transformer: Transformer,
    /// Pixels on the side of a picture.
    pub(crate) side: usize,
    /// Pixels on the side of a patch.
    pub(crate) patch: usize,
    /// Rows of zeros before the patches of a picture, for tokens that stand for all of it.
    pub(crate) leading: usize,
    pub(crate) projection: Option<Projection>,
    /// How pictures are made ready where no file says so.
    pub(crate) defaults: Defaults,
}

/// The towers of a directory: at least one.
#[derive(Debug)]
pub(crate) struct Towers {
    pub(crate) text: Option<TextTower>,
    pub(crate) image: Option<ImageTower>,
}

impl Towers {
    /// Whether a `config.json` is one of two towers, or of one of them.
    pub(crate) fn are_in(config: &Value) -> bool {
        let model_type = config.get("model_type").and_then(Value::as_str);
        model_type.is_some_and(|found| model_types().any(|known| known == found))
    }

    /// Whether such a model takes texts.
    pub(crate) fn take_texts(config: &Value) -> bool {
        let model_type = config.get("model_type").and_then(Value::as_str);
        FAMILIES.iter().all(|family| model_type != Some(family.image))
    }

    /// Checks the contents of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] that names the key.
    pub(crate) fn parse(value: &Value, path: &Path) -> Result<Self> {
        let outer = Keys { value, path };
        let found = outer.text("model_type")?.unwrap_or_default();
        let family = FAMILIES
            .iter()
            .find(|family| [family.both, family.text, family.image].contains(&found));
        let family = family.ok_or_else(|| super::unknown_type(&outer, found))?;
        if found == family.text {
            return Ok(Self { text: Some((family.read_text)(&outer, &outer)?), image: None });
        }
        if found == family.image {
            return Ok(Self { text: None, image: Some((family.read_image)(&outer, &outer)?) });
        }
        let empty = Value::Object(serde_json::Map::new());
        let part = |key: &str| value.get(key).filter(|part| part.is_object()).unwrap_or(&empty);
        let text = Keys { value: part("text_config"), path };
        let image = Keys { value: part("vision_config"), path };
        Ok(Self {
            text: Some((family.read_text)(&text, &outer)?),
            image: Some((family.read_image)(&image, &outer)?),
        })
    }

    /// The names of the tensors that quantised graphs take in 8 bits.
    ///
    /// # Errors
    /// The errors of building the graphs. No weights are read.
    pub(crate) fn quantisable(&self, weights: &Weights) -> Result<Vec<String>> {
        let text = self.text.iter().map(|tower| &tower.transformer);
        let image = self.image.iter().map(|tower| &tower.transformer);
        let mut names = Vec::new();
        for transformer in text.chain(image) {
            names.extend(transformer.quantisable(weights)?);
        }
        Ok(names)
    }
}

/// Every `model_type` of a tower.
pub(super) fn model_types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| [family.both, family.text, family.image])
}

/// Pixels on the side of a picture and of a patch, and the configuration of a tower that reads
/// `leading` tokens before the patches.
pub(super) fn read_image(
    keys: &Keys<'_>,
    spelling: &crate::config::Spelling,
    patch: usize,
    leading: usize,
) -> Result<(usize, usize, TransformerConfig)> {
    let side = keys.size(Size { keys: &["image_size"], default: 224 }, SIDE_MAX)?;
    let patch = keys.count("patch_size", patch, SIDE_MAX)?;
    let channels = keys.count("num_channels", 3, 64)?;
    if channels != 3 {
        return Err(keys.bad(format!("num_channels must be 3, got {channels}")));
    }
    if patch > side {
        return Err(keys.bad(format!("patch_size {patch} is above image_size {side}")));
    }
    let mut config = TransformerConfig::read(keys, spelling)?;
    config.positions = (side / patch).pow(2) + leading;
    config.patch_width = Some(channels * patch * patch);
    Ok((side, patch, config))
}

/// The vectors of all patches, with their positions. `first` names what stands before the patches
/// of each picture.
pub(super) fn patches(
    b: &mut Builder<'_>,
    prefix: &str,
    has_bias: bool,
    first: Option<&str>,
) -> Result<String> {
    let (hidden, positions) = (b.config.hidden, b.config.positions);
    let width = b.config.patch_width.unwrap_or_default();
    let kernels = format!("{prefix}embeddings.patch_embedding");
    let x = b.linear("patches", &[(&kernels, hidden)], width, has_bias, None)?;
    let name = format!("{prefix}embeddings.position_embedding.weight");
    let mut table = b.values(&name, &[positions, hidden])?;
    if let Some(first) = first {
        // The row of zeros before the patches becomes this.
        let vector = b.values(first, &[hidden])?;
        table.iter_mut().zip(vector).for_each(|(value, add)| *value += add);
    }
    let table = b.constant(&name, &[positions, hidden], table.into_iter())?;
    let by_picture = b.ints(&[-1, positions as i64, hidden as i64])?;
    let x = b.op("Reshape", &[&x, &by_picture], Vec::new());
    let x = b.op("Add", &[&x, &table], Vec::new());
    let flat = b.ints(&[-1, hidden as i64])?;
    Ok(b.op("Reshape", &[&x, &flat], Vec::new()))
}

/// The vectors of a text's words with their positions.
pub(super) fn words(b: &mut Builder<'_>, prefix: &str) -> Result<String> {
    let (hidden, positions) = (b.config.hidden, b.config.positions);
    let x = b.words(&format!("{prefix}embeddings.token_embedding.weight"), hidden)?;
    let name = format!("{prefix}embeddings.position_embedding.weight");
    let table = b.tensor(&name, &[positions, hidden])?;
    let places = crate::graph::encoder::positions(b)?;
    let places = b.op("Gather", &[&table, &places], Vec::new());
    Ok(b.op("Add", &[&x, &places], Vec::new()))
}

/// All layers.
pub(super) fn layers(
    b: &mut Builder<'_>,
    mut x: String,
    prefix: &str,
    kind: &AttentionKind,
) -> Result<String> {
    for layer in 0..b.config.layers {
        let layer = format!("{prefix}encoder.layers.{layer}.");
        let names = LayerNames {
            query: format!("{layer}self_attn.q_proj"),
            key: format!("{layer}self_attn.k_proj"),
            value: format!("{layer}self_attn.v_proj"),
            attention_output: format!("{layer}self_attn.out_proj"),
            attention_norm: format!("{layer}layer_norm1"),
            up: format!("{layer}mlp.fc1"),
            down: format!("{layer}mlp.fc2"),
            output_norm: format!("{layer}layer_norm2"),
        };
        x = layer_normalised_first(b, &x, &names, kind)?;
    }
    Ok(x)
}

/// The error of a task that a tower doesn't have.
pub(super) fn no_such_head(b: &Builder<'_>) -> ModelError {
    ModelError::Unsupported(format!("a model of type '{}' scores no pairs", b.config.model_type))
}
