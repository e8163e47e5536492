//! What a session knows of a sink.

use arrow::datatypes::SchemaRef;

use super::source::in_words;
use crate::statement::StreamOptions;

/// A place that results go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SinkDef {
    /// Its name.
    pub(crate) name: String,
    /// Where its rows go: one of [`super::connector::ALL`].
    pub(crate) connector: String,
    /// The columns that it declares; `None` where it takes those of the query.
    pub(crate) schema: Option<SchemaRef>,
    /// The connector's options, without `connector`.
    pub(crate) options: StreamOptions,
}

impl SinkDef {
    /// The schema of its rows; `None` where it takes that of the query.
    pub(crate) fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Whether it has a place for rows that come too late for their windows.
    pub(crate) fn shows_late(&self) -> bool {
        ["late_topic", "late_path"].iter().any(|option| self.options.get(option).is_some())
    }

    /// The columns that it declares, with their types.
    pub(crate) fn columns_in_words(&self) -> Option<String> {
        let fields = self.schema.as_ref()?.fields();
        Some(fields.iter().map(|field| in_words(field)).collect::<Vec<_>>().join(", "))
    }

    /// The sink in one line, without secrets.
    pub(crate) fn words(&self) -> String {
        let columns = self.columns_in_words().map_or(String::new(), |words| format!(" ({words})"));
        format!(
            "{}{columns} WITH (connector = '{}'{}{})",
            self.name,
            self.connector,
            if self.options.as_slice().is_empty() { "" } else { ", " },
            self.options
        )
    }
}
