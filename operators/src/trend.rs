//! When mini-batch k-means has moved its centres enough, as scikit-learn decides it.

/// It ends when the smoothed distance of so many batches in a row is no new best.
const PATIENCE_BATCHES: usize = 10;

/// Whether batches still get better: the exponentially weighted mean of their distances.
#[derive(Default)]
pub(crate) struct Trend {
    mean: Option<f64>,
    best: Option<f64>,
    /// Batches since the best.
    stale: usize,
}

impl Trend {
    /// Takes in a batch of so large a share of all rows; says whether it is time to end.
    pub(crate) fn stalls(&mut self, inertia: f64, share: f64) -> bool {
        let weight = (2.0 * share).min(1.0);
        let mean = self.mean.map_or(inertia, |mean| mean * (1.0 - weight) + inertia * weight);
        self.mean = Some(mean);
        if self.best.is_none_or(|best| mean < best) {
            self.best = Some(mean);
            self.stale = 0;
        } else {
            self.stale += 1;
        }
        self.stale >= PATIENCE_BATCHES
    }
}
