//! One batch: its input tensors, its run, and where each text's rows lie in the output.

use std::borrow::Cow;

use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use crate::backends::{Facts, Output};
use crate::config::TransformerConfig;
use crate::error::one_line;
use crate::inputs::Sequence;
use crate::{ModelError, Result};

/// Input tensors by the names that graphs use.
pub(super) struct Batch {
    /// `[tokens]`, or `[texts, longest]`.
    shape: Vec<i64>,
    ids: Vec<i64>,
    type_ids: Vec<i64>,
    positions: Vec<i64>,
    /// Starts of the texts and the end of the last; packed batches only.
    offsets: Vec<i64>,
    /// Which tokens are real; padded batches only.
    mask: Vec<i64>,
    /// Tokens of each text.
    lengths: Vec<usize>,
}

/// What a graph gave for a batch.
pub(super) struct BatchOutput {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
    /// Where each text starts and how many tokens it has, in rows of the output.
    pub(super) places: Vec<(usize, usize)>,
}

impl Batch {
    /// The tokens of the sequences `rows`, one after another.
    pub(super) fn packed(
        sequences: &[Sequence],
        rows: &[usize],
        config: &TransformerConfig,
    ) -> Self {
        let mut batch = Self::empty();
        batch.offsets.push(0);
        for sequence in rows.iter().map(|row| &sequences[*row]) {
            batch.push_tokens(sequence);
            config.push_positions(&sequence.ids, &mut batch.positions);
            batch.offsets.push(batch.ids.len() as i64);
        }
        batch.shape = vec![batch.ids.len() as i64];
        batch
    }

    /// The tokens of the sequences `rows`, each filled up to the longest.
    pub(super) fn padded(sequences: &[Sequence], rows: &[usize]) -> Self {
        let mut batch = Self::empty();
        let longest = rows.iter().map(|row| sequences[*row].ids.len()).max().unwrap_or(0).max(1);
        for (place, sequence) in rows.iter().map(|row| &sequences[*row]).enumerate() {
            batch.push_tokens(sequence);
            batch.mask.resize(batch.ids.len(), 1);
            let end = (place + 1) * longest;
            for tensor in [&mut batch.ids, &mut batch.type_ids, &mut batch.mask] {
                tensor.resize(end, 0);
            }
            batch.positions.extend(0..longest as i64);
        }
        batch.shape = vec![rows.len() as i64, longest as i64];
        batch
    }

    fn empty() -> Self {
        Self {
            shape: Vec::new(),
            ids: Vec::new(),
            type_ids: Vec::new(),
            positions: Vec::new(),
            offsets: Vec::new(),
            mask: Vec::new(),
            lengths: Vec::new(),
        }
    }

    fn push_tokens(&mut self, sequence: &Sequence) {
        self.ids.extend(sequence.ids.iter().map(|id| i64::from(*id)));
        match &sequence.type_ids {
            Some(types) => self.type_ids.extend(types.iter().map(|id| i64::from(*id))),
            None => self.type_ids.resize(self.ids.len(), 0),
        }
        self.lengths.push(sequence.ids.len());
    }

    /// Runs the batch. Of all outputs the first of `wanted` that the graph has counts, else its
    /// first.
    ///
    /// # Errors
    /// [`ModelError::Inference`] for ONNX Runtime's failures and for an input that no text can
    /// fill.
    pub(super) fn run(
        &self,
        session: &mut Session,
        wanted: &[&str],
        model: &str,
    ) -> Result<BatchOutput> {
        let fail = |message: String| ModelError::Inference { model: model.into(), message };
        let explain = |error: ort::Error| fail(one_line(&error.to_string()));
        if self.ids.is_empty() {
            // No token at all: nothing to run, every text is empty.
            return Ok(self.output(vec![0, 0], Vec::new()));
        }
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        for input in session.inputs() {
            let data = match input.name() {
                "input_ids" => &self.ids,
                "token_type_ids" => &self.type_ids,
                "position_ids" => &self.positions,
                "attention_mask" => &self.mask,
                "offsets" => &self.offsets,
                other => {
                    return Err(fail(format!(
                        "the graph has an input '{other}' that text can't fill"
                    )));
                }
            };
            let shape = if input.name() == "offsets" {
                vec![data.len() as i64]
            } else {
                self.shape.clone()
            };
            let tensor = TensorRef::from_array_view((shape, data.as_slice())).map_err(explain)?;
            inputs.push((Cow::Owned(input.name().to_string()), tensor.into()));
        }
        let name = output_name(session, wanted);
        let name = name.ok_or_else(|| fail("the graph has no output".into()))?;
        let outputs = session.run(inputs).map_err(explain)?;
        let output = outputs.get(&name).ok_or_else(|| fail(format!("no output '{name}'")))?;
        let (shape, values) = output.try_extract_tensor::<f32>().map_err(explain)?;
        let shape = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        Ok(self.output(shape, values.to_vec()))
    }

    fn output(&self, shape: Vec<usize>, values: Vec<f32>) -> BatchOutput {
        let stride = if self.offsets.is_empty() { shape.get(1).copied() } else { None };
        let mut start = 0;
        let places = self
            .lengths
            .iter()
            .map(|length| {
                let place = (start, *length);
                start += stride.unwrap_or(*length);
                place
            })
            .collect();
        BatchOutput { shape, values, places }
    }
}

impl BatchOutput {
    /// The rows of the text at `place` of the batch.
    pub(super) fn of(&self, place: usize, facts: &Facts) -> Output<'_> {
        let width = facts.width;
        if facts.pooled {
            let row = self.values.get(place * width..(place + 1) * width).unwrap_or_default();
            return Output::Whole(row);
        }
        let (start, length) = self.places.get(place).copied().unwrap_or_default();
        let rows = self.values.get(start * width..(start + length) * width).unwrap_or_default();
        Output::Tokens { values: rows, width }
    }
}

/// The outputs that may hold what a text needs; the first that is there counts.
pub(super) const OF_TEXTS: &[&str] =
    &["last_hidden_state", "token_embeddings", "logits", "sentence_embedding", "text_embeds"];

/// The same of a text tower.
pub(super) const OF_TEXT_TOWERS: &[&str] = &["text_embeds", "pooler_output"];

/// The same of an image tower.
pub(super) const OF_IMAGE_TOWERS: &[&str] = &["image_embeds", "pooler_output"];

/// The first of the `wanted` outputs that a graph has, else its first.
pub(super) fn output_name(session: &Session, wanted: &[&str]) -> Option<String> {
    let names: Vec<&str> = session.outputs().iter().map(|output| output.name()).collect();
    let found = wanted.iter().find(|name| names.contains(name)).copied();
    found.or(names.first().copied()).map(str::to_string)
}
