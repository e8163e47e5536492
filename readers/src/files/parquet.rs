//! What the footer of a Parquet file says, checked before anything trusts it.

use std::fmt;
use std::io::Read;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use super::listing::DataFile;
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::open::Open;

/// What a file begins with that Git left in the place of a large one.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// The footer of a Parquet file, without the page index.
#[derive(Clone)]
pub struct Footer(ArrowReaderMetadata);

impl fmt::Debug for Footer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Footer({} rows)", self.rows())
    }
}

impl Footer {
    /// Reads and checks the footer.
    ///
    /// # Errors
    /// [`Error::Data`] for a file that is torn, is no Parquet, lies about itself, or has two
    /// columns of one name; [`Error::Io`] when the disk or the store fails.
    pub fn read(file: &DataFile) -> Result<Self> {
        let chunks = Chunks::of(file);
        guarded(&file.name, || {
            let metadata = ParquetMetaDataReader::new()
                .with_page_index_policy(PageIndexPolicy::Skip)
                .parse_and_finish(&chunks)
                .map_err(|error| chunks.explained(error))?;
            let arrow = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
                .map_err(|error| unreadable(&file.name, error))?;
            let footer = Self(arrow);
            footer.check(file)?;
            Ok(footer)
        })
    }

    /// The footer as Arrow's reader takes it.
    pub fn arrow(&self) -> &ArrowReaderMetadata {
        &self.0
    }

    /// All that the footer says.
    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.0.metadata()
    }

    /// The columns as the file has them.
    pub fn schema(&self) -> &SchemaRef {
        self.0.schema()
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        let rows = self.metadata().row_groups().iter().map(|group| group.num_rows());
        rows.map(|rows| u64::try_from(rows).unwrap_or_default()).sum()
    }

    /// Bytes of its rows without compression, about.
    pub fn bytes(&self) -> u64 {
        let bytes = self.metadata().row_groups().iter().map(|group| group.total_byte_size());
        bytes.map(|bytes| u64::try_from(bytes).unwrap_or_default()).sum()
    }

    fn check(&self, file: &DataFile) -> Result<()> {
        let mut names: Vec<&str> =
            self.schema().fields().iter().map(|field| field.name().as_str()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(Error::Data(format!(
                "file '{}' has two columns named '{name}'; rename one",
                file.name
            )));
        }
        let lies = self.metadata().row_groups().iter().any(|group| {
            group.num_rows() < 0
                || group.columns().iter().any(|column| {
                    let (start, length) = column.byte_range();
                    start.checked_add(length).is_none_or(|end| end > file.bytes)
                })
        });
        if lies {
            return Err(unreadable(&file.name, "its footer refers to bytes beyond its end"));
        }
        Ok(())
    }
}

/// The error of a file that can't be read as Parquet.
pub fn unreadable(name: &str, why: impl fmt::Display) -> Error {
    let why = why.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Data(format!("file '{name}' can't be read as Parquet, it may be truncated: {why}"))
}

/// A file as the Parquet library reads it.
#[derive(Clone, Debug)]
pub struct Chunks {
    file: Arc<dyn Open>,
    bytes: u64,
}

impl Chunks {
    /// The bytes of a file.
    pub fn of(file: &DataFile) -> Self {
        Self { file: file.open(), bytes: file.bytes }
    }

    /// What an error of the library says of the file.
    pub fn explained(&self, error: ParquetError) -> Error {
        let name = self.file.name();
        if let ParquetError::External(cause) = &error
            && let Some(cause) = cause.downcast_ref::<std::io::Error>()
        {
            return crate::open::failure(name, crate::Compression::None, cause);
        }
        let mut head = Vec::new();
        let read = self
            .file
            .open(0)
            .and_then(|reader| reader.take(LFS_POINTER.len() as u64).read_to_end(&mut head));
        if read.is_ok() && head == LFS_POINTER {
            return Error::Data(format!(
                "file '{name}' is a Git LFS pointer; fetch the file with git lfs pull"
            ));
        }
        unreadable(name, error)
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        self.file.open(start).map_err(|error| ParquetError::External(Box::new(error)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from {start} on are beyond the end of {}",
                self.bytes
            )));
        }
        let mut bytes = vec![0; length];
        self.get_read(start)?
            .read_exact(&mut bytes)
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::files::list;

    fn footer(path: &Path) -> Result<Footer> {
        let files = list(&path.display().to_string(), None).expect("it is there");
        Footer::read(&files[0])
    }

    fn write(path: &Path, names: &[&str]) -> Vec<u8> {
        let fields: Vec<Field> =
            names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
        let column = Arc::new(Int64Array::from_iter_values(0..1000)) as _;
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column; names.len()]);
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).expect("a writer");
        writer.write(&batch.expect("a batch")).expect("written");
        let bytes = writer.into_inner().expect("closed");
        std::fs::write(path, &bytes).expect("written");
        bytes
    }

    #[test]
    fn columns_of_one_name_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.parquet");
        write(&path, &["id", "value", "value"]);
        let error = footer(&path).expect_err("twice").to_string();
        assert!(error.contains("two columns named 'value'"), "{error}");
        write(&path, &["id", "value"]);
        assert_eq!(footer(&path).expect("a footer").rows(), 1000);
    }

    #[test]
    fn what_only_begins_like_parquet_is_an_error_of_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.parquet");
        let whole = write(&path, &["id"]);
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
        std::fs::write(&path, pointer).expect("written");
        assert!(footer(&path).expect_err("a pointer").to_string().contains("git lfs pull"));
        std::fs::write(&path, "PAR1 this is not one PAR1").expect("written");
        assert!(footer(&path).expect_err("no footer").to_string().contains("a.parquet"));
        // No cut and no flipped bit of the footer may panic.
        for end in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..end]).expect("written");
            assert!(footer(&path).is_err(), "cut at {end}");
        }
        for at in whole.len() - 400..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).expect("written");
            if let Err(error) = footer(&path) {
                assert!(error.to_string().contains("a.parquet"), "{error}");
            }
        }
    }
}
