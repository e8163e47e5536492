//! Signals and progress: what a person sees of long work, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::place::{Place, rows, write_parquet};

fn start(place: &Place, args: &[&str], seconds: &str) -> Child {
    let mut command = place.command(args);
    command.env("SEMBLA_PROGRESS_SECONDS", seconds).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// The first line of standard error for which `is_it` holds; the child is killed then.
fn line_of(mut child: Child, is_it: impl Fn(&str) -> bool) -> Option<String> {
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let found = lines.map_while(Result::ok).find(|line| is_it(line));
    child.kill().expect("killed");
    child.wait().expect("waited");
    found
}

#[test]
fn progress_moves_while_the_first_batch_is_embedded() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(2000));
    let embed = ["embed", "in.parquet", "-o", "out.parquet", "-c", "text"];
    let found = line_of(start(&place, &embed, "0.2"), |line| {
        line.starts_with("embedding: ") && line.contains(" of 2,000, ") && line.contains(" left")
    });
    let line = found.expect("a line of progress");
    let done = line.trim_start_matches("embedding: ").split(' ').next().map(str::to_string);
    let done: u64 = done.and_then(|done| done.replace(',', "").parse().ok()).expect("a number");
    assert!((1..1024).contains(&done), "{line}");
}

#[test]
fn every_command_tells_how_far_it_is() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(2000));
    for args in [
        &["sql", "SELECT count(embed(text)) FROM 'in.parquet'"][..],
        &["search", "in.parquet", "-q", "card"],
        &["dedup", "in.parquet"],
        &["topics", "in.parquet"],
    ] {
        let found = line_of(start(&place, args, "0.2"), |line| line.starts_with("embedding: "));
        assert!(found.is_some(), "{args:?}");
    }
    let join = "SELECT count(*) FROM generate_series(1, 100000000) AS a (x), \
         generate_series(1, 100000) AS b (y) WHERE x % 7 = y % 5";
    assert!(
        line_of(start(&place, &["sql", join], "0.2"), |l| l.starts_with("reading: ")).is_some()
    );
}

#[test]
fn a_stopped_model_leaves_one_line() {
    let place = Place::new();
    // Work for minutes, so that no machine has finished it when the signal comes.
    write_parquet(&place.path("in.parquet"), &rows(200_000));
    for (args, signal, code) in [
        (&["embed", "in.parquet", "-o", "out.parquet", "-c", "text"][..], "-INT", 130),
        (&["search", "in.parquet", "-q", "card"], "-TERM", 143),
    ] {
        let child = start(&place, args, "0");
        std::thread::sleep(Duration::from_millis(2500));
        send(&child, signal);
        let output = child.wait_with_output().expect("waited");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert!(err.starts_with("interrupted") && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn work_that_does_not_look_at_signals_ends_all_the_same() {
    let place = Place::new();
    // One call of a function, which takes minutes, while the query is planned.
    let stubborn = "SELECT levenshtein(repeat('a', 400000), repeat('b', 400000)) AS distance";
    for (signals, codes) in [
        (&["-TERM"][..], &[143][..]),
        (&["-INT"], &[130]),
        (&["-INT", "-INT"], &[130]),
        // The first may have ended it already.
        (&["-INT", "-TERM"], &[130, 143]),
    ] {
        let child = start(&place, &["sql", stubborn], "0");
        std::thread::sleep(Duration::from_millis(1500));
        for signal in signals {
            send(&child, signal);
            std::thread::sleep(Duration::from_millis(100));
        }
        let output = child.wait_with_output().expect("waited");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(err, "interrupted\n", "{signals:?}");
        let code = output.status.code().expect("a code");
        assert!(codes.contains(&code), "{signals:?}: {code}");
    }
}

#[test]
fn a_result_that_is_not_whole_leaves_no_file() {
    let place = Place::new();
    write_parquet(&place.path("in.parquet"), &rows(100_000));
    let child = start(&place, &["dedup", "in.parquet", "-o", "kept.csv", "--only-kept"], "0");
    std::thread::sleep(Duration::from_millis(2000));
    send(&child, "-INT");
    send(&child, "-INT");
    let mut err = String::new();
    let mut child = child;
    child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("words");
    child.wait().expect("waited");
    assert_eq!(fs::read_dir(place.path(".")).expect("a folder").count(), 1, "{err}");
}
