//! The process that measures one model: it reads an [`Order`] from its standard input, and writes
//! an [`Answer`] to its standard output. It ends when the process that started it does.

use std::io::{BufRead, Write};

use sembla_jobs::eval::{Answer, Observer, Order, measure};
use sembla_models::CancelToken;
use sembla_sql::Progress;

use crate::args::SessionArgs;
use crate::failure::{Failure, Result, one_line};
use crate::interrupt::{Interrupt, end_at_once};
use crate::notice;
use crate::progress::Stages;
use crate::signal_code;
use crate::statements::{interruptible, open};

/// Runs the command.
///
/// # Errors
/// When nobody asks or listens; what goes wrong in between is an answer.
pub(crate) async fn run(interrupt: &Interrupt) -> Result<()> {
    let order = order()?;
    let answer = match work(&order, interrupt).await {
        Ok(measured) => Answer::Measured(measured),
        Err(Failure::User(message)) => Answer::User(message),
        Err(Failure::Other(message)) => Answer::Other(message),
        Err(other) => return Err(other),
    };
    let text = serde_json::to_string(&answer).map_err(|error| Failure::other(one_line(error)))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Reads what is asked for, and from then on waits for the end of whoever asked.
fn order() -> Result<Order> {
    let wrong = || Failure::user("this command is run by sembla eval, and by nothing else");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|_| wrong())?;
    let order = serde_json::from_str(&line).map_err(|_| wrong())?;
    std::thread::spawn(|| {
        let mut rest = String::new();
        // Whatever comes, and how it ends, nobody waits for the answer any more.
        let _ = std::io::stdin().lock().read_line(&mut rest);
        end_at_once(signal_code::get());
    });
    Ok(order)
}

async fn work(order: &Order, interrupt: &Interrupt) -> Result<sembla_jobs::eval::Measured> {
    let session = open(&SessionArgs {
        model: None,
        memory_limit: order.memory_limit,
        threads: order.threads,
    })?;
    let cancel = CancelToken::new();
    let shown = Shown { stages: Stages::new(&cancel), model: &order.name };
    let (model, name) = (order.model.as_str(), order.name.as_str());
    let measured = measure(model, name, &order.tasks, &session, &cancel, &shown);
    interruptible(&cancel, interrupt, measured).await
}

/// Shows how far it is.
struct Shown<'a> {
    stages: Stages,
    model: &'a str,
}

impl Observer for Shown<'_> {
    fn begin(&self, task: &str, texts: u64) {
        self.stages.update(&format!("{}: {task}", self.model), 0, Some(texts));
    }

    fn notice(&self, line: &str) {
        self.stages.clear();
        notice(line);
    }
}
