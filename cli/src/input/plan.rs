//! What a command reads of its files: looks at every file before the first text meets a model, so
//! that a wrong column or a torn file is reported at once and not after hours.
//!
//! Parquet tells its columns and rows in its footer. CSV and JSON files are read through once,
//! because a type that is guessed from the first lines can turn out wrong at the last one. Reading
//! the rows is `rows.rs`'s job.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use flate2::read::MultiGzDecoder;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::files::{FileFormat, InputFile};
use crate::failure::{Failure, Result, one_line};

/// A file, with what was found in it.
#[derive(Clone, Debug)]
pub(crate) struct PlannedFile {
    /// The file.
    pub(crate) input: InputFile,
    /// All its columns, in its order.
    pub(crate) schema: SchemaRef,
    /// Its rows.
    pub(crate) rows: u64,
    /// Bytes that a row takes in memory, about.
    pub(crate) row_bytes: u64,
}

/// What to read and what to keep.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The files, in order.
    pub(crate) files: Vec<PlannedFile>,
    /// The columns that are read, the same for every file.
    pub(crate) schema: SchemaRef,
    /// Indexes in `schema` of the columns that the output keeps, in its order.
    pub(crate) kept: Vec<usize>,
    /// Rows of all files.
    pub(crate) rows: u64,
}

/// What the user asked for.
pub(crate) struct Wanted<'a> {
    /// The column of texts; `None` where only other columns are wanted.
    pub(crate) text: Option<&'a str>,
    /// The columns to keep; `None` is all of the first file.
    pub(crate) columns: Option<&'a [String]>,
    /// A new column that the kept ones must not hide.
    pub(crate) output_column: Option<&'a str>,
}

impl Plan {
    /// Looks at all files.
    ///
    /// # Errors
    /// When a file can't be read, and what [`Plan::of`] says.
    pub(crate) fn new(inputs: Vec<InputFile>, wanted: &Wanted<'_>) -> Result<Self> {
        Self::of(scan_all(inputs)?, wanted)
    }

    /// The plan of files that were looked at.
    ///
    /// # Errors
    /// When a column is missing or of differing types, the text is not text, or the new column has
    /// the name of one that is kept.
    pub(crate) fn of(files: Vec<PlannedFile>, wanted: &Wanted<'_>) -> Result<Self> {
        let first = files.first().ok_or_else(|| Failure::user("there is no input file"))?;
        let mut kept_names: Vec<String> = match wanted.columns {
            Some(columns) => columns.to_vec(),
            None => first.schema.fields().iter().map(|field| field.name().clone()).collect(),
        };
        let mut seen = HashSet::new();
        kept_names.retain(|name| seen.insert(name.clone()));
        if let Some(new) = wanted.output_column
            && kept_names.iter().any(|name| name == new)
        {
            return Err(Failure::user(format!(
                "the input has a column '{new}' already; name the vectors' column with --output-column, or leave '{new}' \
                 out of --columns"
            )));
        }
        let mut read_names = kept_names.clone();
        if let Some(text) = wanted.text
            && !read_names.iter().any(|name| name == text)
        {
            read_names.push(text.to_string());
        }
        let fields = read_names
            .iter()
            .map(|name| unified(&files, name, wanted.text == Some(name)))
            .collect::<Result<Vec<_>>>()?;
        let position = |name: &String| read_names.iter().position(|other| other == name);
        Ok(Self {
            kept: kept_names.iter().filter_map(position).collect(),
            schema: Arc::new(Schema::new(fields)),
            rows: files.iter().map(|file| file.rows).sum(),
            files,
        })
    }

    /// The index of a column that was wanted.
    ///
    /// # Errors
    /// When the plan does not have it.
    pub(crate) fn column(&self, name: &str) -> Result<usize> {
        self.schema
            .index_of(name)
            .map_err(|_| Failure::other(format!("internal error: column '{name}' is not read")))
    }
}

/// Whether the type is one that texts come in.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// The field that the column `name` of all files is read as.
fn unified(files: &[PlannedFile], name: &str, wants_text: bool) -> Result<Field> {
    let mut result: Option<(DataType, bool, &PlannedFile)> = None;
    for file in files {
        let field = file.schema.field_with_name(name).map_err(|_| missing(file, name))?;
        let guessed = file.input.format != FileFormat::Parquet;
        let found = match file.input.format {
            FileFormat::Csv if wants_text => &DataType::Utf8,
            _ => field.data_type(),
        };
        if wants_text && !is_text(found) && *found != DataType::Null {
            return Err(Failure::user(format!(
                "column '{name}' of {} holds {found}, not text",
                file.input.path.display()
            )));
        }
        result = Some(match result {
            None => (found.clone(), guessed, file),
            Some((before, guessed_before, first)) => {
                let guessed = guessed && guessed_before;
                let both = merge(&before, found, guessed).ok_or_else(|| {
                    Failure::user(format!(
                        "column '{name}' holds {before} in {} but {found} in {}",
                        first.input.path.display(),
                        file.input.path.display()
                    ))
                })?;
                (both, guessed, first)
            }
        });
    }
    let data_type = match result {
        Some((DataType::Null, ..)) | None => DataType::Utf8,
        Some((data_type, ..)) => data_type,
    };
    Ok(Field::new(name, data_type, true))
}

/// The type that values of both types are read as. Types that were guessed from text give way to
/// text.
fn merge(one: &DataType, other: &DataType, guessed: bool) -> Option<DataType> {
    match (one, other) {
        _ if one == other => Some(one.clone()),
        (DataType::Null, known) | (known, DataType::Null) => Some(known.clone()),
        _ if is_text(one) && is_text(other) => Some(one.clone()),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) if guessed => {
            Some(DataType::Float64)
        }
        _ if guessed && !one.is_nested() && !other.is_nested() => Some(DataType::Utf8),
        _ => None,
    }
}

/// The failure for a column that a file does not have, with those it has, the nearest first.
fn missing(file: &PlannedFile, name: &str) -> Failure {
    let mut names: Vec<_> =
        file.schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_by(|a, b| strsim::jaro_winkler(b, name).total_cmp(&strsim::jaro_winkler(a, name)));
    const SHOWN: usize = 20;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names.truncate(SHOWN);
    Failure::user(format!(
        "column '{name}' is not in {}; its columns: {}{more}",
        file.input.path.display(),
        names.join(", ")
    ))
}

/// Looks at files.
///
/// # Errors
/// When one can't be read, or is not what its name says.
pub(crate) fn scan_all(inputs: Vec<InputFile>) -> Result<Vec<PlannedFile>> {
    inputs.into_iter().map(scan).collect()
}

/// Looks at one file.
fn scan(input: InputFile) -> Result<PlannedFile> {
    let path = &input.path;
    let (schema, rows, bytes) = match input.format {
        FileFormat::Parquet => scan_parquet(path)?,
        FileFormat::Csv => {
            let reader = open_text(&input)?;
            let (schema, rows) = Format::default()
                .with_header(true)
                .infer_schema(reader, None)
                .map_err(|error| unreadable(path, "CSV", error))?;
            (Arc::new(schema), rows as u64, input.bytes)
        }
        FileFormat::Json => {
            let mut reader = open_text(&input)?;
            if reader.fill_buf().is_ok_and(|start| start.trim_ascii_start().starts_with(b"[")) {
                return Err(Failure::user(format!(
                    "{} holds a JSON array; JSON lines are read (one object a line, no brackets around)",
                    path.display()
                )));
            }
            let (schema, rows) = arrow::json::reader::infer_json_schema(reader, None)
                .map_err(|error| unreadable(path, "JSON lines", error))?;
            (Arc::new(schema), rows as u64, input.bytes)
        }
    };
    let row_bytes = bytes / rows.max(1);
    Ok(PlannedFile { input, schema, rows, row_bytes })
}

/// Columns, rows and bytes of a Parquet file.
fn scan_parquet(path: &Path) -> Result<(SchemaRef, u64, u64)> {
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(|error| unreadable(path, "Parquet", error))?;
    let groups = metadata.metadata().row_groups();
    let rows: i64 = groups.iter().map(|group| group.num_rows()).sum();
    let bytes: i64 = groups.iter().map(|group| group.total_byte_size()).sum();
    let whole = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok((Arc::clone(metadata.schema()), whole(rows), whole(bytes)))
}

/// Opens a text file, through gzip where it is compressed.
pub(crate) fn open_text(input: &InputFile) -> Result<BufReader<Box<dyn Read + Send>>> {
    const BUFFER_BYTES: usize = 1 << 20;
    let file = File::open(&input.path).map_err(|error| Failure::file(&input.path, &error))?;
    let reader: Box<dyn Read + Send> =
        if input.gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(BufReader::with_capacity(BUFFER_BYTES, reader))
}

/// The failure for a file whose contents are not what its name says.
pub(crate) fn unreadable(path: &Path, format: &str, error: impl std::fmt::Display) -> Failure {
    Failure::user(format!(
        "{} can't be read as {format}, it may be torn: {}",
        path.display(),
        one_line(error)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessed_types_give_way() {
        use DataType::{Boolean, Float64, Int64, LargeUtf8, Null, Utf8};
        assert_eq!(merge(&Int64, &Float64, true), Some(Float64));
        assert_eq!(merge(&Int64, &Boolean, true), Some(Utf8));
        assert_eq!(merge(&Int64, &Utf8, false), None);
        assert_eq!(merge(&Null, &Int64, false), Some(Int64));
        assert_eq!(merge(&Utf8, &LargeUtf8, false), Some(Utf8));
    }
}
