//! What a run would do, without doing it: rows are counted, a sample of them is embedded, and
//! nothing is written.

use std::fmt;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use sembla_models::{CancelToken, Model, ModelInfo, ModelSpec};

use super::chunks::Chunking;
use super::embedder::Pending;
use super::incremental::{self, Changes, hashes};
use super::output::{Output, OutputKind};
use super::sink::SinkAddress;
use super::snapshot::Snapshot;
use super::source::Source;
use super::vectors::Texts;
use super::{EmbedRequest, check_kept, content_of, load, manifest, prompt, rows_from, schema};
use crate::failure::{Failure, Result};
use crate::input::{Notice, Plan, Rows};
use crate::numbers::count;

/// Texts of a sample.
const SAMPLE_TEXTS: usize = 1024;
/// Places of the input that a sample is taken from.
const PLACES: usize = 8;
/// Texts that are embedded before the clock runs, so that what happens once is not counted.
const WARM_UP: usize = 16;
/// The sample is embedded until this time has passed.
const SAMPLE_TIME: Duration = Duration::from_secs(3);

/// What a run would do. Its text is one line for people.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// Rows of the input.
    pub rows: u64,
    /// Texts, or chunks of them, that would meet the model: exact where only changes are embedded,
    /// else from the share of the sample that is not NULL.
    pub texts: u64,
    /// What would be found changed, in a run that embeds only that.
    pub changes: Option<Changes>,
    /// Texts of the sample.
    pub sampled: u64,
    /// Tokens of those texts, as the model sees them.
    pub tokens: u64,
    /// How many of the texts would be truncated.
    pub truncated: u64,
    /// How long the model would take on this machine. What a cache has already, and equal texts,
    /// take less.
    pub time: Duration,
    /// The model.
    pub model: ModelInfo,
}

/// Estimates a run.
///
/// # Errors
/// Those of [`EmbedJob::begin`](super::EmbedJob::begin) that concern the input, the model and the
/// request, and [`Failure::Interrupted`] when `cancel` is set.
pub fn estimate(
    request: &EmbedRequest,
    notice: Notice<'_>,
    cancel: &CancelToken,
) -> Result<Estimate> {
    let sink = SinkAddress::of(request)?;
    if sink.is_some() && request.incremental.is_some() {
        return Err(Failure::user("--incremental needs a .parquet file as output, got a sink"));
    }
    let output = match sink {
        Some(_) => None,
        None => Some(Output::new(&request.output, request.overwrite)?),
    };
    let is_bare = output.as_ref().is_some_and(|output| output.kind == OutputKind::Npy);
    let mut request = request.clone();
    let _snapshot = Snapshot::take_for_once(&mut request, notice)?;
    let request = &request;
    let mut source = Source::of(request, is_bare, notice)?;
    check_kept(request, &source)?;
    // What a cache has would make the model look faster than it is.
    let model = load(&ModelSpec { cache: None, ..request.model.clone() }, request.of_images)?;
    source.cut(request, &model)?;
    let sample = sample(request, &source, &model, output.as_ref(), cancel)?;
    let (tokens, truncated) = sample.tokens(&model)?;
    let per_text = sample.time(request, &model, cancel)?;
    let of_all = |part: u64| scaled(part, sample.all, sample.texts.len());
    Ok(Estimate {
        rows: sample.rows,
        texts: sample.all,
        changes: sample.changes,
        sampled: sample.texts.len() as u64,
        tokens: of_all(tokens),
        truncated: of_all(truncated),
        time: per_text.mul_f64(sample.all as f64),
        model: model.info().clone(),
    })
}

/// What `part` of a sample is of all.
fn scaled(part: u64, all: u64, sampled: usize) -> u64 {
    (part as f64 * all as f64 / sampled.max(1) as f64).round() as u64
}

/// Some of the texts.
#[derive(Default)]
struct Sample {
    texts: Vec<String>,
    /// Rows of the input.
    rows: u64,
    /// How many texts there are in all.
    all: u64,
    changes: Option<Changes>,
    /// The last random number.
    random: u64,
}

fn sample(
    request: &EmbedRequest,
    source: &Source,
    model: &Model,
    output: Option<&Output>,
    cancel: &CancelToken,
) -> Result<Sample> {
    let Source::Texts(texts) = source else {
        return Err(Failure::user("--dry-run can't be used with images; it samples texts"));
    };
    let (plan, chunker) = (&texts.plan, texts.chunker.clone());
    let mut kept = plan.kept.clone();
    let mut text = content_of(source)?;
    let mut columns = plan.schema.clone();
    let (mut rows, read): (Pending<'_>, u64) = match request.incremental {
        Some(_) => (rows_from(request, source, 0), plan.rows),
        None => places(plan)?,
    };
    if let Some(chunker) = chunker {
        let cut = Chunking::new(chunker, cancel.clone(), &plan.schema, text, &kept);
        rows = Box::new(cut.of(rows, 0));
        let full = schema::schema(source, request, model)?;
        text = plan.kept.len() + super::chunks::fields().len() - 1;
        kept = (0..=text).collect();
        columns = std::sync::Arc::new(full.project(&kept).map_err(internal)?);
    }
    let mut sample = Sample { rows: plan.rows, ..Sample::default() };
    let (Some(how), Some(output)) = (&request.incremental, output) else {
        for batch in rows {
            cancel.check()?;
            let texts = Texts::new(batch?.column(text))?;
            sample.texts.extend(texts.present().into_iter().map(str::to_string));
        }
        sample.all = scaled(sample.texts.len() as u64, plan.rows, read as usize);
        sample.texts.truncate(SAMPLE_TEXTS);
        return Ok(sample);
    };
    let has_previous = incremental::has_previous(request, output)?;
    let run = incremental::Run { has_previous, ..Default::default() };
    if has_previous {
        output.check_same(&manifest(request, source, model, output.run()))?;
    }
    let hash = columns.fields().len();
    let from = (&*output.path, request.output_column.as_str(), model.info().dimension);
    let (rows, previous) = run.rows(rows, how, (from, None), (text, &kept), columns, 0)?;
    for batch in rows {
        cancel.check()?;
        let batch = batch?;
        let is_new = |content: &_| previous.as_ref().is_none_or(|p| p.row(content).is_none());
        sample.note_changed(&batch, (text, hash), is_new)?;
    }
    sample.changes = Some(run.changes.changes());
    Ok(sample)
}

/// Rows of some places of the input, and how many there are.
fn places(plan: &Plan) -> Result<(Pending<'_>, u64)> {
    let mut batches = Vec::with_capacity(PLACES);
    let (per_place, places) = (SAMPLE_TEXTS / PLACES, PLACES as u64);
    let mut end = 0;
    for place in 0..places {
        let start = plan.rows.saturating_mul(place) / places;
        // Of a short input no row comes twice.
        let Some(batch) = (start >= end).then(|| Rows::new(plan, start, per_place).next()) else {
            continue;
        };
        let Some(batch) = batch.transpose()? else { break };
        end = start + batch.num_rows() as u64;
        batches.push(batch);
    }
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    Ok((Box::new(batches.into_iter().map(Ok)), rows))
}

impl Sample {
    /// Notes the texts of a batch that would be embedded: each of all has the same chance to stay.
    fn note_changed(
        &mut self,
        batch: &RecordBatch,
        (text, hash): (usize, usize),
        is_new: impl Fn(&[u8; 16]) -> bool,
    ) -> Result<()> {
        let texts = Texts::new(batch.column(text))?;
        for (content, text) in hashes(batch.column(hash)).iter().zip(texts.all()) {
            let (Some(text), true) = (text, content.as_ref().is_some_and(&is_new)) else {
                continue;
            };
            self.all += 1;
            if self.texts.len() < SAMPLE_TEXTS {
                self.texts.push(text.to_string());
                continue;
            }
            let place = usize::try_from(self.next_random() % self.all).unwrap_or(usize::MAX);
            if let Some(other) = self.texts.get_mut(place) {
                *other = text.to_string();
            }
        }
        Ok(())
    }

    /// The same numbers in each run (Knuth's generator), the lower bits left out.
    fn next_random(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.random >> 16
    }

    /// Tokens of the texts, and how many are truncated.
    fn tokens(&self, model: &Model) -> Result<(u64, u64)> {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let most = model.info().max_length.unwrap_or(usize::MAX);
        let counts = model.count_tokens(&texts)?;
        let tokens = counts.iter().map(|count| count.tokens.min(most) as u64).sum();
        Ok((tokens, counts.iter().filter(|count| count.truncated).count() as u64))
    }

    /// How long the model takes for one text.
    fn time(
        &self,
        request: &EmbedRequest,
        model: &Model,
        cancel: &CancelToken,
    ) -> Result<Duration> {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let prompt = prompt(request);
        model.embed(texts.get(..WARM_UP).unwrap_or(&texts), prompt, cancel)?;
        let begun = Instant::now();
        let (mut done, mut step) = (0, WARM_UP);
        while done < texts.len() && begun.elapsed() < SAMPLE_TIME {
            let end = texts.len().min(done + step);
            model.embed(texts.get(done..end).unwrap_or_default(), prompt, cancel)?;
            (done, step) = (end, step * 2);
        }
        Ok(begun.elapsed().div_f64(done.max(1) as f64))
    }
}

fn internal(error: arrow::error::ArrowError) -> Failure {
    Failure::other(format!("internal error: {error}"))
}

impl Estimate {
    /// The estimate as a JSON object in one line.
    pub fn json(&self) -> String {
        let changes = self.changes;
        serde_json::json!({
            "rows": self.rows,
            "texts": self.texts,
            "new": changes.map(|changes| changes.new),
            "changed": changes.map(|changes| changes.changed),
            "unchanged": changes.map(|changes| changes.unchanged),
            "gone": changes.map(|changes| changes.gone),
            "sampled": self.sampled,
            "tokens": self.tokens,
            "truncated": self.truncated,
            "seconds": self.time.as_secs_f64(),
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
        })
        .to_string()
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows", count(self.rows))?;
        if let Some(Changes { new, changed, unchanged, gone }) = self.changes {
            let [new, changed, unchanged, gone] = [new, changed, unchanged, gone].map(count);
            write!(f, ", {new} new, {changed} changed, {unchanged} unchanged, {gone} gone")?;
        }
        write!(
            f,
            "; about {} texts to embed, {} tokens, {} truncated: about {} with {} ({}), from a sample of {}; nothing \
             was written",
            count(self.texts),
            count(self.tokens),
            count(self.truncated),
            words(self.time),
            self.model.name,
            self.model.precision,
            count(self.sampled)
        )
    }
}

/// A time as people say it.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{:.1} h", time.as_secs_f64() / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_scaled_to_all() {
        assert_eq!(scaled(10, 1000, 100), 100);
        assert_eq!(scaled(0, 1000, 0), 0);
    }

    #[test]
    fn times_are_said_in_fitting_units() {
        let said = |seconds| words(Duration::from_secs_f64(seconds));
        assert_eq!(said(0.25), "0.2 s");
        assert_eq!(said(75.0), "75 s");
        assert_eq!(said(600.0), "10 min");
        assert_eq!(said(9000.0), "2.5 h");
    }

    #[test]
    fn each_text_has_its_chance() {
        let mut sample = Sample::default();
        let numbers: Vec<u64> = (0..10_000).map(|_| sample.next_random() % 10).collect();
        for digit in 0..10 {
            let times = numbers.iter().filter(|number| **number == digit).count();
            assert!((800..1200).contains(&times), "{digit} came {times} times");
        }
    }
}
