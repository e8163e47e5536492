//! `sembla run`: runs the pipelines of files of SQL until they end or are stopped.
//!
//! What a pipeline is and how it runs is the runtime's; here are its start, its stop by signals,
//! and what people and other programs see of it.

mod line;
mod serve;
mod watched;

use std::io::Write;
use std::net::SocketAddr;

use metrics_exporter_prometheus::PrometheusHandle;
use sembla_runtime::{End, Pipeline, Status, Stop, StopSignal, Summary};
use sembla_sql::{Outcome, Session, StreamPlan};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::{Format, RunArgs};
use crate::failure::{Failure, Result};
use crate::interrupt::{Interrupt, Presses};
use crate::output::Look;
use crate::progress::{Stages, count};
use crate::query::{self, Printing};
use watched::Watched;

/// `sembla run`.
///
/// # Errors
/// The first statement or pipeline that fails.
pub(crate) async fn run(args: &RunArgs, interrupt: &Interrupt) -> Result<()> {
    let session = query::open(&args.session)?;
    let mut settings = args.set.clone();
    settings.extend(args.state.iter().map(|place| ("state".to_string(), place.clone())));
    for (key, value) in &settings {
        session.set_stream_option(key, value)?;
    }
    let plans = planned(args, &session, interrupt).await?;
    if plans.is_empty() {
        return Err(Failure::user(
            "there is nothing to run: none of the files has an INSERT INTO a sink (CREATE SINK makes one)",
        ));
    }
    let metrics = match args.metrics {
        Some(address) => Some((address, serve::record()?)),
        None => None,
    };
    let guard = interrupt.presses();
    if args.dry_run {
        tokio::select! {
            found = problems(&plans) => report(found)?,
            () = guard.pressed() => return Err(Failure::Interrupted(None)),
        }
    } else {
        warn_of_silence(&plans);
    }
    let mut pipelines = Vec::with_capacity(plans.len());
    for plan in plans {
        let name = plan.name().to_string();
        let opened = tokio::select! {
            opened = plan.open(args.ignore_state) => opened,
            () = guard.pressed() => return Err(Failure::Interrupted(None)),
        };
        pipelines.extend(opened.map_err(|error| Failure::from(error).context(&name))?);
    }
    if args.dry_run {
        let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        eprintln!("everything answers and is in order; these would run: {}", names.join(", "));
        return Ok(());
    }
    run_all(pipelines, metrics, &guard).await
}

/// What does not answer of what the pipelines connect to, each with the pipeline's name.
async fn problems(plans: &[StreamPlan]) -> Vec<Failure> {
    let asked = plans.iter().map(|plan| async move {
        let found = plan.problems(true).await.into_iter();
        found.map(|error| Failure::from(error).context(plan.name())).collect::<Vec<_>>()
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// # Errors
/// The last of several failures; those before it are told here.
fn report(mut failures: Vec<Failure>) -> Result<()> {
    let Some(last) = failures.pop() else { return Ok(()) };
    for message in failures.iter().filter_map(Failure::message) {
        eprintln!("{message}");
    }
    Err(last)
}

/// Says within seconds what does not answer; the pipelines themselves try for longer.
fn warn_of_silence(plans: &[StreamPlan]) {
    for plan in plans {
        let (name, asked) = (plan.name().to_string(), plan.problems(false));
        tokio::spawn(async move {
            for error in asked.await {
                tracing::warn!("{name}: {error}");
            }
        });
    }
}

/// Runs pipelines until all have ended.
async fn run_all(
    pipelines: Vec<Pipeline>,
    metrics: Option<(SocketAddr, PrometheusHandle)>,
    presses: &Presses,
) -> Result<()> {
    let mut watched = Vec::with_capacity(pipelines.len());
    let mut statuses = Vec::with_capacity(pipelines.len());
    for pipeline in &pipelines {
        let (sender, status) = watch::channel(Status::default());
        let checkpoint_interval = pipeline.options.checkpoint_interval;
        watched.push(Watched { name: pipeline.name.clone(), status, checkpoint_interval });
        statuses.push(sender);
    }
    if let Some((address, metrics)) = metrics {
        serve::serve(address, metrics, watched.clone()).await?;
    }
    let line = line::StatusLine::show(watched);
    let (stop, signal) = StopSignal::channel();
    let mut running = JoinSet::new();
    for (pipeline, status) in pipelines.into_iter().zip(statuses) {
        let (name, signal) = (pipeline.name.clone(), signal.clone());
        running.spawn(async move { (name, sembla_runtime::run(pipeline, signal, status).await) });
    }
    let ended = until_ended(&mut running, &stop, presses, &line).await;
    line.clear();
    ended
}

/// Runs one pipeline until it ends: what INSERT INTO a sink does outside `sembla run`.
///
/// # Errors
/// What the pipeline says.
pub(crate) async fn run_one(plan: StreamPlan, interrupt: &Interrupt) -> Result<()> {
    let guard = interrupt.presses();
    warn_of_silence(std::slice::from_ref(&plan));
    let pipelines = plan.open(false).await?;
    run_all(pipelines, None, &guard).await
}

/// Runs the statements of the files; those that insert into sinks are planned only.
async fn planned(
    args: &RunArgs,
    session: &Session,
    interrupt: &Interrupt,
) -> Result<Vec<StreamPlan>> {
    let printing = Printing { format: Format::Table, look: Look::of_stdout(), timing: false };
    let mut out = std::io::stdout();
    let mut plans: Vec<StreamPlan> = Vec::new();
    for path in &args.files {
        let source = query::read(path)?;
        let named = |failure: Failure| match &source.name {
            Some(name) => failure.context(name),
            None => failure,
        };
        for statement in session.parse(&source.text).map_err(|error| named(error.into()))? {
            let outcome = query::outcome(session, statement, interrupt).await.map_err(named)?;
            match outcome {
                Outcome::Done(words) => tracing::info!("{words}"),
                Outcome::Rows(rows) => {
                    let stages = Stages::new(session.cancel_token());
                    query::print(rows, printing, &stages, &mut out).await.map_err(named)?;
                }
                Outcome::Stream(plan) => {
                    if plans.iter().any(|other| other.name() == plan.name()) {
                        return Err(named(Failure::user(format!(
                            "sink '{}' is inserted into twice; put both queries together with UNION ALL, or make another sink",
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

type Running = JoinSet<(String, sembla_runtime::Result<Summary>)>;

/// Waits for all pipelines. The first one that fails stops the others; signals stop all.
async fn until_ended(
    running: &mut Running,
    stop: &watch::Sender<Stop>,
    guard: &Presses,
    line: &line::StatusLine,
) -> Result<()> {
    let mut failure = None;
    let mut was_stopped = false;
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                None => break,
                Some(Ok((name, Ok(summary)))) => line.say(&words(&name, &summary)),
                Some(Ok((name, Err(error)))) => {
                    let error = Failure::from(sembla_sql::SqlError::from(error)).context(&name);
                    failure.get_or_insert(error);
                    ask(stop, Stop::Drain);
                }
                Some(Err(error)) => {
                    failure.get_or_insert(Failure::other(format!("a pipeline broke down: {error}")));
                    ask(stop, Stop::Drain);
                }
            },
            () = guard.pressed() => {
                if was_stopped {
                    ask(stop, Stop::Now);
                } else {
                    line.say("stopping: what was read is finished and committed; Ctrl-C again leaves at once");
                    ask(stop, Stop::Drain);
                    was_stopped = true;
                }
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Asks pipelines to stop; one that has ended doesn't hear it.
fn ask(stop: &watch::Sender<Stop>, what: Stop) {
    stop.send_replace(what);
}

/// What a pipeline did, in one line.
fn words(name: &str, summary: &Summary) -> String {
    let status = &summary.status;
    let mut parts = vec![
        format!("{} rows in", count(status.rows_in)),
        format!("{} out", count(status.rows_out)),
        format!("{} late", count(status.rows_late)),
        format!("{} rejected", count(status.rows_rejected)),
    ];
    parts.push(match summary.end {
        End::Complete => "complete".into(),
        End::AlreadyComplete => {
            "complete since an earlier run, and nothing to read since; --ignore-state reads all of it again".into()
        }
        End::Drained => "stopped; the next run resumes from here".into(),
        End::Stopped => "stopped; the next run resumes from the last commit".into(),
    });
    if let Some(failure) = &summary.stop_failure {
        parts.push(format!("the last commit failed, the one before it stands: {failure}"));
    }
    format!("{name}: {}", parts.join(", "))
}
