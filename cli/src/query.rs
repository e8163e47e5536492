//! Runs SQL statements and prints what comes of them. `sembla sql` and the shell share this.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sembla_sql::{Outcome, Progress, Session, Statement};

use crate::args::SqlArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::Stages;
use crate::scan::split;
use crate::statements::{Printing, SqlText, open, print, read, until_done};
use crate::{stream, terminal};
use sembla_jobs::output::Look;

/// `sembla sql`.
///
/// # Errors
/// That of the first statement that fails.
pub(crate) async fn run(args: &SqlArgs, interrupt: &Interrupt) -> Result<()> {
    let session = open(&args.session)?;
    let look = Look { max_rows: args.max_rows, ..terminal::look() };
    let printing = Printing { format: args.format.into(), look, timing: args.timing };
    let mut out = BufWriter::new(std::io::stdout());
    for source in sources(args)? {
        let name = source.name.as_deref();
        let named = |failure: Failure| match name {
            Some(name) => failure.context(name),
            None => failure,
        };
        let pieces = if args.echo { split(&source.text) } else { vec![source.text.as_str()] };
        for piece in pieces {
            let statements = session.parse(piece).map_err(|error| named(error.into()))?;
            if args.echo {
                writeln!(out, "\n{}\n", piece.trim())
                    .and_then(|()| out.flush())
                    .map_err(|error| Failure::output(&error))?;
            }
            for statement in statements {
                execute(&session, statement, printing, &mut out, interrupt).await.map_err(named)?;
            }
        }
    }
    Ok(())
}

/// The files, then the query; standard input when there is neither.
fn sources(args: &SqlArgs) -> Result<Vec<SqlText>> {
    let mut sources = args.file.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    if let Some(query) = &args.query {
        sources.push(SqlText { name: None, text: query.clone() });
    }
    if sources.is_empty() {
        if std::io::stdin().is_terminal() {
            eprintln!("reading SQL from the terminal; Ctrl-D ends it");
        }
        sources.push(read(Path::new("-"))?);
    }
    Ok(sources)
}

/// Runs one statement and prints its rows to `out`, and what it has to tell to standard error.
///
/// # Errors
/// [`Failure::Interrupted`] on Ctrl-C, [`Failure::OutputClosed`] when the reader of `out` has gone,
/// and what the statement says.
pub(crate) async fn execute(
    session: &Session,
    statement: Statement,
    printing: Printing,
    out: &mut (dyn Write + Send),
    interrupt: &Interrupt,
) -> Result<()> {
    let begun = Instant::now();
    let cancel = session.cancel_token().child();
    let stages = Arc::new(Stages::new(&cancel));
    session.set_progress(Arc::clone(&stages) as _);
    let keeps_progress = statement.trains();
    let work = async {
        match session.execute_with(statement, &cancel).await? {
            Outcome::Done(words) => {
                stages.clear();
                eprintln!("{words}");
            }
            Outcome::Rows(rows) => print(rows, printing, &stages, out).await?,
            Outcome::Stream(plan) => return Ok(Some(plan)),
        }
        Ok(None)
    };
    let plan = until_done(&cancel, interrupt, keeps_progress, work).await;
    session.set_progress(Arc::new(Silent));
    drop(stages);
    if let Some(plan) = plan? {
        stream::run_one(*plan, interrupt).await?;
    }
    if printing.timing {
        eprintln!("{:.3} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Nobody who listens: the progress of a statement ends with it.
struct Silent;

impl Progress for Silent {
    fn update(&self, _stage: &str, _done: u64, _total: Option<u64>) {}
}
