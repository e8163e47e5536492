//! `sembla embed` from end to end, with the static model.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::place::{Place, read_parquet, rows, vector, write_parquet};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::file::reader::{FileReader, SerializedFileReader};

const EMBED: [&str; 7] =
    ["embed", "in.parquet", "-o", "out.parquet", "--column=text", "-m", "potion"];

/// The arguments of an ordinary run, and more.
fn embed<'a>(more: &[&'a str]) -> Vec<&'a str> {
    EMBED.iter().copied().chain(more.iter().copied()).collect()
}

#[test]
fn every_row_comes_back_with_its_vector() {
    let place = Place::new();
    let input = rows(2500);
    write_parquet(&place.path("in.parquet"), &input);
    let run = place.run(&embed(&["--batch-rows", "300", "--part-rows", "1000"]));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("2,500 rows, 147 NULL to out.parquet with potion"), "{}", run.err);
    let output = read_parquet(&place.path("out.parquet"));
    assert_eq!(output.column(0), input.column(0));
    assert_eq!(output.column(1), input.column(1));
    assert_eq!(output.num_columns(), 3);
    for row in 0..2500 {
        let vector = vector(&output, "embedding", row);
        assert_eq!(vector.is_some(), row % 17 != 16, "row {row}");
        assert!(vector.is_none_or(|vector| vector.len() == 128));
    }
    assert!(!place.path("out.parquet.partial").exists());
}

#[test]
fn the_output_tells_where_its_vectors_are_from() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(10));
    place.run(&EMBED).ok();
    let file = fs::File::open(place.path("out.parquet")).expect("a file");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let pairs = reader.metadata().file_metadata().key_value_metadata().expect("metadata");
    let value = |key: &str| {
        let pair = pairs.iter().find(|pair| pair.key == key);
        pair.and_then(|pair| pair.value.clone()).unwrap_or_else(|| panic!("{key} is missing"))
    };
    assert_eq!(value("sembla.model"), "potion");
    assert_eq!(value("sembla.precision"), "q8");
    assert_eq!(value("sembla.text_column"), "text");
    assert_eq!(value("sembla.fingerprint").len(), 64);
}

#[test]
fn all_formats_give_the_same_vectors() {
    let place = Place::new();
    let input = rows(40);
    write_parquet(&place.path("in.parquet"), &input);
    place.run(&EMBED).ok();
    let expected = read_parquet(&place.path("out.parquet"));

    let mut csv = arrow::csv::Writer::new(Vec::new());
    csv.write(&input).expect("written");
    fs::write(place.path("in.csv"), csv.into_inner()).expect("written");
    let mut json = arrow::json::LineDelimitedWriter::new(Vec::new());
    json.write(&input).expect("written");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &json.into_inner()).expect("packed");
    fs::write(place.path("in.jsonl.gz"), gzip.finish().expect("packed")).expect("written");

    for name in ["in.csv", "in.jsonl.gz"] {
        let output = format!("{name}.parquet");
        place.run(&["embed", name, "-o", &output, "--column", "text", "-m", "potion"]).ok();
        let found = read_parquet(&place.path(&output));
        assert_eq!(found.column_by_name("id"), expected.column_by_name("id"), "{name}");
        assert_eq!(found.column_by_name("embedding"), expected.column_by_name("embedding"));
    }
}

#[test]
fn folders_and_globs_are_read_in_order_and_columns_are_chosen() {
    let place = Place::new();
    fs::create_dir(place.path("in")).expect("a folder");
    let all = rows(1000);
    for (name, from, length) in [("a", 0, 600), ("b", 600, 400)] {
        write_parquet(&place.path(&format!("in/{name}.parquet")), &all.slice(from, length));
    }
    for (input, output) in [("in", "from-folder.parquet"), ("in/*.parquet", "from-glob.parquet")] {
        let args = ["embed", input, "-o", output, "-c", "text", "--columns", "id", "-m", "potion"];
        place.run(&args).ok();
        let found = read_parquet(&place.path(output));
        let names: Vec<_> =
            found.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["id", "embedding"]);
        assert_eq!(found.column(0), all.column(0));
    }
}

#[test]
fn a_folder_gets_parts_with_the_same_rows() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(2500));
    place.run(&EMBED).ok();
    let expected = read_parquet(&place.path("out.parquet"));
    let args = ["embed", "in.parquet", "-o", "parts", "-c", "text", "-m", "potion"];
    place.run(&[&args[..], &["--part-rows", "1000"]].concat()).ok();
    let mut row = 0;
    for (number, length) in [1000, 1000, 500].into_iter().enumerate() {
        let part = read_parquet(&place.path(&format!("parts/part-{number:06}.parquet")));
        assert_eq!(part, expected.slice(row, length));
        row += length;
    }
    assert!(place.run(&args).fails(2).contains("--overwrite replaces it"));
    place.run(&[&args[..], &["--overwrite"]].concat()).ok();
    assert_eq!(fs::read_dir(place.path("parts")).expect("a folder").count(), 1);
}

#[test]
fn a_killed_run_goes_on_and_gives_the_same_rows() {
    let place = Place::new();
    let input = rows(30_000);
    write_parquet(&place.path("in.parquet"), &input);
    let sizes = ["--batch-rows", "200", "--part-rows", "900"];
    place.run(&embed(&sizes)).ok();
    let expected = read_parquet(&place.path("out.parquet"));
    fs::remove_file(place.path("out.parquet")).expect("removed");

    let part =
        |number: usize| place.path(&format!("out.parquet.partial/parts/part-{number:06}.parquet"));
    let mut kills = 0;
    for number in [2, 5, 6, 11, 20, 33] {
        let mut child = place.start(&embed(&sizes));
        let begun = Instant::now();
        while !part(number).exists() && child.try_wait().expect("asked").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120), "part {number} does not come");
            std::thread::sleep(Duration::from_millis(3));
        }
        if child.try_wait().expect("asked").is_none() {
            kills += 1;
        }
        child.kill().expect("killed");
        child.wait().expect("waited");
    }
    assert!(kills > 0, "the run was too fast to be killed");
    let run = place.run(&embed(&sizes));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("resuming after"), "{}", run.err);
    assert_eq!(read_parquet(&place.path("out.parquet")), expected);
}

#[test]
fn csv_and_json_also_go_on_in_the_middle() {
    for (name, text) in [
        ("in.csv", csv_text as fn(&RecordBatch) -> Vec<u8>),
        ("in.jsonl", json_text as fn(&RecordBatch) -> Vec<u8>),
    ] {
        let place = Place::new();
        fs::write(place.path(name), text(&rows(20_000))).expect("written");
        let args = ["embed", name, "-o", "out.parquet", "-c", "text", "-m", "potion"];
        let args = [&args[..], &["--batch-rows", "300", "--part-rows", "1100"]].concat();
        place.run(&args).ok();
        let expected = read_parquet(&place.path("out.parquet"));
        fs::remove_file(place.path("out.parquet")).expect("removed");
        let mut child = place.start(&args);
        let part = place.path("out.parquet.partial/parts/part-000003.parquet");
        while !part.exists() && child.try_wait().expect("asked").is_none() {
            std::thread::sleep(Duration::from_millis(3));
        }
        child.kill().expect("killed");
        child.wait().expect("waited");
        let run = place.run(&args);
        assert!(run.err.contains("resuming after"), "{name}: {}", run.err);
        assert_eq!(read_parquet(&place.path("out.parquet")), expected, "{name}");
    }
}

fn csv_text(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = arrow::csv::Writer::new(Vec::new());
    writer.write(batch).expect("written");
    writer.into_inner()
}

fn json_text(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch).expect("written");
    writer.into_inner()
}

/// Leaves an unfinished run in the place.
fn unfinished() -> Place {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(30_000));
    let mut child = place.start(&embed(&["--batch-rows", "200", "--part-rows", "400"]));
    let part = place.path("out.parquet.partial/parts/part-000001.parquet");
    while !part.exists() && child.try_wait().expect("asked").is_none() {
        std::thread::sleep(Duration::from_millis(3));
    }
    child.kill().expect("killed");
    child.wait().expect("waited");
    place
}

#[test]
fn an_unfinished_run_goes_on_only_with_the_same_request() {
    let place = unfinished();
    let line = place.run(&embed(&["--columns", "id"])).fails(2);
    assert!(line.contains("the list of kept columns was 'id,text' and is now 'id'"), "{line}");
    assert!(line.contains("--restart discards it"), "{line}");
    let line = place.run(&embed(&["--truncate-dim", "64"])).fails(2);
    assert!(line.contains("options of model 'potion' changed"), "{line}");
    write_parquet(&place.path("in.parquet"), &rows(1234));
    let line = place.run(&EMBED).fails(2);
    assert!(line.contains("in.parquet changed"), "{line}");
    place.run(&embed(&["--restart"])).ok();
    assert_eq!(read_parquet(&place.path("out.parquet")).num_rows(), 1234);
}

#[test]
fn a_run_that_was_killed_after_its_output_was_in_place_is_finished() {
    let place = unfinished();
    let manifest = place.path("out.parquet.partial/manifest.json");
    let kept = fs::read(&manifest).expect("a manifest");
    place.run(&EMBED).ok();
    fs::create_dir(place.path("out.parquet.partial")).expect("a folder");
    fs::write(&manifest, kept).expect("written");
    let run = place.run(&EMBED);
    assert_eq!((run.code, run.err.trim_end()), (0, "out.parquet is already complete"));
    assert!(!place.path("out.parquet.partial").exists());
    assert!(place.run(&EMBED).fails(2).contains("the output out.parquet already exists"));
}

#[test]
fn an_output_is_replaced_only_on_request() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(100));
    place.write("out.parquet", "something else");
    assert!(place.run(&EMBED).fails(2).contains("--overwrite"));
    assert_eq!(fs::read(place.path("out.parquet")).expect("a file"), b"something else");
    place.run(&embed(&["--overwrite"])).ok();
    assert_eq!(read_parquet(&place.path("out.parquet")).num_rows(), 100);

    fs::create_dir(place.path("precious")).expect("a folder");
    place.write("precious/file", "x");
    let args =
        ["embed", "in.parquet", "-o", "precious", "-c", "text", "-m", "potion", "--overwrite"];
    assert!(place.run(&args).fails(2).contains("is not replaced"));
    assert!(place.path("precious/file").exists());
}

#[test]
fn no_rows_give_an_output_without_rows() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(0));
    place.run(&EMBED).ok();
    let output = read_parquet(&place.path("out.parquet"));
    assert_eq!((output.num_rows(), output.num_columns()), (0, 3));
}

#[test]
fn a_second_run_takes_its_vectors_from_the_cache() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(3000));
    let cached = embed(&["--cache", "cache", "--overwrite"]);
    let first = place.run(&cached);
    assert!(first.err.contains(" 0 cache hits"), "{}", first.err);
    let expected = read_parquet(&place.path("out.parquet"));
    let second = place.run(&cached);
    assert!(second.err.contains("0 tokens, 0 truncated, 2,824 cache hits"), "{}", second.err);
    assert_eq!(read_parquet(&place.path("out.parquet")), expected);
}

#[test]
fn types_that_change_late_in_a_csv_file_are_found_before_the_start() {
    let place = Place::new();
    let mut csv = String::from("id,text,mixed\n");
    for row in 0..3000 {
        let mixed = if row == 2999 { "x".to_string() } else { row.to_string() };
        csv += &format!("{row},{row},{mixed}\n");
    }
    place.write("in.csv", &csv);
    place.run(&["embed", "in.csv", "-o", "out.parquet", "-c", "text", "-m", "potion"]).ok();
    let output = read_parquet(&place.path("out.parquet"));
    let expected: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3000));
    assert_eq!(output.column(0).as_primitive::<Int64Type>(), expected.as_primitive::<Int64Type>());
    assert_eq!(output.column(2).as_string::<i32>().value(2999), "x");
    assert!(output.column(1).is_valid(0), "a number is a text when it stands in the text column");
}
