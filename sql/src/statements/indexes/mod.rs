//! `CREATE INDEX`, `INSERT INTO`, `UPDATE` and `DELETE FROM` an index, `DROP INDEX`, and
//! `SHOW INDEXES`.
//!
//! An index is built of any query, in memory and in files, and searched by
//! `semantic_search(name, …)`. Its rows are a table of its name.

mod change;
mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::physical_plan::collect_partitioned;
use sembla_models::provenance::FINGERPRINT;
use sembla_operators::approximate::{
    ApproximateOptions, CONNECTIVITY_MAX, CONNECTIVITY_MIN, EXPANSION_MAX, Storage,
};
use sembla_options::{Kind, OptionDef, Options};

use crate::columns::provenance::{different, metadata};
use crate::engine::Connection;
use crate::engine::indexes::{Changed, Index, Indexes, READING_OPTIONS, provenance_of};
use crate::findings::search::index_rows;
use crate::query::{QueryHost, blocking};
use crate::statements::{Outcome, counted};
use crate::syntax::CreateIndex;
use crate::{SqlError, planning};

pub(crate) use change::{change_of, truncated};

/// The options of `CREATE INDEX`: how it is kept and built, then how rows are read.
const OPTIONS: &[OptionDef] = &[
    OptionDef::new("path", Kind::Text, "where its files are").required(),
    OptionDef::new("storage", Kind::Choice(STORAGES), "how components are stored").or("f32"),
    OptionDef::new(
        "connectivity",
        Kind::between(CONNECTIVITY_MIN as u64, CONNECTIVITY_MAX as u64),
        "links of a row to others; more find better but take more memory",
    )
    .or("16"),
    OptionDef::new(
        "expansion",
        Kind::between(1, EXPANSION_MAX as u64),
        "candidates considered while a row is added; more find better but take longer",
    )
    .or("128"),
    OptionDef::new("model", Kind::Text, "the model that embeds texts"),
    OptionDef::new("prompt", Kind::AnyText, "what is put before each text"),
    OptionDef::new("id", Kind::Text, "the column of ids"),
    OptionDef::new("text", Kind::Text, "the column of texts"),
    OptionDef::new("vector", Kind::Text, "the column of vectors"),
];

/// The names of storages.
const STORAGES: &[&str] = &["f32", "f16", "i8"];

/// The options that were given, checked.
struct IndexOptions {
    path: PathBuf,
    native: ApproximateOptions,
    /// Those that say how rows are read.
    reading: Vec<(String, String)>,
}

impl IndexOptions {
    fn read(given: &[(String, String)]) -> Result<Self, SqlError> {
        let options = Options::read("an index", OPTIONS, given)?;
        let count =
            |key| Ok::<_, SqlError>(usize::try_from(options.count(key)?).unwrap_or(usize::MAX));
        let reading = READING_OPTIONS.iter().filter_map(|key| {
            let text = options.find_text(key)?;
            Some((key.to_string(), text.to_string()))
        });
        Ok(Self {
            path: options.text("path")?.into(),
            native: ApproximateOptions {
                storage: Storage::parse(options.choice("storage")?)?,
                connectivity: count("connectivity")?,
                expansion: count("expansion")?,
            },
            reading: reading.collect(),
        })
    }

    /// How rows are read, with the model that made their vectors, under the name that the session
    /// has for it: the default may be another later. Of foreign vectors nothing is known.
    ///
    /// # Errors
    /// Vectors that say they are of another model than the one that was named.
    fn reading(
        &self,
        connection: &Connection,
        schema: &SchemaRef,
    ) -> Result<Vec<(String, String)>, SqlError> {
        let mut reading = self.reading.clone();
        let provenance = provenance_of(schema)?;
        let Some(fingerprint) = provenance.get(FINGERPRINT) else { return Ok(reading) };
        let Some((_, named)) = reading.iter().find(|(name, _)| name == "model") else {
            let name = connection.models.name_of(fingerprint);
            reading.extend(name.map(|name| ("model".to_string(), name)));
            return Ok(reading);
        };
        let model = connection.models.model(Some(named))?;
        match different(&provenance, &metadata(model.info().provenance())) {
            Some((own, other)) => Err(SqlError::Statement(format!(
                "the vectors are of {own}, but model => names {other}; name the model that made them, or leave it out"
            ))),
            None => Ok(reading),
        }
    }
}

/// Builds an index, or opens it.
///
/// # Errors
/// A name or a path that is taken, options that can't be, what the query, the model or the disk
/// says.
pub(crate) async fn create(
    connection: &Connection,
    create: CreateIndex,
) -> Result<Outcome, SqlError> {
    let CreateIndex { name, or_replace, if_not_exists, options, query } = create;
    let indexes = &connection.indexes;
    let is_there = indexes.get(&name).is_some();
    if is_there && if_not_exists {
        return Ok(Outcome::Done(format!("index '{name}' already exists")));
    }
    if is_there && !or_replace {
        return Err(SqlError::Statement(format!(
            "index '{name}' already exists; CREATE OR REPLACE INDEX replaces it"
        )));
    }
    if !is_there && connection.context.table_exist(name.as_str())? {
        return Err(SqlError::Statement(format!(
            "a table '{name}' already exists; choose another name for the index"
        )));
    }
    let options = IndexOptions::read(&options)?;
    let path = options.path.clone();
    check_path(indexes, &name, &path)?;
    let built = query.filter(|_| !(if_not_exists && files::exists(&path)));
    let done = match built {
        Some(query) => {
            check_free(&name, &path, or_replace)?;
            let (index, changed) = build(connection, &path, &query, &options).await?;
            let verb = if is_there || or_replace { "replaced" } else { "created" };
            let mut done = report(&name, verb, &index);
            if changed.left_out > 0 {
                let left_out = counted(changed.left_out);
                done += &format!("; {left_out} without a text or vector left out");
            }
            indexes.add(&name, index);
            done
        }
        None => {
            let index = open(connection, &path)?;
            let done = report(&name, "opened", &index);
            indexes.add(&name, index);
            done
        }
    };
    connection.show_indexes()?;
    Ok(Outcome::Done(done))
}

/// What a statement that built or opened an index reports.
fn report(name: &str, verb: &str, index: &Index) -> String {
    format!("index '{name}' {verb}: {} in {}", counted(index.read().len()), index.path.display())
}

/// Checks that no other index has that path: two would write over each other.
fn check_path(indexes: &Indexes, name: &str, path: &Path) -> Result<(), SqlError> {
    let Ok(place) = path.canonicalize() else { return Ok(()) };
    let is_it = |index: &Index| index.path.canonicalize().is_ok_and(|other| other == place);
    let other = indexes.list().into_iter().find(|(other, index)| other != name && is_it(index));
    match other {
        Some((other, _)) => Err(SqlError::Statement(format!(
            "'{}' is open as index '{other}'; use that name, or DROP INDEX {other} first",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// Checks that an index may be built at a path.
fn check_free(name: &str, path: &Path, or_replace: bool) -> Result<(), SqlError> {
    if or_replace {
        return files::check_replaceable(path);
    }
    if files::exists(path) {
        let path = path.display();
        return Err(SqlError::Statement(format!(
            "'{path}' already exists: CREATE INDEX {name} WITH (path = '{path}') without AS opens it, \
             CREATE INDEX IF NOT EXISTS keeps it, CREATE OR REPLACE INDEX replaces it"
        )));
    }
    Ok(())
}

async fn build(
    connection: &Connection,
    path: &Path,
    query: &str,
    options: &IndexOptions,
) -> Result<(Index, Changed), SqlError> {
    let (batches, schema) = read(connection, query, &options.reading).await?;
    let (pool, reading) = (pool(connection), options.reading(connection, &schema)?);
    with_host(connection, |host| {
        let (index, changed) =
            Index::build(path, batches, &schema, &reading, &options.native, (&pool, host))?;
        files::save(&index, host)?;
        Ok((index, changed))
    })
}

fn open(connection: &Connection, path: &Path) -> Result<Index, SqlError> {
    if !path.exists() {
        return Err(SqlError::Statement(format!(
            "file '{}' does not exist; CREATE INDEX … AS SELECT … builds it",
            path.display()
        )));
    }
    with_host(connection, |host| files::open(path, (&pool(connection), host)))
}

/// Forgets an index.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn drop(
    connection: &Connection,
    name: &str,
    if_exists: bool,
) -> Result<Outcome, SqlError> {
    if connection.indexes.remove(name) {
        connection.show_indexes()?;
        return Ok(Outcome::Done(format!("index '{name}' dropped; its files stay")));
    }
    if if_exists {
        return Ok(Outcome::Done(format!("index '{name}' does not exist")));
    }
    Err(unknown(name))
}

/// The rows of `SHOW INDEXES`.
///
/// # Errors
/// When arrow can't put the columns together.
pub(crate) fn rows(connection: &Connection) -> Result<RecordBatch, SqlError> {
    let indexes = connection.indexes.list();
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
    connection: &Connection,
    query: &str,
    reading: &[(String, String)],
) -> Result<(Vec<RecordBatch>, SchemaRef), SqlError> {
    let frame = planning::query(connection, &index_rows::statement(query, reading)).await?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    Ok((collect(frame).await?, schema))
}

/// The rows of a query.
async fn rows_of(connection: &Connection, query: &str) -> Result<Vec<RecordBatch>, SqlError> {
    collect(planning::query(connection, query).await?).await
}

/// The names of the columns of a query.
async fn columns(connection: &Connection, query: &str) -> Result<Vec<String>, SqlError> {
    let frame = planning::query(connection, query).await?;
    Ok(frame.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// The rows from the first to the last.
async fn collect(frame: DataFrame) -> Result<Vec<RecordBatch>, SqlError> {
    let context = Arc::new(frame.task_ctx());
    let partitions = collect_partitioned(planning::physical(frame).await?, context).await?;
    Ok(partitions.into_iter().flatten().collect())
}

fn pool(connection: &Connection) -> Arc<dyn MemoryPool> {
    Arc::clone(&connection.context.runtime_env().memory_pool)
}

fn with_host<T>(connection: &Connection, work: impl FnOnce(&QueryHost) -> T) -> T {
    let context = connection.context.task_ctx();
    let host = QueryHost::new("the index", &context, || false);
    blocking(|| work(&host))
}

fn unknown(name: &str) -> SqlError {
    SqlError::Statement(format!("index '{name}' does not exist; SHOW INDEXES lists them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_storages_and_defaults_are_those_of_the_operator() {
        assert_eq!(STORAGES, Storage::NAMES.map(|(name, _)| name));
        let given = [("path".to_string(), "x".to_string())];
        let options = IndexOptions::read(&given).expect("options");
        assert_eq!(options.native, ApproximateOptions::default());
        assert!(options.reading.is_empty());
    }
}
