//! The past runs of a job: one line of JSON for each, in a file of its state folder, which
//! `job_runs('FOLDER')` reads in SQL.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sembla_sql::JOB_RUNS_FILE;
use serde_json::{Map, Value, json};

use super::{Embedded, Summary};
use crate::failure::{Failure, Result};
use crate::whole_file::write_whole_in_work;

/// The file that keeps two processes from changing the list at once.
const LOCK: &str = "runs.lock";

/// Bytes of the list: beyond them the older half goes.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// Adds a run to the list of a state folder, which is made if it is not there.
///
/// # Errors
/// Those of the disk.
pub fn note_run(
    folder: &Path,
    began: SystemTime,
    output: &str,
    ended: Result<Option<&Embedded>, &Failure>,
) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    let lock = folder.join(LOCK);
    let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _locked = locked.map_err(|error| Failure::file(&lock, &error))?;
    let path = folder.join(JOB_RUNS_FILE);
    let fail = |error: std::io::Error| Failure::file(&path, &error);
    let list = OpenOptions::new().create(true).append(true).read(true).open(&path);
    let mut list = list.map_err(fail)?;
    shorten(&mut list, &path)?;
    let mut list = OpenOptions::new().append(true).open(&path).map_err(fail)?;
    let mut text = line(began, output, ended);
    if !ends_well(&path).map_err(fail)? {
        // A kill has cut the last line short; this one begins on its own.
        text.insert(0, '\n');
    }
    list.write_all(text.as_bytes()).and_then(|()| list.sync_all()).map_err(fail)
}

/// A run as a line.
fn line(began: SystemTime, output: &str, ended: Result<Option<&Embedded>, &Failure>) -> String {
    let began_us = began.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    let seconds = began.elapsed().map_or(0.0, |elapsed| elapsed.as_secs_f64());
    let mut run = match ended {
        Ok(Some(Embedded::Written(summary))) => figures(summary),
        _ => Map::new(),
    };
    let (status, error) = match ended {
        Ok(Some(Embedded::Written(_))) => ("written", None),
        Ok(Some(Embedded::NothingNew)) => ("nothing new", None),
        Ok(None) => ("already complete", None),
        Err(failure @ Failure::Interrupted(_)) => ("interrupted", failure.message()),
        Err(failure) => ("failed", failure.message()),
    };
    run.insert("began_us".into(), json!(i64::try_from(began_us).unwrap_or(i64::MAX)));
    run.insert("status".into(), json!(status));
    run.insert("output".into(), json!(output));
    run.insert("seconds".into(), json!(seconds));
    run.insert("error".into(), json!(error));
    format!("{}\n", Value::Object(run))
}

fn figures(summary: &Summary) -> Map<String, Value> {
    match serde_json::from_str(&summary.json()) {
        Ok(Value::Object(figures)) => figures,
        _ => Map::new(),
    }
}

/// Whether the list ends with the end of a line.
fn ends_well(path: &Path) -> std::io::Result<bool> {
    let text = fs::read(path)?;
    Ok(text.last().is_none_or(|byte| *byte == b'\n'))
}

/// Leaves the older half of a long list out.
fn shorten(list: &mut File, path: &Path) -> Result<()> {
    let fail = |error: std::io::Error| Failure::file(path, &error);
    if list.metadata().map_err(fail)?.len() <= LIST_BYTES_MAX {
        return Ok(());
    }
    let mut text = Vec::new();
    list.read_to_end(&mut text).map_err(fail)?;
    let middle = text.len() / 2;
    let start = text.iter().skip(middle).position(|byte| *byte == b'\n');
    let newer = text.get(start.map_or(middle, |start| middle + start + 1)..).unwrap_or_default();
    write_whole_in_work(path, |file| file.write_all(newer).map_err(fail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(folder: &Path) -> Vec<Value> {
        let text = fs::read_to_string(folder.join(JOB_RUNS_FILE)).expect("a list");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn each_run_is_a_line_whatever_a_kill_has_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("state");
        let note = |ended: Result<Option<&Embedded>, &Failure>| {
            note_run(&folder, SystemTime::now(), "out.parquet", ended).expect("noted");
        };
        note(Ok(Some(&Embedded::NothingNew)));
        let list = OpenOptions::new().append(true).open(folder.join(JOB_RUNS_FILE));
        list.and_then(|mut list| list.write_all(b"{\"stat")).expect("torn");
        note(Err(&Failure::user("no such file")));
        note(Err(&Failure::Interrupted(None)));
        let lines = lines(&folder);
        let statuses: Vec<_> = lines.iter().filter_map(|line| line["status"].as_str()).collect();
        assert_eq!(statuses, ["nothing new", "failed", "interrupted"]);
        assert_eq!(lines[1]["error"], "error: no such file");
    }

    #[test]
    fn a_long_list_loses_its_older_half() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(JOB_RUNS_FILE);
        let old = format!("{}\n", json!({"status": "written", "error": "x".repeat(1000)}));
        let count = usize::try_from(LIST_BYTES_MAX).expect("a size") / old.len() + 2;
        fs::write(&path, old.repeat(count)).expect("written");
        note_run(folder.path(), SystemTime::now(), "o", Ok(None)).expect("noted");
        let lines = lines(folder.path());
        assert!((count / 2 - 2..count / 2 + 3).contains(&lines.len()), "{}", lines.len());
        assert_eq!(lines.last().expect("a line")["status"], "already complete");
    }
}
