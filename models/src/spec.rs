//! What a user can say about a model: where it is and how to run it.
//!
//! [`ModelSpec::OPTIONS`] is the one declaration of the options. SQL's `CREATE MODEL … WITH (…)`,
//! the command line's `--model-option`, the defaults and the documentation all come from it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{ModelError, Result};

/// How the weights and the arithmetic of a model are represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats: the reference.
    F32,
    /// 16-bit floats; on a GPU only.
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

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device with this number.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(id) => write!(f, "cuda:{id}"),
        }
    }
}

impl FromStr for Device {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        match (lower.as_str(), lower.strip_prefix("cuda:").map(str::parse)) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(Ok(id))) => Ok(Self::Cuda(id)),
            _ => Err(ModelError::BadOption(format!("device must be cpu or cuda:N, got '{text}'"))),
        }
    }
}

/// One option: its key, what it takes, its default in words, and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct ModelOption {
    /// The key, as SQL and the command line spell it.
    pub key: &'static str,
    /// What a value looks like.
    pub value: &'static str,
    /// The default, in words.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
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
    /// Folder of the cache of vectors; `None` is no cache.
    pub cache: Option<PathBuf>,
    /// Bound of the cache on disk, in MiB.
    pub cache_mib: u64,
}

impl ModelSpec {
    /// Every option that [`ModelSpec::set`] takes.
    pub const OPTIONS: &'static [ModelOption] = &[
        ModelOption {
            key: "path",
            value: "PATH or ID",
            default: "required",
            help: "directory, .onnx file, built-in name or hub id",
        },
        ModelOption {
            key: "precision",
            value: "f32|q8|f16",
            default: "what the directory holds",
            help: "representation of weights and arithmetic",
        },
        ModelOption {
            key: "device",
            value: "cpu|cuda:N",
            default: "cpu",
            help: "where the model runs; a missing device is an error",
        },
        ModelOption {
            key: "max_length",
            value: "TOKENS",
            default: "the model's own",
            help: "longest input; longer texts are truncated and counted",
        },
        ModelOption {
            key: "truncate_dim",
            value: "N",
            default: "the model's own",
            help: "keep the first N components of each vector",
        },
        ModelOption {
            key: "normalize",
            value: "true|false",
            default: "false",
            help: "scale each vector to length 1",
        },
        ModelOption {
            key: "workers",
            value: "N",
            default: "one per core",
            help: "inference sessions that run in parallel",
        },
        ModelOption {
            key: "threads",
            value: "N",
            default: "1",
            help: "threads inside each session",
        },
        ModelOption {
            key: "batch_tokens",
            value: "N",
            default: "256 on a CPU",
            help: "tokens per inference batch, padding included",
        },
        ModelOption {
            key: "cache",
            value: "DIR",
            default: "none",
            help: "folder in which vectors are cached by content",
        },
        ModelOption {
            key: "cache_mib",
            value: "MIB",
            default: "1024",
            help: "size limit of the cache folder",
        },
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
        match key.to_ascii_lowercase().as_str() {
            "path" => self.source = value.to_string(),
            "precision" => self.precision = Some(value.parse()?),
            "device" => self.device = value.parse()?,
            "max_length" => self.max_length = Some(positive(key, value)?),
            "truncate_dim" => self.truncate_dim = Some(positive(key, value)?),
            "normalize" => {
                self.normalize = value.to_ascii_lowercase().parse().map_err(|_| {
                    ModelError::BadOption(format!(
                        "option '{key}' must be true or false, got '{value}'"
                    ))
                })?;
            }
            "workers" => self.workers = Some(positive(key, value)?),
            "threads" => self.threads = positive(key, value)?,
            "batch_tokens" => self.batch_tokens = Some(positive(key, value)?),
            "cache" => self.cache = Some(PathBuf::from(value)),
            "cache_mib" => self.cache_mib = positive(key, value)? as u64,
            _ => return Err(unknown_key(key)),
        }
        Ok(())
    }
}

/// Reads a whole number of at least one.
fn positive(key: &str, value: &str) -> Result<usize> {
    value.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(|| {
        ModelError::BadOption(format!("option '{key}' must be a whole number >= 1, got '{value}'"))
    })
}

/// The error for a key that no option has, with the nearest one that there is.
fn unknown_key(key: &str) -> ModelError {
    let known = || ModelSpec::OPTIONS.iter().map(|option| option.key);
    let nearest = known()
        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
    let all: Vec<_> = known().collect();
    ModelError::BadOption(format!(
        "unknown model option '{key}'; did you mean '{}'? Known options: {}",
        nearest.unwrap_or_default(),
        all.join(", ")
    ))
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
