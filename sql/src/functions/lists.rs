//! DataFusion's functions that make a new list of numbers, for lists from any writer.
//!
//! They give a list whose item is called `item` and plan with the name that the argument's item
//! has, which pyarrow, pandas and polars call `element`. So the argument is given the name that the
//! result has, before they plan.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_nested::array_add::array_add_udf;
use datafusion::functions_nested::array_scale::array_scale_udf;
use datafusion::functions_nested::array_subtract::array_subtract_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use super::vectors::item_field;

/// All functions of this file.
pub(crate) fn functions() -> Vec<ScalarUDF> {
    [array_add_udf(), array_scale_udf(), array_subtract_udf()]
        .map(|theirs| ScalarUDF::from(OfAnyList { theirs }))
        .into()
}

/// The types that a function of DataFusion wants, with the items of lists named as it names them.
///
/// # Errors
/// What the function says of the types.
pub(super) fn coerced(theirs: &ScalarUDF, types: &[DataType]) -> Result<Vec<DataType>> {
    Ok(theirs.coerce_types(types)?.into_iter().map(with_named_item).collect())
}

fn with_named_item(data_type: DataType) -> DataType {
    match data_type {
        DataType::List(item) => DataType::List(item_field(item.data_type().clone())),
        DataType::LargeList(item) => DataType::LargeList(item_field(item.data_type().clone())),
        other => other,
    }
}

/// A function of DataFusion with other arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfAnyList {
    theirs: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for OfAnyList {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn aliases(&self) -> &[String] {
        self.theirs.aliases()
    }

    fn signature(&self) -> &Signature {
        self.theirs.signature()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.theirs.documentation()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerced(&self.theirs, types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.theirs.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.theirs.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.theirs.invoke_with_args(args)
    }
}
