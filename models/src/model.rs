//! The handle that SQL, the command line and streams share: one loaded model.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::backends::Output;
use crate::classifier::Classifier;
use crate::images::ImageError;
use crate::info::{
    Embeddings, ImageEmbeddings, InputKind, ModelInfo, ModelStats, Prompt, TokenCount,
};
use crate::inputs::{Input, Sequence, TextReader};
use crate::load::{Loaded, load};
use crate::stats::Work;
use crate::{CancelToken, ModelError, ModelSpec, Precision, Result};

/// Texts that are tokenised, run and cached together: long enough to fill every worker many times,
/// short enough that a killed job loses little.
const CHUNK_TEXTS: usize = 4096;

/// Images that are run and cached together.
const CHUNK_IMAGES: usize = 256;

/// A loaded model. Cheap to clone; all clones share the weights and the sessions.
///
/// # Resource usage
/// The weights are held once, in the precision that runs: four bytes a parameter in f32, a little
/// over one in q8. Each core that runs the model has a session with some megabytes of activations.
/// [`Model::stats`] counts what was done.
///
/// # Examples
/// ```
/// use sembla_models::{CancelToken, Model, ModelSpec, Prompt};
///
/// let model = Model::load(&ModelSpec::new("potion"))?;
/// let texts = ["Where is my card?", "My card has not arrived", "Pasta with basil"];
/// let vectors = model.embed(&texts, Prompt::Default, &CancelToken::new())?;
/// assert_eq!(vectors.dimension, model.info().dimension);
///
/// let row = |row: usize| &vectors.values[row * vectors.dimension..(row + 1) * vectors.dimension];
/// let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
/// assert!(dot(row(0), row(1)) > dot(row(0), row(2)));
/// # Ok::<(), sembla_models::ModelError>(())
/// ```
#[derive(Clone)]
pub struct Model(Arc<Loaded>);

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("info", &self.0.info).finish_non_exhaustive()
    }
}

/// Computes rows of the inputs with those numbers: the rows, and which are not to be remembered.
type Compute<'a> = dyn FnMut(&[usize]) -> Result<(Vec<f32>, Vec<usize>)> + 'a;

impl Model {
    /// Loads a model and checks everything about it, so that a model that loads also runs.
    ///
    /// Takes time in proportion to the weights, which are read once: a quarter of a second for 22
    /// million parameters. A model of the hub that isn't in the cache is downloaded first.
    ///
    /// # Errors
    /// Any [`ModelError`] that concerns files, options, the device, the hub or ONNX Runtime.
    pub fn load(spec: &ModelSpec) -> Result<Self> {
        load(spec, None).map(|loaded| Self(Arc::new(loaded)))
    }

    /// What is known of the model.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// The classifier on its vectors, if its directory has one.
    pub fn classifier(&self) -> Option<&Classifier> {
        self.0.classifier.as_ref()
    }

    /// What the model has done since it was loaded.
    pub fn stats(&self) -> ModelStats {
        self.0.counters.read()
    }

    /// Vectors of `texts`, in their order, with the prompt before each. Equal texts run once.
    ///
    /// Runs on all cores. A transformer takes time in proportion to the tokens, and to their square
    /// in long texts; a static model in proportion to the characters. Memory is that of the result
    /// and of the tokens of a few thousand texts.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a cross-encoder, [`ModelError::BadOption`] for an unknown
    /// prompt, [`ModelError::Cancelled`] when `cancel` is set, and failures of the tokenizer or of
    /// ONNX Runtime.
    pub fn embed(
        &self,
        texts: &[&str],
        prompt: Prompt<'_>,
        cancel: &CancelToken,
    ) -> Result<Embeddings> {
        if self.info().takes == InputKind::Pair {
            return Err(ModelError::Unsupported(format!(
                "model '{}' is a cross-encoder, which can't embed; use rerank(query, document, model)",
                self.info().name
            )));
        }
        let prompt = self.prompt(prompt)?;
        let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
        let dimension = self.info().dimension;
        Ok(Embeddings { dimension, values: self.rows(&inputs, prompt, dimension, cancel)? })
    }

    /// Vectors of images, in their order, each the bytes of a file as they are. Equal files run
    /// once.
    ///
    /// Images are decoded, resized and run on all cores, a few at a time on each, so memory beyond
    /// the result is that of one decoded image a core, at most
    /// [`DECODED_BYTES_MAX`](crate::images::DECODED_BYTES_MAX).
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a model that takes no images, [`ModelError::Cancelled`] when
    /// `cancel` is set, and ONNX Runtime's failures. An image that can't be used is in the result's
    /// `problems`.
    pub fn embed_images(&self, images: &[&[u8]], cancel: &CancelToken) -> Result<ImageEmbeddings> {
        let Some(side) = &self.0.image else {
            return Err(ModelError::Unsupported(format!(
                "model '{}' takes {}, no images; use a CLIP or SigLIP model",
                self.info().name,
                self.info().takes
            )));
        };
        let started = Instant::now();
        let width = self.info().dimension;
        let hashes: Vec<[u8; 32]> =
            images.iter().map(|bytes| *blake3::hash(bytes).as_bytes()).collect();
        let inputs: Vec<Input<'_>> = hashes.iter().map(Input::Image).collect();
        let (unique, places) = distinct(&inputs);
        let mut firsts = vec![0; unique.len()];
        for row in (0..images.len()).rev() {
            firsts[places.as_ref().map_or(row, |places| places[row])] = row;
        }
        let mut work = Work { texts: images.len() as u64, ..Work::default() };
        let (mut values, mut problems) = (Vec::with_capacity(unique.len() * width), Vec::new());
        for (inputs, rows) in unique.chunks(CHUNK_IMAGES).zip(firsts.chunks(CHUNK_IMAGES)) {
            cancel.check()?;
            let mut compute = |missing: &[usize]| {
                let files: Vec<&[u8]> = missing.iter().map(|at| images[rows[*at]]).collect();
                let each = |vector: &[f32]| side.head.finish(vector.to_vec());
                let found = side.engine.run(&files, width, cancel, &each)?;
                work.tokens += ((files.len() - found.problems.len()) * side.engine.tokens()) as u64;
                problems.extend(found.problems.iter().map(|(at, problem)| {
                    (values.len() / width.max(1) + missing[*at], problem.clone())
                }));
                Ok((found.values, found.problems.iter().map(|(at, _)| *at).collect()))
            };
            let (rows, hits) = self.remembered_or(inputs, "", width, cancel, &mut compute)?;
            work.cache_hits += hits;
            self.check_finite(&rows)?;
            values.extend(rows);
        }
        cancel.done(images.len() - unique.len());
        problems.sort_by_key(|(place, _)| *place);
        if let Some(places) = places {
            let known: HashMap<usize, ImageError> = problems.into_iter().collect();
            let of = |(row, place): (usize, &usize)| Some((row, known.get(place)?.clone()));
            problems = places.iter().enumerate().filter_map(of).collect();
            values = spread(&values, &places, width);
        }
        self.0.counters.add(work, started.elapsed());
        Ok(ImageEmbeddings { dimension: width, values, problems })
    }

    /// Scores of pairs, in their order, after the model's activation: `labels` values per pair.
    /// Equal pairs run once. A pair costs as much as a text of the tokens of both.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a model that embeds, and the errors of [`Model::embed`].
    pub fn score(&self, pairs: &[(&str, &str)], cancel: &CancelToken) -> Result<Vec<f32>> {
        if self.info().takes != InputKind::Pair {
            return Err(ModelError::Unsupported(format!(
                "model '{}' is an embedding model, which can't score pairs; rerank needs a cross-encoder, similarity compares vectors",
                self.info().name
            )));
        }
        let inputs: Vec<Input<'_>> =
            pairs.iter().map(|(first, second)| Input::Pair(first, second)).collect();
        self.rows(&inputs, "", self.info().labels, cancel)
    }

    /// `width` values for each input, in their order. Equal inputs run once.
    fn rows(
        &self,
        inputs: &[Input<'_>],
        prompt: &str,
        width: usize,
        cancel: &CancelToken,
    ) -> Result<Vec<f32>> {
        let started = Instant::now();
        let (unique, places) = distinct(inputs);
        let mut work = Work { texts: inputs.len() as u64, ..Work::default() };
        let mut values = Vec::with_capacity(unique.len() * width);
        for chunk in unique.chunks(CHUNK_TEXTS) {
            cancel.check()?;
            let rows = self.remembered_or_computed(chunk, prompt, width, cancel, &mut work)?;
            self.check_finite(&rows)?;
            values.extend(rows);
        }
        cancel.done(inputs.len() - unique.len());
        if let Some(places) = places {
            values = spread(&values, &places, width);
        }
        self.0.counters.add(work, started.elapsed());
        Ok(values)
    }

    /// Checks that vectors or scores are numbers: damaged weights give others.
    fn check_finite(&self, values: &[f32]) -> Result<()> {
        if values.iter().all(|x| x.is_finite()) {
            return Ok(());
        }
        let what = match self.info().takes {
            InputKind::Pair => "scores",
            _ => "vectors with components",
        };
        if self.info().precision == Precision::F16 {
            return Err(ModelError::BadOption(format!(
                "model '{}' at precision f16 returns {what} that are NaN or infinite; use f32",
                self.info().name
            )));
        }
        Err(ModelError::file(
            &self.info().path,
            format!(
                "returns {what} that are NaN or infinite, so its weights are damaged; fetch the model again"
            ),
        ))
    }

    /// Rows of distinct inputs: from the cache where it has them, else computed and remembered.
    fn remembered_or_computed(
        &self,
        inputs: &[Input<'_>],
        prompt: &str,
        width: usize,
        cancel: &CancelToken,
        work: &mut Work,
    ) -> Result<Vec<f32>> {
        let mut compute = |missing: &[usize]| {
            let unknown: Vec<Input<'_>> = missing.iter().map(|row| inputs[*row]).collect();
            Ok((self.compute(&unknown, prompt, width, cancel, work)?, Vec::new()))
        };
        let (values, hits) = self.remembered_or(inputs, prompt, width, cancel, &mut compute)?;
        work.cache_hits += hits;
        Ok(values)
    }

    /// Rows of distinct inputs: from the cache where it has them, else by `compute`, which is given
    /// numbers of inputs and gives their rows, and which of those are not to be remembered. The
    /// second value counts what came from the cache.
    fn remembered_or(
        &self,
        inputs: &[Input<'_>],
        prompt: &str,
        width: usize,
        cancel: &CancelToken,
        compute: &mut Compute<'_>,
    ) -> Result<(Vec<f32>, u64)> {
        let Some(cache) = &self.0.cache else {
            let all: Vec<usize> = (0..inputs.len()).collect();
            return Ok((compute(&all)?.0, 0));
        };
        let keys: Vec<_> = inputs.iter().map(|input| cache.key(prompt, input)).collect();
        let mut values = vec![0f32; inputs.len() * width];
        let missing = cache.read(&keys, width, &mut values)?;
        let hits = inputs.len() - missing.len();
        cancel.done(hits);
        if missing.is_empty() {
            return Ok((values, hits as u64));
        }
        let (computed, lost) = compute(&missing)?;
        let rows = computed.chunks_exact(width);
        let sound = missing.iter().map(|row| &keys[*row]).zip(rows.clone()).enumerate();
        let sound = sound.filter(|(at, _)| lost.binary_search(at).is_err());
        cache.write(sound.map(|(_, row)| row))?;
        for (row, vector) in missing.iter().zip(rows) {
            values[row * width..(row + 1) * width].copy_from_slice(vector);
        }
        Ok((values, hits as u64))
    }

    /// Rows of inputs by the model.
    fn compute(
        &self,
        inputs: &[Input<'_>],
        prompt: &str,
        width: usize,
        cancel: &CancelToken,
        work: &mut Work,
    ) -> Result<Vec<f32>> {
        let side = self.0.text()?;
        let sequences = side.reader.read(inputs, prompt, cancel)?;
        count(&sequences, work);
        let each = |sequence: &Sequence, output: Output<'_>| side.finish.row(sequence, output);
        side.backend.run(&sequences, width, cancel, &each)
    }

    /// Length of each text in tokens, without a prompt. Nothing is run but the tokenizer.
    ///
    /// # Examples
    /// ```
    /// # use sembla_models::{Model, ModelSpec};
    /// let model = Model::load(&ModelSpec::new("potion"))?;
    /// let counts = model.count_tokens(&["one two three", ""])?;
    /// assert_eq!((counts[0].tokens, counts[1].tokens), (3, 0));
    /// assert!(!counts[0].truncated);
    /// # Ok::<(), sembla_models::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// Failures of the tokenizer.
    pub fn count_tokens(&self, texts: &[&str]) -> Result<Vec<TokenCount>> {
        self.0.text()?.reader.count(texts, &CancelToken::new())
    }

    /// What reads texts.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a model that takes none.
    pub(crate) fn reader(&self) -> Result<&TextReader> {
        Ok(&self.0.text()?.reader)
    }

    /// The words that go before a text.
    pub(crate) fn prompt<'p>(&'p self, prompt: Prompt<'p>) -> Result<&'p str> {
        let info = self.info();
        let named = |name: &str| {
            info.prompts.iter().find(|(known, _)| known == name).map(|(_, prompt)| prompt.as_str())
        };
        let default = || info.default_prompt.as_deref().and_then(named).unwrap_or_default();
        Ok(match prompt {
            Prompt::Text(words) => words,
            Prompt::Default => default(),
            Prompt::Query => named("query").unwrap_or_default(),
            Prompt::Document => {
                ["document", "passage", "corpus"].into_iter().find_map(named).unwrap_or_default()
            }
            Prompt::Named(name) => named(name).ok_or_else(|| {
                let known: Vec<_> = info.prompts.iter().map(|(name, _)| name.as_str()).collect();
                let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
                ModelError::BadOption(format!(
                    "model '{}' has no prompt '{name}'; its prompts: {known}",
                    info.name
                ))
            })?,
        })
    }
}

/// The row at each place, `places × width`.
fn spread(values: &[f32], places: &[usize], width: usize) -> Vec<f32> {
    let row = |place: &usize| &values[place * width..(place + 1) * width];
    places.iter().flat_map(row).copied().collect()
}

/// Adds up what a chunk of sequences costs.
fn count(sequences: &[Sequence], work: &mut Work) {
    for sequence in sequences {
        work.tokens += sequence.ids.len() as u64;
        work.truncated += u64::from(sequence.truncated);
    }
}

/// The distinct inputs in order of first appearance, and for each input its place among them;
/// `None` where all differ.
fn distinct<T: Copy + Eq + std::hash::Hash>(inputs: &[T]) -> (Vec<T>, Option<Vec<usize>>) {
    let mut seen: HashMap<T, usize> = HashMap::with_capacity(inputs.len());
    let mut unique = Vec::with_capacity(inputs.len());
    let places: Vec<usize> = inputs
        .iter()
        .map(|input| {
            *seen.entry(*input).or_insert_with(|| {
                unique.push(*input);
                unique.len() - 1
            })
        })
        .collect();
    let repeated = unique.len() < inputs.len();
    (unique, repeated.then_some(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_inputs_are_found() {
        assert_eq!(distinct(&["a", "b", "a"]), (vec!["a", "b"], Some(vec![0, 1, 0])));
        assert_eq!(distinct(&["a", "b"]), (vec!["a", "b"], None));
        assert_eq!(distinct::<&str>(&[]), (vec![], None));
    }
}
