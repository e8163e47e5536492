//! What `COPY … TO` writes where the format has no form for a value: lists in CSV become text, as
//! `--format csv` prints them, and NULL in a column of PARTITIONED BY becomes the folder's name
//! that means NULL.

use std::sync::Arc;

use arrow::array::{Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

/// The name of the folder of a partition whose value is NULL, as Hive, Spark and Arrow have it.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The option that keeps the columns of PARTITIONED BY in the files too.
const KEEPS_COLUMNS: &str = "keep_partition_by_columns";

/// The plan with every value of a COPY in a form that its format can write.
///
/// # Errors
/// What DataFusion says of the plan.
pub(crate) fn writable(plan: LogicalPlan) -> Result<LogicalPlan> {
    let written = plan.transform_down(|node| match node {
        LogicalPlan::Copy(copy) => match with_text(&copy)? {
            Some(input) => {
                let copy = CopyTo { input: Arc::new(input), ..copy };
                Ok(Transformed::yes(LogicalPlan::Copy(copy)))
            }
            None => Ok(Transformed::no(LogicalPlan::Copy(copy))),
        },
        other => Ok(Transformed::no(other)),
    })?;
    Ok(written.data)
}

/// The input of a COPY with some columns as text, if any needs it.
fn with_text(copy: &CopyTo) -> Result<Option<LogicalPlan>> {
    let is_csv = copy.file_type.get_ext().trim_start_matches('.').starts_with("csv");
    // Where the columns are written too, a NULL stays one there.
    let is_kept = copy
        .options
        .iter()
        .any(|(key, value)| key.ends_with(KEEPS_COLUMNS) && value.eq_ignore_ascii_case("true"));
    let mut changed = false;
    let columns = copy.input.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        let is_partition = !is_kept && copy.partition_by.contains(field.name());
        let null = match is_partition {
            true => Some(NULL_PARTITION),
            false if is_csv && field.data_type().is_nested() => None,
            false => return column,
        };
        changed = true;
        text(null).call(vec![column]).alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = columns.collect();
    if !changed {
        return Ok(None);
    }
    LogicalPlanBuilder::from(copy.input.as_ref().clone()).project(columns)?.build().map(Some)
}

/// The function that makes text of any value; NULL becomes the text that is given, if one is.
fn text(null: Option<&'static str>) -> ScalarUDF {
    ScalarUDF::from(Text { null, signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    null: Option<&'static str>,
    signature: Signature,
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &str {
        "text_to_write"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    /// Rows are written in the order that the query asks for, which is that of the values before.
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(inputs.first().map_or(SortProperties::Unordered, |value| value.sort_properties))
    }

    fn preserves_lex_ordering(&self, _inputs: &[ExprProperties]) -> Result<bool> {
        Ok(true)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("a value to write is missing".into()));
        };
        let values = values.to_array(args.number_rows)?;
        // What is encoded is spelt out, so that its NULLs are found.
        let values = match values.data_type() {
            DataType::Dictionary(_, plain) => cast(&values, plain)?,
            _ => values,
        };
        let options = FormatOptions::default().with_display_error(false).with_null("null");
        let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
        let nulls = values.logical_nulls();
        let texts = (0..values.len()).map(|row| {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                return Ok(self.null.map(str::to_string));
            }
            formatter.value(row).try_to_string().map(Some)
        });
        let texts = texts.collect::<std::result::Result<StringArray, _>>()?;
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}
