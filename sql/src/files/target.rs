//! Where `COPY … TO` writes: the very name that is given, in the format that its ending says, on
//! this machine or in an object store.
//!
//! What can't be written is reported before the query runs. The engine's own writer would make
//! folders and try again for ever where a file can't be made, as in `/proc`.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{CopyToStatement, Statement};
use datafusion::sql::sqlparser::ast::Value;
use sembla_readers::files::store::{address_of, shown, store_of};
use url::Url;

use crate::SqlError;

/// Endings that are written, and the format of each.
const ENDINGS: &[(&str, &str)] = &[
    (".parquet", "PARQUET"),
    (".csv", "CSV"),
    (".tsv", "CSV"),
    (".json", "JSON"),
    (".jsonl", "JSON"),
    (".ndjson", "JSON"),
    (".arrow", "ARROW"),
    (".feather", "ARROW"),
];

/// Endings of compressed texts, and what the engine calls them.
const COMPRESSIONS: &[(&str, &str)] =
    &[(".gz", "gzip"), (".bz2", "bzip2"), (".xz", "xz"), (".zst", "zstd")];

/// Makes COPY write to exactly the name that it is given, whatever letters that has, in the format
/// of its ending.
///
/// # Errors
/// [`SqlError::Statement`] for a name whose ending says no format, where none is given.
pub(crate) fn name_exactly(statement: &mut Statement) -> Result<(), SqlError> {
    match statement {
        Statement::CopyTo(copy) => {
            with_format(copy)?;
            if copy.target.contains(['*', '?', '[']) {
                let address = Some(&copy.target).filter(|name| !name.contains("://"));
                if let Some(address) = address.and_then(|name| address_of(name)) {
                    copy.target = address;
                }
            }
            Ok(())
        }
        Statement::Explain(explain) => name_exactly(&mut explain.statement),
        _ => Ok(()),
    }
}

/// Gives a COPY the format that the ending of its target says.
fn with_format(copy: &mut CopyToStatement) -> Result<(), SqlError> {
    if copy.stored_as.is_some() {
        return Ok(());
    }
    let name = copy.target.to_ascii_lowercase();
    let compression = COMPRESSIONS.iter().find(|(ending, _)| name.ends_with(ending));
    let plain = compression.and_then(|(ending, _)| name.strip_suffix(ending)).unwrap_or(&name);
    let format = ENDINGS.iter().find(|(ending, _)| plain.ends_with(ending));
    let format = format.filter(|(_, format)| compression.is_none() || is_text(format));
    let Some((ending, format)) = format else {
        let endings: Vec<&str> = ENDINGS.iter().map(|(ending, _)| *ending).collect();
        return Err(SqlError::Statement(format!(
            "COPY TO '{}': the format can't be told from its name; end it in {}, text formats also in .gz, .bz2, .xz or .zst, or add \
             STORED AS PARQUET, CSV or JSON",
            shown(&copy.target),
            endings.join(", ")
        )));
    };
    copy.stored_as = Some((*format).to_string());
    let mut add = |key: &str, value: &str| {
        if !copy.options.iter().any(|(known, _)| known.eq_ignore_ascii_case(key)) {
            copy.options.push((key.into(), Value::SingleQuotedString(value.into())));
        }
    };
    if *ending == ".tsv" {
        add("format.delimiter", "\t");
    }
    if let Some((_, name)) = compression {
        add("format.compression", name);
    }
    Ok(())
}

fn is_text(format: &str) -> bool {
    matches!(format, "CSV" | "JSON")
}

/// Checks that a COPY can write to its target, and makes a target in an object store known to the
/// session.
///
/// # Errors
/// A folder that can't be made or written, an address that can't be.
pub(crate) fn prepare(context: &SessionContext, statement: &Statement) -> Result<(), SqlError> {
    let Statement::CopyTo(copy) = statement else { return Ok(()) };
    match copy.target.split_once("://") {
        None => check_writable(&copy.target, Path::new(&copy.target)),
        Some(("file", _)) => {
            let path = Url::parse(&copy.target).ok().and_then(|url| url.to_file_path().ok());
            path.map_or(Ok(()), |path| check_writable(&copy.target, &path))
        }
        Some(_) => {
            let located = store_of(&copy.target, &|_| None)?;
            let root = Url::parse(&located.root).map_err(|error| {
                SqlError::Statement(format!("COPY TO '{}': {error}", shown(&copy.target)))
            })?;
            context.runtime_env().register_object_store(&root, Arc::clone(&located.client));
            Ok(())
        }
    }
}

/// Makes the folder of a target, and a file in it that is removed again.
fn check_writable(target: &str, path: &Path) -> Result<(), SqlError> {
    let is_folder = target.ends_with('/') || path.is_dir() || path.extension().is_none();
    let folder = match (is_folder, path.parent()) {
        (true, _) => path.to_path_buf(),
        (false, Some(parent)) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        (false, _) => PathBuf::from("."),
    };
    let failed = |what: &str, error: std::io::Error| {
        let message = format!("COPY TO '{target}': {what} {}: {error}", folder.display());
        SqlError::Statement(crate::error::one_line(&message))
    };
    fs::create_dir_all(&folder).map_err(|error| failed("can't make the folder", error))?;
    let probe = folder.join(format!(".sembla-{}.probe", std::process::id()));
    let made = OpenOptions::new().write(true).create(true).truncate(true).open(&probe);
    made.map_err(|error| failed("can't make a file in", error))?;
    fs::remove_file(&probe).map_err(|error| failed("can't remove a file from", error))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn copied(target: &str) -> Result<CopyToStatement, SqlError> {
        let sql = format!("COPY (SELECT 1 AS a) TO '{target}'");
        let mut statement = DFParser::parse_sql(&sql).expect("SQL").pop_front().expect("one");
        name_exactly(&mut statement)?;
        match statement {
            Statement::CopyTo(copy) => Ok(copy),
            other => panic!("{other} is no COPY"),
        }
    }

    #[test]
    fn the_ending_says_the_format() {
        for (target, format, options) in [
            ("x.parquet", "PARQUET", ""),
            ("a/X.CSV", "CSV", ""),
            ("x.tsv", "CSV", "format.delimiter=\t"),
            ("x.jsonl", "JSON", ""),
            ("x.ndjson.gz", "JSON", "format.compression=gzip"),
            ("s3://b/x.csv.zst", "CSV", "format.compression=zstd"),
        ] {
            let copy = copied(target).expect(target);
            assert_eq!(copy.stored_as.as_deref(), Some(format), "{target}");
            let given: Vec<String> = copy
                .options
                .iter()
                .map(|(key, value)| format!("{key}={}", value.to_string().trim_matches('\'')))
                .collect();
            assert_eq!(given.join(" "), options, "{target}");
        }
        for target in ["x", "x.xlsx", "x.parquet.gz"] {
            let error = copied(target).expect_err(target).to_string();
            assert!(error.contains(&format!("COPY TO '{target}'")), "{error}");
            assert!(error.contains(".parquet, .csv"), "{error}");
        }
    }

    #[test]
    fn a_place_that_can_not_be_written_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("new/x.parquet").display().to_string();
        check_writable(&target, Path::new(&target)).expect("the folder is made");
        assert_eq!(fs::read_dir(folder.path().join("new")).expect("a folder").count(), 0);
        let file = folder.path().join("file");
        fs::write(&file, "x").expect("written");
        let target = file.join("x.parquet").display().to_string();
        let error = check_writable(&target, Path::new(&target)).expect_err("no folder").to_string();
        assert!(
            error.starts_with(&format!("COPY TO '{target}': can't make the folder")),
            "{error}"
        );
    }
}
