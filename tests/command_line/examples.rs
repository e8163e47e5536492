//! Every file of `examples/` runs, and gives rows.

use std::fs;
use std::path::{Path, PathBuf};

use crate::place::Place;

/// The file of news that one example reads. It is not part of the project.
const NEWS: &str = "reuters21578.jsonl";

/// The project, and a place where the examples find their data.
fn with_data() -> (PathBuf, Place) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = Place::new();
    fs::create_dir_all(place.path("examples")).expect("a folder");
    std::os::unix::fs::symlink(
        fs::canonicalize(root.join("examples/data")).expect("the data"),
        place.path("examples/data"),
    )
    .expect("a link");
    (root.to_path_buf(), place)
}

#[test]
fn every_example_runs() {
    assert!(runs_of("examples").len() >= 5, "examples are missing");
}

/// Runs every file of SQL in a folder of the project. Gives the names and what they printed.
fn runs_of(folder: &str) -> Vec<(String, String)> {
    let (root, place) = with_data();
    let mut runs = Vec::new();
    for entry in fs::read_dir(root.join(folder)).expect("the examples") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|end| end == "sql") {
            let name = path.display().to_string();
            let begins = fs::read_to_string(&path).expect("text").starts_with("-- ");
            assert!(begins, "{name} does not begin with what it shows");
            let run = place.run(&["sql", "--format", "csv", "-f", &name]);
            assert_eq!(run.code, 0, "{name}: {}", run.err);
            assert!(run.out.lines().count() >= 2, "{name} gives no rows");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            runs.push((name, run.out));
        }
    }
    runs
}

#[test]
fn every_recipe_does_what_it_says() {
    let runs = runs_of("examples/recipes");
    let of = |wanted: &str| {
        let run = runs.iter().find(|(name, _)| name == wanted);
        run.map(|(_, out)| out.as_str()).unwrap_or_else(|| panic!("{wanted} is missing"))
    };
    let right = of("zero_shot").lines().last().and_then(|line| line.rsplit(',').next());
    let right: f64 = right.and_then(|percent| percent.parse().ok()).expect("a share");
    assert!(right > 75.0, "only {right} % of the labels are right");
    let pairs = of("one_to_one");
    for pair in ["cordless drill 18 V,18V battery drill,", "LED desk lamp,table lamp with LED,"] {
        assert!(pairs.contains(pair), "{pairs}");
    }
    assert!(pairs.ends_with("unmatched\nespresso machine\n"), "{pairs}");
    let chunks = of("chunks");
    assert!(
        chunks.contains("\nage_limit,") && chunks.contains("\n1,passcode_forgotten,"),
        "{chunks}"
    );
    let nightly = of("nightly");
    assert!(nightly.contains("rows,different\n3080,3080\n"), "{nightly}");
    let index = fs::read_to_string(with_data().0.join("examples/recipes/README.md"));
    let index = index.expect("an index");
    assert!(runs.iter().all(|(name, _)| index.contains(&format!("({name}.sql)"))), "{index}");
}

#[test]
fn every_example_of_streams_runs() {
    let (root, place) = with_data();
    let mut seen = 0;
    for entry in fs::read_dir(root.join("examples/streams")).expect("the examples") {
        let path = entry.expect("a file").path();
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.starts_with("-- "), "{name} does not begin with what it shows");
        let servers = ["connector = 'kafka'", "connector = 'postgres'"];
        if servers.iter().any(|server| text.contains(server)) || text.contains(NEWS) {
            continue;
        }
        let run = place.run(&["run", &name, "-m", "potion"]);
        assert_eq!(run.code, 0, "{name}: {}", run.err);
        assert!(run.err.contains("3,080 rows in") && run.err.contains("complete"), "{}", run.err);
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} examples were found");
}

#[test]
fn the_example_of_news_runs_where_they_are() {
    let (root, place) = with_data();
    let Ok(packed) = fs::File::open(root.join("../shared/data").join(format!("{NEWS}.gz"))) else {
        return;
    };
    let mut news = fs::File::create(place.path(NEWS)).expect("a file");
    std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut news).expect("the news");
    let file = root.join("examples/streams/reuters.sql");
    let run = place.run(&["run", file.to_str().expect("a path"), "-m", "potion"]);
    assert_eq!(run.code, 0, "{}", run.err);
    for pipeline in ["watched", "watched_by_day"] {
        let said = run.err.lines().find(|line| line.starts_with(&format!("{pipeline}: ")));
        let said = said.unwrap_or_else(|| panic!("{}", run.err));
        assert!(said.contains("complete") && !said.contains(" 0 out"), "{said}");
    }
}
