//! What can be typed in the shell: SQL, and a few commands that begin with a backslash. Words that
//! other shells take, with a dot or with nothing before them, are understood too.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::args::FormatFlag;
use crate::failure::{Failure, Result};
use sembla_jobs::output::Format;

/// The words of `\?`.
pub(crate) const HELP: &str = "\
\\d                 list tables
\\d NAME            show the columns of a table or a file
\\df [PATTERN]      list functions, those with PATTERN in their names
\\h NAME            explain a function with all its parameters
\\i FILE            run the statements of a file
\\model [NAME]      list models, or make one the model of embed(text) and the like
\\x                 show each row as a block, or as a line again
\\rows N            show at most N rows of a table, or all
\\format FORMAT     table, csv, json or ndjson
\\o [FILE]          send results to a file, or without FILE to the terminal again
\\timing            turn the timing of statements on or off
\\? or help         this help
\\q, quit or exit   quit (Ctrl-D)
Statements end with ;   Tab completes   Ctrl-C stops the running statement";

/// What `\d` runs.
pub(crate) const LIST_TABLES: &str = "SELECT table_name AS name, table_type AS type \
    FROM information_schema.tables WHERE table_schema = 'public' ORDER BY name";

/// Something that was typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Statements.
    Sql(String),
    /// `\q`
    Quit,
    /// `\?`
    Help,
    /// `\h`
    Explain(String),
    /// `\d`
    Describe(Option<String>),
    /// `\df`
    Functions(Option<String>),
    /// `\i`
    Include(PathBuf),
    /// `\x`
    Expanded,
    /// `\rows`; `None` is all of them.
    Rows(Option<usize>),
    /// `\timing`
    Timing,
    /// `\format`
    Format(Format),
    /// `\model`
    Model(Option<String>),
    /// `\o`
    Output(Option<PathBuf>),
}

/// The command in a line that is one; `None` for SQL.
fn command_in(line: &str) -> Option<&str> {
    let line = line.trim();
    let bare = line.trim_end_matches(';').trim_end();
    match line.strip_prefix('\\') {
        Some(command) => Some(command.trim_end_matches(';').trim_end()),
        None if line.starts_with('.') && line.get(1..2).is_some_and(is_letter) => bare.get(1..),
        None => {
            let known = ["exit", "quit", "help", "?"];
            known.iter().any(|word| bare.eq_ignore_ascii_case(word)).then_some(bare)
        }
    }
}

fn is_letter(text: &str) -> bool {
    text.chars().all(char::is_alphabetic)
}

/// Whether a line is a command, which needs no semicolon.
pub(crate) fn is_command(line: &str) -> bool {
    command_in(line).is_some()
}

impl Command {
    /// Reads what was typed.
    ///
    /// # Errors
    /// When a command is unknown, or an argument is missing or wrong.
    pub(crate) fn read(line: &str) -> Result<Self> {
        let Some(command) = command_in(line) else {
            return Ok(Self::Sql(line.trim().to_string()));
        };
        let (name, argument) = match command.split_once(char::is_whitespace) {
            Some((name, argument)) => (name, Some(argument.trim())),
            None => (command, None),
        };
        let unquoted = || argument.map(|argument| argument.trim_matches('\'').to_string());
        let needs = |what: &str| Failure::user(format!("\\{name} takes {what}"));
        match name.to_ascii_lowercase().as_str() {
            "q" | "quit" | "exit" => Ok(Self::Quit),
            "?" | "help" | "h" if argument.is_none() => Ok(Self::Help),
            "?" | "help" | "h" => Ok(Self::Explain(unquoted().unwrap_or_default())),
            "d" | "dt" | "describe" | "schema" | "tables" => {
                Ok(Self::Describe(argument.map(str::to_string)))
            }
            "df" | "functions" => Ok(Self::Functions(unquoted())),
            "i" | "read" => match unquoted() {
                Some(path) => Ok(Self::Include(PathBuf::from(path))),
                None => Err(needs("the name of a file")),
            },
            "x" => Ok(Self::Expanded),
            "rows" | "maxrows" => match argument.map(|a| (a, a.replace(['_', ','], "").parse())) {
                Some(("all", _)) => Ok(Self::Rows(None)),
                Some((_, Ok(rows))) if rows > 0 => Ok(Self::Rows(Some(rows))),
                _ => Err(needs("must be a number >= 1, or all")),
            },
            "timing" => Ok(Self::Timing),
            "format" | "mode" => match argument.map(|a| FormatFlag::from_str(a, true)) {
                Some(Ok(format)) if format != FormatFlag::Arrow => Ok(Self::Format(format.into())),
                _ => Err(needs("table, csv, json or ndjson")),
            },
            "model" => Ok(Self::Model(unquoted())),
            "o" | "output" => Ok(Self::Output(unquoted().map(PathBuf::from))),
            _ => Err(Failure::user(format!("'{}' is not a command; \\? lists them", line.trim()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Command {
        Command::read(line).expect(line)
    }

    #[test]
    fn commands_begin_with_a_backslash() {
        assert_eq!(read(" select 1; "), Command::Sql("select 1;".into()));
        assert_eq!(read("\\q;"), Command::Quit);
        assert_eq!(read("\\d 'a.parquet'"), Command::Describe(Some("'a.parquet'".into())));
        assert_eq!(read("\\df cos"), Command::Functions(Some("cos".into())));
        assert_eq!(read("\\h dedup;"), Command::Explain("dedup".into()));
        assert_eq!(read("\\i 'a b.sql'"), Command::Include("a b.sql".into()));
        assert_eq!(read("\\x"), Command::Expanded);
        assert_eq!(read("\\rows 1_000"), Command::Rows(Some(1000)));
        assert_eq!(read("\\rows all"), Command::Rows(None));
        assert_eq!(read("\\format CSV"), Command::Format(Format::Csv));
        assert_eq!(read("\\model potion"), Command::Model(Some("potion".into())));
        assert_eq!(read("\\o"), Command::Output(None));
        for wrong in ["\\nonsense", "\\format xml", "\\format arrow", "\\rows 0", "\\rows", "\\i"] {
            assert!(Command::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_words_of_other_shells_need_no_semicolon() {
        for line in ["exit", "quit", " EXIT; ", ".exit", ".quit"] {
            assert_eq!(read(line), Command::Quit, "{line}");
            assert!(is_command(line), "{line}");
        }
        for line in ["help", "help;", "?", ".help", "\\?"] {
            assert_eq!(read(line), Command::Help, "{line}");
        }
        assert_eq!(read(".tables"), Command::Describe(None));
        assert_eq!(read(".schema t"), Command::Describe(Some("t".into())));
        assert_eq!(read(".mode csv"), Command::Format(Format::Csv));
        let unknown = Command::read(".nonsense").expect_err("no command").message();
        assert_eq!(unknown.as_deref(), Some("error: '.nonsense' is not a command; \\? lists them"));
        for sql in ["select 1", "exit_code", ".5 + 1", "helping;"] {
            assert!(!is_command(sql), "{sql}");
        }
    }
}
