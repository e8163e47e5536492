//! Folders on this machine and in S3 (moto, a server in Python that speaks it), with the same
//! tests; and a data set in S3.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use sembla_runtime::{Output, Progress, Sink};
use sembla_testing::Moto;

use super::*;
use crate::files::{FilesSink, sink_options};

/// The options that lead to a server.
fn given(server: &Moto) -> Vec<(String, String)> {
    [
        ("endpoint", server.endpoint().as_str()),
        ("region", "us-east-1"),
        ("access_key_id", "test-key-id"),
        ("secret_access_key", "test-secret"),
    ]
    .map(|(key, value)| (key.to_string(), value.to_string()))
    .to_vec()
}

/// What every folder must do.
async fn check_folder(folder: &dyn Folder) {
    assert_eq!(folder.list("").await.expect("a list"), [""; 0]);
    assert_eq!(folder.get("a/b").await.expect("nothing"), None);
    assert!(!folder.has("a/b").await.expect("an answer"));
    folder.delete("a/b").await.expect("nothing to delete");
    folder.put("a/b", Bytes::from_static(b"one")).await.expect("put");
    folder.put("a/b", Bytes::from_static(b"two")).await.expect("put again");
    assert!(!folder.put_new("a/b", Bytes::from_static(b"three")).await.expect("an answer"));
    assert!(folder.put_new("a=%2F/c d", Bytes::from_static(b"new")).await.expect("an answer"));
    assert_eq!(folder.get("a/b").await.expect("bytes").as_deref(), Some(&b"two"[..]));
    assert!(folder.has("a/b").await.expect("an answer"));
    folder.put("ab", Bytes::new()).await.expect("an empty file");
    assert_eq!(folder.get("ab").await.expect("bytes").as_deref(), Some(&b""[..]));
    assert_eq!(folder.list("").await.expect("a list"), ["a/b", "a=%2F/c d", "ab"]);
    assert_eq!(folder.list("a").await.expect("a list"), ["a/b"]);
    assert_eq!(folder.list("nowhere").await.expect("a list"), [""; 0]);
    folder.rename("a=%2F/c d", "x/y=%2e/z").await.expect("renamed");
    folder.rename("a/b", "x/y=%2e/z").await.expect("renamed over another");
    assert_eq!(folder.get("x/y=%2e/z").await.expect("bytes").as_deref(), Some(&b"two"[..]));
    folder.delete("ab").await.expect("deleted");
    assert_eq!(folder.list("").await.expect("a list"), ["x/y=%2e/z"]);
    for outside in ["../x", "/etc/x", "a/../../x", "a//b", ".", ""] {
        assert!(matches!(folder.put(outside, Bytes::new()).await, Err(Error::Bug(_))), "{outside}");
    }
}

/// What the runtime needs of a store.
async fn check_store(store: &dyn Store) {
    store.put("epoch-1", Bytes::from_static(b"one")).await.expect("put");
    store.put("epoch-2", Bytes::from_static(b"two")).await.expect("put");
    let mut names = store.list().await.expect("a list");
    names.sort_unstable();
    assert_eq!(names, ["epoch-1", "epoch-2"]);
    store.delete("epoch-1").await.expect("deleted");
    assert_eq!(store.get("epoch-1").await.expect("nothing"), None);
    assert_eq!(store.get("epoch-2").await.expect("bytes").as_deref(), Some(&b"two"[..]));
}

fn none() -> Options {
    Options::read("a store", STORE_OPTIONS, &[]).expect("options")
}

#[tokio::test]
async fn on_this_machine() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("not/there/yet").display().to_string();
    check_folder(open_folder(&path, &none()).expect("a folder").as_ref()).await;
    let path = root.path().join("state").display().to_string();
    let store = open_store(&format!("file://{path}"), &none()).expect("a store");
    check_store(store.as_ref()).await;
    assert_eq!(store.place(), path);
}

#[tokio::test]
async fn in_s3() {
    let server = Moto::start();
    let options = Options::read("a store", STORE_OPTIONS, &given(&server)).expect("options");
    for location in ["s3://bucket/some/prefix/", "s3://bucket"] {
        let folder = open_folder(location, &options).expect("a folder");
        if location == "s3://bucket" {
            folder.delete("some/prefix/x/y=%2e/z").await.expect("what the first left");
        }
        check_folder(folder.as_ref()).await;
    }
    let store = open_store("s3://bucket/state", &options).expect("a store");
    check_store(store.as_ref()).await;
    assert_eq!(store.place(), "s3://bucket/state");
    let folder = open_folder("s3://missing/x", &options).expect("a folder");
    let error = folder.put("a", Bytes::new()).await.expect_err("no bucket").to_string();
    assert!(error.starts_with("s3://missing/x/a: "), "{error}");
    assert!(!error.contains('\n') && !error.contains("test-secret"), "{error}");
}

#[tokio::test]
async fn a_data_set_in_s3() {
    let server = Moto::start();
    let mut given = given(&server);
    for (key, value) in [
        ("path", "s3://bucket/out"),
        ("format", "json"),
        ("partition_by", "day"),
        ("late_path", "s3://bucket/late"),
    ] {
        given.push((key.into(), value.into()));
    }
    let options = Options::read("a files sink", &sink_options(), &given).expect("options");
    let rows = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("day", Arc::new(StringArray::from(vec!["a/b", "c"]))),
    ])
    .expect("rows");
    let mut sink = FilesSink::new(&rows.schema(), &options).expect("a sink");
    let progress = |epoch| Progress { pipeline: "p".into(), epoch, ..Progress::default() };
    assert_eq!(sink.recover("p", &BTreeMap::new()).await.expect("a start"), None);
    sink.write(Output::Rows(&rows)).await.expect("rows");
    sink.write(Output::Late(&rows)).await.expect("rows");
    sink.commit(&progress(1)).await.expect("a commit");
    let mut heir = FilesSink::new(&rows.schema(), &options).expect("a sink");
    let recovered = heir.recover("p", &BTreeMap::new()).await.expect("a start");
    assert_eq!(recovered, Some(progress(1)));
    sink.write(Output::Rows(&rows)).await.expect("rows");
    assert!(sink.commit(&progress(2)).await.is_err_and(|error| error.is_fenced()));
    let folder = open_folder("s3://bucket/out", &options).expect("a folder");
    let mut paths = folder.list("").await.expect("a list");
    paths.retain(|path| path.starts_with("day"));
    let part = "part-000000000002";
    assert_eq!(
        paths,
        [format!("day=a%2Fb/{part}-00000.jsonl"), format!("day=c/{part}-00001.jsonl")]
    );
    let late = open_folder("s3://bucket/late", &options).expect("a folder");
    assert_eq!(late.list("").await.expect("a list"), [format!("{part}-00000.jsonl")]);
}

#[test]
fn places_that_can_not_be_are_refused() {
    let refusal = |location| open_folder(location, &none()).err().expect("a refusal").to_string();
    assert!(refusal("gs://bucket").contains("must be a path or begin with s3://"));
    assert!(refusal("s3://").contains("is not an address: s3://bucket/key"));
}
