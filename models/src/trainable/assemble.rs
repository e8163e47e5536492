//! A new model put together from modules: a transformer, pooling, dense layers, normalisation.
//!
//! The transformer and the tokenizer are those of another model, or the transformer is a BERT of
//! any size. Where its weights come from is left to the caller.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::shape::{dense_config, module, pooling_config, write_json};
use super::{Body, Tensors, Trainable, directory, floats, replace, sibling, write_dense};
use crate::pool::{Dense, PoolingMode};
use crate::{ModelError, Result};

/// Files of a tokenizer that come along.
const TOKENIZER_FILES: [&str; 3] =
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/// The sizes of a BERT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewTransformer {
    /// Layers.
    pub layers: usize,
    /// Width of a token's vector.
    pub hidden: usize,
    /// Attention heads of each layer.
    pub heads: usize,
    /// Width inside the feed-forward block.
    pub intermediate: usize,
    /// Longest input in tokens.
    pub positions: usize,
}

impl NewTransformer {
    /// Its tensors, by name, each with its shape.
    pub fn shapes(&self, vocabulary: usize) -> Vec<(String, Vec<usize>)> {
        let Self { hidden, intermediate, .. } = *self;
        let mut shapes = vec![
            ("embeddings.word_embeddings.weight".into(), vec![vocabulary, hidden]),
            ("embeddings.position_embeddings.weight".into(), vec![self.positions, hidden]),
            ("embeddings.token_type_embeddings.weight".into(), vec![2, hidden]),
            ("embeddings.LayerNorm.weight".into(), vec![hidden]),
            ("embeddings.LayerNorm.bias".into(), vec![hidden]),
        ];
        for layer in 0..self.layers {
            let mut linear = |name: &str, outputs: usize, inputs: usize| {
                let name = format!("encoder.layer.{layer}.{name}");
                shapes.push((format!("{name}.weight"), vec![outputs, inputs]));
                shapes.push((format!("{name}.bias"), vec![outputs]));
            };
            for part in ["self.query", "self.key", "self.value", "output.dense"] {
                linear(&format!("attention.{part}"), hidden, hidden);
            }
            linear("intermediate.dense", intermediate, hidden);
            linear("output.dense", hidden, intermediate);
            for part in ["attention.output", "output"] {
                let name = format!("encoder.layer.{layer}.{part}.LayerNorm");
                shapes.push((format!("{name}.weight"), vec![hidden]));
                shapes.push((format!("{name}.bias"), vec![hidden]));
            }
        }
        shapes
    }

    /// Its `config.json`.
    fn config(&self, vocabulary: usize, padding: u64) -> Value {
        json!({
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": vocabulary,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": self.positions,
            "type_vocab_size": 2,
            "pad_token_id": padding,
            "dtype": "float32",
        })
    }
}

/// What comes after a transformer.
#[derive(Clone, Debug)]
pub struct Modules {
    /// Pooling modes, concatenated in this order.
    pub pooling: Vec<PoolingMode>,
    /// Dense layers; their folders don't count.
    pub dense: Vec<Dense>,
    /// Whether vectors get length 1 at the end.
    pub normalize: bool,
}

impl Trainable {
    /// Writes the directory `target` of a new model with this model's tokenizer: its transformer,
    /// or another one of these sizes, with these tensors, and these modules after it.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a transformer of a static model, and those of the disk; then
    /// `target` is as it was.
    pub fn save_assembled(
        &self,
        target: &Path,
        other: Option<&NewTransformer>,
        tensors: &Tensors,
        modules: &Modules,
    ) -> Result<()> {
        let work = sibling(target);
        let outcome = self
            .write_assembled(&work, other, tensors, modules)
            .and_then(|()| replace(&work, target));
        if outcome.is_err() {
            let _ = fs::remove_dir_all(&work);
        }
        outcome
    }

    fn write_assembled(
        &self,
        work: &Path,
        other: Option<&NewTransformer>,
        tensors: &Tensors,
        modules: &Modules,
    ) -> Result<()> {
        let (config, hidden, max_length) = match (other, &self.body) {
            (Some(new), _) => {
                let padding = self.setting("pad_token_id").unwrap_or(0.0) as u64;
                (new.config(self.token_count(), padding), new.hidden, Some(new.positions))
            }
            (None, Body::Transformer(anatomy)) => (self.config(), anatomy.hidden, self.max_length),
            (None, Body::Table { .. }) => {
                return Err(ModelError::Unsupported(format!(
                    "model '{}' is static and has no transformer to copy",
                    self.name
                )));
            }
        };
        self.copy_tokenizer(work)?;
        write_json(&work.join("config.json"), &config)?;
        if let Some(max_length) = max_length {
            let settings = json!({"max_seq_length": max_length, "do_lower_case": false});
            write_json(&work.join("sentence_bert_config.json"), &settings)?;
        }
        let of = |(name, tensor): (&String, &super::FloatTensor)| {
            (name.clone(), floats(&tensor.values, tensor.shape.clone()))
        };
        let tensors: Vec<_> = tensors.iter().map(of).collect();
        directory::write_tensors(&work.join("model.safetensors"), &tensors)?;
        write_json(&work.join("1_Pooling/config.json"), &pooling_config(hidden, &modules.pooling))?;
        let mut list = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
        for dense in &modules.dense {
            let folder = format!("{}_Dense", list.len());
            let dense = Dense { folder: PathBuf::from(&folder), ..dense.clone() };
            write_json(&work.join(&folder).join("config.json"), &dense_config(&dense))?;
            write_dense(work, &dense)?;
            list.push(module(list.len(), &folder, "Dense"));
        }
        if modules.normalize {
            let folder = format!("{}_Normalize", list.len());
            list.push(module(list.len(), &folder, "Normalize"));
        }
        write_json(&work.join("modules.json"), &Value::Array(list))
    }

    /// The tokenizer and what licences there are.
    fn copy_tokenizer(&self, work: &Path) -> Result<()> {
        fs::create_dir_all(work).map_err(|error| ModelError::io(work, error))?;
        let folder = self.layout.tokenizer.parent().unwrap_or(&self.layout.root);
        let licences = fs::read_dir(&self.layout.root).into_iter().flatten().flatten();
        let licences = licences.map(|entry| entry.path()).filter(|path| {
            path.is_file()
                && path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("LICENSE"))
        });
        let files = TOKENIZER_FILES.iter().map(|name| folder.join(name));
        for path in files.filter(|path| path.is_file()).chain(licences) {
            let name = path.file_name().unwrap_or_default();
            fs::copy(&path, work.join(name)).map_err(|error| ModelError::io(&path, error))?;
        }
        Ok(())
    }
}
