//! The files of a source, and what the beginning of each says.

use std::collections::BTreeMap;
use std::sync::Arc;

use sembla_readers::files::{DataFile, Format, Surveys, Table, TableOptions, list};
use sembla_readers::{
    Cancel, Dialect, Error as ReadError, Limits, TextFormat, TextOptions, sniff, survey,
};

use super::FileColumns;
use crate::SqlError;
use crate::catalogue::source::SourceColumn;

/// A file and how it is read.
pub(super) enum Found {
    Text(DataFile, Dialect),
    Parquet(Arc<Table>),
    /// It can't be read, for that reason.
    Unreadable(DataFile, String),
}

/// The files that were found before, by name, with their sizes.
pub(super) type Known = BTreeMap<String, u64>;

/// The files of a source that hold anything, in order, without those known before.
///
/// # Errors
/// Files that do not exist; columns that none of them has; a new file that doesn't come behind the
/// known ones, and a known one that has changed. Unless rows that can't be read are handed on, also
/// a file that can't be.
pub(super) fn find(
    what: &FileColumns,
    cancel: &Cancel,
    known: &mut Known,
) -> Result<Vec<Found>, SqlError> {
    let path = what.files.path.as_str();
    let text = TextOptions {
        delimiter: what.files.delimiter,
        header: what.files.header,
        ..TextOptions::csv()
    };
    let mut found = Vec::new();
    for file in new_files(what, list(path, None)?, known)? {
        match look(&file, &text, cancel) {
            Ok(seen) => found.push(seen),
            Err(ReadError::Data(why) | ReadError::Limit(why)) if what.is_tolerant => {
                found.push(Found::Unreadable(file, why));
            }
            Err(error) => return Err(error.into()),
        }
    }
    check_columns(what, path, &found, &names_of)?;
    name_by_place(&what.source.columns, &mut found);
    Ok(found)
}

/// The files that are not known and not empty, which become known. Rows are numbered through all
/// files in the order of their names, so that a new file may only come behind the others.
fn new_files(
    what: &FileColumns,
    files: Vec<DataFile>,
    known: &mut Known,
) -> Result<Vec<DataFile>, SqlError> {
    let source = &what.source.name;
    let last = known.last_key_value().map(|(name, _)| name.clone());
    let mut new = Vec::new();
    for file in files.into_iter().filter(|file| file.bytes > 0) {
        match known.get(&file.name) {
            Some(bytes) if *bytes == file.bytes => continue,
            Some(_) => {
                return Err(SqlError::Data(format!(
                    "source '{source}': file '{}' changed after it was read; a source with watch = true only takes new files",
                    file.name
                )));
            }
            None => {}
        }
        if let Some(last) = last.as_ref().filter(|last| file.name.as_bytes() < last.as_bytes()) {
            return Err(SqlError::Data(format!(
                "source '{source}': the new file '{}' comes before '{last}', which has been read; give new files names \
                 that sort after the existing ones, such as a time",
                file.name
            )));
        }
        known.insert(file.name.clone(), file.bytes);
        new.push(file);
    }
    Ok(new)
}

/// Looks at the beginning of a file.
fn look(file: &DataFile, text: &TextOptions, cancel: &Cancel) -> Result<Found, ReadError> {
    if file.format == Format::Parquet {
        let files = vec![file.clone()];
        let table = Table::open(files, &TableOptions::default(), &Surveys::default(), cancel)?;
        return Ok(Found::Parquet(Arc::new(table)));
    }
    let mut text = text.clone();
    if file.format == Format::Json {
        text.format = TextFormat::Json;
    }
    if file.format == Format::Tsv {
        text.delimiter_preferred = b'\t';
    }
    let dialect = sniff(file.open().as_ref(), &text, &Limits::default())?;
    Ok(Found::Text(file.clone(), dialect))
}

/// The names of the columns of a file; `None` where only reading all of it would tell.
fn names_of(found: &Found) -> Option<Vec<String>> {
    match found {
        Found::Text(_, Dialect::Csv(csv)) => csv.has_header.then(|| csv.names.clone()),
        Found::Parquet(table) => {
            Some(table.schema.fields().iter().map(|field| field.name().clone()).collect())
        }
        Found::Text(_, Dialect::Json(_)) | Found::Unreadable(..) => None,
    }
}

/// Looks for the columns of a source in all of its files, JSON from its first byte to its last. A
/// file that can't be read is the reader's to tell.
///
/// # Errors
/// Columns that no file has.
pub(super) fn search(what: &FileColumns, path: &str, found: &[Found]) -> Result<(), SqlError> {
    check_columns(what, path, found, &|found| match found {
        Found::Text(file, Dialect::Json(_)) => {
            let (text, never) = (TextOptions::json(), Cancel::never());
            let surveyed = survey(file.open().as_ref(), &text, &Limits::default(), &never).ok()?;
            Some(surveyed.columns.into_iter().map(|column| column.name).collect())
        }
        other => names_of(other),
    })
}

/// Rejects a column that no file has.
fn check_columns(
    what: &FileColumns,
    path: &str,
    found: &[Found],
    names_of: &dyn Fn(&Found) -> Option<Vec<String>>,
) -> Result<(), SqlError> {
    let Some(known) = found.iter().map(names_of).collect::<Option<Vec<_>>>() else { return Ok(()) };
    let has = |name: &str| {
        known.iter().flatten().any(|known| known == name)
            || found.iter().any(|found| match found {
                Found::Text(file, _) | Found::Unreadable(file, _) => {
                    file.folders.iter().any(|(folder, _)| folder == name)
                }
                Found::Parquet(_) => false,
            })
    };
    let lacking = what.declared.fields().iter().find(|field| !has(field.name()));
    match lacking {
        Some(field) if !found.is_empty() => {
            let mut names: Vec<String> = Vec::new();
            for name in known.into_iter().flatten() {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Err(SqlError::Statement(format!(
                "source '{}': '{path}' has no column '{}'; its columns are {}",
                what.source.name,
                field.name(),
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// Columns of CSV files without a header are identified by their place.
fn name_by_place(columns: &[SourceColumn], found: &mut [Found]) {
    for found in found {
        let Found::Text(_, Dialect::Csv(csv)) = found else { continue };
        if !csv.has_header {
            for (name, column) in csv.names.iter_mut().zip(columns) {
                name.clone_from(column.field.name());
            }
        }
    }
}

/// Whether all files of a source are Parquet, which queries read in parallel.
///
/// # Errors
/// Files that do not exist.
pub(crate) fn is_parquet(path: &str) -> Result<bool, SqlError> {
    let files = list(path, None)?;
    Ok(!files.is_empty() && files.iter().all(|file| file.format == Format::Parquet))
}

#[cfg(test)]
mod tests {
    use sembla_options::GivenOptions;
    use sembla_readers::files::Place;

    use super::*;
    use crate::catalogue::SourceDef;

    #[test]
    fn new_files_come_behind_those_that_were_read() {
        let connector =
            sembla_connectors::connector("files", sembla_connectors::Side::Source).expect("files");
        let kind = connector.source().expect("a source");
        let given = vec![("path".to_string(), "in".to_string())];
        let options = GivenOptions::new("a source", kind.options(), given).expect("options");
        let source = SourceDef {
            name: "s".into(),
            connector: connector.name(),
            kind,
            columns: Vec::new(),
            watermark: None,
            options,
        };
        let files = source.files().expect("options").expect("files");
        let what = FileColumns::tolerant(&Arc::new(source), &files);
        let file = |name: &str, bytes| DataFile {
            name: name.into(),
            place: Place::Local(name.into()),
            format: Format::Json,
            bytes,
            modified_ns: 0,
            folders: Vec::new(),
        };
        let mut known = Known::new();
        let mut new = |files: &[(&str, u64)]| {
            let files = files.iter().map(|(name, bytes)| file(name, *bytes)).collect();
            let found = new_files(&what, files, &mut known).map_err(|error| error.to_string())?;
            Ok::<_, String>(found.into_iter().map(|file| file.name).collect::<Vec<_>>())
        };
        assert_eq!(new(&[("b", 1), ("c", 2)]), Ok(vec!["b".into(), "c".into()]));
        assert_eq!(new(&[("b", 1), ("c", 2), ("d", 0)]), Ok(Vec::new()));
        assert_eq!(new(&[("b", 1), ("c", 2), ("d", 3)]), Ok(vec!["d".into()]));
        let error = new(&[("b", 5), ("c", 2)]).expect_err("changed");
        assert!(error.contains("file 'b' changed after it was read"), "{error}");
        let error = new(&[("a", 1), ("b", 1)]).expect_err("before others");
        assert!(
            error.contains("the new file 'a' comes before 'd', which has been read"),
            "{error}"
        );
    }
}
