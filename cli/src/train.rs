//! `sembla train`: the rows of a query become a fine-tuned model. The work is
//! [`sembla_jobs::train`]'s; here it gets its arguments, its queries, its progress and its signals.

use std::path::Path;

use arrow::array::RecordBatch;
use sembla_jobs::input::query_rows;
use sembla_jobs::numbers::{count, per_second};
use sembla_jobs::train::{
    ROWS_MAX, STAGE, TrainRequest, Watch, check, check_classify, classify, run as train,
    tuned_folder, work_folder,
};
use sembla_models::{CancelToken, ModelSpec};
use sembla_sql::{Progress, Session};
use sembla_training::Event;
use sembla_training::losses::LossOptions;

use crate::args::TrainArgs;
use crate::failure::{Failure, Result, one_line};
use crate::interrupt::Interrupt;
use crate::notice;
use crate::progress::Stages;
use crate::statements::{interruptible, open};

/// Runs the command.
///
/// # Errors
/// What the queries say, options and rows that don't fit, and Ctrl-C.
pub(crate) async fn run(args: &TrainArgs, interrupt: &Interrupt) -> Result<()> {
    let request = request(args)?;
    let classifier = args.classify()?;
    match &classifier {
        Some(options) => check_classify(&request, options)?,
        None => check(&request)?,
    }
    let session = open(&args.session)?;
    let data = rows(&session, "--data", &args.data, interrupt).await?;
    let eval = rows_if_asked(&session, "--eval", args.eval.as_deref(), interrupt).await?;
    drop(session);
    let cancel = CancelToken::new();
    let guard = interrupt.guard(cancel.clone());
    let stages = Stages::new(&cancel);
    let mut teller = Teller::new(&stages);
    let told = |words: &str| {
        stages.clear();
        notice(words);
    };
    let mut observe = |event: &Event| teller.tell(event);
    let outcome = match &classifier {
        Some(options) => {
            let watch = Watch { cancel: &cancel, notice: &told, progress: &stages };
            classify(&request, options, &data, eval.as_deref(), watch, &mut observe)
                .map(|made| made.to_string())
        }
        None => train(&request, &data, eval.as_deref(), &cancel, &told, &mut observe)
            .map(|made| made.to_string()),
    };
    stages.clear();
    drop((guard, stages));
    match outcome {
        Ok(made) => {
            eprintln!("{made}");
            Ok(())
        }
        Err(failure) => {
            let output = &request.output;
            let work =
                work_folder(&classifier.map_or_else(|| output.clone(), |_| tuned_folder(output)));
            Err(with_progress(failure, &work))
        }
    }
}

/// Says of a stop that was asked for where progress is kept.
pub(crate) fn with_progress(failure: Failure, work: &Path) -> Failure {
    match failure {
        Failure::Interrupted(_) => Failure::Interrupted(work.is_dir().then(|| {
            format!("progress is kept in {}; run the same command to resume", work.display())
        })),
        other => other,
    }
}

/// What the arguments ask for.
fn request(args: &TrainArgs) -> Result<TrainRequest> {
    let mut base = ModelSpec::new(args.base.as_str());
    base.max_length = args.how.max_length;
    Ok(TrainRequest {
        base,
        output: args.output.clone(),
        overwrite: args.how.overwrite,
        restart: args.how.restart,
        loss: args.loss.clone(),
        loss_options: LossOptions { scale: args.scale, margin: args.margin },
        matryoshka: args.matryoshka.clone(),
        options: args.how.options().map_err(|error| Failure::user(one_line(&error)))?,
        report: args.report.clone(),
    })
}

/// The rows of a query, in memory.
pub(crate) async fn rows(
    session: &Session,
    flag: &str,
    query: &str,
    interrupt: &Interrupt,
) -> Result<Vec<RecordBatch>> {
    let cancel = session.cancel_token().child();
    let rows = interruptible(&cancel, interrupt, query_rows(session, query, &cancel, ROWS_MAX));
    rows.await.map_err(|failure| failure.context(flag))
}

/// The rows of a query that may be left out.
pub(crate) async fn rows_if_asked(
    session: &Session,
    flag: &str,
    query: Option<&str>,
    interrupt: &Interrupt,
) -> Result<Option<Vec<RecordBatch>>> {
    match query {
        Some(query) => rows(session, flag, query, interrupt).await.map(Some),
        None => Ok(None),
    }
}

/// Shows what happens in a run.
pub(crate) struct Teller<'a> {
    stages: &'a Stages,
    /// The sum of the losses since they were told last, and how many they are.
    losses: (f64, u32),
}

impl<'a> Teller<'a> {
    pub(crate) fn new(stages: &'a Stages) -> Self {
        Self { stages, losses: (0.0, 0) }
    }

    /// Shows an event.
    pub(crate) fn tell(&mut self, event: &Event) {
        match event {
            Event::Resumed { step, steps } => {
                self.line(&format!("resuming after step {} of {}", number(*step), number(*steps)));
            }
            Event::Step { step, steps, loss, texts_per_second, .. } => {
                self.losses = (self.losses.0 + loss, self.losses.1 + 1);
                self.stages.update(STAGE, *step as u64, Some(*steps as u64));
                // Steps that are told even where nobody shows progress.
                let tenth = (steps / 10).max(1);
                if step.is_multiple_of(tenth) || step == steps {
                    let mean = self.losses.0 / f64::from(self.losses.1);
                    self.line(&format!(
                        "step {} of {}: loss {mean:.4}, {} texts/s",
                        number(*step),
                        number(*steps),
                        per_second(*texts_per_second)
                    ));
                    self.losses = (0.0, 0);
                }
            }
            Event::Evaluated { step, metric, value, is_best } => {
                let best = if *is_best { ", the best so far" } else { "" };
                let when = if *step == 0 {
                    "before training".into()
                } else {
                    format!("step {}", number(*step))
                };
                self.line(&format!("{when}: {metric} {value:.4}{best}"));
            }
            Event::Stopped { step } => {
                self.line(&format!("stopped after step {}: nothing gets better", number(*step)));
            }
        }
    }

    /// Shows a line.
    pub(crate) fn line(&self, words: &str) {
        self.stages.clear();
        eprintln!("{words}");
    }
}

fn number(number: usize) -> String {
    count(number as u64)
}
