//! `quantize(vector, kind [, min] [, max])`: vectors of eight bits or one bit a component.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, GenericListArray, Int8Array, UInt8Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use sembla_operators::quantize::{self, Ranges};

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::{Call, Planned, ScalarDef};
use crate::SqlError;
use crate::columns::vectors::{Shape, Vectors, item_field, list_size, mismatch};

pub(super) static QUANTIZE: ScalarDef = ScalarDef {
    declaration: Declaration {
        name: "quantize",
        aliases: &[],
        parameters: &[
            Parameter {
                name: "vector",
                takes: Takes::Vector,
                about: "Vector: a list of numbers of any kind, read as f32.",
            },
            Parameter {
                name: "kind",
                takes: Takes::Literal,
                about: "Literal: 'int8', 'uint8', 'binary' or 'ubinary'.",
            },
            Parameter {
                name: "min",
                takes: Takes::Vector,
                about: "For int8 and uint8: vector of the least value of each component, such as vector_min gives. NULL is -1 for \
                        each.",
            },
            Parameter {
                name: "max",
                takes: Takes::Vector,
                about: "For int8 and uint8: vector of the greatest value of each component, such as vector_max gives. NULL is 1 for \
                        each.",
            },
        ],
        required: 2,
        about: "A vector in fewer bits, as sentence-transformers' quantize_embeddings makes it: 'uint8' and 'int8' map min..max \
                of each component to 0..255 or -128..127 in equal steps; what lies outside gets the nearest code. 'ubinary' and \
                'binary' keep one bit for each component, whether it is greater than 0, eight to a byte, the first on top, the \
                last byte filled up with zeros; 'binary' bytes are less 128. The result is a list of Int8 ('int8', 'binary') or \
                UInt8, of fixed size if the input is. NULL if the vector is NULL or holds a NULL or a NaN. Ranges of another \
                dimension are an error that names both.",
        example: "> SELECT quantize([0.5, -0.5, 1.0], 'ubinary');\n[160]",
    },
    runs_model: false,
    stands_in: None,
    returns,
    values,
};

/// What the messages call the argument.
const KIND: &str = "quantize: the kind";

/// What a component becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Int8,
    UInt8,
    Binary,
    UBinary,
}

fn returns(call: &Planned<'_>) -> Result<DataType, SqlError> {
    let kind = Coding::parse(call.literal(KIND, 1)?.flatten())?;
    let item = item_field(kind.item());
    call.says(call.provenance(0));
    match Shape::of(call.name, call.type_of(0).unwrap_or(&DataType::Null))? {
        Shape::Fixed(dimension) => {
            Ok(DataType::FixedSizeList(item, list_size(kind.codes(dimension))?))
        }
        _ => Ok(DataType::List(item)),
    }
}

fn values(call: &Call<'_>) -> Result<ArrayRef> {
    let kind = Coding::parse(call.literal(KIND, 1)?.flatten())?;
    let vectors = call.vectors(0)?;
    let (min, max) = (call.optional_vectors(2)?, call.optional_vectors(3)?);
    codes(kind, &vectors, min.as_ref(), max.as_ref(), call.rows)?.into_array(call.result())
}

impl Coding {
    fn parse(name: Option<&str>) -> Result<Self, SqlError> {
        match name {
            Some("int8") => Ok(Self::Int8),
            Some("uint8") => Ok(Self::UInt8),
            Some("binary") => Ok(Self::Binary),
            Some("ubinary") => Ok(Self::UBinary),
            other => Err(SqlError::Statement(format!(
                "quantize: kind must be int8, uint8, binary or ubinary, got '{}'",
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

/// The codes of so many rows.
fn codes(
    kind: Coding,
    vectors: &Vectors,
    min: Option<&Vectors>,
    max: Option<&Vectors>,
    rows: usize,
) -> Result<Codes, SqlError> {
    let mut codes = Codes::default();
    let mut ranges: Option<Ranges> = None;
    let constant = [min, max].into_iter().flatten().all(Vectors::is_scalar);
    for row in 0..rows {
        // Not a number has no code.
        let vector = vectors.row(row).filter(|vector| !vector.iter().any(|x| x.is_nan()));
        if let Some(vector) = vector {
            let known = ranges.take().filter(|known| {
                constant && (min.is_some() || max.is_some() || known.dimension() == vector.len())
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
    kind: Coding,
    ranges: &Ranges,
    vector: &[f32],
    bytes: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let mut signed = Vec::new();
    match kind {
        Coding::UInt8 => ranges.uint8(vector, bytes),
        Coding::Int8 => ranges.int8(vector, &mut signed),
        Coding::UBinary => {
            quantize::ubinary(vector, bytes);
            Ok(())
        }
        Coding::Binary => {
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
