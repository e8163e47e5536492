//! What files hold is read as it was meant, in SQL and by commands alike.

use crate::place::{Place, read_parquet};

const SEARCH: [&str; 5] = ["-q", "oil prices", "-m", "potion", "--format=csv"];

impl Place {
    /// The rows of a query as CSV, without the names.
    fn rows(&self, sql: &str) -> Vec<String> {
        let out = self.run(&["sql", "-m", "potion", "--format=csv", sql]).ok();
        out.lines().skip(1).map(str::to_string).collect()
    }
}

#[test]
fn escaped_quotes_are_read_and_said() {
    let place = Place::new();
    place.write("in.csv", "id,text\n1,\"he said \\\"no, never\\\"\"\n2,plain\n");
    let run = place.run(&["sql", "SELECT text FROM 'in.csv'", "--format=json"]);
    assert!(run.err.contains("read with \\ before quotes in fields"), "{}", run.err);
    assert_eq!(run.ok(), "[{\"text\":\"he said \\\"no, never\\\"\"},{\"text\":\"plain\"}]\n");
    // Marks that can't be found out are given.
    place.write("caret.csv", "id,text\n1,|a^|b, c|\n");
    let sql =
        "SELECT text FROM read_csv('caret.csv', quote => '|', escape => '^', delimiter => ',')";
    assert_eq!(place.rows(sql), ["\"a|b, c\""]);
    let line = place.run(&["sql", "SELECT * FROM read_csv('in.csv', quote => 'ab')"]).fails(2);
    assert!(line.contains("quote must be one ASCII character") && line.contains("'ab'"), "{line}");
}

#[test]
fn a_query_may_begin_with_from() {
    let place = Place::new();
    place.write("in.csv", "id,text\n1,a\n2,b\n3,c\n");
    assert_eq!(place.rows("FROM 'in.csv' WHERE id > 1 ORDER BY id DESC LIMIT 1"), ["3,c"]);
    assert_eq!(place.rows("SELECT count(*) FROM (FROM 'in.csv' WHERE id > 1)"), ["2"]);
    assert_eq!(place.rows("WITH x AS (FROM 'in.csv') FROM x WHERE id = 2"), ["2,b"]);
    assert_eq!(place.rows("FROM 'in.csv' SELECT text WHERE id = 2"), ["b"]);
}

#[test]
fn dates_of_json_are_no_text_in_sql() {
    let place = Place::new();
    place.write(
        "in.jsonl",
        "{\"when\": \"2024-10-09T00:00:00\", \"comment\": \"my card was stolen\"}\n\
         {\"when\": \"2024-10-10T00:00:00\", \"comment\": \"oil prices rise\"}\n",
    );
    let of = |input: &str| {
        place.rows(&format!("SELECT comment FROM semantic_search({input}, query => 'oil prices')"))
    };
    assert_eq!(of("'in.jsonl', top_k => 1"), ["oil prices rise"]);
    let query = "(SELECT \"when\" AS at, comment FROM 'in.jsonl' ORDER BY 1), top_k => 1";
    assert_eq!(of(query), ["oil prices rise"]);
    place.write("dates.jsonl", "{\"id\": 1, \"when\": \"2024-10-09\"}\n");
    let sql = "SELECT * FROM dedup('dates.jsonl')";
    let line = place.run(&["sql", "-m", "potion", sql]).fails(2);
    assert!(line.contains("no column of texts or vectors; it has id Int64, when Utf8"), "{line}");
}

#[test]
fn vectors_in_the_form_of_text_are_vectors() {
    let place = Place::new();
    place.write("docs.csv", "id,text\n1,my card was stolen\n2,oil prices rise\n");
    place.run(&["embed", "docs.csv", "-o", "v.csv", "-c", "text", "-m", "potion"]).ok();
    let run = place.run(&[&["search", "v.csv"][..], &SEARCH].concat());
    assert!(run.err.contains("vectors: embedding (128)"), "{}", run.err);
    assert!(run.ok().lines().nth(1).is_some_and(|line| line.starts_with("0,1,2,")));
    place.write("own.csv", "id,embedding\n1,\"[1.0, 0.0]\"\n2,\"[0.0, 1.0]\"\n3,\n");
    let search =
        "SELECT id, score FROM semantic_search('own.csv', query => [0.0, 2.0], top_k => 1)";
    assert_eq!(place.rows(search), ["2,1.0"]);
    assert_eq!(
        place
            .rows("SELECT cos_sim(parse_vector(embedding), [2.0, 0.0]) FROM 'own.csv' ORDER BY id"),
        ["1.0", "0.0", "\"\""]
    );
    // A model of another size is told by its inputs.
    let sql = "SELECT * FROM semantic_search('own.csv', query => 'card')";
    let line = place.run(&["sql", "-m", "potion", sql]).fails(2);
    let expected = "the vectors of the corpus have 2 components, but those of the queries have 128";
    assert!(line.contains(expected) && line.contains("model => '…'"), "{line}");
    place.write("words.csv", "id,embedding\n1,a card\n");
    let sql = "SELECT * FROM dedup('words.csv', vector => embedding)";
    let line = place.run(&["sql", "-m", "potion", sql]).fails(2);
    assert!(line.contains("'a card' is not a vector such as [0.1, 0.2]"), "{line}");
}

#[test]
fn a_file_without_rows_has_no_findings() {
    let place = Place::new();
    place.write("empty.json", "[]");
    place.write("zero.csv", "");
    std::fs::create_dir(place.path("folder")).expect("a folder");
    for name in ["empty.json", "zero.csv", "folder/"] {
        let count = |finding: &str| place.rows(&format!("SELECT count(*) FROM {finding}"));
        assert_eq!(count(&format!("dedup('{name}')")), ["0"], "{name}");
        assert_eq!(count(&format!("semantic_search('{name}', query => 'x')")), ["0"], "{name}");
        let line = place.run(&["sql", &format!("SELECT id FROM '{name}'")]).fails(2);
        assert!(line.contains("column 'id' does not exist"), "{line}");
    }
}

#[test]
fn mistakes_in_expressions_are_not_told_of_the_file() {
    let place = Place::new();
    place.run(&["sql", "COPY (SELECT 'x' AS text, 0 AS n) TO 'in.parquet'"]).ok();
    let told = |sql: &str| place.run(&["sql", sql]).fails(2);
    let line = told("SELECT CAST(text AS INT) FROM 'in.parquet'");
    assert!(!line.contains("in.parquet") && line.contains("'x'"), "{line}");
    let line = told("SELECT cos_sim([1.0], [1.0, n]) FROM 'in.parquet'");
    assert!(!line.contains("can't be read") && line.contains("cos_sim"), "{line}");
}

#[test]
fn commands_work_on_the_rows_that_meet_a_condition() {
    let place = Place::new();
    place.write(
        "in.csv",
        "key,description,price\n7,oil prices rise,5\n8,oil prices fall,20\n9,my card was stolen,30\n",
    );
    let run = |more: &[&str]| place.run(&[&["search", "in.csv"][..], &SEARCH, more].concat());
    let found = run(&["--where", "price > 10", "--columns", "*"]);
    assert!(found.err.contains("where: price > 10"), "{}", found.err);
    let out = found.ok();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "query_id,rank,id,score,key,description,price");
    // The row keeps the number that it has in the file.
    assert!(lines[1].starts_with("0,1,1,") && lines[1].ends_with(",8,oil prices fall,20"));
    assert_eq!(lines.len(), 3, "{out}");
    // It may ask for a column that plays a role, by the name that it has in the result too.
    let out = run(&["--where", "text LIKE '%card%' AND id = 2"]).ok();
    assert_eq!(out.lines().count(), 2, "{out}");
    for (condition, part) in [
        ("prize > 10", "No field named prize"),
        ("price +", "--where price +: "),
        ("price + 1", "got price + 1, which is Int64"),
    ] {
        let line = run(&["--where", condition]).fails(2);
        assert!(line.contains(part), "{line}");
    }
    let dedup = ["dedup", "in.csv", "-m", "potion", "--format=csv", "--where", "key <> 7"];
    assert_eq!(place.run(&dedup).ok().lines().count(), 3);
}

#[test]
fn a_condition_can_not_mean_two_columns() {
    let place = Place::new();
    place.write("in.csv", "text,body\nx,oil prices rise\ny,my card was stolen\n");
    let args = ["--column", "body", "--where", "text = 'x'"];
    let line = place.run(&[&["search", "in.csv"][..], &SEARCH, &args].concat()).fails(2);
    assert!(line.contains("'text' is the command's own column here (body)"), "{line}");
}

#[test]
fn embed_finds_the_text_and_does_not_write_to_a_dash() {
    let place = Place::new();
    place.write("in.csv", "id,at,body\n1,2024-10-09,a card\n2,2024-10-10,oil\n");
    let run = place.run(&["embed", "in.csv", "-o", "out.parquet", "-m", "potion"]);
    assert!(run.err.contains("text: body\n"), "{}", run.err);
    run.ok();
    assert_eq!(read_parquet(&place.path("out.parquet")).num_columns(), 4);
    let line = place.run(&["embed", "in.csv", "-o", "-", "-m", "potion"]).fails(2);
    assert!(line.contains("not written to standard output"), "{line}");
}

#[test]
fn copy_writes_what_the_ending_says_or_names_the_place() {
    let place = Place::new();
    let copy = |target: &str| {
        place.run(&["sql", &format!("COPY (SELECT 1 AS a, 'x' AS b) TO '{target}'")])
    };
    for (target, read) in
        [("a.jsonl", "1,x"), ("a.tsv", "1,x"), ("a.csv.gz", "1,x"), ("new/a.ndjson.zst", "1,x")]
    {
        copy(target).ok();
        assert_eq!(place.rows(&format!("SELECT a, b FROM '{target}'")), [read], "{target}");
    }
    let tabs = std::fs::read_to_string(place.path("a.tsv")).expect("a file");
    assert_eq!(tabs, "a\tb\n1\tx\n");
    let line = copy("a.xlsx").fails(2);
    assert!(line.contains("COPY TO 'a.xlsx'") && line.contains(".parquet, .csv"), "{line}");
    if cfg!(target_os = "linux") {
        let line = copy("/proc/a.parquet").fails(2);
        assert!(line.contains("COPY TO '/proc/a.parquet': can't make a file in /proc"), "{line}");
    }
}
