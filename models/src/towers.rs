//! Puts together the parts of a model that takes texts and images: two towers, or one of them.

use std::path::Path;

use crate::backends::{self, Backend, ImageEngine};
use crate::families::towers::{ImageTower, Projection, TextTower, Towers};
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
    /// Whether no other tower's vectors lie in the same space.
    pub(crate) are_whole: bool,
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
    let towers = Towers::parse(&layout.config, &layout.config_path)?;
    let (are_whole, has_texts) = (towers.are_whole, towers.text.is_some());
    let has_images = towers.image.is_some();
    let model_type = layout.config.get("model_type").and_then(|name| name.as_str());
    let source = Source { layout, spec, name };
    let (text, image, contrast, parameters) = match &layout.weights {
        WeightFile::Safetensors(folder) => {
            let weights = Weights::open(folder)?;
            let image = towers.image.map(|tower| source.images(tower, Graph::Of(&weights)));
            let text = towers.text.map(|tower| source.texts(tower, Graph::Of(&weights)));
            let contrast = contrast(&weights)?;
            (text.transpose()?, image.transpose()?, contrast, weights.parameters())
        }
        WeightFile::Towers { text, image } => {
            let image = towers.image.zip(image.as_deref());
            let image = image.map(|(tower, path)| source.images(tower, Graph::At(path)));
            let text = towers.text.zip(text.as_deref());
            let text = text.map(|(tower, path)| source.texts(tower, Graph::At(path)));
            (text.transpose()?, image.transpose()?, None, 0)
        }
        WeightFile::Onnx(path) => {
            return Err(ModelError::file(
                path,
                "is one graph of a model of texts and images; name its directory, with onnx/text_model.onnx and onnx/vision_model.onnx",
            ));
        }
    };
    if text.is_none() && image.is_none() {
        return Err(ModelError::file(&layout.root, "has no graph of the tower that it is"));
    }
    // A directory of graphs may lack one.
    let is_all = text.is_some() == has_texts && image.is_some() == has_images;
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
        are_whole: are_whole && is_all,
        contrast,
        model_type: model_type.unwrap_or_default().to_string(),
        parameters,
    })
}

/// Where the graph of a tower comes from.
#[derive(Clone, Copy)]
enum Graph<'a> {
    /// It is built of these weights.
    Of(&'a Weights),
    /// It lies in this ONNX file.
    At(&'a Path),
}

impl Graph<'_> {
    /// The layer behind the tower; a graph that is ready has it in it.
    fn layer(&self, projection: Option<&Projection>) -> Result<Option<Dense>> {
        match (self, projection) {
            (Self::Of(weights), Some(layer)) => layer.load(weights),
            _ => Ok(None),
        }
    }
}

/// What towers are loaded for.
struct Source<'a> {
    layout: &'a Layout,
    spec: &'a ModelSpec,
    name: &'a str,
}

impl Source<'_> {
    /// The tower for texts.
    fn texts(&self, tower: TextTower, graph: Graph<'_>) -> Result<TextPart> {
        let Self { layout, spec, name } = *self;
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
        let layer = graph.layer(Some(&projection))?;
        Ok(match graph {
            Graph::Of(weights) => TextPart {
                backend: backends::load_text_tower(
                    transformer,
                    weights,
                    layout,
                    spec,
                    &reader,
                    name,
                )?,
                head: head(vec![PoolingMode::LastToken], layer, layout, spec),
                reader,
                max_length,
            },
            Graph::At(path) => TextPart {
                backend: backends::load_text_graph(
                    path,
                    transformer.config.vocabulary,
                    layout,
                    spec,
                    &reader,
                    name,
                )?,
                head: head(Vec::new(), layer, layout, spec),
                reader,
                max_length,
            },
        })
    }

    /// The tower for images.
    fn images(&self, tower: ImageTower, graph: Graph<'_>) -> Result<ImageSide> {
        let Self { layout, spec, name } = *self;
        let folder = layout.config_path.parent().unwrap_or(Path::new(""));
        let path = folder.join("preprocessor_config.json");
        let wrong = |problem: String| ModelError::file(&path, problem);
        let preprocessing =
            Preprocessing::read(&layout.preprocessor, tower.defaults).map_err(wrong)?;
        let seen = preprocessing.seen().ok_or_else(|| {
            wrong(
                "gives pictures of any shape; it needs a crop or a size of height and width".into(),
            )
        })?;
        let tower = tower.seeing(seen).map_err(wrong)?;
        let head = head(Vec::new(), graph.layer(tower.projection.as_ref())?, layout, spec);
        let engine = match graph {
            Graph::Of(weights) => ImageEngine::load(tower, preprocessing, weights, spec, name)?,
            Graph::At(path) => {
                ImageEngine::load_graph(&tower, preprocessing, path, layout, spec, name)?
            }
        };
        Ok(ImageSide { engine, head })
    }
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
