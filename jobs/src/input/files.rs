//! Which files a command reads, in a fixed order, and what is in them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sembla_readers::Cancel;
use sembla_readers::files::{DataFile, Place, Surveys, Table, TableOptions, list};

use super::Notice;
use crate::failure::{Failure, Result};

/// The files that `patterns` name, in order: each pattern in turn, and within a folder or glob by
/// path. A file that is named twice is read once.
///
/// # Errors
/// When a pattern matches nothing, a named file has an unknown ending, or one of `outputs` is among
/// the inputs.
pub fn resolve(patterns: &[String], outputs: &[&Path]) -> Result<Vec<DataFile>> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for pattern in patterns {
        for file in list(pattern, None)? {
            let real = match &file.place {
                Place::Local(path) => {
                    fs::canonicalize(path).map_err(|error| Failure::file(path, &error))?
                }
                Place::Stored { .. } => PathBuf::from(&file.name),
            };
            let is_input = |output: &&&Path| {
                fs::canonicalize(output).is_ok_and(|output| real.starts_with(output))
            };
            if let Some(output) = outputs.iter().find(is_input) {
                return Err(Failure::user(format!(
                    "the output {} is also an input (it matches '{pattern}'); write to another place",
                    output.display()
                )));
            }
            if seen.insert(real) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// Looks into files before the work begins; `notice` gets what was found and can't be taken for
/// granted, such as a delimiter that was guessed.
///
/// # Errors
/// When one can't be read, or is not what its name says.
pub fn inspect(files: Vec<DataFile>, notice: Notice<'_>) -> Result<Table> {
    // A command may look more than once, and a text costs a pass over all of it.
    static SURVEYS: LazyLock<Surveys> = LazyLock::new(Surveys::default);
    let table = Table::open(files, &TableOptions::default(), &SURVEYS, &Cancel::never())?;
    for text in table.notices() {
        notice(&text.to_string());
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_named_twice_is_read_once() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        for name in ["b.csv", "a.parquet"] {
            fs::write(root.join(name), "x").expect("file");
        }
        let patterns =
            [root.join("b.csv"), root.to_path_buf()].map(|path| path.display().to_string());
        let files = resolve(&patterns, &[Path::new("/nowhere/x")]).expect("files");
        let names: Vec<_> = files.iter().map(|file| file.name.rsplit('/').next()).collect();
        assert_eq!(names, [Some("b.csv"), Some("a.parquet")]);
        let failure = resolve(&patterns, &[&root.join("a.parquet")]).expect_err("an output");
        assert!(failure.message().expect("words").contains("is also an input"));
    }
}
