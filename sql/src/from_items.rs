//! The items of FROM before a statement is planned: a call of a function that isn't there names the
//! nearest that is, and a file or folder is read only where its name is written as one.
//!
//! DataFusion takes what is written in single quotes for a name like any other. So `FROM 'x'`, with
//! a folder `x` and no table, is written as a path here; a bare `x` is never one.

use std::path::Path;

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, TableFactor};

use crate::arguments::nearest;
use crate::functions::ParameterNames;
use crate::{SqlError, findings, windows};

/// What a session knows that a statement can name.
pub(crate) struct Known<'a> {
    pub(crate) parameters: &'a ParameterNames,
    pub(crate) context: &'a SessionContext,
}

impl Known<'_> {
    /// Checks an item of FROM, and writes a quoted name of files as a path.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for a function that isn't there.
    pub(crate) fn check(&self, relation: &mut TableFactor) -> Result<(), SqlError> {
        let TableFactor::Table { name, args, .. } = relation else { return Ok(()) };
        let [part] = name.0.as_slice() else { return Ok(()) };
        let Some(ident) = part.as_ident() else { return Ok(()) };
        if args.is_some() {
            return self.check_function(&ident.value.to_lowercase());
        }
        let is_file = ident.quote_style == Some('\'')
            && !ident.value.contains(['/', '\\'])
            && Path::new(&ident.value).exists()
            && !self.context.table_exist(ident.value.as_str()).unwrap_or(false);
        if is_file {
            *name = ObjectName::from(vec![Ident::with_quote('\'', format!("./{}", ident.value))]);
        }
        Ok(())
    }

    fn check_function(&self, name: &str) -> Result<(), SqlError> {
        let state = self.context.state();
        let own = findings::documentation().map(|(name, ..)| name);
        let mut known: Vec<&str> =
            own.chain(windows::documentation().map(|(name, ..)| name)).collect();
        known.extend(state.table_functions().keys().map(String::as_str));
        if known.contains(&name) || findings::find(name).is_some() {
            return Ok(());
        }
        known.sort_unstable();
        Err(SqlError::Statement(format!(
            "there is no table function '{name}'; did you mean '{}'? SHOW FUNCTIONS lists all",
            nearest(known.iter().copied(), name)
        )))
    }
}
