//! `sembla embed` over a folder of images: killed and resumed, and only what changed.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use sembla_runtime::failpoint;

use crate::place::{Place, Run, read_parquet, vector};

/// Pictures in the folder, one that can't be decoded among them.
const PICTURES: usize = 41;

fn shapes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/shapes")
}

fn picture(number: usize) -> Vec<u8> {
    fs::read(shapes().join(format!("{number:03}.png"))).expect("a picture")
}

/// A folder of pictures; the body of `007.png` is damaged.
fn photos() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("photos")).expect("a folder");
    for number in 1..=PICTURES {
        put(&place, number, &picture(number));
    }
    let mut torn = picture(7);
    let middle = torn.len() / 2;
    torn.truncate(middle);
    put(&place, 7, &torn);
    place
}

fn put(place: &Place, number: usize, bytes: &[u8]) {
    fs::write(place.path(&format!("photos/{number:03}.png")), bytes).expect("written");
}

/// The arguments of a run that writes parts of ten rows.
fn arguments(output: &str, more: &[&str]) -> Vec<String> {
    let model = shapes().with_file_name("shapes-clip").display().to_string();
    let all = ["embed", "photos", "-o", output, "-m", &model, "--part-rows", "10", "--json"];
    all.iter().chain(more).map(|word| word.to_string()).collect()
}

fn run(place: &Place, output: &str, more: &[&str]) -> Run {
    let all = arguments(output, more);
    place.run(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A run that is killed at a place.
fn killed(place: &Place, fail_at: &str) {
    let all = arguments("out.parquet", &[]);
    let mut command = place.command(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let ended = command.env("SEMBLA_FAIL_AT", fail_at).output().expect("the binary runs");
    assert!(!ended.status.success(), "{fail_at}");
}

#[test]
fn every_file_is_a_row_and_one_that_is_damaged_says_so() {
    let place = photos();
    let done = run(&place, "out.parquet", &[]);
    assert!(done.err.contains("no vector: 'photos/007.png' is a damaged PNG file"), "{}", done.err);
    assert!(done.err.contains("41 images, 1 without a vector to out.parquet"), "{}", done.err);
    done.ok();
    let rows = read_parquet(&place.path("out.parquet"));
    let schema = rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["path", "width", "height", "format", "error", "embedding"]);
    let (paths, errors) = (rows.column(0).as_string::<i32>(), rows.column(4).as_string::<i32>());
    assert_eq!(rows.num_rows(), PICTURES);
    for row in 0..PICTURES {
        assert_eq!(paths.value(row), format!("photos/{:03}.png", row + 1));
        assert_eq!(vector(&rows, "embedding", row).is_none(), row == 6);
        assert_eq!(errors.is_valid(row), row == 6);
    }
}

#[test]
fn a_killed_run_resumes_with_the_same_rows() {
    let place = photos();
    run(&place, "golden.parquet", &[]).ok();
    let golden = read_parquet(&place.path("golden.parquet"));
    for name in failpoint::ALL.iter().filter(|name| name.starts_with("embed.")) {
        for nth in if *name == "embed.part" { 1..=4 } else { 1..=1 } {
            let fail_at = format!("{name}:{nth}");
            killed(&place, &fail_at);
            let again = run(&place, "out.parquet", &[]);
            if *name == "embed.part" {
                // What is in finished parts is not embedded again.
                let left = format!("\"embedded\":{}", PICTURES - 10 * nth);
                assert!(again.out.contains(&left), "{fail_at}: {}", again.out);
            }
            again.ok();
            assert_eq!(read_parquet(&place.path("out.parquet")), golden, "{fail_at}");
            assert!(!place.path("out.parquet.partial").exists(), "{fail_at}");
            fs::remove_file(place.path("out.parquet")).expect("removed");
        }
    }
}

#[test]
fn a_picture_that_changed_in_between_is_noticed() {
    let place = photos();
    killed(&place, "embed.part:2");
    put(&place, 30, &picture(60));
    let line = run(&place, "out.parquet", &[]).fails(2);
    assert!(line.contains("030.png changed; --restart discards it"), "{line}");
    run(&place, "out.parquet", &["--restart"]).ok();
    assert_eq!(read_parquet(&place.path("out.parquet")).num_rows(), PICTURES);
}

#[test]
fn only_what_changed_is_embedded() {
    let place = photos();
    let changes = ["--incremental", "--key", "path"];
    run(&place, "out.parquet", &changes).ok();
    put(&place, 3, &picture(60));
    put(&place, 50, &picture(50));
    fs::remove_file(place.path("photos/011.png")).expect("removed");
    let night = run(&place, "out.parquet", &changes);
    assert!(night.err.contains("1 new, 1 changed, 39 unchanged, 1 gone"), "{}", night.err);
    assert!(night.out.contains("\"embedded\":2,"), "{}", night.out);
    night.ok();
    run(&place, "whole.parquet", &changes).ok();
    let whole = read_parquet(&place.path("whole.parquet"));
    assert_eq!(read_parquet(&place.path("out.parquet")), whole);
    let again = run(&place, "out.parquet", &changes);
    assert!(again.err.contains("already has every row of the input"), "{}", again.err);
    // A damaged picture that is whole again is found too.
    put(&place, 7, &picture(7));
    let mended = run(&place, "out.parquet", &changes);
    assert!(mended.err.contains("0 new, 1 changed, 40 unchanged, 0 gone"), "{}", mended.err);
    let rows = read_parquet(&place.path("out.parquet"));
    assert!(vector(&rows, "embedding", 6).is_some());
}

#[test]
fn options_of_texts_are_refused() {
    let place = photos();
    for (option, value) in [("--column", "path"), ("--prompt", "query"), ("--chunk", "tokens:9")] {
        let line = run(&place, "out.parquet", &[option, value]).fails(2);
        assert!(line.contains(&format!("{option} can't be used with images")), "{line}");
    }
    let line = run(&place, "out.parquet", &["--dry-run"]).fails(2);
    assert!(line.contains("--dry-run can't be used with images"), "{line}");
    let line = place.run(&["embed", "photos", "-o", "out.parquet", "-m", "potion"]).fails(2);
    assert!(line.contains("model 'potion' takes texts, no images"), "{line}");
    assert!(!place.path("out.parquet.partial").exists());
}
