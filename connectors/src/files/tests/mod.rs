//! Tests of the sink: whatever fails, and whenever, each row is published once.

mod faults;
mod kills;
mod protocol;
mod shapes;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use bytes::Bytes;
use sembla_runtime::{Assignment, Output, Progress, Rejected, Result, Sink};

use super::manifest::Manifests;
use super::{FilesSink, sink_options};
use crate::options::Options;
use crate::store::{Folder, open_folder};

/// Rows of an epoch of [`run`].
const EPOCH_ROWS: i64 = 4;
/// Rows of a whole [`run`].
const ALL_ROWS: i64 = 14;

/// A folder in memory, with the same promises.
#[derive(Default)]
struct MemoryFolder(Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl Folder for MemoryFolder {
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.0.lock().expect("files").insert(path.into(), bytes);
        Ok(())
    }

    async fn put_new(&self, path: &str, bytes: Bytes) -> Result<bool> {
        let mut files = self.0.lock().expect("files");
        let is_new = !files.contains_key(path);
        if is_new {
            files.insert(path.into(), bytes);
        }
        Ok(is_new)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        Ok(self.0.lock().expect("files").get(path).cloned())
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let files = self.0.lock().expect("files");
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        Ok(files.keys().filter(|path| path.starts_with(&prefix)).cloned().collect())
    }

    async fn has(&self, path: &str) -> Result<bool> {
        Ok(self.0.lock().expect("files").contains_key(path))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.0.lock().expect("files").remove(path);
        Ok(())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut files = self.0.lock().expect("files");
        let bytes = files.remove(from).expect("a file to rename");
        files.insert(to.into(), bytes);
        Ok(())
    }

    fn shown(&self, path: &str) -> String {
        format!("memory/{path}")
    }
}

fn options(given: &[(&str, &str)]) -> Options {
    let given: Vec<_> = given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Options::read("a files sink", &sink_options(), &given).expect("options")
}

/// Rows with ids from `first` on; days are of three values, one of them NULL.
fn rows(first: i64, count: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(first..first + count);
    let days = (first..first + count).map(|id| ["a/b", "c"].get((id % 3) as usize).copied());
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as arrow::array::ArrayRef, true),
        ("day", Arc::new(days.collect::<StringArray>()), true),
    ])
    .expect("rows")
}

fn rejected(position: i64) -> Rejected {
    Rejected {
        partition: "0".into(),
        position,
        timestamp_us: Some(0),
        key: None,
        payload: Some(Bytes::from_static(b"\xff")),
        reason: "bad".into(),
    }
}

fn progress(position: i64) -> Progress {
    Progress {
        pipeline: "p".into(),
        epoch: position as u64,
        positions: BTreeMap::from([("s".into(), BTreeMap::from([("0".into(), position)]))]),
        is_complete: position == ALL_ROWS,
        ..Progress::default()
    }
}

fn whole() -> BTreeMap<String, Assignment> {
    let assignment = Assignment::whole(vec!["0".into()]);
    BTreeMap::from([("s".into(), assignment)])
}

/// One attempt of a pipeline: goes on from the committed progress to the end. Each row is also sent
/// as a late one and as a rejected one.
async fn run(sink: &mut FilesSink) -> Result<()> {
    let recovered = sink.recover("p", &whole()).await?;
    let mut position = recovered.map_or(0, |progress| progress.positions["s"]["0"]);
    while position < ALL_ROWS {
        let count = EPOCH_ROWS.min(ALL_ROWS - position);
        for row in position..position + count {
            sink.write(Output::Rows(&rows(row, 1))).await?;
            sink.write(Output::Late(&rows(row, 1))).await?;
            sink.write(Output::Rejected(&[rejected(row)])).await?;
        }
        position += count;
        sink.commit(&progress(position)).await?;
    }
    Ok(())
}

/// Every value of `field` in the files of JSON lines that a reader of the folder sees.
async fn published(folder: &Arc<dyn Folder>, field: &str) -> Vec<i64> {
    let mut found = Vec::new();
    for path in folder.list("").await.expect("a list") {
        if path.split('/').any(|segment| segment.starts_with(['_', '.'])) {
            continue;
        }
        let bytes = folder.get(&path).await.expect("bytes").expect("a file");
        for line in String::from_utf8(bytes.to_vec()).expect("text").lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            found.push(line[field].as_i64().expect("a number"));
        }
    }
    found.sort_unstable();
    found
}

/// Checks that each row is published once in each of the three places, and nothing else is there.
async fn check(folders: &[Arc<dyn Folder>; 3], what: &str) {
    let all: Vec<i64> = (0..ALL_ROWS).collect();
    for (folder, field) in folders.iter().zip(["id", "id", "position"]) {
        assert_eq!(published(folder, field).await, all, "{what}");
        assert_eq!(folder.list("_pending").await.expect("a list"), [""; 0], "{what}");
    }
    let mut listed = HashMap::new();
    for file in Manifests::new(Arc::clone(&folders[0])).files().await.expect("files") {
        let folder = &folders[file.place as usize];
        let bytes = folder.get(&file.path).await.expect("bytes").expect("a listed file");
        assert_eq!(bytes.len() as u64, file.bytes);
        assert_eq!(blake3::hash(&bytes).to_hex().to_string(), file.blake3);
        *listed.entry(file.place as usize).or_insert(0) += file.rows;
    }
    let rows = ALL_ROWS as u64;
    assert_eq!(listed, HashMap::from([(0, rows), (1, rows), (2, rows)]), "{what}");
}

fn memory() -> [Arc<dyn Folder>; 3] {
    std::array::from_fn(|_| Arc::new(MemoryFolder::default()) as Arc<dyn Folder>)
}

fn sink_over(folders: &[Arc<dyn Folder>; 3], given: &[(&str, &str)]) -> FilesSink {
    let mut all = vec![("path", "x"), ("format", "json")];
    all.extend_from_slice(given);
    let [rows_in, late, rejected] = folders.each_ref().map(Arc::clone);
    FilesSink::over(&rows(0, 0).schema(), &options(&all), rows_in, Some(late), Some(rejected))
        .expect("a sink")
}

/// Folders `rows`, `late` and `bad` in a folder of this machine.
fn local(root: &std::path::Path) -> [Arc<dyn Folder>; 3] {
    ["rows", "late", "bad"].map(|name| {
        let path = root.join(name).display().to_string();
        open_folder(&path, &options(&[("path", "x")])).expect("a folder")
    })
}
