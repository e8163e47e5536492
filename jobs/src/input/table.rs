//! Input files as a table of a session, with columns of fixed names, `id`, `text` and `embedding`,
//! and any others after them.
//!
//! The table has one partition, so that its rows come in the order of the files, and a row number
//! is an id that a person can find again. Each scan reads the files again, and only a few batches
//! are in memory.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use sembla_readers::files::{Table, fitted, vector_type};
use sembla_sql::by_name::{self, is_text, is_vector};
use sembla_sql::{Session, SqlError};

use super::columns::{ID, look, no_text, which_text};
use super::condition::Condition;
use super::{Notice, Plan, Rows, Wanted, inspect, resolve};
use crate::failure::{Failure, Result, one_line};

/// Rows of a batch: few, so that a person sees how far a model is.
const BATCH_ROWS: usize = 1024;
/// Batches that wait between the reader and the query.
const QUEUE_BATCHES_MAX: usize = 2;

/// Which files a table has, and which of their columns.
#[derive(Clone, Copy, Debug)]
pub struct InputFiles<'a> {
    /// Files, folders and globs.
    pub inputs: &'a [String],
    /// The column of texts; `None` is `text`, else the only one of text.
    pub text: Option<&'a str>,
    /// The column of ids; `None` is `id`, else the row number, from 0.
    pub id: Option<&'a str>,
    /// The column of vectors, where they are made already; `None` is `embedding` or `vector`, else
    /// the only one of lists of floats.
    pub vectors: Option<&'a str>,
    /// Further columns, which keep their names.
    pub others: &'a [String],
    /// Files that the command will write, which can't be inputs.
    pub outputs: &'a [&'a Path],
    /// A condition in SQL that the rows must meet.
    pub condition: Option<&'a str>,
}

/// A table that was registered.
#[derive(Clone, Debug)]
pub struct InputTable {
    /// The columns that play its roles.
    roles: Roles,
    /// Components of its vectors, where there is one.
    dimension: Option<usize>,
    /// The condition that its rows meet.
    condition: Option<String>,
    /// The rows of all files.
    pub rows: u64,
    /// Whether there is a column `text`.
    pub has_text: bool,
    /// Whether there is a column `embedding`.
    pub has_vectors: bool,
    /// Whether its rows are images, whose ids are their paths.
    pub has_images: bool,
}

/// The columns of the files that play a role.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Roles {
    text: Option<String>,
    id: Option<String>,
    vectors: Option<String>,
}

impl InputTable {
    /// A table of so many images, which have paths for ids and vectors of `dimension` components.
    pub fn of_images(rows: u64, dimension: usize) -> Self {
        let roles =
            Roles { text: None, id: Some("path".into()), vectors: Some("of the images".into()) };
        Self {
            roles,
            dimension: Some(dimension),
            condition: None,
            rows,
            has_text: false,
            has_vectors: true,
            has_images: true,
        }
    }

    /// Which columns were taken, in words: `text: body, id: row number, vectors: embedding (384)`.
    pub fn columns_used(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.roles.text.as_ref().map(|text| format!("text: {text}")));
        words.push(format!("id: {}", self.roles.id.as_deref().unwrap_or("row number")));
        if let Some(vectors) = &self.roles.vectors {
            let size = self.dimension.map_or(String::new(), |size| format!(" ({size})"));
            words.push(format!("vectors: {vectors}{size}"));
        }
        words.extend(self.condition.as_ref().map(|condition| format!("where: {condition}")));
        words.join(", ")
    }

    /// Rejects vectors that are not of the model's dimension.
    ///
    /// # Errors
    /// [`Failure::User`] with what to do.
    pub fn check_dimension(&self, model: &str, dimension: usize) -> Result<()> {
        match (&self.roles.vectors, self.dimension) {
            (Some(vectors), Some(found)) if found != dimension => Err(Failure::user(format!(
                "column '{vectors}' has {found} components, but model {model} makes {dimension}; name the model that made them with -m"
            ))),
            _ => Ok(()),
        }
    }
}

/// Makes the files of `source` the table `name` of the session.
///
/// # Errors
/// When a file or a column is not there or not what it should be.
pub fn register(
    session: &Session,
    name: &str,
    source: InputFiles<'_>,
    notice: Notice<'_>,
) -> Result<InputTable> {
    let Opened { stream, roles, condition, columns } = Stream::open(session, source, notice)?;
    let schema = Arc::clone(&stream.schema);
    let table = InputTable {
        condition: source.condition.map(str::to_string),
        rows: stream.plan.rows,
        has_text: schema.index_of(TEXT).is_ok(),
        has_vectors: roles.vectors.is_some(),
        has_images: false,
        dimension: stream.dimension()?,
        roles,
    };
    let mut provider: Arc<dyn TableProvider> =
        Arc::new(StreamingTable::try_new(schema, vec![Arc::new(stream)])?);
    if let Some(condition) = condition {
        provider = condition.view(name, provider, columns)?;
    }
    session.context().register_table(name, provider)?;
    Ok(table)
}

const TEXT: &str = "text";
const VECTORS: &str = "embedding";

/// The rows of the files, under the table's names.
#[derive(Debug)]
struct Stream {
    plan: Arc<Plan>,
    /// For each column of the table its index in the plan; `None` is the row number.
    columns: Arc<[Option<usize>]>,
    schema: SchemaRef,
}

/// Files that are open, and what is made of their rows.
struct Opened {
    stream: Stream,
    roles: Roles,
    condition: Option<Condition>,
    /// The first columns of the stream, which are those of the table; others are the condition's.
    columns: usize,
}

impl Stream {
    fn open(session: &Session, source: InputFiles<'_>, notice: Notice<'_>) -> Result<Opened> {
        let table = Arc::new(inspect(resolve(source.inputs, source.outputs)?, notice)?);
        let roles = roles(&table, source)?;
        let others = others(source, &roles)?;
        let (stream, columns) = Self::new(&table, &roles, &others)?;
        let Some(condition) = source.condition else {
            return Ok(Opened { stream, roles, condition: None, columns });
        };
        let shown: Vec<(Field, Option<&str>)> = stream
            .schema
            .fields()
            .iter()
            .map(|field| {
                let column = match field.name().as_str() {
                    ID => roles.id.as_deref(),
                    TEXT => roles.text.as_deref(),
                    VECTORS => roles.vectors.as_deref(),
                    other => Some(other),
                };
                (field.as_ref().clone(), column)
            })
            .collect();
        let condition = Condition::read(session, condition, &table, &shown)?;
        let all = [others.as_slice(), &condition.columns].concat();
        let (stream, _) = Self::new(&table, &roles, &all)?;
        Ok(Opened { stream, roles, condition: Some(condition), columns })
    }

    /// The rows of files with their roles and the other columns, and how many columns that are.
    fn new(table: &Arc<Table>, roles: &Roles, others: &[String]) -> Result<(Self, usize)> {
        let named = [&roles.id, &roles.vectors].into_iter().flatten().cloned();
        let read: Vec<_> = named.chain(others.iter().cloned()).collect();
        let text = roles.text.as_deref();
        let wanted = Wanted { text, columns: Some(&read), output_column: None };
        let plan = Plan::of(Arc::clone(table), &wanted)?;
        let mut columns = vec![roles.id.as_ref().map(|id| plan.column(id)).transpose()?];
        let id = match columns.first() {
            Some(Some(column)) => plan.schema.field(*column).data_type().clone(),
            _ => DataType::UInt64,
        };
        let mut fields = vec![Field::new(ID, id, true)];
        if let Some(text) = text {
            columns.push(Some(plan.column(text)?));
            fields.push(Field::new(TEXT, DataType::Utf8, true));
        } else if plan.table.schema.fields().is_empty() {
            // Files without a column have no rows either, of which any column can be said.
            columns.push(None);
            fields.push(Field::new(TEXT, DataType::Utf8, true));
        }
        if let Some(vectors) = &roles.vectors {
            let column = plan.column(vectors)?;
            let data_type = match plan.schema.field(column).data_type() {
                // Vectors in the form of text, as CSV has them.
                text if is_text(text) => vector_type(),
                data_type => data_type.clone(),
            };
            if !is_vector(&data_type) {
                return Err(Failure::user(format!(
                    "column '{vectors}' holds {data_type}, not vectors"
                )));
            }
            columns.push(Some(column));
            fields.push(Field::new(VECTORS, data_type, true));
        }
        for name in others {
            let column = plan.column(name)?;
            columns.push(Some(column));
            fields.push(Field::new(name, plan.schema.field(column).data_type().clone(), true));
        }
        let count = fields.len();
        let schema = Arc::new(Schema::new(fields));
        Ok((Self { plan: Arc::new(plan), columns: columns.into(), schema }, count))
    }

    /// Components of the vectors: what the type says, else the length of the first one.
    fn dimension(&self) -> Result<Option<usize>> {
        let Ok(position) = self.schema.index_of(VECTORS) else { return Ok(None) };
        if let DataType::FixedSizeList(_, size) = self.schema.field(position).data_type() {
            return Ok(usize::try_from(*size).ok());
        }
        let Some(Some(column)) = self.columns.get(position).copied() else { return Ok(None) };
        let name = self.plan.schema.field(column).name().clone();
        let table = Arc::clone(&self.plan.table);
        let wanted =
            Wanted { text: None, columns: Some(std::slice::from_ref(&name)), output_column: None };
        let plan = Plan::of(table, &wanted)?;
        for batch in Rows::new(&plan, 0, BATCH_ROWS) {
            let batch = batch?;
            let Some(vectors) = batch.columns().first() else { return Ok(None) };
            let vectors =
                fitted(vectors, self.schema.field(position).data_type()).map_err(|error| {
                    Failure::user(format!("column '{name}': {}", message_of(error)))
                })?;
            let lengths = length(&vectors).map_err(|error| Failure::other(one_line(error)))?;
            let lengths = cast(&lengths, &DataType::UInt64)
                .map_err(|error| Failure::other(one_line(error)))?;
            let lengths = lengths.as_primitive::<UInt64Type>();
            if let Some(length) = lengths.iter().flatten().find(|length| *length > 0) {
                return Ok(usize::try_from(length).ok());
            }
        }
        Ok(None)
    }
}

impl PartitionStream for Stream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream =
            RecordBatchReceiverStream::builder(Arc::clone(&self.schema), QUEUE_BATCHES_MAX);
        let sender = stream.tx();
        let (plan, columns) = (Arc::clone(&self.plan), Arc::clone(&self.columns));
        let schema = Arc::clone(&self.schema);
        stream.spawn_blocking(move || {
            let mut row = 0;
            for batch in Rows::new(&plan, 0, BATCH_ROWS) {
                let batch = batch.map_err(into_engine)?;
                let rows = batch.num_rows();
                let batch = renamed(&batch, &columns, &schema, row)?;
                row += rows as u64;
                if sender.blocking_send(Ok(batch)).is_err() {
                    // The query needs no more rows.
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// The batch with the table's columns; `first` is the number of its first row.
fn renamed(
    batch: &RecordBatch,
    columns: &[Option<usize>],
    schema: &SchemaRef,
    first: u64,
) -> Result<RecordBatch, DataFusionError> {
    let columns = columns.iter().zip(schema.fields()).map(|(column, field)| match column {
        Some(column) => fitted(batch.column(*column), field.data_type()),
        None => {
            let numbers = first..first + batch.num_rows() as u64;
            Ok(Arc::new(UInt64Array::from_iter_values(numbers)) as ArrayRef)
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The other columns that are to be read. One that is the id, the text or the vectors already,
/// under that name, is not read twice.
fn others(source: InputFiles<'_>, roles: &Roles) -> Result<Vec<String>> {
    let mut others: Vec<String> = Vec::new();
    for name in source.others {
        let fixed = match name.as_str() {
            ID => Some(&roles.id),
            TEXT if roles.text.is_some() => Some(&roles.text),
            VECTORS if roles.vectors.is_some() => Some(&roles.vectors),
            _ => None,
        };
        match fixed {
            Some(Some(column)) if column == name => {}
            Some(_) => {
                return Err(Failure::user(format!(
                    "column '{name}' can't be added, as the result already has a column '{name}'"
                )));
            }
            None if others.contains(name) => {}
            None => others.push(name.clone()),
        }
    }
    Ok(others)
}

/// The columns that play a role: those that the user names, else those that findings in SQL take.
/// Where there are vectors, texts may be missing.
fn roles(table: &Arc<Table>, source: InputFiles<'_>) -> Result<Roles> {
    let fields = || table.schema.fields().iter().map(AsRef::as_ref);
    let has_id = fields().any(|field: &Field| field.name() == ID);
    let id = source.id.or(has_id.then_some(ID)).map(str::to_string);
    let vectors = match source.vectors {
        Some(vectors) => Some(vectors.to_string()),
        None => match by_name::vectors(fields(), &|name| look(table, name))?.as_slice() {
            [] => None,
            [only] => Some((*only).to_string()),
            several => {
                return Err(Failure::user(format!(
                    "which column has the vectors? Name it with --vectors: {}",
                    several.join(", ")
                )));
            }
        },
    };
    let text = match source.text {
        Some(text) => Some(text.to_string()),
        None => {
            match by_name::texts(fields(), id.as_deref(), &|name| look(table, name))?.as_slice() {
                [only] => Some((*only).to_string()),
                _ if vectors.is_some() => None,
                [] if table.schema.fields().is_empty() => None,
                [] => return Err(no_text(table)),
                several => return Err(which_text(several)),
            }
        }
    };
    Ok(Roles { text, id, vectors })
}

/// What is wrong with a value, without the word for the kind of error before it.
fn message_of(error: ArrowError) -> String {
    match error {
        ArrowError::ParseError(words) => words,
        other => one_line(other),
    }
}

/// The failure of a reader, as the engine passes it on.
fn into_engine(failure: Failure) -> DataFusionError {
    match failure {
        Failure::User(message) => SqlError::Data(message),
        Failure::Other(message) => SqlError::Io(message),
        Failure::Interrupted(_) => SqlError::Cancelled,
        Failure::OutputClosed => SqlError::Io(one_line("the input was closed")),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sembla_sql::{Outcome, SessionOptions};

    use super::*;

    /// The rows of a query over a table of two files, one of CSV and one of JSON lines.
    async fn rows(query: &str, text: Option<&str>, id: Option<&str>) -> Result<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        fs::write(path("a.csv"), "key,body\nx,one\ny,2\n").expect("written");
        fs::write(path("b.jsonl"), "{\"key\": \"z\", \"body\": null}\n").expect("written");
        let options = SessionOptions { target_partitions: Some(1), ..SessionOptions::default() };
        let session = Session::new(options).expect("a session");
        let inputs = [path("a.csv"), path("b.jsonl")];
        let source = InputFiles {
            inputs: &inputs,
            text,
            id,
            vectors: None,
            others: &[],
            outputs: &[],
            condition: None,
        };
        let table = register(&session, "input", source, &|_| {})?;
        assert_eq!((table.rows, table.has_text, table.has_vectors), (3, true, false));
        let mut statements = session.parse(query).expect("SQL");
        let Outcome::Rows(rows) = session.execute(statements.remove(0)).await? else {
            panic!("{query} gives rows");
        };
        let mut csv = arrow::csv::WriterBuilder::new().with_header(false).build(Vec::new());
        for batch in rows.collect().await? {
            csv.write(&batch).expect("written");
        }
        Ok(String::from_utf8(csv.into_inner()).expect("text"))
    }

    #[tokio::test]
    async fn rows_come_in_the_order_of_the_files_and_are_numbered_from_0() {
        let found = rows("SELECT * FROM input", Some("body"), None).await;
        assert_eq!(found.expect("rows"), "0,one\n1,2\n2,\n");
    }

    #[tokio::test]
    async fn a_column_can_name_the_rows_and_the_only_text_is_found() {
        let query = "SELECT text, id FROM input WHERE id <> 'y'";
        assert_eq!(rows(query, None, Some("key")).await.expect("rows"), "one,x\n,z\n");
    }

    #[tokio::test]
    async fn a_text_that_could_be_two_columns_is_asked_for() {
        let failure = rows("SELECT 1", None, None).await.expect_err("two columns of text");
        let message = failure.message().expect("words");
        assert!(message.ends_with("--column names it: key, body"), "{message}");
    }
}
