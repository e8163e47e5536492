//! `sembla train --task classify`: a classifier is trained, moved, and used in SQL.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::place::Place;

/// A tiny random model.
fn base() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/fixtures/bert");
    path.display().to_string()
}

/// Texts about three things, one of them with a label that no other row has.
fn write_texts(place: &Place) {
    let about = [
        ("card", ["my card is lost", "the card was stolen", "a new card please", "block my card"]),
        ("weather", ["it snows today", "a warm night", "rain in london", "is it sunny outside"]),
        ("pets", ["the cat sleeps", "a dog in the park", "feed the cat", "my dog barks"]),
    ];
    let mut train = "text,label,code\n".to_string();
    for (code, (label, texts)) in about.iter().enumerate() {
        for text in texts {
            train += &format!("{text},{label},{}\n", 10 - code);
        }
    }
    place.write("train.csv", &train);
    place.write(
        "test.csv",
        "text,label\nmy card is gone,card\nsnow in the night,weather\nthe dog sleeps,pets\n,card\nodd,new\n",
    );
}

fn args<'a>(base: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "--task", "classify", "--base", base, "-o", output];
    args.extend_from_slice(more);
    args
}

fn classified(place: &Place, model: &str, input: &str) -> String {
    let sql = format!("SELECT classify({input}, './{model}')['label'] AS label");
    place.run(&["sql", "--format", "csv", &sql]).ok()
}

#[test]
fn a_classifier_is_measured_written_and_used() {
    let place = Place::new();
    write_texts(&place);
    let data = ["--data", "SELECT text, label FROM 'train.csv'"];
    let eval = ["--eval", "SELECT text, label FROM 'test.csv'"];
    let run = place.run(&args("potion", "mine", &[data, eval].concat()));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("mine: 3 labels from 12 rows"), "{}", run.err);
    // The text that is NULL is left out; of four, one has a label that training did not see.
    assert!(run.err.contains("1 of 5 rows have a NULL and are left out"), "{}", run.err);
    assert!(run.err.contains("1 of 4 rows of --eval have a label that no row"), "{}", run.err);
    assert!(run.err.contains("accuracy 0.7500, macro-F1 "), "{}", run.err);
    assert!(classified(&place, "mine", "'where is my card'").ends_with("card\n"));
    assert!(classified(&place, "mine", "'a sleepy cat'").ends_with("pets\n"));
    let sql = "SELECT array_length(found['scores']) AS labels, found['score'] = array_max(found['scores']) AS best \
               FROM (SELECT classify(text, './mine') AS found FROM 'test.csv')";
    let rows = place.run(&["sql", "--format", "csv", sql]).ok();
    assert_eq!(rows, "labels,best\n3,true\n3,true\n3,true\n,\n3,true\n");
    let again = place.run(&args("potion", "mine", &data)).fails(2);
    assert_eq!(again, "the output mine exists; --overwrite replaces it");
}

#[test]
fn the_directory_is_whole_and_still_embeds() {
    let place = Place::new();
    write_texts(&place);
    let data = ["--data", "SELECT text, code AS label FROM 'train.csv'"];
    place.run(&args("potion", "mine", &data)).ok();
    fs::rename(place.path("mine"), place.path("moved")).expect("moved");
    let label = classified(&place, "moved", "'my card was stolen'");
    assert_eq!(label, "label\n10\n");
    let config = fs::read_to_string(place.path("moved/classifier/config.json")).expect("labels");
    let labels: Vec<&str> = config.split('"').filter(|part| part.parse::<u8>().is_ok()).collect();
    assert_eq!(labels, ["8", "9", "10"], "{config}");
    let sql = "SELECT embed('a cat', './moved') = embed('a cat', 'potion') AS same";
    assert_eq!(place.run(&["sql", "--format", "csv", sql]).ok(), "same\ntrue\n");
    let lines = place.run(&["models", "inspect", "moved"]).ok();
    assert!(lines.contains("3 labels of texts: 8, 9, 10"), "{lines}");
    // A classifier can be made of one: the other labels take its place.
    let other = ["--data", "SELECT text, label FROM 'train.csv'", "--overwrite"];
    place.run(&args("moved", "moved", &other)).ok();
    assert_eq!(classified(&place, "moved", "'my card was stolen'"), "label\ncard\n");
}

#[test]
fn the_number_of_threads_never_shows() {
    let place = Place::new();
    write_texts(&place);
    let data = ["--data", "SELECT text, label FROM 'train.csv'"];
    for (name, threads) in [("one", "1"), ("three", "3")] {
        let mut command = place.command(&args("potion", name, &data));
        let status = command.env("RAYON_NUM_THREADS", threads).status().expect("runs");
        assert!(status.success());
    }
    let head = |name: &str| {
        fs::read(place.path(name).join("classifier/model.safetensors")).expect("a head")
    };
    assert_eq!(head("one"), head("three"));
}

#[test]
fn a_model_is_fine_tuned_first_and_embeds_otherwise() {
    let (place, base) = (Place::new(), base());
    write_texts(&place);
    let more = [
        "--data",
        "SELECT text, label FROM 'train.csv'",
        "--fine-tune-pairs",
        "4",
        "--epochs",
        "3",
        "--learning-rate",
        "1e-3",
    ];
    let run = place.run(&args(&base, "tuned", &more));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(
        run.err.contains("tuned: 3 labels from 12 rows, 9 steps of fine-tuning"),
        "{}",
        run.err
    );
    assert!(!place.path("tuned.tuned").exists() && !place.path("tuned.tuned.partial").exists());
    let sql = format!("SELECT embed('a cat', './tuned') = embed('a cat', '{base}') AS same");
    assert_eq!(place.run(&["sql", "--format", "csv", &sql]).ok(), "same\nfalse\n");
    assert!(classified(&place, "tuned", "'block my card'").ends_with("card\n"));
    let loss = place.run(&args(&base, "other", &[&more[..], &["--loss", "mnrl"]].concat()));
    assert!(loss.fails(2).contains("loss mnrl does not take texts with labels"));
}

#[test]
fn what_makes_no_classifier_is_refused_in_one_line() {
    let place = Place::new();
    write_texts(&place);
    let refused = |query: &str, more: &[&str]| {
        place.run(&args("potion", "mine", &[&["--data", query], more].concat())).fails(2)
    };
    let all = "SELECT text, label FROM 'train.csv'";
    let message = refused("SELECT text FROM 'train.csv'", &[]);
    assert!(message.contains("need a column named label"), "{message}");
    let message = refused(&format!("{all} WHERE label = 'card'"), &[]);
    assert!(
        message.contains("have the label 'card'; a classifier needs at least two"),
        "{message}"
    );
    let message = refused(&format!("{all} LIMIT 1"), &[]);
    assert!(message.contains("are one row"), "{message}");
    let message = refused("SELECT text, '' AS label FROM 'train.csv'", &[]);
    assert!(message.contains("row 1 of the rows of --data has an empty label"), "{message}");
    let message = refused(all, &["--l2", "0"]);
    assert!(message.contains("the L2 penalty must be a positive number"), "{message}");
    let message = refused(all, &["--loss", "cosine"]);
    assert!(message.contains("which fine-tune pairs ask for"), "{message}");
    assert!(!place.path("mine").exists());
    let flags = ["train", "--data", all, "-o", "mine", "--l2", "1"];
    assert!(place.run(&flags).fails(2).contains("add --task classify"));
    let sql = |query: &str| place.run(&["sql", query]).fails(2);
    let message = sql("SELECT classify('x', 'potion')");
    assert!(
        message.contains("model 'potion' has no classifier: give a list of labels"),
        "{message}"
    );
    place.run(&args("potion", "mine", &["--data", all])).ok();
    let message = sql("SELECT classify('x', './mine', 'potion')");
    assert!(message.contains("a model goes with a list of labels"), "{message}");
}

#[test]
fn a_damaged_classifier_is_named() {
    let place = Place::new();
    write_texts(&place);
    place.run(&args("potion", "mine", &["--data", "SELECT text, label FROM 'train.csv'"])).ok();
    let config = place.path("mine/classifier/config.json");
    let whole = fs::read_to_string(&config).expect("labels");
    for (text, says) in [
        ("{}", "has no list of texts 'labels'"),
        ("nothing", "is not JSON"),
        (r#"{"labels": ["a", "b"], "input": "text"}"#, "weight"),
        (r#"{"labels": ["a", "a", "b"], "input": "text"}"#, "'a' is there twice"),
        (r#"{"labels": ["a", "b", "c"], "input": "sound"}"#, "text or image"),
    ] {
        fs::write(&config, text).expect("written");
        let message = place.run(&["sql", "SELECT classify('x', './mine')"]).fails(2);
        assert!(message.contains("classifier") && message.contains(says), "{message}");
    }
    fs::write(&config, whole).expect("written");
    let with = "CREATE MODEL m WITH (path = './mine', normalize = true)";
    let message = place.run(&["sql", with]).fails(2);
    assert!(message.contains("leave out truncate_dim and normalize"), "{message}");
}

#[test]
fn a_statement_trains_a_model_that_the_next_one_uses() {
    let place = Place::new();
    write_texts(&place);
    let create = "CREATE MODEL intents WITH (base = 'potion', task = 'classify', eval = 'SELECT text, label FROM ''train.csv''') \
                  AS SELECT text, label FROM 'train.csv'";
    let sql = format!("{create}; SELECT classify('my card is lost', 'intents')['label'] AS label");
    let run = place.run(&["sql", "--format", "csv", &sql]);
    assert_eq!(run.code, 0, "{}", run.err);
    let said = format!("{}{}", run.out, run.err);
    assert!(
        said.contains("model 'intents' created in ./intents: 3 labels from 12 rows")
            && said.contains("accuracy 1.0000"),
        "{said}"
    );
    assert!(run.out.ends_with("label\ncard\n"), "{}", run.out);
    // The same as the command makes.
    place.run(&args("potion", "other", &["--data", "SELECT text, label FROM 'train.csv'"])).ok();
    let head = |name: &str| {
        fs::read(place.path(name).join("classifier/model.safetensors")).expect("a head")
    };
    assert_eq!(head("intents"), head("other"));
    let again = create.replacen("MODEL", "MODEL IF NOT EXISTS", 1);
    let run = place.run(&["sql", &format!("{again}; SELECT classify('a card', 'intents')")]);
    let said = format!("{}{}", run.out, run.err);
    assert!(run.code == 0 && said.contains("is in ./intents already"), "{said}");
    let message = place.run(&["sql", create]).fails(2);
    assert!(message.contains("intents exists; CREATE OR REPLACE MODEL replaces it"), "{message}");
    place.run(&["sql", &create.replacen("CREATE", "CREATE OR REPLACE", 1)]).ok();
    let pairs = format!(
        "CREATE MODEL tuned WITH (base = '{}', path = './elsewhere', loss = 'batch_all_triplet', epochs = 2) \
         AS SELECT text, label FROM 'train.csv'; SELECT array_length(embed('a', 'tuned')) AS n",
        base()
    );
    let run = place.run(&["sql", "--format", "csv", &pairs]);
    assert!(run.code == 0 && run.out.ends_with("n\n32\n"), "{}{}", run.out, run.err);
    assert!(place.path("elsewhere/model.safetensors").is_file());
}

#[test]
fn a_statement_that_cannot_train_is_refused_in_one_line() {
    let place = Place::new();
    write_texts(&place);
    let refused = |with: &str, query: &str| {
        place.run(&["sql", &format!("CREATE MODEL m WITH ({with}) AS {query}")]).fails(2)
    };
    let all = "SELECT text, label FROM 'train.csv'";
    let message = refused("task = 'classify', bace = 'potion'", all);
    assert!(message.contains("did you mean 'base'"), "{message}");
    let message = refused("task = 'classify', base = 'potion', path = 'no/folder'", all);
    assert!(message.contains("the folder of the output no/folder does not exist"), "{message}");
    let message = refused("task = 'classify', base = 'potion'", "SELECT text FROM 'train.csv'");
    assert!(message.contains("need a column named label"), "{message}");
    let unknown = "SELECT text, nolabel AS label FROM 'train.csv'";
    let message = refused("task = 'classify', base = 'potion'", unknown);
    assert!(message.contains("nolabel"), "{message}");
    let message = refused("task = 'classify', base = 'potion', eval = 'DROP MODEL x'", all);
    assert!(message.contains("eval must be one query"), "{message}");
    let message = refused("base = 'potion', loss = 'mnrl'", all);
    assert!(message.contains("losses that fit: batch_all_triplet"), "{message}");
    let message = place.run(&["sql", "CREATE MODEL potion WITH (base = 'minilm') AS SELECT 1"]);
    assert!(message.fails(2).contains("model 'potion' already exists"));
    assert!(!place.path("m").exists());
    // Pipelines don't train.
    place.write("p.sql", &format!("CREATE MODEL m WITH (task = 'classify') AS {all};"));
    let run = place.run(&["run", "p.sql"]);
    assert!(run.code == 2 && run.err.contains("run it with sembla sql"), "{}", run.err);
}

#[test]
fn images_are_classified_where_the_base_takes_them() {
    let place = Place::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/fixtures");
    let clip = fixtures.join("clip").display().to_string();
    let from = format!(
        "FROM read_images('{}/images/*.{{png,jpg}}') WHERE error IS NULL",
        fixtures.display()
    );
    let data = format!("SELECT bytes AS image, format AS label {from}");
    let run = place.run(&args(&clip, "mine", &["--data", &data]));
    assert!(run.code == 0 && run.err.contains("mine: 2 labels from "), "{}", run.err);
    let sql = format!(
        "SELECT DISTINCT classify(bytes, './mine')['label'] IN ('PNG', 'JPEG') AS known {from}"
    );
    assert_eq!(place.run(&["sql", "--format", "csv", &sql]).ok(), "known\ntrue\n");
    let message = place.run(&["sql", "SELECT classify('a text', './mine')"]).fails(2);
    assert!(message.contains("was trained on images, not on texts"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_statement_that_is_interrupted_keeps_its_progress() {
    let place = Place::new();
    write_texts(&place);
    let create = format!(
        "CREATE MODEL m WITH (base = '{}', task = 'classify', fine_tune_pairs = 50, epochs = 1000) \
         AS SELECT text, label FROM 'train.csv'",
        base()
    );
    let mut child = place.start(&["sql", &create]);
    let begun = Instant::now();
    let work = place.path("m.tuned.partial");
    while !work.join("lock").exists() && begun.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Some steps are done by then; before the first there would be nothing to keep.
    std::thread::sleep(Duration::from_secs(3));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    assert_eq!(child.wait().expect("waited").code(), Some(130));
    let kept = fs::read_dir(&work).expect("a folder").flatten();
    let is_state =
        |entry: &fs::DirEntry| entry.path().extension().is_some_and(|end| end == "state");
    assert!(kept.into_iter().any(|entry| is_state(&entry)), "no checkpoint");
    assert!(!place.path("m").exists());
}
