//! Collections of a real Chroma server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Child;
use std::time::Instant;

use sembla_runtime::failpoint;
use sembla_testing::Chroma;
use serde_json::Value;

use crate::place::{Place, Run};
use crate::{PATIENCE, ended, killed, messages, start, stderr};

/// Rows of an input.
const ROWS: usize = 8000;

/// By id all that a collection has: document, metadata and vector.
fn records(server: &Chroma, name: &str) -> BTreeMap<String, [Value; 3]> {
    let text = server.records(name, "[\"documents\", \"metadatas\", \"embeddings\"]");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let ids = all["ids"].as_array().expect("ids");
    let records = ids.iter().enumerate().map(|(n, id)| {
        let parts = ["documents", "metadatas", "embeddings"].map(|part| all[part][n].clone());
        (id.as_str().expect("an id").to_string(), parts)
    });
    records.collect()
}

fn input(place: &Place, rows: usize, version: &str) {
    let words = ["card", "refund", "fee", "transfer", "top up", "exchange"];
    let line = |n: usize| format!("{n},{version} {} {} {n}\n", words[n % 6], words[n / 6 % 6]);
    place.write("in.csv", &format!("id,text\n{}", (0..rows).map(line).collect::<String>()));
}

fn arguments(server: &Chroma, collection: &str) -> Vec<String> {
    let address = server.url().replace("http://", "chroma://");
    let output = format!("{address}?collection={collection}&key=id");
    let all = [
        "embed",
        "in.csv",
        "-o",
        &output,
        "-m",
        "potion",
        "--part-rows",
        "500",
        "--batch-rows",
        "100",
    ];
    all.map(str::to_string).to_vec()
}

fn embed(place: &Place, server: &Chroma, collection: &str) -> Run {
    let all = arguments(server, collection);
    place.run(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn start_embed(place: &Place, server: &Chroma, collection: &str, fail_at: &str) -> Child {
    let all = arguments(server, collection);
    let mut command = place.command(&all.iter().map(String::as_str).collect::<Vec<_>>());
    command.env("SEMBLA_FAIL_AT", fail_at);
    command.stderr(std::fs::File::create(place.path("stderr")).expect("a file"));
    command.spawn().expect("the binary runs")
}

/// Waits until a collection has more than a number of records.
fn wait_for(server: &Chroma, collection: &str, more_than: usize, child: &mut Child) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && child.try_wait().expect("a child").is_none() {
        if server.count(collection).is_some_and(|count| count > more_than) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn pipeline(place: &Place, server: &Chroma, name: &str) -> PathBuf {
    let url = server.url();
    place.write(
        &format!("{name}.sql"),
        &format!(
            "CREATE SOURCE messages (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts)
               WITH (connector = 'files', path = 'messages.jsonl');
             CREATE SINK {name} WITH (connector = 'chroma', url = '{url}', collection = '{name}', key = 'id');
             INSERT INTO {name} SELECT id, text, ts, embed(text) AS embedding FROM messages;"
        ),
    )
}

#[test]
fn kills_and_a_server_that_goes_away_change_no_collection() {
    let (server, place) = (Chroma::start(), Place::new());
    input(&place, ROWS, "a");
    embed(&place, &server, "golden").ok();
    let golden = records(&server, "golden");
    assert_eq!(golden.len(), ROWS);
    for more_than in [0, ROWS / 4] {
        // It waits at a place that it reaches in any case, to be killed there.
        let mut child = start_embed(&place, &server, "docs", "collection.written:30=sleep(60000)");
        wait_for(&server, "docs", more_than, &mut child);
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended before: {}",
            stderr(&place)
        );
        killed(&mut child);
    }
    let mut child = start_embed(&place, &server, "docs", "collection.written:10=sleep(3000)");
    wait_for(&server, "docs", ROWS / 2, &mut child);
    assert!(child.try_wait().expect("a child").is_none(), "it ended before: {}", stderr(&place));
    server.kill_hard();
    while !stderr(&place).contains("can't be reached") {
        assert!(child.try_wait().expect("a child").is_none(), "{}", stderr(&place));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.restart();
    assert!(ended(&mut child), "{}", stderr(&place));
    assert_eq!(records(&server, "docs"), golden);
    let again = embed(&place, &server, "docs");
    assert!(again.err.contains("is already complete"), "{}", again.err);
    // The next night rows are replaced.
    input(&place, 100, "b");
    embed(&place, &server, "docs").ok();
    let replaced = records(&server, "docs");
    assert_eq!(replaced.len(), ROWS);
    let news = replaced
        .values()
        .filter(|[document, ..]| document.as_str().is_some_and(|text| text.starts_with("b ")));
    assert_eq!(news.count(), 100);
}

#[test]
fn a_kill_at_any_failpoint_changes_no_collection() {
    let (server, place) = (Chroma::start(), Place::new());
    place.write("messages.jsonl", &messages(150));
    let run = |name: &str, fail_at: Option<&str>| {
        ended(&mut start(&place, &pipeline(&place, &server, name), fail_at))
    };
    assert!(run("golden", None), "{}", stderr(&place));
    let golden = records(&server, "golden");
    assert_eq!(golden.len(), 150);
    for name in failpoint::ALL
        .iter()
        .filter(|name| name.starts_with("collection.") || **name == "sink.write")
    {
        let collection = name.replace('.', "_");
        assert!(!run(&collection, Some(&format!("{name}:1"))), "{name} is not reached");
        assert!(run(&collection, None), "{name}: {}", stderr(&place));
        assert_eq!(records(&server, &collection), golden, "{name}");
    }
}

#[test]
fn mistakes_are_one_line() {
    let (server, place) = (Chroma::start(), Place::new());
    input(&place, 3, "a");
    embed(&place, &server, "docs").ok();
    let refusal = |more: &[&str]| {
        let run = place.run(&[&["embed", "in.csv"][..], more].concat());
        assert_ne!(run.code, 0);
        run.err.lines().last().unwrap_or_default().to_string()
    };
    let address = server.url().replace("http://", "chroma://");
    let other = format!("{address}?collection=docs&key=id");
    let line = refusal(&["-o", &other]);
    assert!(
        line.contains("has vectors of 128 dimensions, and the rows have 384; embed with the model"),
        "{line}"
    );
    let line = refusal(&["-m", "potion", "-o", &format!("{address}?collection=docs")]);
    assert!(line.contains("needs the option 'key'"), "{line}");
    let line = refusal(&["-m", "potion", "-o", &format!("{address}?collection=docs&key=url")]);
    assert!(line.contains("no column 'url'; they have id, text, embedding"), "{line}");
    let line = refusal(&["-m", "potion", "-o", &format!("{other}&database=nope")]);
    assert!(line.contains("nope"), "{line}");
    // A collection says which model made its vectors, also where their dimension is the same.
    server.create("theirs", r#"{"sembla.model": "other", "sembla.space": "x"}"#);
    let line = refusal(&["-m", "potion", "-o", &format!("{address}?collection=theirs&key=id")]);
    assert!(
        line.contains("has vectors of model 'other', and the rows have those of 'potion"),
        "{line}"
    );
    assert!(line.contains("embed with 'other', or write to another collection"), "{line}");
    server.create("nobodys", r#"{"about": "of somebody else"}"#);
    let unknown = format!("{address}?collection=nobodys&key=id");
    place.run(&["embed", "in.csv", "-m", "potion", "-o", &unknown]).ok();
}

#[test]
fn a_document_that_got_shorter_leaves_no_chunks_behind() {
    let (server, place) = (Chroma::start(), Place::new());
    let address = server.url().replace("http://", "chroma://");
    let output = format!("{address}?collection=chunks&key=id,chunk_index&chunks_of=id");
    let night = |sizes: [usize; 3]| {
        let words = |n: usize| (0..n).map(|n| format!("word{n}. ")).collect::<String>();
        let lines = sizes.iter().enumerate().map(|(id, size)| format!("{id},{}\n", words(*size)));
        place.write("in.csv", &format!("id,body\n{}", lines.collect::<String>()));
        let run = place.run(&[
            "embed",
            "in.csv",
            "-m",
            "potion",
            "--column",
            "body",
            "--chunk",
            "tokens:16:0",
            "-o",
            &output,
        ]);
        run.ok();
        let mut last = [-1_i64; 3];
        let records = records(&server, "chunks");
        for [document, metadata, _] in records.values() {
            assert!(document.as_str().is_some_and(|text| text.contains("word")), "{document}");
            let id = metadata["id"].as_u64().expect("an id") as usize;
            last[id] = last[id].max(metadata["chunk_index"].as_i64().expect("a number"));
        }
        assert_eq!(records.len() as i64, last.iter().map(|last| last + 1).sum::<i64>());
        last
    };
    let [a, b, c] = night([60, 40, 30]);
    assert!(a > b && b > c && c > 1, "{a} {b} {c}");
    // One document and two at once that are shorter, and one that is longer.
    let [shorter, same, longer] = night([20, 40, 50]);
    assert!(shorter < a && same == b && longer > c, "{shorter} {same} {longer}");
    let [last, other, third] = night([20, 10, 10]);
    assert!(last == shorter && other < b && third < c, "{last} {other} {third}");
}

#[test]
fn a_row_that_can_not_be_a_record_is_found_and_the_others_are_kept() {
    let (server, place) = (Chroma::start(), Place::new());
    place.write("messages.jsonl", &messages(90));
    let url = server.url();
    let file = place.write(
        "bad.sql",
        &format!(
            "CREATE SOURCE messages (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts)
               WITH (connector = 'files', path = 'messages.jsonl');
             CREATE SINK docs WITH (connector = 'chroma', url = '{url}', collection = 'docs', key = 'id',
               dead_letter_collection = 'bad');
             INSERT INTO docs SELECT NULLIF(id, 33) AS id, text, embed(text) AS v FROM messages;"
        ),
    );
    assert!(ended(&mut start(&place, &file, None)), "{}", stderr(&place));
    assert_eq!(server.count("docs"), Some(89));
    let letters = records(&server, "bad");
    let reasons: Vec<_> = letters.values().map(|[document, ..]| document.clone()).collect();
    assert_eq!(reasons, [Value::from("column 'id' of the key is NULL")]);
}

#[test]
fn a_static_query_is_written_twice_with_the_same_result() {
    let (server, place) = (Chroma::start(), Place::new());
    let sink = format!(
        "CREATE SINK batch WITH (connector = 'chroma', url = '{}', collection = 'batch', key = 'id', document = 'text');",
        server.url()
    );
    let insert = "INSERT INTO batch SELECT column1 AS id, column2 AS text, embed(column2) AS embedding \
                  FROM (VALUES (1, 'my card'), (2, 'rain'))";
    let run = |text: &str| place.run(&["sql", text, "-m", "potion"]);
    let first = run(&format!("{sink} {insert}"));
    assert!(first.err.contains("2 rows written to sink 'batch'"), "{}", first.err);
    first.ok();
    let before = records(&server, "batch");
    assert_eq!(before.len(), 2);
    let address = server.url().replace("http://", "chroma://");
    let copy = "SELECT column1 AS id, column2 AS text, embed(column2) AS embedding FROM (VALUES (1, 'my card'), (2, 'rain'))";
    let options = "OPTIONS (collection 'batch', key 'id', document 'text')";
    run(&format!("COPY ({copy}) TO '{address}' {options}")).ok();
    assert_eq!(records(&server, "batch"), before);
}
