//! From a [`ModelSpec`] to the parts of a model: finds it, reads its layout, checks everything,
//! loads the backend. What is done with the parts is the model's.

use std::path::Path;

use crate::backends::{self, Backend, Facts, Output};
use crate::cache::VectorCache;
use crate::classifier::Classifier;
use crate::hub::Located;
use crate::info::{Contrast, InputKind, ModelInfo, ModelKind};
use crate::inputs::{Extent, Reading, Sequence, TextReader};
use crate::layout::{Layout, LayoutKind};
use crate::pool::{Head, Step, TorchActivation};
use crate::stats::Counters;
use crate::towers::{self, ImageSide, Parts};
use crate::{Device, ModelError, ModelSpec, Padding, Precision, Result, hub};

/// Changes when the arithmetic changes, so that remembered vectors of an older Sembla are not mixed
/// with newer ones.
const ARITHMETIC: &str = "sembla-arithmetic-1";

/// The parts of a loaded model: at least one side.
pub(crate) struct Loaded {
    pub(crate) info: ModelInfo,
    pub(crate) text: Option<TextSide>,
    pub(crate) image: Option<ImageSide>,
    pub(crate) classifier: Option<Classifier>,
    pub(crate) cache: Option<VectorCache>,
    pub(crate) counters: Counters,
}

/// The part of a model that takes texts, or pairs of them.
pub(crate) struct TextSide {
    pub(crate) reader: TextReader,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) finish: Finish,
}

impl Loaded {
    /// The part that takes texts.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a model of images alone.
    pub(crate) fn text(&self) -> Result<&TextSide> {
        self.text.as_ref().ok_or_else(|| {
            ModelError::Unsupported(format!(
                "model '{}' takes images only; use embed_image, or a model that takes texts too",
                self.info.name
            ))
        })
    }
}

/// What becomes of a backend's output.
pub(crate) enum Finish {
    /// A vector, by pooling and what follows it.
    Vector(Head),
    /// Scores: the logits through an activation.
    Scores(TorchActivation),
}

impl Finish {
    /// The row of one sequence.
    pub(crate) fn row(&self, sequence: &Sequence, output: Output<'_>) -> Vec<f32> {
        match (self, output) {
            (Self::Vector(head), Output::Tokens { values, width }) => {
                head.apply(values, width, sequence.skip)
            }
            (Self::Vector(head), Output::Whole(values)) => head.finish(values.to_vec()),
            (Self::Scores(activation), Output::Tokens { values, .. } | Output::Whole(values)) => {
                values.iter().map(|logit| activation.apply(*logit)).collect()
            }
        }
    }
}

/// Loads a model. `profile` is the folder where its backend writes how long its operators take.
///
/// # Errors
/// Any [`ModelError`] that concerns files, options, the device, the hub or ONNX Runtime.
pub(crate) fn load(spec: &ModelSpec, profile: Option<&Path>) -> Result<Loaded> {
    let (found, layout) = locate(spec)?;
    if layout.kind == LayoutKind::Towers {
        return load_towers(spec, &found, &layout);
    }
    let Prepared { found, layout, reader, max_length } = prepare_texts(spec, found, layout)?;
    let backend = backends::load(&layout, spec, &reader, &found.name, profile)?;
    let facts = backend.facts();
    let head = Head {
        pooling: if facts.pooled { Vec::new() } else { layout.pooling.clone() },
        steps: layout.steps.iter().skip(usize::from(facts.normalised)).cloned().collect(),
        truncate_dim: spec.truncate_dim.or(layout.truncate_dim),
        normalize: spec.normalize,
    };
    check_head(&head, facts.width, &layout)?;
    let (kind, takes) = match layout.kind {
        LayoutKind::Static { .. } => (ModelKind::Static, InputKind::Text),
        LayoutKind::CrossEncoder => (ModelKind::CrossEncoder, InputKind::Pair),
        LayoutKind::Encoder | LayoutKind::Towers => (ModelKind::Encoder, InputKind::Text),
    };
    let dimension = if kind == ModelKind::CrossEncoder { 0 } else { head.dimension(facts.width) };
    let normalized = head.gives_unit_length();
    let known =
        Known { kind, takes, dimension, normalized, max_length, is_whole: true, contrast: None };
    let info = describe(&found, &layout, spec, facts, known)?;
    let cache = cache(spec, &info)?;
    let finish = match info.kind {
        ModelKind::CrossEncoder => {
            let one = info.labels == 1;
            let usual = if one { TorchActivation::Sigmoid } else { TorchActivation::Identity };
            Finish::Scores(layout.activation.unwrap_or(usual))
        }
        ModelKind::Encoder | ModelKind::Static => Finish::Vector(head),
    };
    let text = Some(TextSide { reader, backend, finish });
    let classifier = Classifier::read(spec, &info)?;
    Ok(Loaded { counters: Counters::new(&info.name), info, text, image: None, classifier, cache })
}

/// Loads a model of texts and images.
fn load_towers(spec: &ModelSpec, found: &Located, layout: &Layout) -> Result<Loaded> {
    let Parts { text, image, are_whole, contrast, model_type, parameters } =
        towers::load(layout, spec, &found.name)?;
    let text_facts = text.as_ref().map(|text| (text.backend.facts(), &text.head));
    let image_facts = image.as_ref().map(|image| (image.engine.facts(), &image.head));
    let (facts, head) = text_facts
        .or(image_facts)
        .ok_or_else(|| ModelError::Bug("a model of towers has none".into()))?;
    let facts = Facts { architecture: model_type, parameters, ..facts.clone() };
    for (facts, head) in text_facts.iter().chain(&image_facts) {
        check_head(head, facts.width, layout)?;
    }
    let takes = match (&text, &image) {
        (Some(_), Some(_)) => InputKind::TextOrImage,
        (None, _) => InputKind::Image,
        (_, None) => InputKind::Text,
    };
    let known = Known {
        kind: ModelKind::Encoder,
        takes,
        dimension: head.dimension(facts.width),
        normalized: head.gives_unit_length(),
        max_length: text.as_ref().map(|text| text.max_length),
        is_whole: are_whole,
        contrast,
    };
    let info = describe(found, layout, spec, &facts, known)?;
    let cache = cache(spec, &info)?;
    let text = text.map(|text| TextSide {
        reader: text.reader,
        backend: text.backend,
        finish: Finish::Vector(text.head),
    });
    let classifier = Classifier::read(spec, &info)?;
    Ok(Loaded { counters: Counters::new(&info.name), info, text, image, classifier, cache })
}

/// The cache of a model that gives vectors, where the user wants one.
fn cache(spec: &ModelSpec, info: &ModelInfo) -> Result<Option<VectorCache>> {
    check_truncation(spec, info.dimension, &info.name)?;
    match &spec.cache {
        Some(folder) if info.dimension > 0 => {
            VectorCache::open(folder, spec.cache_mib, &info.fingerprint).map(Some)
        }
        _ => Ok(None),
    }
}

/// What is known of a model once its parts are there.
struct Known {
    kind: ModelKind,
    takes: InputKind,
    /// Components of a vector; 0 for a cross-encoder.
    dimension: usize,
    /// Whether vectors have the length 1.
    normalized: bool,
    max_length: Option<usize>,
    /// Whether no other model's vectors lie in the same space.
    is_whole: bool,
    contrast: Option<Contrast>,
}

/// A model that is found and understood; its weights are not read yet.
pub(crate) struct Prepared {
    pub(crate) found: Located,
    pub(crate) layout: Layout,
    pub(crate) reader: TextReader,
    /// The longest input in tokens.
    pub(crate) max_length: Option<usize>,
}

/// Finds a model and reads everything but its weights.
///
/// # Errors
/// As [`load`].
pub(crate) fn prepare(spec: &ModelSpec) -> Result<Prepared> {
    let (found, layout) = locate(spec)?;
    if layout.kind == LayoutKind::Towers {
        return Err(ModelError::Unsupported(format!(
            "model '{}' is one of texts and images, which can only be run",
            found.name
        )));
    }
    prepare_texts(spec, found, layout)
}

/// Finds a model and reads what its directory says.
fn locate(spec: &ModelSpec) -> Result<(Located, Layout)> {
    let found = hub::find(&spec.source)?;
    let layout = Layout::read(&found.path)?;
    Ok((found, layout))
}

/// Reads the tokenizer of a model of texts alone.
fn prepare_texts(spec: &ModelSpec, found: Located, layout: Layout) -> Result<Prepared> {
    let limit = backends::length_limit(&layout, spec, &found.name)?;
    let max_length = spec.longest_input(layout.max_length, limit, &found.name)?;
    let reading = Reading {
        max_length,
        add_special_tokens: !matches!(layout.kind, LayoutKind::Static { .. }),
        lowercase: layout.lowercase,
        pools_prompt: layout.include_prompt,
        reads_beginning: layout.kind == LayoutKind::Static { model2vec: true },
        extent: Extent::All,
        padding_token: None,
    };
    let reader = TextReader::load(&layout.tokenizer, &found.name, reading)?;
    Ok(Prepared { found, layout, reader, max_length })
}

/// What users see of a model.
fn describe(
    found: &Located,
    layout: &Layout,
    spec: &ModelSpec,
    facts: &Facts,
    known: Known,
) -> Result<ModelInfo> {
    let Known { kind, takes, dimension, normalized, max_length, is_whole, contrast } = known;
    let (fingerprint, space) = fingerprint(layout, spec, facts.precision, max_length)?;
    Ok(ModelInfo {
        name: found.name.clone(),
        path: found.path.clone(),
        kind,
        takes,
        architecture: facts.architecture.clone(),
        dimension,
        labels: if kind == ModelKind::CrossEncoder { facts.labels } else { 0 },
        max_length,
        similarity: layout.similarity,
        contrast,
        precision: facts.precision,
        device: spec.device,
        prompts: layout.prompts.clone().into_iter().collect(),
        default_prompt: layout.default_prompt.clone(),
        fingerprint,
        space: is_whole.then_some(space),
        normalized,
        parameters: facts.parameters,
    })
}

/// The steps after the transformer must fit its width.
fn check_head(head: &Head, width: usize, layout: &Layout) -> Result<()> {
    let mut current = width * head.pooling.len().max(1);
    for step in &head.steps {
        if let Step::Dense(dense) = step {
            if dense.inputs != current {
                return Err(ModelError::file(
                    &layout.root,
                    format!("has a Dense layer for {} components after {current}", dense.inputs),
                ));
            }
            current = dense.outputs;
        }
    }
    Ok(())
}

fn check_truncation(spec: &ModelSpec, dimension: usize, name: &str) -> Result<()> {
    match spec.truncate_dim {
        Some(wanted) if dimension > 0 && wanted > dimension => Err(ModelError::BadOption(format!(
            "truncate_dim must be at most {dimension}, the components of model '{name}', got {wanted}"
        ))),
        _ => Ok(()),
    }
}

/// The hash of everything that decides a vector, and that of the files alone.
fn fingerprint(
    layout: &Layout,
    spec: &ModelSpec,
    precision: Precision,
    max_length: Option<usize>,
) -> Result<(String, String)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ARITHMETIC.as_bytes());
    let mut files = layout.files();
    files.sort();
    for path in files {
        hash_file(&mut hasher, &path)?;
    }
    let space = hasher.finalize().to_hex().to_string();
    let kind = if spec.device == Device::Cpu { "Cpu" } else { "Cuda" };
    let settings =
        format!("{precision} {kind} {max_length:?} {:?} {}", spec.truncate_dim, spec.normalize);
    hasher.update(settings.as_bytes());
    if spec.padding != Padding::None {
        hasher.update(b"padding");
    }
    if layout.kind == LayoutKind::Towers {
        hasher.update(format!("exif_orientation {}", spec.exif_orientation).as_bytes());
    }
    Ok((hasher.finalize().to_hex().to_string(), space))
}

fn hash_file(hasher: &mut blake3::Hasher, path: &Path) -> Result<()> {
    let fail = |error| ModelError::io(path, error);
    let file = std::fs::File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    hasher.update(&length.to_le_bytes());
    hasher.update_reader(file).map_err(fail)?;
    Ok(())
}
