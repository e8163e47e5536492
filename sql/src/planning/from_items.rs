//! The items of FROM before a statement is planned: a call of a function that does not exist names
//! the nearest that is. Names of files are `files::calls`'s to see.

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::TableFactor;

use crate::engine::{Connection, ParameterNames};
use crate::syntax::names::nearest;
use crate::{SqlError, files, findings, windows};

/// What a session knows that a statement can name.
pub(crate) struct Known<'a> {
    pub(crate) parameters: &'a ParameterNames,
    context: &'a SessionContext,
}

impl<'a> Known<'a> {
    /// What a session with this connection knows.
    pub(crate) fn of(connection: &'a Connection) -> Self {
        Self { parameters: &connection.parameters, context: &connection.context }
    }

    /// Checks an item of FROM.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for a function that does not exist.
    pub(crate) fn check(&self, relation: &TableFactor) -> Result<(), SqlError> {
        let TableFactor::Table { name, args, .. } = relation else { return Ok(()) };
        let [part] = name.0.as_slice() else { return Ok(()) };
        let Some(ident) = part.as_ident() else { return Ok(()) };
        match args {
            Some(_) => self.check_function(&ident.value.to_lowercase()),
            None => Ok(()),
        }
    }

    fn check_function(&self, name: &str) -> Result<(), SqlError> {
        let state = self.context.state();
        let own = findings::documentation().map(|(name, ..)| name);
        let mut known: Vec<&str> = own
            .chain(windows::documentation().map(|(name, ..)| name))
            .chain(files::calls::names())
            .collect();
        known.extend(state.table_functions().keys().map(String::as_str));
        if known.contains(&name) || findings::find(name).is_some() {
            return Ok(());
        }
        known.sort_unstable();
        Err(SqlError::Statement(format!(
            "table function '{name}' does not exist; did you mean '{}'? SHOW FUNCTIONS lists all",
            nearest(known.iter().copied(), name)
        )))
    }
}
