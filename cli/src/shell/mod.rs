//! The interactive shell: reads statements until `;`, runs them, prints tables.
//!
//! Ctrl-C clears the line that is being typed, or stops the query that runs; Ctrl-D leaves. The
//! loop is our own and not DataFusion's, because that one parses statements itself and does not
//! know `CREATE MODEL`.

mod commands;
mod complete;
mod help;
mod history;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use sembla_sql::Session;

use crate::args::{SessionArgs, VERSION};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::query;
use crate::statements::{self, Printing};
use crate::terminal;
use commands::Command;
use complete::ShellHelper;
use sembla_jobs::output::{Format, Look};

/// Rows of a table that the shell prints unless set otherwise.
const ROWS_SHOWN: usize = 40;

/// Runs the shell until the user leaves.
///
/// # Errors
/// When the session can't be opened or the terminal fails.
pub(crate) async fn run(args: &SessionArgs, interrupt: &Interrupt) -> Result<()> {
    let mut shell = Shell {
        session: statements::open(args)?,
        interrupt: interrupt.clone(),
        printing: Printing { format: Format::Table, look: Look::default(), timing: true },
        max_rows: Some(ROWS_SHOWN),
        is_expanded: false,
        file: None,
    };
    interrupt.be_patient();
    let history = history::file();
    let mut editor = editor(history.as_ref())?;
    eprintln!("sembla {}: statements end with ;   help lists commands, exit quits", VERSION);
    loop {
        if let Some(helper) = editor.helper_mut() {
            helper.refresh(&shell.session).await;
        }
        match editor.readline("sembla> ") {
            Ok(line) => {
                history::keep(&mut editor, history.as_ref(), &line);
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
    /// Rows of a table that are shown on the terminal.
    max_rows: Option<usize>,
    /// Whether each row is a block.
    is_expanded: bool,
    /// Where results go instead of the terminal.
    file: Option<BufWriter<File>>,
}

impl Shell {
    /// Runs what was typed, and tells what went wrong. `false` leaves the shell.
    async fn take(&mut self, line: &str) -> bool {
        let command = match Command::read(line) {
            Ok(command) => command,
            Err(failure) => {
                print_error(&failure);
                return true;
            }
        };
        let result = match command {
            Command::Quit => return false,
            Command::Sql(text) => self.run(&text).await,
            other => self.obey(other).await,
        };
        if let Err(failure) = result {
            print_error(&failure);
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
            Command::Describe(Some(name)) => {
                self.run(&format!("DESCRIBE {}", table_name(&name))).await
            }
            Command::Functions(pattern) => self.list_functions(pattern.as_deref()).await,
            Command::Explain(name) => {
                let width = terminal::look().width;
                eprint!("{}", help::explain(&self.session, &name, width).await?);
                Ok(())
            }
            Command::Include(path) => self.include(&path).await,
            Command::Expanded => {
                self.is_expanded = !self.is_expanded;
                eprintln!("each row is a {}", if self.is_expanded { "block" } else { "line" });
                Ok(())
            }
            Command::Rows(rows) => {
                self.max_rows = rows;
                Ok(())
            }
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
            let is_expanded = self.is_expanded;
            let (out, look): (&mut (dyn Write + Send), _) = match &mut self.file {
                Some(file) => (file, Look { is_expanded, ..Look::default() }),
                None => {
                    let max_rows = self.max_rows;
                    (&mut stdout, Look { max_rows, is_expanded, ..terminal::look() })
                }
            };
            let printing = Printing { look, ..self.printing };
            query::execute(&self.session, statement, printing, out, &self.interrupt).await?;
        }
        Ok(())
    }

    /// Runs the statements of a file.
    async fn include(&mut self, path: &Path) -> Result<()> {
        let source = statements::read(path)?;
        let named = |failure: Failure| failure.context(path.display());
        self.run(&source.text).await.map_err(named)
    }

    /// Lists functions, all of them.
    async fn list_functions(&mut self, pattern: Option<&str>) -> Result<()> {
        let like = pattern.map(|part| format!(" LIKE '%{}%'", part.replace('\'', "''")));
        let limit = self.max_rows.take();
        let listed = self.run(&format!("SHOW FUNCTIONS{}", like.unwrap_or_default())).await;
        self.max_rows = limit;
        listed
    }

    /// Sends results to the terminal again.
    fn close_file(&mut self) -> Result<()> {
        match self.file.take() {
            Some(mut file) => file.flush().map_err(|error| Failure::output(&error)),
            None => Ok(()),
        }
    }
}

fn print_error(failure: &Failure) {
    if let Some(message) = failure.message() {
        eprintln!("{message}");
    }
}

/// The line editor, with its history loaded.
fn editor(history: Option<&PathBuf>) -> Result<Editor<ShellHelper, FileHistory>> {
    let fail = |error: ReadlineError| Failure::other(format!("the terminal: {error}"));
    let config = Config::builder()
        .max_history_size(history::LINES_MAX)
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

/// What `\d` was asked for, as SQL: a file gets the quotes that it needs.
fn table_name(name: &str) -> String {
    let is_file = !name.starts_with(['\'', '"']) && Path::new(name).exists();
    if is_file { format!("'{}'", name.replace('\'', "''")) } else { name.to_string() }
}
