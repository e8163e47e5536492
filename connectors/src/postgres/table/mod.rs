//! A table of PostgreSQL as queries read it: one `COPY (SELECT …) TO STDOUT` in binary form, which
//! the server runs over one snapshot, decoded as it comes.
//!
//! Columns that are asked for, conditions that PostgreSQL decides as Sembla does or more widely,
//! and a limit go into the SELECT. What a column is read as is in [`columns`](self::columns).

mod columns;
mod conditions;
mod decode;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use sembla_runtime::{Error, Result};

pub(super) use self::columns::ReadColumn;
pub(super) use self::decode::Decoder;
use crate::postgres::address::Address;
use crate::postgres::catalogue;
use crate::postgres::failure::explain;
use crate::postgres::names::TableName;
use crate::postgres::wire::{Session, WireError, connect};
use crate::stored::{Condition, StoredTable, Wanted};

/// Makes the transactions of a session read only, whatever a function in a view would do.
const READ_ONLY: &str = "SET default_transaction_read_only = on";

/// A table or a view.
#[derive(Debug)]
pub(super) struct PostgresTable {
    address: Address,
    name: TableName,
    columns: Vec<ReadColumn>,
    schema: SchemaRef,
}

impl PostgresTable {
    /// Looks at a table.
    ///
    /// # Errors
    /// A server that can't be reached, and a table that is not there or has no columns.
    pub(super) async fn open(address: Address, name: TableName) -> Result<Self> {
        let what = format!("looking at table {name}");
        let failed = |error: WireError| explain(&address, &what, &error);
        let mut session = session(&address).await?;
        let found = catalogue::find(&mut session, &name).await.map_err(failed)?;
        let Some(found) = found else {
            return Err(Error::Option(format!(
                "database '{}' at {address} has no table {name}; check its name, its schema and search_path",
                address.database()
            )));
        };
        let columns = catalogue::columns(&mut session, &found).await.map_err(failed)?;
        session.close().await;
        let columns: Vec<ReadColumn> = columns.iter().map(ReadColumn::of).collect();
        if columns.is_empty() {
            return Err(Error::Option(format!("table {name} has no columns, so nothing to read")));
        }
        let fields = columns.iter().map(|column| Arc::clone(&column.field));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { address, name: found.name, columns, schema })
    }

    /// The statement that reads what is wanted.
    fn sql(&self, wanted: &Wanted) -> Result<String> {
        let columns = wanted.columns.iter().filter_map(|place| self.columns.get(*place));
        let columns: Vec<String> = columns.map(ReadColumn::sql).collect();
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), self.name.sql());
        let conditions = wanted.conditions.iter().map(|condition| {
            let sql = conditions::sql(condition, &self.columns);
            sql.ok_or_else(|| Error::Bug("a condition that the table does not take".into()))
        });
        let conditions = conditions.collect::<Result<Vec<_>>>()?;
        if !conditions.is_empty() {
            sql += &format!(" WHERE {}", conditions.join(" AND "));
        }
        if let Some(limit) = wanted.limit {
            sql += &format!(" LIMIT {limit}");
        }
        Ok(format!("COPY ({sql}) TO STDOUT (FORMAT binary)"))
    }
}

#[async_trait]
impl StoredTable for PostgresTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn takes(&self, condition: &Condition) -> bool {
        conditions::sql(condition, &self.columns).is_some()
    }

    async fn read(&self, wanted: Wanted) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let sql = self.sql(&wanted)?;
        let mut session = session(&self.address).await?;
        let what = format!("reading table {}", self.name);
        let copied = session.copy_out(&sql).await;
        copied.map_err(|error| explain(&self.address, &what, &error))?;
        let columns = wanted.columns.iter().filter_map(|place| self.columns.get(*place).cloned());
        let decoder = Decoder::new(columns.collect());
        let reading = Reading { session, decoder, address: self.address.clone(), what };
        let batches = futures::stream::try_unfold(Some(reading), |reading| async {
            match reading {
                Some(reading) => reading.next().await,
                None => Ok(None),
            }
        });
        Ok(batches.boxed())
    }
}

/// A table that is being read.
struct Reading {
    session: Session,
    decoder: Decoder,
    address: Address,
    what: String,
}

impl Reading {
    /// The next rows, and what is to be read behind them.
    async fn next(mut self) -> Result<Option<(RecordBatch, Option<Self>)>> {
        loop {
            let piece = self.session.copied().await;
            let piece = piece.map_err(|error| explain(&self.address, &self.what, &error))?;
            let Some(piece) = piece else {
                let rest = self.decoder.finish().map_err(|error| self.named(error))?;
                self.session.close().await;
                return Ok(rest.map(|rows| (rows, None)));
            };
            let full = self.decoder.add(&piece).map_err(|error| self.named(error))?;
            if let Some(rows) = full {
                return Ok(Some((rows, Some(self))));
            }
        }
    }

    fn named(&self, error: Error) -> Error {
        match error {
            Error::Data(why) => Error::Data(format!("{}: {why}", self.what)),
            other => other,
        }
    }
}

/// A session that only reads.
///
/// # Errors
/// What the server says.
pub(super) async fn session(address: &Address) -> Result<Session> {
    let failed = |error: WireError| explain(address, "logging in", &error);
    let mut session = connect(&address.login()).await.map_err(failed)?;
    session.query(READ_ONLY, &[]).await.map_err(failed)?;
    Ok(session)
}
