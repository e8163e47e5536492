//! Rows of open windows as files: Arrow IPC streams with zstd, and which of their rows still count.
//!
//! A segment's file is written once. What names it (its length and CRC-32) lies in the epoch, so a
//! torn file is known before it is decoded.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How many hexadecimal digits of a content's BLAKE3 hash are in the name of its file.
pub(crate) const HASH_DIGITS: usize = 16;

/// A file of rows that an epoch needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The name of its file.
    pub name: String,
    /// The length of its file.
    pub bytes: u64,
    /// The CRC-32 of its file.
    pub crc32: u32,
    /// How many rows are in it.
    pub rows: u64,
}

/// A segment that must be written before an epoch that names it.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What names it.
    pub reference: SegmentRef,
    /// The content of its file.
    pub bytes: Bytes,
}

/// What an epoch says about open windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedWindows {
    /// The watermark up to which windows have fired.
    pub closed_until_us: i64,
    /// Windows that have fired and got rows since, as (start, end).
    pub late: Vec<(i64, i64)>,
    /// The files that hold the rows, in order.
    pub segments: Vec<SegmentRef>,
    /// Which rows of the segments are still needed; a section of its own in the file.
    #[serde(skip)]
    pub live: Bytes,
}

impl Segment {
    /// Writes rows down as a segment of that epoch.
    pub(super) fn of(epoch: u64, schema: &SchemaRef, batches: &[&RecordBatch]) -> Result<Self> {
        let bytes = encode(schema, batches.iter().copied())?;
        let hash = blake3::hash(&bytes).to_hex();
        let reference = SegmentRef {
            name: format!("segment-{epoch:012}-{}.arrow", &hash[..HASH_DIGITS]),
            bytes: bytes.len() as u64,
            crc32: crc32fast::hash(&bytes),
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
        };
        Ok(Self { reference, bytes })
    }
}

impl SegmentRef {
    /// Whether this is the content of its file.
    ///
    /// # Errors
    /// In a few words, what is wrong with the file: they follow its name.
    pub(crate) fn check(&self, bytes: &Bytes) -> std::result::Result<(), String> {
        if bytes.len() as u64 != self.bytes {
            return Err(format!("has {} bytes, but should have {}", bytes.len(), self.bytes));
        }
        if crc32fast::hash(bytes) != self.crc32 {
            return Err("has a wrong checksum, so it is damaged".into());
        }
        Ok(())
    }

    /// The rows of the segment from the content of its file, which has been checked.
    pub(super) fn decode(&self, bytes: &Bytes, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let refused = |why: String| {
            Error::State(format!("state '{}' {why}; --ignore-state starts over", self.name))
        };
        let batches = decode(bytes, schema).map_err(refused)?;
        let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        if rows != self.rows {
            return Err(refused(format!("has {rows} rows, but should have {}", self.rows)));
        }
        Ok(batches)
    }
}

/// Writes down which rows of each segment still count. `None` is all.
pub(super) fn encode_live(segments: &[Option<BooleanArray>]) -> Result<Bytes> {
    if segments.iter().all(Option::is_none) {
        return Ok(Bytes::new());
    }
    let schema = live_schema();
    let all = BooleanArray::from(Vec::<bool>::new());
    let batches = segments.iter().map(|live| {
        let live = live.as_ref().unwrap_or(&all).clone();
        RecordBatch::try_new(schema.clone(), vec![Arc::new(live)])
    });
    let batches = batches.collect::<std::result::Result<Vec<_>, _>>()?;
    encode(&schema, batches.iter())
}

/// What [`encode_live`] wrote for segments of so many rows.
pub(super) fn decode_live(bytes: &Bytes, rows: &[usize]) -> Result<Vec<Option<BooleanArray>>> {
    if bytes.is_empty() {
        return Ok(vec![None; rows.len()]);
    }
    let refused = |why: &str| {
        Error::State(format!("the list of rows that still count {why}; --ignore-state starts over"))
    };
    let batches = decode(bytes, &live_schema()).map_err(|why| refused(&why))?;
    if batches.len() != rows.len() {
        return Err(refused("is of other segments"));
    }
    let of_segment = |(batch, rows): (&RecordBatch, &usize)| match batch.num_rows() {
        0 => Ok(None),
        n if n == *rows => Ok(Some(batch.column(0).as_boolean().clone())),
        _ => Err(refused("is of other segments")),
    };
    batches.iter().zip(rows).map(of_segment).collect()
}

fn live_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("live", DataType::Boolean, false)]))
}

fn encode<'a>(schema: &SchemaRef, batches: impl Iterator<Item = &'a RecordBatch>) -> Result<Bytes> {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?.into())
}

fn decode(bytes: &Bytes, schema: &SchemaRef) -> std::result::Result<Vec<RecordBatch>, String> {
    let reader = StreamReader::try_new(bytes.as_ref(), None)
        .map_err(|error| format!("can't be read: {error}"))?;
    if reader.schema().fields() != schema.fields() {
        let names = |schema: &Schema| {
            let fields = schema.fields().iter();
            fields
                .map(|field| format!("{} {}", field.name(), field.data_type()))
                .collect::<Vec<_>>()
        };
        let (there, here) = (names(&reader.schema()).join(", "), names(schema).join(", "));
        return Err(format!("has the columns ({there}), but the query has ({here})"));
    }
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>();
    batches.map_err(|error| format!("can't be read: {error}").replace('\n', " "))
}
