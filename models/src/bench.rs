//! What `sembla bench` measures of this crate: kernels that are ready to be timed, and where a
//! model's time goes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sembla_processor::Level;
use sembla_processor::bench::{Kernel, processor_seconds};

pub use crate::backends::OperatorTime;
use crate::inputs::Input;
use crate::load::load;
use crate::{CancelToken, ModelError, ModelInfo, ModelSpec, Result};

/// All kernels of a level, over made-up data of the shape that MiniLM has: 384 components, 12
/// heads, 128 tokens a text.
pub fn kernels(level: Level) -> Vec<Kernel> {
    crate::ops::kernels(level)
}

/// Where the time of a model goes.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The model.
    pub info: ModelInfo,
    /// Tokens of all texts, special tokens included.
    pub tokens: u64,
    /// Seconds of processor time that tokenising took.
    pub tokenising: f64,
    /// What the operators of the graph took, the longest first; none for a static model.
    pub operators: Vec<OperatorTime>,
    /// Seconds that pooling, normalising and what else follows the graph took.
    pub pooling: f64,
    /// Seconds that running took, operators and pooling included.
    pub running: f64,
}

/// Runs a model over some texts, in one session of one thread, and measures its parts.
///
/// Takes a little longer than embedding the texts on one core. ONNX Runtime writes about 60 kB for
/// each batch of 256 tokens into the system's temporary folder; that is removed again.
///
/// # Errors
/// [`ModelError::Unsupported`] for a model that doesn't take texts, and the errors of loading and
/// embedding.
pub fn profile(spec: &ModelSpec, texts: &[&str], cancel: &CancelToken) -> Result<Profile> {
    let spec = ModelSpec { workers: Some(1), threads: 1, cache: None, ..spec.clone() };
    let folder = Folder::new()?;
    let loaded = load(&spec, Some(&folder.0))?;
    let text = loaded.text.as_ref().filter(|_| loaded.info.takes.has_texts());
    let Some(text) = text else {
        return Err(ModelError::Unsupported(format!(
            "model '{}' makes no vectors of texts, so there is nothing to profile",
            loaded.info.name
        )));
    };
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
    let pooling = Mutex::new(Duration::ZERO);
    let width = loaded.info.dimension;
    let begun = processor_seconds();
    let sequences = text.reader.read(&inputs, "", cancel)?;
    let tokenising = processor_seconds() - begun;
    let begun = Instant::now();
    text.backend.run(&sequences, width, cancel, &|sequence, output| {
        let begun = Instant::now();
        let row = text.finish.row(sequence, output);
        *pooling.lock().unwrap_or_else(PoisonError::into_inner) += begun.elapsed();
        row
    })?;
    let running = begun.elapsed().as_secs_f64();
    let pooling = pooling.into_inner().unwrap_or_else(PoisonError::into_inner);
    let operators = text.backend.operators()?;
    Ok(Profile {
        tokens: sequences.iter().map(|sequence| sequence.ids.len() as u64).sum(),
        tokenising,
        operators,
        pooling: pooling.as_secs_f64(),
        running,
        info: loaded.info,
    })
}

/// A folder of this run, removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sembla-profile-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| ModelError::io(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
