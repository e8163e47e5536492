//! The learning rate of each step: a linear warm-up, then a fall to zero in a line or along a
//! cosine, or none. Formulas are those of `transformers`.

use std::str::FromStr;

use crate::error::TrainError;

/// How the learning rate goes after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// In a line to zero.
    #[default]
    Linear,
    /// Along half a cosine to zero.
    Cosine,
    /// It stays.
    Constant,
}

impl FromStr for Schedule {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text.to_ascii_lowercase().as_str() {
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine),
            "constant" => Ok(Self::Constant),
            _ => Err(TrainError::Option(format!(
                "schedule must be linear, cosine or constant, got '{text}'"
            ))),
        }
    }
}

impl Schedule {
    /// The learning rate of step `step` of `steps`, from 0 on, after `warmup` steps of warm-up.
    pub(crate) fn rate(self, highest: f32, step: usize, warmup: usize, steps: usize) -> f32 {
        let highest = f64::from(highest);
        let share = if step < warmup {
            step as f64 / warmup.max(1) as f64
        } else {
            let length = steps.saturating_sub(warmup).max(1) as f64;
            let done = (step - warmup) as f64 / length;
            match self {
                Self::Linear => (1.0 - done).max(0.0),
                Self::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * done).cos())).max(0.0),
                Self::Constant => 1.0,
            }
        };
        (highest * share) as f32
    }
}
