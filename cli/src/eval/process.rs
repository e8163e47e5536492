//! Starts the process that measures a model, and waits for it or for Ctrl-C, which ends both.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sembla_jobs::eval::{Answer, Measured, Order};
use sembla_models::CancelToken;
use tokio::sync::oneshot;

use crate::failure::{Failure, Result, one_line};
use crate::interrupt::Interrupt;
use crate::statements::interruptible;

/// The name of the hidden command.
pub(crate) const WORKER: &str = "eval-model";

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 24;

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already can't be killed, and one that is killed is waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures a model in a process of its own.
///
/// # Errors
/// What the process says, its end without an answer, and [`Failure::Interrupted`].
pub(super) async fn measure(order: &Order, interrupt: &Interrupt) -> Result<Measured> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::other(format!("measuring model '{}': {what}: {error}", order.model))
    };
    let mut running = start().map_err(|error| failed("starting a process", error))?;
    let text = serde_json::to_string(order).map_err(|error| Failure::other(one_line(error)))?;
    let pipe = running.0.stdin.as_mut();
    if let Some(pipe) = pipe {
        writeln!(pipe, "{text}").map_err(|error| failed("asking the process", error))?;
    }
    let Some(mut answer) = running.0.stdout.take() else {
        return Err(Failure::other("internal error: a process without an output"));
    };
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = answer.by_ref().take(ANSWER_BYTES_MAX).read_to_string(&mut text);
        // Nobody waits after Ctrl-C.
        let _ = sender.send(read.map(|_| text));
    });
    let cancel = CancelToken::new();
    let work = async { Ok(receiver.await) };
    let text = match interruptible(&cancel, interrupt, work).await? {
        Ok(read) => read.map_err(|error| failed("reading its answer", error))?,
        Err(_) => String::new(),
    };
    let answer = match serde_json::from_str(&text) {
        Ok(answer) => answer,
        Err(_) => {
            let status = running.0.wait().map_err(|error| failed("waiting for it", error))?;
            return Err(Failure::other(format!(
                "measuring model '{}': its process ended without an answer ({status}); \
                 if the system is short of memory, measure less at once",
                order.model
            )));
        }
    };
    match answer {
        Answer::Measured(measured) => Ok(measured),
        Answer::User(message) => Err(Failure::user(message)),
        Answer::Other(message) => Err(Failure::other(message)),
    }
    .map_err(|failure| failure.context(format!("model '{}'", order.model)))
}

/// This program as it runs, even where another has taken its place on the disk.
fn program() -> std::io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_path_buf()) } else { std::env::current_exe() }
}

/// Starts this program once more. On a terminal Ctrl-C reaches this process alone, which then ends
/// the other.
fn start() -> std::io::Result<Running> {
    let mut command = Command::new(program()?);
    command.arg(WORKER).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map(Running)
}
