//! `hamming_distance(a, b)`: in how many bits two packed vectors differ.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int8Type, UInt8Type};
use datafusion::error::Result;
use sembla_operators::hamming;

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, Planned, ScalarDef};
use crate::SqlError;
use crate::columns::vectors::mismatch;

pub(super) static HAMMING_DISTANCE: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "hamming_distance",
        aliases: &[],
        parameters: &[
            Parameter {
                name: "a",
                takes: Takes::Packed,
                about: "Packed vector, as quantize(…, 'binary') or 'ubinary' gives it.",
            },
            Parameter {
                name: "b",
                takes: Takes::Packed,
                about: "Packed vector of the same kind and size.",
            },
        ],
        required: 2,
        about: "Number of bits in which two packed vectors differ, as Int64. NULL if one is NULL or holds a NULL. Vectors of \
                different size are an error that names both, and so is a 'binary' with a 'ubinary'.",
        example: "> SELECT hamming_distance(quantize([1, -1], 'binary'), quantize([1, 1], 'binary'));\n1",
    },
    runs_model: false,
    stands_in: None,
    returns,
    values,
};

/// The type of the bytes in a list, NULL for NULL.
///
/// # Errors
/// [`SqlError::Statement`] for what is no list of bytes.
pub(super) fn item<'a>(function: &str, data_type: &'a DataType) -> Result<&'a DataType, SqlError> {
    match data_type {
        DataType::Null => Ok(data_type),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if matches!(item.data_type(), DataType::Int8 | DataType::UInt8) =>
        {
            Ok(item.data_type())
        }
        other => Err(SqlError::Statement(format!(
            "{function} takes vectors that quantize(…, 'binary') or 'ubinary' has packed, not {other}"
        ))),
    }
}

fn returns(call: &Planned<'_>) -> Result<DataType, SqlError> {
    call.refuse_two_models()?;
    let item = |position| item(call.name, call.type_of(position).unwrap_or(&DataType::Null));
    let (a, b) = (item(0)?, item(1)?);
    if a != b && !a.is_null() && !b.is_null() {
        let message = "hamming_distance can't compare a 'binary' vector with a 'ubinary' one";
        return Err(SqlError::Statement(message.into()));
    }
    Ok(DataType::Int64)
}

fn values(call: &Call<'_>) -> Result<ArrayRef> {
    let (a, b) = (call.array(0)?, call.array(1)?);
    let distance = |row| match (bytes(&a, row), bytes(&b, row)) {
        (Some(a), Some(b)) => hamming::distance(&a, &b)
            .map(|bits| i64::try_from(bits).ok())
            .map_err(|error| mismatch(call.name, error)),
        _ => Ok(None),
    };
    Ok(Arc::new((0..call.rows).map(distance).collect::<Result<Int64Array, SqlError>>()?))
}

/// The bytes of a row; `None` for NULL.
fn bytes(array: &ArrayRef, row: usize) -> Option<Vec<u8>> {
    if array.is_null(row) {
        return None;
    }
    let items = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(row),
        _ => return None,
    };
    if items.null_count() > 0 {
        return None;
    }
    match items.data_type() {
        DataType::UInt8 => Some(items.as_primitive::<UInt8Type>().values().to_vec()),
        _ => {
            Some(items.as_primitive::<Int8Type>().values().iter().map(|code| *code as u8).collect())
        }
    }
}
