//! Which columns of which files commands read, and what they say of it.

use crate::place::{Place, read_parquet};

const SEARCH: [&str; 5] = ["-q", "oil prices", "-m", "potion", "--format=csv"];

#[test]
fn the_id_of_the_file_is_the_id_of_the_result() {
    let place = Place::new();
    place.write("in.csv", "id,description\n17,oil prices rise\n4,my card was stolen\n");
    let run = place.run(&[&["search", "in.csv"][..], &SEARCH].concat());
    assert!(run.err.contains("text: description, id: id\n"), "{}", run.err);
    assert!(run.ok().lines().nth(1).is_some_and(|line| line.starts_with("0,1,17,")));
    place.write("bare.csv", "description\noil prices rise\nmy card was stolen\n");
    let run = place.run(&[&["search", "bare.csv"][..], &SEARCH].concat());
    assert!(run.err.contains("text: description, id: row number\n"), "{}", run.err);
    assert!(run.ok().lines().nth(1).is_some_and(|line| line.starts_with("0,1,0,")));
}

#[test]
fn a_date_is_no_text_and_a_field_inside_a_column_is_one() {
    let place = Place::new();
    place.write(
        "in.jsonl",
        "{\"ts\": \"2024-10-09T00:00:00\", \"doc\": {\"body\": \"my card was stolen\"}}\n\
         {\"ts\": \"2024-10-10T00:00:00\", \"doc\": {\"body\": \"oil prices rise\"}}\n",
    );
    let line = place.run(&[&["search", "in.jsonl"][..], &SEARCH].concat()).fails(2);
    assert!(line.contains("no text column"), "{line}");
    assert!(line.contains("--column doc.body selects a field inside one"), "{line}");
    let args = [&["search", "in.jsonl", "--column", "doc.body"][..], &SEARCH].concat();
    let run = place.run(&args);
    assert!(run.err.contains("text: doc.body, id: row number\n"), "{}", run.err);
    assert!(run.ok().lines().nth(1).is_some_and(|line| line.starts_with("0,1,1,")));
}

#[test]
fn vectors_of_another_model_are_refused_with_what_to_do() {
    let place = Place::new();
    place.write(
        "in.jsonl",
        "{\"text\": \"a\", \"embedding\": [0.5, 1.0]}\n{\"text\": \"b\", \"embedding\": [1.0, 0.5]}\n",
    );
    let line = place.run(&[&["search", "in.jsonl"][..], &SEARCH].concat()).fails(2);
    let expected = "column 'embedding' has 2 components, but model potion makes 128; name the model that made them with -m";
    assert_eq!(line, expected);
}

#[test]
fn embed_reads_all_formats_and_keeps_the_columns_of_folders() {
    let place = Place::new();
    for folder in ["in/lang=de", "in/lang=__HIVE_DEFAULT_PARTITION__", "in/lang=en/_tmp"] {
        std::fs::create_dir_all(place.path(folder)).expect("a folder");
    }
    place.write("in/lang=de/a.tsv", "id\ttext\n1\tKarte weg\n");
    place.write("in/lang=de/b.json", "[{\"id\": 2, \"text\": \"Karte da\"}]");
    place.write("in/lang=__HIVE_DEFAULT_PARTITION__/c.csv", "text;id\nno card;3\n");
    place.write("in/lang=en/_tmp/d.csv", "text,id\nhalf,4\n");
    let args = ["embed", "in", "-o", "out.parquet", "-c", "text", "-m", "potion"];
    let run = place.run(&args);
    assert!(run.err.contains("read with ';' between fields"), "{}", run.err);
    run.ok();
    let sql = "SELECT id, lang, vector_dims(embedding) FROM 'out.parquet' ORDER BY id";
    let rows = place.run(&["sql", sql, "--format=csv"]).ok();
    let rows: Vec<&str> = rows.lines().skip(1).collect();
    assert_eq!(rows, ["1,de,128", "2,de,128", "3,,128"]);
    assert_eq!(read_parquet(&place.path("out.parquet")).num_columns(), 4);
}
