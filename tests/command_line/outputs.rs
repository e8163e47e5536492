//! What commands write: every ending means what it says, and nothing foreign is touched.

use std::fs;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;

use crate::place::{Place, read_parquet, rows, write_parquet};

/// A place with an input.
fn place(count: usize) -> Place {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(count));
    place
}

/// The arguments that embed the input into `output`.
fn embed<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["embed", "in.parquet", "-c", "text", "-m", "potion", "-o", output];
    [&args[..], more].concat()
}

/// The shape and the numbers of a file of NumPy.
fn npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).expect("a file");
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(header % 64, 0);
    let words = String::from_utf8(bytes[10..header].to_vec()).expect("text");
    let numbers = bytes[header..].chunks_exact(4);
    let numbers = numbers.map(|n| f32::from_le_bytes(n.try_into().expect("4 bytes"))).collect();
    (words, numbers)
}

#[test]
fn npy_holds_the_vectors_and_the_ids_lie_beside_it() {
    let place = place(700);
    place.run(&embed("out.parquet", &[])).ok();
    place.run(&embed("out.npy", &["--part-rows", "300"])).ok();
    let (header, numbers) = npy(&place.path("out.npy"));
    assert!(
        header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (700, 128), }"),
        "{header}"
    );
    let expected = read_parquet(&place.path("out.parquet"));
    let vectors = expected.column_by_name("embedding").expect("vectors").as_fixed_size_list();
    for row in 0..700 {
        let found = &numbers[row * 128..][..128];
        if vectors.is_null(row) {
            assert!(found.iter().all(|n| n.is_nan()), "row {row}");
        } else {
            let vector = vectors.value(row);
            assert_eq!(found, vector.as_primitive::<Float32Type>().values().as_ref(), "row {row}");
        }
    }
    let ids = fs::read_to_string(place.path("out.ids.csv")).expect("ids");
    let expected: Vec<String> = (0..700).map(|id| id.to_string()).collect();
    assert_eq!(ids.lines().next(), Some("id"));
    assert_eq!(ids.lines().skip(1).collect::<Vec<_>>(), expected);
    assert!(!place.path("out.npy.partial").exists());
    assert!(place.run(&embed("out.npy", &[])).fails(2).contains("--overwrite replaces it"));
    place.run(&embed("out.npy", &["--overwrite", "--columns", "text"])).ok();
    let beside = fs::read_to_string(place.path("out.ids.csv")).expect("texts");
    assert_eq!(beside.lines().next(), Some("text"));
}

#[test]
fn every_ending_is_what_is_written() {
    let place = place(60);
    place.run(&embed("out.parquet", &[])).ok();
    let query = |file: &str| format!("SELECT id, text FROM '{file}' ORDER BY id");
    let rows = |file: &str| place.run(&["sql", "--format", "csv", &query(file)]).ok();
    let expected = rows("out.parquet");
    for output in ["out.csv", "out.ndjson", "out.jsonl"] {
        place.run(&embed(output, &[])).ok();
        assert!(place.path(output).is_file(), "{output}");
        assert_eq!(rows(output), expected, "{output}");
    }
    let json = fs::read_to_string(place.path("out.ndjson")).expect("a file");
    let first: serde_json::Value =
        serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["embedding"].as_array().map(Vec::len), Some(128));
    place.run(&embed("out.arrow", &[])).ok();
    let file = fs::File::open(place.path("out.arrow")).expect("a file");
    let reader = arrow_ipc::reader::FileReader::try_new(file, None).expect("Arrow");
    let found: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(found, 60);
    for output in ["out.xlsx", "out.txt", "out.parquet.gz"] {
        let line = place.run(&embed(output, &[])).fails(2);
        assert!(line.starts_with(&format!("the output {output} ends in .")), "{line}");
        assert!(!place.path(output).exists());
    }
    place.run(&embed("vectors.v2/", &[])).ok();
    assert!(place.path("vectors.v2/part-000000.parquet").exists());
    let search = ["search", "in.parquet", "-m", "potion", "-q", "card", "-o"];
    place.run(&[&search[..], &["hits.feather"]].concat()).ok();
    let line = place.run(&[&search[..], &["hits.xlsx"]].concat()).fails(2);
    assert!(line.contains("does not end in .parquet, .csv"), "{line}");
}

#[test]
fn arrow_can_be_printed() {
    let place = Place::new();
    let query = "SELECT 7 AS n UNION ALL SELECT 8 ORDER BY n";
    let output =
        place.command(&["sql", "--format", "arrow", query]).output().expect("the binary runs");
    let reader =
        arrow_ipc::reader::StreamReader::try_new(output.stdout.as_slice(), None).expect("Arrow");
    let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(rows, 2);
}

#[test]
fn a_foreign_folder_is_never_touched() {
    let place = place(100);
    fs::create_dir_all(place.path("out.parquet.partial/parts")).expect("a folder");
    place.write("out.parquet.partial/thesis.txt", "years of work");
    place.write("out.parquet.partial/parts/part-000000.parquet", "precious");
    for more in [&[][..], &["--restart"], &["--overwrite", "--restart"]] {
        let line = place.run(&embed("out.parquet", more)).fails(2);
        assert!(line.starts_with("out.parquet.partial contains 'thesis.txt'"), "{line}");
    }
    fs::remove_file(place.path("out.parquet.partial/thesis.txt")).expect("removed");
    let line = place.run(&embed("out.parquet", &["--restart"])).fails(2);
    assert!(line.contains("has parts but no manifest"), "{line}");
    let kept = fs::read(place.path("out.parquet.partial/parts/part-000000.parquet"));
    assert_eq!(kept.expect("a file"), b"precious");
    assert!(!place.path("out.parquet.partial/lock").exists(), "nothing is left there either");
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_the_work_folder_is_not_followed() {
    let place = place(100);
    fs::create_dir_all(place.path("dir/parts")).expect("a folder");
    place.write("dir/parts/mine.txt", "precious");
    std::os::unix::fs::symlink(place.path("dir"), place.path("out.parquet.partial"))
        .expect("a link");
    let line = place.run(&embed("out.parquet", &["--restart"])).fails(2);
    assert!(line.starts_with("out.parquet.partial is not a folder"), "{line}");
    assert!(place.path("dir/parts/mine.txt").exists());
    assert_eq!(fs::read_dir(place.path("dir")).expect("a folder").count(), 1);
}

#[test]
fn restart_throws_a_damaged_run_away() {
    let place = place(100);
    fs::create_dir_all(place.path("out.parquet.partial/parts")).expect("a folder");
    place.write("out.parquet.partial/manifest.json", "{\"version\": 2, \"run");
    let line = place.run(&embed("out.parquet", &[])).fails(2);
    assert!(line.contains("manifest.json is damaged") && line.contains("--restart"), "{line}");
    place.run(&embed("out.parquet", &["--restart"])).ok();
    assert_eq!(read_parquet(&place.path("out.parquet")).num_rows(), 100);
    assert!(!place.path("out.parquet.partial").exists());
}

#[test]
fn another_content_of_the_same_size_and_time_is_noticed() {
    let place = Place::new();
    let csv = |word: &str| {
        (0..60_000).fold("id,text\n".to_string(), |csv, row| csv + &format!("{row},{word} {row}\n"))
    };
    let path = place.write("in.csv", &csv("old"));
    let time = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
    let args = [
        "embed",
        "in.csv",
        "-o",
        "out.parquet",
        "-c",
        "text",
        "-m",
        "potion",
        "--part-rows",
        "500",
    ];
    let mut child = place.start(&args);
    while !place.path("out.parquet.partial/parts/part-000001.parquet").exists()
        && child.try_wait().expect("asked").is_none()
    {
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    child.kill().expect("killed");
    child.wait().expect("waited");
    place.write("in.csv", &csv("new"));
    let file = fs::File::options().append(true).open(&path).expect("a file");
    file.set_modified(time).expect("set");
    let line = place.run(&args).fails(2);
    assert!(line.contains("in.csv changed; --restart"), "{line}");
}

#[test]
fn objects_without_fields_are_texts() {
    let place = Place::new();
    place.write("in.jsonl", "{\"text\": \"a\", \"meta\": {}}\n");
    place.run(&["embed", "in.jsonl", "-o", "out.parquet", "-c", "text", "-m", "potion"]).ok();
    let found = place.run(&["sql", "--format", "csv", "SELECT meta FROM 'out.parquet'"]).ok();
    assert_eq!(found, "meta\n{}\n");
}

#[test]
fn only_new_rows_are_embedded_and_added() {
    let place = Place::new();
    let all = rows(2600);
    for output in ["out.parquet", "parts"] {
        write_parquet(&place.path("in.parquet"), &all.slice(0, 1000));
        place.run(&embed(output, &["--only-new", "id"])).ok();
        write_parquet(&place.path("in.parquet"), &all);
        let run = place.run(&embed(output, &["--only-new", "id", "--part-rows", "900"]));
        assert!(run.err.contains("1,600 rows, "), "{}", run.err);
        run.ok();
        let run = place.run(&embed(output, &["--only-new", "id"]));
        assert!(run.err.contains("already has every row of the input"), "{}", run.err);
        let query = format!(
            "SELECT count(*), count(DISTINCT id), sum(id), count(embedding) FROM '{output}'"
        );
        let found = place.run(&["sql", "--format", "csv", &query]).ok();
        let vectors = 2600 - all.column(1).null_count();
        assert_eq!(found.lines().last(), Some(format!("2600,2600,3378700,{vectors}").as_str()));
        let line =
            place.run(&embed(output, &["--only-new", "id", "--truncate-dim", "64"])).fails(2);
        assert!(line.contains("was embedded with model 'potion'"), "{line}");
        let line = place.run(&embed(output, &[])).fails(2);
        assert!(line.contains("--only-new id adds"), "{line}");
    }
    let line = place.run(&embed("out.csv", &["--only-new", "id"])).fails(2);
    assert!(line.contains("got out.csv"), "{line}");
    let line = place.run(&embed("out.parquet", &["--only-new", "no"])).fails(2);
    assert!(line.contains("no column 'no'"), "{line}");
}

/// The ids with texts and what is embedded, as lines.
fn texts(ids: impl Iterator<Item = u32>, text: impl Fn(u32) -> Option<String>) -> String {
    let line = |id: u32| match text(id) {
        Some(text) => format!("{{\"id\": {id}, \"text\": \"{text}\"}}\n"),
        None => format!("{{\"id\": {id}, \"text\": null}}\n"),
    };
    ids.map(line).collect()
}

fn first_text(id: u32) -> Option<String> {
    (id % 50 != 7).then(|| format!("question {id} about card {}", id % 13))
}

/// One of a hundred changed.
fn second_text(id: u32) -> Option<String> {
    if id % 100 == 3 { Some(format!("another question {id}")) } else { first_text(id) }
}

const INCREMENTAL: [&str; 10] = [
    "embed",
    "in.jsonl",
    "-o",
    "out.parquet",
    "-m",
    "potion",
    "--incremental",
    "--key",
    "id",
    "--json",
];

#[test]
fn only_what_changed_is_embedded() {
    let place = Place::new();
    place.write("in.jsonl", &texts(0..2000, first_text));
    let run = place.run(&INCREMENTAL);
    assert!(run.err.contains("2,000 new, 0 changed, 0 unchanged, 0 gone"), "{}", run.err);
    run.ok();
    // One in a hundred changes, one in two hundred goes, ten are new, and the order is another.
    let stays = |id: &u32| id % 200 != 5;
    place.write("in.jsonl", &texts((0..2010).rev().filter(stays), second_text));
    let run = place.run(&INCREMENTAL);
    assert!(run.err.contains("9 new, 20 changed, 1,970 unchanged, 10 gone"), "{}", run.err);
    let figures = run.ok();
    for figure in ["\"new\":9", "\"changed\":20", "\"gone\":10", "\"embedded\":28"] {
        assert!(figures.contains(figure), "{figure}: {figures}");
    }
    // It is what a run from nothing gives.
    let mut fresh = INCREMENTAL.to_vec();
    fresh[3] = "fresh.parquet";
    place.run(&fresh).ok();
    assert_eq!(
        read_parquet(&place.path("out.parquet")),
        read_parquet(&place.path("fresh.parquet"))
    );
    // Nothing changed: the file stays as it is.
    let run = place.run(&INCREMENTAL);
    assert!(run.err.contains("already has every row"), "{}", run.err);
}

#[test]
fn rows_that_the_input_lacks_stay_where_that_is_asked() {
    let place = Place::new();
    let query = "SELECT count(*), count(DISTINCT id), count(embedding) FROM 'out.parquet'";
    let run = |cleanup: &str| {
        place.write("in.jsonl", &texts(0..100, first_text));
        place.run(&[&INCREMENTAL[..], &["--overwrite"]].concat()).ok();
        place.write("in.jsonl", &texts(50..100, second_text));
        place.run(&[&INCREMENTAL[..], &["--cleanup", cleanup]].concat()).ok();
        // A second night changes nothing.
        place.run(&[&INCREMENTAL[..], &["--cleanup", cleanup]].concat());
        let found = place.run(&["sql", "--format", "csv", query]).ok();
        found.lines().last().expect("a line").to_string()
    };
    assert_eq!(run("full"), "50,50,49");
    assert_eq!(run("incremental"), "100,100,98");
    place.write("in.jsonl", &texts(0..100, first_text));
    place.run(&[&INCREMENTAL[..], &["--overwrite"]].concat()).ok();
    place.write("in.jsonl", &texts(0..100, second_text));
    place.run(&[&INCREMENTAL[..], &["--cleanup", "none"]].concat()).ok();
    let found = place.run(&["sql", "--format", "csv", query]).ok();
    assert_eq!(found.lines().last(), Some("101,100,99"));
}

#[test]
fn chunks_that_did_not_change_are_not_embedded_again() {
    let place = Place::new();
    let long =
        |id: u32, last: &str| format!("{} {last}", format!("Sentence {id} of a text. ").repeat(30));
    let line =
        |id: u32, last: &str| format!("{{\"id\": {id}, \"text\": \"{}\"}}\n", long(id, last));
    let more = [&INCREMENTAL[..], &["--chunk", "recursive:40:0"]].concat();
    place.write("in.jsonl", &(0..10).map(|id| line(id, "The end.")).collect::<String>());
    place.run(&more).ok();
    let changed = (0..10).map(|id| line(id, if id == 4 { "Another end." } else { "The end." }));
    place.write("in.jsonl", &changed.collect::<String>());
    let figures = place.run(&more).ok();
    assert!(figures.contains("\"changed\":1") && figures.contains("\"embedded\":1"), "{figures}");
    let query = "SELECT count(DISTINCT id), count(*) = count(embedding), max(token_count) <= 40 FROM 'out.parquet'";
    let found = place.run(&["sql", "--format", "csv", query]).ok();
    assert_eq!(found.lines().last(), Some("10,true,true"));
    let line = place.run(&INCREMENTAL).fails(2);
    assert!(line.contains("the chunking was 'recursive:40:0' and is ''"), "{line}");
}

#[test]
fn what_can_not_be_told_apart_is_an_error() {
    let place = Place::new();
    place.write("in.jsonl", "{\"id\": 1, \"text\": \"a\"}\n{\"id\": 1, \"text\": \"b\"}\n");
    let line = place.run(&INCREMENTAL).fails(2);
    assert!(line.contains("--key id: '1' is in the input twice"), "{line}");
    place.run(&["embed", "in.jsonl", "-o", "out.parquet", "-m", "potion", "--restart"]).ok();
    place.write("in.jsonl", "{\"id\": 1, \"text\": \"a\"}\n{\"id\": null, \"text\": \"b\"}\n");
    let line = place.run(&INCREMENTAL).fails(2);
    assert!(line.contains("has no column 'content_hash'"), "{line}");
    let line = place.run(&[&INCREMENTAL[..], &["--overwrite", "--restart"]].concat()).fails(2);
    assert!(line.contains("a row has no 'id' (NULL)"), "{line}");
    let mut other = INCREMENTAL.to_vec();
    other[3] = "out.csv";
    let line = place.run(&other).fails(2);
    assert!(line.contains("--incremental needs a .parquet file as output, got out.csv"), "{line}");
}

#[test]
fn chunks_are_rows_with_their_vectors() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(100));
    let long = "SELECT 7 AS id, string_agg(text, ' ') AS text FROM 'in.parquet' UNION ALL SELECT 8, NULL UNION ALL SELECT 9, 'short'";
    place.run(&["sql", &format!("COPY ({long}) TO 'long.parquet'")]).ok();
    let args = [
        "embed",
        "long.parquet",
        "-o",
        "chunks.parquet",
        "-m",
        "potion",
        "--chunk",
        "recursive:32:4",
        "--part-rows",
        "5",
    ];
    place.run(&args).ok();
    let query = "SELECT count(*) > 10, count(DISTINCT id), bool_and(token_count <= 32), count(*) = count(embedding), \
                 max(chunk_index) + 1 = count(*) - 1, bool_or(is_truncated(chunk, 'potion')) FROM 'chunks.parquet'";
    let found = place.run(&["sql", "--format", "csv", query]).ok();
    assert_eq!(found.lines().last(), Some("true,2,true,true,true,false"));
    // The same chunks as SQL gives, with the vectors that embed gives.
    let query = "SELECT count(*), bool_and(cos_sim(e.embedding, embed(s.chunk, 'potion')) > 0.9999) \
                 FROM 'chunks.parquet' e JOIN chunk('long.parquet', size => 32, overlap => 4, model => 'potion') s \
                 ON e.id = s.id AND e.chunk_index = s.chunk_index AND e.chunk_start = s.chunk_start AND e.chunk = s.chunk";
    let found = place.run(&["sql", "--format", "csv", query]).ok();
    let all = place.run(&["sql", "--format", "csv", "SELECT count(*) FROM 'chunks.parquet'"]).ok();
    let all = all.lines().last().expect("a count").to_string();
    assert_eq!(found.lines().last(), Some(format!("{all},true").as_str()));
    let line =
        place.run(&["embed", "long.parquet", "-o", "x.parquet", "--chunk", "words:3"]).fails(2);
    assert!(line.contains("write method:size:overlap"), "{line}");
}
