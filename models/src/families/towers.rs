//! Models that take images: two towers, one for texts and one for images, whose vectors lie in one
//! space, or one for images alone.
//!
//! Each tower is a [`Transformer`]; what only towers have is here: which tokens a text's vector is
//! made of, how an image is cut into patches, and the projection into the common space. A directory
//! may hold both towers or one of them. To add a family, write its file beside this one and put it
//! on [`FAMILIES`].

use std::path::Path;

use serde_json::Value;

use super::{Architecture, Transformer, clip, dinov2, siglip};
use crate::config::{Keys, Size, TransformerConfig};
use crate::graph::encoder::{self, LayerNames, layer_normalised_first};
use crate::graph::{AttentionKind, Builder, Norm};
use crate::images::Defaults;
use crate::inputs::Extent;
use crate::pool::{Dense, TorchActivation};
use crate::weights::Weights;
use crate::{ModelError, Result};

/// Every family that takes images.
pub(super) static FAMILIES: &[&TowerFamily] = &[&clip::FAMILY, &siglip::FAMILY, &dinov2::FAMILY];

/// Pixels on the side of a picture that a graph is built for.
const SIDE_MAX: usize = 4096;

/// Patches of a picture that a graph is built for.
const PATCHES_MAX: usize = 1 << 14;

/// The name in the weights that a text tower is found by.
const TEXT_ANCHOR: &str = "embeddings.token_embedding.weight";

/// A family of towers.
pub(super) struct TowerFamily {
    /// What takes texts, where it does.
    pub(super) texts: Option<TextFamily>,
    /// The `model_type` of the image tower alone.
    pub(super) image: &'static str,
    /// Checks the configuration of the image tower; the second is that of the whole directory.
    pub(super) read_image: fn(&Keys<'_>, &Keys<'_>) -> Result<ImageTower>,
}

/// The part of a family that takes texts.
pub(super) struct TextFamily {
    /// The `model_type` of a directory with both towers.
    pub(super) both: &'static str,
    /// The `model_type` of the text tower alone.
    pub(super) alone: &'static str,
    /// Checks the configuration of the text tower; the second is that of the whole directory.
    pub(super) read: fn(&Keys<'_>, &Keys<'_>) -> Result<TextTower>,
}

impl TowerFamily {
    fn model_types(&self) -> impl Iterator<Item = &'static str> {
        let texts = self.texts.iter().flat_map(|texts| [texts.both, texts.alone]);
        texts.chain([self.image])
    }
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
    /// Whether it takes pictures of another size, for which its positions are interpolated.
    pub(crate) resizes: bool,
}

impl ImageTower {
    /// The tower for pictures of that size, if it takes them.
    ///
    /// # Errors
    /// What is wrong with the size, in words that go after a path.
    pub(crate) fn seeing(mut self, (width, height): (u64, u64)) -> Result<Self, String> {
        let side = self.side as u64;
        if (width, height) == (side, side) {
            return Ok(self);
        }
        if !self.resizes || width != height {
            return Err(format!(
                "gives pictures of {width} x {height}; the model sees {side} x {side}"
            ));
        }
        self.side = usize::try_from(width).unwrap_or(SIDE_MAX);
        let patches = (self.side / self.patch).pow(2);
        if patches == 0 || patches > PATCHES_MAX {
            return Err(format!(
                "gives pictures of {patches} patches ({width} x {height} pixels); they must have 1 to {PATCHES_MAX}"
            ));
        }
        self.transformer.config.positions = patches + self.leading;
        Ok(self)
    }
}

/// The towers of a directory: at least one.
#[derive(Debug)]
pub(crate) struct Towers {
    pub(crate) text: Option<TextTower>,
    pub(crate) image: Option<ImageTower>,
    /// Whether they are all that the model has: no other tower's vectors lie in the same space.
    pub(crate) are_whole: bool,
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
        let family = FAMILIES.iter().find(|family| family.model_types().any(|own| own == found));
        let family = family.ok_or_else(|| super::unknown_type(&outer, found))?;
        let texts = match &family.texts {
            Some(texts) if found != family.image => texts,
            texts => {
                let image = Some((family.read_image)(&outer, &outer)?);
                return Ok(Self { text: None, image, are_whole: texts.is_none() });
            }
        };
        if found == texts.alone {
            let text = Some((texts.read)(&outer, &outer)?);
            return Ok(Self { text, image: None, are_whole: false });
        }
        let empty = Value::Object(serde_json::Map::new());
        let part = |key: &str| value.get(key).filter(|part| part.is_object()).unwrap_or(&empty);
        let text = Keys { value: part("text_config"), path };
        let image = Keys { value: part("vision_config"), path };
        Ok(Self {
            text: Some((texts.read)(&text, &outer)?),
            image: Some((family.read_image)(&image, &outer)?),
            are_whole: true,
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
    FAMILIES.iter().flat_map(|family| family.model_types())
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
    let patches = (side / patch).pow(2);
    if patches > PATCHES_MAX {
        return Err(keys.bad(format!(
            "image_size {side} and patch_size {patch} make {patches} patches of a picture; at most {PATCHES_MAX} are supported"
        )));
    }
    config.positions = patches + leading;
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
    let name = format!("{prefix}embeddings.position_embedding.weight");
    let mut table = b.values(&name, &[positions, hidden])?;
    if let Some(first) = first {
        // The row of zeros before the patches becomes this.
        let vector = b.values(first, &[hidden])?;
        table.iter_mut().zip(vector).for_each(|(value, add)| *value += add);
    }
    let kernels = format!("{prefix}embeddings.patch_embedding");
    placed(b, &kernels, has_bias, (&name, table))
}

/// The vectors of all patches, made by the layer `kernels`, with those of a table added that has
/// one for each place of a picture.
pub(super) fn placed(
    b: &mut Builder<'_>,
    kernels: &str,
    has_bias: bool,
    (name, table): (&str, Vec<f32>),
) -> Result<String> {
    let (hidden, positions) = (b.config.hidden, b.config.positions);
    let width = b.config.patch_width.unwrap_or_default();
    let x = b.linear("patches", &[(kernels, hidden)], width, has_bias, None)?;
    let table = b.constant(name, &[positions, hidden], table.into_iter())?;
    let by_picture = b.ints(&[-1, positions as i64, hidden as i64])?;
    let x = b.op("Reshape", &[&x, &by_picture], Vec::new());
    let x = b.op("Add", &[&x, &table], Vec::new());
    let flat = b.ints(&[-1, hidden as i64])?;
    Ok(b.op("Reshape", &[&x, &flat], Vec::new()))
}

/// The transformer of a text tower, from the words to the norm behind the last layer.
#[derive(Debug)]
pub(super) struct Words {
    /// Whether a token sees only those before it.
    pub(super) causal: bool,
}

impl Architecture for Words {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        let prefix = encoder::prefix(b.weights, TEXT_ANCHOR)?;
        let x = words(b, &prefix)?;
        let kind = AttentionKind { causal: self.causal, ..AttentionKind::default() };
        let x = layers(b, x, &prefix, &kind)?;
        norm(b, &x, &format!("{prefix}final_layer_norm"))
    }

    fn head(&self, b: &mut Builder<'_>, _x: &str) -> Result<String> {
        Err(ModelError::Unsupported(format!(
            "a model of type '{}' scores no pairs",
            b.config.model_type
        )))
    }
}

/// The norm of that name over whole rows.
pub(super) fn norm(b: &mut Builder<'_>, x: &str, name: &str) -> Result<String> {
    let width = b.config.hidden;
    b.norm(x, &Norm { name, width, shift: true })
}

/// The vectors of a text's words with their positions.
fn words(b: &mut Builder<'_>, prefix: &str) -> Result<String> {
    let (hidden, positions) = (b.config.hidden, b.config.positions);
    let x = b.words(&format!("{prefix}embeddings.token_embedding.weight"), hidden)?;
    let name = format!("{prefix}embeddings.position_embedding.weight");
    let table = b.tensor(&name, &[positions, hidden])?;
    let places = encoder::positions(b)?;
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
        x = layer_normalised_first(b, &x, &names, None, kind)?;
    }
    Ok(x)
}
