//! The conditions of `filter => …`: an expression of columns, or the text of one.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Value, ValueWithSpan};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::SqlError;

/// A condition on columns. `finding` is who is asked, for messages.
///
/// # Errors
/// [`SqlError::Statement`] for a text that is no expression and an expression that is no condition,
/// and what planning says of columns.
pub(super) fn condition(
    finding: &str,
    filter: &SqlExpr,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    let mistake = |why: String| {
        let message =
            format!("{finding}: filter must be a condition such as price > 10, got {why}");
        DataFusionError::from(SqlError::Statement(message))
    };
    let condition = match filter {
        SqlExpr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => {
            parsed(text).map_err(|error| mistake(format!("'{text}': {error}")))?
        }
        expression => expression.clone(),
    };
    let condition = context.sql_to_expr(condition, schema)?;
    let data_type = condition.get_type(schema)?;
    match data_type {
        DataType::Boolean | DataType::Null => Ok(condition),
        other => Err(mistake(format!("{filter}, which is {other}"))),
    }
}

/// A text that is one expression.
fn parsed(text: &str) -> std::result::Result<SqlExpr, SqlError> {
    let parsed = Parser::new(&GenericDialect {}).try_with_sql(text).and_then(|mut parser| {
        let expr = parser.parse_expr()?;
        parser.expect_token(&Token::EOF)?;
        Ok(expr)
    });
    parsed.map_err(|error| DataFusionError::SQL(Box::new(error), None).into())
}
