//! A condition on the rows of an index, in a form that a finding can apply while it searches.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::common::DFSchemaRef;
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::PhysicalExpr;

use crate::SqlError;

/// A condition.
#[derive(Debug)]
pub(crate) struct RowFilter(Arc<dyn PhysicalExpr>);

impl RowFilter {
    /// The filter that an expression of columns is.
    ///
    /// # Errors
    /// An expression that needs more than the row, such as a subquery.
    pub(crate) fn new(condition: Expr, schema: &DFSchemaRef) -> Result<Self> {
        let context = SimplifyContext::builder().with_schema(Arc::clone(schema)).build();
        let simplifier = ExprSimplifier::new(context);
        let condition = simplifier.simplify(simplifier.coerce(condition, schema)?)?;
        let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        create_physical_expr(&condition, schema, &props, &planning).map(Self)
    }

    /// Which rows of a batch meet it. NULL is no.
    ///
    /// # Errors
    /// What evaluating says, such as a division by zero.
    pub(crate) fn marks(&self, batch: &RecordBatch) -> Result<Vec<bool>, SqlError> {
        let rows = batch.num_rows();
        let values = self.0.evaluate(batch).and_then(|values| values.into_array(rows));
        let values = values.map_err(SqlError::from)?;
        Ok(match values.as_boolean_opt() {
            Some(values) => {
                (0..rows).map(|row| values.is_valid(row) && values.value(row)).collect()
            }
            None => vec![false; rows],
        })
    }
}
