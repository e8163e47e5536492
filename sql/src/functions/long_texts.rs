//! DataFusion's functions that make a long text of short ones, with a limit: no memory limit covers
//! what a function returns, and `repeat('a', 2000000000)` takes four times its length.
//!
//! - *Invariant:* the limit is checked before anything is allocated.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::error::Result;
use datafusion::functions::{string, unicode};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use crate::SqlError;

/// Bytes of the texts that one call may return for one batch of rows.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// All functions of this file.
pub(crate) fn functions() -> Vec<ScalarUDF> {
    [
        (string::repeat(), Length::Repeated),
        (string::replace(), Length::Replaced),
        (unicode::lpad(), Length::Padded),
        (unicode::rpad(), Length::Padded),
    ]
    .map(|(theirs, length)| ScalarUDF::from(Bounded { theirs, length }))
    .into()
}

/// How long a result can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Length {
    /// The first argument, as often as the second says.
    Repeated,
    /// The first argument, with each occurrence of the second replaced by the third.
    Replaced,
    /// As many characters as the second argument says.
    Padded,
}

impl Length {
    /// The bytes of the result for a row, at most; at least in order of magnitude where characters
    /// are counted.
    fn of(self, args: &[Argument], row: usize) -> usize {
        let bytes = |at: usize| args.get(at).map_or(0, |argument| argument.bytes(row));
        let count = || args.get(1).map_or(0, |argument| argument.count(row));
        match self {
            Self::Repeated => bytes(0).saturating_mul(count()),
            Self::Padded => count(),
            Self::Replaced => {
                let (text, wanted, given) = (bytes(0), bytes(1), bytes(2));
                // Between any two characters where nothing is looked for.
                let times = text.checked_div(wanted).unwrap_or(text.saturating_add(1));
                text.saturating_add(times.saturating_mul(given))
            }
        }
    }
}

/// An argument by rows: one for all of them, or one each.
struct Argument {
    values: ArrayRef,
    is_scalar: bool,
}

impl Argument {
    /// As texts, or as numbers.
    fn new(value: &ColumnarValue, wanted: &DataType) -> Result<Self> {
        let values = match value {
            ColumnarValue::Array(array) => cast(array, wanted)?,
            ColumnarValue::Scalar(scalar) => cast(&scalar.to_array_of_size(1)?, wanted)?,
        };
        Ok(Self { values, is_scalar: matches!(value, ColumnarValue::Scalar(_)) })
    }

    fn place(&self, row: usize) -> Option<usize> {
        let place = if self.is_scalar { 0 } else { row };
        (place < self.values.len() && self.values.is_valid(place)).then_some(place)
    }

    /// The bytes of a text; 0 for NULL.
    fn bytes(&self, row: usize) -> usize {
        let texts: Option<&StringViewArray> = self.values.as_string_view_opt();
        let place = texts.zip(self.place(row));
        place.map_or(0, |(texts, place)| texts.value(place).len())
    }

    /// A number that is not negative; 0 for NULL.
    fn count(&self, row: usize) -> usize {
        let numbers = self.values.as_primitive_opt::<Int64Type>().zip(self.place(row));
        numbers.map_or(0, |(numbers, place)| usize::try_from(numbers.value(place)).unwrap_or(0))
    }
}

/// A function of DataFusion with a limit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    theirs: Arc<ScalarUDF>,
    length: Length,
}

impl Bounded {
    /// Rejects what would be too long.
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let wanted = |at: usize| match (self.length, at) {
            (Length::Repeated | Length::Padded, 1) => DataType::Int64,
            _ => DataType::Utf8View,
        };
        let given = args.args.iter().enumerate();
        let given = given.map(|(at, value)| Argument::new(value, &wanted(at)));
        let given = given.collect::<Result<Vec<_>>>()?;
        let rows =
            if given.iter().all(|argument| argument.is_scalar) { 1 } else { args.number_rows };
        let lengths = (0..rows).map(|row| self.length.of(&given, row));
        let bytes = lengths.fold(0_usize, usize::saturating_add);
        if bytes <= TEXT_BYTES_MAX {
            return Ok(());
        }
        let (name, mib) = (self.name(), TEXT_BYTES_MAX >> 20);
        Err(SqlError::Resources(format!(
            "{name} would return {bytes} bytes for {rows} rows at once; the limit is {mib} MiB, so use shorter texts or fewer \
             rows at once (SET datafusion.execution.batch_size = …)"
        ))
        .into())
    }
}

impl ScalarUDFImpl for Bounded {
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
        self.theirs.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.theirs.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.theirs.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        self.theirs.invoke_with_args(args)
    }
}
