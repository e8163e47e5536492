//! `sembla sql` from end to end: inputs, formats, several statements.

use std::io::Write;
use std::process::Stdio;

use crate::place::{Place, rows, write_parquet};

/// Prints the rows of a query over the place's file in a format.
fn printed(place: &Place, format: &str, query: &str) -> String {
    place.run(&["sql", "--format", format, query]).ok()
}

const VALUES: &str =
    "SELECT * FROM (VALUES (1, 'one'), (NULL, 'a, \"b\"'), (30, NULL)) AS t (n, word)";

#[test]
fn a_table_is_for_people() {
    let out = printed(&Place::new(), "table", VALUES);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "    n │ word",
            "──────┼────────",
            "    1 │ one",
            " NULL │ a, \"b\"",
            "   30 │ NULL",
            "(3 rows)"
        ]
    );
}

#[test]
fn the_other_formats_are_for_programs() {
    let place = Place::new();
    assert_eq!(printed(&place, "csv", VALUES), "n,word\n1,one\n,\"a, \"\"b\"\"\"\n30,\n");
    let one = r#"{"n":1,"word":"one"}"#;
    let two = r#"{"n":null,"word":"a, \"b\""}"#;
    let three = r#"{"n":30,"word":null}"#;
    assert_eq!(printed(&place, "ndjson", VALUES), format!("{one}\n{two}\n{three}\n"));
    assert_eq!(printed(&place, "json", VALUES), format!("[{one},{two},{three}]\n"));
}

#[test]
fn no_rows_still_have_a_heading() {
    let place = Place::new();
    let query = "SELECT 1 AS n, 'x' AS word WHERE false";
    assert_eq!(printed(&place, "table", query), " n │ word\n───┼──────\n(0 rows)\n");
    assert_eq!(printed(&place, "csv", query), "n,word\n");
    assert_eq!(printed(&place, "json", query), "[]\n");
    assert_eq!(printed(&place, "ndjson", query), "");
}

#[test]
fn vectors_are_short_in_a_table_and_whole_elsewhere() {
    let place = Place::new();
    let query = "SELECT embed('where is my card?', 'potion') AS v";
    let table = printed(&place, "table", query);
    assert!(table.contains(", …](128)"), "{table}");
    let json = printed(&place, "ndjson", query);
    let csv = printed(&place, "csv", query);
    let numbers = |text: &str| {
        let list =
            text[text.find('[').expect("a list") + 1..text.find(']').expect("a list")].to_string();
        list.split(',')
            .map(|number| number.trim().parse::<f32>().expect("a number"))
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers(&json).len(), 128);
    assert_eq!(numbers(&json), numbers(&csv));
}

#[test]
fn files_in_from_are_read_whatever_their_format() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(20));
    place.write("in.csv", "id,text\n1,a\n2,b\n");
    place.write("in.json", "{\"id\": 1, \"text\": \"a\"}\n{\"id\": 2, \"text\": null}\n");
    for (file, expected) in [("in.parquet", "20,19"), ("in.csv", "2,2"), ("in.json", "2,1")] {
        let query = format!("SELECT count(*) AS a, count(text) AS t FROM '{file}'");
        assert_eq!(printed(&place, "csv", &query), format!("a,t\n{expected}\n"), "{file}");
    }
}

#[test]
fn statements_of_files_and_of_the_query_share_a_session() {
    let place = Place::new();
    place.write("a.sql", "CREATE TABLE t AS SELECT 1 AS n; -- a comment; with a semicolon\n");
    place.write("b.sql", "CREATE MODEL m WITH (path = 'potion', truncate_dim = 8);");
    let args = ["sql", "--format", "csv", "-f", "a.sql", "-f", "b.sql"];
    let query = "SELECT n, array_length(embed('x', 'm')) AS d FROM t; SELECT 'two' AS last";
    let run = place.run(&[&args[..], &[query]].concat());
    assert!(run.err.contains("model 'm' created"), "{}", run.err);
    assert_eq!(run.ok(), "n,d\n1,8\nlast\ntwo\n");
}

#[test]
fn standard_input_is_read_when_nothing_else_is_given() {
    let place = Place::new();
    for args in [&["sql", "--format", "csv"][..], &["sql", "--format", "csv", "-f", "-"]] {
        let mut child = place
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(b"SELECT 7 AS n;").expect("written");
        drop(input);
        let output = child.wait_with_output().expect("waited");
        assert_eq!(output.stdout, b"n\n7\n");
    }
}

#[test]
fn the_first_failure_ends_the_run() {
    let place = Place::new();
    place.write("a.sql", "SELECT 1 AS n; SELECT nonsense; SELECT 2 AS n;");
    let run = place.run(&["sql", "--format", "csv", "-f", "a.sql"]);
    assert_eq!(run.out, "n\n1\n");
    let line = run.fails(2);
    assert!(line.starts_with("a.sql: ") && line.contains("nonsense"), "{line}");
    assert!(place.run(&["sql", "-f", "b.sql"]).fails(2).contains("b.sql: no such file"));
    assert!(place.run(&["sql", "SELEC 1"]).fails(2).contains("SQL syntax"));
}

#[test]
fn a_bounded_table_says_that_there_is_more() {
    let place = Place::new();
    let query = "SELECT value FROM generate_series(1, 100) ORDER BY value";
    let out = place.run(&["sql", "--max-rows", "2", query]).ok();
    assert!(out.ends_with("     1\n     2\n(2 of 100 rows)\n"), "{out}");
}

#[test]
fn echo_prints_each_statement_before_its_result() {
    let place = Place::new();
    place.write("a.sql", "-- One.\nSELECT 1 AS n;\n-- Two; or so.\nSELECT 2 AS n;\n");
    let out = place.run(&["sql", "--format", "csv", "--echo", "-f", "a.sql"]).ok();
    assert_eq!(
        out,
        "\n-- One.\nSELECT 1 AS n;\n\nn\n1\n\n-- Two; or so.\nSELECT 2 AS n;\n\nn\n2\n"
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    let place = Place::new();
    let help = place.run(&["--help"]).ok();
    for word in ["sql", "embed", "models", "bench", "Exit codes", "Examples"] {
        assert!(help.contains(word), "{word}");
    }
    let help = place.run(&["embed", "--help"]).ok();
    for option in sembla_models::ModelSpec::OPTIONS.iter().filter(|option| option.key != "path") {
        assert!(help.contains(&format!("--{}", option.key.replace('_', "-"))), "{}", option.key);
    }
    assert!(place.run(&["--version"]).ok().starts_with("sembla "));
}

#[test]
fn the_models_that_come_along_are_listed_and_described() {
    let place = Place::new();
    let list = place.run(&["models", "list"]).ok();
    for name in ["minilm", "potion", "multilingual", "reranker-small"] {
        assert!(list.contains(name), "{name}: {list}");
    }
    assert!(!list.contains("not found"), "{list}");
    let about = place.run(&["models", "inspect", "potion"]).ok();
    assert!(about.contains("components    128") && about.contains("static"), "{about}");
}
