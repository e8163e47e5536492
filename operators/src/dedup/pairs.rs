//! Which distinct rows are similar: by their vectors, or by a list of pairs that were saved or had
//! to be confirmed.

use std::collections::HashMap;
use std::sync::Mutex;

use super::{Confirmation, Distinct, Input, Near, Side};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours::{self, Neighbour, Pair, PairSink};
use crate::unit::UnitVectors;

/// Similar distinct rows.
pub(super) enum Similar<'a> {
    /// Those with a cosine of at least the threshold.
    Vectors { vectors: &'a UnitVectors, threshold: f32 },
    /// These pairs of different ones, either first. The vectors, if there are any, give the scores
    /// of other pairs.
    Pairs { pairs: PairList<'a>, vectors: Option<&'a UnitVectors> },
}

impl<'a> Similar<'a> {
    pub(super) fn within(
        input: &Input<'a>,
        threshold: f32,
        confirmation: Option<Confirmation<'_>>,
        host: &'a dyn Host,
    ) -> Result<Self> {
        let vectors = match input.near {
            Near::Vectors { rows, .. } | Near::Searched { rows, .. } => Some(rows),
            Near::Pairs { .. } => None,
        };
        match (vectors, confirmation) {
            (Some(vectors), None) => Ok(Self::Vectors { vectors, threshold }),
            _ => {
                let pairs = list(Side::Here, input, threshold, confirmation, host)?;
                Ok(Self::Pairs { pairs, vectors })
            }
        }
    }
}

/// Pairs in memory that is lent.
pub(crate) struct PairList<'a> {
    pub(crate) pairs: Vec<Pair>,
    loan: Loan<'a>,
}

impl<'a> PairList<'a> {
    pub(super) fn new(host: &'a dyn Host) -> Result<Self> {
        Ok(Self { pairs: Vec::new(), loan: Loan::new(host, 0)? })
    }

    fn extend(&mut self, pairs: &[Pair]) -> Result<()> {
        let needed = self.pairs.len() + pairs.len();
        if needed > self.pairs.capacity() {
            // Old and new memory, while one is copied to the other.
            let capacity = needed.max(2 * self.pairs.capacity());
            self.loan.resize((capacity + self.pairs.capacity()) * size_of::<Pair>())?;
            self.pairs.reserve_exact(capacity - self.pairs.len());
            self.loan.resize(capacity * size_of::<Pair>())?;
        }
        self.pairs.extend_from_slice(pairs);
        Ok(())
    }

    /// All pairs of a search, in no order.
    pub(crate) fn collect(
        host: &'a dyn Host,
        search: impl FnOnce(&PairSink<'_>) -> Result<()>,
    ) -> Result<Self> {
        let list = Mutex::new(Self::new(host)?);
        let poisoned = || OperatorError::Bug("a thread panicked among pairs".into());
        search(&|pairs| list.lock().map_err(|_| poisoned())?.extend(pairs))?;
        list.into_inner().map_err(|_| poisoned())
    }
}

/// Gives every pair of different rows with a cosine of at least `threshold` to `sink`, so that they
/// can be saved for [`Near::Pairs`]. Of equal rows only the standing one is paired. `vectors` are
/// those of [`Distinct::standing`].
///
/// # Errors
/// A threshold that is no cosine, what the host or the sink says.
pub fn emit_pairs(
    distinct: &Distinct,
    vectors: &UnitVectors,
    threshold: f64,
    host: &dyn Host,
    sink: &PairSink<'_>,
) -> Result<()> {
    let threshold = neighbours::check_threshold(threshold)?;
    neighbours::pairs_within(vectors, threshold, host, &|pairs| {
        let pairs: Vec<Pair> = pairs.iter().map(|pair| in_rows(distinct, *pair)).collect();
        sink(&pairs)
    })
}

/// A pair of distinct rows as a pair of rows, the lower first.
fn in_rows(distinct: &Distinct, pair: Pair) -> Pair {
    let (a, b) = (distinct.standing()[pair.a as usize], distinct.standing()[pair.b as usize]);
    Pair { a: a.min(b), b: a.max(b), score: pair.score }
}

/// For each of the `open` distinct rows the most similar row of the earlier corpus.
pub(super) fn nearest_earlier(
    input: &Input<'_>,
    open: &[u32],
    threshold: f32,
    confirmation: Option<Confirmation<'_>>,
    host: &dyn Host,
) -> Result<Vec<Option<Neighbour>>> {
    match (input.near, confirmation) {
        (Near::Vectors { earlier: None, .. }, _) => Ok(vec![None; open.len()]),
        (Near::Searched { earlier, .. }, _) => {
            Ok(open.iter().map(|row| earlier.get(*row as usize).copied().flatten()).collect())
        }
        (Near::Vectors { rows, earlier: Some(earlier) }, None) => {
            let found = neighbours::top_k(rows, earlier, 1, threshold, host)?;
            Ok(open.iter().map(|row| found.of(*row as usize).first().copied()).collect())
        }
        _ => {
            let found = list(Side::Earlier, input, threshold, confirmation, host)?;
            let mut best: HashMap<u32, Pair> = HashMap::new();
            for pair in found.pairs {
                let best = best.entry(pair.a).or_insert(pair);
                if pair.best_first(best).is_lt() {
                    *best = pair;
                }
            }
            let neighbour = |pair: &Pair| Neighbour { row: pair.b, score: pair.score };
            Ok(open.iter().map(|row| best.get(row).map(neighbour)).collect())
        }
    }
}

/// The pairs of distinct rows, or of a distinct row and an earlier one, that are duplicates.
fn list<'a>(
    side: Side,
    input: &Input<'_>,
    threshold: f32,
    confirmation: Option<Confirmation<'_>>,
    host: &'a dyn Host,
) -> Result<PairList<'a>> {
    let margin = confirmation.map_or(Ok(0.0), |asked| asked.checked_margin())?;
    let least = threshold - margin;
    let mut list = match (input.near, side) {
        (Near::Vectors { rows, .. } | Near::Searched { rows, .. }, Side::Here) => {
            PairList::collect(host, |sink| neighbours::pairs_within(rows, least, host, sink))?
        }
        (Near::Vectors { rows, earlier: Some(earlier) }, Side::Earlier) => {
            PairList::collect(host, |sink| {
                neighbours::pairs_between(rows, earlier, least, host, sink)
            })?
        }
        (Near::Vectors { earlier: None, .. } | Near::Searched { .. }, Side::Earlier) => {
            PairList::new(host)?
        }
        (Near::Pairs { within, .. }, Side::Here) => saved(within, side, input, least, host)?,
        (Near::Pairs { earlier, .. }, Side::Earlier) => saved(earlier, side, input, least, host)?,
    };
    if let Some(confirmation) = confirmation {
        list.pairs.sort_unstable_by(Pair::best_first);
        let sure = threshold + margin;
        confirmation.confirm(side, input.distinct, sure, &mut list.pairs, host)?;
    }
    Ok(list)
}

/// Saved pairs of rows as pairs of different distinct ones, from a score on.
fn saved<'a>(
    pairs: &[Pair],
    side: Side,
    input: &Input<'_>,
    least: f32,
    host: &'a dyn Host,
) -> Result<PairList<'a>> {
    let rows = input.distinct.rows();
    let mut list = PairList::new(host)?;
    for pair in pairs.iter().filter(|pair| pair.score >= least) {
        let last = if side == Side::Here { pair.a.max(pair.b) } else { pair.a };
        if last as usize >= rows {
            return Err(OperatorError::Data(format!(
                "a pair has row {last}; there are {rows} rows"
            )));
        }
        let a = input.distinct.group_of(pair.a);
        let b = if side == Side::Here { input.distinct.group_of(pair.b) } else { pair.b };
        if side == Side::Earlier || a != b {
            list.extend(&[Pair { a, b, score: pair.score }])?;
        }
    }
    Ok(list)
}

impl Confirmation<'_> {
    fn checked_margin(&self) -> Result<f32> {
        if self.batch == 0 {
            return Err(OperatorError::Option("batch must be >= 1, got 0".into()));
        }
        if (0.0..=2.0).contains(&self.margin) {
            return Ok(self.margin as f32);
        }
        Err(OperatorError::Option(format!(
            "confirm_margin must be a difference of cosines between 0 and 2, got {}",
            self.margin
        )))
    }

    /// Leaves those of the pairs, best first, that are surely similar or are judged duplicates.
    fn confirm(
        &self,
        side: Side,
        distinct: &Distinct,
        sure: f32,
        pairs: &mut Vec<Pair>,
        host: &dyn Host,
    ) -> Result<()> {
        let first_asked = pairs.partition_point(|pair| pair.score >= sure);
        let asked = (pairs.len() - first_asked) as u64;
        let mut kept = first_asked;
        for start in (first_asked..pairs.len()).step_by(self.batch) {
            check(host)?;
            host.progress("confirming", (start - first_asked) as u64, asked);
            let end = pairs.len().min(start + self.batch);
            let in_rows = |pair: &Pair| match side {
                Side::Here => in_rows(distinct, *pair),
                Side::Earlier => Pair { a: distinct.standing()[pair.a as usize], ..*pair },
            };
            let batch: Vec<Pair> = pairs[start..end].iter().map(in_rows).collect();
            let verdicts = (self.judge)(side, &batch)?;
            if verdicts.len() != batch.len() {
                return Err(OperatorError::Caller(format!(
                    "the judge of {} pairs gave {} verdicts",
                    batch.len(),
                    verdicts.len()
                )));
            }
            for (at, is_duplicate) in (start..end).zip(verdicts) {
                if is_duplicate {
                    pairs[kept] = pairs[at];
                    kept += 1;
                }
            }
        }
        pairs.truncate(kept);
        Ok(())
    }
}
