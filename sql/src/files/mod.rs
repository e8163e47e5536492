//! Files, folders, globs and addresses that are named in `FROM`.
//!
//! `FROM 'x.parquet'` reaches here as the name of a table that no catalogue has. What looks like a
//! file is opened as one; any other name is left to be reported as an unknown table. What a name
//! means and what its files hold is the readers' to say; here it becomes a table that queries can
//! scan: [`parquet`] by DataFusion's own reader, [`text`] by ours, both in the order of the files.
//!
//! [`calls`] are `read_csv(…)` and its like, [`images`] is `read_images(…)`, [`external`] is
//! `CREATE EXTERNAL TABLE`, [`target`] is where COPY writes.

pub(crate) mod calls;
mod external;
mod guarded;
mod images;
mod job_runs;
mod notices;
mod parquet;
mod provider;
mod prune;
pub(crate) mod target;
mod text;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{TableProvider, UrlTableFactory};
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::dynamic_file::DynamicListTableFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::prelude::SessionContext;
use sembla_readers::files::{Surveys, Table, TableOptions, format_of, glob, list};
use sembla_readers::{Cancel, Error as ReadError};

use crate::SqlError;
use crate::error::missing_table;
use crate::query::QueryScope;
pub(crate) use calls::as_names;
pub(crate) use external::ExternalFiles;
pub use images::image_rows;
pub(crate) use images::register as register_images;
pub use job_runs::JOB_RUNS_FILE;
pub(crate) use job_runs::register as register_job_runs;
pub use notices::Notices;
pub use provider::FilesTable;

/// What all reading of files in a session shares. It is an extension of the session's
/// configuration.
#[derive(Debug, Default)]
pub(crate) struct FileReading {
    /// What was found in files.
    pub(crate) surveys: Surveys,
    /// Who hears what was found in files and can't be taken for granted.
    pub(crate) notices: Notices,
}

impl FileReading {
    /// That of a session.
    pub(crate) fn of(state: &SessionState) -> Arc<Self> {
        state.config().get_extension::<Self>().unwrap_or_default()
    }
}

/// What stops the readers of a query with this configuration.
fn cancel_of(options: &ConfigOptions) -> Cancel {
    let token = QueryScope::of(options).cancel;
    Cancel::new(move || token.is_cancelled())
}

/// Opens what is named in `FROM`.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Holds the session that reads.
    session: DynamicListTableFactory,
}

impl Files {
    /// Tells which session reads.
    pub(crate) fn set_session(&self, context: &SessionContext) {
        self.session.session_store().with_state(context.state_weak_ref());
    }

    fn state(&self) -> Result<SessionState> {
        let session = self.session.session_store().get_session().upgrade();
        session
            .and_then(|session| session.read().as_any().downcast_ref::<SessionState>().cloned())
            .ok_or_else(|| DataFusionError::Internal("the session is gone".into()))
    }
}

#[async_trait]
impl UrlTableFactory for Files {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(call) = calls::read(name) {
            let state = self.state()?;
            let call = call?;
            let options = call.options(&state)?;
            return Ok(Some(open_with(&state, vec![call.name], options).await?));
        }
        if !looks_like_files(name) {
            return Ok(None);
        }
        Ok(Some(open(&self.state()?, name).await?))
    }
}

/// Whether a name can only mean files. A bare word means a table; in quotes it comes with `./`
/// before it.
fn looks_like_files(name: &str) -> bool {
    name.contains(['/', '\\']) || glob::is_pattern(name) || format_of(name).is_some()
}

/// The error of planning a statement, with a hint where the table that it lacks is a file.
pub(crate) fn explained(error: DataFusionError) -> SqlError {
    match missing_table(&error).and_then(in_quotes) {
        Some(hint) => SqlError::Statement(hint),
        None => error.into(),
    }
}

/// A hint for the name of a table that does not exist but would be a file in quotes.
fn in_quotes(name: &str) -> Option<String> {
    (format_of(name).is_some() || Path::new(name).is_dir()).then(|| {
        format!(
            "table {name} does not exist; put the name of a file or folder in quotes: FROM '{name}'"
        )
    })
}

/// Opens what a name means.
///
/// # Errors
/// Files that do not exist, can't be read, or disagree on a column.
pub(crate) async fn open(state: &SessionState, name: &str) -> Result<Arc<dyn TableProvider>> {
    open_with(state, vec![name.to_string()], TableOptions::default()).await
}

/// Opens what names mean, one after another, with what the user says of the files.
///
/// # Errors
/// Files that do not exist, can't be read, or disagree on a column.
pub(crate) async fn open_with(
    state: &SessionState,
    names: Vec<String>,
    options: TableOptions,
) -> Result<Arc<dyn TableProvider>> {
    Ok(try_open(state, names, options).await?.map_err(SqlError::from)?)
}

/// The same, with what the readers say of the files apart from other errors.
async fn try_open(
    state: &SessionState,
    names: Vec<String>,
    options: TableOptions,
) -> Result<std::result::Result<Arc<dyn TableProvider>, ReadError>> {
    let reading = FileReading::of(state);
    let (cancel, shared) = (cancel_of(state.config_options()), Arc::clone(&reading));
    let opened = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        for name in &names {
            files.extend(
                list(name, options.format).map_err(|error| of_index(name).unwrap_or(error))?,
            );
        }
        Table::open(files, &options, &shared.surveys, &cancel)
    });
    let opened = opened.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
    Ok(opened.map(|table| -> Arc<dyn TableProvider> {
        for notice in table.notices() {
            reading.notices.say(&notice);
        }
        Arc::new(FilesTable::new(Arc::new(table)))
    }))
}

/// What is wrong with a name of a saved index, which is no table of rows.
fn of_index(name: &str) -> Option<ReadError> {
    let path = Path::new(name);
    let is_index = path.extension().is_some_and(|ending| ending == "index") && path.is_file();
    let shown = name.strip_prefix("./").unwrap_or(name);
    is_index.then(|| {
        ReadError::Option(format!(
            "'{shown}' is a saved index, not a table; open it with CREATE INDEX name WITH (path = \
             '{shown}'), then search it by its name"
        ))
    })
}

impl From<ReadError> for SqlError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Data(message) => Self::Data(message),
            ReadError::Option(message) | ReadError::Missing(message) => Self::Statement(message),
            ReadError::Io(message) => Self::Io(message),
            ReadError::Limit(message) => Self::Data(message),
            ReadError::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_are_left_alone() {
        assert!(!looks_like_files("orders"));
        assert!(looks_like_files("orders.csv"));
        assert!(looks_like_files("no/such/folder"));
        assert!(looks_like_files("s3://bucket/folder"));
    }

    #[test]
    fn a_file_without_quotes_is_told_to_have_them() {
        let hint = in_quotes("q.parquet").expect("a hint");
        assert!(hint.ends_with("FROM 'q.parquet'"), "{hint}");
        assert_eq!(in_quotes("orders"), None);
    }
}
