//! What a session knows of a source.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use crate::SqlError;
use crate::interval;
use crate::statement::StreamOptions;

/// The type of event times: microseconds since 1970, UTC.
pub(crate) const TIME_TYPE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// A source of rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SourceDef {
    /// Its name.
    pub(crate) name: String,
    /// Where its rows come from: one of [`super::connector::ALL`].
    pub(crate) connector: String,
    /// Its columns.
    pub(crate) columns: Vec<SourceColumn>,
    /// Which column is the time of a row; `None` for a source that can't be windowed in a stream.
    pub(crate) watermark: Option<Watermark>,
    /// The connector's options, without `connector`.
    pub(crate) options: StreamOptions,
}

impl SourceDef {
    /// The schema of its rows.
    pub(crate) fn schema(&self) -> SchemaRef {
        let fields: Vec<FieldRef> =
            self.columns.iter().map(|column| Arc::clone(&column.field)).collect();
        Arc::new(Schema::new(fields))
    }

    /// The source in one line, without secrets: for EXPLAIN, and to tell whether it is the same.
    pub(crate) fn words(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(SourceColumn::words).collect();
        let watermark = match &self.watermark {
            Some(watermark) => format!(", WATERMARK FOR {}", watermark.words()),
            None => String::new(),
        };
        format!(
            "{} ({}{watermark}) WITH (connector = '{}'{}{})",
            self.name,
            columns.join(", "),
            self.connector,
            if self.options.as_slice().is_empty() { "" } else { ", " },
            self.options
        )
    }
}

/// A column of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SourceColumn {
    /// Its name, type, and whether it can be NULL.
    pub(crate) field: FieldRef,
    /// What of a record it holds; `None` for a field of the record's value.
    pub(crate) metadata: Option<Metadata>,
}

impl SourceColumn {
    /// The column with its type, and what it holds if that is metadata.
    pub(crate) fn words(&self) -> String {
        let field = in_words(&self.field);
        match &self.metadata {
            Some(metadata) => format!("{field} METADATA FROM '{}'", metadata.name()),
            None => field,
        }
    }
}

/// A column with its type: `text Utf8 NOT NULL`.
pub(super) fn in_words(field: &Field) -> String {
    let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
    format!("{} {}{not_null}", field.name(), field.data_type())
}

/// The time of rows, and how far behind the latest one others may come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Watermark {
    /// The name of the column, which is of [`TIME_TYPE`] and never NULL.
    pub(crate) column: String,
    /// How far behind the latest time the watermark is, in microseconds; 0 or more.
    pub(crate) delay_us: i64,
}

impl Watermark {
    /// As it would be written, without the words WATERMARK FOR.
    pub(crate) fn words(&self) -> String {
        let column = &self.column;
        match self.delay_us {
            0 => column.clone(),
            delay => format!("{column} AS {column} - INTERVAL '{}'", interval::Shown(delay)),
        }
    }
}

/// What a column can hold of a record, apart from the fields of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Metadata {
    /// Its key.
    Key,
    /// Its timestamp.
    Timestamp,
    /// The number of its partition.
    Partition,
    /// Its offset in the partition.
    Offset,
    /// The name of its topic.
    Topic,
    /// Its headers, as a JSON object.
    Headers,
}

impl Metadata {
    /// All, with what they are called in SQL and the types that they can have.
    const ALL: &[(Self, &str, &[DataType])] = &[
        (Self::Key, "key", &[DataType::Utf8, DataType::Binary]),
        (Self::Timestamp, "timestamp", &[TIME_TYPE]),
        (Self::Partition, "partition", &[DataType::Int32, DataType::Int64]),
        (Self::Offset, "offset", &[DataType::Int64]),
        (Self::Topic, "topic", &[DataType::Utf8]),
        (Self::Headers, "headers", &[DataType::Utf8]),
    ];

    /// What it is called in SQL.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(other, ..)| *other == self).map_or("", |(_, name, _)| name)
    }

    /// What a column of that type holds. `what` is the column, for messages.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for what no record has, and for a type that can't hold it.
    pub(super) fn parse(what: &str, key: &str, data_type: &DataType) -> Result<Self, SqlError> {
        let Some((metadata, _, types)) = Self::ALL.iter().find(|(_, name, _)| *name == key) else {
            let known: Vec<String> =
                Self::ALL.iter().map(|(_, name, _)| format!("'{name}'")).collect();
            return Err(SqlError::Statement(format!(
                "{what} is METADATA FROM '{key}', which no record has; it is one of {}",
                known.join(", ")
            )));
        };
        if !types.contains(data_type) {
            let sql = |data_type: &DataType| match data_type {
                DataType::Utf8 => "VARCHAR",
                DataType::Binary => "BYTEA",
                DataType::Int32 => "INT",
                DataType::Int64 => "BIGINT",
                _ => "TIMESTAMP",
            };
            let types: Vec<&str> = types.iter().map(sql).collect();
            return Err(SqlError::Statement(format!(
                "{what} is METADATA FROM '{key}' and holds {data_type}; declare it {}",
                types.join(" or ")
            )));
        }
        Ok(*metadata)
    }
}
