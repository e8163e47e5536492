//! A table that rows go to: it is made or checked, rows are staged beside it, and a commit moves
//! them over.
//!
//! - *Invariant:* staged rows lie in a temporary table of the session, so what was not committed is
//!   gone with the session, and nobody has seen it.
//! - *Invariant:* of rows with one key that are staged together, the last one counts.

mod statements;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use sembla_runtime::{Error, Result};

use self::statements::{index_name, stale_chunks};
use crate::postgres::address::Address;
use crate::postgres::catalogue::{self, Found, TableColumn};
use crate::postgres::encode::copy_of;
use crate::postgres::failure::{explain, explain_commit};
use crate::postgres::names::{TableName, literal, quoted, quoted_list};
use crate::postgres::provenance::different;
use crate::postgres::types::{PgType, RowColumn, VectorType};
use crate::postgres::wire::{Session, WireError, WireResult};

/// The column of the staged rows that numbers them.
const NUMBER: &str = "sembla_number";

/// What a table is to be.
#[derive(Clone, Debug)]
pub(in crate::postgres) struct TargetSpec {
    /// Its name.
    pub(in crate::postgres) name: TableName,
    /// The columns that tell rows apart; none where every row is added.
    pub(in crate::postgres) key: Vec<String>,
    /// The boolean column that says that a row with this key goes away.
    pub(in crate::postgres) delete: Option<String>,
    /// The columns of the key that identify a document, where the rows are chunks of some; chunks
    /// behind the last one that is written go away.
    pub(in crate::postgres) chunks_of: Vec<String>,
    /// How vectors are stored in a table that is made.
    pub(in crate::postgres) vectors: VectorType,
}

/// A table, and what is staged for it.
#[derive(Debug)]
pub(in crate::postgres) struct Target {
    spec: TargetSpec,
    columns: Vec<RowColumn>,
    /// The column that says that a row goes away, among the rows' columns.
    delete: Option<RowColumn>,
    /// The name of the temporary table.
    staging: String,
    /// The table as it was found; `None` before [`Self::prepare`].
    found: Option<Found>,
    /// Rows that are staged.
    staged: i64,
}

impl Target {
    /// A table for rows of a schema. `number` tells the tables of a sink apart.
    ///
    /// # Errors
    /// [`Error::Option`] for columns that can't be.
    pub(in crate::postgres) fn new(
        spec: TargetSpec,
        schema: &SchemaRef,
        number: usize,
    ) -> Result<Self> {
        let delete = spec.delete.as_ref().map(|name| delete_column(schema, name)).transpose()?;
        let mut columns: Vec<RowColumn> = Vec::with_capacity(schema.fields().len());
        for (place, field) in schema.fields().iter().enumerate() {
            if delete.as_ref().is_some_and(|delete| delete.place == place) {
                continue;
            }
            if columns.iter().any(|column| column.name == *field.name()) {
                return Err(Error::Option(format!(
                    "two columns of the rows are called '{}'; name one differently with AS",
                    field.name()
                )));
            }
            columns.push(RowColumn::new(place, field, spec.vectors)?);
        }
        for key in &spec.key {
            if !columns.iter().any(|column| column.name == *key) {
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                return Err(Error::Option(format!(
                    "key: the rows have no column '{key}'; they have {}",
                    names.join(", ")
                )));
            }
        }
        let staging = format!("sembla_staging_{number}");
        Ok(Self { spec, columns, delete, staging, found: None, staged: 0 })
    }

    /// The name that was asked for.
    pub(in crate::postgres) fn name(&self) -> &TableName {
        &self.spec.name
    }

    /// The name with its schema, once the table was found.
    pub(in crate::postgres) fn full_name(&self) -> &TableName {
        self.found.as_ref().map_or(&self.spec.name, |found| &found.name)
    }

    /// Forgets the table of an earlier session.
    pub(in crate::postgres) fn forget(&mut self) {
        (self.found, self.staged) = (None, 0);
    }

    /// Whether the table is ready to take rows.
    pub(in crate::postgres) fn is_ready(&self) -> bool {
        self.found.is_some()
    }

    /// Makes the table if there is none, else checks that it takes the rows; within a transaction.
    ///
    /// # Errors
    /// What is wrong with the table, and what the server says.
    pub(in crate::postgres) async fn prepare(
        &mut self,
        session: &mut Session,
        address: &Address,
    ) -> Result<()> {
        let what = format!("preparing table {}", self.spec.name);
        let failed = |error: WireError| explain(address, &what, &error);
        let extension = self.extension(session, address).await?;
        let mut found = catalogue::find(session, &self.spec.name).await.map_err(failed)?;
        if found.is_none() {
            let sql = self.create_sql(extension.as_deref());
            session.execute(&[&sql]).await.map_err(failed)?;
            found = catalogue::find(session, &self.spec.name).await.map_err(failed)?;
            if let Some(found) = &found {
                self.comment(session, found).await.map_err(failed)?;
            }
        }
        let found = found.ok_or_else(|| {
            Error::External(format!("{what}: it was created and does not exist; check search_path"))
        })?;
        if !found.is_table {
            return Err(Error::Option(format!("{} is no table; name one that is", self.spec.name)));
        }
        let columns = catalogue::columns(session, &found).await.map_err(failed)?;
        self.check_columns(&columns)?;
        if !self.spec.key.is_empty() {
            let indexes = catalogue::unique_indexes(session, &found).await.map_err(failed)?;
            self.check_key(&indexes)?;
        }
        self.found = Some(found);
        Ok(())
    }

    /// Makes the temporary table, with the checks of the table, so that a row that it would refuse
    /// is found when it comes.
    ///
    /// # Errors
    /// What the server says.
    pub(in crate::postgres) async fn stage(
        &self,
        session: &mut Session,
        address: &Address,
    ) -> Result<()> {
        let what = format!("staging rows for table {}", self.spec.name);
        let failed = |error: WireError| explain(address, &what, &error);
        let Some(found) = &self.found else { return Err(unprepared()) };
        let there = catalogue::columns(session, found).await.map_err(failed)?;
        let staging = self.staging_sql();
        let create = format!(
            "CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING CONSTRAINTS)",
            quoted(&self.staging),
            found.name.sql()
        );
        session.execute(&[&create]).await.map_err(failed)?;
        let is_ours = |name: &str| self.columns.iter().any(|column| column.name == name);
        let mut changes: Vec<String> = there
            .iter()
            .filter(|column| !is_ours(&column.name))
            .map(|column| format!("DROP COLUMN {} CASCADE", quoted(&column.name)))
            .collect();
        if let Some(delete) = &self.delete {
            // A row that goes away needs no more than its key.
            let others = self.columns.iter().filter(|column| !self.spec.key.contains(&column.name));
            changes.extend(
                others.map(|column| format!("ALTER COLUMN {} DROP NOT NULL", quoted(&column.name))),
            );
            changes.push(format!("ADD COLUMN {} boolean", quoted(&delete.name)));
        }
        changes.push(format!("ADD COLUMN {} bigint", quoted(NUMBER)));
        let alter = format!("ALTER TABLE {staging} {}", changes.join(", "));
        session.execute(&[&alter]).await.map_err(failed)
    }

    /// Stages rows.
    ///
    /// # Errors
    /// [`Error::Data`] for rows that the table can't have: then none of them is staged.
    pub(in crate::postgres) async fn add(
        &mut self,
        session: &mut Session,
        address: &Address,
        rows: &RecordBatch,
    ) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let columns: Vec<RowColumn> = self.columns.iter().chain(&self.delete).cloned().collect();
        let data = copy_of(rows, &columns, Some(self.staged))?;
        let names = columns.iter().map(|column| column.name.as_str()).chain([NUMBER]);
        let sql = format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.staging_sql(),
            quoted_list(names)
        );
        let what = format!("writing table {}", self.spec.name);
        let copied = session.copy_in(&sql, &data).await;
        copied.map_err(|error| self.in_table(explain(address, &what, &error)))?;
        self.staged = self.staged.saturating_add_unsigned(rows.num_rows() as u64);
        Ok(())
    }

    /// Moves what is staged to the table; within the transaction of a commit.
    ///
    /// # Errors
    /// What the server says.
    pub(in crate::postgres) async fn merge(
        &mut self,
        session: &mut Session,
        address: &Address,
    ) -> Result<()> {
        if self.staged == 0 {
            return Ok(());
        }
        let what = format!("the commit to table {}", self.spec.name);
        let statements = self.merge_sql();
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        session.execute(&statements).await.map_err(|error| explain_commit(address, &what, &error))
    }

    /// What is staged was committed.
    pub(in crate::postgres) fn merged(&mut self) {
        self.staged = 0;
    }

    /// Gives up what is staged.
    ///
    /// # Errors
    /// What the server says.
    pub(in crate::postgres) async fn clear(&mut self, session: &mut Session) -> WireResult<()> {
        if self.staged > 0 {
            let truncate = format!("TRUNCATE {}", self.staging_sql());
            session.execute(&[&truncate]).await?;
            self.staged = 0;
        }
        Ok(())
    }

    /// Makes an index of that method over each column of vectors that has none of its name.
    ///
    /// # Errors
    /// What the server says.
    pub(in crate::postgres) async fn index(
        &self,
        session: &mut Session,
        address: &Address,
        method: &str,
    ) -> Result<()> {
        let what = format!("creating the index of table {}", self.spec.name);
        let failed = |error: WireError| explain(address, &what, &error);
        let extension = catalogue::extension(session).await.map_err(failed)?;
        let Some(found) = &self.found else { return Err(unprepared()) };
        for column in &self.columns {
            let Some(class) = column.pg.operator_class() else { continue };
            let class = match &extension {
                Some(schema) => format!("{}.{class}", quoted(schema)),
                None => class.to_string(),
            };
            let name = index_name(&found.name.name, &column.name, method);
            let sql = format!(
                "CREATE INDEX IF NOT EXISTS {} ON {} USING {method} ({} {class})",
                quoted(&name),
                found.name.sql(),
                quoted(&column.name)
            );
            session.execute(&[&sql]).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The schema of pgvector, which is added where a column needs it.
    async fn extension(&self, session: &mut Session, address: &Address) -> Result<Option<String>> {
        let what = format!("preparing table {}", self.spec.name);
        if !self.columns.iter().any(|column| column.pg.needs_extension()) {
            return Ok(None);
        }
        let failed = |error: WireError| explain(address, &what, &error);
        if let Some(schema) = catalogue::extension(session).await.map_err(failed)? {
            return Ok(Some(schema));
        }
        if let Err(error) = catalogue::create_extension(session).await {
            let why = match error.code() {
                Some("0A000" | "58P01" | "F0000") => format!(
                    "postgres at {address} does not have pgvector, which vectors need; install it \
                     (https://github.com/pgvector/pgvector), or write the vectors as another type"
                ),
                Some("42501") => format!(
                    "database '{}' lacks the extension vector, and user '{}' may not create it; let an administrator \
                     run CREATE EXTENSION vector",
                    address.database(),
                    address.user()
                ),
                _ => return Err(failed(error)),
            };
            return Err(Error::External(why));
        }
        catalogue::extension(session).await.map_err(failed)
    }

    fn create_sql(&self, extension: Option<&str>) -> String {
        let columns = self
            .columns
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name), column.pg.sql(extension)));
        let key = (!self.spec.key.is_empty()).then(|| {
            format!("PRIMARY KEY ({})", quoted_list(self.spec.key.iter().map(String::as_str)))
        });
        let parts: Vec<_> = columns.chain(key).collect();
        format!("CREATE TABLE {} ({})", self.spec.name.sql(), parts.join(", "))
    }

    /// Says at the columns of vectors where they come from.
    async fn comment(&self, session: &mut Session, found: &Found) -> WireResult<()> {
        for column in &self.columns {
            let Some(comment) = &column.comment else { continue };
            let sql = format!(
                "COMMENT ON COLUMN {}.{} IS {}",
                found.name.sql(),
                quoted(&column.name),
                literal(comment)
            );
            session.execute(&[&sql]).await?;
        }
        Ok(())
    }

    /// Takes the types of the table's columns, which the rows must fit.
    fn check_columns(&mut self, there: &[TableColumn]) -> Result<()> {
        let table = &self.spec.name;
        for column in &mut self.columns {
            let name = &column.name;
            let Some(own) = there.iter().find(|own| own.name == *name) else {
                return Err(Error::Option(format!(
                    "table {table} has no column '{name}' ({}); add it with ALTER TABLE {table} ADD COLUMN {} {}, \
                     or write to another table",
                    column.pg,
                    quoted(name),
                    column.pg
                )));
            };
            let comments = column.comment.as_deref().zip(own.comment.as_deref());
            if let Some((new, old)) = comments.and_then(|(new, old)| different(new, old)) {
                return Err(Error::Option(format!(
                    "column '{name}' of table {table} has vectors of model '{old}', and the rows have those of '{new}'; \
                     write to another table, or empty this one and drop its comment (COMMENT ON COLUMN … IS NULL)"
                )));
            }
            match own.pg.filter(|own| column.kind.fits(*own)) {
                Some(fitting) => column.pg = fitting,
                None => return Err(Error::Option(misfit(table, column, own))),
            }
        }
        let is_written =
            |own: &TableColumn| self.columns.iter().any(|column| column.name == own.name);
        match there.iter().find(|own| own.is_required && !is_written(own)) {
            None => Ok(()),
            Some(own) => Err(Error::Option(format!(
                "table {table} needs a value for column '{}' (NOT NULL without a default), which the rows don't have; \
                 add it to the query, or give it a default",
                own.name
            ))),
        }
    }

    fn check_key(&self, indexes: &[Vec<String>]) -> Result<()> {
        let mut key = self.spec.key.clone();
        key.sort();
        match indexes.contains(&key) {
            true => Ok(()),
            false => Err(Error::Option(format!(
                "table {} has no unique index over the key ({}), which updates need; create it with CREATE UNIQUE \
                 INDEX ON {} ({})",
                self.spec.name,
                self.spec.key.join(", "),
                self.spec.name,
                quoted_list(self.spec.key.iter().map(String::as_str))
            ))),
        }
    }

    /// An error about staged rows as one about the table, which is what its owner knows.
    fn in_table(&self, error: Error) -> Error {
        match error {
            Error::Data(text) => Error::Data(text.replace(&self.staging, &self.spec.name.name)),
            other => other,
        }
    }

    fn staging_sql(&self) -> String {
        format!("pg_temp.{}", quoted(&self.staging))
    }

    /// The statements that move staged rows over.
    fn merge_sql(&self) -> Vec<String> {
        let table = self.full_name().sql();
        let (staging, number) = (self.staging_sql(), quoted(NUMBER));
        let names = quoted_list(self.columns.iter().map(|column| column.name.as_str()));
        let clear = format!("TRUNCATE {staging}");
        if self.spec.key.is_empty() {
            let insert = format!(
                "INSERT INTO {table} ({names}) SELECT {names} FROM {staging} ORDER BY {number}"
            );
            return vec![insert, clear];
        }
        let key = quoted_list(self.spec.key.iter().map(String::as_str));
        let last = format!("s.{number} IN (SELECT max({number}) FROM {staging} GROUP BY {key})");
        let mut statements = Vec::new();
        let mut stays = String::new();
        if let Some(delete) = &self.delete {
            let same = self.spec.key.iter().map(|key| format!("t.{0} = s.{0}", quoted(key)));
            let same = same.collect::<Vec<_>>().join(" AND ");
            let gone = format!("s.{}", quoted(&delete.name));
            statements.push(format!(
                "DELETE FROM {table} t USING {staging} s WHERE {last} AND {gone} IS TRUE AND {same}"
            ));
            stays = format!(" AND {gone} IS NOT TRUE");
        }
        statements.extend(stale_chunks(&table, &staging, &self.spec.chunks_of));
        let changed = self.columns.iter().filter(|column| !self.spec.key.contains(&column.name));
        let changed: Vec<_> =
            changed.map(|column| format!("{0} = EXCLUDED.{0}", quoted(&column.name))).collect();
        let conflict = match changed.is_empty() {
            true => "DO NOTHING".into(),
            false => format!("DO UPDATE SET {}", changed.join(", ")),
        };
        statements.push(format!(
            "INSERT INTO {table} ({names}) SELECT {names} FROM {staging} s WHERE {last}{stays} \
             ON CONFLICT ({key}) {conflict}"
        ));
        statements.push(clear);
        statements
    }
}

/// The column of a schema that says that a row goes away.
fn delete_column(schema: &SchemaRef, name: &str) -> Result<RowColumn> {
    match schema.index_of(name) {
        Ok(place) if *schema.field(place).data_type() == DataType::Boolean => {
            RowColumn::new(place, schema.field(place), VectorType::Vector)
        }
        Ok(place) => Err(Error::Option(format!(
            "delete: column '{name}' must be BOOLEAN, and is {}",
            schema.field(place).data_type()
        ))),
        Err(_) => Err(Error::Option(format!("delete: the rows have no column '{name}'"))),
    }
}

/// Why a column of rows does not fit that of the table.
fn misfit(table: &TableName, column: &RowColumn, own: &TableColumn) -> String {
    let name = &column.name;
    let vectors =
        |pg: PgType| matches!(pg, PgType::Vector(_) | PgType::Halfvec(_) | PgType::Bit(_));
    let help = match own.pg.is_some_and(vectors) && vectors(column.pg) {
        true => "embed with the model that the table was made with, or write to another table",
        false => "cast the column, or write to another table",
    };
    format!(
        "column '{name}' of table {table} is {}, and the rows have {}; {help}",
        own.shown, column.pg
    )
}

fn unprepared() -> Error {
    Error::Bug("a table of postgres is used before it was prepared".into())
}

#[cfg(test)]
mod tests;
