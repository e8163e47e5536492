//! Runs pipelines side by side, and tells people and programs how they are.
//!
//! What a pipeline is and how it runs is the runtime's; what signals mean is for whoever runs them.

mod serve;
mod watched;

use sembla_runtime::{End, Pipeline, Status, Stop, StopSignal, Summary};
use sembla_sql::{SqlError, StreamPlan};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::failure::{Failure, Result};
use crate::numbers::count;
pub use serve::{record, serve};
pub use watched::Watched;

/// What does not answer of what the pipelines connect to, each with the pipeline's name. Nothing is
/// read or written.
pub async fn problems(plans: &[StreamPlan]) -> Vec<Failure> {
    let asked = plans.iter().map(|plan| async move {
        let found = plan.problems(true).await.into_iter();
        found.map(|error| Failure::from(error).context(plan.name())).collect::<Vec<_>>()
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Logs within seconds what does not answer; the pipelines themselves try for longer.
pub fn warn_of_silence(plans: &[StreamPlan]) {
    for plan in plans {
        let (name, asked) = (plan.name().to_string(), plan.problems(false));
        tokio::spawn(async move {
            for error in asked.await {
                tracing::warn!("{name}: {error}");
            }
        });
    }
}

/// Pipelines that run. Dropped, they are aborted; the next run resumes from their last commits.
pub struct Running {
    tasks: JoinSet<(String, sembla_runtime::Result<Summary>)>,
    stop: watch::Sender<Stop>,
    watched: Vec<Watched>,
}

impl Running {
    /// Starts pipelines. Must be called inside a tokio runtime.
    pub fn start(pipelines: Vec<Pipeline>) -> Self {
        let (stop, signal) = StopSignal::channel();
        let (mut tasks, mut watched) = (JoinSet::new(), Vec::with_capacity(pipelines.len()));
        for pipeline in pipelines {
            let (sender, status) = watch::channel(Status::default());
            let checkpoint_interval = pipeline.options.checkpoint_interval;
            let name = pipeline.name.clone();
            watched.push(Watched { name: name.clone(), status, checkpoint_interval });
            let signal = signal.clone();
            tasks.spawn(async move {
                let ended = sembla_runtime::run(pipeline, signal, sender).await;
                (name, ended)
            });
        }
        Self { tasks, stop, watched }
    }

    /// How the pipelines are; the values move as they run.
    pub fn watched(&self) -> Vec<Watched> {
        self.watched.clone()
    }

    /// Asks all pipelines to stop; one that has ended doesn't hear it.
    pub fn stop(&self, how: Stop) {
        self.stop.send_replace(how);
    }

    /// Waits for the next pipeline to end: its name and what it did. `None` when all have. One that
    /// fails stops nothing by itself.
    ///
    /// # Errors
    /// Why the pipeline failed, with its name.
    pub async fn ended(&mut self) -> Option<Result<(String, Summary)>> {
        Some(match self.tasks.join_next().await? {
            Ok((name, Ok(summary))) => Ok((name, summary)),
            Ok((name, Err(error))) => Err(Failure::from(SqlError::from(error)).context(&name)),
            Err(error) => Err(Failure::other(format!("a pipeline failed: {error}"))),
        })
    }
}

/// What a pipeline did, in one line.
pub fn describe(name: &str, summary: &Summary) -> String {
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
            "already complete, and nothing new to read; --ignore-state reads everything again"
                .into()
        }
        End::Drained => "stopped; the next run resumes from here".into(),
        End::Stopped => "stopped; the next run resumes from the last commit".into(),
    });
    if let Some(failure) = &summary.stop_failure {
        parts.push(format!("the last commit failed, the one before it is valid: {failure}"));
    }
    format!("{name}: {}", parts.join(", "))
}
