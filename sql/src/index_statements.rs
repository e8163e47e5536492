//! `CREATE INDEX`, `INSERT INTO` an index, `DROP INDEX`, `SHOW INDEXES`.
//!
//! An index is built of any query, in memory and in files, and searched by
//! `semantic_search(name, …)`. Its rows are a table of its name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::errors::ParquetError;
use datafusion::prelude::ParquetReadOptions;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{Statement as SqlStatement, TableObject};
use sembla_operators::approximate::{ApproximateOptions, Storage};

use crate::arguments::nearest;
use crate::findings::QueryHost;
use crate::findings::index_rows;
use crate::findings::indexes::Index;
use crate::functions::blocking;
use crate::statement::CreateIndex;
use crate::{Outcome, Session, SqlError};

/// The options of `CREATE INDEX`.
const OPTIONS: &[&str] =
    &["path", "storage", "connectivity", "expansion", "model", "prompt", "id", "text", "vector"];

/// The options that were given, checked.
#[derive(Default)]
struct IndexOptions {
    path: Option<PathBuf>,
    native: ApproximateOptions,
    /// Those that say how rows are read.
    reading: Vec<(String, String)>,
}

impl IndexOptions {
    fn read(given: &[(String, String)]) -> Result<Self, SqlError> {
        let mut options = Self::default();
        let number = |name: &str, value: &str| {
            value.parse::<usize>().map_err(|_| {
                SqlError::Statement(format!("{name} is '{value}'; it is a whole number"))
            })
        };
        for (name, value) in given {
            match name.as_str() {
                "path" => options.path = Some(value.into()),
                "storage" => options.native.storage = Storage::parse(value)?,
                "connectivity" => options.native.connectivity = number(name, value)?,
                "expansion" => options.native.expansion = number(name, value)?,
                "model" | "prompt" | "id" | "text" | "vector" => {
                    options.reading.push((name.clone(), value.clone()));
                }
                other => {
                    return Err(SqlError::Statement(format!(
                        "an index has no option '{other}'; did you mean '{}'? It takes {}",
                        nearest(OPTIONS.iter().copied(), other),
                        OPTIONS.join(", ")
                    )));
                }
            }
        }
        Ok(options)
    }

    fn model(&self) -> Option<&str> {
        self.reading.iter().find(|(name, _)| name == "model").map(|(_, value)| value.as_str())
    }
}

/// Builds an index, or opens it.
///
/// # Errors
/// A name that is taken, options that can't be, what the query, the model or the disk says.
pub(crate) async fn create(session: &Session, create: CreateIndex) -> Result<Outcome, SqlError> {
    let CreateIndex { name, or_replace, if_not_exists, options, query } = create;
    let indexes = &session.engine().indexes;
    let is_there = indexes.get(&name).is_some();
    if is_there && if_not_exists {
        return Ok(Outcome::Done(format!("index '{name}' is there already")));
    }
    if is_there && !or_replace {
        return Err(SqlError::Statement(format!(
            "index '{name}' is there already; CREATE OR REPLACE INDEX replaces it"
        )));
    }
    if !is_there && session.context().table_exist(name.as_str())? {
        return Err(SqlError::Statement(format!(
            "there is a table '{name}'; name the index differently"
        )));
    }
    let options = IndexOptions::read(&options)?;
    let Some(path) = options.path.clone() else {
        return Err(SqlError::Statement(format!(
            "CREATE INDEX {name} needs the option path = '…'"
        )));
    };
    let index = match query {
        Some(query) => build(session, &path, &query, &options).await?,
        None => open(session, &path).await?,
    };
    let rows = counted(index.read().len());
    let verb = if is_there { "replaced" } else { "created" };
    let done = format!("index '{name}' {verb}: {rows} in {}", path.display());
    indexes.add(&name, index);
    show_rows(session, &name)?;
    Ok(Outcome::Done(done))
}

async fn build(
    session: &Session,
    path: &Path,
    query: &str,
    options: &IndexOptions,
) -> Result<Index, SqlError> {
    let (batches, schema) = read(session, query, &options.reading).await?;
    let model = options.model().map_or_else(|| session.models().default_name(), str::to_string);
    let index = with_host(session, |host| {
        let pool = &session.context().runtime_env().memory_pool;
        Index::build(path, &batches, &schema, Some(&model), &options.native, (pool, host))
    })?;
    save(session, &index)?;
    Ok(index)
}

async fn open(session: &Session, path: &Path) -> Result<Index, SqlError> {
    if !path.exists() {
        return Err(SqlError::Statement(format!(
            "file '{}' does not exist; CREATE INDEX … AS SELECT … builds it",
            path.display()
        )));
    }
    let rows = Index::rows_path(path).display().to_string();
    let options = ParquetReadOptions::default().file_extension("").skip_metadata(false);
    let frame = session.context().read_parquet(rows, options).await?;
    let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
    // One partition reads the file in its order.
    let batches = in_order(frame).await?;
    with_host(session, |host| {
        let pool = &session.context().runtime_env().memory_pool;
        Index::open(path, batches, schema, (pool, host))
    })
}

/// The rows of a file from the first to the last.
async fn in_order(frame: datafusion::dataframe::DataFrame) -> Result<Vec<RecordBatch>, SqlError> {
    let partitions = frame.collect_partitioned().await?;
    Ok(partitions.into_iter().flatten().collect())
}

/// Appends rows to an index and its files.
///
/// # Errors
/// Ids that are there already, columns that are not, what the query, the model or the disk says.
pub(crate) async fn insert(
    session: &Session,
    name: &str,
    query: &str,
) -> Result<Outcome, SqlError> {
    let Some(index) = session.engine().indexes.get(name) else {
        return Err(unknown(name));
    };
    let model = index.model().map(|model| ("model".to_string(), model.to_string()));
    let reading: Vec<(String, String)> = model.into_iter().collect();
    let (batches, _) = read(session, query, &reading).await?;
    let before = index.read().len();
    with_host(session, |host| index.append(&batches, host))?;
    save(session, &index)?;
    show_rows(session, name)?;
    let added = counted(index.read().len() - before);
    Ok(Outcome::Done(format!("{added} added to index '{name}'")))
}

/// The index and the query of an `INSERT INTO` an index.
pub(crate) fn inserted(session: &Session, statement: &EngineStatement) -> Option<(String, String)> {
    let EngineStatement::Statement(statement) = statement else { return None };
    let SqlStatement::Insert(insert) = statement.as_ref() else { return None };
    let TableObject::TableName(name) = &insert.table else { return None };
    let name = name.to_string().to_lowercase();
    session.engine().indexes.get(&name)?;
    Some((name, insert.source.as_ref()?.to_string()))
}

/// Forgets an index.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn drop(session: &Session, name: &str, if_exists: bool) -> Result<Outcome, SqlError> {
    if session.engine().indexes.remove(name) {
        session.context().deregister_table(name)?;
        return Ok(Outcome::Done(format!("index '{name}' dropped; its files stay")));
    }
    if if_exists {
        return Ok(Outcome::Done(format!("there is no index '{name}'")));
    }
    Err(unknown(name))
}

/// The rows of `SHOW INDEXES`.
///
/// # Errors
/// When arrow can't put the columns together.
pub(crate) fn rows(session: &Session) -> Result<RecordBatch, SqlError> {
    let indexes = session.engine().indexes.list();
    let names = indexes.iter().map(|(name, _)| name.as_str());
    let models = indexes.iter().map(|(_, index)| index.model());
    let paths = indexes.iter().map(|(_, index)| index.path.display().to_string());
    let number = |of: &dyn Fn(&Index) -> usize| -> ArrayRef {
        let numbers = indexes.iter().map(|(_, index)| of(index) as u64);
        Arc::new(UInt64Array::from_iter_values(numbers))
    };
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("name", Arc::new(StringArray::from_iter_values(names)) as ArrayRef, false),
        ("rows", number(&|index| index.read().len()), false),
        ("dimension", number(&|index| index.read().vectors.dimension()), false),
        ("model", Arc::new(models.collect::<StringArray>()), true),
        ("path", Arc::new(StringArray::from_iter_values(paths)), false),
    ]);
    batch.map_err(|error| SqlError::Bug(error.to_string()))
}

/// Reads a query as an index needs it.
async fn read(
    session: &Session,
    query: &str,
    reading: &[(String, String)],
) -> Result<(Vec<RecordBatch>, SchemaRef), SqlError> {
    let text = index_rows::statement(query, reading);
    let Some(statement) = session.parse(&text)?.pop() else {
        return Err(SqlError::Bug("a query of an index is no statement".into()));
    };
    match Box::pin(session.execute(statement)).await? {
        Outcome::Rows(frame) => {
            let schema = Arc::new(frame.schema().as_arrow().clone());
            Ok((frame.collect().await?, schema))
        }
        Outcome::Done(_) | Outcome::Stream(_) => {
            Err(SqlError::Bug("a query of an index gives no rows".into()))
        }
    }
}

fn with_host<T>(session: &Session, work: impl FnOnce(&QueryHost) -> T) -> T {
    let context = session.context().task_ctx();
    let host = QueryHost::new("the index", session.engine(), &context, || false);
    blocking(|| work(&host))
}

/// Writes the files of an index: the rows, then the vectors.
fn save(session: &Session, index: &Index) -> Result<(), SqlError> {
    let path = Index::rows_path(&index.path);
    let partial = path.with_extension("partial");
    blocking(|| write_rows(index, &partial).and_then(|()| Ok(fs::rename(&partial, &path)?)))
        .map_err(|error| {
            SqlError::Io(format!("file '{}' can't be written: {error}", path.display()))
        })?;
    Ok(with_host(session, |host| index.read().vectors.save(&index.path, host))?)
}

/// Writes the rows of an index, and waits until they are on the disk.
fn write_rows(index: &Index, path: &Path) -> Result<(), ParquetError> {
    let mut writer = ArrowWriter::try_new(File::create(path)?, Arc::clone(&index.schema), None)?;
    index.read().rows.iter().try_for_each(|batch| writer.write(batch))?;
    let file = writer.into_inner()?;
    Ok(file.sync_all()?)
}

/// The rows of an index as a table.
fn table(index: &Index) -> Result<Arc<MemTable>, SqlError> {
    let rows = index.read().rows.clone();
    Ok(Arc::new(MemTable::try_new(Arc::clone(&index.schema), vec![rows])?))
}

fn show_rows(session: &Session, name: &str) -> Result<(), SqlError> {
    let Some(index) = session.engine().indexes.get(name) else { return Err(unknown(name)) };
    session.context().deregister_table(name)?;
    session.context().register_table(name, table(&index)?)?;
    Ok(())
}

/// A number of rows for people.
fn counted(rows: usize) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

fn unknown(name: &str) -> SqlError {
    SqlError::Statement(format!("there is no index '{name}'; SHOW INDEXES lists those there are"))
}
