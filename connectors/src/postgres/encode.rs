//! Rows as the binary form of COPY.
//!
//! - *Invariant:* a row that has no form is [`Error::Data`] of the whole call, and nothing of it is
//!   sent; the runtime halves the rows until it is alone.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeBinaryArray, LargeStringArray, RecordBatch,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Int16Type, Schema, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use bytes::{BufMut, Bytes};
use half::f16;
use sembla_runtime::{Error, Result};

use super::numeric::put_numeric;
use super::types::{Kind, PgType, RowColumn};
use crate::formats::json_lines;

/// What every COPY in binary form begins with: a signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Days and microseconds from 1970 to 2000, where PostgreSQL counts from.
pub(super) const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_US: i64 = 946_684_800_000_000;

/// What came of writing one value: why it has no form, if it has none.
type Put = std::result::Result<(), String>;

/// Rows with these columns, and behind them the number of each row if the first is given.
///
/// # Errors
/// [`Error::Data`] for a value that its column can't hold.
pub(super) fn copy_of(
    rows: &RecordBatch,
    columns: &[RowColumn],
    first_number: Option<i64>,
) -> Result<Vec<u8>> {
    let values = columns
        .iter()
        .map(|column| {
            let array = rows.columns().get(column.place);
            let array = array.ok_or_else(|| Error::Bug(format!("no column '{}'", column.name)))?;
            Values::of(array, column)
        })
        .collect::<Result<Vec<_>>>()?;
    let fields = columns.len() + usize::from(first_number.is_some());
    let fields = i16::try_from(fields)
        .map_err(|_| Error::Option("a table of postgres has no room for so many columns".into()))?;
    let mut out = Vec::with_capacity(rows.get_array_memory_size() + rows.num_rows() * 16);
    out.put_slice(HEADER);
    for row in 0..rows.num_rows() {
        out.put_i16(fields);
        for (values, column) in values.iter().zip(columns) {
            values.put(row, column, &mut out)?;
        }
        if let Some(first) = first_number {
            out.put_i32(8);
            out.put_i64(first.saturating_add_unsigned(row as u64));
        }
    }
    out.put_i16(-1);
    Ok(out)
}

/// The values of a column in one of few forms.
enum Values {
    Bool(BooleanArray),
    Int(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Text(LargeStringArray),
    Bytes(LargeBinaryArray),
    /// Days since 1970.
    Days(Int32Array),
    /// Microseconds since midnight.
    Time(Int64Array),
    /// Microseconds since 1970.
    Timestamp(Int64Array),
    /// Vectors, or bytes of bits, by the lists that they are.
    Vectors(Lists<Float32Array>),
    Packed(Lists<arrow::array::Int16Array>),
    /// A line of JSON for each row; NULLs as in the array.
    Json(Vec<Bytes>, ArrayRef),
}

/// Lists with all of their values in a row.
struct Lists<A> {
    array: ArrayRef,
    values: A,
}

impl Values {
    fn of(array: &ArrayRef, column: &RowColumn) -> Result<Self> {
        let array = match array.data_type() {
            DataType::Dictionary(_, values) => exactly(array, values)?,
            _ => Arc::clone(array),
        };
        if matches!(column.pg, PgType::Json | PgType::Jsonb) && column.kind != Kind::Text {
            return json(&array);
        }
        let cast = |to: &DataType| exactly(&array, to).map_err(|error| in_column(column, &error));
        let micros = TimeUnit::Microsecond;
        Ok(match column.kind {
            Kind::Bool => Self::Bool(cast(&DataType::Boolean)?.as_boolean().clone()),
            Kind::Int => Self::Int(cast(&DataType::Int64)?.as_primitive().clone()),
            Kind::Float4 => Self::Float4(cast(&DataType::Float32)?.as_primitive().clone()),
            Kind::Float8 => Self::Float8(cast(&DataType::Float64)?.as_primitive().clone()),
            Kind::Decimal | Kind::Text => {
                Self::Text(cast(&DataType::LargeUtf8)?.as_string().clone())
            }
            Kind::Bytes => Self::Bytes(cast(&DataType::LargeBinary)?.as_binary().clone()),
            Kind::Date => {
                Self::Days(cast(&DataType::Date32)?.as_primitive::<Date32Type>().reinterpret_cast())
            }
            Kind::Time => {
                let times = cast(&DataType::Time64(micros))?;
                Self::Time(times.as_primitive::<Time64MicrosecondType>().reinterpret_cast())
            }
            Kind::Timestamp { .. } => {
                let times = cast(&DataType::Timestamp(micros, None))?;
                let times = times.as_primitive::<TimestampMicrosecondType>().reinterpret_cast();
                Self::Timestamp(times)
            }
            Kind::Vectors(_) => Self::Vectors(Lists {
                values: exactly(&inner(&array)?, &DataType::Float32)?
                    .as_primitive::<Float32Type>()
                    .clone(),
                array,
            }),
            Kind::Packed(_) => Self::Packed(Lists {
                values: exactly(&inner(&array)?, &DataType::Int16)?
                    .as_primitive::<Int16Type>()
                    .clone(),
                array,
            }),
            Kind::Nested => return json(&array),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bool(array) => array.is_null(row),
            Self::Int(array) | Self::Time(array) | Self::Timestamp(array) => array.is_null(row),
            Self::Float4(array) => array.is_null(row),
            Self::Float8(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Days(array) => array.is_null(row),
            Self::Vectors(Lists { array, .. }) | Self::Packed(Lists { array, .. }) => {
                array.is_null(row)
            }
            Self::Json(_, array) => array.is_null(row),
        }
    }

    /// One value, with its length before it.
    fn put(&self, row: usize, column: &RowColumn, out: &mut Vec<u8>) -> Result<()> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        self.put_bytes(row, column.pg, out).map_err(|why| in_column(column, &why))?;
        let length = i32::try_from(out.len() - start - 4)
            .map_err(|_| in_column(column, &"a value has more than 2 GiB"))?;
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }

    /// The bytes of one value.
    fn put_bytes(&self, row: usize, pg: PgType, out: &mut Vec<u8>) -> Put {
        match self {
            Self::Bool(array) => out.put_u8(array.value(row).into()),
            Self::Int(array) => put_int(array.value(row), pg, out)?,
            Self::Float4(array) => put_float(array.value(row).into(), pg, out),
            Self::Float8(array) => put_float(array.value(row), pg, out),
            Self::Text(array) => put_text(array.value(row), pg, out)?,
            Self::Bytes(array) => match array.value(row) {
                bytes if pg == PgType::Uuid && bytes.len() != 16 => {
                    return Err(format!("{} bytes are no uuid", bytes.len()));
                }
                bytes => out.put_slice(bytes),
            },
            Self::Days(array) => {
                let days =
                    array.value(row).checked_sub(EPOCH_DAYS).ok_or("a date is out of range")?;
                out.put_i32(days);
            }
            Self::Time(array) => out.put_i64(array.value(row)),
            Self::Timestamp(array) => {
                let time =
                    array.value(row).checked_sub(EPOCH_US).ok_or("a time is out of range")?;
                out.put_i64(time);
            }
            Self::Vectors(lists) => {
                let (start, end) = bounds(&lists.array, row);
                let values = lists.values.slice(start, end - start);
                if values.null_count() > 0 {
                    return Err("a vector has a component that is NULL".into());
                }
                put_vector(values.values(), pg, out)?;
            }
            Self::Packed(lists) => {
                let (start, end) = bounds(&lists.array, row);
                let bits = i32::try_from((end - start) * 8).unwrap_or(i32::MAX);
                out.put_i32(bits);
                // Signed bytes of quantize(…, 'binary') are the unsigned ones less 128.
                let is_signed = is_signed(&lists.array);
                let shift = if is_signed { 128 } else { 0 };
                let bytes = lists.values.values().get(start..end).unwrap_or_default();
                out.extend(bytes.iter().map(|byte| u8::try_from(byte + shift).unwrap_or_default()));
            }
            Self::Json(lines, _) => {
                if pg == PgType::Jsonb {
                    out.put_u8(1);
                }
                out.put_slice(lines.get(row).ok_or("a row has no JSON")?);
            }
        }
        Ok(())
    }
}

fn put_int(value: i64, pg: PgType, out: &mut Vec<u8>) -> Put {
    let too_large = |_| format!("{value} is out of the range of {pg}");
    match pg {
        PgType::Int2 => out.put_i16(i16::try_from(value).map_err(too_large)?),
        PgType::Int4 => out.put_i32(i32::try_from(value).map_err(too_large)?),
        _ => out.put_i64(value),
    }
    Ok(())
}

fn put_float(value: f64, pg: PgType, out: &mut Vec<u8>) {
    match pg {
        // The nearest one, as every cast to f32 gives it.
        PgType::Float4 => out.put_f32(value as f32),
        _ => out.put_f64(value),
    }
}

fn put_text(text: &str, pg: PgType, out: &mut Vec<u8>) -> Put {
    match pg {
        PgType::Numeric => return put_numeric(text, out),
        PgType::Uuid => {
            let id =
                uuid_of(text).ok_or_else(|| format!("'{}' is no uuid", text.escape_debug()))?;
            out.put_slice(&id);
            return Ok(());
        }
        PgType::Jsonb => out.put_u8(1),
        _ => {}
    }
    if text.contains('\0') {
        return Err("a text has the character U+0000, which postgres does not store".into());
    }
    out.put_slice(text.as_bytes());
    Ok(())
}

fn put_vector(values: &[f32], pg: PgType, out: &mut Vec<u8>) -> Put {
    let (PgType::Vector(wanted) | PgType::Halfvec(wanted)) = pg else {
        return put_signs(values, pg, out);
    };
    if let Some(wanted) = wanted.filter(|wanted| *wanted != values.len()) {
        return Err(format!(
            "a vector of {} dimensions does not fit {pg}: {wanted} are needed",
            values.len()
        ));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err("a vector has a component that is no finite number".into());
    }
    let dimension = u16::try_from(values.len()).map_err(|_| "a vector has too many dimensions")?;
    out.put_u16(dimension);
    out.put_u16(0);
    match pg {
        PgType::Halfvec(_) => {
            for value in values {
                let half = f16::from_f32(*value);
                if half.is_infinite() {
                    return Err(format!("{value} is out of the range of halfvec"));
                }
                out.put_u16(half.to_bits());
            }
        }
        _ => values.iter().for_each(|value| out.put_f32(*value)),
    }
    Ok(())
}

/// One bit for each component, whether it is greater than 0, the first on top.
fn put_signs(values: &[f32], pg: PgType, out: &mut Vec<u8>) -> Put {
    let PgType::Bit(bits) = pg else { return Err(format!("a vector does not fit {pg}")) };
    if bits != values.len() {
        return Err(format!("a vector of {} dimensions does not fit {pg}", values.len()));
    }
    out.put_i32(i32::try_from(bits).map_err(|_| "a vector has too many dimensions")?);
    for eight in values.chunks(8) {
        let ones = eight.iter().enumerate().filter(|(_, value)| **value > 0.0);
        out.put_u8(ones.fold(0, |byte, (place, _)| byte | (0x80 >> place)));
    }
    Ok(())
}

/// The 16 bytes of a UUID, with hyphens or without.
fn uuid_of(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let is_whole = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_whole.then(|| u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes))?
}

/// Each value as JSON.
fn json(array: &ArrayRef) -> Result<Values> {
    /// What stands around the value in the line of an object that has it alone.
    const BEFORE: &[u8] = b"{\"c\":";
    let field = Field::new("c", array.data_type().clone(), true);
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(array)])?;
    let lines = json_lines(&rows)?;
    let mut values = Vec::with_capacity(rows.num_rows());
    let mut start = 0;
    // A line break inside of a text is written as an escape.
    for (end, _) in lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        let line = lines.slice(start..end);
        let is_value = line.starts_with(BEFORE) && line.ends_with(b"}");
        values.push(match is_value {
            true => line.slice(BEFORE.len()..line.len() - 1),
            false => Bytes::from_static(b"null"),
        });
        start = end + 1;
    }
    Ok(Values::Json(values, Arc::clone(array)))
}

/// The array in another type; a value that is out of its range is an error, not NULL.
fn exactly(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, to, &options)?)
}

/// The values of lists.
fn inner(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::FixedSizeList(..) => Arc::clone(array.as_fixed_size_list().values()),
        DataType::LargeList(_) => Arc::clone(array.as_list::<i64>().values()),
        DataType::List(_) => Arc::clone(array.as_list::<i32>().values()),
        other => return Err(Error::Bug(format!("{other} is no list"))),
    })
}

/// Where the values of one list begin and end.
fn bounds(array: &ArrayRef, row: usize) -> (usize, usize) {
    match array.data_type() {
        DataType::FixedSizeList(..) => {
            let lists = array.as_fixed_size_list();
            let size = usize::try_from(lists.value_length()).unwrap_or_default();
            (row * size, (row + 1) * size)
        }
        DataType::LargeList(_) => ends(array.as_list::<i64>().value_offsets(), row),
        _ => ends(array.as_list::<i32>().value_offsets(), row),
    }
}

fn ends<T: Copy + TryInto<usize>>(offsets: &[T], row: usize) -> (usize, usize) {
    let at = |place: usize| offsets.get(place).and_then(|end| (*end).try_into().ok());
    let start = at(row).unwrap_or_default();
    (start, at(row + 1).unwrap_or(start))
}

fn is_signed(array: &ArrayRef) -> bool {
    matches!(array.data_type(), DataType::FixedSizeList(item, _) if *item.data_type() == DataType::Int8)
}

fn in_column(column: &RowColumn, why: &dyn std::fmt::Display) -> Error {
    Error::Data(format!("column '{}': {why}", column.name))
}
