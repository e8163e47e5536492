//! Rows that are remembered for a while of event time: their vectors, and bytes that name them.
//!
//! Rows are in the order in which they were kept. What a row's tag says is the caller's business;
//! here it only tells when a row comes again, as it does in windows that overlap. A row that comes
//! again is no longer one of the past.

use std::collections::HashSet;

use super::bytes::{Reader, Writer};
use super::{Window, check_duration, check_same_model};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan};
use crate::neighbours::{Neighbour, top_k};
use crate::unit::UnitVectors;

/// Remembered rows that are compared at a time: their vectors are copied for it.
const CHUNK_ROWS: usize = 1 << 15;

/// The greatest 8-bit code.
const CODE_MAX: f32 = 127.0;

/// How exactly vectors are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are: 4 bytes a component.
    #[default]
    F32,
    /// Rounded to 8 bits a component: cosines of vectors of some hundred components are off by
    /// about 0.001.
    Int8,
}

/// For how long rows are remembered, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HorizonOptions {
    /// Microseconds of event time between the end of a row's window and the end of the last window
    /// that sees it; `None`: for ever.
    pub horizon: Option<i64>,
    /// Most rows that are remembered; the oldest go first.
    pub rows_max: usize,
    /// How exactly vectors are remembered.
    pub precision: Precision,
}

impl Default for HorizonOptions {
    fn default() -> Self {
        Self { horizon: None, rows_max: 1_000_000, precision: Precision::F32 }
    }
}

impl HorizonOptions {
    /// Checks that options are in their ranges.
    pub(super) fn check(&self) -> Result<()> {
        check_duration("horizon", self.horizon)?;
        if self.rows_max >= u32::MAX as usize {
            return Err(OperatorError::Option(format!(
                "{} rows are too many to remember; the limit is 4294967294",
                self.rows_max
            )));
        }
        Ok(())
    }
}

/// A content that equal rows have in common, such as a hash of their text.
pub type Key = [u8; 16];

/// A row that is remembered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remembered {
    /// The end of its window.
    end: i64,
    pub(super) key: Option<Key>,
    pub(super) tag: Box<[u8]>,
    /// Whether a vector goes with it.
    has_vector: bool,
}

/// The rows of the past that a window sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// As places among all that are remembered.
    places: Vec<u32>,
    /// Those of them that have a vector: where they are among `places`, and where their vector is.
    directed: Vec<(u32, u32)>,
}

/// Remembered rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Horizon {
    pub(super) rows: Vec<Remembered>,
    vectors: Store,
    dimension: usize,
}

/// Vectors of length one, one after another.
#[derive(Clone, Debug, PartialEq)]
enum Store {
    F32(Vec<f32>),
    Int8(Vec<i8>),
}

impl Horizon {
    pub(super) fn new(precision: Precision) -> Self {
        let vectors = match precision {
            Precision::F32 => Store::F32(Vec::new()),
            Precision::Int8 => Store::Int8(Vec::new()),
        };
        Self { rows: Vec::new(), vectors, dimension: 0 }
    }

    /// Bytes that it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let tags: usize = self.rows.iter().map(|row| row.tag.len()).sum();
        let vectors = match &self.vectors {
            Store::F32(values) => size_of_val(values.as_slice()),
            Store::Int8(codes) => codes.len(),
        };
        size_of_val(self.rows.as_slice()) + tags + vectors
    }

    /// The rows that a window sees: those within the horizon that don't come again in it.
    pub(super) fn seen(&self, window: Window, tags: &[&[u8]], horizon: Option<i64>) -> Seen {
        let since = horizon.map_or(i64::MIN, |horizon| window.end.saturating_sub(horizon));
        let again: HashSet<&[u8]> = tags.iter().copied().collect();
        let (mut seen, mut vector) = (Seen::default(), 0);
        for (place, row) in (0..).zip(&self.rows) {
            if row.end >= since && !again.contains(&*row.tag) {
                if row.has_vector {
                    seen.directed.push((seen.places.len() as u32, vector));
                }
                seen.places.push(place);
            }
            vector += u32::from(row.has_vector);
        }
        seen
    }

    /// Of each row of a window the `k` most similar rows that it sees with at least a cosine of
    /// `min_score`, best first, as places in `seen`. Of equally similar ones the oldest comes
    /// first.
    pub(super) fn nearest(
        &self,
        seen: &Seen,
        vectors: &UnitVectors,
        k: usize,
        min_score: f32,
        host: &dyn Host,
    ) -> Result<Vec<Vec<Neighbour>>> {
        let mut nearest: Vec<Vec<Neighbour>> = vec![Vec::new(); vectors.rows()];
        // Rows without any direction have no dimension either.
        if seen.directed.is_empty() || !(0..vectors.rows()).any(|row| vectors.has_direction(row)) {
            return Ok(nearest);
        }
        check_same_model(vectors.dimension(), self.dimension)?;
        for chunk in seen.directed.chunks(CHUNK_ROWS) {
            let _copy = Loan::new(host, chunk.len() * self.dimension * size_of::<f32>())?;
            let remembered = self.restored(chunk.iter().map(|(_, vector)| *vector))?;
            let found = top_k(vectors, &remembered, k, min_score, host)?;
            for (row, nearest) in nearest.iter_mut().enumerate() {
                let place = |found: &Neighbour| Some(chunk.get(found.row as usize)?.0);
                let here = found.of(row).iter();
                nearest.extend(here.filter_map(|found| {
                    Some(Neighbour { row: place(found)?, score: found.score })
                }));
                nearest.sort_by(Neighbour::best_first);
                nearest.truncate(k);
            }
        }
        Ok(nearest)
    }

    /// Forgets all rows but those seen.
    pub(super) fn forget_unseen(&mut self, seen: &Seen) {
        if seen.places.len() == self.rows.len() {
            return;
        }
        let vectors = seen.directed.iter().map(|(_, vector)| *vector as usize * self.dimension);
        let dimension = self.dimension;
        match &mut self.vectors {
            Store::F32(values) => keep_vectors(values, vectors, dimension),
            Store::Int8(codes) => keep_vectors(codes, vectors, dimension),
        }
        let mut stays = vec![false; self.rows.len()];
        seen.places.iter().for_each(|place| stays[*place as usize] = true);
        let mut stays = stays.into_iter();
        self.rows.retain(|_| stays.next() == Some(true));
    }

    /// Remembers rows of a window, and forgets the oldest where there are too many.
    pub(super) fn remember(
        &mut self,
        window: Window,
        rows: impl Iterator<Item = (u32, Option<Key>)>,
        vectors: &UnitVectors,
        tags: &[&[u8]],
        rows_max: usize,
    ) {
        for (row, key) in rows {
            let Some(tag) = tags.get(row as usize) else { continue };
            let has_vector = vectors.has_direction(row as usize);
            if has_vector {
                self.dimension = vectors.dimension();
                self.push(vectors.row(row as usize));
            }
            self.rows.push(Remembered { end: window.end, key, tag: (*tag).into(), has_vector });
        }
        let excess = self.rows.len().saturating_sub(rows_max);
        let old = self.rows.drain(..excess).filter(|row| row.has_vector).count() * self.dimension;
        match &mut self.vectors {
            Store::F32(values) => drop(values.drain(..old)),
            Store::Int8(codes) => drop(codes.drain(..old)),
        }
    }

    /// The remembered row at a place of what was seen.
    pub(super) fn at(&self, seen: &Seen, place: u32) -> Option<&Remembered> {
        self.rows.get(*seen.places.get(place as usize)? as usize)
    }

    /// The remembered rows that a window sees, in order.
    pub(super) fn all<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = &'a Remembered> {
        seen.places.iter().filter_map(|place| self.rows.get(*place as usize))
    }

    fn push(&mut self, vector: &[f32]) {
        match &mut self.vectors {
            Store::F32(values) => values.extend_from_slice(vector),
            Store::Int8(codes) => {
                let greatest = vector.iter().fold(0_f32, |most, x| most.max(x.abs()));
                codes.extend(vector.iter().map(|x| (x / greatest * CODE_MAX).round() as i8));
            }
        }
    }

    /// Vectors by number.
    fn restored(&self, numbers: impl Iterator<Item = u32>) -> Result<UnitVectors> {
        let dimension = self.dimension;
        let starts = numbers.map(|number| number as usize * dimension);
        match &self.vectors {
            Store::F32(values) => {
                let vectors = starts.flat_map(|start| &values[start..start + dimension]);
                Ok(UnitVectors::of_units(dimension, vectors.copied().collect()))
            }
            Store::Int8(codes) => {
                let vectors = starts.flat_map(|start| &codes[start..start + dimension]);
                UnitVectors::new(dimension, vectors.map(|code| f32::from(*code)).collect())
            }
        }
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.count(self.dimension);
        match &self.vectors {
            Store::F32(values) => to.f32s(values),
            Store::Int8(codes) => to.i8s(codes),
        }
        to.count(self.rows.len());
        for row in &self.rows {
            to.i64(row.end);
            to.flag(row.has_vector);
            to.option(row.key, |to, key| to.bytes(&key));
            to.bytes(&row.tag);
        }
    }

    pub(super) fn read(precision: Precision, from: &mut Reader<'_>) -> Result<Self> {
        let dimension = from.count(0)?;
        let (vectors, values) = match precision {
            Precision::F32 => {
                let values = from.f32s()?;
                let count = values.len();
                (Store::F32(values), count)
            }
            Precision::Int8 => {
                let codes = from.i8s()?;
                let count = codes.len();
                (Store::Int8(codes), count)
            }
        };
        let rows = from.list(18, |from| {
            let (end, has_vector) = (from.i64()?, from.flag()?);
            let key = from.option(Reader::bytes)?.map(Key::try_from).transpose();
            let key = key.map_err(|_| from.wrong("a key of another length"))?;
            Ok(Remembered { end, key, tag: from.bytes()?.into(), has_vector })
        })?;
        let directed = rows.iter().filter(|row| row.has_vector).count();
        if directed.checked_mul(dimension) != Some(values) {
            return Err(from.wrong("another number of vectors than of rows"));
        }
        Ok(Self { rows, vectors, dimension })
    }
}

/// Moves vectors together that begin at ascending places.
fn keep_vectors<T: Copy>(
    values: &mut Vec<T>,
    starts: impl Iterator<Item = usize>,
    dimension: usize,
) {
    let mut end = 0;
    for start in starts {
        values.copy_within(start..start + dimension, end);
        end += dimension;
    }
    values.truncate(end);
}

/// Checks that each row has a tag.
pub(super) fn check_tags(vectors: &UnitVectors, tags: &[&[u8]]) -> Result<()> {
    if vectors.rows() == tags.len() {
        return Ok(());
    }
    Err(OperatorError::Data(format!("{} vectors don't match {} tags", vectors.rows(), tags.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unbounded;
    use crate::test_rows::random_rows;

    #[test]
    fn eight_bits_are_near_enough() {
        let vectors = random_rows(200, 24, 3);
        let mut horizon = Horizon::new(Precision::Int8);
        let tags: Vec<Vec<u8>> = (0..200_u8).map(|tag| vec![tag]).collect();
        let tags: Vec<&[u8]> = tags.iter().map(Vec::as_slice).collect();
        let window = Window { start: 0, end: 1 };
        horizon.remember(window, (0..200).map(|row| (row, None)), &vectors, &tags, 150);
        assert_eq!(horizon.rows.len(), 150);
        let seen = horizon.seen(window, &[], None);
        let found = horizon.nearest(&seen, &vectors, 200, -1.0, &Unbounded).expect("found");
        for (row, found) in found.iter().enumerate() {
            for found in found {
                let exact = vectors.cosine(row, &vectors, found.row as usize + 50);
                assert!((exact - found.score).abs() < 0.01, "{exact} and {}", found.score);
            }
        }
    }
}
