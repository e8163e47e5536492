//! Duplicates: which rows say the same, which one of them is kept, and why each other is dropped.
//!
//! Equal rows come first ([`Distinct`]): a million copies of a text are one text for all that
//! follows, and need one vector. Rows within the threshold of an earlier corpus are dropped next.
//! The rest is told apart by meaning, in one of two modes:
//!
//! - [`Mode::Star`]: rows in the order of [`Keep`]; a row is dropped if it is within the threshold
//!   of a row kept before it. So each dropped row is similar to a row that is there, and no two
//!   kept rows are similar.
//! - [`Mode::Closure`]: rows that similar rows connect are one cluster, and [`Keep`] chooses one of
//!   each. Two rows of a cluster may be unlike each other.
//!
//! A row without a direction is similar to no row; it can be equal to one.

mod closure;
mod distinct;
mod pairs;
mod places;
mod star;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use distinct::{Distinct, equal_rows};
pub(crate) use pairs::PairList;
pub use pairs::emit_pairs;

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan};
use crate::neighbours::{self, Neighbour, Pair};
use crate::unit::UnitVectors;
use pairs::Similar;

/// How similar rows make a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A kept row, and the rows similar to it.
    #[default]
    Star,
    /// All rows that similar rows connect.
    Closure,
}

/// Which row of several is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The first.
    #[default]
    First,
    /// The one with the lowest rank; of equal ranks, the first. One rank per row.
    Ranked(Vec<u32>),
    /// The one nearest to the centre of all rows that similar rows connect with it, each distinct
    /// one counted once; of equally near ones, the first. Of equal rows, the first.
    Centroid,
}

impl Keep {
    /// The one with most characters; of equally long ones, the first.
    pub fn longest<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let rank = |text: &str| u32::MAX - u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        Self::Ranked(texts.into_iter().map(rank).collect())
    }

    /// The rank of a row among others.
    fn rank(&self, row: u32) -> u32 {
        match self {
            Self::Ranked(ranks) => ranks[row as usize],
            Self::First | Self::Centroid => 0,
        }
    }

    fn check(&self, rows: usize) -> Result<()> {
        match self {
            Self::Ranked(ranks) if ranks.len() != rows => Err(OperatorError::Data(format!(
                "{} ranks were given for {rows} rows; each row needs one",
                ranks.len()
            ))),
            _ => Ok(()),
        }
    }
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Among the rows that are deduplicated.
    Here,
    /// In the earlier corpus.
    Earlier,
}

/// What is similar.
#[derive(Clone, Copy, Debug)]
pub enum Near<'a> {
    /// Rows whose vectors are.
    Vectors {
        /// The vectors of [`Distinct::standing`], in that order.
        rows: &'a UnitVectors,
        /// The vectors of the earlier corpus, if there is one.
        earlier: Option<&'a UnitVectors>,
    },
    /// Rows whose vectors are, where the earlier corpus has been searched already. It goes without
    /// a confirmation.
    Searched {
        /// The vectors of [`Distinct::standing`], in that order.
        rows: &'a UnitVectors,
        /// For each of them the most similar row of the earlier corpus, if one is within the
        /// threshold.
        earlier: &'a [Option<Neighbour>],
    },
    /// Rows that are paired, with a score: pairs that were saved, at this threshold or a lower one.
    Pairs {
        /// Pairs of two rows, in any order, either row first.
        within: &'a [Pair],
        /// Pairs of a row (`a`) and a row of the earlier corpus (`b`).
        earlier: &'a [Pair],
    },
}

/// The rows that are deduplicated.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Which of them are equal.
    pub distinct: &'a Distinct,
    /// Which of them are similar.
    pub near: Near<'a>,
    /// For each row, a row of the earlier corpus that equals it ([`equal_rows`]). May be empty, if
    /// none does.
    pub equal_earlier: &'a [Option<u32>],
}

/// Says of each pair of two rows, or of a row (`a`) and an earlier one (`b`), whether they are
/// duplicates.
pub type Judge<'a> = dyn Fn(Side, &[Pair]) -> Result<Vec<bool>> + Sync + 'a;

/// Asks someone who knows better about the pairs near the threshold, such as a cross-encoder.
#[derive(Clone, Copy)]
pub struct Confirmation<'a> {
    /// Pairs whose cosine is at least `threshold - margin` and below `threshold + margin` are
    /// asked about; those above are duplicates. At least 0.
    pub margin: f64,
    /// Pairs that are asked about at a time; at least 1.
    pub batch: usize,
    /// Who is asked. The best pairs come first.
    pub judge: &'a Judge<'a>,
}

/// How duplicates are found.
#[derive(Clone)]
pub struct DedupOptions<'a> {
    /// Least cosine of two similar rows.
    pub threshold: f64,
    /// How similar rows make a cluster.
    pub mode: Mode,
    /// Which row of a cluster is kept.
    pub keep: Keep,
    /// Who confirms the pairs near the threshold.
    pub confirmation: Option<Confirmation<'a>>,
}

impl Default for DedupOptions<'_> {
    fn default() -> Self {
        Self { threshold: 0.9, mode: Mode::Star, keep: Keep::First, confirmation: None }
    }
}

/// Why a row is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It equals its representative.
    Exact,
    /// It, or the row that it equals, is similar to its representative, or connected with it.
    Near,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The first of the rows here that have the same representative.
    pub cluster: u32,
    /// The row that stands for this one: itself, if it is kept.
    pub representative: u32,
    /// Where the representative is.
    pub side: Side,
    /// The cosine of the row and its representative; 1 if they are equal. `None` for a kept row,
    /// and if only pairs were given and none within the threshold is of these two.
    pub score: Option<f32>,
    /// Why the row is dropped; `None` if it is kept.
    pub reason: Option<Reason>,
}

impl Verdict {
    /// Whether the row is kept.
    pub fn is_kept(&self) -> bool {
        self.reason.is_none()
    }
}

/// What a distinct row was dropped for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Dropped {
    side: Side,
    /// A distinct row here, or a row of the earlier corpus.
    representative: u32,
    score: Option<f32>,
    reason: Reason,
}

/// What becomes of each row.
///
/// Rows that equal a row of the earlier corpus, or are within the threshold of one, are dropped
/// before the others are compared, and drop no others; of several earlier rows the most similar is
/// the representative (equal: the lower row). The same holds in a star for the rows kept before it
/// (equal: the one that was kept first).
///
/// Cost: [`Mode::Star`] compares each distinct row with those kept before it, in memory that does
/// not depend on the number of similar pairs; [`Mode::Closure`] compares all distinct rows and
/// keeps no pair either. [`Keep::Centroid`] needs a closure first. With a [`Confirmation`] all
/// pairs from `threshold - margin` on are kept, 12 bytes each.
///
/// # Errors
/// Options that can't be, vectors or ranks that don't match the rows, pairs of rows that are not
/// there, what the host or the judge says.
///
/// # Examples
/// ```
/// use sembla_operators::dedup::{DedupOptions, Distinct, Input, Keep, Near, Reason, dedup};
/// use sembla_operators::{Unbounded, UnitVectors};
///
/// // Equal rows are found by their texts, so only distinct rows need vectors.
/// let distinct = Distinct::of(["lost card", "hello", "lost card", "card lost"], &Keep::First)?;
/// assert_eq!(distinct.standing(), [0, 1, 3]);
/// let vectors = UnitVectors::new(2, vec![1.0, 0.0, 0.0, 1.0, 0.99, 0.01])?;
/// let near = Near::Vectors { rows: &vectors, earlier: None };
/// let input = Input { distinct: &distinct, near, equal_earlier: &[] };
/// let verdicts = dedup(&input, &DedupOptions::default(), &Unbounded)?;
/// let reasons: Vec<_> = verdicts.iter().map(|verdict| verdict.reason).collect();
/// assert_eq!(reasons, [None, None, Some(Reason::Exact), Some(Reason::Near)]);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn dedup(
    input: &Input<'_>,
    options: &DedupOptions<'_>,
    host: &dyn Host,
) -> Result<Vec<Verdict>> {
    let threshold = neighbours::check_threshold(options.threshold)?;
    check_input(input, options)?;
    let distinct = input.distinct;
    let _loan = Loan::new(host, distinct.standing().len() * size_of::<Option<Dropped>>())?;
    let mut drops: Vec<Option<Dropped>> = distinct
        .standing()
        .iter()
        .map(|row| {
            let equal = input.equal_earlier.get(*row as usize).copied().flatten()?;
            let (side, score, reason) = (Side::Earlier, Some(1.0), Reason::Exact);
            Some(Dropped { side, representative: equal, score, reason })
        })
        .collect();

    let open = still_open(&drops);
    let found = pairs::nearest_earlier(input, &open, threshold, options.confirmation, host)?;
    for (row, found) in open.iter().zip(found) {
        drops[*row as usize] = found.map(|found| near(Side::Earlier, found.row, Some(found.score)));
    }

    let open = still_open(&drops);
    let similar = Similar::within(input, threshold, options.confirmation, host)?;
    for (row, found) in tell_apart(similar, distinct, open, options, host)? {
        drops[row as usize] = Some(found);
    }
    verdicts(distinct, &drops, host)
}

fn check_input(input: &Input<'_>, options: &DedupOptions<'_>) -> Result<()> {
    let rows = input.distinct.rows();
    options.keep.check(rows)?;
    if !input.equal_earlier.is_empty() && input.equal_earlier.len() != rows {
        return Err(OperatorError::Data(format!(
            "equal rows of the earlier corpus are given for {} of {rows} rows",
            input.equal_earlier.len()
        )));
    }
    match input.near {
        Near::Searched { earlier, .. } if earlier.len() != input.distinct.standing().len() => {
            Err(OperatorError::Data(format!(
                "{} distinct rows were searched for among the earlier ones, and there are {}",
                earlier.len(),
                input.distinct.standing().len()
            )))
        }
        Near::Searched { .. } if options.confirmation.is_some() => Err(OperatorError::Option(
            "pairs from an earlier search can't be confirmed by a reranker".into(),
        )),
        Near::Vectors { rows, .. } | Near::Searched { rows, .. }
            if rows.rows() != input.distinct.standing().len() =>
        {
            Err(OperatorError::Data(format!(
                "{} vectors were given for {} distinct rows",
                rows.rows(),
                input.distinct.standing().len()
            )))
        }
        Near::Pairs { .. } if options.keep == Keep::Centroid => Err(OperatorError::Option(
            "keep => 'centroid' needs vectors; saved pairs have no centre".into(),
        )),
        _ => Ok(()),
    }
}

fn near(side: Side, representative: u32, score: Option<f32>) -> Dropped {
    Dropped { side, representative, score, reason: Reason::Near }
}

/// The distinct rows that are not dropped.
fn still_open(drops: &[Option<Dropped>]) -> Vec<u32> {
    (0..drops.len() as u32).filter(|row| drops[*row as usize].is_none()).collect()
}

/// Which of the `open` distinct rows are dropped for another of them.
fn tell_apart(
    similar: Similar<'_>,
    distinct: &Distinct,
    mut open: Vec<u32>,
    options: &DedupOptions<'_>,
    host: &dyn Host,
) -> Result<Vec<(u32, Dropped)>> {
    let clusters = if options.mode == Mode::Closure || options.keep == Keep::Centroid {
        Some(closure::clusters(&similar, &open, host)?)
    } else {
        None
    };
    match (&options.keep, &clusters, &similar) {
        (Keep::Centroid, Some(clusters), Similar::Vectors { vectors, .. }) => {
            open = closure::nearest_to_centre_first(clusters, vectors, host)?;
        }
        _ => open.sort_by_key(|row| options.keep.rank(distinct.standing()[*row as usize])),
    }
    match (options.mode, clusters) {
        (Mode::Closure, Some(clusters)) => closure::drops(&clusters, &similar, &open, host),
        _ => {
            let found = star::nearest_kept(similar, &open, host)?;
            let dropped = open.iter().zip(found).filter_map(|(row, found)| {
                let Neighbour { row: place, score } = found?;
                Some((*row, near(Side::Here, open[place as usize], Some(score))))
            });
            Ok(dropped.collect())
        }
    }
}

/// What became of each row, from what became of the distinct ones.
fn verdicts(
    distinct: &Distinct,
    drops: &[Option<Dropped>],
    host: &dyn Host,
) -> Result<Vec<Verdict>> {
    let rows = distinct.rows();
    let _loan = Loan::new(host, rows * size_of::<Verdict>())?;
    let mut cluster_of = HashMap::new();
    let verdict = |row: u32| {
        let group = distinct.group_of(row);
        let standing = distinct.standing()[group as usize];
        let (side, representative, score, reason) = match drops[group as usize] {
            None if row == standing => (Side::Here, row, None, None),
            None => (Side::Here, standing, Some(1.0), Some(Reason::Exact)),
            Some(drop) => {
                let representative = match drop.side {
                    Side::Here => distinct.standing()[drop.representative as usize],
                    Side::Earlier => drop.representative,
                };
                (drop.side, representative, drop.score, Some(drop.reason))
            }
        };
        let cluster = *cluster_of.entry((side, representative)).or_insert(row);
        Verdict { cluster, representative, side, score, reason }
    };
    Ok((0..rows as u32).map(verdict).collect())
}
