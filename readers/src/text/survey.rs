//! One full pass over a file: its dialect, its columns and their types, its rows, its splits.

use arrow::datatypes::DataType;

use crate::error::Result;
use crate::guard::guarded;
use crate::limits::{Cancel, Limits};
use crate::open::{Compression, Open};
use crate::text::buffer::Buffer;
use crate::text::dialect::{self, Dialect, TextOptions};
use crate::text::guess::Guess;
use crate::text::records::Place;
use crate::text::{csv, json};

/// Bytes from one split to the next.
const SPLIT_BYTES_MIN: u64 = 1 << 20;
/// Splits of a file.
const SPLITS_MAX: usize = 4096;

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// How it is written.
    pub dialect: Dialect,
    /// Its columns in the order in which they first appear.
    pub columns: Vec<Column>,
    /// Its number of rows, without the header.
    pub rows: u64,
    /// Where reading can begin, in the order of the file. The first is the first row, the others
    /// are some megabytes apart. A compressed file has only the first.
    pub splits: Vec<Split>,
    /// Bytes after decompression.
    pub bytes: u64,
}

/// A column of a file.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What was seen in it.
    pub guess: Guess,
    /// The type that the user gave it, in place of the guess.
    pub declared: Option<DataType>,
}

impl Column {
    /// The declared type, else the guessed one.
    pub fn data_type(&self) -> DataType {
        self.declared.clone().unwrap_or_else(|| self.guess.data_type())
    }
}

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Bytes before it in the file.
    pub offset: u64,
    /// Rows before it.
    pub row: u64,
    /// Line breaks before it.
    pub line: u64,
}

/// A part of a file from one split to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub from: Split,
    /// The offset where it ends; `None` is the end of the file.
    pub to: Option<u64>,
}

impl Survey {
    /// Cuts the file into at most `parts` ranges of about one size, in order. There is one range
    /// at least.
    pub fn ranges(&self, parts: usize) -> Vec<Range> {
        let mut begins = vec![self.splits.first().copied().unwrap_or_default()];
        for part in 1..parts.max(1) as u64 {
            let target = u128::from(self.bytes) * u128::from(part) / parts as u128;
            let next = self.splits.partition_point(|split| u128::from(split.offset) < target);
            let last = begins.last().map_or(0, |split| split.offset);
            begins.extend(self.splits.get(next).filter(|split| split.offset > last));
        }
        let ends = begins.iter().skip(1).map(|split| Some(split.offset)).chain([None]);
        begins.iter().zip(ends).map(|(from, to)| Range { from: *from, to }).collect()
    }
}

/// Reads a whole file and says what is in it.
///
/// A file without a byte, or without anything but space and a byte-order mark, has no columns and
/// no rows; so has the JSON array `[]`. Costs one pass at the speed of parsing and memory for one
/// record.
///
/// # Errors
/// What can't be read: rows with more or fewer columns than the header, a quote that is never
/// closed, invalid JSON, two columns of one name, bytes that aren't UTF-8, torn compression, a
/// limit exceeded, a failing disk. Each names the file, and the row and line.
pub fn survey(
    file: &dyn Open,
    options: &TextOptions,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<Survey> {
    guarded(file.name(), || {
        let mut buffer = Buffer::open(file, limits, cancel)?;
        let dialect = dialect::of_buffer(&mut buffer, options, limits)?;
        let found = match &dialect {
            Dialect::Csv(csv) => csv::survey::survey(buffer, csv, options, limits)?,
            Dialect::Json(json) => json::survey::survey(buffer, json, options, limits)?,
        };
        Ok(Survey {
            dialect,
            columns: found.columns,
            rows: found.rows,
            splits: found.splits.splits,
            bytes: found.bytes,
        })
    })
}

/// What a format's survey finds.
pub(crate) struct Surveyed {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: u64,
    pub(crate) splits: Splits,
    pub(crate) bytes: u64,
}

/// Splits at about equal distances.
pub(crate) struct Splits {
    splits: Vec<Split>,
    /// Bytes between two at least; `None` for a file that can't be split.
    distance: Option<u64>,
}

impl Splits {
    pub(crate) fn new(compression: Compression) -> Self {
        let distance = (compression == Compression::None).then_some(SPLIT_BYTES_MIN);
        Self { splits: vec![Split::default()], distance }
    }

    /// Takes the beginning of a record for a split if the last one is far enough behind.
    pub(crate) fn offer(&mut self, place: Place) {
        let last = self.splits.last().map_or(0, |split| split.offset);
        let Some(distance) = self.distance.filter(|distance| place.offset >= last + distance)
        else {
            return;
        };
        self.splits.push(Split { offset: place.offset, row: place.row, line: place.line - 1 });
        if self.splits.len() > SPLITS_MAX {
            let mut is_kept = false;
            self.splits.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.distance = Some(distance * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::dialect::JsonDialect;

    fn offered(count: u64) -> Splits {
        let mut splits = Splits::new(Compression::None);
        for row in 0..count {
            splits.offer(Place { row, line: row + 1, offset: row * 100_000 });
        }
        splits
    }

    #[test]
    fn splits_are_few_and_far_apart() {
        let splits = offered(1_000_000).splits;
        assert!(splits.len() > SPLITS_MAX / 2 - 2 && splits.len() <= SPLITS_MAX);
        assert_eq!(splits[0], Split::default());
        assert!(
            splits
                .iter()
                .all(|split| split.line == split.row && split.offset == split.row * 100_000)
        );
        assert!(splits.windows(2).all(|pair| pair[1].offset >= pair[0].offset + SPLIT_BYTES_MIN));
    }

    #[test]
    fn ranges_cover_the_file_in_order() {
        let dialect =
            JsonDialect { compression: Compression::None, is_array: false, is_pretty: false };
        let survey = Survey {
            dialect: Dialect::Json(dialect),
            columns: Vec::new(),
            rows: 1000,
            splits: offered(1000).splits,
            bytes: 100_000_000,
        };
        for parts in [0, 1, 2, 3, 7, 64, 5000] {
            let ranges = survey.ranges(parts);
            assert!(ranges.len() <= parts.max(1) && !ranges.is_empty());
            assert_eq!(ranges[0].from, Split::default());
            assert_eq!(ranges[ranges.len() - 1].to, None);
            assert!(ranges.windows(2).all(|pair| pair[0].to == Some(pair[1].from.offset)));
        }
        assert_eq!(survey.ranges(7).len(), 7);
    }
}
