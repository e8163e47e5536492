//! The shell from end to end, with what is typed coming from a pipe.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::place::{Place, Run};

/// Types lines into a shell whose data folder is the place.
fn typed(place: &Place, lines: &str) -> Run {
    let mut child = place
        .command(&["shell", "-m", "potion"])
        .env("XDG_DATA_HOME", place.path("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("typed");
    let output = child.wait_with_output().expect("waited");
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

#[test]
fn exit_quit_and_help_need_no_semicolon() {
    let place = Place::new();
    for word in ["exit", "quit", "\\q", ".exit"] {
        let run = typed(&place, &format!("SELECT 1 AS one;\n{word}\nSELECT 2 AS two;\n"));
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(run.out.contains("one") && !run.out.contains("two"), "{word}: {}", run.out);
    }
    for word in ["help", "\\?", ".help"] {
        let run = typed(&place, &format!("{word}\nSELECT 2 AS two;\n"));
        assert!(run.err.contains("\\d NAME") && run.out.contains("two"), "{word}: {}", run.err);
    }
}

#[test]
fn a_table_in_the_shell_ends_after_forty_rows_and_says_how_many_there_are() {
    let place = Place::new();
    let query = "SELECT value AS n FROM generate_series(1, 3000);\n";
    let out = typed(&place, query).ok();
    assert!(out.ends_with("(40 of 3,000 rows)\n"), "{out}");
    let out = typed(&place, &format!("\\rows 3\n{query}")).ok();
    assert!(out.ends_with("(3 of 3,000 rows)\n"), "{out}");
    let out = typed(&place, &format!("\\rows all\n{query}")).ok();
    assert!(out.ends_with("(3,000 rows)\n"), "{out}");
}

#[test]
fn rows_can_be_blocks_and_files_can_be_run_and_described() {
    let place = Place::new();
    place.write("a.sql", "CREATE TABLE t AS SELECT 1 AS id, 'x' AS word;\nSELECT * FROM t;\n");
    place.write("in.csv", "number,text\n1,a\n");
    let run = typed(&place, "\\x\n\\i a.sql\n\\x\n\\d\n\\d in.csv\n\\df hamming\n");
    assert!(run.out.contains("─[ row 1 ]─\n id   │ 1\n word │ x\n(1 row)\n"), "{}", run.out);
    assert!(run.out.contains(" t    │ BASE TABLE\n"), "{}", run.out);
    assert!(run.out.contains(" number "), "{}", run.out);
    assert!(run.out.contains("hamming_distance"), "{}", run.out);
    let run = typed(&place, "\\i missing.sql\nSELECT 7 AS n;\n");
    assert!(run.err.contains("error: missing.sql: no such file"), "{}", run.err);
    assert!(run.out.contains('7'), "the shell goes on: {}", run.out);
}

#[test]
fn help_of_a_function_is_whole() {
    let place = Place::new();
    let run = typed(&place, "\\h dedup\n\\h embde\n");
    for word in ["threshold", "partition_by", "representative", "Example: "] {
        assert!(run.err.contains(word), "{word}: {}", run.err);
    }
    assert!(
        run.err.contains("function 'embde' does not exist; did you mean 'embed'?"),
        "{}",
        run.err
    );
}

#[test]
fn a_statement_with_a_secret_is_not_kept() {
    let place = Place::new();
    let source = "CREATE SOURCE s (id INT) WITH (connector = 'kafka', topic = 't', \
                  bootstrap_servers = 'localhost:9', \"sasl.password\" = 'hunter2');";
    typed(
        &place,
        &format!("SELECT 'kept';\n{source}\nCREATE SINK s WITH (\"sasl.password\" 'hunter2');\n"),
    );
    let history = fs::read_to_string(place.path("data/sembla/history")).expect("a history");
    assert!(history.contains("kept") && !history.contains("hunter2"), "{history}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = fs::metadata(place.path("data/sembla/history")).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}
