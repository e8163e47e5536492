//! Image arguments of functions: bytes of files, or texts that are paths of files.
//!
//! Files are read in groups that are bounded by their bytes, so a batch of thousands of paths does
//! not hold thousands of photos.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ColumnarValue;
use sembla_models::images::{FILE_BYTES_MAX, ImageError};
use sembla_readers::{LocalFile, Open};

use super::texts::Texts;
use crate::SqlError;

/// Bytes of files that are held together; one file may be larger.
const GROUP_BYTES_MAX: usize = 128 << 20;

/// Files that are held together.
const GROUP_FILES_MAX: usize = 256;

/// A column of images, or one that stands for every row.
pub(crate) enum Images {
    /// The bytes of files.
    Bytes {
        /// Of type Binary, LargeBinary or BinaryView.
        array: ArrayRef,
        /// Whether the array's one row stands for all.
        is_scalar: bool,
    },
    /// Paths of files.
    Paths(Texts),
}

/// The image of a row: its bytes, or why there are none.
type Loaded<'a> = Result<Cow<'a, [u8]>, Unusable>;

/// Why an image can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// The path, where there is one.
    pub(crate) path: Option<String>,
    pub(crate) problem: String,
}

impl Unusable {
    /// What is wrong with the image of a row.
    pub(crate) fn of(images: &Images, row: usize, problem: &ImageError) -> Self {
        let path = match images {
            Images::Paths(paths) => paths.row(row).map(str::to_string),
            Images::Bytes { .. } => None,
        };
        Self { path, problem: problem.to_string() }
    }

    /// The error of a function whose images must all be usable; `hint` says what else it can do. A
    /// stream rejects the row and goes on.
    pub(crate) fn error(&self, function: &str, hint: &str) -> SqlError {
        let what = match &self.path {
            Some(path) => format!("'{path}'"),
            None => "a value".to_string(),
        };
        SqlError::Data(format!("{function}: {what} {}; {hint}", self.problem))
    }
}

/// Checks that an argument is an image.
///
/// # Errors
/// [`SqlError::Statement`] with the function and the type.
pub(crate) fn check_image(function: &str, data_type: &DataType) -> Result<(), SqlError> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Ok(()),
        other if is_bytes(other) => Ok(()),
        DataType::Dictionary(_, values) => check_image(function, values),
        other => Err(SqlError::Statement(format!(
            "{function} takes the bytes of an image or the path of its file, not {other}"
        ))),
    }
}

/// Whether a type is of bytes.
pub(crate) fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

impl Images {
    /// Reads an argument whose type [`check_image`] has passed.
    ///
    /// # Errors
    /// When the type is none of bytes or text.
    pub(crate) fn new(value: &ColumnarValue) -> Result<Self, DataFusionError> {
        let (array, is_scalar) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let array = match array.data_type() {
            DataType::Dictionary(_, values) if is_bytes(values) => cast(&array, values)?,
            DataType::Null => new_null_array(&DataType::Binary, array.len()),
            DataType::FixedSizeBinary(_) => cast(&array, &DataType::Binary)?,
            _ => array,
        };
        match is_bytes(array.data_type()) {
            true => Ok(Self::Bytes { array, is_scalar }),
            false => Texts::new(value).map(Self::Paths),
        }
    }

    /// Calls `use_group` with groups of rows that are not NULL and their bytes, then with what
    /// could not be read; every such row comes once, groups in order.
    ///
    /// # Errors
    /// What `use_group` gives.
    pub(crate) fn in_groups(
        &self,
        rows: usize,
        mut use_group: impl FnMut(&[(usize, Loaded<'_>)]) -> Result<(), DataFusionError>,
    ) -> Result<(), DataFusionError> {
        let mut group: Vec<(usize, Loaded<'_>)> = Vec::new();
        let mut held = 0;
        for row in 0..rows {
            let Some(image) = self.row(row) else { continue };
            held += image.as_ref().map_or(0, |bytes| bytes.len());
            group.push((row, image));
            if held >= GROUP_BYTES_MAX || group.len() >= GROUP_FILES_MAX {
                use_group(&group)?;
                group.clear();
                held = 0;
            }
        }
        if group.is_empty() { Ok(()) } else { use_group(&group) }
    }

    /// The image of a row; `None` for NULL.
    fn row(&self, row: usize) -> Option<Loaded<'_>> {
        match self {
            Self::Paths(paths) => paths.row(row).map(|path| read(path).map(Cow::Owned)),
            Self::Bytes { array, is_scalar } => {
                let row = if *is_scalar { 0 } else { row };
                if array.is_null(row) {
                    return None;
                }
                let bytes = match array.data_type() {
                    DataType::Binary => array.as_binary::<i32>().value(row),
                    DataType::LargeBinary => array.as_binary::<i64>().value(row),
                    _ => array.as_binary_view().value(row),
                };
                Some(Ok(Cow::Borrowed(bytes)))
            }
        }
    }
}

/// The bytes of a file of this machine.
fn read(path: &str) -> Result<Vec<u8>, Unusable> {
    if path.contains("://") && !path.starts_with("file://") {
        let problem = "is not a path on this machine; read_images reads addresses".into();
        return Err(Unusable { path: Some(path.to_string()), problem });
    }
    read_file(&LocalFile::new(path.strip_prefix("file://").unwrap_or(path)))
}

/// The bytes of a file, no more than an image may have.
pub(crate) fn read_file(file: &dyn Open) -> Result<Vec<u8>, Unusable> {
    let fail = |problem: String| Unusable { path: Some(file.name().to_string()), problem };
    let opened = file.open(0).map_err(|error| fail(format!("can't be opened: {error}")))?;
    let mut bytes = Vec::new();
    opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(format!("can't be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fail(ImageError::FileTooLarge(bytes.len() as u64).to_string()));
    }
    Ok(bytes)
}
