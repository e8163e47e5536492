//! Runs the files of `tests/sql`, which say in SQL what each function does.
//!
//! A file is a list of records with a blank line between them; lines that begin with `#` are for
//! the reader.
//!
//! * `statement ok` and the statements: they must run. Rows don't matter.
//! * `statement error TEXT` and a statement: it must fail with TEXT in its message, and the message
//!   must be one line.
//! * `query` and a statement, then `----` and the rows: one line for each, columns with a space
//!   between, NULL as NULL. A value of several lines, such as a plan, takes several.
//! * `require PATH`: the file is skipped, with a message, where PATH (from the repository) is not
//!   there.
//!
//! `$TMP` stands for a fresh folder, `$ROOT` for the repository. With `UPDATE_SLT=1` the expected
//! rows are rewritten.

use std::path::{Path, PathBuf};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use sembla_sql::{Outcome, Session, SessionOptions, SqlError};

/// The repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One record of a file: its lines, and what they ask.
struct Record {
    line: usize,
    head: String,
    sql: String,
    expected: Option<Vec<String>>,
    /// The line on which the expected rows begin.
    rows_line: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "slt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {}", folder.display());
    let mut failures = Vec::new();
    for file in &files {
        run_file(file, &mut failures).await;
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

async fn run_file(path: &Path, failures: &mut Vec<String>) {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let folder = tempfile::tempdir().expect("a folder");
    let tmp = folder.path().display().to_string();
    let options = SessionOptions { target_partitions: Some(2), batch_rows: Some(4) };
    let session = Session::new(options).expect("a session");
    let mut updated: Vec<String> = text.lines().map(str::to_string).collect();
    let mut shift = 0;
    for record in records(&text) {
        let place = format!("{}:{}", path.display(), record.line);
        if let Some(needed) = record.head.strip_prefix("require ") {
            if !Path::new(ROOT).join(needed).exists() {
                eprintln!("skipped {}: {needed} is not there", path.display());
                return;
            }
            continue;
        }
        let found = run(&session, &record.sql.replace("$TMP", &tmp).replace("$ROOT", ROOT)).await;
        let found = found.map(|rows| mask(rows, &tmp));
        match check(&record, &found) {
            Ok(()) => {}
            Err(why) => match found {
                Ok(rows) if std::env::var_os("UPDATE_SLT").is_some() && record.head == "query" => {
                    let old = record.expected.as_ref().map_or(0, Vec::len);
                    let start = record.rows_line + shift - 1;
                    shift = shift + rows.len() - old;
                    updated.splice(start..start + old, rows);
                }
                _ => failures.push(format!("{place}: {}\n{why}", record.sql)),
            },
        }
    }
    let updated = updated.join("\n") + "\n";
    if updated != text {
        std::fs::write(path, updated).expect("a writable file");
    }
}

fn mask(rows: Vec<String>, tmp: &str) -> Vec<String> {
    // Plans name files without the first slash.
    let bare = tmp.trim_start_matches('/');
    rows.into_iter().map(|row| row.replace(tmp, "$TMP").replace(bare, "$TMP")).collect()
}

fn check(record: &Record, found: &Result<Vec<String>, SqlError>) -> Result<(), String> {
    match (record.head.as_str(), found) {
        ("statement ok", Ok(_)) => Ok(()),
        ("query", Ok(rows)) => {
            let expected = record.expected.clone().unwrap_or_default();
            if *rows == expected {
                return Ok(());
            }
            Err(format!("expected:\n{}\nfound:\n{}", expected.join("\n"), rows.join("\n")))
        }
        (head, Err(error)) => {
            let message = error.to_string();
            match head.strip_prefix("statement error ") {
                Some(expected) if message.contains(expected) && !message.contains('\n') => Ok(()),
                Some(expected) => {
                    Err(format!("expected error: {expected}\nfound error: {message}"))
                }
                None => Err(format!("error: {message}")),
            }
        }
        (head, Ok(_)) if head.starts_with("statement error ") => {
            Err(format!("expected {head}, but it ran"))
        }
        (head, Ok(_)) => Err(format!("'{head}' is no kind of record")),
    }
}

/// Runs every statement of a text, and gives the rows of the last.
async fn run(session: &Session, sql: &str) -> Result<Vec<String>, SqlError> {
    let mut rows = Vec::new();
    for statement in session.parse(sql)? {
        rows = match session.execute(statement).await? {
            Outcome::Done(line) => vec![line],
            Outcome::Stream(plan) => vec![format!("pipeline '{}'", plan.name())],
            Outcome::Rows(frame) => {
                let rows = sembla_sql::planning::stream(frame).await?;
                let batches: Vec<_> = rows.try_collect().await?;
                let rows: Vec<String> = batches.iter().flat_map(show).collect();
                let lines = rows.iter().flat_map(|row| row.lines());
                lines.filter(|line| !line.trim().is_empty()).map(str::to_string).collect()
            }
        };
    }
    Ok(rows)
}

fn show(batch: &arrow::array::RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("a format"))
        .collect();
    let value = |column: &ArrayFormatter<'_>, row| {
        let text = column.value(row).to_string();
        if text.is_empty() { "(empty)".to_string() } else { text }
    };
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| value(column, row)).collect::<Vec<_>>().join(" "))
        .collect()
}

fn records(text: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, head)) = lines.next() {
        if head.trim().is_empty() || head.starts_with('#') {
            continue;
        }
        let mut sql = Vec::new();
        let mut expected: Option<Vec<String>> = None;
        let mut rows_line = 0;
        if !head.starts_with("require ") {
            while let Some((number, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
                match (&mut expected, line) {
                    (None, "----") => {
                        expected = Some(Vec::new());
                        rows_line = number + 2;
                    }
                    (None, line) => sql.push(line),
                    (Some(rows), line) => rows.push(line.to_string()),
                }
            }
        }
        let head = head.trim_end().to_string();
        records.push(Record { line: number + 1, head, sql: sql.join("\n"), expected, rows_line });
    }
    records
}
