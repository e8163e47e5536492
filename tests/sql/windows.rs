//! Windows over many rows in several partitions against what they are by definition, and what
//! `.slt` files can't show of them: memory limits.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::datasource::MemTable;
use sembla_sql::{Engine, EngineOptions, Outcome, Session, SessionOptions, SqlError};

/// A row: its id, key and time. Rows of a key are near one another now and then, and times repeat.
type Row = (i64, Option<&'static str>, i64);
/// A row's id with the start and the end of a window that it is in.
type InWindow = (i64, i64, i64);

fn rows(count: i64) -> Vec<Row> {
    const KEYS: [Option<&str>; 4] = [Some("a"), Some("b"), None, Some("")];
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    (0..count).map(|id| (id, KEYS[next(4) as usize], next(3_000) as i64 - 1_500)).collect()
}

/// The rows as a table, in batches of odd sizes over three partitions.
fn session(rows: &[Row], memory_limit_bytes: Option<usize>) -> Session {
    let engine = EngineOptions { memory_limit_bytes, ..Default::default() };
    let options = SessionOptions { target_partitions: Some(3), batch_rows: Some(7) };
    let session = Engine::new(engine).and_then(|engine| engine.session(options));
    let session = session.expect("a session");
    let batch = |rows: &[Row]| {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>());
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.2));
        let times: ArrayRef = Arc::new(times);
        RecordBatch::try_from_iter_with_nullable([
            ("id", ids, false),
            ("who", keys, true),
            ("ts", times, true),
        ])
        .expect("a batch")
    };
    let batches = |rows: &[Row]| rows.chunks(11).map(batch).collect::<Vec<_>>();
    let mut partitions: Vec<Vec<RecordBatch>> =
        rows.chunks(rows.len().div_ceil(3).max(1)).map(batches).collect();
    if partitions.is_empty() {
        partitions.push(Vec::new());
    }
    let table = MemTable::try_new(batch(&[]).schema(), partitions).expect("a table");
    session.context().register_table("rows", Arc::new(table)).expect("no other table");
    session
}

async fn collect(session: &Session, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
    let statement = session.parse(sql)?.pop().expect("a statement");
    let Outcome::Rows(frame) = session.execute(statement).await? else { panic!("no rows: {sql}") };
    let partitions = frame.collect_partitioned().await?;
    Ok(partitions.into_iter().flatten().collect())
}

async fn in_windows(session: &Session, window: &str) -> Vec<InWindow> {
    let sql = format!("SELECT id, window_start, window_end FROM {window}");
    let batches = collect(session, &sql).await.expect("rows");
    let mut found = Vec::new();
    for batch in batches {
        let times =
            |n| batch.column(n).as_primitive::<TimestampMicrosecondType>().values().to_vec();
        let ids = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        let (starts, ends) = (times(1), times(2));
        found.extend(
            ids.into_iter().zip(starts).zip(ends).map(|((id, start), end)| (id, start, end)),
        );
    }
    found
}

/// Every window of the grid, asked for each row whether the row is in it.
fn on_grid(rows: &[Row], slide: i64, size: i64, offset: i64) -> Vec<InWindow> {
    let starts = |time: i64| {
        (time - size..=time).filter(move |start| (start - offset).rem_euclid(slide) == 0)
    };
    let windows = |row: &Row| {
        let (id, _, time) = *row;
        starts(time)
            .map(move |start| (id, start, start + size))
            .filter(move |(_, start, end)| (*start..*end).contains(&time))
            .collect::<Vec<_>>()
    };
    rows.iter().flat_map(windows).collect()
}

/// A session grows from its row as long as any row of its key lies less than a gap away.
fn by_growing(rows: &[Row], gap: i64, is_keyed: bool) -> Vec<InWindow> {
    let grown = |row: &Row| {
        let (mut first, mut last) = (row.2, row.2);
        loop {
            let near = rows.iter().filter(|other| !is_keyed || other.1 == row.1);
            let near = near.filter(|other| other.2 > first - gap && other.2 < last + gap);
            let (least, greatest) = near.fold((first, last), |(least, greatest), other| {
                (least.min(other.2), greatest.max(other.2))
            });
            if (least, greatest) == (first, last) {
                return (row.0, first, last + gap);
            }
            (first, last) = (least, greatest);
        }
    };
    rows.iter().map(grown).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_are_what_their_definition_says_in_the_order_of_the_rows() {
    for count in [0, 1, 2, 400] {
        let rows = rows(count);
        let session = session(&rows, None);
        let interval = |micros: i64| format!("INTERVAL '{micros} microseconds'");
        for (size, offset) in [(1, 0), (10, 3), (700, -5)] {
            let window =
                format!("tumble(rows, ts, {}, offset => {})", interval(size), interval(offset));
            let found = in_windows(&session, &window).await;
            assert_eq!(found, on_grid(&rows, size, size, offset), "{window}");
        }
        for (slide, size) in [(1, 3), (10, 25), (100, 1000), (50, 50)] {
            let window = format!("hop(rows, ts, {}, {})", interval(slide), interval(size));
            let found = in_windows(&session, &window).await;
            assert_eq!(found, on_grid(&rows, slide, size, 0), "{window}");
        }
        for gap in [1, 5, 30, 5000] {
            let window = format!("session(rows, ts, {})", interval(gap));
            let found = in_windows(&session, &window).await;
            assert_eq!(found, by_growing(&rows, gap, false), "{window}");
            let window = format!("session(rows, ts, {}, partition_by => who)", interval(gap));
            let found = in_windows(&session, &window).await;
            assert_eq!(found, by_growing(&rows, gap, true), "{window}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_over_the_memory_limit_say_what_to_raise() {
    let session = session(&rows(20_000), Some(300_000));
    let sql = "SELECT count(*) FROM session(rows, ts, INTERVAL '1 second', partition_by => who)";
    let error = collect(&session, sql).await.expect_err("too many rows");
    assert!(matches!(error, SqlError::Resources(_)), "{error:?}");
    assert!(error.to_string().starts_with("session needs"), "{error}");
    assert!(error.to_string().ends_with("raise --memory-limit"), "{error}");
    // Windows that need no other rows need no memory.
    let sql = "SELECT count(*) FROM tumble(rows, ts, INTERVAL '1 second')";
    let counted = collect(&session, sql).await.expect("a count");
    assert_eq!(counted[0].column(0).as_primitive::<Int64Type>().value(0), 20_000);
}

/// The ids, in the order in which a query gives them.
async fn ids(session: &Session, sql: &str) -> Vec<i64> {
    let batches = collect(session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let ids = batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
    ids.flat_map(|ids| ids.iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_windows_are_sorted_over_several_partitions() {
    let rows = rows(400);
    let session = session(&rows, None);
    let times: std::collections::HashMap<i64, i64> =
        rows.iter().map(|row| (row.0, row.2)).collect();
    for window in [
        "tumble(rows, ts, INTERVAL '100 microseconds')",
        "tumble((SELECT * FROM rows WHERE ts IS NOT NULL), ts, INTERVAL '100 microseconds')",
        "hop(rows, ts, INTERVAL '50 microseconds', INTERVAL '100 microseconds')",
        "session(rows, ts, INTERVAL '20 microseconds')",
    ] {
        let all: Vec<InWindow> = in_windows(&session, window).await;
        let of = |all: &[InWindow]| all.iter().map(|(id, ..)| *id).collect::<Vec<_>>();
        let sorted = |key: &dyn Fn(&InWindow) -> (i64, i64)| {
            let mut sorted = all.clone();
            sorted.sort_by_key(key);
            of(&sorted)
        };
        let (by_id, by_time) = (sorted(&|row| (row.0, 0)), sorted(&|row| (times[&row.0], row.0)));
        let by_window = sorted(&|row| (row.1, row.0));
        let select = format!("SELECT id FROM {window}");
        assert_eq!(ids(&session, &format!("{select} ORDER BY id")).await, by_id, "{window}");
        assert_eq!(ids(&session, &format!("{select} ORDER BY ts, id")).await, by_time, "{window}");
        let found = ids(&session, &format!("{select} ORDER BY window_start, id")).await;
        assert_eq!(found, by_window, "{window}");
        let found = ids(&session, &format!("{select} ORDER BY id LIMIT 3")).await;
        assert_eq!(found, by_id[..3], "{window}");
        let found = ids(&session, &format!("{select} WHERE id < 100 ORDER BY id DESC")).await;
        let mut least = by_id.clone();
        least.retain(|id| *id < 100);
        least.reverse();
        assert_eq!(found, least, "{window}");
        let numbered = format!(
            "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM {window}) ORDER BY place"
        );
        assert_eq!(ids(&session, &numbered).await, by_id, "{window}");
    }
}
