//! Puts together the parts of a model that takes texts and images: two towers, or one of them.

use std::path::Path;

use crate::backends::{self, Backend, ImageEngine};
use crate::families::towers::{ImageTower, TextTower, Towers};
use crate::images::Preprocessing;
use crate::info::Contrast;
use crate::inputs::{Reading, TextReader};
use crate::layout::{Layout, WeightFile};
use crate::pool::{Dense, Head, PoolingMode, Step};
use crate::weights::Weights;
use crate::{ModelError, ModelSpec, Result};

/// The part of a model that takes images.
pub(crate) struct ImageSide {
    pub(crate) engine: ImageEngine,
    pub(crate) head: Head,
}

/// The part of a model that takes texts, before what follows it is put behind it.
pub(crate) struct TextPart {
    pub(crate) reader: TextReader,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) head: Head,
    pub(crate) max_length: usize,
}

/// The parts of a model of towers.
pub(crate) struct Parts {
    pub(crate) text: Option<TextPart>,
    pub(crate) image: Option<ImageSide>,
    pub(crate) contrast: Option<Contrast>,
    pub(crate) model_type: String,
    pub(crate) parameters: u64,
}

/// Loads the towers of a layout.
///
/// # Errors
/// Files that don't fit each other, a precision or device that can't be had, ONNX Runtime's
/// refusal.
pub(crate) fn load(layout: &Layout, spec: &ModelSpec, name: &str) -> Result<Parts> {
    let WeightFile::Safetensors(folder) = &layout.weights else {
        return Err(ModelError::file(
            &layout.root,
            "has no model.safetensors, which models of texts and images need",
        ));
    };
    let towers = Towers::parse(&layout.config, &layout.config_path)?;
    let weights = Weights::open(folder)?;
    let model_type = layout.config.get("model_type").and_then(|name| name.as_str());
    let image =
        towers.image.map(|tower| images(tower, layout, spec, &weights, name)).transpose()?;
    let text = towers.text.map(|tower| texts(tower, layout, spec, &weights, name)).transpose()?;
    if let (Some(text), Some(image)) = (&text, &image) {
        let (text, image) = (
            text.head.dimension(text.backend.facts().width),
            image.head.dimension(image.engine.facts().width),
        );
        if text != image {
            return Err(ModelError::file(
                &layout.config_path,
                format!(
                    "gives texts {text} components and images {image}; they must lie in one space"
                ),
            ));
        }
    }
    Ok(Parts {
        text,
        image,
        contrast: contrast(&weights)?,
        model_type: model_type.unwrap_or_default().to_string(),
        parameters: weights.parameters(),
    })
}

/// The tower for texts.
fn texts(
    tower: TextTower,
    layout: &Layout,
    spec: &ModelSpec,
    weights: &Weights,
    name: &str,
) -> Result<TextPart> {
    let TextTower { transformer, extent, projection } = tower;
    let limit = transformer.config.max_tokens();
    let max_length = spec.longest_input(layout.max_length, Some(limit), name)?.unwrap_or(limit);
    let reading = Reading {
        max_length: Some(max_length),
        add_special_tokens: true,
        lowercase: layout.lowercase,
        pools_prompt: true,
        reads_beginning: false,
        extent,
        padding_token: layout.padding_token.clone(),
    };
    let reader = TextReader::load(&layout.tokenizer, name, reading)?;
    let head = head(vec![PoolingMode::LastToken], projection.load(weights)?, layout, spec);
    let backend = backends::load_text_tower(transformer, weights, layout, spec, &reader, name)?;
    Ok(TextPart { reader, backend, head, max_length })
}

/// The tower for images.
fn images(
    tower: ImageTower,
    layout: &Layout,
    spec: &ModelSpec,
    weights: &Weights,
    name: &str,
) -> Result<ImageSide> {
    let folder = layout.config_path.parent().unwrap_or(Path::new(""));
    let path = folder.join("preprocessor_config.json");
    let preprocessing = Preprocessing::read(&layout.preprocessor, tower.defaults)
        .map_err(|problem| ModelError::file(&path, problem))?;
    let side = tower.side as u64;
    match preprocessing.seen() {
        Some((width, height)) if (width, height) == (side, side) => {}
        Some((width, height)) => {
            return Err(ModelError::file(
                &path,
                format!("gives pictures of {width} x {height}; the model sees {side} x {side}"),
            ));
        }
        None => {
            return Err(ModelError::file(
                &path,
                "gives pictures of any shape; it needs a crop or a size of height and width",
            ));
        }
    }
    let projection = tower.projection.as_ref().map(|layer| layer.load(weights)).transpose()?;
    let head = head(Vec::new(), projection.flatten(), layout, spec);
    Ok(ImageSide { engine: ImageEngine::load(tower, preprocessing, weights, spec, name)?, head })
}

/// What follows a tower.
fn head(
    pooling: Vec<PoolingMode>,
    projection: Option<Dense>,
    layout: &Layout,
    spec: &ModelSpec,
) -> Head {
    let mut steps: Vec<Step> = projection.map(Step::Dense).into_iter().collect();
    steps.extend(layout.steps.iter().cloned());
    Head {
        pooling,
        steps,
        truncate_dim: spec.truncate_dim.or(layout.truncate_dim),
        normalize: spec.normalize,
    }
}

/// How a pair is scored, where the weights say so.
fn contrast(weights: &Weights) -> Result<Option<Contrast>> {
    let number = |name: &str| -> Result<Option<f32>> {
        let Some(shape) = weights.shape(name) else { return Ok(None) };
        let value = weights.floats(name, shape)?.first().copied();
        match value.filter(|value| value.is_finite()) {
            Some(value) => Ok(Some(value)),
            None => Err(ModelError::file(weights.path(), format!("tensor '{name}' is no number"))),
        }
    };
    let Some(scale) = number("logit_scale")? else { return Ok(None) };
    Ok(Some(Contrast { scale: scale.exp(), bias: number("logit_bias")? }))
}
