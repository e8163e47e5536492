//! `sembla distil`: smaller students of a model. The work is [`sembla_jobs::distil`]'s; here it
//! gets its arguments, its queries, its progress and its signals.

use std::io::Write;

use sembla_jobs::distil::{DistilRequest, Told, check, run as distil, work_folder};
use sembla_models::{CancelToken, ModelSpec};
use sembla_sql::Progress;

use crate::args::DistilArgs;
use crate::failure::{Failure, Result, one_line};
use crate::interrupt::Interrupt;
use crate::notice;
use crate::progress::Stages;
use crate::statements::open;
use crate::train::{Teller, rows_if_asked, with_progress};

/// The stage in which the teacher makes its vectors.
const STAGE: &str = "the teacher's vectors";

/// The stage in which its tokens get vectors.
const TOKENS: &str = "the teacher's tokens";

/// Runs the command.
///
/// # Errors
/// What the queries say, options and rows that don't fit, and Ctrl-C.
pub(crate) async fn run(args: &DistilArgs, interrupt: &Interrupt) -> Result<()> {
    let request = request(args)?;
    check(&request)?;
    let session = open(&args.session)?;
    let data = rows_if_asked(&session, "--data", args.data.as_deref(), interrupt).await?;
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
    let mut tell = |what: Told<'_>| match what {
        Told::Training(event) => teller.tell(event),
        Told::Teacher { done, all } => stages.update(STAGE, done as u64, Some(all as u64)),
        Told::Tokens { done, all } => stages.update(TOKENS, done as u64, Some(all as u64)),
        Told::Cut { from, to, explained } => teller.line(&format!(
            "{from} components are cut to {to}, which keep {:.1} % of the variance",
            100.0 * explained
        )),
        Told::Begins(name) => teller.line(&format!("student {name}")),
        Told::Kept(name) => teller.line(&format!("student {name}: finished before")),
        Told::Measuring => teller.line("measuring teacher and students"),
    };
    let outcome = distil(&request, data.as_deref(), eval.as_deref(), &cancel, &told, &mut tell);
    stages.clear();
    drop((guard, stages));
    let distilled =
        outcome.map_err(|failure| with_progress(failure, &work_folder(&request.output)))?;
    writeln!(std::io::stdout(), "{distilled}").map_err(|error| Failure::output(&error))
}

/// What the arguments ask for.
fn request(args: &DistilArgs) -> Result<DistilRequest> {
    let spec = |name: &String| {
        let mut spec = ModelSpec::new(name.as_str());
        spec.max_length = args.how.max_length;
        spec
    };
    Ok(DistilRequest {
        teacher: spec(&args.teacher),
        student: args.student.as_ref().map(spec),
        layers: args.layers.clone(),
        dimensions: args.dimensions,
        with_static: args.with_static,
        multilingual: args.multilingual,
        output: args.output.clone(),
        overwrite: args.how.overwrite,
        restart: args.how.restart,
        options: args.how.options().map_err(|error| Failure::user(one_line(&error)))?,
    })
}
