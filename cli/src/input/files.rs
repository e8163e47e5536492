//! Which files a command reads: resolves files, folders and globs, in a fixed order. Opens none of
//! them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::failure::{Failure, Result};

/// The folder of an unfinished run ends with this; its files are never input.
pub(crate) const PARTIAL: &str = ".partial";

/// What a file holds, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object after another.
    Json,
}

/// A file to read.
#[derive(Clone, Debug)]
pub(crate) struct InputFile {
    /// Where it is, as the user named it.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) format: FileFormat,
    /// Whether it is compressed with gzip as a whole.
    pub(crate) gzip: bool,
    /// Its size, to notice a change.
    pub(crate) bytes: u64,
    /// When it was last written, in nanoseconds since 1970, to notice a change.
    pub(crate) modified_ns: u64,
}

/// The files that `patterns` name, in order: each pattern in turn, and within a folder or glob by
/// path. A file that is named twice is read once.
///
/// # Errors
/// When a pattern matches nothing, a named file has an unknown ending, or one of `outputs` is among
/// the inputs.
pub(crate) fn resolve(patterns: &[String], outputs: &[&Path]) -> Result<Vec<InputFile>> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for pattern in patterns {
        for path in matches(pattern)? {
            let real = fs::canonicalize(&path).map_err(|error| Failure::file(&path, &error))?;
            let is_input = |output: &&&Path| {
                fs::canonicalize(output).is_ok_and(|output| real.starts_with(output))
            };
            if let Some(output) = outputs.iter().find(is_input) {
                return Err(Failure::user(format!(
                    "the output {} is also an input (by '{pattern}'); write it somewhere else",
                    output.display()
                )));
            }
            if seen.insert(real) {
                files.push(describe(path)?);
            }
        }
    }
    Ok(files)
}

/// The files of one pattern.
fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let mut found = Vec::new();
    if path.is_dir() {
        walk(path, &mut found)?;
        if found.is_empty() {
            return Err(Failure::user(format!(
                "no .parquet, .csv or .json file lies in the folder '{pattern}'"
            )));
        }
    } else if path.exists() {
        found.push(path.to_path_buf());
    } else if pattern.contains(['*', '?', '[']) {
        let paths = glob::glob(pattern)
            .map_err(|error| Failure::user(format!("glob '{pattern}': {}", error.msg)))?;
        for path in paths {
            let path = path.map_err(|error| Failure::file(error.path(), error.error()))?;
            if path.is_dir() {
                walk(&path, &mut found)?;
            } else if format_of(&path).is_some() {
                found.push(path);
            }
        }
        if found.is_empty() {
            return Err(Failure::user(format!("no input file matches '{pattern}'")));
        }
    } else {
        return Err(Failure::user(format!("input '{pattern}': no such file or folder")));
    }
    Ok(found)
}

/// Adds the data files below `folder`, by path. Names that begin with `.` or `_` are left out, as
/// are the folders of unfinished runs.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let fail = |error: std::io::Error| Failure::file(folder, &error);
    if folder.to_string_lossy().ends_with(PARTIAL) {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)
        .map_err(fail)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(fail)?;
    entries.sort();
    for path in entries {
        let hidden =
            path.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['.', '_']));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, found)?;
        } else if format_of(&path).is_some() {
            found.push(path);
        }
    }
    Ok(())
}

/// What a file holds and whether it is gzipped, by its name.
fn format_of(path: &Path) -> Option<(FileFormat, bool)> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let (stem, gzip) = match name.strip_suffix(".gz") {
        Some(stem) => (stem, true),
        None => (name.as_str(), false),
    };
    let format = match stem.rsplit_once('.')?.1 {
        "parquet" if !gzip => FileFormat::Parquet,
        "csv" => FileFormat::Csv,
        "json" | "jsonl" | "ndjson" => FileFormat::Json,
        _ => return None,
    };
    Some((format, gzip))
}

/// Looks at a file's size and time.
fn describe(path: PathBuf) -> Result<InputFile> {
    let (format, gzip) = format_of(&path).ok_or_else(|| {
        Failure::user(format!(
            "input {}: its format is not known by its ending; use .parquet, .csv, .json, .jsonl or .ndjson",
            path.display()
        ))
    })?;
    let metadata = fs::metadata(&path).map_err(|error| Failure::file(&path, &error))?;
    let modified_ns = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    Ok(InputFile { format, gzip, bytes: metadata.len(), modified_ns, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_the_format() {
        let of = |name: &str| format_of(Path::new(name));
        assert_eq!(of("a.parquet"), Some((FileFormat::Parquet, false)));
        assert_eq!(of("a.b.CSV"), Some((FileFormat::Csv, false)));
        assert_eq!(of("a.jsonl.gz"), Some((FileFormat::Json, true)));
        assert_eq!(of("a.parquet.gz"), None);
        assert_eq!(of("parquet"), None);
    }

    #[test]
    fn a_folder_gives_its_data_files_by_path() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        fs::create_dir_all(root.join("b")).expect("folder");
        fs::create_dir_all(root.join("c.partial")).expect("folder");
        for name in
            ["b/2.csv", "b/1.csv", "a.parquet", "_x.csv", ".y.csv", "z.txt", "c.partial/p.csv"]
        {
            fs::write(root.join(name), "x").expect("file");
        }
        let pattern = root.to_string_lossy().into_owned();
        let files =
            resolve(&[pattern.clone(), pattern], &[Path::new("/nowhere/x")]).expect("files");
        let names: Vec<_> =
            files.iter().map(|file| file.path.strip_prefix(root).expect("below")).collect();
        assert_eq!(names, ["a.parquet", "b/1.csv", "b/2.csv"].map(Path::new));
    }
}
