//! The same rows in the same order, whatever the number of threads: of queries without ORDER BY,
//! and of findings, whose ids, ties and representatives follow from the order of their input.

use std::fmt::Write;
use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use sembla_sql::{Outcome, Session, SessionOptions};

/// Threads that are compared with one.
const THREADS: [usize; 5] = [2, 3, 4, 8, 16];
/// Runs with each.
const RUNS: usize = 3;

/// The rows of a query.
async fn rows(sql: &str, threads: usize) -> String {
    let options = SessionOptions { target_partitions: Some(threads), ..SessionOptions::default() };
    let session = Session::new(options).expect("a session");
    // Else files as small as those of a test are not split.
    let sql = format!("SET datafusion.optimizer.repartition_file_min_size = 1; {sql}");
    let mut shown = String::new();
    for statement in session.parse(&sql).expect(&sql) {
        let outcome = session.execute(statement).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let Outcome::Rows(frame) = outcome else { continue };
        shown.clear();
        for batch in frame.collect().await.unwrap_or_else(|e| panic!("{sql}: {e}")) {
            let columns = batch.columns().iter();
            let options = FormatOptions::default();
            let columns: Vec<_> = columns
                .map(|column| ArrayFormatter::try_new(column, &options).expect("a format"))
                .collect();
            for row in 0..batch.num_rows() {
                for column in &columns {
                    let _ = write!(shown, "{} ", column.value(row));
                }
                shown.push('\n');
            }
        }
    }
    shown
}

/// The same for every number of threads and in every run.
async fn same(sql: &str) {
    let one = rows(sql, 1).await;
    assert!(!one.is_empty(), "{sql} gives rows");
    for threads in THREADS {
        for run in 0..RUNS {
            let found = rows(sql, threads).await;
            assert!(found == one, "{sql}: run {run} with {threads} threads differs");
        }
    }
}

/// Twelve files of Parquet, CSV and JSON whose rows repeat each other's texts.
async fn folder(root: &Path) {
    let ends = ["parquet", "csv", "json", "parquet"];
    let texts = ["my card was stolen", "a parcel is late", "how do I pay", "the app is slow"];
    let session = Session::new(SessionOptions::default()).expect("a session");
    for file in 0..12 {
        let end = ends[file % ends.len()];
        let values: Vec<String> = (0..40)
            .map(|row| format!("({}, '{}', {row})", file * 1000 + row, texts[row % texts.len()]))
            .collect();
        let sql = format!(
            "COPY (SELECT column1 AS number, column2 AS text, column3 AS row FROM (VALUES {})) TO '{}/{file:02}.{end}'",
            values.join(", "),
            root.display()
        );
        for statement in session.parse(&sql).expect("SQL") {
            let Ok(Outcome::Rows(frame)) = session.execute(statement).await else {
                panic!("{sql} runs")
            };
            frame.collect().await.expect("written");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_has_one_order() {
    let place = tempfile::tempdir().expect("a folder");
    folder(place.path()).await;
    let name = place.path().display();
    for source in [format!("'{name}'"), format!("'{name}/*.parquet'"), format!("'{name}/0*'")] {
        same(&format!("SELECT number FROM {source}")).await;
        same(&format!("SELECT number FROM {source} LIMIT 50")).await;
        same(&format!("SELECT number, upper(text) FROM {source} WHERE row % 3 = 0 LIMIT 20")).await;
        same(&format!("SELECT number, row_number() OVER () FROM {source}")).await;
        same(&format!("SELECT number FROM {source} UNION ALL SELECT row FROM {source}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn findings_over_a_folder_are_the_same() {
    let place = tempfile::tempdir().expect("a folder");
    folder(place.path()).await;
    let name = place.path().display();
    let model = "model => 'potion'";
    same(&format!("SELECT id, is_kept FROM dedup('{name}', text => text, {model})")).await;
    same(&format!(
        "SELECT id, score FROM semantic_search('{name}', text => text, query => 'stolen card', top_k => 3, {model})"
    ))
    .await;
    same(&format!(
        "SELECT * FROM paraphrase_mining('{name}/*.parquet', text => text, max_pairs => 50, {model})"
    ))
    .await;
    same(&format!(
        "SELECT id, cluster_id FROM clusters('{name}', text => text, algorithm => 'kmeans', k => 4, {model})"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_large_file_has_one_order() {
    const ROWS: usize = 200_000;
    let place = tempfile::tempdir().expect("a folder");
    let path = |name: &str| place.path().join(name);
    let (mut csv, mut json) = (String::from("number,text\n"), String::new());
    for row in 0..ROWS {
        let text =
            format!("row {row} says some words that make the file a large one, as it must be");
        let _ = writeln!(csv, "{row},\"{text}\"");
        let _ = writeln!(json, "{{\"number\": {row}, \"text\": \"{text}\"}}");
    }
    std::fs::write(path("a.csv"), csv).expect("written");
    std::fs::write(path("a.jsonl"), json).expect("written");
    let copy = format!(
        "COPY (SELECT * FROM '{}') TO '{}' OPTIONS ('format.max_row_group_size' '10000')",
        path("a.csv").display(),
        path("a.parquet").display()
    );
    rows(&copy, 1).await;
    for name in ["a.csv", "a.jsonl", "a.parquet"] {
        let name = path(name).display().to_string();
        let expected: String = (0..ROWS).map(|row| format!("{row} \n")).collect();
        for threads in [1, 2, 8, 16] {
            let found = rows(&format!("SELECT number FROM '{name}'"), threads).await;
            assert!(found == expected, "{name} with {threads} threads");
        }
        same(&format!("SELECT number FROM '{name}' WHERE number % 1000 = 7 LIMIT 30")).await;
        same(&format!("SELECT count(*), sum(number) FROM '{name}'")).await;
    }
}
