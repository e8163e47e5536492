//! The interactive shell: reads statements until `;`, runs them, prints tables.
//!
//! Ctrl-C clears the line that is being typed, or stops the query that runs; Ctrl-D leaves. The
//! loop is our own and not DataFusion's, because that one parses statements itself and does not
//! know `CREATE MODEL`.

mod commands;
mod complete;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use sembla_sql::Session;

use crate::args::{Format, SessionArgs};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::query::{self, Printing};
use commands::Command;
use complete::ShellHelper;

/// Rows of a table that the shell prints.
const ROWS_SHOWN: usize = 1000;
/// Lines that the history keeps.
const HISTORY_LINES_MAX: usize = 10_000;

/// Runs the shell until the user leaves.
///
/// # Errors
/// When the session can't be opened or the terminal fails.
pub(crate) async fn run(args: &SessionArgs, interrupt: &Interrupt) -> Result<()> {
    let mut shell = Shell {
        session: query::open(args)?,
        interrupt: interrupt.clone(),
        printing: Printing { format: Format::Table, max_rows: Some(ROWS_SHOWN), timing: true },
        file: None,
    };
    let history = history_file();
    let mut editor = editor(history.as_ref())?;
    eprintln!("sembla {}: statements end with ;  \\? helps, \\q leaves", env!("CARGO_PKG_VERSION"));
    loop {
        if let Some(helper) = editor.helper_mut() {
            helper.refresh(&shell.session).await;
        }
        match editor.readline("sembla> ") {
            Ok(line) => {
                if !line.trim().is_empty() && editor.add_history_entry(line.trim()).is_ok() {
                    save(&mut editor, history.as_ref());
                }
                if !shell.take(&line).await {
                    return Ok(());
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(Failure::other(format!("the terminal: {error}"))),
        }
    }
}

/// What the shell remembers between lines.
struct Shell {
    session: Session,
    interrupt: Interrupt,
    printing: Printing,
    /// Where results go instead of the terminal.
    file: Option<BufWriter<File>>,
}

impl Shell {
    /// Runs what was typed, and tells what went wrong. `false` leaves the shell.
    async fn take(&mut self, line: &str) -> bool {
        let command = match Command::read(line) {
            Ok(command) => command,
            Err(failure) => {
                tell(&failure);
                return true;
            }
        };
        let result = match command {
            Command::Quit => return false,
            Command::Sql(text) => self.run(&text).await,
            other => self.obey(other).await,
        };
        if let Err(failure) = result {
            tell(&failure);
        }
        true
    }

    /// Runs a backslash command.
    async fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Help => {
                eprintln!("{}", commands::HELP);
                Ok(())
            }
            Command::Describe(None) => self.run(commands::LIST_TABLES).await,
            Command::Describe(Some(name)) => self.run(&format!("DESCRIBE {name}")).await,
            Command::Timing => {
                self.printing.timing = !self.printing.timing;
                eprintln!("timing is {}", if self.printing.timing { "on" } else { "off" });
                Ok(())
            }
            Command::Format(format) => {
                self.printing.format = format;
                Ok(())
            }
            Command::Model(None) => self.run("SHOW MODELS").await,
            Command::Model(Some(name)) => Ok(self.session.set_default_model(&name)?),
            Command::Output(None) => self.close_file(),
            Command::Output(Some(path)) => {
                self.close_file()?;
                let file = File::create(&path).map_err(|error| Failure::file(&path, &error))?;
                self.file = Some(BufWriter::new(file));
                Ok(())
            }
            Command::Quit | Command::Sql(_) => Ok(()),
        }
    }

    /// Runs statements.
    async fn run(&mut self, text: &str) -> Result<()> {
        for statement in self.session.parse(text)? {
            let mut stdout = std::io::stdout();
            let (out, printing): (&mut (dyn Write + Send), _) = match &mut self.file {
                Some(file) => (file, Printing { max_rows: None, ..self.printing }),
                None => (&mut stdout, self.printing),
            };
            query::execute(&self.session, statement, printing, out, &self.interrupt).await?;
        }
        Ok(())
    }

    /// Sends results to the terminal again.
    fn close_file(&mut self) -> Result<()> {
        match self.file.take() {
            Some(mut file) => file.flush().map_err(|error| Failure::output(&error)),
            None => Ok(()),
        }
    }
}

fn tell(failure: &Failure) {
    if let Some(message) = failure.message() {
        eprintln!("{message}");
    }
}

/// The line editor, with its history loaded.
fn editor(history: Option<&PathBuf>) -> Result<Editor<ShellHelper, FileHistory>> {
    let fail = |error: ReadlineError| Failure::other(format!("the terminal: {error}"));
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)
        .map_err(fail)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config).map_err(fail)?;
    editor.set_helper(Some(ShellHelper::new()));
    if let Some(path) = history
        && path.exists()
        && let Err(error) = editor.load_history(path)
    {
        eprintln!("the history {} can't be read: {error}", path.display());
    }
    Ok(editor)
}

/// Saves the history. It is a convenience: when the disk refuses, the shell goes on.
fn save(editor: &mut Editor<ShellHelper, FileHistory>, history: Option<&PathBuf>) {
    if let Some(path) = history
        && let Err(error) = editor.append_history(path)
    {
        tracing::debug!(%error, "the history is not saved");
    }
}

/// The history file in the user's data folder, made for the user's eyes only.
fn history_file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_DATA_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?
        .join("sembla");
    fs::create_dir_all(&folder).ok()?;
    let path = folder.join("history");
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).ok()?;
    Some(path)
}
