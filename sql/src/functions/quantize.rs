//! `quantize(vector, kind [, min] [, max])` and `hamming_distance(a, b)`: vectors of eight bits or
//! one bit a component.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, Int64Array, UInt8Array};
use arrow::array::{FixedSizeListArray, GenericListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Int8Type, UInt8Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};
use sembla_operators::quantize::{self, Ranges};

use super::declaration::{Declaration, Parameter};
use super::model_argument::{given_literal, planned_literal};
use super::vectors::{Shape, Vectors, item_field, list_size, mismatch};
use crate::SqlError;

const PARAMETERS: &[Parameter] = &[
    Parameter { name: "vector", about: "Vector: a list of numbers of any kind, read as f32." },
    Parameter { name: "kind", about: "Literal: 'int8', 'uint8', 'binary' or 'ubinary'." },
    Parameter {
        name: "min",
        about: "For int8 and uint8: vector of the least value of each component, such as vector_min gives. NULL is -1 for \
                each.",
    },
    Parameter {
        name: "max",
        about: "For int8 and uint8: vector of the greatest value of each component, such as vector_max gives. NULL is 1 for \
                each.",
    },
];

/// What a component becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int8,
    UInt8,
    Binary,
    UBinary,
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantize {
    declaration: Declaration,
}

/// The function.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::from(Quantize {
        declaration: Declaration::new(
            "quantize",
            PARAMETERS,
            2,
            "A vector in fewer bits, as sentence-transformers' quantize_embeddings makes it: 'uint8' and 'int8' map min..max \
             of each component to 0..255 or -128..127 in equal steps; what lies outside gets the nearest code. 'ubinary' and \
             'binary' keep one bit for each component, whether it is greater than 0, eight to a byte, the first on top, the \
             last byte filled up with zeros; 'binary' bytes are less 128. The result is a list of Int8 ('int8', 'binary') or \
             UInt8, of fixed size if the input is. NULL if the vector is NULL or holds a NULL. Ranges of another dimension \
             are an error that names both.",
            "> SELECT quantize([0.5, -0.5, 1.0], 'ubinary');\n[160]",
        ),
    })
}

impl Kind {
    fn parse(name: Option<&str>) -> Result<Self, SqlError> {
        match name {
            Some("int8") => Ok(Self::Int8),
            Some("uint8") => Ok(Self::UInt8),
            Some("binary") => Ok(Self::Binary),
            Some("ubinary") => Ok(Self::UBinary),
            other => Err(SqlError::Statement(format!(
                "quantize: kind '{}' is not known; use int8, uint8, binary or ubinary",
                other.unwrap_or("NULL")
            ))),
        }
    }

    fn item(self) -> DataType {
        match self {
            Self::Int8 | Self::Binary => DataType::Int8,
            Self::UInt8 | Self::UBinary => DataType::UInt8,
        }
    }

    /// Codes of a vector of so many components.
    fn codes(self, dimension: usize) -> usize {
        match self {
            Self::Int8 | Self::UInt8 => dimension,
            Self::Binary | Self::UBinary => quantize::packed_len(dimension),
        }
    }
}

/// The codes of some rows.
#[derive(Default)]
struct Codes {
    // Int8 codes are kept as the bytes that they are.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    valid: Vec<bool>,
}

impl Quantize {
    fn codes(
        &self,
        kind: Kind,
        vectors: &Vectors,
        min: Option<&Vectors>,
        max: Option<&Vectors>,
        rows: usize,
    ) -> Result<Codes, SqlError> {
        let mut codes = Codes::default();
        let mut ranges: Option<Ranges> = None;
        let constant = [min, max].into_iter().flatten().all(Vectors::is_scalar);
        for row in 0..rows {
            let vector = vectors.row(row);
            if let Some(vector) = vector {
                let known = ranges.take().filter(|known| {
                    constant
                        && (min.is_some() || max.is_some() || known.dimension() == vector.len())
                });
                let known = match known {
                    Some(known) => known,
                    None => row_ranges(vector.len(), min, max, row)?,
                };
                append(kind, &known, vector, &mut codes.bytes)?;
                ranges = Some(known);
            }
            codes.valid.push(vector.is_some());
            codes.ends.push(codes.bytes.len());
        }
        Ok(codes)
    }
}

/// The ranges for the vector of a row.
fn row_ranges(
    dimension: usize,
    min: Option<&Vectors>,
    max: Option<&Vectors>,
    row: usize,
) -> Result<Ranges, SqlError> {
    let given = |side: Option<&Vectors>, otherwise: f32| {
        let row = side.and_then(|side| side.row(row)).map(<[f32]>::to_vec);
        row.unwrap_or_else(|| vec![otherwise; dimension])
    };
    Ranges::new(&given(min, -1.0), &given(max, 1.0)).map_err(|error| mismatch("quantize", error))
}

fn append(
    kind: Kind,
    ranges: &Ranges,
    vector: &[f32],
    bytes: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let mut signed = Vec::new();
    match kind {
        Kind::UInt8 => ranges.uint8(vector, bytes),
        Kind::Int8 => ranges.int8(vector, &mut signed),
        Kind::UBinary => {
            quantize::ubinary(vector, bytes);
            Ok(())
        }
        Kind::Binary => {
            quantize::binary(vector, &mut signed);
            Ok(())
        }
    }
    .map_err(|error| mismatch("quantize", error))?;
    bytes.extend(signed.into_iter().map(|code| code as u8));
    Ok(())
}

impl Codes {
    /// The rows as an array of the planned type.
    fn into_array(mut self, result: &DataType) -> Result<ArrayRef> {
        let rows = self.valid.len();
        let nulls = Some(NullBuffer::from(std::mem::take(&mut self.valid)));
        match result {
            DataType::FixedSizeList(item, size) => {
                let bytes = self.spread(usize::try_from(*size).unwrap_or_default(), nulls.as_ref());
                let items = items(item.data_type(), bytes);
                let array = FixedSizeListArray::try_new_with_length(
                    Arc::clone(item),
                    *size,
                    items,
                    nulls,
                    rows,
                )?;
                Ok(Arc::new(array))
            }
            DataType::List(item) => {
                let mut start = 0;
                let lengths = self.ends.iter().map(|end| end - std::mem::replace(&mut start, *end));
                let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
                let items = items(item.data_type(), self.bytes);
                Ok(Arc::new(GenericListArray::try_new(Arc::clone(item), offsets, items, nulls)?))
            }
            other => Err(DataFusionError::Internal(format!("quantize can't give {other}"))),
        }
    }

    /// The codes with zeros where a row is NULL.
    fn spread(self, size: usize, nulls: Option<&NullBuffer>) -> Vec<u8> {
        let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else { return self.bytes };
        let mut given = self.bytes.chunks_exact(size.max(1));
        let mut out = Vec::with_capacity(nulls.len() * size);
        for valid in nulls {
            match valid.then(|| given.next()).flatten() {
                Some(codes) => out.extend_from_slice(codes),
                None => out.resize(out.len() + size, 0),
            }
        }
        out
    }
}

fn items(data_type: &DataType, bytes: Vec<u8>) -> ArrayRef {
    match data_type {
        DataType::UInt8 => Arc::new(UInt8Array::from(bytes)),
        _ => Arc::new(Int8Array::from_iter_values(bytes.into_iter().map(|byte| byte as i8))),
    }
}

impl ScalarUDFImpl for Quantize {
    fn name(&self) -> &str {
        self.declaration.name
    }

    fn signature(&self) -> &Signature {
        &self.declaration.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.declaration.documentation)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("the type of quantize depends on its arguments".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.declaration.check_count(args.arg_fields.len())?;
        let kind = Kind::parse(planned_literal("quantize: the kind", &args, 1)?)?;
        let shapes: Vec<Shape> = [0, 2, 3]
            .into_iter()
            .filter_map(|position| args.arg_fields.get(position))
            .map(|field| Shape::of(self.name(), field.data_type()))
            .collect::<Result<_, SqlError>>()?;
        let item = item_field(kind.item());
        let result = match shapes.first() {
            Some(Shape::Fixed(dimension)) => {
                DataType::FixedSizeList(item, list_size(kind.codes(*dimension))?)
            }
            _ => DataType::List(item),
        };
        Ok(Arc::new(Field::new(self.name(), result, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = Kind::parse(given_literal("quantize: the kind", &args.args, 1)?)?;
        let Some(vector) = args.args.first() else {
            return Err(DataFusionError::Internal("quantize takes a vector".into()));
        };
        let vectors = Vectors::new(vector)?;
        let min = args.args.get(2).map(Vectors::new).transpose()?;
        let max = args.args.get(3).map(Vectors::new).transpose()?;
        let all_scalar = [Some(&vectors), min.as_ref(), max.as_ref()]
            .into_iter()
            .flatten()
            .all(Vectors::is_scalar);
        let rows = if all_scalar { 1 } else { args.number_rows };
        let codes = self.codes(kind, &vectors, min.as_ref(), max.as_ref(), rows)?;
        let array = codes.into_array(args.return_type())?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

const PACKED: &[Parameter] = &[
    Parameter {
        name: "a",
        about: "Packed vector, as quantize(…, 'binary') or 'ubinary' gives it.",
    },
    Parameter { name: "b", about: "Packed vector of the same kind and size." },
];

/// The function `hamming_distance`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Hamming {
    declaration: Declaration,
}

/// The function `hamming_distance`.
pub(crate) fn hamming_distance() -> ScalarUDF {
    ScalarUDF::from(Hamming {
        declaration: Declaration::new(
            "hamming_distance",
            PACKED,
            2,
            "Number of bits in which two packed vectors differ, as Int64. NULL if one is NULL or holds a NULL. Vectors of \
             different size are an error that names both, and so is a 'binary' with a 'ubinary'.",
            "> SELECT hamming_distance(quantize([1, -1], 'binary'), quantize([1, 1], 'binary'));\n1",
        ),
    })
}

/// The type of the bytes in a list, NULL for NULL.
fn packed_item(data_type: &DataType) -> Result<&DataType, SqlError> {
    match data_type {
        DataType::Null => Ok(data_type),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if matches!(item.data_type(), DataType::Int8 | DataType::UInt8) =>
        {
            Ok(item.data_type())
        }
        other => Err(SqlError::Statement(format!(
            "hamming_distance takes vectors that quantize(…, 'binary') or 'ubinary' has packed, not {other}"
        ))),
    }
}

/// The bytes of a row; `None` for NULL.
fn packed_row(array: &ArrayRef, row: usize) -> Option<Vec<u8>> {
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

impl ScalarUDFImpl for Hamming {
    fn name(&self) -> &str {
        self.declaration.name
    }

    fn signature(&self) -> &Signature {
        &self.declaration.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.declaration.documentation)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.declaration.check_count(args.arg_fields.len())?;
        let items: Vec<&DataType> = args
            .arg_fields
            .iter()
            .map(|field| packed_item(field.data_type()))
            .filter(|item| !matches!(item, Ok(DataType::Null)))
            .collect::<Result<_, SqlError>>()?;
        if let [a, b] = items[..]
            && a != b
        {
            let message = "hamming_distance can't compare a 'binary' vector with a 'ubinary' one";
            return Err(SqlError::Statement(message.into()).into());
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Int64, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let [a, b] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("hamming_distance takes two vectors".into()));
        };
        let (a, b) = (a.to_array(rows)?, b.to_array(rows)?);
        let distance = |row| match (packed_row(&a, row), packed_row(&b, row)) {
            (Some(a), Some(b)) => sembla_operators::hamming::distance(&a, &b)
                .map(|bits| i64::try_from(bits).ok())
                .map_err(|error| mismatch("hamming_distance", error)),
            _ => Ok(None),
        };
        let array = (0..rows).map(distance).collect::<Result<Int64Array, SqlError>>()?;
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(array)))
    }
}
