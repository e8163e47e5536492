//! What models are measured on: tasks written on the command line, and suites that are folders.
//!
//! On the command line a task is `KIND=SOURCE` or `KIND:NAME=SOURCE`, and commas stand between
//! tasks. A source is a file, a folder or glob of files, or a query. A suite is a folder with a
//! `suite.toml`:
//!
//! ```toml
//! [[task]]
//! name = "Support questions"
//! kind = "retrieval"
//! queries = "queries.csv"
//! corpus = "SELECT id, title || ' ' || body AS text FROM '{suite}/articles/*.parquet'"
//! relevant = "relevant.csv"
//! ```
//!
//! Files are looked for in the suite's folder, which `{suite}` stands for in queries.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kinds::{Kind, Part, names};
use crate::description;
use crate::failure::{Failure, Result};

/// The file that makes a folder a suite.
pub const SUITE_FILE: &str = "suite.toml";

/// Most tasks of a run.
const TASKS_MAX: usize = 500;

/// What stands for the suite's folder in its queries.
const FOLDER: &str = "{suite}";

/// What is measured, and on which rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What it is called in results.
    pub name: String,
    /// What is measured.
    pub kind: Kind,
    /// A query for each of its tables, in the order of the kind's parts.
    pub queries: Vec<String>,
}

impl Task {
    /// The tables that it has.
    ///
    /// # Errors
    /// A number of queries that no form of the kind has.
    pub fn parts(&self) -> Result<&'static [Part]> {
        let forms = self.kind.def().forms;
        let form = forms.iter().find(|form| form.len() == self.queries.len());
        form.copied().ok_or_else(|| {
            Failure::other(format!("internal error: task '{}' has other tables", self.name))
        })
    }

    /// What messages call one of its tables.
    pub fn table(&self, part: &Part) -> String {
        match part.name {
            "data" => format!("task '{}' ({})", self.name, self.kind.def().name),
            name => format!("{name} of task '{}' ({})", self.name, self.kind.def().name),
        }
    }
}

/// Reads all tasks that `--suite` names.
///
/// # Errors
/// Unknown kinds, files that are not there, suites that can't be read, and names that are there
/// twice.
pub fn read(items: &[String]) -> Result<Vec<Task>> {
    let mut tasks: Vec<Task> = Vec::new();
    // Tasks that nobody has given a name.
    let mut unnamed = Vec::new();
    for item in items {
        for item in split(item) {
            match kind_of(item) {
                Some((kind, name, source)) => {
                    if name.is_none() {
                        unnamed.push(tasks.len());
                    }
                    tasks.push(inline(kind, name, source)?);
                }
                None => tasks.extend(folder(item)?),
            }
        }
    }
    if tasks.is_empty() {
        return Err(Failure::user("the suite has no task; see --help"));
    }
    if tasks.len() > TASKS_MAX {
        let count = tasks.len();
        return Err(Failure::user(format!("a run takes at most {TASKS_MAX} tasks, got {count}")));
    }
    name_apart(&mut tasks, &unnamed);
    for (index, task) in tasks.iter().enumerate() {
        if tasks[..index].iter().any(|other| other.name == task.name) {
            return Err(Failure::user(format!(
                "two tasks have the name '{}'; name one of them, as in {}:NAME=…",
                task.name,
                task.kind.def().name
            )));
        }
    }
    Ok(tasks)
}

/// Cuts at commas outside of quotes that a task or a folder follows.
fn split(text: &str) -> Vec<&str> {
    let (mut items, mut begin, mut quote) = (Vec::new(), 0, None);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, ',') if kind_of(text[at + 1..].trim_start()).is_some() => {
                items.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    items.push(text[begin..].trim());
    items.retain(|item| !item.is_empty());
    items
}

/// The kind, the name if one is given, and the source of `KIND[:NAME]=SOURCE`; `None` for what has
/// not that form.
fn kind_of(item: &str) -> Option<(Kind, Option<&str>, &str)> {
    let (head, source) = item.split_once('=')?;
    let (kind, name) = match head.split_once(':') {
        Some((kind, name)) => (kind, Some(name.trim())),
        None => (head, None),
    };
    let kind = Kind::named(kind.trim()).ok()?;
    Some((kind, name.filter(|name| !name.is_empty()), source.trim()))
}

fn inline(kind: Kind, name: Option<&str>, source: &str) -> Result<Task> {
    let stem = || {
        let stem = Path::new(source).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if is_query(source) || stem.is_empty() { kind.def().name.to_string() } else { stem }
    };
    let name = name.map_or_else(stem, ToString::to_string);
    let whole = |part: &Part| format!("task '{name}': {}", part.name);
    let parts = kind.def().forms.last().copied().unwrap_or_default();
    if parts.len() > 1 && Path::new(source).is_dir() {
        let folder = Path::new(source);
        if let Some(queries) = files_of_parts(parts, folder) {
            return Ok(Task { name, kind, queries });
        }
    }
    let data = &kind.def().forms[0][0];
    let queries = vec![query(source, None).map_err(|failure| failure.context(whole(data)))?];
    Ok(Task { name, kind, queries })
}

/// Queries for files that have the names of the parts, if all are in the folder.
fn files_of_parts(parts: &[Part], folder: &Path) -> Option<Vec<String>> {
    const OTHER_NAMES: &[(&str, &str)] = &[("relevant", "qrels")];
    let entries: Vec<_> =
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    let of_part = |part: &Part| {
        let other =
            OTHER_NAMES.iter().find(|(name, _)| *name == part.name).map(|(_, other)| *other);
        let is_it = |path: &&std::path::PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let stem = name.split('.').next().unwrap_or_default();
            stem == part.name || Some(stem) == other
        };
        let mut found: Vec<_> = entries.iter().filter(is_it).collect();
        found.sort();
        found.first().map(|path| select(path))
    };
    parts.iter().map(of_part).collect()
}

/// The query of a source: itself, or one for all rows of a file.
fn query(source: &str, folder: Option<&Path>) -> Result<String> {
    if is_query(source) {
        let folder = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
        return Ok(source.replace(FOLDER, &folder.replace('\'', "''")));
    }
    let path = match folder {
        Some(folder) if !source.contains("://") => folder.join(source),
        _ => Path::new(source).to_path_buf(),
    };
    let is_many = source.contains("://") || source.contains(['*', '?', '[']);
    if !is_many && !path.exists() {
        return Err(Failure::user(format!(
            "{} does not exist; a source is a file or a query that begins with SELECT",
            path.display()
        )));
    }
    Ok(select(&path))
}

fn select(path: &Path) -> String {
    format!("SELECT * FROM '{}'", path.display().to_string().replace('\'', "''"))
}

/// Whether a source is a query and no name of a file.
fn is_query(source: &str) -> bool {
    let first = source.trim_start().split(|letter: char| !letter.is_ascii_alphabetic()).next();
    let rest = source.trim_start().get(first.unwrap_or_default().len()..).unwrap_or_default();
    let begins = ["select", "with", "from", "values", "table"];
    let is_word =
        first.is_some_and(|word| begins.iter().any(|begin| word.eq_ignore_ascii_case(begin)));
    is_word && rest.starts_with(|letter: char| letter.is_whitespace() || letter == '(')
        || source.trim_start().starts_with('(')
}

/// The tasks of a suite's folder.
fn folder(item: &str) -> Result<Vec<Task>> {
    let folder = Path::new(item);
    let path = folder.join(SUITE_FILE);
    if !path.is_file() {
        return Err(Failure::user(match item.split_once('=') {
            Some((kind, _)) if !folder.exists() => {
                format!("unknown kind of task '{}'; kinds: {}", kind.trim(), names())
            }
            _ => format!(
                "'{item}' is no suite: it has no {SUITE_FILE}; a task is KIND=SOURCE, with a kind of {}",
                names()
            ),
        }));
    }
    let text = description::text(&path)?;
    tasks(&text, folder).map_err(|failure| failure.context(path.display()))
}

/// What `suite.toml` holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteFile {
    task: Vec<TaskEntry>,
}

#[derive(Deserialize)]
struct TaskEntry {
    name: Option<String>,
    kind: String,
    /// The tables, by the names of parts.
    #[serde(flatten)]
    tables: BTreeMap<String, String>,
}

fn tasks(text: &str, folder: &Path) -> Result<Vec<Task>> {
    let file: SuiteFile = description::parse(text)?;
    file.task.into_iter().map(|entry| task(entry, folder)).collect()
}

fn task(entry: TaskEntry, folder: &Path) -> Result<Task> {
    let kind = Kind::named(&entry.kind)?;
    let name = entry.name.unwrap_or_else(|| kind.def().name.to_string());
    let here = |failure: Failure| failure.context(format!("task '{name}'"));
    let has_all = |form: &&&[Part]| {
        form.len() == entry.tables.len()
            && form.iter().all(|part| entry.tables.contains_key(part.name))
    };
    let Some(form) = kind.def().forms.iter().find(has_all) else {
        let words =
            |form: &&[Part]| form.iter().map(|part| part.name).collect::<Vec<_>>().join(", ");
        let takes: Vec<String> = kind.def().forms.iter().map(words).collect();
        let got: Vec<&str> = entry.tables.keys().map(String::as_str).collect();
        return Err(here(Failure::user(format!(
            "kind {} takes {}, got {}",
            kind.def().name,
            takes.join(" or "),
            if got.is_empty() { "none".to_string() } else { got.join(", ") }
        ))));
    };
    let of_part = |part: &Part| match entry.tables.get(part.name) {
        Some(source) => query(source, Some(folder)).map_err(here),
        None => Err(here(Failure::user(format!("{} is missing", part.name)))),
    };
    let queries = form.iter().map(of_part).collect::<Result<_>>()?;
    Ok(Task { name, kind, queries })
}

/// Gives tasks without a name of their own, which are called as their file or kind, numbers where
/// several would be called the same.
fn name_apart(tasks: &mut [Task], unnamed: &[usize]) {
    let names: Vec<String> = tasks.iter().map(|task| task.name.clone()).collect();
    for (index, place) in unnamed.iter().enumerate() {
        let name = &names[*place];
        if names.iter().filter(|other| *other == name).count() > 1 {
            let before = unnamed[..index].iter().filter(|other| names[**other] == *name).count();
            tasks[*place].name = format!("{name} {}", before + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.expect_err("refused").message().expect("words")
    }

    #[test]
    fn commas_stand_between_tasks_and_inside_queries() {
        let items = split(
            "sts=a.csv, pairs:Quora pairs=SELECT a, b=1 AS label FROM 'x, sts=y',rerank=c.csv",
        );
        assert_eq!(
            items,
            [
                "sts=a.csv",
                "pairs:Quora pairs=SELECT a, b=1 AS label FROM 'x, sts=y'",
                "rerank=c.csv"
            ]
        );
        assert_eq!(split("folder/"), ["folder/"]);
        let (kind, name, source) = kind_of("STS:my name=SELECT 1 = 1").expect("a task");
        assert_eq!((kind, name, source), (Kind::Sts, Some("my name"), "SELECT 1 = 1"));
    }

    #[test]
    fn a_source_is_a_file_or_a_query() {
        for text in ["SELECT a FROM b", "with x as (select 1) select 1", "(SELECT 1)", "from 'x'"] {
            assert!(is_query(text), "{text}");
        }
        for text in ["select.csv", "selected pairs.csv", "data/with", "x.parquet", ""] {
            assert!(!is_query(text), "{text}");
        }
        assert_eq!(query("o'x*.csv", None).expect("a query"), "SELECT * FROM 'o''x*.csv'");
        assert!(refused(query("missing.csv", None)).contains("missing.csv does not exist"));
    }

    #[test]
    fn a_suite_names_tasks_and_their_tables() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["q.csv", "c.csv", "r.csv", "s.csv"] {
            std::fs::write(folder.path().join(name), "id,text\n").expect("written");
        }
        let path = folder.path().display().to_string();
        let text = "[[task]]\nkind = \"retrieval\"\nqueries = \"q.csv\"\ncorpus = \"c.csv\"\nrelevant = \"r.csv\"\n\
                    [[task]]\nname = \"S\"\nkind = \"sts\"\ndata = \"SELECT * FROM '{suite}/s.csv'\"\n";
        let found = tasks(text, folder.path()).expect("tasks");
        assert_eq!((found[0].name.as_str(), found[0].queries.len()), ("retrieval", 3));
        assert_eq!(found[1].queries, [format!("SELECT * FROM '{path}/s.csv'")]);
        assert_eq!(found[1].parts().expect("parts")[0].name, "data");
        let wrong = "[[task]]\nkind = \"retrieval\"\nqueries = \"q.csv\"\n";
        let message = refused(tasks(wrong, folder.path()));
        assert!(
            message.contains("kind retrieval takes data or queries, corpus, relevant, got queries"),
            "{message}"
        );
        assert!(refused(tasks("[[task]]\nkind = 3\n", folder.path())).contains("line 2"));
        let missing = "[[task]]\nkind = \"sts\"\ndata = \"t.csv\"\n";
        assert!(refused(tasks(missing, folder.path())).contains("does not exist"));
    }

    #[test]
    fn names_differ() {
        let read = |text: &str| read(&[text.to_string()]);
        let same = read("sts=SELECT 1,sts=SELECT 2,pairs=SELECT 3").expect("tasks");
        let names: Vec<&str> = same.iter().map(|task| task.name.as_str()).collect();
        assert_eq!(names, ["sts 1", "sts 2", "pairs"]);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.csv").display().to_string();
        std::fs::write(&file, "").expect("written");
        let same = read(&format!("sts={file},bitext={file},pairs:y={file}")).expect("tasks");
        let names: Vec<&str> = same.iter().map(|task| task.name.as_str()).collect();
        assert_eq!(names, ["x 1", "x 2", "y"]);
        let message = refused(read("sts:a=SELECT 1,pairs:a=SELECT 2"));
        assert!(message.contains("two tasks have the name 'a'"), "{message}");
        assert!(refused(read("nothing")).contains("'nothing' is no suite"));
        assert!(refused(read("stss=x.csv")).contains("unknown kind of task 'stss'"));
        assert!(refused(read("")).contains("no task"));
    }
}
