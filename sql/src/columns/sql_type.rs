//! What DataFusion makes of a type that is written in SQL.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::ExprSchemable;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlDataType, Expr as SqlExpr, ExprWithAlias, Value,
};

/// The type that DataFusion gives columns of a SQL type.
///
/// # Errors
/// What DataFusion says of a type that it doesn't know.
pub(crate) fn planned_type(
    state: &SessionState,
    sql: &SqlDataType,
) -> Result<DataType, DataFusionError> {
    let null = SqlExpr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(SqlExpr::Value(Value::Null.into())),
        data_type: sql.clone(),
        array: false,
        format: None,
    };
    let schema = DFSchema::empty();
    let null = ExprWithAlias { expr: null, alias: None };
    let cast = state.create_logical_expr_from_sql_expr(null, &schema)?;
    cast.get_type(&schema)
}
