//! The SQL type `VECTOR(384)`: a list of that many 32-bit floats, as `embed` gives it.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::DataType as SqlDataType;

use super::vectors::vector_type;
use crate::SqlError;

/// Makes the type known to a session's SQL planner.
#[derive(Debug)]
pub(crate) struct VectorType;

impl TypePlanner for VectorType {
    fn plan_type_field(&self, sql: &SqlDataType) -> Result<Option<FieldRef>> {
        let SqlDataType::Custom(name, arguments) = sql else { return Ok(None) };
        if !name.to_string().eq_ignore_ascii_case("vector") {
            return Ok(None);
        }
        let dimension = match arguments.as_slice() {
            [dimension] => dimension.parse::<usize>().ok().filter(|dimension| *dimension > 0),
            _ => None,
        };
        let dimension = dimension.ok_or_else(|| {
            SqlError::Statement(format!(
                "the type {sql} needs its number of components, such as VECTOR(384)"
            ))
        })?;
        Ok(Some(Arc::new(Field::new("", vector_type(dimension)?, true))))
    }
}
