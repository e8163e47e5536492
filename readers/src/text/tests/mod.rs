//! Text files as a user has them: what is found in them, what is read, and what is rejected.

mod against_plain;
mod csv;
mod declared;
mod hostile;
mod json;
mod plain;
mod tolerant;

use std::io::{self, Read};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{
    Cancel, Error, Limits, Open, Result, RowsRequest, Survey, TextOptions, merge, rows, survey,
};

/// A file in memory, whose bytes come in pieces.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    name: String,
    bytes: Arc<Vec<u8>>,
    piece: usize,
}

impl Memory {
    pub(super) fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: Arc::new(bytes.into()), piece: usize::MAX }
    }

    pub(super) fn in_pieces(self, piece: usize) -> Self {
        Self { piece, ..self }
    }
}

impl Open for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Pieces { file: self.clone(), at: offset as usize }))
    }
}

struct Pieces {
    file: Memory,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = &self.file.bytes[self.at..];
        let count = rest.len().min(into.len()).min(self.file.piece);
        into[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

pub(super) fn surveyed(file: &Memory, options: &TextOptions) -> Result<Survey> {
    survey(file, options, &Limits::default(), &Cancel::never())
}

/// All rows of a file as one batch.
pub(super) fn read_as(file: &Memory, survey: &Survey, schema: &SchemaRef) -> Result<RecordBatch> {
    let request = RowsRequest::new(survey.dialect.clone(), Arc::clone(schema));
    let batches: Vec<_> = rows(Arc::new(file.clone()), request)?.collect::<Result<_>>()?;
    Ok(concat_batches(schema, &batches).expect("batches of one schema"))
}

/// A batch in words: a line with names and types, then a line a row.
pub(super) fn shown(batch: &RecordBatch) -> Vec<String> {
    let fields = batch.schema();
    let names = fields.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type()));
    let mut lines = vec![names.collect::<Vec<_>>().join(", ")];
    let options = FormatOptions::new().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("a column to show"))
        .collect();
    for row in 0..batch.num_rows() {
        let values = columns.iter().map(|column| column.value(row).to_string());
        lines.push(values.collect::<Vec<_>>().join(" | "));
    }
    lines
}

/// Surveys a file and reads it with the types found.
pub(super) fn read(file: &Memory, options: &TextOptions) -> Result<Vec<String>> {
    let found = surveyed(file, options)?;
    let schema = merge(&[(file.name(), &found)])?;
    let batch = read_as(file, &found, &schema)?;
    assert_eq!(batch.num_rows() as u64, found.rows, "rows counted and read");
    Ok(shown(&batch))
}

pub(super) fn csv_of(text: impl Into<Vec<u8>>) -> Result<Vec<String>> {
    read(&Memory::new("x.csv", text), &TextOptions::csv())
}

pub(super) fn json_of(text: impl Into<Vec<u8>>) -> Result<Vec<String>> {
    read(&Memory::new("x.json", text), &TextOptions::json())
}

/// The message of the error that a file is.
pub(super) fn refused(result: Result<Vec<String>>) -> String {
    match result {
        Err(Error::Data(message) | Error::Limit(message)) => message,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Numbers that look random and are the same every time.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub(super) fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}
