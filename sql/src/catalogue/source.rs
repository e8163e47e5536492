//! What a session knows of a source.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use sembla_connectors::formats::{Column, Metadata};

use crate::interval;
use crate::statement::StreamOptions;

/// The type of event times: microseconds since 1970, UTC.
pub(crate) const TIME_TYPE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// A source of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
pub(super) fn in_words(field: &Field) -> String {
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
    pub(crate) fn words(&self) -> String {
        let column = &self.column;
        match self.delay_us {
            0 => column.clone(),
            delay => format!("{column} AS {column} - INTERVAL '{}'", interval::Shown(delay)),
        }
    }
}
