//! Mistakes in the commands on findings: one line that names the thing and the fix.

use crate::place::Place;

/// A place with three rows in `in.csv`, two of which have the same id.
fn place() -> Place {
    let place = Place::new();
    place.write("in.csv", "id,text,body\n1,one,a\n2,two,b\n2,three,c\n");
    place
}

/// The line of a command with the static model that fails.
fn fails(place: &Place, args: &str) -> String {
    let mut args: Vec<_> = args.split(' ').collect();
    args.extend(["-m", "potion"]);
    place.run(&args).fails(2)
}

/// Checks that each command fails with a line that has both words.
fn expect(lines: &[(&str, &str, &str)]) {
    let place = place();
    for (args, name, mend) in lines {
        let line = fails(&place, args);
        assert!(line.contains(name) && line.contains(mend), "{args}: {line}");
    }
}

#[test]
fn numbers_out_of_range_are_named() {
    expect(&[
        ("mine in.csv --threshold 7", "threshold", "between -1 and 1"),
        ("search in.csv --query x --threshold 7", "threshold", "between -1 and 1"),
        ("dedup in.csv --threshold 7", "threshold", "between -1 and 1"),
        ("mine in.csv --threshold much", "--threshold", "a cosine between -1 and 1"),
        ("search in.csv --query x --top-k 0", "--top-k", ">= 1"),
        ("cluster in.csv --algorithm kmeans --k 0", "--k", ">= 1"),
        ("topics in.csv --words 0", "--words", ">= 1"),
    ]);
}

#[test]
fn words_that_are_not_known_are_answered_with_those_that_are() {
    expect(&[
        ("cluster in.csv --linkage loose", "'loose'", "average, complete, single, ward"),
        ("cluster in.csv --algorithm kmean", "'kmean'", "kmeans"),
        ("dedup in.csv --keep last", "'last'", "first, longest, centroid"),
        ("dedup in.csv --mode stars", "'stars'", "star"),
        ("search in.csv --query x --candidates int4", "'int4'", "exact, int8, binary"),
        ("search in.csv", "--query", "--help"),
    ]);
}

#[test]
fn options_are_checked_before_texts_are_embedded() {
    let both = "--algorithm agglomerative --k 2 --threshold 0.5";
    for command in ["topics in.csv", "cluster in.csv --report page.html"] {
        let line = fails(&place(), &format!("{command} {both}"));
        assert!(line.contains("takes k or a threshold, not both"), "{line}");
    }
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let place = place();
    place.write("in.jsonl", "{\"n\": 1, \"a\": \"x\", \"b\": \"y\"}\n");
    for (args, expected) in [
        ("mine in.csv --column txt", "column 'txt' is not in in.csv; its columns: text, id, body"),
        ("mine in.jsonl", "which column holds the text? --column names it: a, b"),
        ("mine in.jsonl --column n", "column 'n' holds Int64, not text"),
        ("mine in.csv --vectors body", "column 'body': 'a' is not a vector such as [0.1, 0.2]"),
        ("mine none.csv", "file 'none.csv' does not exist"),
        ("mine in.csv --with none.csv", "file 'none.csv' does not exist"),
        (
            "mine in.csv -o out.txt",
            "the output out.txt does not end in .parquet, .csv, .ndjson, .jsonl, .arrow or .feather",
        ),
        ("mine in.csv -o no/out.csv", "the folder of the output no/out.csv does not exist"),
        ("topics in.csv -o a.csv --topics a.csv", "--output and --topics must be different files"),
        ("rerank in.csv --query x --vectors v", "rerank needs texts, so leave out --vectors"),
    ] {
        assert_eq!(fails(&place, args), expected, "{args}");
    }
    let line = fails(&place, "mine in.csv -o in.csv --overwrite");
    assert!(line.contains("is also an input"), "{line}");
}

#[test]
fn ids_that_repeat_are_named() {
    let place = place();
    let line = fails(&place, "mine in.csv --id id -o out.csv");
    assert!(line.contains("id") && line.contains('2'), "{line}");
    let left: Vec<_> = std::fs::read_dir(place.path(".")).expect("a folder").collect();
    assert_eq!(left.len(), 1, "nothing but the input is left");
}
