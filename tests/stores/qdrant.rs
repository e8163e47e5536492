//! Collections of Qdrant: what the real binary writes to a stand-in for the server, which checks
//! each call against the published description of the interface.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use sembla_runtime::failpoint;
use sembla_testing::{Fault, Point, Qdrant};
use serde_json::{Value, json};

use crate::place::{Place, Run};
use crate::{PATIENCE, ended, killed, messages, start, stderr};

/// Rows of an input that is killed on its way.
const ROWS: usize = 2000;

fn input(place: &Place, rows: usize, version: &str) {
    let words = ["card", "refund", "fee", "transfer", "top up", "exchange"];
    let line = |n: usize| format!("{n},{version} {} {} {n}\n", words[n % 6], words[n / 6 % 6]);
    place.write("in.csv", &format!("id,text\n{}", (0..rows).map(line).collect::<String>()));
}

fn address(server: &Qdrant, rest: &str) -> String {
    format!("{}?{rest}", server.url().replace("http://", "qdrant://"))
}

fn embed(place: &Place, output: &str, more: &[&str]) -> Run {
    place.run(&[&["embed", "in.csv", "-m", "potion", "-o", output][..], more].concat())
}

fn start_embed(place: &Place, output: &str) -> Child {
    let all = [
        "embed",
        "in.csv",
        "-m",
        "potion",
        "-o",
        output,
        "--part-rows",
        "300",
        "--batch-rows",
        "100",
    ];
    let mut command = place.command(&all);
    command.stderr(std::fs::File::create(place.path("stderr")).expect("a file"));
    command.spawn().expect("the binary runs")
}

fn pipeline(place: &Place, server: &Qdrant, name: &str, more: &str, query: &str) -> PathBuf {
    let url = server.url();
    place.write(
        &format!("{name}.sql"),
        &format!(
            "CREATE SOURCE messages (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts)
               WITH (connector = 'files', path = 'messages.jsonl');
             CREATE SINK {name} WITH (connector = 'qdrant', url = '{url}', collection = '{name}', key = 'id',
               retries = 0{more});
             INSERT INTO {name} {query};"
        ),
    )
}

const QUERY: &str = "SELECT id, text, ts, embed(text) AS embedding FROM messages";

/// The line of a run that went wrong.
fn refusal(run: Run) -> String {
    assert_ne!(run.code, 0, "{}", run.out);
    run.err.lines().last().unwrap_or_default().to_string()
}

#[test]
fn rows_become_points_with_the_model_in_the_metadata() {
    let (server, place) = (Qdrant::start(), Place::new());
    place.write("in.csv", "id,lang,text\n7,en,my card\n8,de,meine karte\n");
    let output = address(&server, "collection=docs&key=id&distance=dot");
    embed(&place, &output, &["--column", "text", "--columns", "id,lang,text"]).ok();
    let config = server.config("docs").expect("created");
    assert_eq!(config["vectors"], json!({ "size": 128, "distance": "Dot" }));
    let about = config["metadata"].as_object().expect("metadata");
    assert_eq!(about["sembla.dimension"], "128");
    assert!(about.contains_key("sembla.model") && about.contains_key("sembla.space"), "{about:?}");
    let points = server.points("docs");
    let ids: Vec<_> = points.keys().map(String::as_str).collect();
    assert_eq!(ids, ["7", "8"]);
    let payload = json!({ "id": 7, "lang": "en", "text": "my card" });
    assert_eq!(Value::from(points["7"].payload.clone()), payload);
    let squares: f64 = points["7"].vector.iter().map(|x| x * x).sum();
    assert!((squares - 1.0).abs() < 1e-5 && points["7"].vector.len() == 128, "{squares}");
    let changes = server.calls();
    let changes = changes.iter().filter(|call| call.contains("/points") && call.starts_with("PUT"));
    assert!(
        changes.clone().count() >= 2 && changes.clone().all(|call| call.ends_with("?wait=true"))
    );
    // Keys that are no numbers have UUIDs: uuid.uuid5(uuid.NAMESPACE_OID, '["en",7]').
    let output = address(&server, "collection=both&key=lang,id");
    embed(&place, &output, &["--column", "text", "--columns", "id,lang,text"]).ok();
    assert!(
        server.points("both").contains_key("\"08c97d81-cbcb-5932-818b-720af3f100ab\""),
        "{:?}",
        server.points("both").keys()
    );
}

#[test]
fn kills_and_a_server_in_trouble_change_no_collection() {
    let (server, place) = (Qdrant::start(), Place::new());
    input(&place, ROWS, "a");
    embed(&place, &address(&server, "collection=golden&key=id"), &[]).ok();
    let golden = server.points("golden");
    assert_eq!(golden.len(), ROWS);
    let output = address(&server, "collection=docs&key=id");
    for after in [1, 4] {
        // A call that takes long, so that the process dies while it waits.
        server.trouble("PUT", "/docs/points", after, 1, Fault::Slow(Duration::from_secs(3600)));
        let mut child = start_embed(&place, &output);
        let begun = Instant::now();
        while server.troubles_left() > 0 && begun.elapsed() < PATIENCE {
            assert!(child.try_wait().expect("a child").is_none(), "{}", stderr(&place));
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!server.points("docs").is_empty() && server.points("docs").len() < ROWS);
        killed(&mut child);
    }
    // Answers that ask for another try, an answer that is lost, and a connection that is.
    for fault in [
        Fault::Status(429, "too many".into()),
        Fault::Status(503, "not ready".into()),
        Fault::HangUpAfter,
        Fault::HangUp,
    ] {
        server.trouble("PUT", "/docs/points", 1, 1, fault);
    }
    let run = embed(&place, &output, &["--part-rows", "300", "--batch-rows", "100"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let tries = run.err.matches("retrying in").count();
    assert!(tries >= 4, "{}", run.err);
    assert_eq!(server.points("docs"), golden);
    let again = embed(&place, &output, &[]);
    assert!(again.err.contains("is already complete"), "{}", again.err);
    // The next night rows are replaced.
    input(&place, 100, "b");
    embed(&place, &output, &[]).ok();
    let is_new =
        |point: &&Point| point.payload["text"].as_str().is_some_and(|text| text.starts_with("b "));
    assert_eq!(server.points("docs").len(), ROWS);
    assert_eq!(server.points("docs").values().filter(is_new).count(), 100);
}

#[test]
fn a_kill_at_any_failpoint_changes_no_collection() {
    let (server, place) = (Qdrant::start(), Place::new());
    place.write("messages.jsonl", &messages(150));
    let run = |name: &str, fail_at: Option<&str>| {
        ended(&mut start(&place, &pipeline(&place, &server, name, "", QUERY), fail_at))
    };
    assert!(run("golden", None), "{}", stderr(&place));
    let golden = server.points("golden");
    assert_eq!(golden.len(), 150);
    let own = |name: &&&str| name.starts_with("collection.") || **name == "sink.write";
    for name in failpoint::ALL.iter().filter(own) {
        let collection = name.replace('.', "_");
        assert!(!run(&collection, Some(&format!("{name}:1"))), "{name} is not reached");
        assert!(run(&collection, None), "{name}: {}", stderr(&place));
        assert_eq!(server.points(&collection), golden, "{name}");
    }
}

#[test]
fn a_row_that_the_server_refuses_is_found_and_the_others_are_kept() {
    let (server, place) = (Qdrant::start(), Place::new());
    place.write("messages.jsonl", &messages(150));
    server.refuse(" 77\"");
    let place_of_letters = ", dead_letter_collection = 'bad'";
    let file = pipeline(&place, &server, "docs", place_of_letters, QUERY);
    assert!(ended(&mut start(&place, &file, None)), "{}", stderr(&place));
    let ids: Vec<_> = server.points("docs").into_keys().collect();
    assert!(ids.len() == 149 && !ids.contains(&"77".to_string()), "{}", ids.len());
    let letters: Vec<_> = server.points("bad").into_values().collect();
    assert_eq!(letters.len(), 1);
    let reason = letters[0].payload["text"].as_str().expect("a reason");
    assert!(reason.contains("a payload is refused"), "{reason}");
    let row = letters[0].payload["payload"].as_str().expect("the row");
    assert!(row.contains("\"id\":77"), "{row}");
    // Without a place for it, it stops the pipeline.
    let file = pipeline(&place, &server, "strict", "", QUERY);
    assert!(!ended(&mut start(&place, &file, None)));
    assert!(stderr(&place).contains("dead_letter_collection"), "{}", stderr(&place));
}

#[test]
fn rows_are_deleted_where_they_say_so() {
    let (server, place) = (Qdrant::start(), Place::new());
    let url = server.url();
    let sink = format!(
        "CREATE SINK docs WITH (connector = 'qdrant', url = '{url}', collection = 'docs', key = 'id', delete = 'gone');"
    );
    let insert = |rows: &str| {
        format!(
            "INSERT INTO docs SELECT column1 AS id, column2 AS text, column3 AS gone, embed(column2) AS v \
             FROM (VALUES {rows})"
        )
    };
    let run = |rows: &str| place.run(&["sql", &format!("{sink} {}", insert(rows)), "-m", "potion"]);
    let first = run("('a', 'my card', false), ('b', 'rain', false)");
    assert!(first.err.contains("2 rows written to sink 'docs'"), "{}", first.err);
    assert_eq!(server.points("docs").len(), 2);
    run("('a', 'sun', false), ('b', 'x', true), ('c', 'x', true)").ok();
    let left = server.points("docs");
    let texts: Vec<_> = left.values().map(|point| point.payload["text"].clone()).collect();
    assert_eq!(texts, ["sun"]);
    assert!(left.values().all(|point| !point.payload.contains_key("gone")));
}

#[test]
fn a_document_that_got_shorter_leaves_no_chunks_behind() {
    let (server, place) = (Qdrant::start(), Place::new());
    let output = address(&server, "collection=chunks&key=doc%20id,chunk_index&chunks_of=doc%20id");
    let night = |a: usize, b: usize| {
        let words = |n: usize| (0..n).map(|n| format!("word{n}. ")).collect::<String>();
        place.write("in.csv", &format!("doc id,body\na,{}\nb,{}\n", words(a), words(b)));
        embed(&place, &output, &["--column", "body", "--chunk", "tokens:16:0"]).ok();
        let mut counts = BTreeMap::new();
        for point in server.points("chunks").values() {
            *counts
                .entry(point.payload["doc id"].as_str().expect("a text").to_string())
                .or_insert(0) += 1;
        }
        [counts["a"], counts["b"]]
    };
    let [long, other] = night(60, 40);
    assert!(long > other && other > 2, "{long} {other}");
    let [short, same] = night(20, 40);
    assert!(short < long && same == other, "{short} {same}");
    let indexes = server.indexes("chunks");
    assert_eq!(indexes.get("\"doc id\"").map(String::as_str), Some("keyword"));
    assert_eq!(indexes.get("chunk_index").map(String::as_str), Some("integer"));
}

#[test]
fn mistakes_are_one_line_without_secrets() {
    let (server, place) = (Qdrant::start(), Place::new());
    input(&place, 3, "a");
    let output = |rest: &str| address(&server, &format!("key=id&{rest}"));
    embed(&place, &output("collection=docs"), &[]).ok();
    let line = refusal(place.run(&["embed", "in.csv", "-o", &output("collection=docs")]));
    assert!(
        line.contains("has vectors of 128 dimensions, and the rows have 384; embed with"),
        "{line}"
    );
    let line = refusal(embed(&place, &output("collection=docs&distance=euclid"), &[]));
    assert!(
        line.contains("has the distance 'cosine', not 'euclid'; set distance = 'cosine'"),
        "{line}"
    );
    let vectors = json!({ "size": 128, "distance": "Cosine" });
    let metadata = json!({ "sembla.model": "other", "sembla.space": "x" });
    server.create("theirs", json!({ "vectors": vectors, "metadata": metadata }));
    let line = refusal(embed(&place, &output("collection=theirs"), &[]));
    assert!(
        line.contains("has vectors of model 'other', and the rows have those of 'potion"),
        "{line}"
    );
    server.create("named", json!({ "vectors": { "small": vectors } }));
    let line = refusal(embed(&place, &output("collection=named"), &[]));
    assert!(line.contains("has named vectors; set vector_name to one of 'small'"), "{line}");
    embed(&place, &output("collection=named&vector_name=small"), &[]).ok();
    assert_eq!(server.points("named")["1"].vector_name.as_deref(), Some("small"));
    let line = refusal(embed(&place, &output("collection=a%2F..%2Fb%3Fx%3D1%23y"), &[]));
    assert!(line.contains("collection 'a/../b?x=1#y'") && line.contains("INVALID"), "{line}");
    embed(&place, &output("collection=my%20docs%20%C3%BC%25"), &[]).ok();
    assert_eq!(server.points("my docs ü%").len(), 3);
    // Somebody else answers at that address.
    server.trouble("PUT", "/collections/lost", 0, 9, Fault::Status(404, "no such page".into()));
    let line = refusal(embed(&place, &output("collection=lost"), &[]));
    assert!(line.contains("check that url is that of the REST interface"), "{line}");
    server.ask_for_key("hunter2-right");
    for given in ["", "&api_key=hunter2-wrong"] {
        let line = refusal(embed(&place, &output(&format!("collection=docs{given}")), &[]));
        assert!(line.contains("refuses access (HTTP 401); check the option api_key"), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
    let mut command = place.command(&["embed", "in.csv", "-m", "potion", "--restart", "-o"]);
    command
        .arg(output("collection=docs&api_key=env:QDRANT_KEY"))
        .env("QDRANT_KEY", "hunter2-right");
    assert!(command.output().expect("the binary runs").status.success());
    // An answer that repeats the key.
    let told = "no room for hunter2-right today";
    server.trouble("PUT", "/docs/points", 0, 9, Fault::Status(507, told.into()));
    let text = format!(
        "CREATE SINK docs WITH (connector = 'qdrant', url = '{}', collection = 'docs', key = 'id', retries = 1, \
         api_key = 'hunter2-right'); INSERT INTO docs SELECT 1 AS id, embed('a') AS v",
        server.url()
    );
    let run = place.run(&["sql", &text, "-m", "potion"]);
    assert!(run.err.contains("no room for *** today"), "{}", run.err);
    assert!(!run.err.contains("hunter2"), "{}", run.err);
}
