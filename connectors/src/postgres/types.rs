//! Which type a column of rows has in PostgreSQL, and which columns of a table can take it.

use std::fmt;

use arrow::datatypes::{DataType, Field};
use sembla_runtime::{Error, Result};

use super::names::quoted;
use super::provenance::comment_of;

/// Components that pgvector stores in a `vector` and in a `halfvec`.
const DIMENSION_MAX: usize = 16_000;
/// Bits of a `bit` column.
const BITS_MAX: usize = 83_886_080;

/// How vectors are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VectorType {
    /// 32 bits a component.
    Vector,
    /// 16 bits a component.
    Halfvec,
    /// One bit a component: whether it is greater than 0.
    Bit,
}

/// The type of a column of a table. Dimensions are `None` where the column takes any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PgType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Json,
    Jsonb,
    Uuid,
    Vector(Option<usize>),
    Halfvec(Option<usize>),
    Bit(usize),
}

impl PgType {
    /// The type of a name in `pg_type`, with its modifier.
    pub(super) fn named(name: &str, modifier: i64) -> Option<Self> {
        let size = usize::try_from(modifier).ok().filter(|size| *size > 0);
        Some(match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "numeric" => Self::Numeric,
            "text" | "varchar" | "bpchar" | "citext" => Self::Text,
            "bytea" => Self::Bytea,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "uuid" => Self::Uuid,
            "vector" => Self::Vector(size),
            "halfvec" => Self::Halfvec(size),
            "bit" => Self::Bit(size?),
            _ => return None,
        })
    }

    /// Whether it is a type of pgvector.
    pub(super) fn needs_extension(self) -> bool {
        matches!(self, Self::Vector(_) | Self::Halfvec(_))
    }

    /// The operator class that an index for the cosine has; for bits, for differing ones.
    pub(super) fn operator_class(self) -> Option<&'static str> {
        match self {
            Self::Vector(_) => Some("vector_cosine_ops"),
            Self::Halfvec(_) => Some("halfvec_cosine_ops"),
            Self::Bit(_) => Some("bit_hamming_ops"),
            _ => None,
        }
    }

    /// The type for statements. `extension` is the schema that pgvector is in.
    pub(super) fn sql(self, extension: Option<&str>) -> String {
        match extension.filter(|_| self.needs_extension()) {
            Some(schema) => format!("{}.{self}", quoted(schema)),
            None => self.to_string(),
        }
    }
}

/// The type as PostgreSQL shows it.
impl fmt::Display for PgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Uuid => "uuid",
            Self::Vector(None) => "vector",
            Self::Halfvec(None) => "halfvec",
            Self::Vector(Some(dimension)) => return write!(f, "vector({dimension})"),
            Self::Halfvec(Some(dimension)) => return write!(f, "halfvec({dimension})"),
            Self::Bit(bits) => return write!(f, "bit({bits})"),
        };
        f.write_str(name)
    }
}

/// What a column of rows holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Float4,
    Float8,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp {
        /// Whether its times are moments, not clock faces.
        has_zone: bool,
    },
    /// Vectors of floats, all of that dimension if it is known.
    Vectors(Option<usize>),
    /// Vectors of bits, eight to a byte.
    Packed(usize),
    /// Objects and lists.
    Nested,
}

impl Kind {
    /// What a type holds; `None` for one that no table has a form for.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        let dimension = |size: &i32| usize::try_from(*size).ok();
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            data_type if data_type.is_integer() => Self::Int,
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Decimal,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Self::Text
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytes,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, zone) => Self::Timestamp { has_zone: zone.is_some() },
            DataType::Dictionary(_, values) => return Self::of(values),
            DataType::FixedSizeList(item, size) if item.data_type().is_floating() => {
                Self::Vectors(dimension(size))
            }
            DataType::FixedSizeList(item, size)
                if matches!(item.data_type(), DataType::UInt8 | DataType::Int8) =>
            {
                Self::Packed(dimension(size)?)
            }
            DataType::List(item) | DataType::LargeList(item) if item.data_type().is_floating() => {
                Self::Vectors(None)
            }
            DataType::FixedSizeList(..)
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::Struct(_)
            | DataType::Map(..) => Self::Nested,
            _ => return None,
        })
    }

    /// The type of a column that is made for it.
    pub(super) fn natural(self, data_type: &DataType, vectors: VectorType) -> PgType {
        match self {
            Self::Bool => PgType::Bool,
            Self::Int => match data_type {
                DataType::Int8 | DataType::UInt8 | DataType::Int16 => PgType::Int2,
                DataType::UInt16 | DataType::Int32 => PgType::Int4,
                _ => PgType::Int8,
            },
            Self::Float4 => PgType::Float4,
            Self::Float8 => PgType::Float8,
            Self::Decimal => PgType::Numeric,
            Self::Text => PgType::Text,
            Self::Bytes => PgType::Bytea,
            Self::Date => PgType::Date,
            Self::Time => PgType::Time,
            Self::Timestamp { has_zone: true } => PgType::TimestampTz,
            Self::Timestamp { has_zone: false } => PgType::Timestamp,
            Self::Vectors(Some(dimension)) => match vectors {
                VectorType::Vector => PgType::Vector(Some(dimension)),
                VectorType::Halfvec => PgType::Halfvec(Some(dimension)),
                VectorType::Bit => PgType::Bit(dimension),
            },
            Self::Packed(bytes) if vectors == VectorType::Bit => {
                PgType::Bit(bytes.saturating_mul(8))
            }
            Self::Vectors(None) | Self::Packed(_) | Self::Nested => PgType::Jsonb,
        }
    }

    /// Whether a column of that type can take it. Dimensions that differ don't fit.
    pub(super) fn fits(self, column: PgType) -> bool {
        let same = |own: Option<usize>, other: Option<usize>| {
            own.zip(other).is_none_or(|(own, other)| own == other)
        };
        match (self, column) {
            (Self::Bool, PgType::Bool)
            | (Self::Int, PgType::Int2 | PgType::Int4 | PgType::Int8)
            | (Self::Float4 | Self::Float8, PgType::Float4 | PgType::Float8)
            | (Self::Decimal, PgType::Numeric)
            | (Self::Text, PgType::Text | PgType::Json | PgType::Jsonb | PgType::Uuid)
            | (Self::Bytes, PgType::Bytea | PgType::Uuid)
            | (Self::Date, PgType::Date)
            | (Self::Time, PgType::Time)
            | (Self::Timestamp { .. }, PgType::Timestamp | PgType::TimestampTz)
            | (Self::Vectors(_) | Self::Packed(_) | Self::Nested, PgType::Json | PgType::Jsonb) => {
                true
            }
            (Self::Vectors(own), PgType::Vector(other) | PgType::Halfvec(other)) => {
                same(own, other)
            }
            (Self::Vectors(own), PgType::Bit(bits)) => same(own, Some(bits)),
            (Self::Packed(bytes), PgType::Bit(bits)) => bytes.checked_mul(8) == Some(bits),
            _ => false,
        }
    }
}

/// A column of rows, and the type that it has in the table.
#[derive(Clone, Debug)]
pub(super) struct RowColumn {
    /// Its name.
    pub(super) name: String,
    /// What it holds.
    pub(super) kind: Kind,
    /// The type in the table.
    pub(super) pg: PgType,
    /// Its place among the columns of the rows.
    pub(super) place: usize,
    /// What is known of where its vectors come from, in a sentence.
    pub(super) comment: Option<String>,
}

impl RowColumn {
    /// The column that is made for a field.
    ///
    /// # Errors
    /// [`Error::Option`] for a type that no table has a form for, and too many dimensions.
    pub(super) fn new(place: usize, field: &Field, vectors: VectorType) -> Result<Self> {
        let (name, data_type) = (field.name(), field.data_type());
        super::names::check_name("the column", name)?;
        let kind = Kind::of(data_type).ok_or_else(|| {
            Error::Option(format!(
                "column '{name}' has the type {data_type}, which a table of postgres has no form for; cast it, \
                 for instance to VARCHAR"
            ))
        })?;
        let pg = kind.natural(data_type, vectors);
        let (size, most) = match pg {
            PgType::Vector(size) | PgType::Halfvec(size) => (size, DIMENSION_MAX),
            PgType::Bit(bits) => (Some(bits), BITS_MAX),
            _ => (None, 0),
        };
        if let Some(size) = size.filter(|size| !(1..=most).contains(size)) {
            return Err(Error::Option(format!(
                "column '{name}' has vectors of {size} dimensions, and pgvector stores 1 to {most}"
            )));
        }
        Ok(Self { name: name.clone(), kind, pg, place, comment: comment_of(field) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn vectors(dimension: i32) -> DataType {
        DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Float32, true)), dimension)
    }

    #[test]
    fn columns_are_made_as_the_rows_have_them() {
        let made = |data_type: DataType, vectors| {
            let field = Field::new("c", data_type, true);
            RowColumn::new(0, &field, vectors).map(|column| column.pg.to_string())
        };
        let made_with = |data_type, how| made(data_type, how).expect("a type");
        assert_eq!(made_with(vectors(256), VectorType::Vector), "vector(256)");
        assert_eq!(made_with(vectors(256), VectorType::Halfvec), "halfvec(256)");
        assert_eq!(made_with(vectors(256), VectorType::Bit), "bit(256)");
        assert_eq!(made_with(DataType::UInt32, VectorType::Vector), "bigint");
        let bytes = Arc::new(Field::new("item", DataType::UInt8, true));
        let packed = DataType::FixedSizeList(bytes, 32);
        assert_eq!(made_with(packed.clone(), VectorType::Bit), "bit(256)");
        assert_eq!(made_with(packed, VectorType::Vector), "jsonb");
        let error = made(vectors(20_000), VectorType::Vector).expect_err("too many").to_string();
        assert!(error.contains("20000 dimensions"), "{error}");
        assert!(made(vectors(0), VectorType::Vector).is_err());
    }

    #[test]
    fn what_fits_a_column_is_of_its_kind_and_dimension() {
        let vectors = Kind::Vectors(Some(3));
        assert!(vectors.fits(PgType::Vector(Some(3))) && vectors.fits(PgType::Vector(None)));
        assert!(vectors.fits(PgType::Halfvec(Some(3))) && vectors.fits(PgType::Bit(3)));
        assert!(!vectors.fits(PgType::Vector(Some(4))) && !vectors.fits(PgType::Text));
        assert!(Kind::Int.fits(PgType::Int2) && !Kind::Int.fits(PgType::Text));
        assert!(Kind::Packed(2).fits(PgType::Bit(16)) && !Kind::Packed(2).fits(PgType::Bit(2)));
    }

    #[test]
    fn the_schema_of_the_extension_stands_before_its_types() {
        assert_eq!(PgType::Vector(Some(3)).sql(Some("ext")), "\"ext\".vector(3)");
        assert_eq!(PgType::Int8.sql(Some("ext")), "bigint");
    }
}
