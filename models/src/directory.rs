//! Writing a model directory: settings and tokenizer as they are in another, weights anew.
//!
//! A directory is written under another name beside its own and renamed when it is whole. Which
//! weights those are is left to the caller.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, View};

use crate::layout::{CLASSIFIER, Layout, WeightFile};
use crate::{ModelError, Result};

/// A tensor on its way to a file.
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// A tensor of 32-bit floats.
pub(crate) fn floats(data: &[f32], shape: Vec<usize>) -> Tensor {
    let data = data.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { dtype: Dtype::F32, shape, data }
}

/// A name beside `target` to work under.
pub(crate) fn sibling(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.partial", std::process::id()));
    target.with_file_name(name)
}

/// Writes the new directory: the small files as they are, and the new weights.
pub(crate) fn write(layout: &Layout, work: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    copy_settings(&layout.root, work)?;
    let folder = match &layout.weights {
        WeightFile::Safetensors(folder) => folder.strip_prefix(&layout.root).unwrap_or(folder),
        WeightFile::Onnx(_) | WeightFile::Towers { .. } => Path::new(""),
    };
    let path = work.join(folder).join("model.safetensors");
    write_tensors(&path, tensors)
}

/// Writes a file of tensors.
pub(crate) fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let views: Vec<(&str, &Tensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    safetensors::serialize_to_file(views, None, path).map_err(|error| match error {
        SafeTensorError::IoError(error) => ModelError::io(path, error),
        other => ModelError::file(path, format!("can't be written: {other}")),
    })
}

/// Puts a finished directory in the place of another.
pub(crate) fn replace(work: &Path, target: &Path) -> Result<()> {
    let io = |error| ModelError::io(target, error);
    if !target.exists() {
        return fs::rename(work, target).map_err(io);
    }
    let mut old = sibling(target).into_os_string();
    old.push(".old");
    fs::rename(target, &old).map_err(io)?;
    if let Err(error) = fs::rename(work, target) {
        // The old directory gets its name back; the error is what counts.
        let _ = fs::rename(&old, target);
        return Err(io(error));
    }
    fs::remove_dir_all(&old).map_err(io)
}

/// Copies the classifier of a model, if it has one, to a directory with nearly the same vectors.
pub(crate) fn copy_classifier(from: &Path, to: &Path) -> Result<()> {
    let folder = from.join(CLASSIFIER);
    match folder.is_dir() {
        true => copy_folder(&folder, &to.join(CLASSIFIER), 1),
        false => Ok(()),
    }
}

/// Copies configurations, the tokenizer, licences and the weights of dense layers.
pub(crate) fn copy_settings(from: &Path, to: &Path) -> Result<()> {
    copy_folder(from, to, 0)
}

fn copy_folder(from: &Path, to: &Path, depth: usize) -> Result<()> {
    fs::create_dir_all(to).map_err(|error| ModelError::io(to, error))?;
    let entries = fs::read_dir(from).map_err(|error| ModelError::io(from, error))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_setting = name == "tokenizer.json"
            || name.starts_with("LICENSE")
            || (name.ends_with(".json")
                && !name.ends_with(".index.json")
                && !matches!(name.as_str(), "data_config.json" | "vocab.json"));
        let is_module = name.chars().next().is_some_and(|c| c.is_ascii_digit());
        if path.is_dir() && is_module && depth == 0 {
            copy_folder(&path, &to.join(&name), 1)?;
        } else if is_setting || (depth == 1 && name == "model.safetensors") {
            fs::copy(&path, to.join(&name)).map_err(|error| ModelError::io(&path, error))?;
        }
    }
    Ok(())
}
