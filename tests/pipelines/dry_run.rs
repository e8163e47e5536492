//! `sembla run --dry-run`: what does not answer is named, before anything runs.

use crate::place::Place;

/// A port that nobody listens on.
fn dead_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The result of a dry run of this file.
fn tried(place: &Place, sql: &str) -> crate::place::Run {
    place.write("p.sql", sql);
    place.run(&["run", "p.sql", "--dry-run", "-m", "potion"])
}

const FILES: &str = "CREATE SOURCE m (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts)
    WITH (connector = 'files', path = 'messages.jsonl');";
const INSERT: &str = "INSERT INTO o SELECT id, text FROM m;";

#[test]
fn everything_that_answers_is_in_order() {
    let place = Place::new();
    place.write("messages.jsonl", "{\"id\": 1, \"text\": \"a\", \"ts\": 0}\n");
    let sink = "CREATE SINK o WITH (connector = 'files', path = 'new/out', format = 'json');";
    let run = tried(&place, &format!("{FILES}{sink}{INSERT}"));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("all checks passed"), "{}", run.err);
    assert!(!place.path("new").exists(), "nothing is made");
}

#[test]
fn files_and_columns_that_are_not_there_are_named() {
    let place = Place::new();
    let sink = "CREATE SINK o WITH (connector = 'files', path = 'out', format = 'json');";
    let line = tried(&place, &format!("{FILES}{sink}{INSERT}")).fails(2);
    assert!(line.contains("messages.jsonl") && line.contains("'m'"), "{line}");
    place.write("messages.csv", "id,body,ts\n1,a,0\n");
    let source = FILES.replace("messages.jsonl", "messages.csv");
    let line = tried(&place, &format!("{source}{sink}{INSERT}")).fails(2);
    assert!(line.contains("column 'text'"), "{line}");
    // The fields of JSON are in any of its lines.
    place.write(
        "messages.jsonl",
        "{\"id\": 1, \"ts\": 0}\n{\"id\": 2, \"ts\": 0, \"body\": \"a\"}\n",
    );
    let line = tried(&place, &format!("{FILES}{sink}{INSERT}")).fails(2);
    assert!(line.contains("has no column 'text'; its columns are id, ts, body"), "{line}");
    place.write("messages.jsonl", "{\"id\": 1, \"ts\": 0}\nno JSON\n{\"text\": \"a\"}\n");
    tried(&place, &format!("{FILES}{sink}{INSERT}")).ok();
}

#[test]
fn a_broker_that_is_not_there_is_named_on_both_sides() {
    let place = Place::new();
    let port = dead_port();
    let kafka =
        format!("connector = 'kafka', bootstrap_servers = '127.0.0.1:{port}', format = 'json'");
    let run = tried(
        &place,
        &format!(
            "CREATE SOURCE m (id BIGINT, text VARCHAR) WITH ({kafka}, topic = 'in');
             CREATE SINK o WITH ({kafka}, topic = 'out'); {INSERT}"
        ),
    );
    assert_eq!(run.code, 1, "{}", run.err);
    let lines: Vec<&str> = run.err.lines().filter(|line| line.starts_with("error: o: ")).collect();
    let of = |side: &str| {
        lines.iter().find(|line| line.contains(side)).unwrap_or_else(|| panic!("{}", run.err))
    };
    for side in ["source 'm'", "sink 'o'"] {
        assert!(of(side).contains(&format!("127.0.0.1:{port}")), "{}", run.err);
        assert!(of(side).contains("check bootstrap_servers"), "{}", run.err);
    }
}

#[test]
fn sinks_and_state_that_can_not_be_written_are_named() {
    let place = Place::new();
    place.write("messages.jsonl", "{\"id\": 1, \"text\": \"a\", \"ts\": 0}\n");
    place.write("file", "not a folder");
    let sink = |path: &str, more: &str| {
        format!("CREATE SINK o WITH (connector = 'files', path = '{path}', format = 'json'{more});")
    };
    let run = tried(&place, &format!("{FILES}{}{INSERT}", sink("file/out", "")));
    assert!(run.err.contains("sink 'o': file/out"), "{}", run.err);
    assert_ne!(run.code, 0);
    let port = dead_port();
    let store = format!(
        ", endpoint = 'http://127.0.0.1:{port}', region = 'x', access_key_id = 'x', secret_access_key = 'x'"
    );
    let run = tried(&place, &format!("{FILES}{}{INSERT}", sink("s3://bucket/out", &store)));
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("sink 'o': s3://bucket/out"), "{}", run.err);
}
