//! Records one after another, whatever their format.

use crate::error::{Error, Result};

use super::columns::Columns;

/// Where a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its number among the rows of the file, from 0.
    pub(crate) row: u64,
    /// The line on which it begins, from 1.
    pub(crate) line: u64,
    /// Bytes before it in the text.
    pub(crate) offset: u64,
}

/// What came next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record, to be taken with [`Records::append`].
    Record,
    /// Something that is no record; [`Records::bytes`] has it. Reading can go on behind it.
    Bad(Fault),
    /// The end of the file or range.
    End,
}

/// Why a record can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong, without the name of the file: `row 41 (line 56) has 3 columns, the header 7`.
    pub(crate) what: String,
    /// Whether a limit was exceeded.
    pub(crate) is_limit: bool,
}

impl Fault {
    pub(crate) fn data(what: String) -> Self {
        Self { what, is_limit: false }
    }

    pub(crate) fn limit(what: String) -> Self {
        Self { what, is_limit: true }
    }

    /// As one line that names the file.
    pub(crate) fn message(&self, file: &str) -> String {
        format!("file '{file}': {}", self.what)
    }

    /// As the error that ends reading.
    pub(crate) fn into_error(self, file: &str) -> Error {
        let message = self.message(file);
        if self.is_limit { Error::Limit(message) } else { Error::Data(message) }
    }
}

/// The records of a file, or of a range of it.
pub(crate) trait Records: Send {
    /// Moves to the next record.
    ///
    /// # Errors
    /// What can't be read past: a failing disk, damaged compression, a request to stop.
    fn next(&mut self) -> Result<Step>;

    /// Where the record is, or what is no record.
    fn place(&self) -> Place;

    /// The bytes of it.
    fn bytes(&self) -> &[u8];

    /// All bytes that are there from the beginning of the record on.
    fn rest(&self) -> &[u8];

    /// Appends the record to the columns. Where a value doesn't fit, it is NULL there and the fault
    /// says why; the columns stay of one length.
    fn append(&mut self, columns: &mut Columns) -> std::result::Result<(), Fault>;

    /// What to call the record in a message: `row 41 (line 56)` or `line 56`.
    fn describe(&self, place: Place) -> String;
}
