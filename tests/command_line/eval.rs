//! `sembla eval`: models ranked on tables, in all forms, and what it refuses.

use std::fs;
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

use crate::place::{Place, read_parquet};

/// Texts of three subjects, each with words of its own.
const SUBJECTS: [(&str, [&str; 6]); 3] = [
    (
        "card",
        [
            "my card is lost",
            "the card was stolen",
            "a new card please",
            "card has expired",
            "block my card",
            "card pin",
        ],
    ),
    (
        "pasta",
        [
            "pasta with basil",
            "cook the pasta",
            "fresh tomato pasta",
            "pasta sauce",
            "boil pasta",
            "pasta dinner",
        ],
    ),
    (
        "snow",
        [
            "snow fell at night",
            "deep snow",
            "a snow storm",
            "snow on the hills",
            "snow in winter",
            "white snow",
        ],
    ),
];

/// A table for each kind of task.
fn tables(place: &Place) {
    let (mut sts, mut pairs) =
        ("sentence1,sentence2,score\n".to_string(), "text1,text2,label\n".to_string());
    let mut clustering = "text,label\n".to_string();
    let mut classify = "text,label,split\n".to_string();
    let (mut rerank, mut bitext) =
        ("query,document,label\n".to_string(), "sentence1,sentence2\n".to_string());
    for (number, (label, texts)) in SUBJECTS.iter().enumerate() {
        let others = SUBJECTS[(number + 1) % 3].1;
        for (place, text) in texts.iter().enumerate() {
            let next = texts[(place + 1) % 6];
            sts += &format!(
                "{text},{next},{}\n{text},{},{}\n",
                4.0 + place as f64 / 10.0,
                others[place],
                0.5
            );
            pairs += &format!("{text},{next},1\n{text},{},0\n", others[place]);
            clustering += &format!("{text},{label}\n");
            let split = if place % 2 == 0 { "train" } else { "test" };
            classify += &format!("{text},{label},{split}\n");
            rerank += &format!("{label},{text},1\n{label},{},0\n", others[place]);
            bitext += &format!("{text},{text} today\n");
        }
    }
    for (name, text) in [
        ("sts.csv", sts),
        ("pairs.csv", pairs),
        ("clustering.csv", clustering),
        ("classify.csv", classify),
        ("rerank.csv", rerank),
        ("bitext.csv", bitext),
    ] {
        place.write(name, &text);
    }
}

/// A suite of all kinds.
fn suite(place: &Place) {
    tables(place);
    place.write("queries.csv", "id,text\n1,lost card\n2,white snow\n3,nobody asks this\n");
    place.write(
        "corpus.csv",
        "id,title,text\na,Cards,my card is lost\nb,,snow is white\nc,,pasta\n",
    );
    place.write("qrels.csv", "query_id,corpus_id,score\n1,a,1\n2,b,2\n");
    let mut text = String::new();
    for kind in ["sts", "pairs", "clustering", "classify", "rerank", "bitext"] {
        text +=
            &format!("[[task]]\nname = \"my {kind}\"\nkind = \"{kind}\"\ndata = \"{kind}.csv\"\n");
    }
    text += "[[task]]\nkind = \"retrieval\"\nqueries = \"queries.csv\"\ncorpus = \"SELECT * FROM '{suite}/corpus.csv'\"\n\
             relevant = \"qrels.csv\"\n";
    place.write("suite.toml", &text);
}

#[test]
fn a_suite_ranks_models_and_every_form_says_the_same() {
    let place = Place::new();
    suite(&place);
    let mut args = vec!["eval", "--models", "potion", "--suite", ".", "--format", "json"];
    for output in ["r.md", "r.html", "r.parquet", "r.json", "r.csv"] {
        args.extend(["-o", output]);
    }
    let run = place.run(&args);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(fs::read_to_string(place.path("r.json")).expect("a file"), run.out);
    let rows = read_parquet(&place.path("r.parquet"));
    let names: Vec<String> =
        rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        names,
        [
            "model",
            "average",
            "my sts",
            "my pairs",
            "my clustering",
            "my classify",
            "my rerank",
            "my bitext",
            "retrieval",
            "dimensions",
            "max_length",
            "parameters",
            "texts_per_second",
            "peak_memory_bytes"
        ]
    );
    let score = |name: &str| {
        use arrow::array::AsArray;
        let column = rows.column_by_name(name).expect("a column");
        column.as_primitive::<arrow::datatypes::Float64Type>().value(0)
    };
    // Subjects that share a word are easy to tell apart.
    for name in ["my sts", "my pairs", "my classify", "my rerank", "my bitext", "retrieval"] {
        assert!((0.6..=1.0).contains(&score(name)), "{name} {}", score(name));
    }
    let scores: f64 = names[2..9].iter().map(|name| score(name)).sum();
    assert!((score("average") - scores / 7.0).abs() < 1e-12);
    assert!(score("texts_per_second") > 0.0);
    let markdown = fs::read_to_string(place.path("r.md")).expect("a file");
    assert!(markdown.starts_with("| model | average | my sts<br>Spearman |"), "{markdown}");
    let figure = format!("{:.2}", 100.0 * score("my clustering"));
    assert!(markdown.contains(&figure), "{markdown}");
    let page = fs::read_to_string(place.path("r.html")).expect("a file");
    assert!(page.contains("<circle") && page.contains(&figure) && !page.contains("<script"));
}

#[test]
fn models_are_compared_on_queries_and_cross_encoders_where_they_can() {
    let place = Place::new();
    tables(&place);
    let model = |name: &str| {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        root.join("models/tests/fixtures").join(name).display().to_string()
    };
    let models = format!("{},potion,{}", model("bert"), model("roberta-classifier"));
    let suite = "sts:small=SELECT sentence1, sentence2, score FROM 'sts.csv' WHERE score > 0.1, clustering=clustering.csv";
    let run = place.run(&["eval", "--models", &models, "--suite", suite]);
    assert_eq!(run.code, 0, "{}", run.err);
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines[0].contains("small (Spearman)") && lines[0].contains("clustering (V-measure)"));
    assert!(lines[2].trim_start().starts_with("potion "), "random weights are worse: {}", run.out);
    assert!(lines[4].contains("roberta-classifier") && lines[4].contains("–"), "{}", run.out);
    assert!(run.err.contains("is a cross-encoder, which has no vectors: task 'clustering'"));
    let again =
        place.run(&["eval", "--models", "potion", "--suite", suite, "--format", "csv"]).ok();
    let third =
        place.run(&["eval", "--models", "potion", "--suite", suite, "--format", "csv"]).ok();
    let scores = |text: &str| {
        text.lines().nth(1).map(|line| line.split(',').take(4).collect::<Vec<_>>().join(","))
    };
    assert_eq!(scores(&again), scores(&third), "scores are the same each time");
}

#[test]
fn what_cannot_be_measured_is_refused_in_one_line_before_any_model_runs() {
    let place = Place::new();
    suite(&place);
    for (suite, output, words) in [
        ("stss=sts.csv", "", "unknown kind of task 'stss'; kinds: sts, pairs"),
        ("sts=missing.csv", "", "missing.csv does not exist"),
        ("missing/", "", "'missing/' is no suite"),
        (
            "clustering=sts.csv",
            "",
            "has columns sentence1, sentence2, score, but needs text, label",
        ),
        ("sts=clustering.csv", "", "kinds that take these: clustering"),
        (
            "sts=SELECT text1 AS sentence1, text2 AS sentence2, label::text AS score FROM 'pairs.csv'",
            "",
            "column 'score' must be a number",
        ),
        ("sts=SELEC 1", "", "does not exist"),
        ("sts=SELECT 1; SELECT 2", "", "must be one query"),
        ("sts:a=sts.csv,pairs:a=pairs.csv", "", "two tasks have the name 'a'"),
        ("classify=clustering.csv", "", "must be texts that a classifier was not shown"),
        ("sts:parameters=sts.csv", "", "a task can't be called 'parameters'"),
        ("sts=sts.csv", "r.txt", "does not end in .md, .html, .json"),
        ("sts=sts.csv", "sts.csv", "already exists; --overwrite replaces it"),
    ] {
        let mut args = vec!["eval", "--models", "potion", "--suite", suite];
        if !output.is_empty() {
            args.extend(["-o", output]);
        }
        let message = place.run(&args).fails(2);
        assert!(message.contains(words), "{suite}: {message}");
    }
    let message =
        place.run(&["eval", "--models", "potion,nonesuch", "--suite", "sts=sts.csv"]).fails(2);
    assert!(message.contains("nonesuch"), "{message}");
    let message =
        place.run(&["eval", "--models", "potion,potion", "--suite", "sts=sts.csv"]).fails(2);
    assert!(message.contains("named twice"), "{message}");
    // Rows show only when they are read.
    place.write("wrong.csv", "text1,text2,label\na,b,0\na,c,3\n");
    let message = place.run(&["eval", "--models", "potion", "--suite", "pairs=wrong.csv"]).fails(2);
    assert!(message.contains("a label must be 0 or 1, got 3"), "{message}");
    let none = "pairs=SELECT * FROM 'pairs.csv' WHERE label > 5";
    let message = place.run(&["eval", "--models", "potion", "--suite", none]).fails(2);
    assert!(message.contains("got no rows"), "{message}");
    assert!(place.run(&["eval-model"]).fails(2).contains("run by sembla eval"));
}

/// The process that measures a model for `parent`, if it is there.
#[cfg(target_os = "linux")]
fn worker_of(parent: u32) -> Option<u32> {
    fs::read_dir("/proc").expect("processes").flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let parent_line = format!("PPid:\t{parent}");
        (status.lines().any(|line| line == parent_line) && is_worker(pid)).then_some(pid)
    })
}

/// Whether a process is one that measures a model. One that has ended has no command line.
#[cfg(target_os = "linux")]
fn is_worker(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("eval-model"))
}

/// The process of a model ends with the one that asked for it, however that ends.
#[cfg(target_os = "linux")]
#[test]
fn no_process_is_left_behind() {
    let place = Place::new();
    let query = "SELECT 'a ' || a.value AS sentence1, 'b ' || b.value AS sentence2, a.value AS score \
                 FROM range(0, 20000) AS a, range(0, 200) AS b";
    let until = |what: &str, test: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !test() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for signal in ["-INT", "-KILL"] {
        let mut child =
            place.start(&["eval", "--models", "potion", "--suite", &format!("sts:long={query}")]);
        let parent = child.id();
        until("no process measures", &|| worker_of(parent).is_some());
        let worker = worker_of(parent).expect("a process");
        let killed =
            std::process::Command::new("kill").args([signal, &parent.to_string()]).status();
        assert!(killed.expect("kill runs").success());
        child.wait().expect("waited");
        until("it works for nobody", &|| !is_worker(worker));
    }
}
