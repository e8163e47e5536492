//! Results in files: Parquet, CSV, JSON lines or Arrow, by the ending of the name. A file appears
//! when it is whole, and one that is not finished is removed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{Format, Look, RowPrinter};
use crate::failure::{Failure, Result};
use crate::whole_file;

/// A file that a result is to be written to.
#[derive(Clone, Debug)]
pub struct ResultFile {
    path: PathBuf,
    kind: FileKind,
}

/// What a file of rows holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// The file format of Arrow IPC, which Feather 2 is too.
    Arrow,
}

impl FileKind {
    /// The endings of all kinds, for messages.
    pub const ENDINGS: &str = ".parquet, .csv, .ndjson, .jsonl, .arrow or .feather";

    /// The kind that the ending of a name tells; `None` for one that is not known.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_string_lossy().to_ascii_lowercase();
        match ending.as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "arrow" | "feather" => Some(Self::Arrow),
            _ => None,
        }
    }
}

impl ResultFile {
    /// The file at `path`, looked at before any work is done.
    ///
    /// # Errors
    /// When its ending is not known, its folder is not there, or it exists and `overwrite` is not
    /// set.
    pub fn new(path: &Path, overwrite: bool) -> Result<Self> {
        let kind = FileKind::of(path).ok_or_else(|| {
            Failure::user(format!(
                "the output {} does not end in {}",
                path.display(),
                FileKind::ENDINGS
            ))
        })?;
        whole_file::check(path, overwrite)?;
        Ok(Self { path: path.to_path_buf(), kind })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to write rows.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn create(&self) -> Result<Unfinished> {
        let (claim, file) = whole_file::Unfinished::create(&self.path)?;
        Ok(Unfinished { target: self.clone(), claim, file: BufWriter::new(file) })
    }
}

/// A file that is being written. Dropped before its end, it goes.
pub struct Unfinished {
    target: ResultFile,
    claim: whole_file::Unfinished,
    file: BufWriter<File>,
}

impl Unfinished {
    /// A writer of rows with this schema.
    ///
    /// # Errors
    /// When the format has no form for a type, or the disk fails.
    pub fn rows(&mut self, schema: &SchemaRef) -> Result<RowFile<'_>> {
        RowFile::new(self.target.kind, &self.target.path, schema, &mut self.file)
    }

    /// Gives the file its name. The writer of rows must have been finished.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn publish(mut self) -> Result<()> {
        self.file.flush().map_err(|error| Failure::file(&self.target.path, &error))?;
        self.claim.finish(self.file.get_ref())
    }
}

/// Writes rows into a file.
pub struct RowFile<'a> {
    /// The file, for messages.
    path: &'a Path,
    writer: Writer<'a>,
}

enum Writer<'a> {
    Parquet(Box<ArrowWriter<&'a mut BufWriter<File>>>),
    Arrow(Box<FileWriter<&'a mut BufWriter<File>>>),
    /// CSV or JSON lines.
    Text(RowPrinter<'a>),
}

impl<'a> RowFile<'a> {
    /// A writer of rows with this schema; `path` is what messages call the file.
    ///
    /// # Errors
    /// When the format has no form for a type, or the disk fails.
    pub fn new(
        kind: FileKind,
        path: &'a Path,
        schema: &SchemaRef,
        file: &'a mut BufWriter<File>,
    ) -> Result<Self> {
        let named = |failure: Failure| failure.context(path.display());
        let text = |format, file: &'a mut BufWriter<File>| {
            RowPrinter::new(format, Look::default(), schema, file).map(Writer::Text).map_err(named)
        };
        let writer = match kind {
            FileKind::Parquet => {
                let level = ZstdLevel::try_new(1).unwrap_or_default();
                let properties = WriterProperties::builder()
                    .set_created_by(format!("sembla {}", env!("CARGO_PKG_VERSION")))
                    .set_compression(Compression::ZSTD(level))
                    .build();
                let schema = SchemaRef::clone(schema);
                let writer = ArrowWriter::try_new(file, schema, Some(properties));
                Writer::Parquet(Box::new(writer.map_err(|error| named(error.into()))?))
            }
            FileKind::Arrow => {
                let writer = FileWriter::try_new(file, schema);
                Writer::Arrow(Box::new(writer.map_err(|e| named(Failure::arrow_output(e)))?))
            }
            FileKind::Csv => text(Format::Csv, file)?,
            FileKind::Ndjson => text(Format::Ndjson, file)?,
        };
        Ok(Self { path, writer })
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = match &mut self.writer {
            Writer::Parquet(writer) => writer.write(batch).map_err(Failure::from),
            Writer::Arrow(writer) => writer.write(batch).map_err(Failure::arrow_output),
            Writer::Text(printer) => printer.write(batch).map(|_| ()),
        };
        written.map_err(|failure| failure.context(self.path.display()))
    }

    /// Writes what has been kept back.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn finish(self) -> Result<()> {
        let written = match self.writer {
            Writer::Parquet(writer) => writer.close().map(|_| ()).map_err(Failure::from),
            Writer::Arrow(mut writer) => writer.finish().map_err(Failure::arrow_output),
            Writer::Text(printer) => printer.finish(),
        };
        written.map_err(|failure| failure.context(self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_the_kind() {
        let of = |name: &str| FileKind::of(Path::new(name));
        assert_eq!(of("a.PARQUET"), Some(FileKind::Parquet));
        assert_eq!(of("a.b.jsonl"), Some(FileKind::Ndjson));
        assert_eq!(of("a.feather"), Some(FileKind::Arrow));
        assert_eq!(of("a.xlsx"), None);
        assert_eq!(of("csv"), None);
    }
}
