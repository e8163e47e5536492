//! The value of an expression that depends on no row.

use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

/// The value of an argument that must not depend on rows, or `None` where it does.
///
/// # Errors
/// When computing it fails.
pub(crate) fn constant(expr: Expr) -> Result<Option<ScalarValue>> {
    let simplify = SimplifyContext::builder().with_schema(Arc::new(DFSchema::empty())).build();
    match ExprSimplifier::new(simplify).simplify(expr)?.unalias() {
        Expr::Literal(value, _) => Ok(Some(value)),
        _ => Ok(None),
    }
}
