//! Results in files: Parquet, CSV or JSON lines, by the ending of the name. A file appears when it
//! is whole, and one that is not finished is removed.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::RowPrinter;
use crate::args::Format;
use crate::failure::{Failure, Result};
use crate::whole_file;

/// A file that a result is to be written to.
#[derive(Clone, Debug)]
pub(crate) struct ResultFile {
    path: PathBuf,
    kind: Kind,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Parquet,
    Csv,
    Ndjson,
}

impl ResultFile {
    /// The file at `path`, looked at before any work is done.
    ///
    /// # Errors
    /// When its ending is not known, its folder is not there, or it exists and `overwrite` is not
    /// set.
    pub(crate) fn new(path: &Path, overwrite: bool) -> Result<Self> {
        let ending = path.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
        let kind = match ending.as_deref() {
            Some("parquet") => Kind::Parquet,
            Some("csv") => Kind::Csv,
            Some("ndjson" | "jsonl") => Kind::Ndjson,
            _ => {
                return Err(Failure::user(format!(
                    "the output {} does not end in .parquet, .csv or .ndjson",
                    path.display()
                )));
            }
        };
        whole_file::check(path, overwrite)?;
        Ok(Self { path: path.to_path_buf(), kind })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to write rows.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn create(&self) -> Result<Unfinished> {
        let path = whole_file::unfinished(&self.path);
        let file = File::create(&path).map_err(|error| Failure::file(&self.path, &error))?;
        Ok(Unfinished { target: self.clone(), file: BufWriter::new(file), finished: false })
    }
}

/// A file that is being written. Dropped before its end, it goes.
pub(crate) struct Unfinished {
    target: ResultFile,
    file: BufWriter<File>,
    finished: bool,
}

impl Unfinished {
    /// A writer of rows with this schema.
    ///
    /// # Errors
    /// When Parquet has no form for a type, or the disk fails.
    pub(crate) fn rows(&mut self, schema: &SchemaRef) -> Result<RowFile<'_>> {
        let format = match self.target.kind {
            Kind::Parquet => {
                let level = ZstdLevel::try_new(1).unwrap_or_default();
                let properties = WriterProperties::builder()
                    .set_created_by(format!("sembla {}", env!("CARGO_PKG_VERSION")))
                    .set_compression(Compression::ZSTD(level))
                    .build();
                let schema = SchemaRef::clone(schema);
                let writer = ArrowWriter::try_new(&mut self.file, schema, Some(properties))?;
                return Ok(RowFile::Parquet(Box::new(writer)));
            }
            Kind::Csv => Format::Csv,
            Kind::Ndjson => Format::Ndjson,
        };
        Ok(RowFile::Text(RowPrinter::new(format, None, schema, &mut self.file)?))
    }

    /// Gives the file its name. The writer of rows must have been finished.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn publish(mut self) -> Result<()> {
        std::io::Write::flush(&mut self.file)
            .map_err(|error| Failure::file(&self.target.path, &error))?;
        whole_file::finish(self.file.get_ref(), &self.target.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // What is left behind then is a file that nobody reads.
            let _ = std::fs::remove_file(whole_file::unfinished(&self.target.path));
        }
    }
}

/// Writes rows into a file.
pub(crate) enum RowFile<'a> {
    /// Parquet.
    Parquet(Box<ArrowWriter<&'a mut BufWriter<File>>>),
    /// CSV or JSON lines.
    Text(RowPrinter<'a>),
}

impl RowFile<'_> {
    /// Writes a batch.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Parquet(writer) => Ok(writer.write(batch)?),
            Self::Text(printer) => printer.write(batch).map(|_| ()),
        }
    }

    /// Writes what has been kept back.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::Parquet(writer) => Ok(writer.close().map(|_| ())?),
            Self::Text(printer) => printer.finish(),
        }
    }
}
