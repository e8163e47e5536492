//! Rows in memory.
//!
//! Rows lie in *slots*: batches, each with a count of the rows that a window still needs. When none
//! is needed any more, the slot is empty.
//!
//! - *Invariant:* bytes are what is really held: a batch that is a small part of larger buffers is
//!   copied out of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Int32Array, Int64Array,
    RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::{interleave, interleave_record_batch};
use arrow::datatypes::{
    DataType, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use crate::stage::HIDDEN_COLUMNS;
use crate::{Error, Result};

/// How many rows are put together in one batch, at most.
const BATCH_ROWS_MAX: usize = 8192;

/// How many bytes are put together in one batch, about.
const BATCH_BYTES: usize = 16 << 20;

/// What the reference to a row takes in the windows' lists.
const REFERENCE_BYTES: usize = 16;

/// What a column may take beyond its rows before it is copied.
const COPY_BYTES_MIN: usize = 4096;

/// Where a row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowRef {
    /// Its slot.
    pub(super) slot: u32,
    /// Its number there.
    pub(super) row: u32,
}

pub(super) struct Slots {
    schema: SchemaRef,
    slots: Vec<Option<Slot>>,
    /// Empty slots that may be used again.
    free: Vec<u32>,
    bytes: usize,
    rows: usize,
}

struct Slot {
    rows: RecordBatch,
    hidden: Hidden,
    /// Which rows are still needed; `None` is all.
    live: Option<BooleanBufferBuilder>,
    live_rows: usize,
    bytes: usize,
}

/// What settles windows and order, of each row of a batch.
pub(super) struct Hidden {
    pub(super) times: TimestampMicrosecondArray,
    sequences: Int64Array,
    partitions: Int32Array,
}

impl Hidden {
    /// The last columns of a batch.
    ///
    /// # Errors
    /// [`Error::Bug`] for a NULL in them.
    pub(super) fn of(rows: &RecordBatch) -> Result<Self> {
        let hidden = rows.columns().iter().rev().take(HIDDEN_COLUMNS.len());
        match hidden.collect::<Vec<_>>()[..] {
            [partitions, sequences, times]
                if [partitions, sequences, times].iter().all(|column| column.null_count() == 0) =>
            {
                Ok(Self {
                    times: times.as_primitive::<TimestampMicrosecondType>().clone(),
                    sequences: sequences.as_primitive::<Int64Type>().clone(),
                    partitions: partitions.as_primitive::<Int32Type>().clone(),
                })
            }
            _ => Err(Error::Bug("a row has no event time, sequence or partition".into())),
        }
    }

    fn order(&self, row: usize) -> (i64, i64, i32) {
        (self.times.value(row), self.sequences.value(row), self.partitions.value(row))
    }
}

impl Slots {
    /// For rows of that schema.
    ///
    /// # Errors
    /// [`Error::Bug`] when its last columns are not the hidden ones.
    pub(super) fn new(schema: SchemaRef) -> Result<Self> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let types = [time, DataType::Int64, DataType::Int32];
        let first = schema.fields().len().saturating_sub(HIDDEN_COLUMNS.len());
        let hidden = schema.fields().iter().skip(first);
        let hidden = hidden.map(|field| (field.name().as_str(), field.data_type()));
        if !hidden.eq(HIDDEN_COLUMNS.into_iter().zip(&types)) {
            let last = schema.fields().iter().skip(first).map(|field| field.to_string());
            let last = last.collect::<Vec<_>>().join(", ");
            return Err(Error::Bug(format!("the last columns before a window are {last}")));
        }
        Ok(Self { schema, slots: Vec::new(), free: Vec::new(), bytes: 0, rows: 0 })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many bytes are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the bytes become with these rows too.
    pub(super) fn bytes_with(&self, rows: &RecordBatch) -> usize {
        self.bytes + held_bytes(rows)
    }

    /// How many rows are needed.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Puts rows, which [`owned`] has given, into a slot and gives its number.
    pub(super) fn put(&mut self, rows: RecordBatch) -> Result<u32> {
        let slot = Slot::of(rows)?;
        let number = match self.free.pop() {
            Some(free) => free,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1)
                    .map_err(|_| Error::Memory("open windows hold too many batches".into()))?
            }
        };
        self.bytes += slot.bytes;
        self.rows += slot.live_rows;
        self.slots[number as usize] = Some(slot);
        Ok(number)
    }

    fn slot(&self, number: u32) -> Result<&Slot> {
        let slot = self.slots.get(number as usize).and_then(Option::as_ref);
        slot.ok_or_else(|| Error::Bug("a window refers to rows that are gone".into()))
    }

    /// Whether rows of a slot are needed.
    pub(super) fn is_held(&self, number: u32) -> bool {
        self.slot(number).is_ok()
    }

    /// How many rows of a slot are needed.
    pub(super) fn live_rows(&self, number: u32) -> usize {
        self.slot(number).map_or(0, |slot| slot.live_rows)
    }

    /// The batch of a slot, hidden columns included.
    pub(super) fn batch(&self, number: u32) -> Result<&RecordBatch> {
        Ok(&self.slot(number)?.rows)
    }

    /// The event times of a slot's rows.
    pub(super) fn times(&self, number: u32) -> Result<&TimestampMicrosecondArray> {
        Ok(&self.slot(number)?.hidden.times)
    }

    /// References to the rows of a slot that are needed, in their order.
    pub(super) fn live(&self, number: u32) -> Vec<RowRef> {
        let Ok(slot) = self.slot(number) else { return Vec::new() };
        let rows = (0..slot.rows.num_rows()).filter(|row| slot.needs(*row));
        rows.map(|row| RowRef { slot: number, row: row as u32 }).collect()
    }

    /// Puts references in the order of their rows. Rows of equal order stay as they are.
    pub(super) fn sort(&self, references: &mut [RowRef]) {
        let order = |reference: &RowRef| {
            let slot = self.slot(reference.slot);
            slot.map(|slot| slot.hidden.order(reference.row as usize)).unwrap_or_default()
        };
        references.sort_by_cached_key(order);
    }

    /// A row is no longer needed.
    pub(super) fn release(&mut self, reference: RowRef) {
        let Some(place) = self.slots.get_mut(reference.slot as usize) else { return };
        let Some(slot) = place else { return };
        self.rows -= 1;
        slot.live_rows -= 1;
        if slot.live_rows > 0 {
            slot.forget(reference.row as usize);
        } else {
            self.bytes -= slot.bytes;
            *place = None;
        }
    }

    /// Empties a slot and lets its number be used again. No reference to it may be left.
    pub(super) fn recycle(&mut self, number: u32) {
        let Some(place) = self.slots.get_mut(number as usize) else { return };
        if let Some(slot) = place.take() {
            self.bytes -= slot.bytes;
            self.rows -= slot.live_rows;
        }
        self.free.push(number);
    }

    /// The rows in that order, hidden columns left out, in batches of a bounded size.
    pub(super) fn gather(&self, references: &[RowRef]) -> Result<Vec<RecordBatch>> {
        Ok(self.gather_apart(references)?.0)
    }

    /// The same, and apart from them their hidden columns.
    pub(super) fn gather_apart(
        &self,
        references: &[RowRef],
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        let all = self.schema.fields().len();
        let own = all - HIDDEN_COLUMNS.len();
        let (visible, hidden): (Vec<usize>, Vec<usize>) = (0..all).partition(|place| *place < own);
        let batches = self.gather_whole(references)?;
        let of = |places: &[usize]| -> Result<Vec<RecordBatch>> {
            batches.iter().map(|batch| Ok(batch.project(places)?)).collect()
        };
        Ok((of(&visible)?, of(&hidden)?))
    }

    /// The rows in that order, hidden columns included, in batches of a bounded size.
    pub(super) fn gather_whole(&self, references: &[RowRef]) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let mut rest = references;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(self.fitting(rest)?);
            self.interleave_into(&mut batches, batch)?;
            rest = after;
        }
        Ok(batches)
    }

    /// How many of the first rows are about as many as a batch should have; at least one.
    fn fitting(&self, references: &[RowRef]) -> Result<usize> {
        let (mut bytes, mut count) = (0, 0);
        for reference in references.iter().take(BATCH_ROWS_MAX) {
            let slot = self.slot(reference.slot)?;
            bytes += slot.bytes / slot.rows.num_rows().max(1);
            if count > 0 && bytes > BATCH_BYTES {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Puts rows together. Sizes are estimates, so a batch may turn out to be too large for 32-bit
    /// offsets; then it becomes two.
    fn interleave_into(&self, to: &mut Vec<RecordBatch>, references: &[RowRef]) -> Result<()> {
        let (mut numbers, mut batches) = (HashMap::new(), Vec::new());
        let mut indices = Vec::with_capacity(references.len());
        for reference in references {
            let batch = &self.slot(reference.slot)?.rows;
            let number = *numbers.entry(reference.slot).or_insert_with(|| {
                batches.push(batch);
                batches.len() - 1
            });
            indices.push((number, reference.row as usize));
        }
        match interleave_record_batch(&batches, &indices) {
            Ok(batch) => to.push(batch),
            Err(ArrowError::OffsetOverflowError(_)) if references.len() > 1 => {
                let (left, right) = references.split_at(references.len() / 2);
                self.interleave_into(to, left)?;
                self.interleave_into(to, right)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Slot {
    fn of(rows: RecordBatch) -> Result<Self> {
        Ok(Self {
            hidden: Hidden::of(&rows)?,
            live: None,
            live_rows: rows.num_rows(),
            bytes: held_bytes(&rows),
            rows,
        })
    }

    fn needs(&self, row: usize) -> bool {
        self.live.as_ref().is_none_or(|live| live.get_bit(row))
    }

    fn forget(&mut self, row: usize) {
        let live = self.live.get_or_insert_with(|| {
            let mut live = BooleanBufferBuilder::new(self.rows.num_rows());
            live.append_n(self.rows.num_rows(), true);
            live
        });
        live.set_bit(row, false);
    }
}

/// What a slot of these rows takes.
fn held_bytes(rows: &RecordBatch) -> usize {
    rows.get_array_memory_size() + rows.num_rows() * REFERENCE_BYTES
}

/// The rows in buffers of their own, if they are a small part of larger ones.
///
/// # Errors
/// When Arrow can't copy them.
pub(super) fn owned(rows: RecordBatch) -> Result<RecordBatch> {
    let columns = rows.columns().iter().map(owned_column).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

fn owned_column(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        // Views share the buffers that they point into.
        DataType::Utf8View => return Ok(Arc::new(column.as_string_view().gc())),
        DataType::BinaryView => return Ok(Arc::new(column.as_binary_view().gc())),
        _ => (),
    }
    let needed = column.to_data().get_slice_memory_size()?;
    if column.get_array_memory_size() <= 2 * needed + COPY_BYTES_MIN {
        return Ok(column.clone());
    }
    let all: Vec<_> = (0..column.len()).map(|row| (0, row)).collect();
    Ok(interleave(&[column.as_ref()], &all)?)
}

/// Which rows of batches one after another are needed; `None` is all. A slot that is empty stands
/// for rows none of which is.
pub(super) fn live_of(slots: &Slots, parts: &[(u32, usize)]) -> Option<BooleanArray> {
    if parts.iter().all(|(slot, rows)| slots.live_rows(*slot) == *rows) {
        return None;
    }
    let mut live = BooleanBufferBuilder::new(parts.iter().map(|(_, rows)| rows).sum());
    for (number, rows) in parts {
        match slots.slot(*number) {
            Ok(slot) => (0..*rows).for_each(|row| live.append(slot.needs(row))),
            Err(_) => live.append_n(*rows, false),
        }
    }
    Some(BooleanArray::new(live.finish(), None))
}
