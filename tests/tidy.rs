//! The project's own style, checked: sizes of files and functions, module headers, line lengths,
//! banned words.
//!
//! It reads the sources as text. What needs a parser is clippy's work.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// rustfmt holds code to this; comments it leaves alone.
const COMMENT_COLUMNS_MAX: usize = 100;
/// A line with a string that is told to a user and better not broken.
const STRING_COLUMNS_MAX: usize = 150;
/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 4] = ["utils", "util", "common", "helpers"];

/// Every Rust file of the workspace, with its path from the root.
fn sources() -> Vec<(PathBuf, String)> {
    let root = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("root");
    let mut files = Vec::new();
    let mut folders: Vec<_> = [
        "processor",
        "models",
        "operators",
        "readers",
        "sql",
        "jobs",
        "cli",
        "runtime",
        "connectors",
        "tests",
    ]
    .iter()
    .map(|room| root.join(room))
    .filter(|room| room.is_dir())
    .collect();
    assert!(folders.len() >= 4, "the rooms are not where they should be");
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                files.push((path.strip_prefix(&root).expect("below").to_path_buf(), text));
            }
        }
    }
    files.sort();
    files
}

/// Fails with all complaints at once.
fn report(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Whether the file is only tests.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains("test"))
}

/// The lines before the tests of a file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]")
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", path.display()));
        }
        if !text.starts_with("//! ") {
            complaints.push(format!("{}: does not begin with //!", path.display()));
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        if stem.is_some_and(|stem| BANNED_NAMES.contains(&stem.as_str())) {
            complaints.push(format!("{}: a name that says nothing", path.display()));
        }
    }
    report(&complaints);
}

#[test]
fn lines_fit_on_a_screen() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            let comment = line.trim_start().starts_with("//");
            let most = if comment { COMMENT_COLUMNS_MAX } else { STRING_COLUMNS_MAX };
            if columns > most {
                complaints.push(format!("{}:{}: {columns} columns", path.display(), number + 1));
            }
        }
    }
    report(&complaints);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if begins_function(line.trim_start()) {
                open = Some((number, indent, line.trim().to_string()));
            } else if let Some((from, at, name)) = &open
                && indent == *at
                && line.trim_start().starts_with('}')
            {
                let lines = number - from + 1;
                if lines > FUNCTION_LINES_MAX {
                    complaints.push(format!(
                        "{}:{}: {lines} lines: {name}",
                        path.display(),
                        from + 1
                    ));
                }
                open = None;
            }
        }
    }
    report(&complaints);
}

/// Whether a function begins on this line and does not end on it.
fn begins_function(line: &str) -> bool {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let line = line.strip_prefix("pub(super) ").unwrap_or(line);
    let line = line.trim_start_matches("const ").trim_start_matches("async ");
    let line = line.trim_start_matches("unsafe ");
    line.starts_with("fn ") && !line.ends_with(';') && !line.ends_with('}')
}

#[test]
fn banned_calls_and_words_stay_out() {
    let words = [
        (["to", "do!("].concat(), "finish it"),
        (["TO", "DO"].concat(), "do it, or leave it out"),
        (["FIX", "ME"].concat(), "mend it"),
        ([".unw", "rap()"].concat(), "say what failed"),
        (["db", "g!("].concat(), "use tracing"),
        (["#[al", "low("].concat(), "use #[expect(…, reason = …)]"),
    ];
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        if is_test(&path) {
            continue;
        }
        for (number, line) in code(&text) {
            for (word, mend) in &words {
                if line.contains(word.as_str()) {
                    complaints.push(format!("{}:{}: {word}: {mend}", path.display(), number + 1));
                }
            }
        }
    }
    report(&complaints);
}
