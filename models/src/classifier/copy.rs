//! A model directory with a classifier: a copy of the model that it was fitted to, and the head.

use std::fs;
use std::path::{Path, PathBuf};

use super::Classifier;
use crate::directory::{self, replace, sibling};
use crate::layout::{Layout, WeightFile};
use crate::{ModelError, ModelSpec, Result, hub};

/// Writes the directory `target`: the model that `base` names as it is, weights included, and
/// `classifier` beside it. The directory refers to nothing outside of itself. One that is there
/// already is replaced at the end, when the new one is whole.
///
/// # Errors
/// Those of finding the model and of the disk; then `target` is as it was.
pub fn save(base: &ModelSpec, target: &Path, classifier: &Classifier) -> Result<()> {
    let layout = Layout::read(&hub::find(&base.source)?.path)?;
    let work = sibling(target);
    let outcome = copy(&layout, &work)
        .and_then(|()| classifier.write(&work))
        .and_then(|()| replace(&work, target));
    if outcome.is_err() {
        // What is left is unfinished; the error is what counts.
        let _ = fs::remove_dir_all(&work);
    }
    outcome
}

/// Copies a model to a new directory: settings, tokenizer, weights.
fn copy(layout: &Layout, work: &Path) -> Result<()> {
    if layout.root.is_file() {
        fs::create_dir_all(work).map_err(|error| ModelError::io(work, error))?;
        copy_file(&layout.tokenizer, &work.join("tokenizer.json"))?;
        return copy_file(&layout.root, &work.join("model.onnx"));
    }
    directory::copy_settings(&layout.root, work)?;
    let inside = |path: &Path| work.join(path.strip_prefix(&layout.root).unwrap_or(path));
    match &layout.weights {
        WeightFile::Safetensors(folder) => {
            each_beside(folder, &inside(folder), |name| {
                name.ends_with(".safetensors") || name == "model.safetensors.index.json"
            })?;
        }
        WeightFile::Onnx(path) => copy_graph(layout, path, inside)?,
        WeightFile::Towers { text, image } => {
            text.iter().chain(image).try_for_each(|path| copy_graph(layout, path, inside))?;
        }
    }
    Ok(())
}

/// Copies an ONNX file and what lies beside it for it.
fn copy_graph(layout: &Layout, path: &Path, inside: impl Fn(&Path) -> PathBuf) -> Result<()> {
    let folder = path.parent().unwrap_or(&layout.root);
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    // Tensors may lie in files beside the graph: model.onnx_data, model.onnx.data.
    each_beside(folder, &inside(folder), |name| name.starts_with(own.as_ref()))
}

/// Copies the files of a folder whose names are wanted.
fn each_beside(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to).map_err(|error| ModelError::io(to, error))?;
    let entries = fs::read_dir(from).map_err(|error| ModelError::io(from, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        if wanted(&name.to_string_lossy()) && entry.path().is_file() {
            copy_file(&entry.path(), &to.join(&name))?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).map_err(|error| ModelError::io(to, error))
}
