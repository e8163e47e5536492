//! `sembla eval`: ranks models. The work is [`sembla_jobs::eval`]'s; here each model gets a process
//! of its own (`worker`), and the ranking is printed and written.

mod process;
pub(crate) mod worker;

use std::io::Write;

use sembla_jobs::eval::{Measured, Order, Output, Ranking, Task, check, suite};
use sembla_jobs::numbers::count;
use sembla_jobs::output::{Format, RowPrinter};
use sembla_models::CancelToken;

use crate::args::EvalArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::Stages;
use crate::statements::{interruptible, open};
use crate::terminal;
use sembla_sql::Progress;

/// Runs the command.
///
/// # Errors
/// Suites and models that can't be read, what a model's process says, and Ctrl-C.
pub(crate) async fn run(args: &EvalArgs, interrupt: &Interrupt) -> Result<()> {
    let outputs: Vec<Output> =
        args.output.iter().map(|path| Output::new(path, args.overwrite)).collect::<Result<_>>()?;
    let tasks = suite::read(&args.suite)?;
    let names = names(args, &tasks, interrupt).await?;
    let mut measured: Vec<Measured> = Vec::new();
    for (model, name) in args.models.iter().zip(names) {
        let order = Order {
            model: model.clone(),
            name,
            tasks: tasks.clone(),
            memory_limit: args.memory_limit,
            threads: args.threads,
        };
        let found = process::measure(&order, interrupt).await?;
        eprintln!("{}", line(&found));
        measured.push(found);
    }
    let ranking = Ranking::new(&tasks, measured);
    print(&ranking, args.format.into())?;
    let facts = facts(args, &ranking);
    for output in &outputs {
        output.write(&ranking, &facts)?;
        eprintln!("{}", output.path().display());
    }
    Ok(())
}

/// Looks whether all can be measured; what the models are called.
async fn names(args: &EvalArgs, tasks: &[Task], interrupt: &Interrupt) -> Result<Vec<String>> {
    let cancel = CancelToken::new();
    let session = open(&args.session())?;
    let stages = Stages::new(&cancel);
    let models = args.models.len() as u64;
    let loaded = |count: usize| stages.update("loading models", count as u64, Some(models));
    let checked = check(&args.models, tasks, &session, &cancel, &loaded);
    interruptible(&cancel, interrupt, checked).await
}

/// What is said when a model is done.
fn line(measured: &Measured) -> String {
    let average =
        measured.average().map_or(String::new(), |score| format!(", average {:.2}", 100.0 * score));
    format!(
        "{}: {} texts in {:.1} s{average}",
        measured.model,
        count(measured.texts),
        measured.seconds
    )
}

fn print(ranking: &Ranking, format: Format) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if format == Format::Table {
        let table = ranking.table(terminal::look().width);
        return write!(out, "{table}")
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error));
    }
    let rows = ranking.rows()?;
    let mut printer = RowPrinter::new(format, terminal::look(), &rows.schema(), &mut out)?;
    printer.write(&rows)?;
    printer.finish()
}

/// What a page says of how it was made.
fn facts(args: &EvalArgs, ranking: &Ranking) -> Vec<(&'static str, String)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let texts = ranking.models.iter().map(|model| model.texts).max().unwrap_or_default();
    vec![
        ("program", format!("sembla {}", crate::args::VERSION)),
        ("models", args.models.join(", ")),
        ("suite", args.suite.join(" ")),
        ("texts", count(texts)),
        ("threads of the machine", threads.to_string()),
        ("scores", "as MTEB defines them, times 100; average: their mean".to_string()),
        (
            "texts/s",
            "distinct texts over the time in the model, its first run left out".to_string(),
        ),
        (
            "peak memory",
            "of a process for each model: weights, texts, vectors, query engine".to_string(),
        ),
    ]
}
