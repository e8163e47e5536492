//! Duplicates of a stream: rows that say what a row of the window before it, or one that was kept
//! in an earlier window within a horizon of event time, says already.
//!
//! A window is told apart as [`crate::dedup`] tells rows apart in a star, first come, first kept,
//! with what is remembered as the earlier corpus. Only kept rows are remembered. While nothing is
//! forgotten, windows that don't overlap keep what one call over all of their rows keeps.

use std::collections::HashMap;

use super::Window;
use super::bytes::{Reader, Writer};
use super::horizon::{Horizon, HorizonOptions, Key, check_tags};
use crate::dedup::{self, Distinct, Input, Keep, Near, Side, Verdict};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan};
use crate::neighbours::{Neighbour, check_threshold};
use crate::unit::UnitVectors;

/// Whose state it is.
const NAME: &str = "online deduplication";

/// How duplicates of a stream are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DedupOptions {
    /// Least cosine of two similar rows.
    pub threshold: f64,
    /// For how long kept rows are remembered.
    pub horizon: HorizonOptions,
}

impl Default for DedupOptions {
    fn default() -> Self {
        Self { threshold: 0.9, horizon: HorizonOptions::default() }
    }
}

/// The rows of a window, one of each for every row.
#[derive(Clone, Copy, Debug)]
pub struct DedupRows<'a> {
    /// What is similar. A row without a direction is similar to none.
    pub vectors: &'a UnitVectors,
    /// What is equal; `None` equals nothing.
    pub keys: &'a [Option<Key>],
    /// What names the rows in later windows. A row that has the tag of one that is remembered is
    /// that row again, as in windows that overlap.
    pub tags: &'a [&'a [u8]],
}

/// What became of a window's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowVerdicts {
    /// Of each row. A representative of an earlier window is a place in `earlier`.
    pub verdicts: Vec<Verdict>,
    /// The tags of all rows of earlier windows that stand for a row of this one.
    pub earlier: Vec<Box<[u8]>>,
}

/// Deduplication of a stream, window by window.
///
/// Memory: a vector and a tag for each row that is remembered. Time for `n` rows and `m` that are
/// remembered: `n·(m + n / 2)·d` at most.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineDedup {
    options: DedupOptions,
    kept: Horizon,
}

impl OnlineDedup {
    /// Before the first window.
    ///
    /// # Errors
    /// [`OperatorError::Option`] for options out of range.
    pub fn new(options: DedupOptions) -> Result<Self> {
        check_threshold(options.threshold)?;
        options.horizon.check()?;
        Ok(Self { options, kept: Horizon::new(options.horizon.precision) })
    }

    /// Number of rows that are remembered.
    pub fn remembered(&self) -> usize {
        self.kept.rows.len()
    }

    /// Takes in a window, its rows in their order.
    ///
    /// Rows that equal a remembered one are dropped first, then those within the threshold of one
    /// (the most similar is the representative; of equally similar ones the oldest), then the rest
    /// is told apart.
    ///
    /// # Errors
    /// Vectors of another dimension than those before, inputs of different lengths, what the host
    /// says. The state is then what it was.
    pub fn step(
        &mut self,
        window: Window,
        rows: &DedupRows<'_>,
        host: &dyn Host,
    ) -> Result<WindowVerdicts> {
        let _state = Loan::new(host, self.kept.bytes())?;
        check_tags(rows.vectors, rows.tags)?;
        if rows.keys.len() != rows.tags.len() {
            let (keys, tags) = (rows.keys.len(), rows.tags.len());
            return Err(OperatorError::Data(format!("{keys} keys don't match {tags} tags")));
        }
        let horizon = self.options.horizon;
        let seen = self.kept.seen(window, rows.tags, horizon.horizon);
        let mut places: HashMap<Key, u32> = HashMap::new();
        for (place, key) in (0..).zip(self.kept.all(&seen).map(|row| row.key)) {
            if let Some(key) = key {
                places.entry(key).or_insert(place);
            }
        }
        let equal = |key: &Option<Key>| key.and_then(|key| places.get(&key).copied());
        let equal_earlier: Vec<Option<u32>> = rows.keys.iter().map(equal).collect();
        let distinct = Distinct::of(keys(rows.keys), &Keep::First)?;
        let standing = distinct.standing();
        let _copy = Loan::new(host, standing.len() * rows.vectors.dimension() * size_of::<f32>())?;
        let vectors = rows.vectors.select(standing);
        let threshold = check_threshold(self.options.threshold)?;
        let nearest = self.kept.nearest(&seen, &vectors, 1, threshold, host)?;
        let earlier: Vec<Option<Neighbour>> =
            nearest.into_iter().map(|found| found.first().copied()).collect();
        let near = Near::Searched { rows: &vectors, earlier: &earlier };
        let input = Input { distinct: &distinct, near, equal_earlier: &equal_earlier };
        let options = dedup::DedupOptions {
            threshold: self.options.threshold,
            ..dedup::DedupOptions::default()
        };
        let verdicts = dedup::dedup(&input, &options, host)?;
        let found = self.with_tags(&seen, verdicts);

        self.kept.forget_unseen(&seen);
        let kept = (0..).zip(&found.verdicts).filter(|(_, verdict)| verdict.is_kept());
        let kept = kept.map(|(row, _)| (row, rows.keys.get(row as usize).copied().flatten()));
        self.kept.remember(window, kept, rows.vectors, rows.tags, horizon.rows_max);
        Ok(found)
    }

    /// Tells earlier representatives by their tags.
    fn with_tags(&self, seen: &super::horizon::Seen, verdicts: Vec<Verdict>) -> WindowVerdicts {
        let mut found = WindowVerdicts { verdicts, earlier: Vec::new() };
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for verdict in &mut found.verdicts {
            if verdict.side == Side::Here {
                continue;
            }
            let place = verdict.representative;
            verdict.representative = *numbers.entry(place).or_insert_with(|| {
                found.earlier.extend(self.kept.at(seen, place).map(|row| row.tag.clone()));
                found.earlier.len() as u32 - 1
            });
        }
        found
    }

    /// The state. Equal states give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(NAME);
        self.kept.write(&mut to);
        to.finish()
    }

    /// The operator with a state that [`Self::to_bytes`] gave.
    ///
    /// # Errors
    /// Options out of range, and [`OperatorError::Data`] for bytes that are damaged or of another
    /// operator or version.
    pub fn from_bytes(options: DedupOptions, bytes: &[u8]) -> Result<Self> {
        let new = Self::new(options)?;
        let mut from = Reader::new(NAME, bytes)?;
        let kept = Horizon::read(options.horizon.precision, &mut from)?;
        from.finish()?;
        Ok(Self { kept, ..new })
    }
}

/// What makes rows equal: their key, or else only the row itself.
fn keys(keys: &[Option<Key>]) -> impl Iterator<Item = Result<Key, u32>> {
    (0..).zip(keys).map(|(row, key)| key.ok_or(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::Reason;
    use crate::host::Unbounded;
    use crate::host::tests::Limited;
    use crate::online::bytes::tests::every_damage_is_refused;
    use crate::online::horizon::Precision;
    use crate::test_rows::{random_rows, random_topics};

    fn window(number: i64) -> Window {
        Window { start: number * 10, end: (number + 1) * 10 }
    }

    /// A window in memory: vectors, keys and tags.
    struct Rows {
        vectors: UnitVectors,
        keys: Vec<Option<Key>>,
        tags: Vec<Vec<u8>>,
    }

    impl Rows {
        /// Rows that are named from `first` on; some have equal keys, some have none.
        fn new(vectors: UnitVectors, first: usize, seed: usize) -> Self {
            let key = |row: usize| (row * 7 + seed) % 23;
            let keys = (0..vectors.rows()).map(|row| Some([key(row) as u8; 16]));
            let keys = keys.map(|key| key.filter(|key| key[0] < 9)).collect();
            let tags = (0..vectors.rows()).map(|row| (row + first).to_le_bytes().to_vec());
            Self { tags: tags.collect(), vectors, keys }
        }

        fn step(&self, dedup: &mut OnlineDedup, window: Window) -> WindowVerdicts {
            let tags: Vec<&[u8]> = self.tags.iter().map(Vec::as_slice).collect();
            let rows = DedupRows { vectors: &self.vectors, keys: &self.keys, tags: &tags };
            dedup.step(window, &rows, &Unbounded).expect("a window")
        }
    }

    /// A kept row in the slow way.
    #[derive(Clone)]
    struct Slow {
        end: i64,
        key: Option<Key>,
        tag: Vec<u8>,
        vector: Vec<f32>,
    }

    /// Of each row: the tag of its representative, the score and the reason; `None` if it is kept.
    type Told = Vec<Option<(Vec<u8>, f32, Reason)>>;

    /// [`OnlineDedup::step`], row by row.
    fn slow(kept: &mut Vec<Slow>, window: Window, rows: &Rows, options: &DedupOptions) -> Told {
        let horizon = options.horizon.horizon.unwrap_or(i64::MAX);
        kept.retain(|row| {
            row.end >= window.end.saturating_sub(horizon) && !rows.tags.contains(&row.tag)
        });
        let mut told: Told = Vec::new();
        let mut here: Vec<Slow> = Vec::new();
        for row in 0..rows.tags.len() {
            let vector = rows.vectors.row(row);
            let key = rows.keys[row];
            let nearest = |kept: &[Slow]| {
                let mut best: Option<(Vec<u8>, f32, Reason)> = None;
                for other in kept {
                    let score = crate::unit::cosine(vector, &other.vector);
                    let directed = |v: &[f32]| v.iter().any(|x| *x != 0.0);
                    let is_near = directed(vector) && directed(&other.vector);
                    if is_near
                        && score >= options.threshold as f32
                        && best.as_ref().is_none_or(|best| score > best.1)
                    {
                        best = Some((other.tag.clone(), score, Reason::Near));
                    }
                }
                best
            };
            let equal = |kept: &[Slow]| {
                let equal = kept.iter().find(|other| key.is_some() && other.key == key);
                equal.map(|other| (other.tag.clone(), 1.0, Reason::Exact))
            };
            // A row that equals one before it fares as that one did.
            let before = (0..row).find(|before| key.is_some() && rows.keys[*before] == key);
            let found = match before {
                Some(before) => Some(match &told[before] {
                    Some(dropped) => dropped.clone(),
                    None => (rows.tags[before].clone(), 1.0, Reason::Exact),
                }),
                None => equal(kept).or_else(|| nearest(kept)).or_else(|| nearest(&here)),
            };
            if found.is_none() {
                let (tag, vector) = (rows.tags[row].clone(), vector.to_vec());
                here.push(Slow { end: window.end, key, tag, vector });
            }
            told.push(found);
        }
        kept.extend(here);
        let excess = kept.len().saturating_sub(options.horizon.rows_max);
        kept.drain(..excess);
        told
    }

    fn told(rows: &Rows, found: &WindowVerdicts) -> Told {
        let tag = |verdict: &Verdict| match verdict.side {
            Side::Here => rows.tags[verdict.representative as usize].clone(),
            Side::Earlier => found.earlier[verdict.representative as usize].to_vec(),
        };
        let tell = |verdict: &Verdict| {
            Some((tag(verdict), verdict.score.expect("a score"), verdict.reason?))
        };
        found.verdicts.iter().map(|verdict| verdict.reason.and_then(|_| tell(verdict))).collect()
    }

    #[test]
    fn windows_are_told_apart_as_row_by_row() {
        for (seed, (horizon, rows_max)) in
            [(None, 1000), (Some(20), 1000), (Some(1000), 40), (Some(10), 5)]
                .into_iter()
                .enumerate()
        {
            let horizon = HorizonOptions { horizon, rows_max, precision: Precision::F32 };
            let options = DedupOptions { threshold: 0.85, horizon };
            let mut dedup = OnlineDedup::new(options).expect("options");
            let mut kept = Vec::new();
            for number in 0..7 {
                let seed = seed * 100 + number;
                // Every other window has half of the rows of the one before again.
                let first = number * 60;
                let vectors = random_rows(if number == 4 { 0 } else { 120 }, 6, seed as u64 / 2);
                let rows = Rows::new(vectors, first, seed);
                let found = rows.step(&mut dedup, window(number as i64));
                let wanted = slow(&mut kept, window(number as i64), &rows, &options);
                assert_eq!(told(&rows, &found), wanted, "window {number}");
                assert_eq!(dedup.remembered(), kept.len());
            }
        }
    }

    #[test]
    fn without_a_horizon_windows_keep_what_one_call_keeps() {
        let vectors = random_topics(400, 60, 8, 0.3, 5);
        let all = Rows::new(vectors.clone(), 0, 0);
        let mut dedup = OnlineDedup::new(DedupOptions::default()).expect("options");
        let once = all.step(&mut dedup, window(0));
        let mut dedup = OnlineDedup::new(DedupOptions::default()).expect("options");
        let mut kept = Vec::new();
        for (number, from) in (0..).zip((0..400).step_by(50)) {
            let positions: Vec<u32> = (from..from + 50).collect();
            let rows = Rows {
                vectors: vectors.select(&positions),
                keys: all.keys[from as usize..][..50].to_vec(),
                tags: all.tags[from as usize..][..50].to_vec(),
            };
            let found = rows.step(&mut dedup, window(number));
            kept.extend(found.verdicts.iter().map(Verdict::is_kept));
        }
        let wanted: Vec<bool> = once.verdicts.iter().map(Verdict::is_kept).collect();
        assert_eq!(kept, wanted);
        assert!(kept.iter().any(|kept| !kept));
    }

    #[test]
    fn a_state_goes_on_from_its_bytes_and_damage_is_refused() {
        for precision in [Precision::F32, Precision::Int8] {
            let horizon = HorizonOptions { precision, ..HorizonOptions::default() };
            let options = DedupOptions { threshold: 0.8, horizon };
            let mut whole = OnlineDedup::new(options).expect("options");
            let mut cut = whole.clone();
            for number in 0..4 {
                let rows = Rows::new(random_rows(30, 4, number), number as usize * 30, 0);
                let bytes = cut.to_bytes();
                cut = OnlineDedup::from_bytes(options, &bytes).expect("a state");
                assert_eq!(cut.to_bytes(), bytes);
                let wanted = rows.step(&mut whole, window(number as i64));
                assert_eq!(rows.step(&mut cut, window(number as i64)), wanted);
            }
            assert_eq!(cut, whole);
            let mut small = OnlineDedup::new(options).expect("options");
            Rows::new(random_rows(3, 2, 1), 0, 0).step(&mut small, window(0));
            every_damage_is_refused(&small.to_bytes(), |bytes| {
                OnlineDedup::from_bytes(options, bytes)
            });
        }
    }

    #[test]
    fn a_window_that_fails_changes_nothing() {
        let mut dedup = OnlineDedup::new(DedupOptions::default()).expect("options");
        Rows::new(random_rows(20, 4, 1), 0, 0).step(&mut dedup, window(0));
        let before = dedup.clone();
        let rows = Rows::new(random_rows(20, 5, 2), 20, 0);
        let tags: Vec<&[u8]> = rows.tags.iter().map(Vec::as_slice).collect();
        let rows = DedupRows { vectors: &rows.vectors, keys: &rows.keys, tags: &tags };
        let refused = dedup.step(window(1), &rows, &Unbounded).expect_err("other vectors");
        assert!(refused.to_string().contains("one model must embed the whole stream"), "{refused}");
        let poor = Limited { limit: 40, ..Limited::default() };
        assert!(matches!(dedup.step(window(1), &rows, &poor), Err(OperatorError::Memory(_))));
        let uneven = DedupRows { tags: &[], ..rows };
        assert!(dedup.step(window(1), &uneven, &Unbounded).is_err());
        assert_eq!(dedup, before);
        let horizon = HorizonOptions { horizon: Some(-1), ..HorizonOptions::default() };
        let refused = OnlineDedup::new(DedupOptions { horizon, ..DedupOptions::default() });
        assert!(refused.is_err());
    }
}
