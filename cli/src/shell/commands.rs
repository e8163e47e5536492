//! What can be typed in the shell: SQL, and a few commands that begin with a backslash.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::args::Format;
use crate::failure::{Failure, Result};

/// The words of `\?`.
pub(crate) const HELP: &str = "\
\\d                 list tables
\\d NAME            show the columns of a table, or of a file in quotes
\\model             list models
\\model NAME        make it the model of embed(text) and the like
\\format FORMAT     table, csv, json or ndjson
\\o FILE            send results to a file; \\o alone sends them here again
\\timing            turn the timing of statements on or off
\\?                 this help
\\q                 leave (Ctrl-D)
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
    /// `\d`
    Describe(Option<String>),
    /// `\timing`
    Timing,
    /// `\format`
    Format(Format),
    /// `\model`
    Model(Option<String>),
    /// `\o`
    Output(Option<PathBuf>),
}

impl Command {
    /// Reads what was typed.
    ///
    /// # Errors
    /// When a command is unknown, or an argument is missing or wrong.
    pub(crate) fn read(line: &str) -> Result<Self> {
        let line = line.trim();
        let Some(command) = line.strip_prefix('\\') else {
            return Ok(Self::Sql(line.to_string()));
        };
        let command = command.trim_end_matches(';').trim_end();
        let (name, argument) = match command.split_once(char::is_whitespace) {
            Some((name, argument)) => (name, Some(argument.trim())),
            None => (command, None),
        };
        match name {
            "q" | "quit" => Ok(Self::Quit),
            "?" | "h" | "help" => Ok(Self::Help),
            "d" => Ok(Self::Describe(argument.map(str::to_string))),
            "timing" => Ok(Self::Timing),
            "format" => match argument.map(|argument| Format::from_str(argument, true)) {
                Some(Ok(format)) => Ok(Self::Format(format)),
                _ => Err(Failure::user("\\format takes table, csv, json or ndjson")),
            },
            "model" => Ok(Self::Model(argument.map(|name| name.trim_matches('\'').to_string()))),
            "o" => Ok(Self::Output(argument.map(|path| PathBuf::from(path.trim_matches('\''))))),
            _ => Err(Failure::user(format!("'\\{name}' is not a command; \\? lists them"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_begin_with_a_backslash() {
        let read = |line| Command::read(line).expect(line);
        assert_eq!(read(" select 1; "), Command::Sql("select 1;".into()));
        assert_eq!(read("\\q;"), Command::Quit);
        assert_eq!(read("\\d 'a.parquet'"), Command::Describe(Some("'a.parquet'".into())));
        assert_eq!(read("\\format CSV"), Command::Format(Format::Csv));
        assert_eq!(read("\\model potion"), Command::Model(Some("potion".into())));
        assert_eq!(read("\\o"), Command::Output(None));
        assert!(Command::read("\\nonsense").is_err());
        assert!(Command::read("\\format xml").is_err());
    }
}
