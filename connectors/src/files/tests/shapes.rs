//! What is in the files: Parquet, folders by value, sizes.

use arrow::array::{ArrayRef, FixedSizeListArray};
use arrow::datatypes::Float32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use sembla_runtime::Error;

use super::*;

async fn parquet_files(folder: &Arc<dyn Folder>) -> Vec<(String, Bytes)> {
    let mut files = Vec::new();
    for path in folder.list("").await.expect("a list") {
        if path.ends_with(".parquet") && !path.starts_with('_') {
            files.push((path.clone(), folder.get(&path).await.expect("bytes").expect("a file")));
        }
    }
    files
}

fn read(bytes: &Bytes) -> Vec<RecordBatch> {
    ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .expect("a Parquet file")
        .build()
        .expect("a reader")
        .map(|batch| batch.expect("rows"))
        .collect()
}

#[tokio::test]
async fn parquet_with_vectors() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("out").display().to_string();
    let vectors = (0..100).map(|n| Some([Some(n as f32), Some(0.5)]));
    let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2);
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(0..100)) as ArrayRef),
        ("vector", Arc::new(vectors)),
    ])
    .expect("rows");
    let options = options(&[("path", &path)]);
    let mut sink = FilesSink::new(&batch.schema(), &options).expect("a sink");
    assert!(!sink.takes_late() && !sink.takes_rejected());
    sink.recover("p", &whole()).await.expect("a start");
    sink.write(Output::Rows(&batch)).await.expect("rows");
    sink.commit(&progress(1)).await.expect("a commit");
    let files = parquet_files(&open_folder(&path, &options).expect("a folder")).await;
    assert_eq!(files.len(), 1);
    let found = read(&files[0].1);
    assert_eq!(found, [batch]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(files[0].1.clone()).expect("a file");
    let columns = reader.metadata().row_group(0).columns();
    assert_eq!(columns[1].compression(), Compression::UNCOMPRESSED);
    assert!(columns[1].statistics().is_none() && columns[1].dictionary_page_offset().is_none());
    assert!(columns[0].statistics().is_some());
}

#[tokio::test]
async fn files_roll_and_memory_is_bounded() {
    for (given, at_least) in [
        (vec![("roll_bytes", "60 KB")], 3),
        (vec![("buffer_bytes", "600 KB"), ("partition_by", "day")], 4),
    ] {
        let folders = memory();
        let mut all = vec![("path", "x"), ("format", "parquet")];
        all.extend(given);
        let schema = rows(0, 0).schema();
        let mut sink =
            FilesSink::over(&schema, &options(&all), Arc::clone(&folders[0]), None, None)
                .expect("a sink");
        sink.recover("p", &whole()).await.expect("a start");
        for block in 0..50 {
            sink.write(Output::Rows(&rows(block * 500, 500))).await.expect("rows");
        }
        sink.commit(&progress(1)).await.expect("a commit");
        let files = parquet_files(&folders[0]).await;
        assert!((at_least..100).contains(&files.len()), "{} files", files.len());
        let mut ids: Vec<i64> = Vec::new();
        for (_, bytes) in &files {
            for batch in read(bytes) {
                let column = batch.column(0).as_any().downcast_ref::<Int64Array>().expect("ids");
                ids.extend(column.values());
            }
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..25_000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn rejected_records_keep_their_bytes() {
    let folders = memory();
    let mut sink = sink_over(&folders, &[]);
    sink.recover("p", &whole()).await.expect("a start");
    let text = Rejected {
        key: Some(Bytes::from_static(b"k")),
        payload: Some(Bytes::from_static(b"{\"a\":")),
        ..rejected(8)
    };
    sink.write(Output::Rejected(&[rejected(7), text])).await.expect("records");
    sink.commit(&progress(1)).await.expect("a commit");
    let path = "part-000000000002-00000.jsonl";
    let lines = folders[2].get(path).await.expect("bytes").expect("a file");
    assert_eq!(
        std::str::from_utf8(&lines).expect("text"),
        "{\"partition\":\"0\",\"position\":7,\"timestamp\":\"1970-01-01T00:00:00Z\",\"reason\":\"bad\",\
         \"payload_base64\":\"/w==\"}\n\
         {\"partition\":\"0\",\"position\":8,\"timestamp\":\"1970-01-01T00:00:00Z\",\"reason\":\"bad\",\
         \"key\":\"k\",\"payload\":\"{\\\"a\\\":\"}\n"
    );
}

#[tokio::test]
async fn changed_shapes_are_refused() {
    let folders = memory();
    let over = |schema: &arrow::datatypes::SchemaRef, given: &[(&str, &str)]| {
        let mut all = vec![("path", "x")];
        all.extend_from_slice(given);
        FilesSink::over(schema, &options(&all), Arc::clone(&folders[0]), None, None)
            .expect("a sink")
    };
    let schema = rows(0, 0).schema();
    over(&schema, &[]).recover("p", &whole()).await.expect("a start");
    let fewer = Arc::new(schema.project(&[0]).expect("a schema"));
    let turned = Arc::new(schema.project(&[1, 0]).expect("a schema"));
    for (schema, given, line) in [
        (&fewer, &[][..], "has the columns id Int64, day Utf8, but this pipeline writes id Int64"),
        (
            &turned,
            &[],
            "has the columns id Int64, day Utf8, but this pipeline writes day Utf8, id Int64",
        ),
        (&schema, &[("format", "json")], "has the format parquet, but this pipeline writes json"),
        (
            &schema,
            &[("partition_by", "day")],
            "has partition columns none, but this pipeline writes day",
        ),
    ] {
        let error = over(schema, given).recover("p", &whole()).await.expect_err("a refusal");
        assert!(matches!(error, Error::Option(_)));
        assert!(error.to_string().contains(line), "{error}");
        assert!(error.to_string().contains("write to another path"), "{error}");
    }
}

#[test]
fn places_in_each_others_way_are_refused() {
    let new = |given: &[(&str, &str)]| {
        let mut all = vec![("path", "out/")];
        all.extend_from_slice(given);
        FilesSink::new(&rows(0, 0).schema(), &options(&all)).err().map(|error| error.to_string())
    };
    for inside in ["out", "out/late", "out/_pending", "out/_sembla/x"] {
        let line = new(&[("late_path", inside)]).expect("a refusal");
        assert!(line.starts_with("late_path is inside path 'out', where readers"), "{line}");
    }
    for fine in ["late", "out2", "out/_late", "s3://b/out"] {
        assert_eq!(new(&[("late_path", fine), ("dead_letter_path", "bad")]), None, "{fine}");
    }
    assert_eq!(
        new(&[("late_path", "side"), ("dead_letter_path", "side/")]).expect("a refusal"),
        "late_path and dead_letter_path must be different folders, got 'side' for both"
    );
}
