//! The files of an index, and how they change in one step.
//!
//! `x.index` is the graph with its vectors. Its rows lie beside it in a Parquet file that has the
//! graph's checksum in its name: `x.index.rows-0123456789abcdef.parquet`. Where the graph changes,
//! the rows of the new one are written first, and the moment in which the graph gets its name
//! changes both; where only rows change, it is the moment in which their file gets its name. So
//! after a kill the index is what it was before the statement or after it. Rows of other graphs are
//! removed when the next change is done.
//!
//! A lock beside them keeps two processes from writing at once, and a change of files that another
//! process has changed meanwhile is rejected.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::errors::ParquetError;
use sembla_models::panics::caught;
use sembla_operators::Host;
use sembla_operators::approximate::ApproximateIndex;

use crate::SqlError;
use crate::engine::indexes::{Contents, Index, Saved};

/// The column of keys in a file of rows.
const KEY_COLUMN: &str = "__key";

/// The key of the metadata that counts the changes of the rows.
const CHANGE: &str = "sembla.change";

/// How often opening is tried while another process changes the files.
const TRIES_MAX: usize = 5;

/// Opens an index.
///
/// # Errors
/// Files that do not exist, are no index, are damaged or don't belong together.
pub(super) fn open(
    path: &Path,
    (pool, host): (&Arc<dyn MemoryPool>, &dyn Host),
) -> Result<Index, SqlError> {
    let mut tries = 0;
    loop {
        let identity = ApproximateIndex::identity(path)?;
        let opened = open_once(path, identity, (pool, host));
        tries += 1;
        if opened.is_ok() || tries == TRIES_MAX || ApproximateIndex::identity(path)? == identity {
            return opened;
        }
    }
}

fn open_once(
    path: &Path,
    identity: u64,
    (pool, host): (&Arc<dyn MemoryPool>, &dyn Host),
) -> Result<Index, SqlError> {
    let rows_path = existing_rows(path, identity);
    let rows = read_rows(&rows_path)?;
    let vectors = ApproximateIndex::open(path, host)?;
    if ApproximateIndex::identity(path)? != identity {
        return Err(SqlError::Io(format!(
            "index '{}' was changed while it was being opened; try again",
            path.display()
        )));
    }
    let Rows { schema, batches, keys, change } = rows;
    // Files that have no keys are those of an older version, with rows too many after a kill.
    let (batches, keys) = match keys {
        Some(keys) => (batches, keys),
        None => first_rows(batches, vectors.rows()),
    };
    let saved = Some(Saved { identity, change });
    let contents = Contents::new(&schema, vectors, (batches, keys), saved, pool);
    let contents = contents.map_err(|error| match error {
        SqlError::Data(message) => SqlError::Data(format!("index '{}': {message}", path.display())),
        other => other,
    })?;
    Ok(Index::new(path, schema, contents))
}

/// The first rows, with their numbers as keys.
fn first_rows(batches: Vec<RecordBatch>, rows: usize) -> (Vec<RecordBatch>, Vec<u64>) {
    let mut left = rows;
    let kept = batches.into_iter().map(|batch| {
        let kept = batch.num_rows().min(left);
        left -= kept;
        batch.slice(0, kept)
    });
    let kept: Vec<RecordBatch> = kept.collect();
    (kept, (0..rows as u64).collect())
}

/// Writes an index that has changed, and forgets the files of what it was.
///
/// # Errors
/// Files that another process has changed, or writes now; what the disk says.
pub(super) fn save(index: &Index, host: &dyn Host) -> Result<(), SqlError> {
    let mut contents = index.write();
    let _lock = lock(&index.path)?;
    if let Some(saved) = contents.saved {
        check_unchanged(&index.path, saved)?;
    }
    let graph = contents.vectors.write_beside(&index.path, host)?;
    let identity = graph.identity();
    let change = contents.saved.map_or(0, |saved| saved.change) + 1;
    let rows_path = rows_path(&index.path, identity);
    let partial = with_end(&index.path, ".rows.partial");
    let written = write_rows(&contents, &index.schema, change, &partial)
        .and_then(|()| Ok(fs::rename(&partial, &rows_path)?));
    written.map_err(|error| cannot_write(&rows_path, &error))?;
    graph.publish()?;
    contents.saved = Some(Saved { identity, change });
    remove_other_rows(&index.path, &rows_path);
    Ok(())
}

/// Whether there is something at the path of an index.
pub(super) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Checks that what is at a path may be replaced: an index, whole or damaged, but no other file.
///
/// # Errors
/// [`SqlError::Statement`] for anything else.
pub(super) fn check_replaceable(path: &Path) -> Result<(), SqlError> {
    if !exists(path) || ApproximateIndex::identity(path).is_ok() {
        return Ok(());
    }
    Err(SqlError::Statement(format!(
        "'{}' already exists and is not an index, so it is not replaced; choose another path or remove it",
        path.display()
    )))
}

fn lock(path: &Path) -> Result<File, SqlError> {
    let lock_path = with_end(path, ".lock");
    let file = File::create(&lock_path).map_err(|error| cannot_write(&lock_path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SqlError::Io(format!(
            "index '{}' is being written by another process; try again",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(cannot_write(&lock_path, &error)),
    }
}

/// Checks that the files are those that an index was read from.
fn check_unchanged(path: &Path, saved: Saved) -> Result<(), SqlError> {
    let identity = ApproximateIndex::identity(path)?;
    let rows = File::open(existing_rows(path, identity)).ok();
    let rows = rows.and_then(|file| ParquetRecordBatchReaderBuilder::try_new(file).ok());
    let change = rows.map(|rows| change_of(rows.schema()));
    if identity == saved.identity && change == Some(saved.change) {
        return Ok(());
    }
    Err(SqlError::Statement(format!(
        "index '{0}' was changed by another process; open it again: \
         CREATE OR REPLACE INDEX … WITH (path = '{0}')",
        path.display()
    )))
}

/// Rows as a file has them.
struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    keys: Option<Vec<u64>>,
    change: u64,
}

fn read_rows(path: &Path) -> Result<Rows, SqlError> {
    let unreadable = |why: &dyn std::fmt::Display| {
        SqlError::Data(format!("file '{}' can't be read: {why}", path.display()))
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    // The reader panics on some damaged files.
    let read = caught(|| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let schema = Arc::clone(reader.schema());
        let batches = reader.build()?.collect::<Result<Vec<_>, _>>()?;
        Ok::<_, ParquetError>((schema, batches))
    });
    let (schema, mut batches) = match read {
        Ok(read) => read.map_err(|error| unreadable(&error))?,
        Err(_) => return Err(unreadable(&"it is damaged; build the index again")),
    };
    let change = change_of(&schema);
    let Ok(key) = schema.index_of(KEY_COLUMN) else {
        return Ok(Rows { schema, batches, keys: None, change });
    };
    let mut keys = Vec::new();
    for batch in &mut batches {
        let column = batch.remove_column(key);
        let column = column.as_primitive_opt::<UInt64Type>();
        let column = column.ok_or_else(|| unreadable(&"its keys are not numbers"))?;
        keys.extend_from_slice(column.values());
    }
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.remove(key);
    let mut metadata = schema.metadata().clone();
    metadata.remove(CHANGE);
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let with_schema = |batch: RecordBatch| {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
    };
    let batches = batches.into_iter().map(with_schema).collect::<Result<_, _>>();
    let batches = batches.map_err(|error| unreadable(&error))?;
    Ok(Rows { schema, batches, keys: Some(keys), change })
}

fn change_of(schema: &SchemaRef) -> u64 {
    schema.metadata().get(CHANGE).and_then(|change| change.parse().ok()).unwrap_or_default()
}

/// Writes the rows and their keys, and waits until they are on the disk.
fn write_rows(
    contents: &Contents,
    schema: &SchemaRef,
    change: u64,
    path: &Path,
) -> Result<(), ParquetError> {
    let key = Arc::new(Field::new(KEY_COLUMN, DataType::UInt64, false));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([key]).collect();
    let mut metadata = schema.metadata().clone();
    metadata.insert(CHANGE.into(), change.to_string());
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let mut writer = ArrowWriter::try_new(File::create(path)?, Arc::clone(&schema), None)?;
    let mut keys = contents.keys.as_slice();
    for batch in &contents.rows {
        let (own, rest) = keys.split_at(batch.num_rows().min(keys.len()));
        keys = rest;
        let own: ArrayRef = Arc::new(UInt64Array::from(own.to_vec()));
        let columns = batch.columns().iter().cloned().chain([own]).collect();
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    let file = writer.into_inner()?;
    Ok(file.sync_all()?)
}

/// The file of the rows of a graph.
fn rows_path(path: &Path, identity: u64) -> PathBuf {
    with_end(path, &format!(".rows-{identity:016x}.parquet"))
}

/// The file of the rows that is there: an older version had one name for all.
fn existing_rows(path: &Path, identity: u64) -> PathBuf {
    let (rows, older) = (rows_path(path, identity), older_rows_path(path));
    if !rows.exists() && older.exists() { older } else { rows }
}

fn older_rows_path(path: &Path) -> PathBuf {
    with_end(path, ".rows.parquet")
}

/// Removes the rows of what the index was before. That one can't be removed is not the news.
fn remove_other_rows(path: &Path, current: &Path) {
    let _ = fs::remove_file(older_rows_path(path));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let (Ok(entries), Some(name)) =
        (fs::read_dir(folder.unwrap_or(Path::new("."))), path.file_name())
    else {
        return;
    };
    let start = format!("{}.rows-", name.to_string_lossy());
    for entry in entries.flatten() {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        let is_rows = found.starts_with(&start) && found.ends_with(".parquet");
        if is_rows && Some(entry.file_name().as_os_str()) != current.file_name() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn cannot_write(path: &Path, error: &dyn std::fmt::Display) -> SqlError {
    SqlError::Io(format!("file '{}' can't be written: {error}", path.display()))
}
