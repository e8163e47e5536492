//! `sembla distil`: the students that it writes, how it ends early, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::place::Place;

/// Words of the vocabulary of the tiny models.
const WORDS: [&str; 8] = ["cat", "dog", "snow", "park", "refund", "card", "london", "night"];

/// A tiny random model of two layers.
fn tiny(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/fixtures").join(name);
    path.display().to_string()
}

/// Files of texts with translations, and of scored pairs.
fn files(place: &Place, rows: usize) {
    let word = |row: usize, step: usize| WORDS[(row / step) % WORDS.len()];
    let mut texts = "text,translation\n".to_string();
    let mut pairs = "sentence1,sentence2,score\n".to_string();
    for row in 0..rows {
        let text = format!("the {} and {} {}", word(row, 1), word(row, 8), word(row, 3));
        texts += &format!("{text},{} the {}\n", word(row, 5), word(row, 1));
        let score = (row * 7 % 11) as f64 / 10.0;
        pairs += &format!("{text},the {} was {},{score}\n", word(row, 3), word(row, 5));
    }
    place.write("texts.csv", &texts);
    place.write("pairs.csv", &pairs);
}

fn args<'a>(teacher: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let data = "SELECT text FROM 'texts.csv'";
    let mut args = vec!["distil", "--teacher", teacher, "--data", data, "-o", output];
    args.extend_from_slice(more);
    args
}

fn weights(folder: PathBuf) -> Vec<u8> {
    fs::read(folder.join("model.safetensors")).expect("weights")
}

/// The cells of the table on standard output.
fn table(out: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.map(String::from).collect()
    };
    out.lines().map(cells).collect()
}

#[test]
fn students_are_trained_written_and_measured_beside_their_teacher() {
    let (place, teacher) = (Place::new(), tiny("bert"));
    files(&place, 120);
    let eval = "SELECT sentence1, sentence2, score FROM 'pairs.csv' LIMIT 40";
    let more = [
        "--layers",
        "2,1",
        "--eval",
        eval,
        "--batch",
        "8",
        "--epochs",
        "4",
        "--learning-rate",
        "1e-3",
    ];
    let run = place.run(&args(&teacher, "students", &more));
    assert_eq!(run.code, 0, "{}", run.err);
    let rows = table(&run.out);
    assert_eq!(rows[0][..4], ["model", "layers", "dimensions", "parameters"]);
    assert_eq!(rows[0][4..], ["spearman", "decrease", "texts/s", "speed"]);
    let named = |row: usize| [&*rows[row][0], &*rows[row][1], &*rows[row][2]];
    assert_eq!(named(1), ["teacher", "2", "32"]);
    assert_eq!(named(2), ["layers-2", "2", "32"]);
    assert_eq!(named(3), ["layers-1", "1", "32"]);
    assert_eq!(rows[1][4..6], rows[2][4..6], "a student with all layers is the teacher");
    let parameters = |row: usize| rows[row][3].replace(',', "").parse::<u64>().expect("a number");
    assert!(parameters(3) < parameters(1));
    // The loss of the student with one layer falls.
    let losses: Vec<f64> = run
        .err
        .lines()
        .filter_map(|line| line.split("loss ").nth(1)?.split(',').next()?.parse().ok())
        .collect();
    assert!(losses.len() > 5 && losses[losses.len() - 1] < 0.8 * losses[0], "{losses:?}");
    assert!(!place.path("students.partial").exists());
    let left: Vec<_> = fs::read_dir(place.path("students")).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 2, "models and nothing else");
    let sql = "SELECT array_length(embed('the cat', './students/layers-1')) AS components";
    assert!(place.run(&["sql", "--format", "csv", sql]).ok().contains("32"));
    let message = place.run(&args(&teacher, "students", &more)).fails(2);
    assert_eq!(message, "the output students exists; --overwrite replaces it");
}

#[test]
fn vectors_are_cut_by_a_dense_layer_and_translations_get_the_vectors_of_originals() {
    let (place, teacher) = (Place::new(), tiny("bert"));
    files(&place, 200);
    let run = place.run(&args(&teacher, "small", &["--layers", "2,1", "--dimensions", "8"]));
    assert!(run.code == 0 && run.err.contains("32 components are cut to 8"), "{}", run.err);
    assert_eq!(table(&run.out)[3][2], "8");
    let dense = place.path("small/layers-2").join("2_Dense/config.json");
    assert!(fs::read_to_string(dense).expect("a module").contains("\"out_features\": 8"));
    let sql = "SELECT array_length(embed('the cat', './small/layers-1')) AS components";
    assert!(place.run(&["sql", "--format", "csv", sql]).ok().contains('8'));

    let data = "SELECT text, translation FROM 'texts.csv'";
    let student = tiny("mpnet");
    let run = place.run(&[
        "distil",
        "--teacher",
        &teacher,
        "--student",
        &student,
        "--multilingual",
        "--data",
        data,
        "--epochs",
        "8",
        "--batch",
        "16",
        "--learning-rate",
        "1e-3",
        "-o",
        "bilingual",
    ]);
    assert_eq!(run.code, 0, "{}", run.err);
    // How near translations are to originals, before and after.
    let nearness = |model: &str| -> f64 {
        let sql = format!(
            "SELECT avg(cosine_similarity(embed(translation, '{model}'), embed(text, '{model}'))) FROM 'texts.csv'"
        );
        let out = place.run(&["sql", "--format", "csv", &sql]).ok();
        out.lines().last().expect("a row").parse().expect("a number")
    };
    let (before, after) = (nearness(&student), nearness("./bilingual/student"));
    assert!(after > before + 0.05, "{before} {after}");
}

#[test]
fn a_killed_run_resumes_and_ends_with_the_same_students() {
    let (place, teacher) = (Place::new(), tiny("bert"));
    files(&place, 400);
    let more = ["--layers", "2,1", "--batch", "4", "--epochs", "30", "--checkpoint-steps", "20"];
    place.run(&args(&teacher, "whole", &more)).ok();
    let mut child = place.start(&args(&teacher, "killed", &more));
    let has_checkpoint = || {
        let work = place.path("killed.partial").join("layers-1.partial");
        let entries = fs::read_dir(work).into_iter().flatten().flatten();
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
    let other = place.run(&args(&teacher, "killed", &["--layers", "1"])).fails(2);
    assert!(other.contains("students of a run with other texts, options or teacher"), "{other}");
    assert!(other.contains("--restart"), "{other}");
    let run = place.run(&args(&teacher, "killed", &more));
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.err.contains("layers-2: finished before"), "{}", run.err);
    assert!(run.err.contains("resuming after step "), "{}", run.err);
    let student = |run: &str| weights(place.path(run).join("layers-1"));
    assert!(student("whole") == student("killed"), "other weights");
}

#[test]
fn what_cannot_be_distilled_is_refused_in_one_line() {
    let (place, teacher) = (Place::new(), tiny("bert"));
    files(&place, 40);
    let refused = |more: &[&str]| place.run(&args(&teacher, "out", more)).fails(2);
    assert!(refused(&[]).contains("--layers 6,3, --dimensions 128, --static"));
    let message = place.run(&["distil", "--teacher", &teacher, "--layers", "1", "-o", "out"]);
    assert!(message.fails(2).contains("add --data, a query with a column text"));
    assert!(refused(&["--layers", "1,2,1"]).contains("names 1 twice"));
    assert!(refused(&["--layers", "3"]).contains("has 2 layers; --layers can't be 3"));
    assert!(refused(&["--layers", "1", "--dimensions", "33"]).contains("can't be longer"));
    assert!(refused(&["--layers", "1", "--multilingual"]).contains("text and translation"));
    let both = ["--student", teacher.as_str(), "--dimensions", "8"];
    assert!(refused(&both).contains("leave out --student"));
    let query = |data: &str| {
        place.run(&["distil", "--teacher", &teacher, "--layers", "1", "--data", data, "-o", "out"])
    };
    let message = query("SELECT text FROM 'texts.csv' WHERE text = ''").fails(2);
    assert!(message.starts_with("the query of --data gives no rows"), "{message}");
    let message = query("SELECT sentence1, sentence2, score FROM 'pairs.csv'").fails(2);
    assert!(message.contains("must have one column, text"), "{message}");
    let pairs = tiny("bert-classifier");
    let message = place.run(&args(&pairs, "out", &["--layers", "1"])).fails(2);
    assert!(message.contains("gives no vectors of texts"), "{message}");
    assert!(!place.path("out").exists() && !place.path("out.partial").exists());
}

#[test]
fn a_static_student_needs_no_texts() {
    let (place, teacher) = (Place::new(), tiny("mpnet"));
    files(&place, 40);
    let with = |more: &[&str]| {
        let args = ["distil", "--teacher", teacher.as_str(), "--static", "-o", "out"];
        place.run(&[&args[..], more].concat())
    };
    let rows = table(&with(&["--dimensions", "8"]).ok());
    assert_eq!(rows[0], ["model", "layers", "dimensions", "parameters"]);
    assert_eq!(rows[2], ["static", "–", "8", "400"]);
    let sql = "SELECT array_length(embed('the cat', './out/static')) AS components";
    assert!(place.run(&["sql", "--format", "csv", sql]).ok().contains('8'));
    let eval = "SELECT sentence1, sentence2, score FROM 'pairs.csv'";
    let rows = table(&with(&["--overwrite", "--eval", eval]).ok());
    assert_eq!(rows[0][4..], ["spearman", "decrease", "texts/s", "speed"]);
    assert_eq!(rows[2][2], "32", "no more components than the teacher has");
}

#[test]
fn models_lose_layers_and_components_without_training() {
    let (place, model) = (Place::new(), tiny("bert"));
    files(&place, 60);
    let run = place.run(&["models", "prune", &model, "half", "--layers", "1"]);
    assert!(run.code == 0 && run.err.contains("half: 1 of 2 layers"), "{}", run.err);
    place.run(&["models", "prune", &model, "second", "--keep", "1"]).ok();
    let embed = |model: &str| {
        let sql = format!("SELECT embed('the cat', '{model}') AS v");
        place.run(&["sql", "--format", "json", &sql]).ok()
    };
    assert!(embed("./half") != embed("./second"), "other layers");
    let exists = place.run(&["models", "prune", &model, "half", "--layers", "1"]).fails(2);
    assert_eq!(exists, "half already exists; name a new folder");
    let refused = |more: &[&str]| {
        place.run(&[&["models", "prune", model.as_str(), "out"][..], more].concat()).fails(2)
    };
    assert!(refused(&["--layers", "3"]).contains("has 2 layers; 3 can't be kept"));
    assert!(refused(&["--keep", "1,0"]).contains("ascending"));
    let data = ["--data", "SELECT text FROM 'texts.csv'", "--dimensions"];
    let pca = |output: &str, dimensions: &str| {
        let args = ["models", "pca", model.as_str(), output];
        place.run(&[&args[..], &data, &[dimensions]].concat())
    };
    let run = pca("short", "4");
    assert!(run.code == 0 && run.err.contains("short: 4 components, which keep "), "{}", run.err);
    let sql = "SELECT array_length(embed('the cat', './short')) AS components";
    assert!(place.run(&["sql", "--format", "csv", sql]).ok().contains('4'));
    assert!(pca("out", "33").fails(2).contains("can be cut to 1 to 32, got 33"));
    assert!(!place.path("out").exists());
}

#[test]
fn models_lose_tokens_and_give_the_same_vectors() {
    let place = Place::new();
    files(&place, 60);
    let data = "SELECT text FROM 'texts.csv'";
    let vectors = |model: &str| {
        let sql = format!("SELECT embed(text, '{model}') AS v FROM 'texts.csv' LIMIT 9");
        place.run(&["sql", "--format", "json", &sql]).ok()
    };
    for name in ["bert", "roberta", "mpnet", "xlm-roberta"] {
        let (whole, output) = (tiny(name), format!("small-{name}"));
        let args = ["models", "prune", &whole, &output, "--vocabulary", "30", "--data", data];
        let run = place.run(&args);
        assert!(run.code == 0 && run.err.contains(": 30 of 53 tokens"), "{}", run.err);
        let small = format!("./{output}");
        assert_eq!(vectors(&small), vectors(&whole), "{name}");
        // Words that went are spelt with letters, if it knows those, and do no harm.
        let sql =
            format!("SELECT cos_sim(embed('river', '{small}'), embed('the', '{small}')) AS c");
        place.run(&["sql", "--format", "json", &sql]).ok();
    }
    let whole = tiny("bert");
    let both = ["--vocabulary", "30", "--data", data, "--layers", "1"];
    let run = place.run(&[&["models", "prune", whole.as_str(), "both"][..], &both].concat());
    assert!(run.err.contains("both: 1 of 2 layers, 30 of 53 tokens"), "{}", run.err);
    let few = ["models", "prune", whole.as_str(), "out", "--vocabulary", "3", "--data", data];
    let line = place.run(&few).fails(2);
    assert!(line.contains("can't keep 3 tokens: 1"), "{line}");
    assert!(!place.path("out").exists());
    place.run(&["models", "prune", whole.as_str(), "out", "--vocabulary", "30"]).fails(2);
    // A static model, in 8 bits before and in floats after.
    let args = ["models", "prune", "potion", "words", "--vocabulary", "3000", "--data", data];
    assert!(place.run(&args).err.contains("words: 3,000 of "), "of potion");
    let components = |model: &str| {
        let text: serde_json::Value = serde_json::from_str(&vectors(model)).expect("JSON");
        let rows = text.as_array().expect("rows").iter();
        rows.flat_map(|row| row["v"].as_array().expect("a vector").clone()).collect::<Vec<_>>()
    };
    let (before, after) = (components("potion"), components("./words"));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        let difference = before.as_f64().expect("a number") - after.as_f64().expect("a number");
        assert!(difference.abs() < 1e-5, "{before} and {after}");
    }
}

#[test]
fn models_are_made_from_modules() {
    let (place, base) = (Place::new(), tiny("bert"));
    files(&place, 60);
    let made = |name: &str, text: &str| {
        place.write(&format!("{name}.toml"), &text.replace("BASE", &base));
        place.run(&["models", "new", &format!("{name}.toml"), name])
    };
    let components = |model: &str| {
        let sql = format!("SELECT array_length(embed('the cat', './{model}')) AS n");
        place.run(&["sql", "--format", "csv", &sql]).ok()
    };
    let copied = "base = 'BASE'\npooling = ['cls', 'mean']\nnormalize = true\n\
         [transformer]\nlayers = 1\n\
         [[dense]]\noutputs = 20\nactivation = 'tanh'\n[[dense]]\noutputs = 7\nbias = false\n";
    let run = made("copied", copied);
    assert!(run.code == 0 && run.err.contains("copied: 1 layers, 7 components"), "{}", run.err);
    assert!(components("copied").contains('7'));
    let random =
        "base = 'BASE'\n[transformer]\nweights = 'random'\nlayers = 1\nwidth = 48\nheads = 3\n";
    made("random", random).ok();
    made("same", random).ok();
    made("other", &format!("seed = 7\n{random}")).ok();
    assert!(components("random").contains("48"));
    let weights = |name: &str| weights(place.path(name));
    assert_eq!(weights("random"), weights("same"));
    assert_ne!(weights("random"), weights("other"));
    // What was made can be trained.
    let data = "SELECT text AS anchor, translation AS positive FROM 'texts.csv'";
    for base in ["./copied", "./random"] {
        let args = ["train", "--base", base, "--data", data, "--batch", "8", "-o", "trained"];
        place.run(&[&args[..], &["--overwrite"]].concat()).ok();
    }
    assert_eq!(made("copied", copied).fails(2), "copied already exists; name a new folder");
    let line = made(
        "bad",
        "base = 'BASE'\n[transformer]\nweights = 'random'\nlayers = 1\nwidth = 50\nheads = 3\n",
    );
    assert!(line.fails(2).contains("width must be a multiple of heads"));
    assert!(made("worse", "base = 'BASE'\nlayers = 3\n").fails(2).starts_with("worse.toml: "));
    assert!(!place.path("bad").exists() && !place.path("worse").exists());
}
