//! `INSERT INTO`, `UPDATE` and `DELETE FROM` an index. Rows, vectors and files change together, and
//! a statement that fails leaves all of them as they were.
//!
//! What a statement reads is a query like any other; texts are embedded as those were that the
//! index was built of.

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Insert, ObjectName,
    Statement as SqlStatement, TableFactor, TableObject, TableWithJoins, Truncate, Update,
};

use super::{files, pool, read, with_host};
use crate::SqlError;
use crate::columns::VECTORS_COLUMN;
use crate::columns::provenance::different;
use crate::engine::Connection;
use crate::engine::indexes::{Change, Changed, Index, READING_OPTIONS, provenance_of};
use crate::statements::{Outcome, counted};
use crate::syntax::folded;
use crate::syntax::names::nearest;

/// The column of the ids that rows had before an update.
const OLD_ID: &str = "__old_id";

/// A statement that changes an index.
pub(crate) struct IndexChange {
    name: String,
    kind: ChangeKind,
}

enum ChangeKind {
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
}

/// The change of an index that a statement is, if it is one.
pub(crate) fn change_of(connection: &Connection, statement: &DfStatement) -> Option<IndexChange> {
    let DfStatement::Statement(statement) = statement else { return None };
    let (name, kind) = match statement.as_ref() {
        SqlStatement::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => (name, ChangeKind::Insert(Box::new(insert.clone()))),
            _ => return None,
        },
        SqlStatement::Update(update) => {
            (named(&update.table)?, ChangeKind::Update(Box::new(update.clone())))
        }
        SqlStatement::Delete(delete) => {
            (named(from(delete)?)?, ChangeKind::Delete(Box::new(delete.clone())))
        }
        _ => return None,
    };
    let name = name_of(name)?;
    connection.index(&name)?;
    Some(IndexChange { name, kind })
}

/// The name of an index that a statement would drop or empty in another way than its own.
pub(crate) fn truncated(connection: &Connection, statement: &DfStatement) -> Option<String> {
    let DfStatement::Statement(statement) = statement else { return None };
    let SqlStatement::Truncate(Truncate { table_names, .. }) = statement.as_ref() else {
        return None;
    };
    let names = table_names.iter().filter_map(|target| name_of(&target.name));
    names.into_iter().find(|name| connection.index(name).is_some())
}

/// The last part of a name, as it is known.
fn name_of(name: &ObjectName) -> Option<String> {
    Some(folded(name.0.last()?.as_ident()?))
}

/// The name of a table that is joined with nothing.
fn named(table: &TableWithJoins) -> Option<&ObjectName> {
    match &table.relation {
        TableFactor::Table { name, args: None, .. } => Some(name),
        _ => None,
    }
}

fn from(delete: &Delete) -> Option<&TableWithJoins> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    tables.first()
}

impl IndexChange {
    /// Makes the change, in memory and in the files.
    ///
    /// # Errors
    /// Clauses that an index has no meaning for, ids that are there already, columns that are not,
    /// what the query, the model or the disk says.
    pub(crate) async fn execute(self, connection: &Connection) -> Result<Outcome, SqlError> {
        let Some(index) = connection.index(&self.name) else {
            return Err(super::unknown(&self.name));
        };
        let (change, verb) = match &self.kind {
            ChangeKind::Insert(insert) => (inserted(connection, &index, insert).await?, "added to"),
            ChangeKind::Update(update) => {
                (updated(connection, &index, update).await?, "updated in")
            }
            ChangeKind::Delete(delete) => {
                (deleted(connection, &index, delete).await?, "deleted from")
            }
        };
        let changed = apply(connection, &self.name, &index, change)?;
        let rows = match self.kind {
            ChangeKind::Delete(_) => changed.gone,
            ChangeKind::Insert(_) | ChangeKind::Update(_) => changed.come,
        };
        let mut done = format!("{} {verb} index '{}'", counted(rows), self.name);
        if changed.left_out > 0 {
            done += &format!("; {} without a text or vector left out", counted(changed.left_out));
        }
        Ok(Outcome::Done(done))
    }
}

/// Changes an index and its files. Where that fails, the index is what its files say.
fn apply(
    connection: &Connection,
    name: &str,
    index: &Index,
    change: Change,
) -> Result<Changed, SqlError> {
    let changed = with_host(connection, |host| {
        let changed = index.change(change, host)?;
        if changed != Changed::default() {
            files::save(index, host)?;
        }
        Ok::<_, SqlError>(changed)
    });
    let Err(error) = changed else { return changed };
    let again = with_host(connection, |host| files::open(&index.path, (&pool(connection), host)));
    match again {
        Ok(index) => {
            connection.indexes.add(name, index);
        }
        Err(lost) => {
            tracing::warn!(index = name, %lost, "the index can't be read again and is closed");
            connection.indexes.remove(name);
        }
    }
    connection.show_indexes()?;
    Err(error)
}

async fn inserted(
    connection: &Connection,
    index: &Index,
    insert: &Insert,
) -> Result<Change, SqlError> {
    let Insert { source: Some(query), columns, .. } = insert else {
        return Err(refused("INSERT INTO an index takes a query or VALUES"));
    };
    let is_plain = insert.on.is_none()
        && !insert.overwrite
        && !insert.replace_into
        && !insert.ignore
        && insert.or.is_none()
        && insert.returning.is_none()
        && insert.partitioned.is_none();
    if !is_plain {
        return Err(refused(
            "INSERT INTO an index does not take OVERWRITE, PARTITION, ON CONFLICT or RETURNING",
        ));
    }
    let mut given = super::columns(connection, &query.to_string()).await?;
    let own: Vec<&str> = index.schema.fields().iter().map(|field| field.name().as_str()).collect();
    // Rows whose columns have the names of the index's go by them, others by their places, as
    // VALUES and literals do.
    let by_place =
        given.len() == own.len() && !given.iter().all(|name| own.contains(&name.as_str()));
    let names: Option<Vec<String>> = match columns.as_slice() {
        [] if by_place => Some(own.iter().map(|name| (*name).to_string()).collect()),
        [] => None,
        columns => Some(columns.iter().filter_map(name_of).collect()),
    };
    let mut text = query.to_string();
    if let Some(names) = names {
        if names.len() != given.len() {
            return Err(refused(&format!(
                "the statement names {} columns ({}), but its rows have {}",
                names.len(),
                names.join(", "),
                given.len()
            )));
        }
        for name in &names {
            check_column(&own, index, name)?;
        }
        let aliases: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        text = format!("SELECT * FROM ({text}) AS inserted ({})", aliases.join(", "));
        given = names;
    }
    let come = read_rows(connection, index, &text, &given).await?;
    Ok(Change { come, may_lack_columns: !columns.is_empty(), ..Change::default() })
}

async fn deleted(
    connection: &Connection,
    index: &Index,
    delete: &Delete,
) -> Result<Change, SqlError> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    let [table] = tables.as_slice() else {
        return Err(refused("DELETE FROM can delete from one index only"));
    };
    let is_plain = table.joins.is_empty()
        && delete.tables.is_empty()
        && delete.using.is_none()
        && delete.returning.is_none()
        && delete.output.is_none()
        && delete.order_by.is_empty()
        && delete.limit.is_none();
    if !is_plain {
        return Err(refused(
            "DELETE FROM an index takes WHERE, but not USING, ORDER BY, LIMIT or RETURNING",
        ));
    }
    let ids = format!(
        "SELECT {} FROM {}{}",
        quoted(id_of(index)),
        table.relation,
        condition(delete.selection.as_ref())
    );
    let rows = super::rows_of(connection, &ids).await?;
    let gone = rows.iter().filter_map(|batch| batch.columns().first().cloned()).collect();
    Ok(Change { gone, ..Change::default() })
}

async fn updated(
    connection: &Connection,
    index: &Index,
    update: &Update,
) -> Result<Change, SqlError> {
    let is_plain = update.table.joins.is_empty()
        && update.from.is_none()
        && update.returning.is_none()
        && update.output.is_none()
        && update.or.is_none()
        && update.order_by.is_empty()
        && update.limit.is_none();
    if !is_plain {
        return Err(refused(
            "UPDATE of an index takes SET and WHERE, but not FROM, ORDER BY, LIMIT or RETURNING",
        ));
    }
    let own: Vec<&str> = index.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut set: Vec<(String, &Expr)> = Vec::new();
    for Assignment { target, value } in &update.assignments {
        let name = match target {
            AssignmentTarget::ColumnName(name) => name_of(name),
            AssignmentTarget::Tuple(_) => None,
        };
        let name = name.ok_or_else(|| {
            refused("UPDATE of an index sets one column at a time: SET a = …, b = …")
        })?;
        check_column(&own, index, &name)?;
        if set.iter().any(|(other, _)| *other == name) {
            return Err(refused(&format!("column '{name}' is set more than once")));
        }
        set.push((name, value));
    }
    let id = id_of(index);
    let mut items = vec![format!("{} AS {OLD_ID}", quoted(id))];
    for name in &own {
        let value = set.iter().find(|(set, _)| set == name).map(|(_, value)| value.to_string());
        items.push(format!("{} AS {1}", value.unwrap_or_else(|| quoted(name)), quoted(name)));
    }
    let text = format!(
        "SELECT {} FROM {}{}",
        items.join(", "),
        update.table.relation,
        condition(update.selection.as_ref())
    );
    let given: Vec<String> = own.iter().map(|name| (*name).to_string()).collect();
    let come = read_rows(connection, index, &text, &given).await?;
    let old = |batch: &RecordBatch| -> Option<ArrayRef> { batch.column_by_name(OLD_ID).cloned() };
    let gone = come.iter().filter_map(old).collect();
    Ok(Change { gone, come, may_lack_columns: false })
}

/// The rows of a query with columns of these names, embedded as those of the index are.
async fn read_rows(
    connection: &Connection,
    index: &Index,
    query: &str,
    columns: &[String],
) -> Result<Vec<RecordBatch>, SqlError> {
    let has = |name: &str| columns.iter().any(|column| column == name);
    let mut reading = Vec::new();
    for option in READING_OPTIONS {
        let Some(value) = index.reading(option) else { continue };
        let means_a_column = matches!(*option, "id" | "text" | "vector");
        // Ids are called so in the index, whatever they were called where it was built of.
        let is_renamed = *option == "id" && has(id_of(index));
        if !is_renamed && (!means_a_column || has(value)) {
            reading.push(((*option).to_string(), value.to_string()));
        }
    }
    // Said outright: beside the ids, rows may have more columns of strings than the index.
    let text = index.text_column().filter(|text| has(text));
    if let Some(text) = text.filter(|_| reading.iter().all(|(option, _)| option != "text")) {
        reading.push(("text".into(), text.into()));
    }
    let (rows, schema) = read(connection, query, &reading).await?;
    if let Some((model, another)) = different(&index.provenance(), &provenance_of(&schema)?) {
        return Err(refused(&format!(
            "the index has vectors of {model}, but the rows have those of {another}; use the model of the index"
        )));
    }
    let dimension = index.read().vectors.dimension();
    let own = schema.field_with_name(VECTORS_COLUMN).map(|field| field.data_type().clone());
    match own {
        Ok(arrow::datatypes::DataType::FixedSizeList(_, size))
            if usize::try_from(size) != Ok(dimension) =>
        {
            Err(SqlError::Statement(format!(
                "the index has vectors of {dimension} components, but the rows have {size}; use the model of the index"
            )))
        }
        _ => Ok(rows),
    }
}

fn check_column(own: &[&str], index: &Index, name: &str) -> Result<(), SqlError> {
    // The name that ids had where the index was built of means them too.
    if own.contains(&name) || index.reading("id") == Some(name) {
        return Ok(());
    }
    Err(refused(&format!(
        "the index has no column '{name}'; did you mean '{}'? It has {}",
        nearest(own.iter().copied(), name),
        own.join(", ")
    )))
}

/// The name of the column of ids.
fn id_of(index: &Index) -> &str {
    index.schema.fields().first().map_or("id", |field| field.name().as_str())
}

fn condition(selection: Option<&Expr>) -> String {
    selection.map_or(String::new(), |condition| format!(" WHERE {condition}"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn refused(message: &str) -> SqlError {
    SqlError::Statement(message.into())
}
