//! `SHOW FUNCTIONS` as a query. DataFusion's own leaves out every function whose type depends on
//! its arguments, and knows nothing of what stands in FROM.

use datafusion::sql::parser::{DFParser, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{ShowStatementFilter, Statement as SqlStatement};

use crate::{SqlError, findings, windows};

/// The statement, with `SHOW FUNCTIONS` replaced by the query that it stands for.
///
/// # Errors
/// What the parser says of that query, which should not happen.
pub(crate) fn listing_all(statement: DfStatement) -> Result<DfStatement, SqlError> {
    let DfStatement::Statement(inner) = &statement else { return Ok(statement) };
    let condition = match inner.as_ref() {
        SqlStatement::ShowFunctions { filter: None } => String::new(),
        SqlStatement::ShowFunctions {
            filter: Some(filter @ (ShowStatementFilter::Like(_) | ShowStatementFilter::ILike(_))),
        } => format!("WHERE function_name {filter}"),
        _ => return Ok(statement),
    };
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let relations: Vec<String> = findings::documentation()
        .chain(windows::documentation())
        .map(|(name, usage, about)| {
            format!("({}, 'TABLE', {}, {})", literal(name), literal(&usage), literal(&about))
        })
        .collect();
    let query = format!(
        "SELECT DISTINCT * FROM (
           SELECT routine_name AS function_name, function_type, syntax_example, description
           FROM information_schema.routines UNION ALL VALUES {}
         ) {condition} ORDER BY function_name",
        relations.join(", ")
    );
    Ok(DFParser::parse_sql(&query)?.pop_front().unwrap_or(statement))
}
