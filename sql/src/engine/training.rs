//! How models are trained in SQL: whoever makes an [`Engine`](super::Engine) hands over what does
//! it, since training stands above this crate.

use std::fmt::Debug;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use sembla_models::CancelToken;

use crate::SqlError;
use crate::query::Progress;

/// What trains models for `CREATE MODEL … AS SELECT …`.
pub trait Trainer: Debug + Send + Sync {
    /// What a statement asks for, from its options as they were written: everything that can be
    /// wrong without reading rows is an error here. `replaces` is whether what is at the place of
    /// the new model may be replaced.
    ///
    /// # Errors
    /// Options that are unknown or can't be, and places that can't be written to.
    fn plan(
        &self,
        name: &str,
        options: &[(String, String)],
        replaces: bool,
    ) -> Result<Box<dyn PlannedTraining>, SqlError>;
}

/// A training that has been asked for and is known to be possible.
pub trait PlannedTraining: Send + Sync {
    /// The query whose rows the model is measured on.
    fn eval(&self) -> Option<&str>;

    /// The model directory that will be written.
    fn target(&self) -> PathBuf;

    /// Trains on rows and writes the directory; gives a line that says what came of it. Blocks
    /// until the end.
    ///
    /// # Errors
    /// Rows that don't fit, those of the disk, and [`SqlError::Cancelled`].
    fn run(
        &self,
        data: &[RecordBatch],
        eval: Option<&[RecordBatch]>,
        cancel: &CancelToken,
        notice: &dyn Fn(&str),
        progress: &dyn Progress,
    ) -> Result<String, SqlError>;
}
