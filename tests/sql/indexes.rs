//! Indexes under random changes against a plain list, whole after a kill at any step of a change,
//! and searched exactly where only some rows are wanted.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type};
use sembla_sql::{Outcome, Session, SessionOptions, SqlError};

fn session() -> Session {
    let options = SessionOptions { target_partitions: Some(2), batch_rows: Some(8) };
    let session = Session::new(options).expect("a session");
    session.set_default_model("potion").expect("known");
    session
}

async fn run(session: &Session, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
    let mut batches = Vec::new();
    for statement in session.parse(sql)? {
        if let Outcome::Rows(frame) = session.execute(statement).await? {
            batches = frame.collect().await?;
        }
    }
    Ok(batches)
}

/// The line that a statement gives.
async fn told(session: &Session, sql: &str) -> String {
    let statement = session.parse(sql).expect(sql).pop().expect("a statement");
    match session.execute(statement).await {
        Ok(Outcome::Done(line)) => line,
        Ok(_) => panic!("{sql} gives no line"),
        Err(error) => format!("error: {error}"),
    }
}

/// A text of some words; equal numbers give equal texts.
fn text(number: u64) -> String {
    const WORDS: [&str; 12] = [
        "card", "rain", "money", "garden", "train", "music", "doctor", "island", "paper", "winter",
        "bread", "engine",
    ];
    let word = |place: u64| WORDS[(number / 12_u64.pow(place as u32) % 12) as usize];
    // A static model doesn't see the order of words, so another order is no other text here.
    let mut words = [word(0), word(1), word(2)];
    words.sort_unstable();
    words.join(" ")
}

/// What an index should hold: of each id its topic and its text.
type Rows = BTreeMap<i64, (String, String)>;

/// Compares the rows of an index with a list, and searches for each text of the list.
async fn compare(session: &Session, rows: &Rows) {
    let batches = run(session, "SELECT id, topic, text FROM kept ORDER BY id").await.expect("rows");
    let mut found = Rows::new();
    for batch in &batches {
        let texts = |n: usize| {
            let texts = arrow::compute::cast(batch.column(n), &arrow::datatypes::DataType::Utf8);
            texts
                .expect("texts")
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_string)
                .collect::<Vec<_>>()
        };
        let ids = batch.column(0).as_primitive::<Int64Type>().values();
        let columns = texts(1).into_iter().zip(texts(2));
        found.extend(ids.iter().copied().zip(columns));
    }
    assert_eq!(&found, rows);
    let asked: Vec<String> =
        rows.iter().map(|(id, (_, text))| format!("({id}, '{text}')")).collect();
    if asked.is_empty() {
        return;
    }
    let search = format!(
        "SELECT query_id, id, text, score FROM semantic_search(kept, queries => (SELECT column1 AS id, column2 AS text FROM (VALUES {})), \
         top_k => 3, query_prompt => '')",
        asked.join(", ")
    );
    let mut best: BTreeMap<i64, f32> = BTreeMap::new();
    for batch in run(session, &search).await.expect("hits") {
        let ids = |n: usize| batch.column(n).as_primitive::<Int64Type>().values().to_vec();
        let scores = batch.column(3).as_primitive::<Float32Type>().values();
        for ((query, id), score) in ids(0).into_iter().zip(ids(1)).zip(scores) {
            assert!(rows.contains_key(&id), "{id} was deleted and is found");
            if rows[&id].1 == rows[&query].1 {
                let best = best.entry(query).or_default();
                *best = best.max(*score);
            }
        }
    }
    assert!(best.values().all(|score| *score == 1.0), "{best:?}");
    assert_eq!(best.len(), rows.len(), "each text finds its own row or its equal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_changes_leave_what_a_list_would_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept.index");
    let mut session = session();
    let mut rows: Rows =
        (0..40).map(|id| (id, (format!("t{}", id % 3), text(id as u64 * 7)))).collect();
    let values = |rows: &Rows| {
        let row =
            |(id, (topic, text)): (&i64, &(String, String))| format!("({id}, '{topic}', '{text}')");
        rows.iter().map(row).collect::<Vec<_>>().join(", ")
    };
    let create = format!(
        "CREATE INDEX kept WITH (path = '{}') AS SELECT column1 AS id, column2 AS topic, column3 AS text FROM (VALUES {})",
        path.display(),
        values(&rows)
    );
    run(&session, &create).await.expect("created");
    let mut random = 3_u64;
    let mut next = |below: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for step in 0..40_u64 {
        match next(5) {
            0 => {
                let start = 1_000 * step as i64 + 100;
                let new: Rows =
                    (start..start + 9).map(|id| (id, ("new".into(), text(id as u64)))).collect();
                let insert = format!("INSERT INTO kept VALUES {}", values(&new));
                assert_eq!(told(&session, &insert).await, "9 rows added to index 'kept'");
                rows.extend(new);
            }
            1 => {
                let digit = next(10) as i64;
                let line =
                    told(&session, &format!("DELETE FROM kept WHERE id % 10 = {digit}")).await;
                let before = rows.len();
                rows.retain(|id, _| id % 10 != digit);
                let gone = before - rows.len();
                assert!(line.starts_with(&format!("{gone} row")), "{gone}: {line}");
            }
            2 => {
                let new = text(50_000 + step);
                let digit = next(10) as i64;
                let update = format!("UPDATE kept SET text = '{new}' WHERE id % 10 = {digit}");
                run(&session, &update).await.expect("updated");
                let hit = rows.iter_mut().filter(|(id, _)| *id % 10 == digit);
                hit.for_each(|(_, row)| row.1.clone_from(&new));
            }
            3 => {
                run(&session, "UPDATE kept SET topic = topic || '!' WHERE id % 4 = 1")
                    .await
                    .expect("updated");
                rows.iter_mut().filter(|(id, _)| *id % 4 == 1).for_each(|(_, row)| row.0.push('!'));
            }
            _ => {
                session = self::session();
                let open = format!("CREATE INDEX kept WITH (path = '{}')", path.display());
                let line = told(&session, &open).await;
                assert!(line.starts_with("index 'kept' opened: "), "{line}");
            }
        }
        compare(&session, &rows).await;
    }
    let files = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(files, 3, "the graph, the rows and the lock, and nothing of what was before");
}

/// The files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

/// Every state of the files between two that a kill can leave: new ones are added with their rows
/// first, then the graph changes, then old ones go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_two_files_leaves_one_state_or_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept.index");
    let first = session();
    let create = format!(
        "CREATE INDEX kept WITH (path = '{}') AS SELECT 1 AS id, 'a' AS topic, 'my card is lost' AS text",
        path.display()
    );
    run(&first, &create).await.expect("created");
    for change in [
        "INSERT INTO kept VALUES (2, 'b', 'rain is falling')",
        "UPDATE kept SET text = 'a train to the island' WHERE id = 2",
        "UPDATE kept SET topic = 'c' WHERE id = 1",
        "DELETE FROM kept WHERE id = 1",
    ] {
        let before = files(folder.path());
        run(&first, change).await.expect("changed");
        let after = files(folder.path());
        let mut states = vec![before.clone()];
        let is_graph = |name: &str| name == "kept.index";
        for (name, bytes) in after.iter().filter(|(name, _)| !is_graph(name)) {
            let mut next = states.last().expect("a state").clone();
            let mut partial = next.clone();
            partial.insert("kept.index.rows.partial".into(), bytes[..bytes.len() / 2].to_vec());
            partial.insert("kept.index.partial".into(), vec![1, 2, 3]);
            next.insert(name.clone(), bytes.clone());
            states.extend([partial, next]);
        }
        let mut last = states.last().expect("a state").clone();
        last.insert("kept.index".into(), after["kept.index"].clone());
        states.push(last);
        let mut seen = Vec::new();
        for state in states {
            let copy = tempfile::tempdir().expect("a folder");
            for (name, bytes) in &state {
                std::fs::write(copy.path().join(name), bytes).expect("written");
            }
            let session = session();
            let path = copy.path().join("kept.index");
            run(&session, &format!("CREATE INDEX kept WITH (path = '{}')", path.display()))
                .await
                .expect("whole");
            let rows =
                run(&session, "SELECT id, topic, text FROM kept ORDER BY id").await.expect("rows");
            let rows = arrow::util::pretty::pretty_format_batches(&rows).expect("rows").to_string();
            if seen.last() != Some(&rows) {
                seen.push(rows);
            }
        }
        assert_eq!(seen.len(), 2, "{change}: before and after, and nothing between: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_has_changed_is_not_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept.index");
    let (one, two) = (session(), session());
    let create = format!(
        "CREATE INDEX kept WITH (path = '{}') AS SELECT 1 AS id, 'apple' AS text",
        path.display()
    );
    run(&one, &create).await.expect("created");
    let open = format!("CREATE INDEX kept WITH (path = '{}')", path.display());
    run(&two, &open).await.expect("opened");
    run(&one, "INSERT INTO kept VALUES (2, 'bread')").await.expect("added");
    for change in ["INSERT INTO kept VALUES (3, 'card')", "DELETE FROM kept WHERE id = 1"] {
        let line = told(&two, change).await;
        assert!(line.contains("was changed by another process; open it again"), "{line}");
        run(&two, "DROP INDEX kept").await.expect("forgotten");
        run(&two, &open).await.expect("opened");
        run(&one, "UPDATE kept SET id = id").await.expect("changed");
    }
    assert_eq!(
        told(&one, "INSERT INTO kept VALUES (4, 'dog')").await,
        "1 row added to index 'kept'"
    );
}

/// Files written by hand are rejected, and another file is not replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_files_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("thesis.txt");
    std::fs::write(&path, "years of work").expect("written");
    let session = session();
    for head in ["CREATE INDEX", "CREATE OR REPLACE INDEX"] {
        let sql = format!(
            "{head} kept WITH (path = '{}') AS SELECT 1 AS id, 'apple' AS text",
            path.display()
        );
        let line = told(&session, &sql).await;
        assert!(line.starts_with("error: "), "{line}");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"years of work");
    }
}

/// A saved index in FROM is no table, and the message says how to use it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_in_from_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept.index").display().to_string();
    let session = session();
    let sql =
        format!("CREATE INDEX kept WITH (path = '{path}') AS SELECT 1 AS id, 'apple' AS text");
    told(&session, &sql).await;
    let line = told(&session, &format!("SELECT * FROM '{path}'")).await;
    assert!(line.contains("is a saved index, not a table; open it with CREATE INDEX"), "{line}");
}
