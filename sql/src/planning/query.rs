//! A statement that DataFusion runs, from its parsed form to its plan.

use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;

use super::arguments::place;
use super::column_names::name_calls;
use super::copy::writable;
use super::from_items::Known;
use super::show_functions::listing_all;
use crate::engine::Connection;
use crate::query::blocking;
use crate::syntax::{self, Statement};
use crate::{SqlError, files};

/// The plan of a statement.
///
/// # Errors
/// What planning says.
pub(crate) async fn plan(
    connection: &Connection,
    statement: DfStatement,
) -> Result<LogicalPlan, SqlError> {
    let mut statement = listing_all(statement)?;
    name_calls(&mut statement, &connection.parameters);
    let placed = place(&mut statement, &Known::of(connection))?;
    files::target::name_exactly(&mut statement)?;
    blocking(|| files::target::prepare(&connection.context, &statement))?;
    let plan = connection.context.state().statement_to_plan(statement).await;
    let plan = plan.map_err(files::explained)?;
    placed.check(&plan)?;
    Ok(writable(plan)?)
}

/// The rows of a query that a statement of our own asks.
///
/// # Errors
/// What parsing and planning say.
pub(crate) async fn query(connection: &Connection, text: &str) -> Result<DataFrame, SqlError> {
    let parsed = syntax::parse(text, &GenericDialect {})?.pop();
    let Some(Statement::DataFusion(statement)) = parsed else {
        return Err(SqlError::Bug("a query of our own is no query".into()));
    };
    let plan = plan(connection, *statement).await?;
    Ok(DataFrame::new(connection.context.state(), plan))
}
