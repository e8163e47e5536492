//! ONNX Runtime: runs a transformer over many texts: cuts batches by tokens, feeds every worker,
//! gives results in input order.
//!
//! Graphs that Sembla builds run without padding: the tokens of a batch lie one after another.
//! Graphs that came as ONNX, and others where it is asked for, are padded to the longest text of a
//! batch. There, and on a GPU, texts are sorted by length first. What becomes of the token vectors
//! is left to the caller, but for what a graph for a GPU pools itself.

mod batch;
mod cuda;
mod fused;
mod images;
mod open;
mod plan;
mod profile;
mod sessions;

use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use ort::session::Session;

use self::batch::{Batch, BatchOutput};
use self::fused::FusedBatch;
pub(crate) use self::images::ImageEngine;
use self::open::{After, LoadedGraph};
use self::plan::Feed;
use self::sessions::Sessions;
use super::{Backend, Each, Facts, OperatorTime};
use crate::families::Transformer;
use crate::graph::Task;
use crate::inputs::{Input, Sequence, TextReader};
use crate::layout::{Layout, WeightFile};
use crate::onnx::check::Given;
use crate::weights::Weights;
use crate::{CancelToken, ModelError, ModelSpec, Result};

/// A transformer that is ready to run.
pub(super) struct Engine {
    sessions: Sessions,
    feed: Feed,
    facts: Facts,
    batch_tokens: usize,
    /// The outputs that may hold what is wanted; the first that is there counts.
    outputs: &'static [&'static str],
    /// Name of the model, for messages.
    model: String,
}

/// A batch to do: which sequences, and where their results go.
type Job<'a> = (Range<usize>, &'a mut [f32]);

/// The most tokens that the weights allow in a text; `None` where only running tells.
///
/// # Errors
/// A configuration that can't be built, for weights that need one.
pub(super) fn length_limit(layout: &Layout) -> Result<Option<usize>> {
    match layout.weights {
        WeightFile::Safetensors(_) => {
            let transformer = Transformer::parse(&layout.config, &layout.config_path)?;
            Ok(Some(transformer.config.max_tokens()))
        }
        WeightFile::Onnx(_) | WeightFile::Towers { .. } => {
            let positions = layout.config.get("max_position_embeddings");
            Ok(positions.and_then(|n| n.as_u64()).and_then(|n| usize::try_from(n).ok()))
        }
    }
}

impl Backend for Engine {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn run(
        &self,
        sequences: &[Sequence],
        width: usize,
        cancel: &CancelToken,
        each: &Each<'_>,
    ) -> Result<Vec<f32>> {
        let order = self.order(sequences);
        let mut values = vec![0f32; sequences.len() * width];
        let mut jobs: Vec<Job<'_>> = Vec::new();
        let mut rest = values.as_mut_slice();
        let lengths: Vec<usize> = order.iter().map(|row| sequences[*row].ids.len()).collect();
        for range in plan::cut(&lengths, &self.feed, self.batch_tokens) {
            let (part, later) = std::mem::take(&mut rest).split_at_mut(range.len() * width);
            rest = later;
            jobs.push((range, part));
        }
        let workers = self.sessions.limit().min(jobs.len());
        jobs.reverse();
        let jobs = Mutex::new(jobs);
        on_all(workers, &jobs, || self.work(sequences, &order, width, &jobs, cancel, each))?;
        Ok(unsort(values, &order, width))
    }

    fn operators(&self) -> Result<Vec<OperatorTime>> {
        self.sessions.profile()
    }
}

impl Engine {
    /// Builds or reads the graph, checks it against the tokenizer, and opens the first session.
    ///
    /// # Errors
    /// Files that don't fit each other, a precision or device that is not available, ONNX Runtime's
    /// refusal.
    pub(super) fn load(
        layout: &Layout,
        spec: &ModelSpec,
        reader: &TextReader,
        name: &str,
        profile: Option<&Path>,
    ) -> Result<Self> {
        Self::of(open::load(layout, spec, reader)?, spec, reader, name, profile)
    }

    /// Opens the first session of a text tower.
    ///
    /// # Errors
    /// Weights that don't fit the configuration, and those of [`Engine::load`].
    pub(super) fn load_tower(
        transformer: Transformer,
        weights: &Weights,
        layout: &Layout,
        spec: &ModelSpec,
        reader: &TextReader,
        name: &str,
    ) -> Result<Self> {
        open::check_vocabulary(transformer.config.vocabulary, reader, layout)?;
        let after = After::default();
        let built = open::built(transformer, weights, Task::Embed, after, spec)?;
        Self::of(built, spec, reader, name, None)
    }

    /// Opens the first session of a text tower that is an ONNX graph; `rows` is how many tokens it
    /// knows.
    ///
    /// # Errors
    /// A graph that gives no vector for a text, and those of [`Engine::load`].
    pub(super) fn load_tower_graph(
        path: &Path,
        rows: usize,
        layout: &Layout,
        spec: &ModelSpec,
        reader: &TextReader,
        name: &str,
    ) -> Result<Self> {
        open::check_vocabulary(rows, reader, layout)?;
        let graph = open::graph(layout, path, spec, Given::Texts, batch::OF_TEXT_TOWERS)?;
        let engine = Self::of(graph, spec, reader, name, None)?;
        match engine.facts.pooled {
            true => Ok(engine),
            false => Err(ModelError::file(path, "has no output text_embeds or pooler_output")),
        }
    }

    /// Opens the first session of a graph.
    fn of(
        loaded: LoadedGraph,
        spec: &ModelSpec,
        reader: &TextReader,
        name: &str,
        profile: Option<&Path>,
    ) -> Result<Self> {
        let LoadedGraph { feed, facts, .. } = &loaded;
        let config = match feed {
            Feed::Packed(config) => Some(&**config),
            Feed::Fused(feed) => Some(&feed.config),
            Feed::Padded => None,
        };
        let batch_tokens = plan::token_budget(spec, config, facts.precision, facts.parameters)?;
        let mut engine = Self {
            sessions: Sessions::open(loaded.source, spec, name, profile)?,
            feed: loaded.feed,
            facts: loaded.facts,
            batch_tokens,
            outputs: loaded.outputs,
            model: name.to_string(),
        };
        if engine.facts.width == 0 {
            engine.probe(reader)?;
        }
        Ok(engine)
    }

    /// Runs one text to see what a foreign graph gives.
    fn probe(&mut self, reader: &TextReader) -> Result<()> {
        let cancel = CancelToken::new();
        let sequences = reader.read(&[Input::Text("probe")], "", &cancel)?;
        let batch = Batch::padded(&sequences, &[0]);
        let mut session = self.sessions.take(&cancel)?;
        let output = batch.run(&mut session, self.outputs, &self.model)?;
        self.facts.pooled = output.shape.len() == 2;
        self.facts.width = match output.shape[..] {
            [1, width] if width > 0 => width,
            [1, tokens, width] if tokens == sequences[0].ids.len() && width > 0 => width,
            _ => {
                return Err(ModelError::Unsupported(format!(
                    "model '{}' returns a tensor of shape {:?} for one text; expected [texts, components] or [texts, tokens, components]",
                    self.model, output.shape
                )));
            }
        };
        if self.facts.labels > 0 {
            self.facts.labels = self.facts.width;
        }
        Ok(())
    }

    /// Does jobs until none is left.
    fn work(
        &self,
        sequences: &[Sequence],
        order: &[usize],
        width: usize,
        jobs: &Mutex<Vec<Job<'_>>>,
        cancel: &CancelToken,
        each: &Each<'_>,
    ) -> Result<()> {
        let next = || jobs.lock().map_or(None, |mut jobs| jobs.pop());
        let mut session = self.sessions.take(cancel)?;
        while let Some((range, target)) = next() {
            cancel.check()?;
            let rows = &order[range];
            let output = self.batch(&mut session, sequences, rows)?;
            for (place, row) in rows.iter().enumerate() {
                let result = each(&sequences[*row], output.of(place, &self.facts));
                super::place(&result, &mut target[place * width..(place + 1) * width])?;
            }
            cancel.done(rows.len());
        }
        Ok(())
    }

    /// Runs one batch.
    fn batch(
        &self,
        session: &mut Session,
        sequences: &[Sequence],
        rows: &[usize],
    ) -> Result<BatchOutput> {
        match &self.feed {
            Feed::Packed(config) => {
                Batch::packed(sequences, rows, config).run(session, self.outputs, &self.model)
            }
            Feed::Padded => Batch::padded(sequences, rows).run(session, self.outputs, &self.model),
            Feed::Fused(feed) => {
                let batch =
                    FusedBatch::new(sequences, rows, feed.form.layout, &feed.config, &feed.modes);
                batch.run(session, &self.facts, &self.model)
            }
        }
    }

    /// The order in which sequences run: by length where batches gain by it, else as they come.
    fn order(&self, sequences: &[Sequence]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        if self.feed.sorts() {
            order.sort_by_key(|row| std::cmp::Reverse(sequences[*row].ids.len()));
        }
        order
    }
}

/// Runs `work`, which does jobs until none is left, on some threads at once. After a failure the
/// others find no more jobs.
fn on_all(
    workers: usize,
    jobs: &Mutex<Vec<Job<'_>>>,
    work: impl Fn() -> Result<()> + Sync,
) -> Result<()> {
    let work = || {
        work().inspect_err(|_| {
            if let Ok(mut jobs) = jobs.lock() {
                jobs.clear();
            }
        })
    };
    if workers <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut outcome = work();
        for other in others {
            let theirs = other
                .join()
                .unwrap_or_else(|_| Err(ModelError::Bug("an inference worker panicked".into())));
            outcome = outcome.and(theirs);
        }
        outcome
    })
}

/// Puts rows that lie in `order` back into input order.
fn unsort(values: Vec<f32>, order: &[usize], width: usize) -> Vec<f32> {
    if order.is_sorted() {
        return values;
    }
    let mut sorted = vec![0f32; values.len()];
    for (place, row) in order.iter().enumerate() {
        sorted[row * width..(row + 1) * width]
            .copy_from_slice(&values[place * width..(place + 1) * width]);
    }
    sorted
}
