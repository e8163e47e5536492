//! Losses: from the vectors of a batch to a number and the gradient of every vector.
//!
//! Each file holds one kind and declares what rows it takes; [`LOSSES`] lists them all. Values and
//! gradients are those of Sentence-Transformers 6.2, which a test holds them to. How vectors come
//! about is left to the network.

mod contrastive;
mod cosent;
mod cosine;
mod kl;
mod matryoshka;
mod mse;
mod ranking;
mod score;
mod triplet;
mod vectors;

use std::fmt::Debug;

pub(crate) use matryoshka::Matryoshka;

use crate::error::{Result, TrainError};

/// What a loss is computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    /// The vectors of each column of texts, `rows × width`.
    pub(crate) columns: &'a [&'a [f32]],
    pub(crate) width: usize,
    pub(crate) labels: &'a Labels,
}

impl Input<'_> {
    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.len() / self.width)
    }
}

/// What is said of each row beside its texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Labels {
    /// Nothing.
    #[default]
    None,
    /// Numbers: a score or a label 0 or 1, or one margin for each negative; `per_row` a row.
    Scores {
        /// The numbers, row after row.
        values: Vec<f32>,
        /// How many a row has.
        per_row: usize,
    },
    /// The number of a class.
    Classes(Vec<u32>),
    /// A teacher's vector, `rows × width`.
    Vectors {
        /// The vectors, row after row.
        values: Vec<f32>,
        /// Components of each.
        width: usize,
    },
}

impl Labels {
    /// The labels of some rows.
    pub(crate) fn select(&self, rows: &[u32]) -> Self {
        fn pick<T: Copy>(values: &[T], width: usize, rows: &[u32]) -> Vec<T> {
            let row = |row: &u32| &values[*row as usize * width..][..width];
            rows.iter().flat_map(row).copied().collect()
        }
        match self {
            Self::None => Self::None,
            Self::Scores { values, per_row } => {
                Self::Scores { values: pick(values, *per_row, rows), per_row: *per_row }
            }
            Self::Classes(values) => Self::Classes(pick(values, 1, rows)),
            Self::Vectors { values, width } => {
                Self::Vectors { values: pick(values, *width, rows), width: *width }
            }
        }
    }

    /// The numbers; none where there are others or none.
    fn scores(&self) -> &[f32] {
        match self {
            Self::Scores { values, .. } => values,
            _ => &[],
        }
    }
}

/// What a loss says of a row beside its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// Nothing.
    None,
    /// A number.
    Score,
    /// 0 or 1.
    Binary,
    /// A class: a number or a name.
    Class,
    /// A number for each negative, or one for the positive and each negative.
    Margins,
    /// A teacher's vector.
    Vector,
}

/// Which rows a loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowShape {
    /// Fewest texts of a row.
    pub texts_min: usize,
    /// Most texts of a row.
    pub texts_max: usize,
    /// What goes with them.
    pub label: LabelKind,
    /// Whether the loss is for a model that scores pairs.
    pub scores_pairs: bool,
    /// What such rows look like, in words.
    pub words: &'static str,
}

/// Numbers that some losses take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossOptions {
    /// What cosines are multiplied by; `None` is the loss's own.
    pub scale: Option<f32>,
    /// The distance that is far enough; `None` is the loss's own.
    pub margin: Option<f32>,
}

/// A loss: its name, its rows and how it is made.
#[derive(Debug)]
pub struct LossDef {
    /// The name that users type.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What it is for, in a line.
    pub about: &'static str,
    /// Which rows it takes.
    pub shape: RowShape,
    /// Whether two equal texts in a batch spoil it.
    pub unique: bool,
    /// Makes it.
    pub(crate) build: fn(LossOptions) -> Box<dyn Loss>,
}

/// A number for a batch, and its gradient.
pub(crate) trait Loss: Debug + Send + Sync {
    /// The loss of a batch; adds the gradient of each column to its place in `out`.
    fn value(&self, input: &Input<'_>, out: &mut [Vec<f32>]) -> f64;
}

/// Every loss.
#[rustfmt::skip]
pub static LOSSES: &[&LossDef] = &[
    &ranking::MULTIPLE_NEGATIVES,
    &cosent::COSENT,
    &cosine::COSINE,
    &triplet::TRIPLET,
    &triplet::BATCH_ALL,
    &contrastive::CONTRASTIVE,
    &contrastive::ONLINE,
    &mse::MSE,
    &mse::MARGIN_MSE,
    &kl::DISTIL_KL,
    &score::BCE,
    &score::SCORE_MSE,
];

/// The loss of that name.
///
/// # Errors
/// [`TrainError::Option`] that lists all names.
pub fn find(name: &str) -> Result<&'static LossDef> {
    let lower = name.to_ascii_lowercase();
    let is_it = |def: &&&LossDef| def.name == lower || def.aliases.contains(&&*lower);
    LOSSES.iter().find(is_it).copied().ok_or_else(|| {
        let names: Vec<&str> = LOSSES.iter().map(|def| def.name).collect();
        TrainError::Option(format!("unknown loss '{name}'; losses: {}", names.join(", ")))
    })
}
