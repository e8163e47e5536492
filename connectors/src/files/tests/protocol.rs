//! The chain of manifests: fences, tears, lists, and what a start rejects.

use sembla_runtime::Error;

use super::super::manifest::{LIST_EVERY, commit_path};
use super::*;

async fn started(folders: &[Arc<dyn Folder>; 3]) -> FilesSink {
    let mut sink = sink_over(folders, &[]);
    sink.recover("p", &whole()).await.expect("a start");
    sink
}

#[tokio::test]
async fn a_zombie_is_fenced() {
    let folders = memory();
    let mut zombie = started(&folders).await;
    zombie.write(Output::Rows(&rows(0, 3))).await.expect("rows");
    zombie.commit(&progress(3)).await.expect("a commit");
    zombie.write(Output::Rows(&rows(3, 3))).await.expect("rows");
    for area in &mut zombie.areas {
        area.close_all().expect("closed");
    }
    zombie.put_closed().await.expect("put");
    let mut heir = sink_over(&folders, &[]);
    let recovered = heir.recover("p", &whole()).await.expect("a start").expect("progress");
    assert_eq!(recovered, progress(3));
    assert_eq!(folders[0].list("_pending").await.expect("a list"), [""; 0]);
    let error = zombie.commit(&progress(6)).await.expect_err("fenced");
    assert!(error.is_fenced(), "{error}");
    heir.write(Output::Rows(&rows(3, 1))).await.expect("rows");
    heir.commit(&progress(4)).await.expect("a commit");
    assert!(zombie.commit(&progress(6)).await.is_err_and(|error| error.is_fenced()));
    assert_eq!(published(&folders[0], "id").await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_zombie_whose_number_is_free_again_is_fenced() {
    let folders = memory();
    let mut zombie = started(&folders).await;
    zombie.write(Output::Rows(&rows(1000, 1))).await.expect("rows");
    let mut heir = started(&folders).await;
    let commits = 3 * LIST_EVERY as i64 + 5;
    for row in 0..commits {
        heir.write(Output::Rows(&rows(row, 1))).await.expect("rows");
        heir.commit(&progress(row + 1)).await.expect("a commit");
    }
    let error = zombie.commit(&progress(1)).await.expect_err("fenced");
    assert!(error.is_fenced(), "{error}");
    for row in commits..2 * commits {
        heir.write(Output::Rows(&rows(row, 1))).await.expect("rows");
        heir.commit(&progress(row + 1)).await.expect("a commit");
    }
    let mut next = sink_over(&folders, &[]);
    let recovered = next.recover("p", &whole()).await.expect("a start");
    assert_eq!(recovered, Some(progress(2 * commits)));
    let all: Vec<i64> = (0..2 * commits).collect();
    assert_eq!(published(&folders[0], "id").await, all);
    let files = Manifests::new(Arc::clone(&folders[0])).files().await.expect("files");
    assert_eq!(files.len(), all.len(), "what the zombie wrote is in no list");
    let manifests = folders[0].list("_sembla").await.expect("a list");
    assert!(manifests.len() < 2 * LIST_EVERY as usize, "{}", manifests.len());
}

#[tokio::test]
async fn an_empty_epoch_writes_no_file() {
    let folders = memory();
    let mut sink = started(&folders).await;
    sink.write(Output::Rows(&rows(0, 0))).await.expect("no rows");
    sink.commit(&progress(1)).await.expect("a commit");
    sink.write(Output::Rows(&rows(0, 2))).await.expect("rows");
    sink.write(Output::Rows(&rows(2, 2))).await.expect("rows");
    sink.commit(&progress(2)).await.expect("a commit");
    sink.commit(&progress(3)).await.expect("a commit");
    let files = folders[0].list("").await.expect("a list");
    let data: Vec<_> = files.iter().filter(|path| !path.starts_with('_')).collect();
    assert_eq!(data, ["part-000000000003-00000.jsonl"]);
}

#[tokio::test]
async fn aborted_rows_are_gone() {
    let folders = memory();
    let mut sink = started(&folders).await;
    sink.write(Output::Rows(&rows(0, 2))).await.expect("rows");
    sink.abort().await.expect("aborted");
    sink.commit(&progress(1)).await.expect("a commit");
    assert_eq!(published(&folders[0], "id").await, [0; 0]);
}

#[tokio::test]
async fn rows_that_can_not_be_written_leave_nothing() {
    let folders = memory();
    let times = arrow::array::TimestampMicrosecondArray::from(vec![0, i64::MAX]);
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as arrow::array::ArrayRef),
        ("ts", Arc::new(times)),
        ("day", Arc::new(StringArray::from(vec!["a", "b"]))),
    ])
    .expect("rows");
    let given = [("path", "x"), ("format", "json"), ("partition_by", "day")];
    let rows_in = Arc::clone(&folders[0]);
    let mut sink =
        FilesSink::over(&batch.schema(), &options(&given), rows_in, None, None).expect("a sink");
    sink.recover("p", &whole()).await.expect("a start");
    let error = sink.write(Output::Rows(&batch)).await.expect_err("a time that can't be told");
    assert!(matches!(error, Error::Data(_)), "{error}");
    sink.write(Output::Rows(&batch.slice(0, 1))).await.expect("a row");
    sink.commit(&progress(1)).await.expect("a commit");
    assert_eq!(published(&folders[0], "id").await, [1]);
}

#[tokio::test]
async fn torn_manifests_are_refused_by_name() {
    let folders = memory();
    let mut sink = started(&folders).await;
    sink.write(Output::Rows(&rows(0, 1))).await.expect("rows");
    sink.commit(&progress(1)).await.expect("a commit");
    let path = commit_path(2);
    let whole_file = folders[0].get(&path).await.expect("bytes").expect("a manifest");
    let manifests = Manifests::new(Arc::clone(&folders[0]));
    let before = manifests.read().await.expect("a chain");
    let mut torn: Vec<Vec<u8>> = (0..whole_file.len()).map(|n| whole_file[..n].to_vec()).collect();
    for place in 0..whole_file.len() {
        for bit in 0..8 {
            let mut bytes = whole_file.to_vec();
            bytes[place] ^= 1 << bit;
            torn.push(bytes);
        }
    }
    for bytes in torn {
        folders[0].put(&path, bytes.clone().into()).await.expect("put");
        match manifests.read().await {
            Err(Error::State(line)) => {
                assert!(line.contains("memory/_sembla/commit-00000000000"), "{line}");
                assert!(!line.contains('\n'));
            }
            Err(other) => panic!("{other}"),
            // Between the values of JSON a changed space changes nothing.
            Ok(chain) => assert_eq!(chain, before, "{}", String::from_utf8_lossy(&bytes)),
        }
    }
    folders[0].put(&path, whole_file).await.expect("put");
    folders[0].delete(&commit_path(1)).await.expect("deleted");
    let error = sink_over(&folders, &[]).recover("p", &whole()).await.expect_err("a gap");
    assert!(error.to_string().contains("commit-000000000001.json is missing"), "{error}");
}

/// A sink that has committed 3 rows to each place and could not give their files names.
async fn unpublished(folders: &[Arc<dyn Folder>; 3]) -> Vec<String> {
    let mut sink = started(folders).await;
    sink.write(Output::Rows(&rows(0, 3))).await.expect("rows");
    sink.write(Output::Rejected(&[rejected(0)])).await.expect("a letter");
    sink.commit(&progress(3)).await.expect("a commit");
    // As a kill between the manifest and the renames leaves it.
    let commits = Manifests::new(Arc::clone(&folders[0])).read().await.expect("commits");
    let files = commits.last().expect("a commit").files.clone();
    let mut pending = Vec::new();
    for file in &files {
        let folder = &folders[file.place as usize];
        folder.rename(&file.path, &file.pending).await.expect("renamed");
        pending.push(file.pending.clone());
    }
    Manifests::new(Arc::clone(&folders[0])).put_published(1).await.expect("noted");
    pending
}

/// What is left of a file; `None` where it is gone.
type Harm = fn(&[u8]) -> Option<Vec<u8>>;

#[tokio::test]
async fn a_pending_file_is_published_as_it_was_committed_or_not_at_all() {
    let folders = memory();
    unpublished(&folders).await;
    started(&folders).await;
    assert_eq!(published(&folders[0], "id").await, [0, 1, 2], "an unharmed one is");

    let harms: [Harm; 4] = [
        |_| None,
        |bytes| Some(bytes[..bytes.len() - 1].to_vec()),
        |bytes| Some([bytes, b"{}"].concat()),
        |bytes| Some(bytes.iter().enumerate().map(|(n, b)| b ^ u8::from(n == 7)).collect()),
    ];
    for (place, name) in [(0, "rows"), (2, "letters")] {
        for harm in harms {
            let folders = memory();
            let pending = unpublished(&folders).await;
            let pending = if place == 0 { &pending[0] } else { &pending[1] };
            let whole_file = folders[place].get(pending).await.expect("bytes").expect("a file");
            folders[place].delete(pending).await.expect("deleted");
            if let Some(harmed) = harm(&whole_file) {
                folders[place].put(pending, harmed.into()).await.expect("put");
            }
            let refused = sink_over(&folders, &[]).recover("p", &whole()).await;
            let Err(Error::State(line)) = refused else { panic!("{name}: {refused:?}") };
            assert!(line.contains(pending.as_str()) && line.contains("committed"), "{line}");
            folders[place].put(pending, whole_file).await.expect("restored");
            started(&folders).await;
            assert_eq!(published(&folders[0], "id").await, [0, 1, 2], "{name}");
        }
    }
}

#[tokio::test]
async fn files_that_a_reader_has_taken_away_are_not_missed() {
    let folders = memory();
    let mut sink = started(&folders).await;
    sink.write(Output::Rows(&rows(0, 3))).await.expect("rows");
    sink.commit(&progress(3)).await.expect("a commit");
    folders[0].delete("part-000000000002-00000.jsonl").await.expect("taken away");
    let mut next = sink_over(&folders, &[]);
    let recovered = next.recover("p", &whole()).await.expect("a start");
    assert_eq!(recovered, Some(progress(3)));
}

#[tokio::test]
async fn a_commit_whose_manifest_is_gone_is_refused_by_name() {
    for is_all_gone in [false, true] {
        let folders = memory();
        let mut sink = started(&folders).await;
        for row in 0..3 {
            sink.write(Output::Rows(&rows(row, 1))).await.expect("rows");
            sink.commit(&progress(row + 1)).await.expect("a commit");
        }
        folders[0].delete(&commit_path(4)).await.expect("deleted");
        if is_all_gone {
            for number in 1..4 {
                folders[0].delete(&commit_path(number)).await.expect("deleted");
            }
        }
        let refused = sink_over(&folders, &[]).recover("p", &whole()).await;
        let Err(Error::State(line)) = refused else { panic!("{refused:?}") };
        let missing = if is_all_gone { 2 } else { 4 };
        let told = format!("memory/_sembla/commit-{missing:012}.json is missing");
        assert!(line.contains(&told) && line.contains("part-"), "{line}");
        assert_eq!(published(&folders[0], "id").await, [0, 1, 2], "nothing is added");
    }
}

#[tokio::test]
async fn a_letter_with_an_impossible_time_is_written() {
    let folders = memory();
    let mut sink = started(&folders).await;
    for (row, time) in (0..).zip([i64::MIN, -1, 1_767_225_600_000_000_000, i64::MAX]) {
        let letter = Rejected { timestamp_us: Some(time), ..rejected(row) };
        sink.write(Output::Rejected(&[letter])).await.expect("a letter");
    }
    sink.commit(&progress(1)).await.expect("a commit");
    assert_eq!(published(&folders[2], "position").await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn another_pipeline_is_refused() {
    let folders = memory();
    started(&folders).await;
    let error = sink_over(&folders, &[]).recover("q", &whole()).await.expect_err("a refusal");
    assert_eq!(
        error.to_string(),
        "the data set memory/ belongs to the pipeline 'p', not to 'q'; write to another path"
    );
}

#[tokio::test]
async fn one_writer_alone() {
    let folders = memory();
    let mut assignment = whole();
    assignment.values_mut().for_each(|assignment| assignment.others = None);
    let error = sink_over(&folders, &[]).recover("p", &assignment).await.expect_err("a part");
    assert!(error.to_string().contains("another instance reads part of the source 's'"), "{error}");
}
