//! Which steps a run has, and how fast it is.

use std::time::Duration;

use crate::data::Dataset;
use crate::options::Options;

/// Which steps there are.
pub(crate) struct Plan {
    /// The first step of each epoch.
    pub(crate) epochs: Vec<usize>,
    /// All steps.
    pub(crate) steps: usize,
    /// Whether a batch has no text twice.
    pub(crate) unique: bool,
}

impl Plan {
    pub(crate) fn new(data: &Dataset, options: &Options, unique: bool) -> Self {
        let (mut epochs, mut steps) = (Vec::new(), 0);
        for epoch in 0..options.epochs {
            epochs.push(steps);
            let batches = match unique {
                true => data.batches(options.batch, true, options.seed, epoch as u64).len(),
                false => data.rows().div_ceil(options.batch),
            };
            steps += batches.div_ceil(options.accumulate);
        }
        let steps = options.steps_max.map_or(steps, |most| most.min(steps));
        Self { epochs, steps, unique }
    }
}

/// How fast a run is.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    pub(crate) texts: usize,
    pub(crate) steps: usize,
    pub(crate) seconds: f64,
}

impl Pace {
    /// Texts a second.
    pub(crate) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.texts as f64 / self.seconds } else { 0.0 }
    }

    /// How long so many steps take.
    pub(crate) fn left(&self, steps: usize) -> Duration {
        let each = self.seconds / self.steps.max(1) as f64;
        Duration::try_from_secs_f64(each * steps as f64).unwrap_or_default()
    }
}
