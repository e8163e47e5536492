//! The commands on findings from end to end: `search`, `mine`, `dedup`, `cluster`, `topics` and
//! `rerank`, with the static model.

use std::fs;

use crate::place::{Place, read_parquet};

/// Twelve questions about three things. Rows 0 and 4 are the same, and 8 nearly is 3.
const QUESTIONS: [&str; 12] = [
    "Where is my card?",
    "How do I change my PIN?",
    "What is the exchange rate for euros?",
    "I want to change the PIN of my card.",
    "Where is my card?",
    "Which exchange rate do you use for dollars?",
    "When will my new card arrive?",
    "Is the exchange rate better on weekdays?",
    "I want to change the PIN of my card!",
    "My card has not arrived yet.",
    "Can I change my PIN at a machine?",
    "Tell me the exchange rate of the euro.",
];

/// A place with the questions in `in.csv`, whose ids go 100, 101, …
fn questions() -> Place {
    let place = Place::new();
    let rows: Vec<_> = QUESTIONS
        .iter()
        .enumerate()
        .map(|(row, text)| format!("{},\"{text}\"", 100 + row))
        .collect();
    place.write("in.csv", &format!("key,text\n{}\n", rows.join("\n")));
    place
}

/// The output in CSV of a command over `in.csv` with the static model, line by line.
fn lines(place: &Place, command: &str, args: &[&str]) -> Vec<String> {
    let common = [command, "in.csv", "-m", "potion", "--format", "csv"];
    let out = place.run(&[&common, args].concat()).ok();
    out.lines().map(str::to_string).collect()
}

/// The cells of a line without commas in its texts.
fn cells(line: &str) -> Vec<&str> {
    line.split(',').collect()
}

#[test]
fn search_finds_what_is_nearest() {
    let place = questions();
    let found = lines(&place, "search", &["--query", "Where is my card?", "-k", "3"]);
    assert_eq!(found[0], "query_id,rank,id,score");
    let hits: Vec<_> = found[1..].iter().map(|line| cells(line)[..3].join(" ")).collect();
    assert_eq!(hits[..2], ["0 1 0", "0 2 4"], "equal scores come in the order of the rows");
    assert_eq!(hits.len(), 3);
    let named =
        lines(&place, "search", &["--query", "Where is my card?", "-k", "1", "--id", "key"]);
    assert_eq!(cells(&named[1])[..3], ["0", "1", "100"]);
}

#[test]
fn search_takes_a_file_of_queries_and_tells_their_texts() {
    let place = questions();
    place.write("q.csv", "name,question\nb,exchange rate\na,change the PIN\n");
    let args = ["--queries", "q.csv", "--queries-id", "name", "--queries-column", "question"];
    let found = lines(&place, "search", &[&args[..], &["-k", "2", "--text"]].concat());
    assert_eq!(found[0], "query_id,rank,id,score,query,text");
    let heads: Vec<_> = found[1..].iter().map(|line| cells(line)[..2].join(" ")).collect();
    assert_eq!(heads, ["b 1", "b 2", "a 1", "a 2"], "queries keep their order");
    assert!(found[1].contains("exchange rate,") && found[3].contains("PIN"), "{found:?}");
}

#[test]
fn vectors_that_are_there_are_not_made_again() {
    let place = questions();
    place.run(&["embed", "in.csv", "-o", "v.parquet", "-c", "text", "-m", "potion"]).ok();
    let from_texts = lines(&place, "mine", &[]);
    let args = ["mine", "v.parquet", "--vectors", "embedding", "--format", "csv", "-m", "no-such"];
    let from_vectors: Vec<_> = place.run(&args).ok().lines().map(str::to_string).collect();
    assert_eq!(from_texts, from_vectors);
}

#[test]
fn mine_gives_pairs_best_first() {
    let place = questions();
    let found = lines(&place, "mine", &["--threshold", "0.95"]);
    assert_eq!(found[0], "score,id_a,id_b");
    assert_eq!(cells(&found[1])[1..], ["0", "4"]);
    assert!(found.contains(&found[1]) && found.iter().any(|line| line.ends_with(",3,8")));
    place.write("other.csv", "key,text\n7,Where is my card?\n");
    let args = ["--with", "other.csv", "--top-k", "1", "--max-pairs", "2", "--text"];
    let found = lines(&place, "mine", &args);
    assert_eq!(found[0], "score,id_a,id_b,text_a,text_b");
    assert!(found[1].ends_with("Where is my card?,Where is my card?"), "{found:?}");
}

#[test]
fn dedup_tells_what_to_keep_and_why() {
    let place = questions();
    let run =
        place.run(&["dedup", "in.csv", "-m", "potion", "--threshold", "0.95", "--format", "csv"]);
    assert!(run.err.starts_with("12 rows: 2 dropped (1 exact, 1 near), 10 kept; "), "{}", run.err);
    let out = run.ok();
    let found: Vec<_> = out.lines().collect();
    assert_eq!(found[0], "id,cluster_id,representative_id,is_kept,score,reason");
    assert_eq!(found.len(), 13);
    let row = |id: &str| *found.iter().find(|line| cells(line)[0] == id).expect("a row");
    assert_eq!(cells(row("4"))[2..4], ["0", "false"]);
    assert!(row("4").ends_with("exact") && row("8").ends_with("near"), "{out}");
    assert_eq!(cells(row("8"))[2], "3");
    assert_eq!(cells(row("0"))[3], "true");
}

#[test]
fn dedup_writes_the_rows_to_keep_into_a_file() {
    let place = questions();
    let args = ["dedup", "in.csv", "-m", "potion", "--threshold", "0.95", "--only-kept"];
    let csv = [&args[..], &["-o", "kept.csv"]].concat();
    assert_eq!(place.run(&csv).ok(), "", "rows go to the file");
    let input = fs::read_to_string(place.path("in.csv")).expect("a file").replace('"', "");
    let kept = fs::read_to_string(place.path("kept.csv")).expect("a file");
    let rows: Vec<&str> = input.lines().skip(1).collect();
    let expected = [0, 1, 2, 3, 5, 6, 7, 9, 10, 11].map(|row| rows[row]);
    assert_eq!(kept.lines().skip(1).collect::<Vec<_>>(), expected, "the input's rows, as they are");
    assert_eq!(kept.lines().next(), input.lines().next());
    let named = [&args[..], &["--columns", "text", "-o", "texts.csv"]].concat();
    place.run(&named).ok();
    let texts = fs::read_to_string(place.path("texts.csv")).expect("a file");
    assert_eq!((texts.lines().next(), texts.lines().count()), (Some("text"), 11));
    let args = [&args[..], &["-o", "kept.parquet"]].concat();
    place.run(&args).ok();
    assert_eq!(read_parquet(&place.path("kept.parquet")).num_rows(), 10);
    assert!(
        place.run(&args).fails(2).contains("kept.parquet already exists; --overwrite replaces it")
    );
    place.run(&[&args[..], &["--overwrite"]].concat()).ok();
    place.write("new.csv", "key,text\n1,Where is my card?\n2,Something else altogether\n");
    let args = ["dedup", "new.csv", "--against", "in.csv", "-m", "potion", "--format", "csv"];
    let out = place.run(&args).ok();
    let kept: Vec<_> = out.lines().skip(1).map(|line| cells(line)[3]).collect();
    assert_eq!(kept, ["false", "true"]);
}

#[test]
fn dedup_takes_saved_pairs_and_lets_columns_go_along() {
    let place = questions();
    let mine = ["mine", "in.csv", "-m", "potion", "--threshold", "0.8", "--all-pairs"];
    place.run(&[&mine[..], &["-o", "pairs.parquet"]].concat()).ok();
    let columns = ["--threshold", "0.95", "--columns", "key,text"];
    let anew = lines(&place, "dedup", &columns);
    assert_eq!(anew[0], "id,cluster_id,representative_id,is_kept,score,reason,key,text");
    assert!(anew[1].ends_with(",100,Where is my card?"), "{anew:?}");
    let saved = ["dedup", "in.csv", "--pairs", "pairs.parquet", "--format", "csv", "-m", "no-such"];
    let saved = place.run(&[&saved[..], &columns].concat()).ok();
    assert_eq!(saved.lines().collect::<Vec<_>>(), anew);
    let line = place.run(&["dedup", "in.csv", "-m", "potion", "--columns", "score"]).fails(2);
    assert!(line.contains("'score'"), "{line}");
}

#[test]
fn clusters_have_ids_and_files_are_written_in_every_format() {
    let place = questions();
    let options = ["--algorithm", "kmeans", "--k", "3"];
    let found = lines(&place, "cluster", &options);
    assert_eq!(found[0], "id,cluster_id");
    let of = |row: usize| cells(&found[row + 1])[1];
    assert_eq!(of(0), of(4));
    assert_eq!(of(1), of(10));
    assert_eq!(of(5), of(7));
    assert!(of(0) != of(1) && of(1) != of(5));
    for file in ["out.csv", "out.ndjson", "out.parquet"] {
        let args = ["cluster", "in.csv", "-m", "potion", "-o", file];
        let run = place.run(&[&args[..], &options].concat());
        assert!(run.err.starts_with("12 rows: 3 clusters of "), "{}", run.err);
        run.ok();
        let query = format!("SELECT id, cluster_id FROM '{file}'");
        let read = place.run(&["sql", "--format", "csv", &query]).ok();
        assert_eq!(read.lines().collect::<Vec<_>>(), found, "{file}");
    }
}

#[test]
fn topics_have_words_and_every_text_has_its_topic() {
    let place = questions();
    let options = ["--algorithm", "kmeans", "--k", "3", "--words", "4"];
    let table = place.run(&[&["topics", "in.csv", "-m", "potion"][..], &options].concat()).ok();
    for word in ["topic_id", "size", "words", "pin", "exchange", "card", "(3 rows)"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let args = ["topics", "in.csv", "-m", "potion", "-o", "out.csv", "--topics", "topics.ndjson"];
    let printed = place.run(&[&args[..], &options].concat()).ok();
    assert_eq!(printed, table);
    let rows = fs::read_to_string(place.path("out.csv")).expect("a file");
    assert_eq!(rows.lines().next(), Some("id,topic_id"));
    assert_eq!(rows.lines().count(), 13);
    let topics = fs::read_to_string(place.path("topics.ndjson")).expect("a file");
    let sizes: u64 = topics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|topic| {
            let words = topic["words"].as_array().map(Vec::len);
            assert!(words.is_some_and(|words| (2..=4).contains(&words)), "{topic}");
            topic["size"].as_u64().expect("a number")
        })
        .sum();
    assert_eq!(sizes, 12);
    assert_eq!(lines(&place, "topics", &options), rows.lines().collect::<Vec<_>>());
}

#[test]
fn a_report_is_one_page_in_which_texts_stay_texts() {
    let place = questions();
    let attack = "Where is my <script>alert(1)</script> card?";
    let input = fs::read_to_string(place.path("in.csv")).expect("a file");
    place.write("in.csv", &format!("{input}112,{attack}\n"));
    for command in ["topics", "cluster"] {
        let args = [command, "in.csv", "-m", "potion", "--algorithm", "kmeans", "--k", "3"];
        let report = ["--report", "page.html", "--title", "Questions & <answers>", "--overwrite"];
        let run = place.run(&[&args[..], &report].concat());
        assert!(run.err.contains("page.html"), "{}", run.err);
        run.ok();
        let page = fs::read_to_string(place.path("page.html")).expect("a page");
        assert!(page.contains("<h1>Questions &amp; &lt;answers&gt;</h1>"));
        assert!(!page.contains("<script>alert"), "{command}");
        assert!(page.contains("\\u0026lt;script") || page.contains("&lt;script"), "{command}");
        assert!(page.contains("default-src 'none'"));
    }
    let args = ["cluster", "in.csv", "-m", "potion", "--k", "3", "--report", "page.txt"];
    assert!(place.run(&args).fails(2).contains("page.txt does not end in .html"));
}

#[test]
fn rerank_orders_texts_by_a_cross_encoder() {
    let place = questions();
    // Tiny and random: only the shape of its answers means something.
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tests/fixtures/roberta-classifier");
    let args = ["rerank", "in.csv", "--query", "it's late", "-m", model, "--format", "csv"];
    let out = place.run(&args).ok();
    let found: Vec<_> = out.lines().collect();
    assert_eq!((found[0], found.len()), ("id,rank,score", 13));
    let scores: Vec<f32> =
        found[1..].iter().map(|line| cells(line)[2].parse().expect("a number")).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let best = place.run(&[&args[..], &["-k", "2", "--id", "key", "--text"]].concat()).ok();
    assert_eq!(best.lines().count(), 3);
    let line = place.run(&["rerank", "in.csv", "--query", "x"]).fails(2);
    assert!(line.contains("name one with --model"), "{line}");
}

#[test]
fn several_files_are_one_table_in_their_order() {
    let place = questions();
    place.write("z.jsonl", "{\"text\": \"Where is my card?\"}\n{\"text\": null}\n");
    fs::create_dir(place.path("more")).expect("a folder");
    place.write("more/b.csv", "text\nWhere is my card?\n");
    let query = ["--query", "Where is my card?", "-k", "4", "-m", "potion", "--format", "csv"];
    let run = place.run(&[&["search", "z.jsonl", "more", "in.csv"][..], &query].concat());
    assert!(run.err.starts_with("1 query over 15 rows: 4 hits; "), "{}", run.err);
    let out = run.ok();
    let ids: Vec<_> = out.lines().skip(1).map(|line| cells(line)[2]).collect();
    assert_eq!(ids, ["0", "2", "3", "7"]);
}

#[test]
fn groups_are_looked_at_one_by_one() {
    let place = Place::new();
    let csv = "customer,text\na,Where is my card?\nb,Where is my card?\na,where is my card\nb,How do I change my PIN?\n";
    place.write("in.csv", csv);
    let args =
        ["dedup", "in.csv", "-m", "potion", "--threshold", "0.95", "--partition-by", "customer"];
    let out = place.run(&[&args[..], &["--format", "csv", "--columns", "customer"]].concat()).ok();
    assert_eq!(
        out.lines().next(),
        Some("customer,id,cluster_id,representative_id,is_kept,score,reason")
    );
    let kept = |line: &str| (cells(line)[1].to_string(), cells(line)[4].to_string());
    let mut found: Vec<_> = out.lines().skip(1).map(kept).collect();
    found.sort();
    let expected = [("0", "true"), ("1", "true"), ("2", "false"), ("3", "true")];
    assert_eq!(found, expected.map(|(id, kept)| (id.to_string(), kept.to_string())));
    place.run(&[&args[..], &["--only-kept", "-o", "kept.csv"]].concat()).ok();
    let kept = fs::read_to_string(place.path("kept.csv")).expect("a file");
    let rows: Vec<_> = csv.lines().collect();
    assert_eq!(kept.lines().collect::<Vec<_>>(), [rows[0], rows[1], rows[2], rows[4]]);
    let topics = ["topics", "in.csv", "-m", "potion", "-k", "1", "--partition-by", "customer"];
    let run = place.run(&topics);
    assert!(run.err.contains("4 rows: 2 topics of 2 rows"), "{}", run.err);
    assert!(
        run.ok().lines().next().is_some_and(|line| line.trim().starts_with("customer │ topic_id"))
    );
    let line = place.run(&[&topics[..], &["--report", "out.html"]].concat()).fails(2);
    assert!(line.contains("--partition-by") && line.contains("--report"), "{line}");
}
