//! What every finding is: a function from tables to rows. It knows nothing of queries and plans, so
//! that a static table and a closed window of a stream go through the same code.

use std::fmt::Debug;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use sembla_models::CancelToken;
use sembla_operators::Host;

use super::online::Online;
use super::roles::InputTypes;
use super::table::Table;
use crate::SqlError;

/// Some rows that were found.
pub(crate) struct Found {
    /// The finding's own columns, as [`Finding::columns`] declares them.
    pub(crate) columns: Vec<ArrayRef>,
    /// The row of the first input that each goes with, for findings that carry its columns; else
    /// empty.
    pub(crate) rows: Vec<u32>,
}

impl Found {
    /// All rows of a table, with columns of the finding's own after their ids.
    ///
    /// # Errors
    /// When the ids can't be read.
    pub(crate) fn all(
        table: &Table,
        own: impl IntoIterator<Item = ArrayRef>,
    ) -> Result<Self, SqlError> {
        let rows: Vec<u32> = (0..table.rows() as u32).collect();
        let ids = table.ids(rows.iter().copied())?;
        Ok(Self { columns: std::iter::once(ids).chain(own).collect(), rows })
    }
}

/// Who runs a finding: an operator's host that also has the token that models look at.
pub(crate) trait FindingHost: Host {
    /// What stops the query.
    fn cancel(&self) -> &CancelToken;
}

/// Where rows go while they are found. An error ends the work.
pub(crate) type Emit<'a> = dyn FnMut(Found) -> Result<(), SqlError> + Send + 'a;

/// A finding with its options, ready to run.
pub(crate) trait Finding: Debug + Send + Sync {
    /// The finding's own columns.
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field>;

    /// Runs over one group of rows: the inputs in the order of the declaration, `None` where one
    /// was left out.
    ///
    /// # Errors
    /// What the operators, the host or `emit` say.
    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError>;

    /// The way window by window, for a finding that keeps a state between windows: its windows go
    /// there, and none to [`Finding::run`].
    fn online(&self) -> Option<&dyn Online> {
        None
    }
}
