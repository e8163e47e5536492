//! Names in a statement: those of arguments, and the known one that is meant by one that isn't
//! known.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg};

/// The name of an argument, if it has one.
pub(crate) fn name_of(arg: &FunctionArg) -> Option<String> {
    match arg {
        FunctionArg::Unnamed(_) => None,
        FunctionArg::Named { name, .. } => Some(name.value.clone()),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => Some(name.value.clone()),
        FunctionArg::ExprNamed { name, .. } => Some(name.to_string()),
    }
}

/// The end of a message about a column that does not exist: the one that is meant, or all.
pub(crate) fn columns_hint(option: &str, name: &str, columns: &[&str]) -> String {
    // Bare names are in lower case, so a column with capitals needs quotes.
    match columns.iter().find(|column| column.to_lowercase() == name.to_lowercase()) {
        Some(column) => {
            format!("did you mean {option} => \"{column}\"? Names with capitals need double quotes")
        }
        None => format!("its columns are {}", columns.join(", ")),
    }
}

/// The known name that is most like a given one.
pub(crate) fn nearest<'a>(known: impl Iterator<Item = &'a str>, given: &str) -> &'a str {
    let likeness = |name: &str| strsim::jaro_winkler(name, given);
    known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}
