//! What a user can say about a model: where it is and how to run it.
//!
//! [`ModelSpec::OPTIONS`] is the one declaration of the options. SQL's `CREATE MODEL … WITH (…)`,
//! the command line's `--model-option`, the defaults and the documentation all come from it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sembla_options::{Kind, OptionDef, OptionError, Value};

use crate::{Device, ModelError, Result};

/// How the weights and the arithmetic of a model are represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats: the reference.
    F32,
    /// 16-bit floats, with sums in 32 bits; on a GPU only.
    F16,
    /// 8-bit weights and activations, quantised per row and block, so that a vector does not depend
    /// on its batch.
    Q8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8 => "q8",
        })
    }
}

impl FromStr for Precision {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "q8" => Ok(Self::Q8),
            _ => Err(ModelError::BadOption(format!(
                "precision must be f32, q8 or f16, got '{text}'"
            ))),
        }
    }
}

/// Whether the texts of a batch are filled up to the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Their tokens lie one after another.
    #[default]
    None,
    /// They are, and attention is told which tokens are real.
    Longest,
}

/// Where a model is and how to run it. Everything but the source has a default.
///
/// # Examples
/// ```
/// use sembla_models::{ModelSpec, Precision};
///
/// let mut spec = ModelSpec::new("sentence-transformers/all-MiniLM-L6-v2");
/// spec.set("precision", "q8")?;
/// assert_eq!(spec.precision, Some(Precision::Q8));
///
/// let error = spec.set("presicion", "q8").unwrap_err().to_string();
/// assert!(error.contains("did you mean 'precision'?"));
/// # Ok::<(), sembla_models::ModelError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// A directory, an `.onnx` file, the name of a model that comes with Sembla, or a hub id
    /// (`owner/name`).
    pub source: String,
    /// The precision; `None` takes what the directory holds (q8 where it is quantised, else f32).
    pub precision: Option<Precision>,
    /// The device.
    pub device: Device,
    /// Longest input in tokens, special tokens included; `None` takes the model's own limit.
    pub max_length: Option<usize>,
    /// Keep only the first so many components of each vector (Matryoshka); `None` takes the model's
    /// own setting.
    pub truncate_dim: Option<usize>,
    /// Divide each vector by its length at the end, whatever the model says.
    pub normalize: bool,
    /// Sessions that run at the same time; `None` is one per core.
    pub workers: Option<usize>,
    /// Threads inside each session.
    pub threads: usize,
    /// Tokens, padding included, in one inference batch.
    pub batch_tokens: Option<usize>,
    /// Whether the texts of a batch are filled up to the longest.
    pub padding: Padding,
    /// GPU memory of a session in MiB, weights included; batches are cut so that they fit. `None`
    /// is no limit.
    pub device_memory_mib: Option<u64>,
    /// Turn images as their EXIF orientation says before they are embedded.
    pub exif_orientation: bool,
    /// Folder of the cache of vectors; `None` is no cache.
    pub cache: Option<PathBuf>,
    /// Bound of the cache on disk, in MiB.
    pub cache_mib: u64,
}

impl ModelSpec {
    /// The longest input in tokens: what this asks for, else the `own` limit of the model, never
    /// more than the `limit` that the weights of the model `name` allow.
    pub(crate) fn longest_input(
        &self,
        own: Option<usize>,
        limit: Option<usize>,
        name: &str,
    ) -> Result<Option<usize>> {
        match (self.max_length, limit) {
            (Some(wanted), Some(limit)) if wanted > limit => Err(ModelError::BadOption(format!(
                "max_length must be at most {limit} for model '{name}', got {wanted}"
            ))),
            (Some(wanted), _) => Ok(Some(wanted)),
            (None, limit) => Ok(match (own, limit) {
                (Some(own), Some(limit)) => Some(own.min(limit)),
                (own, limit) => own.or(limit),
            }),
        }
    }

    /// Every option that [`ModelSpec::set`] takes.
    pub const OPTIONS: &'static [OptionDef] = &[
        OptionDef::new("path", Kind::Text, "directory, .onnx file, built-in name or hub id")
            .value_name("PATH or ID")
            .required(),
        OptionDef::new(
            "precision",
            Kind::Choice(&["f32", "q8", "f16"]),
            "representation of weights and arithmetic",
        )
        .value_name("f32|q8|f16")
        .or_else("what the directory holds"),
        OptionDef::new("device", Kind::Text, "where the model runs; a missing device is an error")
            .value_name("cpu|cuda:N|cuda:N,cuda:M")
            .or("cpu"),
        OptionDef::new(
            "max_length",
            Kind::at_least(1),
            "longest input; longer texts are truncated and counted",
        )
        .value_name("TOKENS")
        .or_else("the model's own"),
        OptionDef::new(
            "truncate_dim",
            Kind::at_least(1),
            "keep the first N components of each vector",
        )
        .or_else("the model's own"),
        OptionDef::new("normalize", Kind::Flag, "scale each vector to length 1").or("false"),
        OptionDef::new("workers", Kind::at_least(1), "inference sessions that run in parallel")
            .or_else("one per core, two per GPU"),
        OptionDef::new("threads", Kind::at_least(1), "threads inside each session").or("1"),
        OptionDef::new(
            "batch_tokens",
            Kind::at_least(1),
            "tokens per inference batch, padding included",
        )
        .or_else("256 on a CPU, 16384 on a GPU"),
        OptionDef::new(
            "padding",
            Kind::Choice(&["none", "longest"]),
            "whether texts of a batch are padded to the longest one",
        )
        .or("none"),
        OptionDef::new(
            "device_memory_mib",
            Kind::at_least(1),
            "GPU memory per session; smaller batches are cut to fit",
        )
        .value_name("MIB")
        .or_else("no limit"),
        OptionDef::new(
            "exif_orientation",
            Kind::Flag,
            "turn images as their EXIF orientation says",
        )
        .or("true"),
        OptionDef::new("cache", Kind::Text, "folder in which vectors are cached by content")
            .value_name("DIR"),
        OptionDef::new("cache_mib", Kind::at_least(1), "size limit of the cache folder")
            .value_name("MIB")
            .or("1024"),
    ];

    /// A model at `source` with every option at its default.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            precision: None,
            device: Device::Cpu,
            max_length: None,
            truncate_dim: None,
            normalize: false,
            workers: None,
            threads: 1,
            batch_tokens: None,
            padding: Padding::None,
            device_memory_mib: None,
            exif_orientation: true,
            cache: None,
            cache_mib: 1024,
        }
    }

    /// Sets one option from its textual form.
    ///
    /// # Errors
    /// [`ModelError::BadOption`] when the key is unknown (the message names the nearest known one)
    /// or the value can't be read.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let lower = key.to_ascii_lowercase();
        let option = Self::OPTIONS.iter().find(|option| option.key == lower).ok_or_else(|| {
            let known = Self::OPTIONS.iter().map(|option| option.key);
            ModelError::BadOption(sembla_options::unknown("a model", known, key))
        })?;
        let value = option.parse(value).map_err(|error| match error {
            OptionError::Mistake(message) => ModelError::BadOption(message),
            OptionError::Bug(message) => ModelError::Bug(message),
        })?;
        match (option.key, value) {
            ("path", Value::Text(path)) => self.source = path,
            ("precision", Value::Choice(precision)) => self.precision = Some(precision.parse()?),
            ("device", Value::Text(device)) => self.device = device.parse()?,
            ("max_length", Value::Count(tokens)) => self.max_length = Some(size(tokens)),
            ("truncate_dim", Value::Count(width)) => self.truncate_dim = Some(size(width)),
            ("normalize", Value::Flag(flag)) => self.normalize = flag,
            ("exif_orientation", Value::Flag(flag)) => self.exif_orientation = flag,
            ("workers", Value::Count(count)) => self.workers = Some(size(count)),
            ("threads", Value::Count(count)) => self.threads = size(count),
            ("batch_tokens", Value::Count(tokens)) => self.batch_tokens = Some(size(tokens)),
            ("padding", Value::Choice(padding)) => {
                let padded = padding == "longest";
                self.padding = if padded { Padding::Longest } else { Padding::None };
            }
            ("device_memory_mib", Value::Count(mib)) => self.device_memory_mib = Some(mib),
            ("cache", Value::Text(folder)) => self.cache = Some(PathBuf::from(folder)),
            ("cache_mib", Value::Count(mib)) => self.cache_mib = mib,
            (key, _) => {
                return Err(ModelError::Bug(format!("the option '{key}' is declared but not set")));
            }
        }
        Ok(())
    }
}

/// A count as a size; one beyond the address space is as good as none.
fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_option_can_be_set() {
        for option in ModelSpec::OPTIONS {
            let value = match option.key {
                "precision" => "q8",
                "device" => "cuda:1",
                "normalize" => "TRUE",
                "exif_orientation" => "False",
                "padding" => "longest",
                "path" | "cache" => "somewhere",
                _ => "7",
            };
            let mut spec = ModelSpec::new("x");
            spec.set(option.key, value).expect(option.key);
            assert_ne!(spec, ModelSpec::new("x"), "{} changes nothing", option.key);
        }
    }

    #[test]
    fn a_wrong_key_names_the_nearest() {
        let message = ModelSpec::new("x").set("precison", "q8").expect_err("unknown").to_string();
        assert!(message.contains("did you mean 'precision'"), "{message}");
    }

    #[test]
    fn a_wrong_value_is_refused() {
        for (key, value) in [
            ("threads", "0"),
            ("max_length", "-1"),
            ("precision", "int4"),
            ("device", "tpu"),
            ("normalize", "2"),
        ] {
            assert!(ModelSpec::new("x").set(key, value).is_err(), "{key} = {value}");
        }
    }
}
