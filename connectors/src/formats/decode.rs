//! Records to rows: what all formats share.
//!
//! All payloads of a call are read at once. Where that fails they are halved until the bad ones
//! stand alone, so a call costs one pass when all is well and a few passes when one is bad.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat, filter, take};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use sembla_runtime::{Error, Rejected, Result};

use super::arrow_ipc::ArrowReader;
use super::avro::AvroReader;
use super::json::JsonReader;
use super::protobuf::ProtobufReader;
use super::text::ValueReader;
use super::{Column, Columns, Decoded, Metadata, Origin, PayloadReader, RawRecord, schema_of};
use crate::missing::missing;
use crate::options::Options;

/// Letters of a reason; what a payload holds may be part of it.
const REASON_LETTERS_MAX: usize = 400;

/// Turns records into rows of declared columns.
///
/// All records of a call are decoded together. Where that fails they are halved until the bad ones
/// stand alone, so a bad record costs its neighbours time, about log₂ of their number, and nothing
/// else.
///
/// ```
/// use arrow::datatypes::DataType;
/// use sembla_connectors::formats::{Column, DECODE_OPTIONS, Decoder, Origin, RawRecord};
/// use sembla_connectors::options::Options;
///
/// let options = Options::read("a source", DECODE_OPTIONS, &[])?;
/// let columns = [Column::new("text", DataType::Utf8, true)];
/// let mut decoder = Decoder::new(&columns, &options)?;
///
/// let origin = Origin { partition: "news/0".into(), topic: "news", number: 0 };
/// let values: [&[u8]; 2] = [br#"{"text": "a"}"#, b"no JSON"];
/// let records = values.map(|value| RawRecord { value: Some(value), ..RawRecord::default() });
/// let decoded = futures::executor::block_on(decoder.decode(&origin, &records))?;
/// assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (1, 1));
/// # Ok::<(), sembla_runtime::Error>(())
/// ```
pub struct Decoder {
    columns: Vec<Column>,
    schema: SchemaRef,
    reader: Box<dyn PayloadReader>,
    record_bytes_max: usize,
}

/// A record that can't be used: which, and why.
type Refusal = (usize, String);

/// Rows of payloads, and for each the record that it comes from.
#[derive(Default)]
struct Rows {
    /// By column the pieces that make it up.
    pieces: Vec<Vec<ArrayRef>>,
    records: Vec<usize>,
}

impl Decoder {
    /// A decoder for columns by the options of [`super::DECODE_OPTIONS`].
    ///
    /// # Errors
    /// [`Error::Option`] when the format can't fill the columns, or the options disagree.
    pub fn new(columns: &[Column], options: &Options) -> Result<Self> {
        for column in columns {
            if let Some(metadata) = column.metadata {
                metadata.check(column)?;
            }
        }
        let payload: Vec<_> =
            columns.iter().filter(|column| column.metadata.is_none()).cloned().collect();
        let format = options.choice("format")?;
        let reader: Box<dyn PayloadReader> = match format {
            "json" => Box::new(JsonReader::new(&payload, options.choice("timestamp_unit")?)?),
            "text" | "raw" => Box::new(ValueReader::new(format, &payload)?),
            "avro" => Box::new(AvroReader::new(&payload, options)?),
            "protobuf" => Box::new(ProtobufReader::new(&payload, options)?),
            "arrow" => Box::new(ArrowReader::new(&payload)),
            other => return Err(Error::Option(format!("format '{other}' can't be read"))),
        };
        let record_bytes_max = options.bytes("max_record_bytes")?;
        Ok(Self {
            schema: schema_of(columns),
            columns: columns.to_vec(),
            reader,
            record_bytes_max: usize::try_from(record_bytes_max).unwrap_or(usize::MAX),
        })
    }

    /// The schema of the rows: the declared columns in their order.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// Whether a column is filled from headers; else they need not be collected.
    pub fn wants_headers(&self) -> bool {
        self.columns.iter().any(|column| column.metadata == Some(Metadata::Headers))
    }

    /// Turns records of one partition into rows. A record that can't be used is rejected, with its
    /// bytes and one reason, and the others go on; rows keep the order of records.
    ///
    /// # Errors
    /// [`Error::Transient`] when a schema can't be fetched at the moment; the call may be repeated.
    pub async fn decode(
        &mut self,
        origin: &Origin<'_>,
        records: &[RawRecord<'_>],
    ) -> Result<Decoded> {
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut usable = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            match self.refusal(record) {
                Some(reason) => refusals.push((index, reason)),
                None => usable.push(index),
            }
        }
        let payloads: Vec<(usize, &[u8])> =
            usable.iter().filter_map(|index| Some((*index, records[*index].value?))).collect();
        let bytes: Vec<&[u8]> = payloads.iter().map(|(_, payload)| *payload).collect();
        self.reader.prepare(&bytes).await?;
        let mut rows = Rows::default();
        self.read(&payloads, &bytes, 0..payloads.len(), &mut rows, &mut refusals);
        let (arrays, sources) = self.with_tombstones(rows, records, &usable)?;
        let batch = self.assemble(origin, records, arrays, &sources)?;
        let (rows, sources) = self.without_nulls(batch, sources, &mut refusals)?;
        refusals.sort_unstable_by_key(|refusal| refusal.0);
        refusals.dedup_by_key(|refusal| refusal.0);
        Ok(Decoded {
            rows,
            sequences: sources.iter().map(|index| records[*index].offset).collect(),
            rejected: refusals
                .into_iter()
                .map(|(index, reason)| rejected(origin, &records[index], reason))
                .collect(),
        })
    }

    /// Why a record can't be used, by what can be seen from outside of its payload.
    fn refusal(&self, record: &RawRecord<'_>) -> Option<String> {
        let bytes = record.value.map_or(0, <[u8]>::len);
        if bytes > self.record_bytes_max {
            return Some(format!(
                "the payload has {bytes} bytes, more than max_record_bytes = {}",
                self.record_bytes_max
            ));
        }
        self.columns.iter().find_map(|column| {
            let reason = column.metadata?.refusal(&column.data_type, record)?;
            Some(format!("column '{}': {reason}", column.name))
        })
    }

    /// Reads a range of payloads; one that fails is halved.
    fn read(
        &mut self,
        payloads: &[(usize, &[u8])],
        bytes: &[&[u8]],
        range: Range<usize>,
        rows: &mut Rows,
        refusals: &mut Vec<Refusal>,
    ) {
        if range.is_empty() {
            return;
        }
        match self.reader.read(&bytes[range.clone()]) {
            Ok(columns) => rows.push(columns, &payloads[range]),
            Err(reason) if range.len() == 1 => refusals.push((payloads[range.start].0, reason)),
            Err(_) => {
                let middle = range.start + range.len() / 2;
                self.read(payloads, bytes, range.start..middle, rows, refusals);
                self.read(payloads, bytes, middle..range.end, rows, refusals);
            }
        }
    }

    /// The columns of the payload with a row of NULLs for each tombstone, and of each row its
    /// record.
    fn with_tombstones(
        &self,
        rows: Rows,
        records: &[RawRecord<'_>],
        usable: &[usize],
    ) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
        let payload = self.columns.iter().filter(|column| column.metadata.is_none());
        let mut arrays = Vec::new();
        for (place, column) in payload.enumerate() {
            let pieces = rows.pieces.get(place).map_or(&[][..], Vec::as_slice);
            arrays.push(match pieces {
                [] => arrow::array::new_empty_array(&column.data_type),
                [one] => ArrayRef::clone(one),
                many => concat(&many.iter().map(AsRef::as_ref).collect::<Vec<_>>())?,
            });
        }
        if usable.iter().all(|index| records[*index].value.is_some()) {
            return Ok((arrays, rows.records));
        }
        let (mut from, mut sources) = (Vec::new(), Vec::new());
        let mut next = 0;
        for index in usable {
            if records[*index].value.is_none() {
                from.push(None);
                sources.push(*index);
            }
            while rows.records.get(next) == Some(index) {
                from.push(u32::try_from(next).ok());
                sources.push(*index);
                next += 1;
            }
        }
        let from = UInt32Array::from(from);
        let arrays: std::result::Result<Vec<_>, _> =
            arrays.iter().map(|array| take(array, &from, None)).collect();
        Ok((arrays?, sources))
    }

    /// All columns, with those that are filled from metadata. NULLs are not looked at yet.
    fn assemble(
        &self,
        origin: &Origin<'_>,
        records: &[RawRecord<'_>],
        payload: Vec<ArrayRef>,
        sources: &[usize],
    ) -> Result<Vec<ArrayRef>> {
        let of_rows: Vec<_> = sources.iter().map(|index| &records[*index]).collect();
        let mut payload = payload.into_iter();
        self.columns
            .iter()
            .map(|column| match column.metadata {
                Some(metadata) => metadata.array(&column.data_type, origin, &of_rows),
                None => payload
                    .next()
                    .ok_or_else(|| Error::Bug(format!("column '{}' was not read", column.name))),
            })
            .collect()
    }

    /// The rows whose NOT NULL columns have values; the records of the others are rejected.
    fn without_nulls(
        &self,
        arrays: Vec<ArrayRef>,
        mut sources: Vec<usize>,
        refusals: &mut Vec<Refusal>,
    ) -> Result<(RecordBatch, Vec<usize>)> {
        let options = RecordBatchOptions::new().with_row_count(Some(sources.len()));
        let missing = missing(&self.schema, &arrays);
        if missing.is_empty() {
            let rows = RecordBatch::try_new_with_options(self.schema(), arrays, &options)?;
            return Ok((rows, sources));
        }
        // A record of several rows goes as a whole.
        let refused: BTreeSet<usize> = missing.keys().map(|row| sources[*row]).collect();
        refusals.extend(missing.into_iter().map(|(row, reason)| (sources[row], reason)));
        let is_kept: BooleanArray =
            sources.iter().map(|record| Some(!refused.contains(record))).collect();
        let kept: std::result::Result<Vec<_>, _> =
            arrays.iter().map(|array| filter(array, &is_kept)).collect();
        sources.retain(|record| !refused.contains(record));
        let options = RecordBatchOptions::new().with_row_count(Some(sources.len()));
        Ok((RecordBatch::try_new_with_options(self.schema(), kept?, &options)?, sources))
    }
}

impl Rows {
    fn push(&mut self, columns: Columns, payloads: &[(usize, &[u8])]) {
        self.pieces.resize_with(columns.arrays.len(), Vec::new);
        for (pieces, array) in self.pieces.iter_mut().zip(columns.arrays) {
            pieces.push(array);
        }
        match columns.rows {
            None => self.records.extend(payloads.iter().map(|(record, _)| *record)),
            Some(rows) => {
                for ((record, _), rows) in payloads.iter().zip(rows) {
                    self.records.extend(std::iter::repeat_n(*record, rows));
                }
            }
        }
    }
}

/// A record with its reason, cut to a length that a line can have.
fn rejected(origin: &Origin<'_>, record: &RawRecord<'_>, reason: String) -> Rejected {
    let mut reason = reason.replace(['\n', '\r'], " ");
    if let Some((cut, _)) = reason.char_indices().nth(REASON_LETTERS_MAX) {
        reason.truncate(cut);
        reason.push('…');
    }
    Rejected {
        partition: origin.partition.clone(),
        position: record.offset,
        timestamp_us: record.timestamp_us,
        key: record.key.map(Bytes::copy_from_slice),
        payload: record.value.map(Bytes::copy_from_slice),
        reason,
    }
}
