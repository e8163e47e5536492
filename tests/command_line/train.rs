//! `sembla train`: what it writes, how it ends early, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::place::Place;

/// Texts of the vocabulary of the tiny model.
const WORDS: [&str; 8] = ["cat", "dog", "snow", "park", "refund", "card", "london", "night"];

/// A tiny random model.
fn base() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/fixtures/bert");
    path.display().to_string()
}

/// A file of scored pairs.
fn pairs(place: &Place, rows: usize) -> PathBuf {
    let mut text = "sentence1,sentence2,score,word\n".to_string();
    for row in 0..rows {
        let word = |step: usize| WORDS[(row / step) % WORDS.len()];
        text += &format!("the {} and {},", word(1), word(8));
        text += &format!(
            "the {} was {},{},{}\n",
            word(3),
            word(5),
            (row * 7 % 11) as f64 / 10.0,
            word(1)
        );
    }
    place.write("pairs.csv", &text)
}

fn args<'a>(base: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "train",
        "--base",
        base,
        "--data",
        "SELECT sentence1, sentence2, score FROM 'pairs.csv'",
        "-o",
        output,
        "--batch",
        "4",
        "--learning-rate",
        "1e-3",
    ];
    args.extend_from_slice(more);
    args
}

fn weights(place: &Place, model: &str) -> Vec<u8> {
    fs::read(place.path(model).join("model.safetensors")).expect("weights")
}

#[test]
fn a_trained_model_is_measured_written_and_used() {
    let (place, base) = (Place::new(), base());
    pairs(&place, 60);
    let eval = "SELECT sentence1, sentence2, score FROM 'pairs.csv' LIMIT 30";
    let run = place.run(&args(
        &base,
        "mine",
        &["--epochs", "2", "--eval", eval, "--report", "curves.html"],
    ));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("before training: spearman "), "{}", run.err);
    assert!(
        run.err.contains("the best so far")
            && run.err.contains("mine: 30 steps on 60 rows with cosent"),
        "{}",
        run.err
    );
    assert!(!place.path("mine.partial").exists());
    let page = fs::read_to_string(place.path("curves.html")).expect("a page");
    assert!(page.matches("<polyline").count() == 2 && !page.contains("<script"), "{page}");
    let sql = "SELECT array_length(embed('the cat', './mine')) AS components";
    assert!(place.run(&["sql", "--format", "csv", sql]).ok().contains("32"));
    let message = place.run(&args(&base, "mine", &[])).fails(2);
    assert_eq!(message, "the output mine exists; --overwrite replaces it");
    place.run(&args(&base, "mine", &["--overwrite", "--max-steps", "1"])).ok();
}

#[test]
fn a_killed_run_resumes_and_ends_with_the_same_weights() {
    let (place, base) = (Place::new(), base());
    pairs(&place, 400);
    let more = ["--epochs", "30", "--checkpoint-steps", "20", "--dropout", "0.1"];
    place.run(&args(&base, "whole", &more)).ok();
    let mut child = place.start(&args(&base, "killed", &more));
    let has_checkpoint = || {
        let entries = fs::read_dir(place.path("killed.partial")).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name())
            .any(|name| name.to_string_lossy().ends_with(".state"))
    };
    let begun = Instant::now();
    while !has_checkpoint() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("killed");
    child.wait().expect("waited");
    assert!(!place.path("killed").exists(), "the run was over before the kill");
    let kept = fs::read_dir(place.path("killed.partial")).expect("a folder").flatten();
    let states =
        kept.filter(|entry| entry.file_name().to_string_lossy().ends_with(".state")).count();
    assert!((1..=3).contains(&states), "{states} checkpoints");
    let other = place.run(&args(&base, "killed", &["--epochs", "3"])).fails(2);
    assert!(
        other.contains("other data, options or base") && other.contains("--restart"),
        "{other}"
    );
    let run = place.run(&args(&base, "killed", &more));
    assert!(run.code == 0 && run.err.contains("resuming after step "), "{}", run.err);
    assert_eq!(weights(&place, "whole"), weights(&place, "killed"));
}

#[test]
fn hard_negatives_are_trained_on_as_they_are() {
    let (place, base) = (Place::new(), base());
    let mut text = "question,answer\n".to_string();
    for word in WORDS {
        text += &format!(
            "where is the {word},the {word} is here\nwho has the {word},a {word} of mine\n"
        );
    }
    place.write("faq.csv", &text);
    let mined = |more: &str| {
        format!(
            "SELECT * FROM hard_negatives((SELECT question AS text FROM 'faq.csv'), \
             corpus => (SELECT answer AS text FROM 'faq.csv'), model => 'potion', k => 2{more})"
        )
    };
    for (output, more, words) in [
        ("triplets", "", "on 32 rows with mnrl"),
        ("tuples", ", output => 'n-tuple'", "on 16 rows with mnrl"),
        ("pairs", ", output => 'labeled-pair'", "on 48 rows with contrastive"),
    ] {
        let data = mined(more);
        let run = place.run(&[
            "train",
            "--base",
            &base,
            "--data",
            &data,
            "-o",
            output,
            "--max-steps",
            "2",
        ]);
        assert_eq!(run.code, 0, "{}", run.err);
        assert!(run.err.contains(words), "{}", run.err);
    }
}

#[test]
fn what_cannot_be_trained_is_refused_in_one_line() {
    let (place, base) = (Place::new(), base());
    pairs(&place, 40);
    let refused = |query: &str, more: &[&str]| {
        let mut args = vec!["train", "--base", base.as_str(), "-o", "mine", "--data", query];
        args.extend_from_slice(more);
        place.run(&args).fails(2)
    };
    let all = "SELECT sentence1, sentence2, score FROM 'pairs.csv'";
    let message = refused(all, &["--loss", "mnrl"]);
    assert!(message.contains("losses that fit: cosent, cosine"), "{message}");
    let message = refused(all, &["--loss", "cosnet"]);
    assert!(message.contains("unknown loss 'cosnet'"), "{message}");
    let message =
        refused("SELECT sentence1 AS anchor, sentence2 AS positive FROM 'pairs.csv' LIMIT 1", &[]);
    assert!(message.contains("at least 2 rows, got 1"), "{message}");
    let message =
        refused("SELECT sentence1 AS anchor, sentence2 AS positive FROM 'pairs.csv' LIMIT 0", &[]);
    assert!(message.starts_with("the query of --data gives no rows; loosen"), "{message}");
    let message = refused("SELECT sentence1, sentence2, word AS label FROM 'pairs.csv'", &[]);
    assert!(message.contains("must be a number beside pairs of texts"), "{message}");
    let message = refused("SELECT sentence1, score FROM 'pairs.csv'", &[]);
    assert!(message.contains("columns may be anchor"), "{message}");
    let message = refused("CREATE VIEW v AS SELECT 1", &[]);
    assert!(message.starts_with("--data: must be a query"), "{message}");
    let wild = ["--learning-rate", "1e30", "--warmup", "0", "--data", all];
    let run = place.run(&[&["train", "--base", base.as_str(), "-o", "mine"][..], &wild].concat());
    let last = run.err.lines().last().unwrap_or_default();
    assert!(run.code == 2 && last.contains("is not a number at step"), "{}", run.err);
    let message = refused(all, &["--matryoshka", "64"]);
    assert!(message.contains("a cut of 64 components does not fit"), "{message}");
    assert!(!place.path("mine").exists());
}
