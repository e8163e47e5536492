//! Mistakes and failures: one line that names the thing and the fix, and an exit code that tells
//! whose they are.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::place::{Place, rows, write_parquet};

/// The line of `sembla embed` with these arguments.
fn embed_fails(place: &Place, args: &[&str]) -> String {
    let out = ["-o", "out.parquet", "-m", "potion"];
    let line = place.run(&[&["embed"], args, &out].concat()).fails(2);
    assert!(!place.path("out.parquet").exists() && !place.path("out.parquet.partial").exists());
    line
}

#[test]
fn a_wrong_command_line_is_one_line() {
    let place = Place::new();
    let line = place.run(&["embed", "--colum", "text"]).fails(2);
    assert!(line.contains("unexpected argument '--colum'"), "{line}");
    assert!(line.contains("--column"), "{line}");
    let line = place.run(&["sql", "--memory-limit", "lots", "SELECT 1"]).fails(2);
    assert!(line.contains("512m or 4g"), "{line}");
    assert!(place.run(&["nonsense"]).fails(2).contains("nonsense"));
}

#[test]
fn inputs_that_are_not_there_are_named() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).expect("a folder");
    let line = embed_fails(&place, &["missing.parquet", "-c", "text"]);
    assert_eq!(line, "file 'missing.parquet' does not exist");
    let line = embed_fails(&place, &["*.csv", "-c", "text"]);
    assert_eq!(line, "no file matches '*.csv'");
    let line = embed_fails(&place, &["empty", "-c", "text"]);
    assert_eq!(line, "no input files: the folders are empty");
    place.write("notes.txt", "x");
    assert!(embed_fails(&place, &["notes.txt", "-c", "text"]).contains("no known file extension"));
}

#[test]
fn a_torn_parquet_file_is_named() {
    let place = Place::new();
    write_parquet(&place.path("whole.parquet"), &rows(5000));
    let bytes = fs::read(place.path("whole.parquet")).expect("a file");
    fs::write(place.path("torn.parquet"), &bytes[..bytes.len() / 2]).expect("written");
    let line = embed_fails(&place, &["torn.parquet", "-c", "text"]);
    let start = "file 'torn.parquet' can't be read as Parquet, it may be truncated";
    assert!(line.starts_with(start), "{line}");
}

#[test]
fn a_column_that_is_missing_or_no_text_is_named() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(10));
    let line = embed_fails(&place, &["in.parquet", "-c", "txt"]);
    assert_eq!(line, "column 'txt' is not in in.parquet; its columns: text, id");
    let line = embed_fails(&place, &["in.parquet", "-c", "id"]);
    assert_eq!(line, "column 'id' holds Int64, not text");
    let line = embed_fails(&place, &["in.parquet", "-c", "text", "--output-column", "id"]);
    assert!(line.contains("already has a column 'id'"), "{line}");
}

#[test]
fn files_that_do_not_fit_together_are_named() {
    let place = Place::new();
    write_parquet(&place.path("a.parquet"), &rows(10));
    place.write("b.csv", "id,text\nx,hello\n");
    let line = embed_fails(&place, &["a.parquet", "b.csv", "-c", "text"]);
    let start =
        "files disagree on the column 'id': it is Int64 in 'a.parquet', but text in 'b.csv'";
    assert!(line.starts_with(start), "{line}");
}

#[test]
fn an_output_among_the_inputs_is_refused() {
    let place = Place::new();
    fs::create_dir(place.path("in")).expect("a folder");
    write_parquet(&place.path("in/a.parquet"), &rows(10));
    write_parquet(&place.path("in/out.parquet"), &rows(10));
    let args = ["embed", "in", "-o", "in/out.parquet", "-c", "text", "-m", "potion", "--overwrite"];
    let line = place.run(&args).fails(2);
    assert!(line.contains("is also an input"), "{line}");
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(10));
    let args = ["embed", "in.parquet", "-o", "out.parquet", "-c", "text", "-m", "potoin"];
    let line = place.run(&args).fails(2);
    assert!(line.contains("model 'potoin' is not known"), "{line}");
    let line =
        place.run(&["models", "inspect", "potion", "--model-option", "precison=q8"]).fails(2);
    assert!(line.contains("did you mean 'precision'"), "{line}");
}

#[test]
fn an_output_whose_folder_is_not_there_is_named() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(10));
    let args = ["embed", "in.parquet", "-o", "no/such/out.parquet", "-c", "text", "-m", "potion"];
    let line = place.run(&args).fails(2);
    assert_eq!(line, "the folder of the output no/such/out.parquet does not exist");
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let place = Place::new();
    for format in ["csv", "ndjson", "json", "table"] {
        let query = "SELECT * FROM generate_series(1, 3000000)";
        let mut child = place
            .command(&["sql", "--format", format, query])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut first = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        out.read_line(&mut first).expect("a line");
        drop(out);
        let output = child.wait_with_output().expect("waited");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), err.as_ref()), (Some(0), ""), "{format}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_within_a_second() {
    let place = Place::new();
    // Links to one file are work for minutes, so that no machine has finished when the signal
    // comes.
    fs::create_dir(place.path("in")).expect("a folder");
    write_parquet(&place.path("in/0.parquet"), &rows(400_000));
    for n in 1..60 {
        let link = place.path(&format!("in/{n}.parquet"));
        fs::hard_link(place.path("in/0.parquet"), link).expect("a link");
    }
    let endless = "SELECT count(*) FROM generate_series(1, 100000000) AS a (x), \
         generate_series(1, 100000) AS b (y) WHERE x % 7 = y % 5";
    let embed = ["embed", "in", "-o", "out.parquet", "-c", "text", "-m", "potion"];
    let mine = ["mine", "in", "-o", "out.parquet", "-m", "potion"];
    let topics = ["topics", "in", "-o", "out.parquet", "-m", "potion", "-a", "kmeans", "-k9"];
    for args in [&["sql", endless][..], &embed[..], &mine[..], &topics[..]] {
        let child = place
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        std::thread::sleep(Duration::from_millis(1200));
        let asked = Instant::now();
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.expect("kill runs").success());
        let output = child.wait_with_output().expect("waited");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{args:?}: {err}");
        assert!(err.starts_with("interrupted"), "{err}");
        // A second on an idle machine; the bound here only tells an end from a hang.
        assert!(asked.elapsed() < Duration::from_secs(20), "{args:?} took {:?}", asked.elapsed());
    }
    let left = fs::read_dir(place.path(".")).expect("a folder").count();
    assert_eq!(left, 2, "only the input and the parts of embed are left");
}
