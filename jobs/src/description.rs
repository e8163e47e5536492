//! The small TOML files that people write: suites and descriptions of models. What is in one is
//! left to its reader.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result, one_line};

/// Most bytes of such a file.
const BYTES_MAX: u64 = 1 << 20;

/// What the file says, unread.
///
/// # Errors
/// A file that can't be read or is too large.
pub(crate) fn text(path: &Path) -> Result<String> {
    let size = fs::metadata(path).map_err(|error| Failure::file(path, &error))?.len();
    if size > BYTES_MAX {
        return Err(Failure::user(format!("{}: larger than 1 MiB", path.display())));
    }
    fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

/// What a text says.
///
/// # Errors
/// One line for what is no TOML, or has other keys.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    basic_toml::from_str(text).map_err(|error| Failure::user(one_line(error)))
}
