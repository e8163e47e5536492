//! The vectors that an index has stored, for findings over a query of its rows.
//!
//! `dedup((SELECT * FROM idx WHERE …))` needs no model: each row that comes out of the index as it
//! is has a vector there. It is looked up by the row's id, as an expression like any other.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use sembla_operators::Unbounded;

use super::Index;
use super::table::IndexTable;
use crate::columns::vectors::{spread, vector_array, vector_type};

/// The name of the function in plans.
const NAME: &str = "stored_vector";

/// Rows that come out of an index as they are.
pub(crate) struct RowsOfIndex {
    pub(crate) index: Arc<Index>,
    /// The position of the column of their ids.
    id: usize,
}

/// The index whose rows a plan gives, if its ids are among the columns.
pub(crate) fn rows_of(plan: &LogicalPlan) -> Option<RowsOfIndex> {
    (0..plan.schema().fields().len()).find_map(|id| {
        let (index, column) = origin(plan, id)?;
        let is_id = index.schema.fields().first().is_some_and(|field| *field.name() == column);
        is_id.then_some(RowsOfIndex { index, id })
    })
}

impl RowsOfIndex {
    /// The stored vectors, if they are those of a text of the plan by that model. An index that
    /// does not know its model has those of any that nobody `named`.
    pub(crate) fn vectors(
        &self,
        plan: &LogicalPlan,
        text: &Expr,
        (model, named): (&str, bool),
    ) -> Option<Expr> {
        let Expr::Column(column) = text else { return None };
        let (index, from) = origin(plan, plan.schema().maybe_index_of_column(column)?)?;
        let is_embedded = Arc::ptr_eq(&index, &self.index)
            && index.text_column() == Some(from.as_str())
            && index.model().map_or(!named, |known| known.eq_ignore_ascii_case(model));
        let id = Expr::from(plan.schema().qualified_field(self.id));
        is_embedded.then(|| stored(&self.index, id))
    }
}

/// The index that a plan's column comes from, as it is, and the column's name there.
fn origin(plan: &LogicalPlan, position: usize) -> Option<(Arc<Index>, String)> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let index = IndexTable::index_of(scan)?;
            let field = scan.projected_schema.fields().get(position)?;
            Some((index, field.name().clone()))
        }
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(position)?.clone().unalias();
            let Expr::Column(column) = expr else { return None };
            let below = projection.input.schema().maybe_index_of_column(&column)?;
            origin(&projection.input, below)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_) => origin(plan.inputs().first()?, position),
        _ => None,
    }
}

/// The stored vectors of the rows that an expression names by their ids.
fn stored(index: &Arc<Index>, id: Expr) -> Expr {
    let function =
        StoredVector { index: Arc::clone(index), signature: Signature::any(1, Volatility::Stable) };
    ScalarUDF::from(function).call(vec![id])
}

/// Looks vectors up by ids. Two are equal if they look in the same index.
#[derive(Debug)]
struct StoredVector {
    index: Arc<Index>,
    signature: Signature,
}

impl PartialEq for StoredVector {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.index, &other.index)
    }
}

impl Eq for StoredVector {}

impl Hash for StoredVector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.index).hash(state);
    }
}

impl ScalarUDFImpl for StoredVector {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(vector_type(self.index.read().vectors.dimension())?)
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::new(NAME, self.return_type(&[])?, true);
        Ok(Arc::new(field.with_metadata(self.index.provenance())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ids] = args.args.as_slice() else {
            return Err(DataFusionError::Internal(format!("{NAME} takes an id")));
        };
        let ids = ids.to_array(args.number_rows)?;
        let contents = self.index.read();
        let dimension = contents.vectors.dimension();
        let (vectors, found) = contents.vectors_of(&ids, &Unbounded)?;
        let values = spread(vectors.values(), dimension, &found);
        let rows = found.len();
        Ok(ColumnarValue::Array(vector_array(
            dimension,
            values,
            Some(NullBuffer::from(found)),
            rows,
        )?))
    }
}
