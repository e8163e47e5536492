//! The project's own style, checked: sizes of files and functions, module headers, line lengths,
//! banned words.
//!
//! It reads the sources as text. What needs a parser is clippy's work.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod circles;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// rustfmt holds code to this; comments it leaves alone.
const COMMENT_COLUMNS_MAX: usize = 100;
/// A line with a message to a user, which is better not broken.
const STRING_COLUMNS_MAX: usize = 150;
/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 4] = ["utils", "util", "common", "helpers"];

/// Every Rust file of the workspace, with its path from the root.
fn sources() -> Vec<(PathBuf, String)> {
    let root = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("root");
    let mut files = Vec::new();
    let mut folders: Vec<_> = [
        "processor",
        "options",
        "models",
        "training",
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

/// Of these paths, each module that is a file beside its own folder.
fn modules_beside_their_folder<'a>(paths: &[&'a Path]) -> Vec<&'a Path> {
    let folders: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    let has_folder = |path: &Path| {
        let folder = path.with_extension("");
        folders.iter().any(|other| other.starts_with(&folder))
    };
    paths.iter().copied().filter(|path| has_folder(path)).collect()
}

#[test]
fn a_module_with_a_folder_is_its_mod_rs() {
    let paths = ["src/a.rs", "src/a/deep/b.rs", "src/c/mod.rs", "src/c.rs.rs"].map(Path::new);
    assert_eq!(modules_beside_their_folder(&paths), [Path::new("src/a.rs")]);
    let sources = sources();
    let paths: Vec<&Path> = sources.iter().map(|(path, _)| path.as_path()).collect();
    let complaint = |path: &&Path| {
        let folder = path.with_extension("");
        format!("{}: move it to {}/mod.rs", path.display(), folder.display())
    };
    report(&modules_beside_their_folder(&paths).iter().map(complaint).collect::<Vec<_>>());
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
        (["FIX", "ME"].concat(), "fix it"),
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
            for (word, instead) in &words {
                if line.contains(word.as_str()) {
                    complaints.push(format!(
                        "{}:{}: {word}: {instead}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    report(&complaints);
}

/// What messages don't say, and what they say instead. Whole sentences of documentation may.
const BANNED_PHRASES: [(&str, &str); 5] = [
    ("; it is ", "must be …, got …"),
    ("; it must be ", "must be …, got …"),
    ("is there already", "already exists"),
    ("is not there", "does not exist"),
    ("at rest", "static, bounded or batch"),
];

#[test]
fn messages_use_the_common_phrases() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        if is_test(&path) {
            continue;
        }
        for (number, line) in code(&text).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for (phrase, instead) in BANNED_PHRASES {
                if literals(line).iter().any(|(_, text)| text.contains(phrase)) {
                    complaints.push(format!(
                        "{}:{}: '{phrase}': say '{instead}'",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    report(&complaints);
}

/// Options of connectors that others have too, under the same name.
const SHARED_KEYS: [(&str, &str); 6] = [
    ("access_key_id", "readers open S3 too"),
    ("secret_access_key", "readers open S3 too"),
    ("session_token", "readers open S3 too"),
    ("partition_by", "findings and windows divide rows too"),
    ("queue_rows", "pipelines have queues too"),
    ("queue_bytes", "pipelines have queues too"),
];

/// Where options of connectors could be read; one-word keys such as `path` are others' elsewhere.
const STREAM_ROOMS: [&str; 3] = ["sql/src/catalogue", "sql/src/streams", "runtime"];
/// How options are read by their keys.
const READERS: [&str; 8] =
    [".text(", ".find_text(", ".flag(", ".count(", ".bytes(", ".duration(", ".choice(", ".has("];

/// The string literals of a line, each with what stands before it.
fn literals(line: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = line.get(from..).and_then(|rest| rest.find('"')).map(|n| from + n + 1) {
        let rest = line.get(start..).unwrap_or_default();
        let mut is_escaped = false;
        let length = rest.find(|letter| {
            let ends = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            ends
        });
        let Some(length) = length else { break };
        found.push((&line[..start - 1], &rest[..length]));
        from = start + length + 1;
    }
    found
}

/// Whether a text has a word, which may have dots and underscores in it.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

/// What is wrong with a line outside of connectors: a connector's name, the name of an option of
/// several words, or, where streams are made, any option that is read.
fn names_a_connector(line: &str, keys: &[&str], is_of_streams: bool) -> Option<String> {
    let names = || sembla_connectors::CONNECTORS.iter().map(|connector| connector.name());
    let is_compound = |key: &str| key.contains(['_', '.']);
    literals(line).into_iter().find_map(|(before, text)| {
        if let Some(name) = names().find(|name| *name == text) {
            return Some(format!("the connector '{name}'"));
        }
        let is_read = is_of_streams && READERS.iter().any(|reader| before.ends_with(reader));
        let key = keys.iter().find(|key| match is_compound(key) {
            true => has_word(text, key),
            false => **key == text && is_read,
        });
        key.map(|key| format!("the option '{key}'"))
    })
}

#[test]
fn only_connectors_name_connectors_and_their_options() {
    let options = sembla_connectors::all_options();
    let is_shared = |key: &str| SHARED_KEYS.iter().any(|(shared, _)| *shared == key);
    let keys: Vec<&str> =
        options.iter().map(|option| option.key).filter(|key| !is_shared(key)).collect();
    let line = r#"let late = options.get("late_topic");"#;
    assert!(
        names_a_connector(line, &keys, false).is_some_and(|found| found.contains("late_topic"))
    );
    let line = r#"let topic = options.text("topic")?;"#;
    assert!(names_a_connector(line, &keys, true).is_some_and(|found| found.contains("'topic'")));
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        if is_test(&path) || path.starts_with("connectors") || path.starts_with("options") {
            continue;
        }
        let is_of_streams = STREAM_ROOMS.iter().any(|room| path.starts_with(room));
        for (number, line) in code(&text).filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if let Some(found) = names_a_connector(line, &keys, is_of_streams) {
                complaints.push(format!(
                    "{}:{}: {found} is named outside connectors/; ask the connector",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    report(&complaints);
}
