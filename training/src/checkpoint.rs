//! The state of a run on disk, from which it goes on bit for bit after a kill.
//!
//! A file is a line that says what it is, a header in JSON, the numbers of weights and moments as
//! they lie in memory, and a hash of all that. It is written under another name and renamed, and
//! the one before it is kept until then, so that there is always a whole one.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::adam::Adam;
use crate::error::{Result, TrainError};
use crate::parameters::Parameters;

/// The first bytes of a file; the number changes with the form.
const MAGIC: &[u8] = b"sembla training state 1\n";

/// Checkpoints that are kept.
const KEPT: usize = 2;

/// The largest header that is read.
const HEADER_BYTES_MAX: u64 = 64 << 20;

/// What a run knows beside weights and moments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Steps that are done.
    pub(crate) step: usize,
    /// A hash of data, options, loss and base.
    pub(crate) run: String,
    pub(crate) history: History,
    /// Evaluations since the best.
    pub(crate) without_gain: usize,
    /// The learning rate of each step.
    pub(crate) rates: Vec<f32>,
}

impl Progress {
    /// The beginning of a run.
    pub(crate) fn new(run: String) -> Self {
        Self { step: 0, run, history: History::default(), without_gain: 0, rates: Vec::new() }
    }
}

/// The curves of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    /// The loss of each step.
    pub losses: Vec<f32>,
    /// Each evaluation: the steps done before it, and its value.
    pub evaluations: Vec<(usize, f64)>,
    /// The best evaluation after the first step.
    pub best: Option<(usize, f64)>,
}

/// The place of a checkpoint after `step` steps.
fn place(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("step-{step:09}.state"))
}

/// The steps of the checkpoints in a folder, ascending.
fn steps(folder: &Path) -> Vec<usize> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let step = |name: String| name.strip_prefix("step-")?.strip_suffix(".state")?.parse().ok();
    let mut steps: Vec<usize> = entries
        .filter_map(|entry| step(entry.file_name().to_string_lossy().into_owned()))
        .collect();
    steps.sort_unstable();
    steps
}

/// Writes a checkpoint and removes those that are older than the one before it.
///
/// # Errors
/// Those of the disk.
pub(crate) fn write(
    folder: &Path,
    progress: &Progress,
    parameters: &Parameters,
    adam: &Adam,
) -> Result<()> {
    let path = place(folder, progress.step);
    let work = path.with_extension("tmp");
    let fail = |error| TrainError::io(&path, error);
    let outcome = write_file(&work, progress, parameters, adam)
        .and_then(|()| fs::rename(&work, &path))
        .and_then(|()| File::open(folder)?.sync_all());
    if let Err(error) = outcome {
        let _ = fs::remove_file(&work);
        return Err(fail(error));
    }
    let steps = steps(folder);
    for old in &steps[..steps.len().saturating_sub(KEPT)] {
        // One that stays is read by nobody.
        let _ = fs::remove_file(place(folder, *old));
    }
    Ok(())
}

fn write_file(
    path: &Path,
    progress: &Progress,
    parameters: &Parameters,
    adam: &Adam,
) -> std::io::Result<()> {
    let mut out =
        Hashed { inner: BufWriter::new(File::create(path)?), hasher: blake3::Hasher::new() };
    out.write_all(MAGIC)?;
    let header = serde_json::to_vec(progress)?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (parameter, moments) in parameters.all.iter().zip(&adam.moments) {
        for values in [&parameter.values, &moments.first, &moments.second] {
            write_words(&mut out, values.iter().map(|value| value.to_le_bytes()))?;
        }
        write_words(&mut out, moments.moved.iter().map(|step| step.to_le_bytes()))?;
    }
    let hash = out.hasher.finalize();
    out.inner.write_all(hash.as_bytes())?;
    out.inner.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

fn write_words(out: &mut impl Write, words: impl Iterator<Item = [u8; 4]>) -> std::io::Result<()> {
    const WORDS: usize = 1 << 14;
    let mut buffer = Vec::with_capacity(4 * WORDS);
    for word in words {
        buffer.extend(word);
        if buffer.len() == 4 * WORDS {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)
}

/// Reads the newest whole checkpoint of a run into parameters and moments; `None` where there is
/// none.
///
/// # Errors
/// A checkpoint of another run, and those of the disk.
pub(crate) fn read(
    folder: &Path,
    run: &str,
    parameters: &mut Parameters,
    adam: &mut Adam,
) -> Result<Option<Progress>> {
    for step in steps(folder).into_iter().rev() {
        let path = place(folder, step);
        if !is_whole(&path)? {
            continue;
        }
        let file = File::open(&path).map_err(|error| TrainError::io(&path, error))?;
        let mut input = std::io::BufReader::new(file);
        let progress = read_file(&mut input, run, parameters, adam);
        return progress.map(Some).map_err(|problem| TrainError::Checkpoint { path, problem });
    }
    Ok(None)
}

/// Whether a file ends with the hash of the rest.
fn is_whole(path: &Path) -> Result<bool> {
    let fail = |error| TrainError::io(path, error);
    let mut file = File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let Some(body) = size.checked_sub(blake3::OUT_LEN as u64) else { return Ok(false) };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(Read::by_ref(&mut file).take(body)).map_err(fail)?;
    let mut hash = [0; blake3::OUT_LEN];
    file.read_exact(&mut hash).map_err(fail)?;
    Ok(hasher.finalize().as_bytes() == &hash)
}

fn read_file(
    input: &mut impl Read,
    run: &str,
    parameters: &mut Parameters,
    adam: &mut Adam,
) -> Result<Progress, String> {
    let torn =
        |error: std::io::Error| format!("can't be read ({error}); start over with --restart");
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(torn)?;
    let mut length = [0; 8];
    input.read_exact(&mut length).map_err(torn)?;
    let length = u64::from_le_bytes(length);
    if magic != MAGIC || length > HEADER_BYTES_MAX {
        return Err("is of another version of Sembla; start over with --restart".into());
    }
    let mut header = vec![0; length as usize];
    input.read_exact(&mut header).map_err(torn)?;
    let progress: Progress = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    if progress.run != run {
        return Err(
            "belongs to a run with other data, options or base; repeat that command, or start over with --restart".into(),
        );
    }
    for (parameter, moments) in parameters.all.iter_mut().zip(&mut adam.moments) {
        for values in [&mut parameter.values, &mut moments.first, &mut moments.second] {
            read_words(input, values.len(), |place, word| values[place] = f32::from_le_bytes(word))
                .map_err(torn)?;
        }
        let moved = &mut moments.moved;
        read_words(input, moved.len(), |place, word| moved[place] = u32::from_le_bytes(word))
            .map_err(torn)?;
    }
    adam.set_rates(progress.rates.clone());
    Ok(progress)
}

fn read_words(
    input: &mut impl Read,
    count: usize,
    mut set: impl FnMut(usize, [u8; 4]),
) -> std::io::Result<()> {
    for place in 0..count {
        let mut word = [0; 4];
        input.read_exact(&mut word)?;
        set(place, word);
    }
    Ok(())
}

/// A writer that hashes what goes through.
struct Hashed<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
