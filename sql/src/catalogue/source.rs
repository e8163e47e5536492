//! What a session knows of a source.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use sembla_connectors::files::SourceFiles;
use sembla_connectors::formats::{Column, Metadata};
use sembla_connectors::replay::RowsFrom;
use sembla_connectors::{Exchange, OpenSource, ReadMode, SourceConnector, SourceRequest};
use sembla_options::{GivenOptions, Options};
use sembla_runtime::Error;

use crate::SqlError;
use crate::columns::interval;

/// A source of rows.
#[derive(Clone, Debug)]
pub(crate) struct SourceDef {
    /// Its name.
    pub(crate) name: String,
    /// The name of its connector.
    pub(crate) connector: &'static str,
    /// Its connector, which knows what there is to know of its options.
    pub(crate) kind: &'static dyn SourceConnector,
    /// Its columns.
    pub(crate) columns: Vec<SourceColumn>,
    /// Which column is the time of a row; `None` for a source that can't be windowed in a stream.
    pub(crate) watermark: Option<Watermark>,
    /// The connector's options, without `connector`.
    pub(crate) options: GivenOptions,
}

impl SourceDef {
    /// The schema of its rows.
    pub(crate) fn schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> =
            self.columns.iter().map(|column| Arc::clone(&column.field)).collect();
        Arc::new(Schema::new(fields))
    }

    /// The source in one line, without secrets, for EXPLAIN.
    pub(crate) fn describe(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(SourceColumn::describe).collect();
        let watermark = match &self.watermark {
            Some(watermark) => format!(", WATERMARK FOR {}", watermark.describe()),
            None => String::new(),
        };
        format!(
            "{} ({}{watermark}) WITH (connector = '{}'{}{})",
            self.name,
            columns.join(", "),
            self.connector,
            if self.options.is_empty() { "" } else { ", " },
            self.options
        )
    }

    /// What decides whether saved state is of this source: all but the options that state doesn't
    /// depend on.
    pub(crate) fn identity(&self) -> String {
        Self { options: self.options.deciding(), ..self.clone() }.describe()
    }

    /// Opens it for a pipeline. `rows` reads its [`files`](Self::files).
    ///
    /// # Errors
    /// Options that can't be.
    pub(crate) fn open(
        &self,
        pipeline: &str,
        mode: ReadMode,
        rows: Option<RowsFrom>,
    ) -> Result<OpenSource, SqlError> {
        let options = self.options.read().map_err(|error| self.error(error.into()))?;
        self.open_with(pipeline, &options, mode, rows)
    }

    /// Checks everything that can be without touching the outside world.
    ///
    /// # Errors
    /// Options that can't be, or don't fit the columns.
    pub(crate) fn check(&self) -> Result<(), SqlError> {
        let options = self.options.check().map_err(|error| self.error(error.into()))?;
        let nothing: RowsFrom = Arc::new(|_| Box::pin(futures::stream::empty()));
        self.open_with(&self.name, &options, ReadMode::Shared, Some(nothing)).map(drop)
    }

    fn open_with(
        &self,
        pipeline: &str,
        options: &Options,
        mode: ReadMode,
        rows: Option<RowsFrom>,
    ) -> Result<OpenSource, SqlError> {
        let columns = self.record_columns();
        let opened = self.kind.open(self.request(pipeline, &columns, options, mode, rows));
        opened.map_err(|error| self.error(error))
    }

    /// What is wrong with what it connects to.
    pub(crate) async fn problems(&self, pipeline: &str, within: Duration) -> Vec<SqlError> {
        let options = match self.options.read() {
            Ok(options) => options,
            Err(error) => return vec![self.error(error.into())],
        };
        let columns = self.record_columns();
        let request = self.request(pipeline, &columns, &options, ReadMode::Shared, None);
        let found = self.kind.problems(request, within).await;
        found.into_iter().map(|error| self.error(error)).collect()
    }

    /// The files that its rows are in, where it is read from files.
    ///
    /// # Errors
    /// Options that can't be.
    pub(crate) fn files(&self) -> Result<Option<SourceFiles>, SqlError> {
        let options = self.options.check().map_err(|error| self.error(error.into()))?;
        self.kind.files(&options).map_err(|error| self.error(error))
    }

    /// The exchange of that name at its place, if it can have one.
    ///
    /// # Errors
    /// Options that can't be.
    pub(crate) fn exchange(
        &self,
        name: &str,
        schema: &SchemaRef,
    ) -> Result<Option<Box<dyn Exchange>>, SqlError> {
        let exchange = self.kind.exchange(name, schema, &self.options);
        exchange.map_err(|error| self.error(error))
    }

    fn request<'a>(
        &'a self,
        pipeline: &'a str,
        columns: &'a [Column],
        options: &'a Options,
        mode: ReadMode,
        rows: Option<RowsFrom>,
    ) -> SourceRequest<'a> {
        let time = self.watermark.as_ref().map(|watermark| watermark.column.as_str());
        SourceRequest { pipeline, columns, time, options, mode, rows }
    }

    fn record_columns(&self) -> Vec<Column> {
        self.columns.iter().map(SourceColumn::column).collect()
    }

    /// An error with the name of the source.
    pub(crate) fn error(&self, error: Error) -> SqlError {
        SqlError::of("source", &self.name, error)
    }
}

/// A column of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceColumn {
    /// Its name, type, and whether it can be NULL.
    pub(crate) field: FieldRef,
    /// What of a record it holds; `None` for a field of the record's value.
    pub(crate) metadata: Option<Metadata>,
}

impl SourceColumn {
    /// The column with its type, and what it holds if that is metadata.
    pub(crate) fn describe(&self) -> String {
        let field = described(&self.field);
        match &self.metadata {
            Some(metadata) => {
                let name = Metadata::NAMES.get(*metadata as usize).copied().unwrap_or_default();
                format!("{field} METADATA FROM '{name}'")
            }
            None => field,
        }
    }

    /// The column as connectors take it.
    pub(crate) fn column(&self) -> Column {
        Column {
            name: self.field.name().clone(),
            data_type: self.field.data_type().clone(),
            nullable: self.field.is_nullable(),
            metadata: self.metadata,
        }
    }
}

/// A column with its type: `text Utf8 NOT NULL`.
pub(super) fn described(field: &Field) -> String {
    let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
    format!("{} {}{not_null}", field.name(), field.data_type())
}

/// The time of rows, and how far behind the latest one others may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// The name of the column, which is of [`TIME_TYPE`] and never NULL.
    pub(crate) column: String,
    /// How far behind the latest time the watermark is, in microseconds; 0 or more.
    pub(crate) delay_us: i64,
}

impl Watermark {
    /// As it would be written, without the words WATERMARK FOR.
    pub(crate) fn describe(&self) -> String {
        let column = &self.column;
        match self.delay_us {
            0 => column.clone(),
            delay => format!("{column} AS {column} - INTERVAL '{}'", interval::Shown(delay)),
        }
    }
}
