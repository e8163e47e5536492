//! The replay: every row once, whatever the partitions, the batches and the stops; and its pace.

use arrow::array::{BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Field, Schema};
use futures::stream;

use super::*;

const SECOND: i64 = 1_000_000;

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("ts", time, false)]).into()
}

/// A table with a row for each time, in batches of that size. It begins before the asked row.
fn table(times: Vec<Option<i64>>, batch_rows: usize) -> RowsFrom {
    Arc::new(move |from| {
        let first =
            usize::try_from(from).expect("a row").saturating_sub(1) / batch_rows * batch_rows;
        let batches: Vec<_> = (first..times.len())
            .step_by(batch_rows)
            .map(|start| {
                let end = (start + batch_rows).min(times.len());
                let ids: Vec<i64> = (start as i64..end as i64).collect();
                let columns: Vec<(&str, ArrayRef)> = vec![
                    ("id", Arc::new(Int64Array::from(ids.clone()))),
                    ("ts", Arc::new(TimestampMicrosecondArray::from(times[start..end].to_vec()))),
                    ("number", Arc::new(Int64Array::from(ids))),
                ];
                Ok(RecordBatch::try_from_iter(columns).expect("rows"))
            })
            .collect();
        stream::iter(batches).boxed()
    })
}

fn replay(rows: RowsFrom, given: &[(&str, &str)]) -> Result<ReplaySource> {
    let given: Vec<_> = given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let options = Options::read("a files source", REPLAY_OPTIONS, &given)?;
    ReplaySource::new(schema(), rows, Some("ts"), &options)
}

/// Rows by number with their partition, until the end or for so many events.
async fn drain(
    source: &mut ReplaySource,
    events: usize,
    positions: &mut BTreeMap<Partition, i64>,
) -> (Vec<(i64, String)>, usize) {
    let (mut found, mut ended) = (Vec::new(), 0);
    for _ in 0..events {
        match source.next().await.expect("an event") {
            None => break,
            Some(SourceEvent::End(_)) => ended += 1,
            Some(SourceEvent::Batch(batch)) => {
                let ids = batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
                assert_eq!(ids, batch.sequences);
                assert!(batch.sequences.is_sorted() && batch.next > *ids.last().expect("a row"));
                found.extend(ids.into_iter().map(|id| (id, batch.partition.to_string())));
                positions.insert(batch.partition, batch.next);
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    (found, ended)
}

#[tokio::test]
async fn each_row_once_with_stops_anywhere() {
    let rows = 23;
    for partitions in [1, 2, 4, 30] {
        for batch_rows in [1, 5, 100] {
            for stop_after in [0, 1, 2, 3, 7, 20] {
                let table = table((0..rows).map(Some).collect(), batch_rows);
                let given = [("partitions", partitions.to_string())];
                let given = given.each_ref().map(|(key, value)| (*key, value.as_str()));
                let mut source = replay(Arc::clone(&table), &given).expect("a source");
                assert!(source.assigned().await.expect("partitions").is_whole());
                let mut positions = BTreeMap::new();
                source.start(&positions).await.expect("started");
                let (mut found, _) = drain(&mut source, stop_after, &mut positions).await;
                let mut source = replay(table, &given).expect("a source");
                source.start(&positions).await.expect("started");
                let (more, ended) = drain(&mut source, usize::MAX, &mut positions).await;
                found.extend(more);
                if stop_after == 0 {
                    assert_eq!(ended, partitions as usize);
                }
                found.sort_unstable();
                let expected: Vec<_> =
                    (0..rows).map(|n| (n, (n % i64::from(partitions)).to_string())).collect();
                assert_eq!(found, expected, "{partitions} partitions, batches of {batch_rows}");
            }
        }
    }
}

#[tokio::test]
async fn a_row_without_a_time_is_rejected() {
    let mut source = replay(table(vec![Some(1), None, Some(3)], 3), &[]).expect("a source");
    source.start(&BTreeMap::new()).await.expect("started");
    let Some(SourceEvent::Batch(batch)) = source.next().await.expect("an event") else {
        panic!("no batch")
    };
    assert_eq!((batch.sequences, batch.next), (vec![0, 2], 3));
    assert_eq!(batch.rejected.len(), 1);
    assert_eq!(batch.rejected[0].position, 1);
    assert_eq!(batch.rejected[0].reason, "column 'ts' must not be NULL, but is");
    assert_eq!(batch.rejected[0].payload.as_deref(), Some(&br#"{"id":1,"ts":null}"#[..]));
}

#[test]
fn rows_are_due_at_a_multiple_of_their_time() {
    let times = [0, 10, 10, 60, 600, 590, 601].map(|s| Some((1000 + s) * SECOND));
    let pace = Pace { origin_us: 1000 * SECOND, factor: 10.0 };
    assert_eq!(pace.due(1060 * SECOND), Duration::from_secs(6));
    assert_eq!(pace.due(0), Duration::ZERO);
    let counts =
        [0, 1, 5, 6, 59, 60, 61].map(|second| pace.count(&times, Duration::from_secs(second)));
    assert_eq!(counts, [1, 3, 3, 4, 4, 6, 7]);
    assert_eq!(pace.count(&times[3..], Duration::ZERO), 1, "one at least, or nothing would go on");
    let slow = Pace { origin_us: i64::MIN, factor: 1e-300 };
    assert!(slow.due(i64::MAX) > Duration::from_secs(1 << 30));
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let times: Vec<_> = (0..6).map(|n| Some(n * SECOND)).collect();
    for batch_rows in [1, 2, 100] {
        let table = table(times.clone(), batch_rows);
        let mut source = replay(table, &[("speed", "50")]).expect("a source");
        source.start(&BTreeMap::new()).await.expect("started");
        let mut found = Vec::new();
        loop {
            match tokio::time::timeout(Duration::from_millis(3), source.next()).await {
                Err(_) => {}
                Ok(Ok(Some(SourceEvent::Batch(batch)))) => found.extend(batch.sequences),
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => break,
                Ok(Err(error)) => panic!("{error}"),
            }
        }
        assert_eq!(found, [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn options_that_can_not_be() {
    let refusal = |given: &[(&str, &str)]| {
        replay(table(vec![], 1), given).err().expect("a refusal").to_string()
    };
    assert_eq!(
        refusal(&[("speed", "fast")]),
        "speed must be 'max' or a multiple of real time > 0 such as '60', got 'fast'"
    );
    assert!(refusal(&[("speed", "-1")]).contains("> 0"));
    assert!(refusal(&[("partitions", "0")]).contains("between 1 and 1024"));
    let options = [("speed".to_string(), "2".to_string())];
    let options = Options::read("a files source", REPLAY_OPTIONS, &options).expect("options");
    let timeless = ReplaySource::new(schema(), table(vec![], 1), None, &options);
    assert!(
        timeless.err().expect("a refusal").to_string().contains("needs the source to have a time")
    );
    let id = ReplaySource::new(schema(), table(vec![], 1), Some("id"), &options);
    assert!(id.err().expect("a refusal").to_string().contains("must be a TIMESTAMP"));
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let mut source = replay(table(vec![Some(1)], 1), &[("partitions", "2")]).expect("a source");
    let positions = BTreeMap::from([("2".into(), 1)]);
    let error = source.start(&positions).await.expect_err("a refusal").to_string();
    assert!(error.contains("names partition 2, but the replay has 2 partitions"), "{error}");
}

#[tokio::test]
async fn rows_that_can_not_be_read_keep_their_bytes_file_and_line() {
    let DataType::Struct(fields) = unreadable() else { panic!("a struct") };
    let known: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["", "in/b.jsonl", ""])),
        Arc::new(Int64Array::from(vec![0, 8, 0])),
        Arc::new(StringArray::from(vec!["", "no JSON", ""])),
        Arc::new(BinaryArray::from_vec(vec![b"", b"{\xff", b""])),
    ];
    let valid = NullBuffer::from(vec![false, true, false]);
    let known = StructArray::try_new(fields, known, Some(valid)).expect("a column");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, None]))),
        ("number", Arc::new(Int64Array::from(vec![0, 1, 2]))),
        ("unreadable", Arc::new(known)),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    );
    let batch = batch.expect("rows");
    let rows: RowsFrom = Arc::new(move |_| stream::iter([Ok(batch.clone())]).boxed());
    let mut source = replay(rows, &[]).expect("a source");
    source.assigned().await.expect("partitions");
    source.start(&BTreeMap::new()).await.expect("started");
    let Some(SourceEvent::Batch(batch)) = source.next().await.expect("an event") else {
        panic!("rows")
    };
    assert_eq!(batch.rows.num_rows(), 1);
    assert_eq!(batch.next, 3);
    let [unreadable, incomplete] = batch.rejected.as_slice() else {
        panic!("{:?}", batch.rejected)
    };
    assert_eq!((&*unreadable.partition, unreadable.position), ("in/b.jsonl", 8));
    assert_eq!(unreadable.payload.as_deref(), Some(&b"{\xff"[..]));
    assert_eq!(unreadable.reason, "no JSON");
    assert_eq!((&*incomplete.partition, incomplete.position), ("0", 2));
    assert_eq!(incomplete.payload.as_deref(), Some(&br#"{"id":3,"ts":null}"#[..]));
}

#[tokio::test]
async fn what_changed_behind_the_end_is_known() {
    for partitions in ["1", "2", "7"] {
        let of = |rows: i64| {
            replay(table((0..rows).map(Some).collect(), 5), &[("partitions", partitions)])
                .expect("a source")
        };
        let mut source = of(23);
        source.assigned().await.expect("partitions");
        source.start(&BTreeMap::new()).await.expect("started");
        let mut positions = BTreeMap::new();
        drain(&mut source, usize::MAX, &mut positions).await;
        let said = |text: &str| Some(text.to_string());
        assert_eq!(source.unread(&positions).await, Ok(None));
        assert_eq!(of(24).unread(&positions).await, Ok(said("1 row was added to it")));
        assert_eq!(of(40).unread(&positions).await, Ok(said("17 rows were added to it")));
        assert_eq!(of(20).unread(&positions).await, Ok(said("3 rows were removed from it")));
        assert_eq!(of(0).unread(&BTreeMap::new()).await, Ok(None));
    }
}
