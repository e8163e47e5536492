//! Tables of a store as inputs (`postgres://…?table=articles`): their rows are copied to a file of
//! this machine, all as of one moment, and the run reads that file like any other.
//!
//! - *Invariant:* a run that was killed reads the rows that it began with, so what it resumes and
//!   what it has written are of one state of the table.
//! - Memory is that of one row group; the copy takes the disk space of the columns that are read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Schema;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sembla_connectors::{
    StoredTable, TableConnector, Wanted, options::GivenOptions, table_of_address,
};
use sembla_runtime::Error;
use sembla_sql::SqlError;
use tokio::runtime::Runtime;

use super::EmbedRequest;
use super::stored::shown;
use crate::failure::{Failure, Result};
use crate::input::Notice;
use crate::whole_file::Unfinished;

/// What the name of the folder ends with.
const FOLDER: &str = ".input";
/// Rows and bytes of a row group, whichever comes first.
const GROUP_ROWS: usize = 32_768;
const GROUP_BYTES: usize = 64 << 20;
/// How much the copy is compressed.
const ZSTD: i32 = 1;

/// The copies of the tables that a run reads. They are removed with it, unless they are to be kept.
#[derive(Debug)]
pub(super) struct Snapshot {
    folder: PathBuf,
    files: Vec<PathBuf>,
    /// Whether the files stay, for the run that resumes this one.
    pub(super) is_kept: bool,
}

/// A table that is an input.
struct TableInput {
    connector: &'static dyn TableConnector,
    options: GivenOptions,
    /// The address for messages.
    shown: String,
    /// The place of the input.
    at: usize,
}

impl Snapshot {
    /// Copies the tables among the inputs, and puts the files in their place. An unfinished run of
    /// the same request has its copies already.
    ///
    /// # Errors
    /// Addresses that can't be, columns that a table doesn't have, and what the outside world says.
    pub(super) fn take(request: &mut EmbedRequest, notice: Notice<'_>) -> Result<Option<Self>> {
        let folder = folder_of(&request.output);
        Self::take_in(request, folder, notice)
    }

    /// The same in a folder that nothing is kept in.
    ///
    /// # Errors
    /// The same.
    pub(super) fn take_for_once(
        request: &mut EmbedRequest,
        notice: Notice<'_>,
    ) -> Result<Option<Self>> {
        let folder = format!("sembla-sample-{}{FOLDER}", std::process::id());
        request.restart = true;
        Self::take_in(request, std::env::temp_dir().join(folder), notice)
    }

    fn take_in(
        request: &mut EmbedRequest,
        folder: PathBuf,
        notice: Notice<'_>,
    ) -> Result<Option<Self>> {
        let tables = tables_of(request)?;
        if tables.is_empty() {
            return Ok(None);
        }
        fs::create_dir_all(&folder).map_err(|error| Failure::file(&folder, &error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::other(format!("starting: {error}")))?;
        let mut snapshot = Self { folder, files: Vec::new(), is_kept: false };
        for table in &tables {
            let path = snapshot.folder.join(file_name(table, request));
            if !request.restart && path.exists() {
                snapshot.is_kept = true;
                notice(&format!(
                    "{}: reading the rows as of {}, which an interrupted run began with; --restart reads the table again",
                    table.shown,
                    written_at(&path)
                ));
            } else {
                table.copy(&runtime, request, &path)?;
            }
            snapshot.files.push(path);
        }
        for (table, path) in tables.iter().zip(&snapshot.files) {
            if let Some(input) = request.inputs.get_mut(table.at) {
                *input = path.to_string_lossy().into_owned();
            }
        }
        Ok(Some(snapshot))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        // What stays takes space, and is replaced by the next run.
        for file in &self.files {
            if let Err(error) = fs::remove_file(file) {
                tracing::debug!("{}: {error}", file.display());
            }
        }
        // It may hold copies of another run.
        let _ = fs::remove_dir(&self.folder);
    }
}

impl TableInput {
    /// Copies the table.
    fn copy(&self, runtime: &Runtime, request: &EmbedRequest, path: &Path) -> Result<()> {
        let failed = |error: Error| Failure::from(SqlError::from(error)).context(&self.shown);
        let options = self.options.read().map_err(|error| failed(error.into()))?;
        let table = runtime.block_on(self.connector.open(&options)).map_err(failed)?;
        let columns = self.columns(request, table.as_ref())?;
        let all = table.schema();
        let fields = columns.iter().filter_map(|place| all.fields().get(*place).cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let level = ZstdLevel::try_new(ZSTD).map_err(|error| Failure::other(error.to_string()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let (unfinished, file) = Unfinished::create(path)?;
        let on_disk = |error| Failure::other(format!("{}: {error}", path.display()));
        let mut writer = ArrowWriter::try_new(&file, schema, Some(properties)).map_err(on_disk)?;
        let wanted = Wanted { columns, conditions: Vec::new(), limit: None };
        runtime.block_on(async {
            let mut rows = table.read(wanted).await.map_err(failed)?;
            while let Some(batch) = rows.try_next().await.map_err(failed)? {
                writer.write(&batch).map_err(on_disk)?;
                if writer.in_progress_size() > GROUP_BYTES {
                    writer.flush().map_err(on_disk)?;
                }
            }
            Ok::<_, Failure>(())
        })?;
        writer.close().map_err(on_disk)?;
        unfinished.finish(&file)
    }

    /// The places of the columns that the run reads: all, unless it names both the texts and what
    /// is kept.
    fn columns(&self, request: &EmbedRequest, table: &dyn StoredTable) -> Result<Vec<usize>> {
        let schema = table.schema();
        let (Some(text), Some(kept)) = (&request.column, &request.columns) else {
            return Ok((0..schema.fields().len()).collect());
        };
        if kept.iter().any(|name| name == "*") {
            return Ok((0..schema.fields().len()).collect());
        }
        let keys = request.incremental.iter().map(|how| &how.key).chain(&request.only_new);
        let names: BTreeSet<&String> = kept.iter().chain([text]).chain(keys).collect();
        let places = names.into_iter().map(|name| {
            schema.index_of(name).map_err(|_| {
                let all: Vec<_> =
                    schema.fields().iter().map(|field| field.name().as_str()).collect();
                Failure::user(format!(
                    "{}: there is no column '{name}'; the columns are {}",
                    self.shown,
                    all.join(", ")
                ))
            })
        });
        let mut places = places.collect::<Result<Vec<_>>>()?;
        places.sort_unstable();
        Ok(places)
    }
}

/// The inputs that are tables of a store.
fn tables_of(request: &EmbedRequest) -> Result<Vec<TableInput>> {
    let mut tables = Vec::new();
    for (at, input) in request.inputs.iter().enumerate() {
        let shown = shown(Path::new(input));
        let found = table_of_address(input)
            .map_err(|error| Failure::from(SqlError::from(error)).context(&shown))?;
        if let Some((connector, options)) = found {
            tables.push(TableInput { connector, options, shown, at });
        }
    }
    Ok(tables)
}

/// The folder of the copies for an output: beside a file or folder of this machine.
fn folder_of(output: &Path) -> PathBuf {
    let text = output.to_string_lossy();
    if text.contains("://") {
        let key = blake3::hash(text.as_bytes()).to_hex();
        let key: String = key.chars().take(16).collect();
        return std::env::temp_dir().join(format!("sembla-{key}{FOLDER}"));
    }
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(FOLDER);
    output.with_file_name(name)
}

/// The name of a table's copy, which follows from the address and from what is read of it.
fn file_name(table: &TableInput, request: &EmbedRequest) -> String {
    let what = format!(
        "{:?} {:?} {:?} {:?} {:?}",
        request.inputs.get(table.at),
        request.column,
        request.columns,
        request.incremental.as_ref().map(|how| &how.key),
        request.only_new
    );
    let key: String = blake3::hash(what.as_bytes()).to_hex().chars().take(12).collect();
    format!("table-{}-{key}.parquet", table.at + 1)
}

/// When a file was written.
fn written_at(path: &Path) -> String {
    let time = fs::metadata(path).and_then(|about| about.modified());
    time.map_or_else(
        |_| "an earlier time".into(),
        |time| DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_lie_beside_an_output_of_this_machine() {
        assert_eq!(folder_of(Path::new("out/v.parquet")), Path::new("out/v.parquet.input"));
        assert_eq!(folder_of(Path::new("out/vectors/")), Path::new("out/vectors.input"));
        let (one, other) = (Path::new("postgres://h/a"), Path::new("postgres://h/b"));
        assert_ne!(folder_of(one), folder_of(other));
        assert!(folder_of(one).starts_with(std::env::temp_dir()));
    }
}
