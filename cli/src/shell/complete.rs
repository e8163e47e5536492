//! Completion and multi-line input for the line editor: keywords, functions, tables, columns and
//! models outside of quotes, file names and models inside.

use std::collections::BTreeSet;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use sembla_sql::Session;

use super::commands::is_command;
use crate::scan::{End, end_of};

/// Words of SQL that are worth completing.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANTI",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COPY",
    "CREATE",
    "CROSS",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "EXTERNAL",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTO",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOCATION",
    "MODEL",
    "MODELS",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PREPARE",
    "REPLACE",
    "RIGHT",
    "SELECT",
    "SEMI",
    "SET",
    "SHOW",
    "STORED",
    "TABLE",
    "TABLES",
    "THEN",
    "TRUE",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// The line editor's helper.
pub(crate) struct ShellHelper {
    files: FilenameCompleter,
    /// Functions, tables and columns.
    names: BTreeSet<String>,
    models: Vec<String>,
}

impl ShellHelper {
    /// A helper that knows only keywords.
    pub(crate) fn new() -> Self {
        Self { files: FilenameCompleter::new(), names: BTreeSet::new(), models: Vec::new() }
    }

    /// Learns the names that the session knows now.
    pub(crate) async fn refresh(&mut self, session: &Session) {
        let state = session.context().state();
        self.names = state.scalar_functions().keys().cloned().collect();
        self.names.extend(state.aggregate_functions().keys().cloned());
        self.names.extend(state.window_functions().keys().cloned());
        self.names.extend(state.table_functions().keys().cloned());
        self.models = session.models().list().into_iter().map(|entry| entry.name).collect();
        for catalog in session.context().catalog_names() {
            let Some(catalog) = session.context().catalog(&catalog) else { continue };
            for schema in catalog.schema_names().iter().filter(|name| *name != "information_schema")
            {
                let Some(schema) = catalog.schema(schema) else { continue };
                for table in schema.table_names() {
                    if let Ok(Some(provider)) = schema.table(&table).await {
                        let schema = provider.schema();
                        self.names.extend(schema.fields().iter().map(|f| f.name().clone()));
                    }
                    self.names.insert(table);
                }
            }
        }
    }

    /// Words that begin with `start`, in any case. Keywords take the case of what was typed.
    fn words(&self, start: &str) -> Vec<Pair> {
        let lower = start.to_lowercase();
        let begins = |word: &&str| word.to_lowercase().starts_with(&lower);
        let small = start.chars().next().is_some_and(char::is_lowercase);
        let keywords = KEYWORDS.iter().copied().filter(begins);
        let keywords = keywords.map(|k| if small { k.to_lowercase() } else { k.to_string() });
        let names = self.names.iter().map(String::as_str).filter(begins).map(str::to_string);
        keywords.chain(names).map(pair).collect()
    }
}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..position).unwrap_or(line);
        if let End::String(start) = end_of(before) {
            let text = before.get(start..).unwrap_or_default();
            let models =
                self.models.iter().filter(|name| name.starts_with(text)).cloned().map(pair);
            let models: Vec<_> = if text.is_empty() { Vec::new() } else { models.collect() };
            if !models.is_empty() {
                return Ok((start, models));
            }
            let quoted = format!("'{text}");
            let (offset, files) = self.files.complete_path(&quoted, quoted.len())?;
            return Ok((start + offset - 1, files));
        }
        if let Some(path) = ["\\i ", "\\o "].iter().find_map(|name| before.strip_prefix(name)) {
            let (offset, files) = self.files.complete_path(path, path.len())?;
            return Ok((position - path.len() + offset, files));
        }
        if let Some(name) = before.strip_prefix("\\model ") {
            let models = self.models.iter().filter(|model| model.starts_with(name));
            return Ok((position - name.len(), models.cloned().map(pair).collect()));
        }
        let start = before
            .rfind(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let word = before.get(start..).unwrap_or_default();
        Ok((start, if word.is_empty() { Vec::new() } else { self.words(word) }))
    }
}

impl Validator for ShellHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        let done = text.trim().is_empty() || is_command(text) || end_of(text) == End::Complete;
        Ok(if done { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for ShellHelper {
    type Hint = String;
}

impl Highlighter for ShellHelper {}

impl Helper for ShellHelper {}

fn pair(word: String) -> Pair {
    Pair { display: word.clone(), replacement: word }
}

#[cfg(test)]
mod tests {
    use rustyline::history::DefaultHistory;

    use super::*;

    fn completed(helper: &ShellHelper, line: &str) -> (usize, Vec<String>) {
        let history = DefaultHistory::new();
        let context = Context::new(&history);
        let (start, pairs) = helper.complete(line, line.len(), &context).expect("completed");
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    #[test]
    fn words_take_the_case_of_what_was_typed() {
        let mut helper = ShellHelper::new();
        helper.names.insert("cos_sim".into());
        assert_eq!(completed(&helper, "selec"), (0, vec!["select".into()]));
        assert_eq!(completed(&helper, "select 1 WHER"), (9, vec!["WHERE".into()]));
        assert_eq!(completed(&helper, "select cos_"), (7, vec!["cos_sim".into()]));
        assert_eq!(completed(&helper, "select "), (7, vec![]));
    }

    #[test]
    fn quotes_hold_files_and_models() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("tickets.parquet"), "").expect("file");
        let mut helper = ShellHelper::new();
        helper.models.push("potion".into());
        let line = format!("select * from '{}/tick", folder.path().display());
        let (_, files) = completed(&helper, &line);
        assert_eq!(files.len(), 1, "{files:?}");
        assert!(files[0].ends_with("tickets.parquet"), "{files:?}");
        assert_eq!(completed(&helper, "embed(x, 'pot"), (10, vec!["potion".into()]));
    }
}
