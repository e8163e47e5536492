//! `sembla run`: runs the pipelines of files of SQL until they end or are stopped.
//!
//! Running is [`sembla_jobs::pipelines`]'s; here are the files, the stop by signals, and what a
//! person sees of it.

mod line;

use std::io::Write;

use sembla_jobs::output::Format;
use sembla_jobs::pipelines::{self, Running};
use sembla_runtime::Stop;
use sembla_sql::{Outcome, Session, StreamPlan};

use crate::args::RunArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::{Interrupt, Presses};
use crate::progress::Stages;
use crate::statements::{self, Printing};
use crate::terminal;

/// `sembla run`.
///
/// # Errors
/// The first statement or pipeline that fails.
pub(crate) async fn run(args: &RunArgs, interrupt: &Interrupt) -> Result<()> {
    let session = statements::open_for_pipelines(&args.session)?;
    let mut settings = args.set.clone();
    settings.extend(args.state.iter().map(|place| ("state".to_string(), place.clone())));
    for (key, value) in &settings {
        session.set_stream_option(key, value)?;
    }
    let plans = planned(args, &session, interrupt).await?;
    if plans.is_empty() {
        return Err(Failure::user(
            "nothing to run: none of the files has an INSERT INTO a sink (CREATE SINK makes one)",
        ));
    }
    // Before the pipelines open, so that what they count then is recorded.
    let recorder = args.metrics.map(|_| pipelines::record()).transpose()?;
    let guard = interrupt.presses();
    if args.dry_run {
        tokio::select! {
            found = pipelines::problems(&plans) => report(found)?,
            () = guard.pressed() => return Err(Failure::Interrupted(None)),
        }
    } else {
        pipelines::warn_of_silence(&plans);
    }
    let mut opened_pipelines = Vec::with_capacity(plans.len());
    for plan in plans {
        let name = plan.name().to_string();
        let opened = tokio::select! {
            opened = plan.open(args.ignore_state) => opened,
            () = guard.pressed() => return Err(Failure::Interrupted(None)),
        };
        opened_pipelines.extend(opened.map_err(|error| Failure::from(error).context(&name))?);
    }
    if args.dry_run {
        let names: Vec<&str> =
            opened_pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        eprintln!("all checks passed; these would run: {}", names.join(", "));
        return Ok(());
    }
    let running = Running::start(opened_pipelines);
    if let (Some(address), Some(recorder)) = (args.metrics, recorder) {
        let address = pipelines::serve(address, recorder, running.watched()).await?;
        eprintln!("metrics, health and status: http://{address}/metrics /health /status");
    }
    until_ended(running, &guard).await
}

/// # Errors
/// The last of several failures; those before it are printed here.
fn report(mut failures: Vec<Failure>) -> Result<()> {
    let Some(last) = failures.pop() else { return Ok(()) };
    for message in failures.iter().filter_map(Failure::message) {
        eprintln!("{message}");
    }
    Err(last)
}

/// Runs one pipeline until it ends: what INSERT INTO a sink does outside `sembla run`.
///
/// # Errors
/// What the pipeline says.
pub(crate) async fn run_one(plan: StreamPlan, interrupt: &Interrupt) -> Result<()> {
    let guard = interrupt.presses();
    pipelines::warn_of_silence(std::slice::from_ref(&plan));
    let pipelines = plan.open(false).await?;
    until_ended(Running::start(pipelines), &guard).await
}

/// Runs the statements of the files; those that insert into sinks are planned only.
async fn planned(
    args: &RunArgs,
    session: &Session,
    interrupt: &Interrupt,
) -> Result<Vec<StreamPlan>> {
    let printing = Printing { format: Format::Table, look: terminal::look(), timing: false };
    let mut out = std::io::stdout();
    let mut plans: Vec<StreamPlan> = Vec::new();
    for path in &args.files {
        let source = statements::read(path)?;
        let named = |failure: Failure| match &source.name {
            Some(name) => failure.context(name),
            None => failure,
        };
        for statement in session.parse(&source.text).map_err(|error| named(error.into()))? {
            let outcome =
                statements::outcome(session, statement, interrupt).await.map_err(named)?;
            match outcome {
                Outcome::Done(words) => tracing::info!("{words}"),
                Outcome::Rows(rows) => {
                    let stages = Stages::new(session.cancel_token());
                    statements::print(rows, printing, &stages, &mut out).await.map_err(named)?;
                }
                Outcome::Stream(plan) => {
                    if plans.iter().any(|other| other.name() == plan.name()) {
                        return Err(named(Failure::user(format!(
                            "two INSERTs write to sink '{}'; combine their queries with UNION ALL, or make another sink",
                            plan.name()
                        ))));
                    }
                    plans.push(*plan);
                }
            }
        }
        out.flush().map_err(|error| Failure::output(&error))?;
    }
    Ok(plans)
}

/// Waits for all pipelines. The first one that fails stops the others; signals stop all.
async fn until_ended(mut running: Running, guard: &Presses) -> Result<()> {
    let line = line::StatusLine::show(running.watched());
    let mut failure = None;
    let mut was_stopped = false;
    loop {
        tokio::select! {
            ended = running.ended() => match ended {
                None => break,
                Some(Ok((name, summary))) => line.say(&pipelines::describe(&name, &summary)),
                Some(Err(error)) => {
                    failure.get_or_insert(error);
                    running.stop(Stop::Drain);
                }
            },
            () = guard.pressed() => {
                if was_stopped {
                    running.stop(Stop::Now);
                } else {
                    line.say("stopping after what was read has been processed and committed; Ctrl-C again exits at once");
                    running.stop(Stop::Drain);
                    was_stopped = true;
                }
            }
        }
    }
    line.clear();
    failure.map_or(Ok(()), Err)
}
