//! What a database has: tables and their columns, unique indexes, and pgvector.

use super::names::{TableName, quoted};
use super::types::PgType;
use super::wire::{Session, WireResult};

/// The extension that has the types of vectors.
const EXTENSION: &str = "vector";

/// A table that is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its number in `pg_class`, as text.
    pub(super) id: String,
    /// Its name with its schema.
    pub(super) name: TableName,
    /// Whether it is a table, and not a view, an index or the like.
    pub(super) is_table: bool,
}

/// A column of a table that is there.
#[derive(Clone, Debug)]
pub(super) struct TableColumn {
    /// Its name.
    pub(super) name: String,
    /// Its type, if rows can have it.
    pub(super) pg: Option<PgType>,
    /// Its type as PostgreSQL shows it.
    pub(super) shown: String,
    /// The modifier of its type, as of `numeric(10, 2)`; -1 where it has none.
    pub(super) modifier: i64,
    /// Whether a row must have a value for it.
    pub(super) is_required: bool,
    /// What somebody has said of it.
    pub(super) comment: Option<String>,
}

/// The table of a name; `None` where there is none.
///
/// # Errors
/// What the server says.
pub(super) async fn find(session: &mut Session, name: &TableName) -> WireResult<Option<Found>> {
    const SQL: &str = "SELECT c.oid::text, n.nspname, c.relkind IN ('r', 'p') \
                       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                       WHERE c.oid = pg_catalog.to_regclass($1)";
    let rows = session.query(SQL, &[Some(&name.sql())]).await?;
    let Some([Some(id), Some(schema), is_table]) = rows.first().map(Vec::as_slice) else {
        return Ok(None);
    };
    let name = TableName { schema: Some(schema.clone()), name: name.name.clone() };
    Ok(Some(Found { id: id.clone(), name, is_table: is_true(is_table.as_ref()) }))
}

/// The columns of a table, in their order.
///
/// # Errors
/// What the server says.
pub(super) async fn columns(session: &mut Session, table: &Found) -> WireResult<Vec<TableColumn>> {
    const SQL: &str = "SELECT a.attname, t.typname, a.atttypmod::text, \
                       pg_catalog.format_type(a.atttypid, a.atttypmod), \
                       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', \
                       pg_catalog.col_description(a.attrelid, a.attnum) \
                       FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                       WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = session.query(SQL, &[Some(&table.id)]).await?;
    let columns = rows.iter().filter_map(|row| match row.as_slice() {
        [Some(name), Some(type_name), Some(modifier), Some(shown), is_required, comment] => {
            let modifier = modifier.parse().unwrap_or(-1);
            Some(TableColumn {
                name: name.clone(),
                pg: PgType::named(type_name, modifier),
                shown: shown.clone(),
                modifier,
                is_required: is_true(is_required.as_ref()),
                comment: comment.clone(),
            })
        }
        _ => None,
    });
    Ok(columns.collect())
}

/// The columns of each unique index of a table that holds for all of its rows.
///
/// # Errors
/// What the server says.
pub(super) async fn unique_indexes(
    session: &mut Session,
    table: &Found,
) -> WireResult<Vec<Vec<String>>> {
    const SQL: &str = "SELECT i.indexrelid::text, a.attname FROM pg_catalog.pg_index i \
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid \
                       AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) \
                       WHERE i.indrelid = $1::oid AND i.indisunique AND i.indimmediate AND i.indisvalid \
                       AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY 1, 2";
    let rows = session.query(SQL, &[Some(&table.id)]).await?;
    let mut indexes: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows {
        let [Some(index), Some(column)] = row.as_slice() else { continue };
        match indexes.last_mut() {
            Some((last, columns)) if last == index => columns.push(column.clone()),
            _ => indexes.push((index.clone(), vec![column.clone()])),
        }
    }
    Ok(indexes.into_iter().map(|(_, columns)| columns).collect())
}

/// The schema that pgvector is in; `None` where the database doesn't have it.
///
/// # Errors
/// What the server says.
pub(super) async fn extension(session: &mut Session) -> WireResult<Option<String>> {
    const SQL: &str = "SELECT n.nspname FROM pg_catalog.pg_extension e \
                       JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1";
    let rows = session.query(SQL, &[Some(EXTENSION)]).await?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
}

/// Adds pgvector to the database.
///
/// # Errors
/// What the server says.
pub(super) async fn create_extension(session: &mut Session) -> WireResult<()> {
    let sql = format!("CREATE EXTENSION IF NOT EXISTS {}", quoted(EXTENSION));
    session.execute(&[&sql]).await
}

fn is_true(value: Option<&String>) -> bool {
    value.is_some_and(|value| value == "t")
}
