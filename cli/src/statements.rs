//! What all commands that run SQL statements do: open a session, read a text, run a statement until
//! it has an outcome, and print rows.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use sembla_models::CancelToken;
use sembla_sql::{Engine, EngineOptions, Outcome, Session, SessionOptions, Statement, Trainer};

use crate::args::SessionArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::Stages;
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
    /// Whether the time of each statement is shown.
    pub(crate) timing: bool,
}

/// Opens a session, whose statements may train models.
///
/// # Errors
/// When an option can't be applied.
pub(crate) fn open(args: &SessionArgs) -> Result<Session> {
    session(args, Some(Arc::new(sembla_jobs::train::Trainer)))
}

/// Opens the session of pipelines, which start again after a failure: no statement of theirs trains
/// a model.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_for_pipelines(args: &SessionArgs) -> Result<Session> {
    session(args, None)
}

fn session(args: &SessionArgs, trainer: Option<Arc<dyn Trainer>>) -> Result<Session> {
    let memory_limit_bytes = args.memory_limit;
    let engine =
        Engine::new(EngineOptions { memory_limit_bytes, trainer, ..EngineOptions::default() })?;
    let options = SessionOptions { target_partitions: args.threads, ..SessionOptions::default() };
    let session = engine.session(options)?;
    session.notices().listen(|notice| eprintln!("{notice}"));
    if let Some(model) = &args.model {
        session.set_default_model(model)?;
    }
    Ok(session)
}

/// A text of SQL and where it is from.
pub(crate) struct SqlText {
    /// The file, for messages.
    pub(crate) name: Option<String>,
    /// The text.
    pub(crate) text: String,
}

/// Reads a file; `-` is standard input.
///
/// # Errors
/// When it can't be read.
pub(crate) fn read(path: &Path) -> Result<SqlText> {
    let fail = |error: std::io::Error| Failure::file(path, &error);
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(fail)?;
        return Ok(SqlText { name: None, text });
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    Ok(SqlText { name: Some(path.display().to_string()), text })
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
    let cancel = session.cancel_token().child();
    let keeps_progress = statement.trains();
    let work = async { Ok(session.execute_with(statement, &cancel).await?) };
    until_done(&cancel, interrupt, keeps_progress, work).await
}

/// The work of a statement, until Ctrl-C. What keeps its progress then is waited for, and ends by
/// itself at its next step.
///
/// # Errors
/// As [`interruptible`].
pub(crate) async fn until_done<T>(
    cancel: &CancelToken,
    interrupt: &Interrupt,
    keeps_progress: bool,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    if !keeps_progress {
        return interruptible(cancel, interrupt, work).await;
    }
    let guard = interrupt.guard(cancel.clone());
    let result = work.await;
    match guard.was_pressed() {
        true => Err(Failure::Interrupted(None)),
        false => result,
    }
}

/// Work that a token stops, until Ctrl-C.
///
/// # Errors
/// [`Failure::Interrupted`], and those of the work.
pub(crate) async fn interruptible<T>(
    cancel: &CancelToken,
    interrupt: &Interrupt,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let guard = interrupt.guard(cancel.clone());
    let result = tokio::select! {
        result = work => result,
        () = guard.pressed() => Err(Failure::Interrupted(None)),
    };
    if guard.was_pressed() {
        return Err(Failure::Interrupted(None));
    }
    result
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
    let mut stream = sembla_sql::planning::run(plan, context)?;
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
/// of them, which would be useless, is an error.
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
