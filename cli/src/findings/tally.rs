//! Counts what a finding says of the rows, while they go by, for the line at the end.

use std::collections::HashMap;
use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int64Type};

use super::described::column;
use super::job::counted;
use crate::failure::{Failure, Result};
use sembla_jobs::numbers::count;

/// What became of rows that were looked through for duplicates.
#[derive(Debug, Default)]
pub(crate) struct Duplicates {
    kept: u64,
    exact: u64,
    near: u64,
    /// Rows that have no text or no vector; they are duplicates of nothing.
    unseen: u64,
}

/// Which rows of a batch stay.
pub(crate) struct Kept(BooleanArray);

impl Duplicates {
    /// Counts a batch.
    ///
    /// # Errors
    /// When it is not one of `dedup`.
    pub(crate) fn count(&mut self, batch: &RecordBatch) -> Result<Kept> {
        let is_kept = column(batch, "is_kept", &DataType::Boolean)?;
        let is_kept = is_kept.as_boolean();
        let reasons = column(batch, "reason", &DataType::Utf8)?;
        let reasons = reasons.as_string::<i32>();
        for (is_kept, reason) in is_kept.iter().zip(reasons) {
            match (is_kept, reason) {
                (None, _) => self.unseen += 1,
                (Some(true), _) => self.kept += 1,
                (Some(false), Some("exact")) => self.exact += 1,
                (Some(false), _) => self.near += 1,
            }
        }
        Ok(Kept(is_kept.iter().map(|is_kept| Some(is_kept != Some(false))).collect()))
    }
}

impl Kept {
    /// The rows for which `kept` says so.
    pub(crate) fn new(kept: &[bool]) -> Self {
        Self(kept.iter().copied().map(Some).collect())
    }

    /// Of each row whether it stays.
    pub(crate) fn iter(&self) -> impl Iterator<Item = bool> {
        self.0.iter().map(|is_kept| is_kept == Some(true))
    }

    /// The rows of `batch` that stay. Rows that could not be compared do.
    ///
    /// # Errors
    /// When it is another batch than was counted.
    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        filter_record_batch(batch, &self.0)
            .map_err(|error| Failure::other(format!("internal error: {error}")))
    }
}

impl fmt::Display for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, near) = (count(self.exact), count(self.near));
        let dropped = count(self.exact + self.near);
        write!(f, "{dropped} dropped ({exact} exact, {near} near), {} kept", count(self.kept))?;
        if self.unseen > 0 {
            write!(f, ", {} without a text", count(self.unseen))?;
        }
        Ok(())
    }
}

/// How many rows each cluster or topic has.
#[derive(Debug)]
pub(crate) struct Groups {
    /// What a group is called.
    name: &'static str,
    /// The columns within whose values ids are unique.
    partition_by: Vec<String>,
    sizes: HashMap<(String, i64), u64>,
    none: u64,
}

impl Groups {
    /// No rows yet, in groups that are called `name`, whose ids are unique for each value of
    /// `partition_by`.
    pub(crate) fn new(name: &'static str, partition_by: &[String]) -> Self {
        Self { name, partition_by: partition_by.to_vec(), sizes: HashMap::new(), none: 0 }
    }

    /// Counts the ids in the column `id` of a batch.
    ///
    /// # Errors
    /// When there is no such column of whole numbers.
    pub(crate) fn count(&mut self, batch: &RecordBatch, id: &str) -> Result<()> {
        let by = self.partition_by.iter().map(|name| column(batch, name, &DataType::Utf8));
        let by = by.collect::<Result<Vec<_>>>()?;
        let within = |row: usize| {
            // A NULL is a value of its own.
            let value = |column: &ArrayRef| {
                column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_string())
            };
            by.iter().map(|column| format!("{:?} ", value(column))).collect::<String>()
        };
        let ids = column(batch, id, &DataType::Int64)?;
        for (row, id) in ids.as_primitive::<Int64Type>().iter().enumerate() {
            match id {
                Some(id) => *self.sizes.entry((within(row), id)).or_default() += 1,
                None => self.none += 1,
            }
        }
        Ok(())
    }

    /// Rows that were counted.
    pub(crate) fn rows(&self) -> u64 {
        self.sizes.values().sum::<u64>() + self.none
    }

    /// Rows of no group.
    pub(crate) fn none(&self) -> u64 {
        self.none
    }
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", counted(self.sizes.len() as u64, self.name))?;
        if let (Some(least), Some(most)) = (self.sizes.values().min(), self.sizes.values().max()) {
            match (least, most) {
                (least, most) if least < most => {
                    write!(f, " of {} to {} rows", count(*least), count(*most))?;
                }
                (1, _) => f.write_str(" of 1 row")?,
                _ => write!(f, " of {} rows", count(*most))?,
            }
        }
        if self.none > 0 {
            write!(f, ", {} in none", count(self.none))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_row_that_was_not_compared_stays() {
        let is_kept: ArrayRef =
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(false)]));
        let reason: ArrayRef =
            Arc::new(StringArray::from(vec![None, Some("exact"), None, Some("near")]));
        let batch = RecordBatch::try_from_iter([("is_kept", is_kept), ("reason", reason)]);
        let batch = batch.expect("a batch");
        let mut duplicates = Duplicates::default();
        let kept = duplicates.count(&batch).expect("counted");
        assert_eq!(kept.of(&batch).expect("rows").num_rows(), 2);
        assert_eq!(duplicates.to_string(), "2 dropped (1 exact, 1 near), 1 kept, 1 without a text");
    }

    #[test]
    fn groups_tell_their_sizes() {
        let mut groups = Groups::new("cluster", &[]);
        assert_eq!(groups.to_string(), "0 clusters");
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(0), Some(7), None]));
        let batch = RecordBatch::try_from_iter([("cluster_id", ids)]).expect("a batch");
        groups.count(&batch, "cluster_id").expect("counted");
        assert_eq!(groups.to_string(), "2 clusters of 1 to 2 rows, 1 in none");
    }
}
