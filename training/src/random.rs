//! Numbers that look random and follow from a seed: shuffles, new weights, and which values dropout
//! keeps.
//!
//! Dropout needs no state: what is kept is a function of the seed, the step, the place in the
//! network and the value's index, so that the way back finds the same values without storing them,
//! and any number of threads gives the same.

/// The constants of SplitMix64.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A generator (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A whole number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// An order of the numbers below `count`.
    pub(crate) fn order(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }

    /// A number between 0 and 1, neither of them.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A number of the standard normal distribution.
    pub(crate) fn normal(&mut self) -> f32 {
        let (radius, angle) = (self.unit(), self.unit());
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
    }
}

/// Mixes 64 bits.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Which values a forward pass drops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    /// Share of hidden values that are dropped.
    pub(crate) hidden: f32,
    /// Share of attention weights that are dropped.
    pub(crate) attention: f32,
    /// What else decides: seed and step.
    pub(crate) seed: u64,
}

/// Dropout at one place of the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    key: u32,
    /// A value is kept if its hash is at least this.
    threshold: u32,
    scale: f32,
}

impl Dropout {
    /// The place number `place` among those of hidden values; `None` where nothing is dropped.
    pub(crate) fn hidden_site(&self, place: u64) -> Option<Site> {
        Site::new(self.hidden, self.seed, 2 * place)
    }

    /// The attention of layer `layer`.
    pub(crate) fn attention_site(&self, layer: u64) -> Option<Site> {
        Site::new(self.attention, self.seed, 2 * layer + 1)
    }
}

impl Site {
    fn new(share: f32, seed: u64, place: u64) -> Option<Self> {
        if share <= 0.0 {
            return None;
        }
        Some(Self {
            key: mix(seed ^ mix(place.wrapping_add(STEP))) as u32,
            threshold: (f64::from(share) * 2f64.powi(32)) as u32,
            scale: 1.0 / (1.0 - share),
        })
    }

    /// The place of a row of values within this one.
    #[inline(always)]
    pub(crate) fn row(self, row: u32) -> Self {
        Self { key: hash(self.key ^ row.wrapping_mul(0x9E37_79B9)), ..self }
    }

    /// What value number `index` is multiplied by: 0, or what makes up for those that are 0.
    #[inline(always)]
    pub(crate) fn factor(self, index: u32) -> f32 {
        if hash(self.key ^ index) >= self.threshold { self.scale } else { 0.0 }
    }
}

/// Mixes 32 bits.
#[inline(always)]
fn hash(value: u32) -> u32 {
    let value = (value ^ (value >> 16)).wrapping_mul(0x7FEB_352D);
    let value = (value ^ (value >> 15)).wrapping_mul(0x846C_A68B);
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_drops_its_share_and_keeps_the_mean() {
        let dropout = Dropout { hidden: 0.1, attention: 0.0, seed: 7 };
        assert!(dropout.attention_site(0).is_none());
        let site = dropout.hidden_site(3).expect("a site");
        let values: Vec<f32> =
            (0..400).flat_map(|row| (0..384).map(move |i| site.row(row).factor(i))).collect();
        let dropped = values.iter().filter(|value| **value == 0.0).count() as f32;
        assert!((dropped / values.len() as f32 - 0.1).abs() < 0.003);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.004);
        let other = dropout.hidden_site(4).expect("a site");
        let same = (0..384).filter(|i| site.row(0).factor(*i) == other.row(0).factor(*i)).count();
        assert!(same < 384, "two places drop different values");
    }

    #[test]
    fn an_order_has_every_number_once() {
        let mut order = Random::new(5).order(1000);
        assert_ne!(order, (0..1000).collect::<Vec<u32>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<u32>>());
    }
}
