//! Online findings as a stream runs them: one run of the query for each window, their states in
//! slots between the runs.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use sembla_sql::{OnlineSlots, Outcome, Session, SessionOptions, SqlError};

/// Windows of the table.
const WINDOWS: i64 = 6;

/// What is found in rows of `$ROWS`.
const FINDINGS: [&str; 6] = [
    "SELECT * FROM online_clusters($ROWS, threshold => 0.9, distance => 0.2, half_life => INTERVAL '1 minute')",
    "SELECT * FROM online_clusters($ROWS, k => 4)",
    "SELECT * FROM online_topics($ROWS, threshold => 0.9, distance => 0.2)",
    "SELECT * FROM online_topic_table($ROWS, text => text, vector => vector, threshold => 0.9, distance => 0.2, \
     half_life => INTERVAL '1 minute')",
    "SELECT * FROM online_dedup($ROWS, text => text, vector => vector, threshold => 0.999, horizon => INTERVAL '2 minutes')",
    "SELECT * FROM online_paraphrases($ROWS, threshold => 0.999, horizon => INTERVAL '2 minutes')",
];

/// A session with a table of some windows of a minute, and slots if it is a stream's.
async fn session(slots: Option<&Arc<OnlineSlots>>) -> Session {
    let options = SessionOptions { target_partitions: Some(2), ..Default::default() };
    let session = Session::new(options).expect("a session");
    if let Some(slots) = slots {
        let state = session.context().state_ref();
        state.write().config_mut().set_extension(Arc::clone(slots));
    }
    let sql = "CREATE TABLE rows AS
        SELECT arrow_cast(w * 60000000, 'Timestamp(Microsecond, None)') AS window_start,
               arrow_cast((w + 1) * 60000000, 'Timestamp(Microsecond, None)') AS window_end,
               w, id, concat('word', id % 7, ' other', id % 3) AS text, [cos(angle), sin(angle)] AS vector
        FROM (SELECT id, id / 20 AS w, CAST(id % 7 AS DOUBLE) * (0.7 + id / 20 * 0.02) AS angle
              FROM (SELECT value AS id FROM generate_series(0, 119)))";
    rows(&session, sql).await.expect("a table");
    session
}

async fn rows(session: &Session, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
    let statement = session.parse(sql)?.pop().expect("a statement");
    match session.execute(statement).await? {
        Outcome::Rows(frame) => Ok(frame.collect().await?),
        Outcome::Done(_) | Outcome::Stream(_) => Ok(Vec::new()),
    }
}

/// Rows as lines, without the frame of the table.
async fn lines(session: &Session, sql: &str) -> Vec<String> {
    let batches = rows(session, sql).await.expect(sql);
    let table = pretty_format_batches(&batches).expect("a table").to_string();
    let lines = table.lines().filter(|line| !line.starts_with('+')).skip(1);
    // Columns are as wide as the widest value, which differs from window to window.
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn of_window(finding: &str, number: i64) -> String {
    finding.replace("$ROWS", &format!("(SELECT * FROM rows WHERE w = {number})"))
}

fn batch(finding: &str) -> String {
    finding.replace("$ROWS", "(SELECT * FROM rows ORDER BY id)")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_one_by_one_give_what_the_table_gives() {
    for finding in FINDINGS {
        let slots = Arc::new(OnlineSlots::new());
        let stream = session(Some(&slots)).await;
        let mut found = Vec::new();
        for number in 0..WINDOWS {
            found.extend(lines(&stream, &of_window(finding, number)).await);
        }
        let wanted = lines(&session(None).await, &batch(finding)).await;
        assert!(!wanted.is_empty());
        assert_eq!(found, wanted, "{finding}");
        assert_eq!(slots.snapshot().len(), 1, "one state");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_from_a_snapshot() {
    for finding in FINDINGS {
        let slots = Arc::new(OnlineSlots::new());
        let first = session(Some(&slots)).await;
        let mut found = Vec::new();
        for number in 0..3 {
            found.extend(lines(&first, &of_window(finding, number)).await);
        }
        let snapshot = slots.snapshot();
        // What happens after a checkpoint is forgotten.
        lines(&first, &of_window(finding, 3)).await;
        let slots = Arc::new(OnlineSlots::new());
        slots.restore(&snapshot);
        assert_eq!(slots.snapshot(), snapshot, "a snapshot that nobody has read yet");
        let second = session(Some(&slots)).await;
        for number in 3..WINDOWS {
            found.extend(lines(&second, &of_window(finding, number)).await);
        }
        assert_eq!(found, lines(&session(None).await, &batch(finding)).await, "{finding}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_window_leaves_the_state_alone() {
    for finding in FINDINGS {
        let slots = Arc::new(OnlineSlots::new());
        let stream = session(Some(&slots)).await;
        for number in 0..3 {
            slots.set_early(true);
            let before = slots.snapshot();
            let early = lines(&stream, &of_window(finding, number)).await;
            assert_eq!(slots.snapshot(), before);
            slots.set_early(false);
            assert_eq!(lines(&stream, &of_window(finding, number)).await, early, "{finding}");
            assert_ne!(slots.snapshot(), before);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_cannot_be_read_is_refused_and_kept() {
    for finding in FINDINGS {
        let slots = Arc::new(OnlineSlots::new());
        let stream = session(Some(&slots)).await;
        lines(&stream, &of_window(finding, 0)).await;
        let mut snapshot = slots.snapshot();
        *snapshot[0].1.last_mut().expect("bytes") ^= 1;
        slots.restore(&snapshot);
        let refused = rows(&stream, &of_window(finding, 1)).await.expect_err("a damaged state");
        assert!(matches!(refused, SqlError::Data(_)), "{refused:?}");
        assert!(refused.to_string().contains("its checksum does not match"), "{refused}");
        assert_eq!(slots.snapshot(), snapshot);
    }
    // Ids of another type can't name rows of earlier windows.
    let slots = Arc::new(OnlineSlots::new());
    let stream = session(Some(&slots)).await;
    lines(&stream, &of_window(FINDINGS[5], 0)).await;
    slots.restore(&slots.snapshot());
    let texts = "(SELECT window_start, window_end, CAST(id AS VARCHAR) AS id, vector FROM rows WHERE w = 1)";
    let refused = rows(&stream, &FINDINGS[5].replace("$ROWS", texts)).await.expect_err("other ids");
    assert!(refused.to_string().starts_with("the ids of the state are Int64"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_window_changes_nothing() {
    let slots = Arc::new(OnlineSlots::new());
    let stream = session(Some(&slots)).await;
    lines(&stream, &of_window(FINDINGS[0], 0)).await;
    let before = slots.snapshot();
    let other =
        "(SELECT window_start, window_end, id, [1.0, 2.0, 3.0] AS vector FROM rows WHERE w = 1)";
    let refused = rows(&stream, &FINDINGS[0].replace("$ROWS", other)).await.expect_err("refused");
    assert!(refused.to_string().contains("one model must embed the whole stream"), "{refused}");
    assert_eq!(slots.snapshot(), before);
}

/// Each item of FROM has a state of its own, though both have the same words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_finding_twice_in_a_query_has_two_states() {
    let twice = "WITH found AS (SELECT * FROM online_dedup($ROWS, text => text, vector => vector))
        SELECT a.id, a.is_kept, b.is_kept FROM found a JOIN found b ON a.id = b.id ORDER BY a.id";
    let slots = Arc::new(OnlineSlots::new());
    let stream = session(Some(&slots)).await;
    let mut found = Vec::new();
    for number in 0..WINDOWS {
        found.extend(lines(&stream, &of_window(twice, number)).await);
    }
    assert_eq!(found, lines(&session(None).await, &batch(twice)).await);
    let names: Vec<String> = slots.snapshot().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with("online_dedup: id=id, vector=vector, text=text, "), "{names:?}");
}
