//! Reciprocal rank fusion: one ranking of several (Cormack, Clarke and Büttcher 2009).
//!
//! `score = Σ 1 / (k + rank)` over the rankings that hold the row, with ranks from 1. Only ranks
//! count, so rankings whose scores can't be compared (BM25 and cosines) can be fused.

use std::collections::HashMap;
use std::hash::Hash;

use crate::error::{OperatorError, Result};

/// The constant of the paper: how little the first ranks stand out.
pub const RANK_CONSTANT: f64 = 60.0;

/// A row of a fused ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused<R> {
    /// The row.
    pub row: R,
    /// The sum of the reciprocal ranks.
    pub score: f64,
    /// The row's rank in each ranking, from 1; `None` where it is not.
    pub ranks: Vec<Option<u32>>,
}

/// Fuses rankings, each with the best row first, and gives the best `top_k` rows; of equal scores
/// the lower row first. A row that a ranking holds twice counts where it comes first.
///
/// # Errors
/// [`OperatorError::Option`] when `k` is negative or not a number.
///
/// # Examples
/// ```
/// use sembla_operators::fusion::{RANK_CONSTANT, reciprocal_rank_fusion};
///
/// let (by_meaning, by_words) = ([7, 3, 5], [3, 9]);
/// let fused = reciprocal_rank_fusion(&[&by_meaning[..], &by_words], RANK_CONSTANT, 2)?;
/// assert_eq!((fused[0].row, &fused[0].ranks[..]), (3, &[Some(2), Some(1)][..]));
/// assert_eq!((fused[1].row, &fused[1].ranks[..]), (7, &[Some(1), None][..]));
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub fn reciprocal_rank_fusion<R: Copy + Eq + Hash + Ord>(
    rankings: &[&[R]],
    k: f64,
    top_k: usize,
) -> Result<Vec<Fused<R>>> {
    if !(k >= 0.0 && k.is_finite()) {
        return Err(OperatorError::Option(format!("rrf_k must be a number >= 0, got {k}")));
    }
    let mut ranks: HashMap<R, Vec<Option<u32>>> = HashMap::new();
    for (list, ranking) in rankings.iter().enumerate() {
        for (rank, row) in (1..).zip(*ranking) {
            let ranks = ranks.entry(*row).or_insert_with(|| vec![None; rankings.len()]);
            ranks[list] = ranks[list].or(Some(rank));
        }
    }
    let score = |ranks: &[Option<u32>]| -> f64 {
        ranks.iter().flatten().map(|rank| 1.0 / (k + f64::from(*rank))).sum()
    };
    let mut fused: Vec<Fused<R>> =
        ranks.into_iter().map(|(row, ranks)| Fused { row, score: score(&ranks), ranks }).collect();
    fused.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    fused.truncate(top_k);
    Ok(fused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_added_up() {
        let fused = reciprocal_rank_fusion(&[&[7, 1, 3], &[3, 9]], RANK_CONSTANT, 10).expect("k");
        let rows: Vec<i32> = fused.iter().map(|fused| fused.row).collect();
        assert_eq!(rows, [3, 7, 1, 9]);
        assert_eq!(fused[0].score, 1.0 / 63.0 + 1.0 / 61.0);
        assert_eq!(fused[0].ranks, [Some(3), Some(1)]);
        assert_eq!(fused[3].score, 1.0 / 62.0);
        assert_eq!(fused[3].ranks, [None, Some(2)]);
        let first = reciprocal_rank_fusion(&[&[7, 1, 3], &[3, 9]], RANK_CONSTANT, 1).expect("k");
        assert_eq!(first, fused[..1]);
    }

    #[test]
    fn ties_repeats_and_nothing() {
        let fused = reciprocal_rank_fusion(&[&["b", "b"], &["a"]], 0.0, 10).expect("k");
        assert_eq!(fused[0], Fused { row: "a", score: 1.0, ranks: vec![None, Some(1)] });
        assert_eq!(fused[1], Fused { row: "b", score: 1.0, ranks: vec![Some(1), None] });
        assert_eq!(reciprocal_rank_fusion::<u32>(&[], 60.0, 10), Ok(Vec::new()));
        assert_eq!(reciprocal_rank_fusion::<u32>(&[&[], &[]], 60.0, 10), Ok(Vec::new()));
        assert_eq!(reciprocal_rank_fusion(&[&[1, 2]], 60.0, 0), Ok(Vec::new()));
        for k in [-1.0, f64::NAN, f64::INFINITY] {
            let error = reciprocal_rank_fusion(&[&[1]], k, 10).expect_err("no such k");
            assert!(error.to_string().starts_with("rrf_k must be a number >= 0, got "), "{error}");
        }
    }
}
