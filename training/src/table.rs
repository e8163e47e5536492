//! The body of a static model: a text's vector is the mean of its tokens' vectors.

use rayon::prelude::*;

use crate::batch::Batch;
use crate::parameters::{Gradients, ParameterId, Parameters};

/// A table of token vectors.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) vectors: ParameterId,
    pub(crate) width: usize,
    pub(crate) rows: usize,
    /// The token that is left out of the mean.
    pub(crate) unknown: Option<u32>,
}

impl Table {
    /// The mean of each text; zeros where it has no token.
    pub(crate) fn forward(&self, parameters: &Parameters, batch: &Batch) -> Vec<f32> {
        let table = parameters.values(self.vectors);
        let mut out = vec![0f32; batch.texts() * self.width];
        out.par_chunks_mut(self.width).enumerate().for_each(|(text, out)| {
            let ids = &batch.ids[batch.range(text)];
            let known = || ids.iter().filter(|id| Some(**id) != self.unknown);
            for id in known() {
                let row = &table[*id as usize * self.width..][..self.width];
                out.iter_mut().zip(row).for_each(|(out, value)| *out += value);
            }
            let count = known().count().max(1) as f32;
            out.iter_mut().for_each(|out| *out /= count);
        });
        out
    }

    /// Adds the gradients of the rows, given those of the means.
    pub(crate) fn backward(&self, batch: &Batch, gradient: &[f32], gradients: &mut Gradients) {
        let (mut rows, mut shares) = (Vec::new(), Vec::new());
        for text in 0..batch.texts() {
            let ids = &batch.ids[batch.range(text)];
            let known: Vec<u32> =
                ids.iter().copied().filter(|id| Some(*id) != self.unknown).collect();
            let count = known.len().max(1) as f32;
            let gradient = &gradient[text * self.width..][..self.width];
            for _ in &known {
                shares.extend(gradient.iter().map(|value| value / count));
            }
            rows.extend(known);
        }
        gradients.add_rows(self.vectors, &rows, &shares);
    }
}
