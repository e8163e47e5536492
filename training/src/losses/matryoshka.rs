//! Matryoshka: the same loss on the first components of each vector, for several counts of them, so
//! that vectors can be cut off later. Cut vectors are divided by their length. A weight of 1 each.

use super::vectors::{unit_rows, unit_rows_back};
use super::{Input, Loss};

/// A loss on several cuts of each vector.
#[derive(Debug)]
pub(crate) struct Matryoshka {
    pub(crate) loss: Box<dyn Loss>,
    /// How many components each cut keeps.
    pub(crate) dimensions: Vec<usize>,
}

impl Loss for Matryoshka {
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64 {
        let width = input.width;
        let mut sum = 0.0;
        for keep in &self.dimensions {
            let cuts: Vec<(Vec<f32>, Vec<f64>)> = input
                .columns
                .iter()
                .map(|column| {
                    let rows = column.chunks_exact(width).flat_map(|row| &row[..*keep]);
                    unit_rows(&rows.copied().collect::<Vec<f32>>(), *keep)
                })
                .collect();
            let columns: Vec<&[f32]> = cuts.iter().map(|(units, _)| &units[..]).collect();
            let mut gradients: Vec<Vec<f32>> =
                columns.iter().map(|column| vec![0.0; column.len()]).collect();
            let input = Input { columns: &columns, width: *keep, labels: input.labels };
            sum += self.loss.value(&input, &mut gradients);
            for (((units, lengths), gradient), out) in cuts.iter().zip(&gradients).zip(&mut *out) {
                let mut of_cut = vec![0f32; units.len()];
                unit_rows_back(units, lengths, gradient, *keep, &mut of_cut);
                for (cut, row) in of_cut.chunks_exact(*keep).zip(out.chunks_exact_mut(width)) {
                    row.iter_mut().zip(cut).for_each(|(to, add)| *to += add);
                }
            }
        }
        sum
    }
}
