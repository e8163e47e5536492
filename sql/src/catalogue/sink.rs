//! What a session knows of a sink.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use sembla_connectors::{SinkConnector, SinkRequest, SourceHandles};
use sembla_options::{GivenOptions, Options};
use sembla_runtime::{Delivery, Error, Sink};

use super::source::described;
use crate::SqlError;

/// A place that results go to.
#[derive(Clone, Debug)]
pub(crate) struct SinkDef {
    /// Its name.
    pub(crate) name: String,
    /// The name of its connector.
    pub(crate) connector: &'static str,
    /// Its connector, which knows what there is to know of its options.
    pub(crate) kind: &'static dyn SinkConnector,
    /// The columns that it declares; `None` where it takes those of the query.
    pub(crate) schema: Option<SchemaRef>,
    /// The connector's options, without `connector`.
    pub(crate) options: GivenOptions,
}

impl SinkDef {
    /// The schema of its rows; `None` where it takes that of the query.
    pub(crate) fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Whether it has a place for rows that come too late for their windows.
    pub(crate) fn shows_late(&self) -> bool {
        self.kind.late_option().is_some_and(|option| self.options.has(option))
    }

    /// Opens it for results of a schema.
    ///
    /// # Errors
    /// Options that can't be, or don't fit the schema.
    pub(crate) fn open(
        &self,
        schema: &SchemaRef,
        handles: SourceHandles,
        checkpoint_interval: Duration,
    ) -> Result<Box<dyn Sink>, SqlError> {
        let options = self.options.read().map_err(|error| self.error(error.into()))?;
        let request = SinkRequest { schema, options: &options, handles, checkpoint_interval };
        self.kind.open(request).map_err(|error| self.error(error))
    }

    /// Checks all that can be known before the results' schema is.
    ///
    /// # Errors
    /// Options that can't be, or don't fit the columns that it declares.
    pub(crate) fn check(&self) -> Result<(), SqlError> {
        let options = self.check_options()?;
        match &self.schema {
            Some(schema) => self.open_to_check(schema, &options, Duration::ZERO).map(drop),
            None => self.kind.check(&options).map_err(|error| self.error(error)),
        }
    }

    /// Checks everything that can be without touching the outside world, and says what it promises.
    ///
    /// # Errors
    /// Options that can't be, or don't fit the schema of the results.
    pub(crate) fn promise(
        &self,
        schema: &SchemaRef,
        checkpoint_interval: Duration,
    ) -> Result<Delivery, SqlError> {
        let options = self.check_options()?;
        self.open_to_check(schema, &options, checkpoint_interval).map(|sink| sink.promise())
    }

    fn check_options(&self) -> Result<Options, SqlError> {
        self.options.check().map_err(|error| self.error(error.into()))
    }

    fn open_to_check(
        &self,
        schema: &SchemaRef,
        options: &Options,
        checkpoint_interval: Duration,
    ) -> Result<Box<dyn Sink>, SqlError> {
        let handles = SourceHandles::new();
        let request = SinkRequest { schema, options, handles, checkpoint_interval };
        self.kind.open(request).map_err(|error| self.error(error))
    }

    /// What is wrong with what it connects to.
    pub(crate) async fn problems(
        &self,
        schema: &SchemaRef,
        checkpoint_interval: Duration,
        within: Duration,
    ) -> Vec<SqlError> {
        let options = match self.options.read() {
            Ok(options) => options,
            Err(error) => return vec![self.error(error.into())],
        };
        let handles = SourceHandles::new();
        let request = SinkRequest { schema, options: &options, handles, checkpoint_interval };
        let found = self.kind.problems(request, within).await;
        found.into_iter().map(|error| self.error(error)).collect()
    }

    /// The columns that it declares, with their types.
    pub(crate) fn describe_columns(&self) -> Option<String> {
        let fields = self.schema.as_ref()?.fields();
        Some(fields.iter().map(|field| described(field)).collect::<Vec<_>>().join(", "))
    }

    /// The sink in one line, without secrets.
    pub(crate) fn describe(&self) -> String {
        let columns =
            self.describe_columns().map_or(String::new(), |columns| format!(" ({columns})"));
        format!(
            "{}{columns} WITH (connector = '{}'{}{})",
            self.name,
            self.connector,
            if self.options.is_empty() { "" } else { ", " },
            self.options
        )
    }

    /// An error with the name of the sink.
    pub(crate) fn error(&self, error: Error) -> SqlError {
        SqlError::of("sink", &self.name, error)
    }
}
