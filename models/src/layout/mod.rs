//! What a model directory says about itself: its modules, pooling, prompts, limits and where its
//! weights are.
//!
//! Reads the layouts of Sentence-Transformers (old and new spellings), of plain Hugging Face
//! transformers, of model2vec, and a bare `.onnx` beside a `tokenizer.json`. Reading the weights
//! and building a graph is left to others.

mod modules;
mod multi_vector;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use self::modules::{dense, pooling_modes};
use crate::families::towers::Towers;
use crate::info::Similarity;
use crate::pool::{PoolingMode, Step, TorchActivation};
use crate::weights::Weights;
use crate::{ModelError, Result};

/// The largest JSON configuration that is read.
const CONFIG_BYTES_MAX: u64 = 16 << 20;

/// The folder of a model directory that decides no vector: it holds the classifier.
pub(crate) const CLASSIFIER: &str = "classifier";

/// What kind of model the directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayoutKind {
    /// A table of token vectors, in model2vec's form (unknown tokens are left out) or
    /// Sentence-Transformers'.
    Static {
        /// Whether model2vec's rules apply.
        model2vec: bool,
    },
    /// A transformer with pooling.
    Encoder,
    /// A transformer that scores pairs.
    CrossEncoder,
    /// A transformer for texts, one for images, or both into one space.
    Towers,
}

/// Where the numbers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WeightFile {
    /// The folder that holds `model.safetensors` (or its index).
    Safetensors(PathBuf),
    /// An ONNX graph.
    Onnx(PathBuf),
    /// An ONNX graph for each tower that is there.
    Towers {
        /// Of texts.
        text: Option<PathBuf>,
        /// Of images.
        image: Option<PathBuf>,
    },
}

/// A model directory, understood but not loaded.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) kind: LayoutKind,
    pub(crate) weights: WeightFile,
    /// `tokenizer.json`; empty where the model takes no texts.
    pub(crate) tokenizer: PathBuf,
    /// The token that `tokenizer_config.json` names as padding.
    pub(crate) padding_token: Option<String>,
    /// How images are made ready; `Value::Null` where no file says so.
    pub(crate) preprocessor: Value,
    /// `config.json` of the transformer; `Value::Null` where there is none.
    pub(crate) config: Value,
    pub(crate) config_path: PathBuf,
    pub(crate) max_length: Option<usize>,
    pub(crate) lowercase: bool,
    pub(crate) pooling: Vec<PoolingMode>,
    /// Whether the prompt's tokens take part in pooling.
    pub(crate) include_prompt: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) truncate_dim: Option<usize>,
    pub(crate) similarity: Similarity,
    pub(crate) prompts: BTreeMap<String, String>,
    pub(crate) default_prompt: Option<String>,
    /// A cross-encoder's saved activation.
    pub(crate) activation: Option<TorchActivation>,
}

impl Layout {
    /// Reads a directory, or a single `.onnx` file with its neighbours.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] naming the file that is missing, torn or says something that
    /// can't be done.
    pub(crate) fn read(source: &Path) -> Result<Self> {
        if source.is_file() {
            return Self::bare_onnx(source);
        }
        let modules = json_file(&source.join("modules.json"))?;
        let folder = match &modules {
            Some(modules) => first_module_folder(source, modules)?,
            None => source.to_path_buf(),
        };
        let config_path = folder.join("config.json");
        let config = json_file(&config_path)?.unwrap_or(Value::Null);
        let settings = json_file(&source.join("config_sentence_transformers.json"))?;
        let settings = settings.unwrap_or(Value::Null);
        multi_vector::refuse(source, &folder, modules.as_ref(), &config, &settings)?;
        let kind = kind(modules.as_ref(), &config, &settings, &folder);
        let weights = find_weights(&folder, kind)?;
        let takes_texts = match &weights {
            WeightFile::Towers { text, .. } => text.is_some(),
            _ => kind != LayoutKind::Towers || Towers::take_texts(&config),
        };
        let mut layout = Self {
            root: source.to_path_buf(),
            kind,
            weights,
            tokenizer: if takes_texts { find_tokenizer(source, &folder)? } else { PathBuf::new() },
            padding_token: None,
            preprocessor: match kind {
                LayoutKind::Towers => preprocessor(&folder)?,
                _ => Value::Null,
            },
            max_length: None,
            lowercase: false,
            pooling: Vec::new(),
            include_prompt: true,
            steps: Vec::new(),
            truncate_dim: whole(&settings, "truncate_dim"),
            similarity: similarity(&settings, source)?,
            prompts: prompts(&settings),
            default_prompt: text(&settings, "default_prompt_name"),
            activation: cross_encoder_activation(&settings, &config, &config_path)?,
            config,
            config_path,
        };
        layout.read_limits(&folder)?;
        match &modules {
            Some(modules) => layout.read_modules(modules)?,
            None if kind == LayoutKind::Encoder => layout.pooling = vec![PoolingMode::Mean],
            None => {}
        }
        if layout.kind == (LayoutKind::Static { model2vec: true }) {
            layout.read_model2vec();
        }
        Ok(layout)
    }

    /// Every file that decides what the model computes.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.tokenizer.clone(), self.config_path.clone()];
        let mut folders = vec![self.root.clone()];
        match &self.weights {
            WeightFile::Onnx(path) => files.push(path.clone()),
            WeightFile::Towers { text, image } => files.extend(text.iter().chain(image).cloned()),
            WeightFile::Safetensors(folder) => folders.push(folder.clone()),
        }
        if self.root.is_dir() {
            let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
            let entries = entries.map(|entry| entry.path());
            folders.extend(entries.filter(|path| path.is_dir() && !path.ends_with(CLASSIFIER)));
        }
        for folder in folders {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            files.extend(entries.map(|entry| entry.path()).filter(|path| {
                path.extension().is_some_and(|extension| extension == "safetensors")
                    || path.file_name().is_some_and(|name| {
                        name == "config.json"
                            || PREPROCESSORS.iter().any(|known| name == *known)
                            || name.to_string_lossy().starts_with("sentence_")
                    })
            }));
        }
        files.retain(|path| path.is_file());
        files.sort();
        files.dedup();
        files
    }

    /// A graph without a directory: mean pooling, unless it gives one vector per text itself.
    fn bare_onnx(path: &Path) -> Result<Self> {
        if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("onnx")) {
            return Err(ModelError::file(
                path,
                "is not a model; use a model directory or an .onnx file",
            ));
        }
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let above = folder.parent().unwrap_or(folder);
        let home = if folder.join("tokenizer.json").is_file() { folder } else { above };
        if home.join("modules.json").is_file() || home.join("config.json").is_file() {
            let mut layout = Self::read(home)?;
            layout.weights = WeightFile::Onnx(path.to_path_buf());
            return Ok(layout);
        }
        Ok(Self {
            root: path.to_path_buf(),
            kind: LayoutKind::Encoder,
            weights: WeightFile::Onnx(path.to_path_buf()),
            tokenizer: find_tokenizer(folder, above)?,
            padding_token: None,
            preprocessor: Value::Null,
            config: Value::Null,
            config_path: home.join("config.json"),
            max_length: None,
            lowercase: false,
            pooling: vec![PoolingMode::Mean],
            include_prompt: true,
            steps: Vec::new(),
            truncate_dim: None,
            similarity: Similarity::Cosine,
            prompts: BTreeMap::new(),
            default_prompt: None,
            activation: None,
        })
    }

    /// The longest input and the lower-casing, from whichever file says so.
    fn read_limits(&mut self, folder: &Path) -> Result<()> {
        for name in SENTENCE_CONFIGS {
            if let Some(config) = json_file(&folder.join(name))? {
                self.max_length = whole(&config, "max_seq_length");
                self.lowercase = flag(&config, "do_lower_case");
                break;
            }
        }
        if let Some(config) = json_file(&folder.join("tokenizer_config.json"))? {
            // Tokenizers without a limit carry a number near 1e30 here.
            let own = || whole(&config, "model_max_length").filter(|n| *n < 1 << 24);
            self.max_length = self.max_length.or_else(own);
            let padding = config.get("pad_token");
            let padding = padding.and_then(|token| token.get("content").or(Some(token)));
            self.padding_token = padding.and_then(Value::as_str).map(str::to_string);
        }
        Ok(())
    }

    /// The modules after the first.
    fn read_modules(&mut self, modules: &Value) -> Result<()> {
        for module in modules.as_array().into_iter().flatten().skip(1) {
            let class = class_of(module);
            let folder = module_folder(&self.root, module)?;
            match class {
                "Pooling" => self.read_pooling(&folder.join("config.json"))?,
                "Dense" => self.steps.push(Step::Dense(dense(&self.root, &folder)?)),
                "Normalize" => self.steps.push(Step::Normalize),
                "Dropout" => {}
                other => {
                    return Err(ModelError::file(
                        self.root.join("modules.json"),
                        format!(
                            "names the unsupported module '{other}'; supported are Transformer, CLIPModel, StaticEmbedding, Pooling, Dense, Normalize"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    fn read_pooling(&mut self, path: &Path) -> Result<()> {
        let config = json_file(path)?.ok_or_else(|| ModelError::file(path, "is missing"))?;
        self.include_prompt = config.get("include_prompt").and_then(Value::as_bool).unwrap_or(true);
        self.pooling = pooling_modes(&config, path)?;
        Ok(())
    }

    /// model2vec keeps its settings in `config.json`.
    fn read_model2vec(&mut self) {
        self.max_length = match self.config.get("max_length") {
            Some(Value::Null) => None,
            Some(_) => whole(&self.config, "max_length"),
            None => Some(512),
        };
        let normalize = self.config.get("normalize").and_then(Value::as_bool).unwrap_or(true);
        self.steps = if normalize { vec![Step::Normalize] } else { Vec::new() };
    }
}

/// Files that may hold `max_seq_length`, one per base class that Sentence-Transformers has had.
const SENTENCE_CONFIGS: &[&str] = &[
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Files that may say how images are made ready, the first that is there counts.
const PREPROCESSORS: &[&str] = &["preprocessor_config.json", "processor_config.json"];

/// What a folder says of how images are made ready.
fn preprocessor(folder: &Path) -> Result<Value> {
    for name in PREPROCESSORS {
        if let Some(config) = json_file(&folder.join(name))? {
            // Files that speak of texts as well have a part for images.
            return Ok(config.get("image_processor").cloned().unwrap_or(config));
        }
    }
    Ok(Value::Null)
}

/// Reads a JSON file; `None` where there is none.
pub(crate) fn json_file(path: &Path) -> Result<Option<Value>> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(ModelError::file(path, "is not a file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => return Err(ModelError::io(path, error)),
    };
    if size > CONFIG_BYTES_MAX {
        return Err(ModelError::file(
            path,
            format!("has {size} bytes, but a configuration may have at most {CONFIG_BYTES_MAX}"),
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| ModelError::io(path, error))?;
    crate::lfs::refuse_pointer(path, &bytes)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ModelError::file(path, format!("is not JSON: {error}")))
}

fn whole(config: &Value, key: &str) -> Option<usize> {
    let value = config.get(key)?;
    value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)
}

fn flag(config: &Value, key: &str) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn text(config: &Value, key: &str) -> Option<String> {
    config.get(key).and_then(Value::as_str).map(str::to_string)
}

/// The class name at the end of a module's type.
fn class_of(module: &Value) -> &str {
    let name = module.get("type").and_then(Value::as_str).unwrap_or_default();
    name.rsplit('.').next().unwrap_or(name)
}

/// The folder of a module, which may not lead out of the model's directory.
fn module_folder(root: &Path, module: &Value) -> Result<PathBuf> {
    let path = Path::new(module.get("path").and_then(Value::as_str).unwrap_or_default());
    if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(ModelError::file(
            root.join("modules.json"),
            format!("names the folder '{}', which is outside the model", path.display()),
        ));
    }
    Ok(root.join(path))
}

fn first_module_folder(root: &Path, modules: &Value) -> Result<PathBuf> {
    let first = modules.as_array().and_then(|modules| modules.first());
    let first =
        first.ok_or_else(|| ModelError::file(root.join("modules.json"), "lists no module"))?;
    let class = class_of(first);
    if !matches!(class, "Transformer" | "CLIPModel" | "StaticEmbedding") {
        return Err(ModelError::file(
            root.join("modules.json"),
            format!(
                "starts with the module '{class}'; Sembla runs models that start with Transformer, CLIPModel or StaticEmbedding"
            ),
        ));
    }
    module_folder(root, first)
}

fn kind(modules: Option<&Value>, config: &Value, settings: &Value, folder: &Path) -> LayoutKind {
    if Towers::are_in(config) {
        return LayoutKind::Towers;
    }
    let model2vec = config.get("model_type").and_then(Value::as_str) == Some("model2vec");
    let first = modules.and_then(Value::as_array).and_then(|modules| modules.first());
    let embedding_bag = first.map(class_of) == Some("StaticEmbedding");
    // A bag of embeddings without any configuration is how model2vec saves into
    // Sentence-Transformers.
    let bare_bag = modules.is_none()
        && config.is_null()
        && Weights::open(folder).is_ok_and(|weights| {
            weights.contains("embedding.weight") || weights.contains("embeddings")
        });
    if model2vec || embedding_bag || bare_bag {
        return LayoutKind::Static { model2vec: model2vec || bare_bag };
    }
    let declared = settings.get("model_type").and_then(Value::as_str);
    let architecture = config.pointer("/architectures/0").and_then(Value::as_str);
    let classifies = architecture.is_some_and(|name| name.ends_with("ForSequenceClassification"));
    let pools = modules
        .and_then(Value::as_array)
        .is_some_and(|modules| modules.iter().any(|module| class_of(module) == "Pooling"));
    if declared == Some("CrossEncoder") || (classifies && !pools) {
        LayoutKind::CrossEncoder
    } else {
        LayoutKind::Encoder
    }
}

fn find_weights(folder: &Path, kind: LayoutKind) -> Result<WeightFile> {
    if folder.join("model.safetensors").exists()
        || folder.join("model.safetensors.index.json").exists()
    {
        return Ok(WeightFile::Safetensors(folder.to_path_buf()));
    }
    if kind == LayoutKind::Towers {
        let graph = |name: &str| {
            let places = [folder.join("onnx").join(name), folder.join(name)];
            places.into_iter().find(|path| path.is_file())
        };
        let (text, image) = (graph("text_model.onnx"), graph("vision_model.onnx"));
        if text.is_none() && image.is_none() {
            return Err(ModelError::file(
                folder,
                "has neither model.safetensors nor onnx/text_model.onnx and onnx/vision_model.onnx",
            ));
        }
        return Ok(WeightFile::Towers { text, image });
    }
    let graphs = ["onnx/model.onnx", "model.onnx", "onnx/model_O1.onnx", "onnx/model_O2.onnx"];
    let found = graphs.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.map(WeightFile::Onnx).ok_or_else(|| {
        let pickled = if folder.join("pytorch_model.bin").exists() {
            "; pytorch_model.bin can run code when it is read: convert it to safetensors"
        } else {
            ""
        };
        ModelError::file(
            folder,
            format!("has neither model.safetensors nor onnx/model.onnx{pickled}"),
        )
    })
}

fn find_tokenizer(root: &Path, folder: &Path) -> Result<PathBuf> {
    let places = [folder.join("tokenizer.json"), root.join("tokenizer.json")];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        ModelError::file(
            root,
            "has no tokenizer.json; save the tokenizer in its fast form (transformers: AutoTokenizer, save_pretrained)",
        )
    })
}

fn similarity(settings: &Value, root: &Path) -> Result<Similarity> {
    match settings.get("similarity_fn_name").and_then(Value::as_str) {
        None | Some("cosine") => Ok(Similarity::Cosine),
        Some("dot") => Ok(Similarity::Dot),
        Some("euclidean") => Ok(Similarity::Euclidean),
        Some("manhattan") => Ok(Similarity::Manhattan),
        Some(other) => Err(ModelError::file(
            root.join("config_sentence_transformers.json"),
            format!(
                "names the similarity '{other}'; supported are cosine, dot, euclidean and manhattan"
            ),
        )),
    }
}

fn prompts(settings: &Value) -> BTreeMap<String, String> {
    let Some(prompts) = settings.get("prompts").and_then(Value::as_object) else {
        return BTreeMap::new();
    };
    prompts
        .iter()
        .filter_map(|(name, prompt)| Some((name.clone(), prompt.as_str()?.to_string())))
        .collect()
}

/// A cross-encoder's activation, from the first place that names one.
fn cross_encoder_activation(
    settings: &Value,
    config: &Value,
    config_path: &Path,
) -> Result<Option<TorchActivation>> {
    let places = [
        settings.get("activation_fn"),
        config.pointer("/sentence_transformers/activation_fn"),
        config.get("sbert_ce_default_activation_function"),
    ];
    let Some(name) = places.into_iter().flatten().find_map(Value::as_str) else {
        return Ok(None);
    };
    TorchActivation::from_torch(name).map(Some).ok_or_else(|| {
        ModelError::file(
            config_path,
            format!("names the activation '{name}', which is not supported"),
        )
    })
}
