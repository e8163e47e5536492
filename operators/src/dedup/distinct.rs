//! Rows that are equal, by value: hashes only find them.

use std::collections::HashMap;
use std::hash::Hash;

use super::Keep;
use crate::error::{OperatorError, Result};

/// Rows in groups of equal ones. Groups are numbered by their first rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinct {
    /// Per row its group.
    group_of: Vec<u32>,
    /// Per group the row that is kept of it.
    standing: Vec<u32>,
}

impl Distinct {
    /// Groups of rows with equal keys: the texts themselves, or what is left of them when case and
    /// spaces shall not count. Of each group, the row that `keep` prefers stands for all.
    ///
    /// # Errors
    /// Ranks that don't match the rows; more than 2³² rows.
    pub fn of<K: Hash + Eq>(keys: impl IntoIterator<Item = K>, keep: &Keep) -> Result<Self> {
        let mut groups = HashMap::new();
        let mut group_of = Vec::new();
        for key in keys {
            let next = groups.len() as u32;
            group_of.push(*groups.entry(key).or_insert(next));
        }
        let rows = u32::try_from(group_of.len()).map_err(|_| {
            OperatorError::Data(format!("{} rows are too many for one call", group_of.len()))
        })?;
        keep.check(group_of.len())?;
        let mut standing = vec![u32::MAX; groups.len()];
        for row in 0..rows {
            let stands = &mut standing[group_of[row as usize] as usize];
            if *stands == u32::MAX || keep.rank(row) < keep.rank(*stands) {
                *stands = row;
            }
        }
        Ok(Self { group_of, standing })
    }

    /// Rows of which none equals another.
    pub fn all_different(rows: u32) -> Self {
        Self { group_of: (0..rows).collect(), standing: (0..rows).collect() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.group_of.len()
    }

    /// Of each group, the row that stands for it: these are the rows that need vectors.
    pub fn standing(&self) -> &[u32] {
        &self.standing
    }

    /// The group of a row: its place in [`Distinct::standing`].
    ///
    /// # Panics
    /// When there is no such row.
    pub fn group_of(&self, row: u32) -> u32 {
        self.group_of[row as usize]
    }
}

/// For each key the first row of the earlier corpus with an equal one.
pub fn equal_rows<K: Hash + Eq>(
    keys: impl IntoIterator<Item = K>,
    earlier: impl IntoIterator<Item = K>,
) -> Vec<Option<u32>> {
    let mut rows = HashMap::new();
    for (row, key) in (0_u32..).zip(earlier) {
        rows.entry(key).or_insert(row);
    }
    keys.into_iter().map(|key| rows.get(&key).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_are_a_group_and_the_best_stands_for_it() {
        let keys = ["b", "a", "b", "c", "a", "b"];
        let distinct = Distinct::of(keys, &Keep::First).expect("grouped");
        assert_eq!(distinct.group_of, [0, 1, 0, 2, 1, 0]);
        assert_eq!(distinct.standing(), [0, 1, 3]);
        let keep = Keep::Ranked(vec![5, 1, 4, 0, 1, 4]);
        assert_eq!(Distinct::of(keys, &keep).expect("grouped").standing(), [2, 1, 3]);
        assert!(Distinct::of(keys, &Keep::Ranked(vec![1])).is_err());
        assert_eq!(Distinct::of([""; 0], &Keep::First).expect("none"), Distinct::default());
        let different = Distinct::of([1, 2, 3], &Keep::Centroid).expect("grouped");
        assert_eq!(different, Distinct::all_different(3));
    }

    #[test]
    fn the_longest_is_counted_in_characters() {
        let texts = ["ab", "äöü", "abcd", "wxyz"];
        let distinct = Distinct::of([0, 0, 0, 0], &Keep::longest(texts)).expect("grouped");
        assert_eq!(distinct.standing(), [2]);
        let distinct = Distinct::of([0, 0], &Keep::longest(["abcd", "äöüéé"])).expect("grouped");
        assert_eq!(distinct.standing(), [1]);
    }

    #[test]
    fn the_first_equal_row_of_another_corpus_is_found() {
        assert_eq!(equal_rows(["x", "y", "z"], ["y", "x", "y"]), [Some(1), Some(0), None]);
    }
}
