//! Runs SQL statements and prints what comes of them. `sembla sql` and the shell share this.

use std::io::{BufWriter, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use sembla_sql::{Outcome, Progress, Session, SessionOptions, Statement};

use crate::args::{SessionArgs, SqlArgs};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::Stages;
use crate::scan::split;
use crate::{stream, terminal};
use sembla_jobs::output::{Format, Look, RowPrinter};

/// How long the rows that a table leaves out are counted.
const COUNTING_TIME_MAX: Duration = Duration::from_secs(1);

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printing {
    /// The format.
    pub(crate) format: Format,
    /// The look of a table.
    pub(crate) look: Look,
    /// Whether the seconds of each statement are told.
    pub(crate) timing: bool,
}

/// Opens a session.
///
/// # Errors
/// When an option can't be had.
pub(crate) fn open(args: &SessionArgs) -> Result<Session> {
    let session = Session::new(SessionOptions {
        memory_limit_bytes: args.memory_limit,
        target_partitions: args.threads,
        ..SessionOptions::default()
    })?;
    session.notices().listen(|notice| eprintln!("{notice}"));
    if let Some(model) = &args.model {
        session.set_default_model(model)?;
    }
    Ok(session)
}

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

/// A text of SQL and where it is from.
pub(crate) struct Source {
    /// The file, for messages.
    pub(crate) name: Option<String>,
    /// The text.
    pub(crate) text: String,
}

/// The files, then the query; standard input when there is neither.
fn sources(args: &SqlArgs) -> Result<Vec<Source>> {
    let mut sources = args.file.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    if let Some(query) = &args.query {
        sources.push(Source { name: None, text: query.clone() });
    }
    if sources.is_empty() {
        if std::io::stdin().is_terminal() {
            eprintln!("reading SQL from the terminal; Ctrl-D ends it");
        }
        sources.push(read(Path::new("-"))?);
    }
    Ok(sources)
}

/// Reads a file; `-` is standard input.
///
/// # Errors
/// When it can't be read.
pub(crate) fn read(path: &Path) -> Result<Source> {
    let fail = |error: std::io::Error| Failure::file(path, &error);
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(fail)?;
        return Ok(Source { name: None, text });
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    Ok(Source { name: Some(path.display().to_string()), text })
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
    let stages = Arc::new(Stages::new(session.cancel_token()));
    session.set_progress(Arc::clone(&stages) as _);
    let work = async {
        match session.execute(statement).await? {
            Outcome::Done(words) => {
                stages.clear();
                eprintln!("{words}");
            }
            Outcome::Rows(rows) => print(rows, printing, &stages, out).await?,
            Outcome::Stream(plan) => return Ok(Some(plan)),
        }
        Ok(None)
    };
    let plan = interruptible(session, interrupt, work).await;
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

/// Runs a statement until it has an outcome.
///
/// # Errors
/// [`Failure::Interrupted`] on Ctrl-C, and what the statement says.
pub(crate) async fn outcome(
    session: &Session,
    statement: Statement,
    interrupt: &Interrupt,
) -> Result<Outcome> {
    interruptible(session, interrupt, async { Ok(session.execute(statement).await?) }).await
}

/// Work of a session, until Ctrl-C.
async fn interruptible<T>(
    session: &Session,
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    session.cancel_token().reset();
    let guard = interrupt.guard(session.cancel_token().clone());
    let result = tokio::select! {
        result = work => result,
        () = guard.pressed() => Err(Failure::Interrupted(None)),
    };
    if guard.was_pressed() {
        return Err(Failure::Interrupted(None));
    }
    result
}

/// Nobody who listens: the progress of a statement ends with it.
struct Silent;

impl Progress for Silent {
    fn update(&self, _stage: &str, _done: u64, _total: Option<u64>) {}
}

/// The rows that the scans of a plan have given so far.
fn rows_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let inputs = plan.children();
    if inputs.is_empty() {
        let rows = plan.metrics().and_then(|metrics| metrics.output_rows());
        return rows.unwrap_or_default() as u64;
    }
    inputs.into_iter().map(rows_read).sum()
}

/// Prints rows as they come.
///
/// # Errors
/// What the query says, and [`Failure::OutputClosed`].
pub(crate) async fn print(
    rows: DataFrame,
    printing: Printing,
    stages: &Stages,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let context = Arc::new(rows.task_ctx());
    let plan = sembla_sql::planning::physical(rows).await?;
    let read = Arc::clone(&plan);
    stages.watch(move || rows_read(&read));
    let mut stream = execute_stream(plan, context)?;
    let schema = stream.schema();
    if schema.fields().is_empty() {
        while let Some(batch) = stream.next().await {
            batch?;
        }
        return Ok(());
    }
    let mut printer = RowPrinter::new(printing.format, printing.look, &schema, out)?;
    while let Some(batch) = stream.next().await {
        stages.make_room();
        if !printer.write(&batch?)? {
            printer.leave_out(left(stream).await);
            break;
        }
    }
    stages.make_room();
    printer.finish()
}

/// The rows that a query still has to give; `None` where it takes long to count them, or where one
/// of them, which nobody wants to see, can't be had.
async fn left(mut stream: SendableRecordBatchStream) -> Option<usize> {
    let counting = async {
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            rows += batch.ok()?.num_rows();
        }
        Some(rows)
    };
    tokio::time::timeout(COUNTING_TIME_MAX, counting).await.ok().flatten()
}
