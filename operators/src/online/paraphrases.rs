//! Paraphrases in a stream: pairs of a row of the window and another one, of the window or of an
//! earlier one within a horizon of event time.
//!
//! Each row of the window looks at its `top_k` most similar rows among all of these; of equally
//! similar ones the rows of earlier windows come first, the oldest before others, then those of the
//! window in their order. All rows with a direction are remembered.

use std::collections::BTreeMap;

use super::Window;
use super::bytes::{Reader, Writer};
use super::horizon::{Horizon, HorizonOptions, Seen, check_tags};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours::{Neighbours, check_threshold, top_k_within};
use crate::unit::UnitVectors;

/// Whose state it is.
const NAME: &str = "online paraphrases";

/// How paraphrases of a stream are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParaphraseOptions {
    /// Least cosine of a pair.
    pub threshold: f64,
    /// Most similar rows that each row of a window looks at; at least 1.
    pub top_k: usize,
    /// Most pairs of a window: the best.
    pub max_pairs: usize,
    /// For how long rows are remembered.
    pub horizon: HorizonOptions,
}

impl Default for ParaphraseOptions {
    fn default() -> Self {
        let horizon = HorizonOptions { rows_max: 100_000, ..HorizonOptions::default() };
        Self { threshold: 0.8, top_k: 10, max_pairs: 500_000, horizon }
    }
}

/// A row of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A row of an earlier window, by its place in [`WindowPairs::earlier`].
    Earlier(u32),
    /// A row of the window.
    Here(u32),
}

/// Two rows and their cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnlinePair {
    /// The one that was there first.
    pub a: Place,
    /// The other, which is always a row of the window.
    pub b: u32,
    /// Their cosine.
    pub score: f32,
}

/// The pairs of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowPairs {
    /// The best first; of equally good ones the one whose rows were there first.
    pub pairs: Vec<OnlinePair>,
    /// The tags of all rows of earlier windows that are in a pair.
    pub earlier: Vec<Box<[u8]>>,
}

/// Paraphrases of a stream, window by window.
///
/// Memory: a vector and a tag for each row that is remembered. Time for `n` rows and `m` that are
/// remembered: `n·(m + n / 2)·d`.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineParaphrases {
    options: ParaphraseOptions,
    rows: Horizon,
}

impl OnlineParaphrases {
    /// Before the first window.
    ///
    /// # Errors
    /// [`OperatorError::Option`] for options out of range.
    pub fn new(options: ParaphraseOptions) -> Result<Self> {
        check_threshold(options.threshold)?;
        options.horizon.check()?;
        if options.top_k == 0 {
            return Err(OperatorError::Option("top_k must be >= 1, got 0".into()));
        }
        Ok(Self { options, rows: Horizon::new(options.horizon.precision) })
    }

    /// Number of rows that are remembered.
    pub fn remembered(&self) -> usize {
        self.rows.rows.len()
    }

    /// Takes in a window, its rows in their order. `tags` name them in later windows; a row that
    /// has the tag of one that is remembered is that row again, as in windows that overlap.
    ///
    /// # Errors
    /// Vectors of another dimension than those before, inputs of different lengths, what the host
    /// says. The state is then what it was.
    pub fn step(
        &mut self,
        window: Window,
        vectors: &UnitVectors,
        tags: &[&[u8]],
        host: &dyn Host,
    ) -> Result<WindowPairs> {
        let _state = Loan::new(host, self.rows.bytes())?;
        check_tags(vectors, tags)?;
        let ParaphraseOptions { threshold, top_k, horizon, .. } = self.options;
        let threshold = check_threshold(threshold)?;
        let seen = self.rows.seen(window, tags, horizon.horizon);
        let _found = Loan::new(host, 3 * Neighbours::bytes(vectors.rows(), top_k))?;
        let earlier = self.rows.nearest(&seen, vectors, top_k, threshold, host)?;
        let here = top_k_within(vectors, top_k, threshold, host)?;
        let mut pairs: BTreeMap<(Place, u32), f32> = BTreeMap::new();
        for (row, earlier) in (0_u32..).zip(&earlier) {
            if row.is_multiple_of(1024) {
                check(host)?;
            }
            let earlier = earlier.iter().map(|found| (Place::Earlier(found.row), found.score));
            let here = here.of(row as usize).iter();
            let here = here.map(|found| (Place::Here(found.row), found.score));
            let mut all: Vec<(Place, f32)> = earlier.chain(here).collect();
            all.sort_by(|x, y| y.1.total_cmp(&x.1).then(x.0.cmp(&y.0)));
            for (other, score) in all.into_iter().take(top_k) {
                let pair = match other {
                    Place::Here(other) => (Place::Here(row.min(other)), row.max(other)),
                    Place::Earlier(_) => (other, row),
                };
                pairs.insert(pair, score);
            }
        }
        let found = self.best(&seen, pairs);
        self.rows.forget_unseen(&seen);
        let directed = super::directed(vectors).into_iter().map(|row| (row, None));
        self.rows.remember(window, directed, vectors, tags, horizon.rows_max);
        Ok(found)
    }

    /// The best pairs, with the tags of their earlier rows.
    fn best(&self, seen: &Seen, pairs: BTreeMap<(Place, u32), f32>) -> WindowPairs {
        let pair = |((a, b), score): ((Place, u32), f32)| OnlinePair { a, b, score };
        let mut pairs: Vec<OnlinePair> = pairs.into_iter().map(pair).collect();
        // The sort keeps the order of rows among equals.
        pairs.sort_by(|x, y| y.score.total_cmp(&x.score));
        pairs.truncate(self.options.max_pairs);
        let mut found = WindowPairs { pairs, earlier: Vec::new() };
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        for pair in &mut found.pairs {
            if let Place::Earlier(place) = &mut pair.a {
                *place = *numbers.entry(*place).or_insert_with(|| {
                    found.earlier.extend(self.rows.at(seen, *place).map(|row| row.tag.clone()));
                    found.earlier.len() as u32 - 1
                });
            }
        }
        found
    }

    /// The state. Equal states give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(NAME);
        self.rows.write(&mut to);
        to.finish()
    }

    /// The operator with a state that [`Self::to_bytes`] gave.
    ///
    /// # Errors
    /// Options out of range, and [`OperatorError::Data`] for bytes that are damaged or of another
    /// operator or version.
    pub fn from_bytes(options: ParaphraseOptions, bytes: &[u8]) -> Result<Self> {
        let new = Self::new(options)?;
        let mut from = Reader::new(NAME, bytes)?;
        let rows = Horizon::read(options.horizon.precision, &mut from)?;
        from.finish()?;
        Ok(Self { rows, ..new })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unbounded;
    use crate::online::bytes::tests::every_damage_is_refused;
    use crate::online::horizon::Precision;
    use crate::test_rows::random_rows;
    use crate::unit::cosine;

    fn window(number: i64) -> Window {
        Window { start: number * 10, end: (number + 1) * 10 }
    }

    fn tags(rows: usize, first: usize) -> Vec<Vec<u8>> {
        (0..rows).map(|row| (row + first).to_le_bytes().to_vec()).collect()
    }

    fn step(
        paraphrases: &mut OnlineParaphrases,
        number: i64,
        vectors: &UnitVectors,
        tags: &[Vec<u8>],
    ) -> WindowPairs {
        let tags: Vec<&[u8]> = tags.iter().map(Vec::as_slice).collect();
        paraphrases.step(window(number), vectors, &tags, &Unbounded).expect("a window")
    }

    /// A remembered row in the slow way: the end of its window, its tag and its vector.
    type Slow = (i64, Vec<u8>, Vec<f32>);

    /// [`OnlineParaphrases::step`], pair by pair, with tags.
    fn slow(
        past: &mut Vec<Slow>,
        number: i64,
        vectors: &UnitVectors,
        tags: &[Vec<u8>],
        options: &ParaphraseOptions,
    ) -> Vec<(Vec<u8>, Vec<u8>, f32)> {
        let end = window(number).end;
        let since = end.saturating_sub(options.horizon.horizon.unwrap_or(i64::MAX));
        past.retain(|row| row.0 >= since && !tags.contains(&row.1));
        let directed = |vector: &[f32]| vector.iter().any(|x| *x != 0.0);
        let all: Vec<Slow> = past
            .iter()
            .cloned()
            .chain((0..tags.len()).map(|row| (end, tags[row].clone(), vectors.row(row).to_vec())))
            .collect();
        let mut pairs: Vec<(usize, usize, f32)> = Vec::new();
        for b in past.len()..all.len() {
            let mut found: Vec<(usize, f32)> = (0..all.len())
                .filter(|a| *a != b && directed(&all[*a].2) && directed(&all[b].2))
                .map(|a| (a, cosine(&all[a].2, &all[b].2)))
                .filter(|found| found.1 >= options.threshold as f32)
                .collect();
            found.sort_by(|x, y| y.1.total_cmp(&x.1).then(x.0.cmp(&y.0)));
            found.truncate(options.top_k);
            pairs.extend(found.into_iter().map(|(a, score)| (a.min(b), a.max(b), score)));
        }
        pairs.sort_by(|x, y| y.2.total_cmp(&x.2).then((x.0, x.1).cmp(&(y.0, y.1))));
        pairs.dedup();
        pairs.truncate(options.max_pairs);
        let told = pairs.iter().map(|(a, b, score)| (all[*a].1.clone(), all[*b].1.clone(), *score));
        let told = told.collect();
        *past = all.into_iter().filter(|row| directed(&row.2)).collect();
        let excess = past.len().saturating_sub(options.horizon.rows_max);
        past.drain(..excess);
        told
    }

    #[test]
    fn pairs_are_those_of_a_plain_double_loop() {
        for (seed, (horizon, rows_max, top_k, max_pairs)) in
            [(None, 1000, 3, 1000), (Some(20), 1000, 200, 100_000), (Some(50), 90, 1, 50)]
                .into_iter()
                .enumerate()
        {
            let horizon = HorizonOptions { horizon, rows_max, precision: Precision::F32 };
            let options = ParaphraseOptions { threshold: 0.7, top_k, max_pairs, horizon };
            let mut paraphrases = OnlineParaphrases::new(options).expect("options");
            let mut past = Vec::new();
            for number in 0..6 {
                // Every other window has half of the rows of the one before again.
                let rows = if number == 3 { 1 } else { 80 };
                let vectors = random_rows(rows, 5, (seed * 100 + number / 2) as u64);
                let tags = tags(rows, number * 40);
                let found = step(&mut paraphrases, number as i64, &vectors, &tags);
                let tag = |place| match place {
                    Place::Earlier(place) => found.earlier[place as usize].to_vec(),
                    Place::Here(row) => tags[row as usize].clone(),
                };
                let told: Vec<_> = (found.pairs.iter())
                    .map(|pair| (tag(pair.a), tag(Place::Here(pair.b)), pair.score))
                    .collect();
                let wanted = slow(&mut past, number as i64, &vectors, &tags, &options);
                assert_eq!(told, wanted, "window {number}");
                assert_eq!(paraphrases.remembered(), past.len());
            }
        }
    }

    #[test]
    fn a_state_goes_on_from_its_bytes_and_damage_is_refused() {
        let horizon = HorizonOptions { precision: Precision::Int8, ..HorizonOptions::default() };
        let options = ParaphraseOptions { horizon, ..ParaphraseOptions::default() };
        let mut whole = OnlineParaphrases::new(options).expect("options");
        let mut cut = whole.clone();
        for number in 0..4 {
            let (vectors, tags) = (random_rows(30, 4, number), tags(30, number as usize * 30));
            cut = OnlineParaphrases::from_bytes(options, &cut.to_bytes()).expect("a state");
            let wanted = step(&mut whole, number as i64, &vectors, &tags);
            assert_eq!(step(&mut cut, number as i64, &vectors, &tags), wanted);
        }
        assert_eq!(cut, whole);
        let mut small = OnlineParaphrases::new(options).expect("options");
        step(&mut small, 0, &random_rows(3, 2, 1), &tags(3, 0));
        every_damage_is_refused(&small.to_bytes(), |bytes| {
            OnlineParaphrases::from_bytes(options, bytes)
        });
        let none = ParaphraseOptions { top_k: 0, ..options };
        assert!(OnlineParaphrases::new(none).is_err());
    }
}
