//! The trainable weights of a network, and their gradients.
//!
//! A parameter can be several tensors of a file in one block: queries, keys and values are one
//! product. Tables have gradients for the rows that a batch touched, and no others.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sembla_models::ModelError;
use sembla_models::trainable::{FloatTensor, Tensors};

use crate::error::{Result, TrainError};

/// The number of a parameter in its network.
pub(crate) type ParameterId = usize;

/// A trainable weight.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// The tensors that it is made of, one below the other: name and shape.
    pub(crate) parts: Vec<(String, Vec<usize>)>,
    pub(crate) values: Vec<f32>,
    /// Whether weight decay applies: not to biases and norms.
    pub(crate) decays: bool,
    /// The width of a table's rows; `None` for what is used as a whole.
    pub(crate) row_width: Option<usize>,
}

/// All parameters of a network, and the tensors of its file that are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    pub(crate) all: Vec<Parameter>,
    /// What the network has but does not use, such as a pooler: written as it was.
    rest: Tensors,
}

impl Parameters {
    pub(crate) fn new(tensors: Tensors) -> Self {
        Self { all: Vec::new(), rest: tensors }
    }

    /// The values of a parameter.
    pub(crate) fn values(&self, id: ParameterId) -> &[f32] {
        &self.all[id].values
    }

    /// The number of trainable values.
    pub(crate) fn count(&self) -> usize {
        self.all.iter().map(|parameter| parameter.values.len()).sum()
    }

    /// A parameter that is not in the tensors.
    pub(crate) fn push(&mut self, parameter: Parameter) -> ParameterId {
        self.all.push(parameter);
        self.all.len() - 1
    }

    /// Makes a parameter of tensors, one below the other, whose shapes are checked.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub(crate) fn claim(
        &mut self,
        parts: &[(String, Vec<usize>)],
        decays: bool,
        row_width: Option<usize>,
        model: &str,
    ) -> Result<ParameterId> {
        let mut values = Vec::new();
        for (name, shape) in parts {
            let found = self.rest.remove(name).ok_or_else(|| wrong(model, name, None, shape))?;
            if found.shape != *shape {
                return Err(wrong(model, name, Some(&found.shape), shape));
            }
            match values.is_empty() {
                true => values = found.values,
                false => values.extend(found.values),
            }
        }
        Ok(self.push(Parameter { parts: parts.to_vec(), values, decays, row_width }))
    }

    /// The tensors as they are now, by name, for a file.
    pub(crate) fn tensors(&self) -> Tensors {
        let mut tensors = self.rest.clone();
        for parameter in &self.all {
            let mut first = 0;
            for (name, shape) in &parameter.parts {
                let size: usize = shape.iter().product();
                let values = parameter.values[first..first + size].to_vec();
                tensors.insert(name.clone(), FloatTensor { shape: shape.clone(), values });
                first += size;
            }
        }
        tensors
    }

    /// Gradients that are all zero.
    pub(crate) fn gradients(&self) -> Gradients {
        let one = |parameter: &Parameter| match parameter.row_width {
            Some(width) => Gradient::Rows(RowGradients { width, ..RowGradients::default() }),
            None => Gradient::Whole(vec![0.0; parameter.values.len()]),
        };
        Gradients(self.all.iter().map(one).collect())
    }
}

fn wrong(model: &str, name: &str, found: Option<&[usize]>, wanted: &[usize]) -> TrainError {
    let problem = match found {
        Some(found) => format!("has shape {found:?}; the configuration asks for {wanted:?}"),
        None => "is missing".to_string(),
    };
    let path = std::path::Path::new(model).join("model.safetensors");
    ModelError::file(path, format!("tensor '{name}' {problem}")).into()
}

/// The gradient of one parameter.
#[derive(Clone, Debug)]
pub(crate) enum Gradient {
    /// Of every value.
    Whole(Vec<f32>),
    /// Of some rows.
    Rows(RowGradients),
}

/// The gradients of some rows of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowGradients {
    pub(crate) width: usize,
    /// Which rows, and where each lies in `values`.
    pub(crate) places: BTreeMap<u32, usize>,
    pub(crate) values: Vec<f32>,
}

/// The gradients of all parameters.
#[derive(Clone, Debug)]
pub(crate) struct Gradients(pub(crate) Vec<Gradient>);

impl Gradients {
    /// The gradient of a parameter that is used as a whole.
    pub(crate) fn whole(&mut self, id: ParameterId) -> &mut [f32] {
        match &mut self.0[id] {
            Gradient::Whole(values) => values,
            Gradient::Rows(_) => &mut [],
        }
    }

    /// Two of them at once, the first with the smaller number.
    pub(crate) fn two(
        &mut self,
        first: ParameterId,
        second: ParameterId,
    ) -> (&mut [f32], &mut [f32]) {
        let (left, right) = self.0.split_at_mut(second);
        match (&mut left[first], &mut right[0]) {
            (Gradient::Whole(first), Gradient::Whole(second)) => (first, second),
            _ => (&mut [], &mut []),
        }
    }

    /// Adds `gradient` (a row per entry of `rows`) to the rows of a table, each row's in the order
    /// of the entries.
    pub(crate) fn add_rows(&mut self, id: ParameterId, rows: &[u32], gradient: &[f32]) {
        let Gradient::Rows(sums) = &mut self.0[id] else { return };
        let width = sums.width;
        let mut order: Vec<(u32, u32)> = rows.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let groups: Vec<&[(u32, u32)]> = order.chunk_by(|a, b| a.0 == b.0).collect();
        let added: Vec<Vec<f32>> = groups
            .par_iter()
            .map(|group| {
                let mut sum = vec![0f32; width];
                for (_, entry) in *group {
                    let from = &gradient[*entry as usize * width..][..width];
                    sum.iter_mut().zip(from).for_each(|(sum, value)| *sum += value);
                }
                sum
            })
            .collect();
        for (group, added) in groups.iter().zip(added) {
            sums.row(group[0].0).iter_mut().zip(added).for_each(|(sum, value)| *sum += value);
        }
    }

    /// Sets all to zero.
    pub(crate) fn clear(&mut self) {
        self.0.par_iter_mut().for_each(|gradient| match gradient {
            Gradient::Whole(values) => values.fill(0.0),
            Gradient::Rows(rows) => {
                rows.places.clear();
                rows.values.clear();
            }
        });
    }

    /// The length of all gradients as one vector, summed in one order in 64 bits.
    pub(crate) fn norm(&self) -> f64 {
        const PIECE: usize = 1 << 14;
        let squares = |values: &[f32]| -> f64 {
            let piece = |piece: &[f32]| -> f64 {
                let mut lanes = [0f64; 8];
                for block in piece.chunks(8) {
                    lanes.iter_mut().zip(block).for_each(|(sum, g)| *sum += f64::from(g * g));
                }
                lanes.iter().sum()
            };
            let pieces: Vec<f64> = values.par_chunks(PIECE).map(piece).collect();
            pieces.iter().sum()
        };
        let one = |gradient: &Gradient| match gradient {
            Gradient::Whole(values) => squares(values),
            Gradient::Rows(rows) => squares(&rows.values),
        };
        self.0.iter().map(one).sum::<f64>().sqrt()
    }

    /// Multiplies all by a factor.
    pub(crate) fn scale(&mut self, factor: f32) {
        for gradient in &mut self.0 {
            let (Gradient::Whole(values) | Gradient::Rows(RowGradients { values, .. })) = gradient;
            values.par_chunks_mut(1 << 14).for_each(|piece| {
                piece.iter_mut().for_each(|value| *value *= factor);
            });
        }
    }
}

impl RowGradients {
    /// The sum of a row, which is zero at first.
    fn row(&mut self, row: u32) -> &mut [f32] {
        let place = match self.places.get(&row) {
            Some(place) => *place,
            None => {
                let place = self.values.len();
                self.values.resize(place + self.width, 0.0);
                self.places.insert(row, place);
                place
            }
        };
        &mut self.values[place..place + self.width]
    }
}
