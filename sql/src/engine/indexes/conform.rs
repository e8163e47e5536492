//! Rows as the columns of an index: matched by name, and cast where nothing can be lost.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef};

use crate::SqlError;
use crate::columns::by_name::is_text;
use crate::error::arrow_error;

/// The rows with the columns of an index. `may_lack` makes a column that does not exist NULL.
///
/// # Errors
/// A column that does not exist or of another kind, and a value that its type can't hold.
pub(crate) fn conform(
    rows: &RecordBatch,
    schema: &SchemaRef,
    may_lack: bool,
) -> Result<RecordBatch, SqlError> {
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) => as_type(column, field),
        None if may_lack && field.is_nullable() => {
            Ok(new_null_array(field.data_type(), rows.num_rows()))
        }
        None => Err(SqlError::Statement(format!(
            "the index has a column '{}', but the rows don't",
            field.name()
        ))),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| arrow_error(&error))
}

fn as_type(column: &ArrayRef, field: &Field) -> Result<ArrayRef, SqlError> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    if !are_alike(column.data_type(), field.data_type()) {
        return Err(SqlError::Statement(match field.name().as_str() {
            "id" => format!(
                "ids of the index are {}, but those of the rows are {}; cast them",
                field.data_type(),
                column.data_type()
            ),
            name => format!(
                "column '{name}' of the index is {}, but that of the rows is {}; cast it",
                field.data_type(),
                column.data_type()
            ),
        }));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, field.data_type(), &options).map_err(|error| {
        SqlError::Data(format!(
            "column '{}' of the index is {}: {}",
            field.name(),
            field.data_type(),
            arrow_error(&error)
        ))
    })
}

/// Whether values of one type can be those of another: the same kind of thing in another width.
fn are_alike(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Date32, Date64, LargeBinary, Null, Timestamp};
    match (from, to) {
        (Null, _) => true,
        (from, to) if is_text(from) && is_text(to) => true,
        (from, to) if from.is_integer() && (to.is_integer() || to.is_floating()) => true,
        (from, to) if from.is_floating() && to.is_floating() => true,
        (Date32 | Date64 | Timestamp(..), Date32 | Date64 | Timestamp(..)) => true,
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => true,
        (from, to) => match (item_of(from), item_of(to)) {
            (Some(from), Some(to)) => are_alike(from, to),
            _ => false,
        },
    }
}

fn item_of(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, Int64Array, StringArray, StringViewArray, UInt64Array};
    use arrow::datatypes::{Int64Type, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8View, true),
        ]))
    }

    #[test]
    fn columns_are_matched_by_name_and_cast() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let ids: ArrayRef = Arc::new(UInt64Array::from(vec![5]));
        let rows = RecordBatch::try_from_iter([("text", texts), ("id", ids)]).expect("rows");
        let rows = conform(&rows, &schema(), false).expect("they fit");
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[5]);
        let texts = rows.column(1).as_any().downcast_ref::<StringViewArray>();
        assert_eq!(texts.map(|texts| texts.value(0)), Some("a"));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let of = |ids: ArrayRef| RecordBatch::try_from_iter([("id", ids)]).expect("rows");
        let told = |rows: &RecordBatch, may_lack| {
            conform(rows, &schema(), may_lack).map(|_| ()).expect_err("it does not fit").to_string()
        };
        let number = of(Arc::new(Int64Array::from(vec![1])));
        assert_eq!(told(&number, false), "the index has a column 'text', but the rows don't");
        assert!(conform(&number, &schema(), true).is_ok());
        let word = of(Arc::new(StringArray::from(vec!["x"])));
        let cast = "ids of the index are Int64, but those of the rows are Utf8; cast them";
        assert_eq!(told(&word, true), cast);
        let large = of(Arc::new(UInt64Array::from(vec![u64::MAX])));
        assert!(told(&large, true).contains("column 'id' of the index is Int64: "));
    }
}
