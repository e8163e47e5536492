//! Options that list columns: the key of a row, and of the document that a chunk is of.

use sembla_runtime::{Error, Result};

use crate::options::Options;

/// The column that numbers the chunks of a document, from 0.
pub(crate) const CHUNK: &str = "chunk_index";

/// The names that an option lists.
///
/// # Errors
/// [`Error::Option`] for an empty one.
pub(crate) fn names(options: &Options, option: &str) -> Result<Vec<String>> {
    let names = options.find_text(option).map(|names| names.split(','));
    let names: Vec<String> = names.into_iter().flatten().map(|n| n.trim().to_string()).collect();
    match names.iter().any(String::is_empty) {
        true => Err(Error::Option(format!("{option} has an empty name; write it as 'a, b'"))),
        false => Ok(names),
    }
}

/// The columns that identify a document, which are those of the key without [`CHUNK`].
///
/// # Errors
/// [`Error::Option`] for others.
pub(crate) fn chunks_of(
    options: &Options,
    option: &str,
    key_option: &str,
    key: &[String],
) -> Result<Vec<String>> {
    let documents = names(options, option)?;
    let is_key = documents.iter().all(|name| key.contains(name) && name != CHUNK);
    let has_all = key.len() == documents.len() + 1 && key.iter().any(|name| name == CHUNK);
    match documents.is_empty() || is_key && has_all {
        true => Ok(documents),
        false => Err(Error::Option(format!(
            "{option} = '{0}' needs {key_option} = '{0}, {CHUNK}'",
            documents.join(", ")
        ))),
    }
}
