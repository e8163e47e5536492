//! `sembla embed` that reads a table: at one moment, resumed after a kill, and night after night.

use std::collections::BTreeMap;
use std::process::Child;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use sembla_testing::Postgres;
use serde_json::Value;

use crate::place::{Place, Run, read_parquet, vector};
use crate::{ended, stderr};

const ROWS: usize = 3000;

fn fill(server: &Postgres, database: &str) {
    server.sql(
        database,
        &format!(
            "CREATE TABLE articles (id bigint PRIMARY KEY, lang text, body text, at timestamptz DEFAULT now());
             INSERT INTO articles SELECT n, 'l' || n % 3, 'first ' || n, now() FROM generate_series(1, {ROWS}) n"
        ),
    );
}

fn arguments<'a>(input: &'a str, output: &'a str) -> Vec<&'a str> {
    let more = ["--column", "body", "-m", "potion", "--part-rows", "500", "--batch-rows", "100"];
    [&["embed", input, "-o", output][..], &more].concat()
}

fn embed(place: &Place, input: &str, output: &str, more: &[&str]) -> Run {
    place.run(&[&arguments(input, output)[..], more].concat())
}

fn start(place: &Place, input: &str, output: &str, fail_at: &str) -> Child {
    let mut command = place.command(&arguments(input, output));
    command.env("SEMBLA_FAIL_AT", fail_at);
    command.stderr(std::fs::File::create(place.path("stderr")).expect("a file"));
    command.spawn().expect("the binary runs")
}

/// By id the text and the vector.
fn rows(place: &Place, name: &str) -> BTreeMap<i64, (String, Vec<f32>)> {
    let batch = read_parquet(&place.path(name));
    let ids = batch.column_by_name("id").expect("ids").as_primitive::<Int64Type>().clone();
    let texts = batch.column_by_name("body").expect("texts").as_string::<i32>().clone();
    let row = |n: usize| {
        let vector = vector(&batch, "embedding", n).expect("a vector");
        (ids.value(n), (texts.value(n).to_string(), vector))
    };
    assert_eq!(ids.null_count(), 0);
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn a_killed_run_goes_on_with_the_rows_that_it_began_with() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    fill(server, &database);
    let input = format!("{}?table=articles", server.url(&database));
    assert!(!ended(&mut start(&place, &input, "out.parquet", "embed.part:3")));
    server.sql(
        &database,
        "UPDATE articles SET body = 'second ' || id; DELETE FROM articles WHERE id % 2 = 0",
    );
    let run = embed(&place, &input, "out.parquet", &[]);
    assert!(run.err.contains("reading the rows as of 20"), "{}", run.err);
    assert!(
        run.err.contains("resuming after") && !run.err.contains(Postgres::PASSWORD),
        "{}",
        run.err
    );
    run.ok();
    let all = rows(&place, "out.parquet");
    assert_eq!(all.len(), ROWS);
    assert!(all.iter().all(|(id, (text, _))| *text == format!("first {id}")));
    assert!(!place.path("out.parquet.input").exists());
    // The vectors are those of the texts.
    place.write("in.csv", "id,body\n7,first 7\n");
    embed(&place, "in.csv", "seven.parquet", &[]).ok();
    assert_eq!(rows(&place, "seven.parquet")[&7].1, all[&7].1);
    // A run of its own reads the table as it is now.
    embed(&place, &input, "out.parquet", &["--overwrite"]).ok();
    let now = rows(&place, "out.parquet");
    assert_eq!(now.len(), ROWS / 2);
    assert!(now.iter().all(|(id, (text, _))| *text == format!("second {id}")));
}

#[test]
fn the_next_night_embeds_what_changed_in_the_table() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    fill(server, &database);
    let input = format!("{}?table=articles", server.url(&database));
    let night = || -> Value {
        let more = ["--incremental", "--key", "id", "--columns", "id,body", "--json"];
        let out = embed(&place, &input, "out.parquet", &more).ok();
        serde_json::from_str(&out).expect("JSON")
    };
    assert_eq!(night()["new"], ROWS);
    server.sql(
        &database,
        "UPDATE articles SET body = 'second ' || id WHERE id <= 10; UPDATE articles SET lang = 'x' WHERE id > 10;
         DELETE FROM articles WHERE id > 2990; INSERT INTO articles VALUES (9001, 'l', 'new')",
    );
    let figures = night();
    let counts = ["new", "changed", "gone", "embedded"].map(|name| figures[name].as_u64());
    assert_eq!(counts, [1, 10, 10, 11].map(Some), "{figures}");
    let all = rows(&place, "out.parquet");
    let texts = [all[&7].0.as_str(), all[&11].0.as_str(), all[&9001].0.as_str()];
    assert_eq!((all.len(), texts), (ROWS - 9, ["second 7", "first 11", "new"]));
    let more = ["--incremental", "--key", "id", "--columns", "id,body", "--dry-run"];
    let estimate = embed(&place, &input, "out.parquet", &more);
    assert_eq!(estimate.code, 0, "{}", estimate.err);
}

#[test]
fn a_table_goes_into_another_one() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    fill(server, &database);
    let url = server.url(&database);
    let (input, output) = (format!("{url}?table=articles"), format!("{url}?table=vectors&key=id"));
    assert!(!ended(&mut start(&place, &input, &output, "postgres.commit.after:2")));
    let run = embed(&place, &input, &output, &[]);
    assert!(run.err.contains("resuming after"), "{}{}", stderr(&place), run.err);
    run.ok();
    let same = "SELECT count(*) FROM vectors JOIN articles USING (id, lang, body, at)";
    assert_eq!(server.sql(&database, same), ROWS.to_string());
}

#[test]
fn mistakes_are_one_line_without_the_password() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    fill(server, &database);
    let url = server.url(&database);
    let line = |input: &str, more: &[&str]| {
        let line = embed(&place, input, "out.parquet", more).fails(2);
        assert!(!line.contains(Postgres::PASSWORD), "{line}");
        line
    };
    let missing = line(&format!("{url}?table=nope"), &[]);
    assert!(missing.contains("has no table nope"), "{missing}");
    let none = line(&url, &[]);
    assert!(none.contains("needs the option 'table'"), "{none}");
    let unknown = line(&format!("{url}?table=articles&tabel=x"), &[]);
    assert!(unknown.contains("'tabel'"), "{unknown}");
    let column = line(&format!("{url}?table=articles"), &["--columns", "id,titel"]);
    assert!(column.contains("no column 'titel'; the columns are id, lang, body, at"), "{column}");
    assert!(!place.path("out.parquet.input").exists());
}
