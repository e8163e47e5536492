//! Ctrl-C and SIGTERM: the first one stops the work that runs, the second one ends the process.
//!
//! A thread of its own waits for signals, because the threads that run queries can be busy inside a
//! model or a planner for as long as those like. It knows nothing of what it stops: work registers
//! its cancel token with [`Interrupt::guard`]. Without a guard, the first signal ends the process.
//!
//! *Invariant:* a second signal ends the process within a second, whatever runs: nothing that a
//! query, a model or a full pipe can hold up stands between the signal and the end.

use std::future::pending;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sembla_models::CancelToken;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::failure::{Failure, Result};
use crate::signal_code::{self, INTERRUPTED, TERMINATED};
use crate::terminal::Line;
use sembla_jobs::whole_file;

/// How long work may take to stop after the first signal, before the process ends without it.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the last commit of a pipeline may take after the second signal.
const LAST_COMMIT_TIME_MAX: Duration = Duration::from_millis(700);
/// How long the last words and the removal of unfinished files may take.
const END_TIME_MAX: Duration = Duration::from_millis(250);

/// The listener. Clones share it.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// Counts the work that was registered, to tell one from the next.
    number: u64,
    /// Whether the process outlives work that does not stop: the shell does.
    is_patient: bool,
}

/// The work that a signal stops now.
enum Running {
    /// Work that a token stops.
    Token { token: CancelToken, notify: Arc<Notify> },
    /// Work that decides itself what the first signal means.
    Presses { notify: Arc<Notify>, presses: usize },
}

/// What follows from a signal.
enum Next {
    /// Nothing more.
    Wait,
    /// The process ends at this time if the work of this number is still there.
    EndAt(Instant, u64),
    /// The process ends.
    End,
}

impl Interrupt {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the operating system gives no thread or no signal handler.
    pub(crate) fn listen() -> Result<Self> {
        let fail = |error: std::io::Error| Failure::other(format!("waiting for signals: {error}"));
        let interrupt = Self(Arc::default());
        let listener = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(fail)?;
        let signals = {
            let _inside = runtime.enter();
            Signals::listen().map_err(fail)?
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(listener.wait(signals)))
            .map_err(fail)?;
        Ok(interrupt)
    }

    /// Lets the process outlive work that does not stop at the first Ctrl-C. The second one ends
    /// it all the same.
    pub(crate) fn be_patient(&self) {
        self.lock().is_patient = true;
    }

    /// Makes a signal stop the work that holds `token`, for as long as the guard lives.
    pub(crate) fn guard(&self, token: CancelToken) -> Guard {
        let notify = Arc::new(Notify::new());
        self.begin(Running::Token { token: token.clone(), notify: Arc::clone(&notify) });
        Guard { interrupt: self.clone(), token, notify }
    }

    /// Tells work of each signal, for as long as the result lives.
    pub(crate) fn presses(&self) -> Presses {
        let notify = Arc::new(Notify::new());
        self.begin(Running::Presses { notify: Arc::clone(&notify), presses: 0 });
        Presses { interrupt: self.clone(), notify }
    }

    fn begin(&self, running: Running) {
        let mut state = self.lock();
        state.number += 1;
        state.running = Some(running);
    }

    /// Waits for signals for ever.
    async fn wait(self, mut signals: Signals) {
        let mut deadline: Option<(Instant, u64)> = None;
        loop {
            let at = deadline.map(|(at, _)| at);
            let too_late = async move {
                match at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                code = signals.next() => {
                    let Some(code) = code else { return };
                    signal_code::set(code);
                    match self.take(code) {
                        Next::Wait => {}
                        Next::EndAt(at, number) => deadline = Some((at, number)),
                        Next::End => end(),
                    }
                }
                () = too_late => {
                    let number = deadline.take().map(|(_, number)| number);
                    let state = self.lock();
                    if state.running.is_some() && Some(state.number) == number {
                        drop(state);
                        end();
                    }
                }
            }
        }
    }

    /// Passes a signal, which asks for this exit code, on to the work that runs.
    fn take(&self, code: i32) -> Next {
        let mut state = self.lock();
        let (number, is_patient) = (state.number, state.is_patient && code == INTERRUPTED);
        match &mut state.running {
            Some(Running::Token { token, notify }) if !token.is_cancelled() => {
                token.cancel();
                notify.notify_one();
                match is_patient {
                    true => Next::Wait,
                    false => Next::EndAt(Instant::now() + STOP_TIME_MAX, number),
                }
            }
            Some(Running::Presses { notify, presses }) if *presses < 2 => {
                *presses += 1;
                notify.notify_one();
                match presses {
                    1 => Next::Wait,
                    _ => Next::EndAt(Instant::now() + LAST_COMMIT_TIME_MAX, number),
                }
            }
            _ => Next::End,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says so in one line, removes unfinished files, and ends the process.
fn end() -> ! {
    // Whatever holds up what follows, such as a pipe that nobody reads, the process ends.
    thread::spawn(|| {
        thread::sleep(END_TIME_MAX);
        end_at_once(signal_code::get());
    });
    whole_file::remove_unfinished();
    if let Some(mut line) = Line::open() {
        // What progress has drawn.
        line.draw("");
    }
    // Without anybody to read it, there is nothing to say.
    let _ = writeln!(std::io::stderr(), "interrupted");
    end_at_once(signal_code::get())
}

/// Ends the process without waiting for threads that are still busy, or for what libraries do at an
/// orderly end: a model that runs would hold that up.
pub(crate) fn end_at_once(code: u8) -> ! {
    #[cfg(unix)]
    // SAFETY: it only ends the process.
    unsafe {
        libc::_exit(i32::from(code))
    }
    #[cfg(not(unix))]
    std::process::exit(i32::from(code))
}

/// The signals that are listened to.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The exit code that the next signal asks for; `None` when there will be none.
    async fn next(&mut self) -> Option<i32> {
        tokio::select! {
            pressed = self.interrupt.recv() => pressed.map(|()| INTERRUPTED),
            asked = self.terminate.recv() => asked.map(|()| TERMINATED),
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Option<i32> {
        tokio::signal::ctrl_c().await.ok().map(|()| INTERRUPTED)
    }
}

/// Signals concern the work that holds this until it is dropped.
pub(crate) struct Presses {
    interrupt: Interrupt,
    notify: Arc<Notify>,
}

impl Presses {
    /// Waits for the next signal.
    pub(crate) async fn pressed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Presses {
    fn drop(&mut self) {
        self.interrupt.lock().running = None;
    }
}

/// Signals concern the work of this guard until it is dropped.
pub(crate) struct Guard {
    interrupt: Interrupt,
    token: CancelToken,
    notify: Arc<Notify>,
}

impl Guard {
    /// Whether a signal came.
    pub(crate) fn was_pressed(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The token that a signal sets.
    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Waits for a signal.
    pub(crate) async fn pressed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.interrupt.lock().running = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interrupt() -> Interrupt {
        Interrupt(Arc::default())
    }

    #[test]
    fn the_second_signal_ends_work_that_does_not_stop() {
        let interrupt = interrupt();
        let guard = interrupt.guard(CancelToken::new());
        assert!(matches!(interrupt.take(INTERRUPTED), Next::EndAt(..)));
        assert!(guard.was_pressed());
        assert!(matches!(interrupt.take(INTERRUPTED), Next::End));
        drop(guard);
        assert!(
            matches!(interrupt.take(INTERRUPTED), Next::End),
            "nothing runs that could be stopped"
        );
    }

    #[test]
    fn the_shell_outlives_a_query_that_does_not_stop_at_once() {
        let interrupt = interrupt();
        interrupt.be_patient();
        let _guard = interrupt.guard(CancelToken::new());
        assert!(matches!(interrupt.take(INTERRUPTED), Next::Wait));
        assert!(matches!(interrupt.take(INTERRUPTED), Next::End));
        let _guard = interrupt.guard(CancelToken::new());
        assert!(matches!(interrupt.take(TERMINATED), Next::EndAt(..)));
    }

    #[test]
    fn pipelines_drain_after_the_first_signal_and_have_a_moment_after_the_second() {
        let interrupt = interrupt();
        let _presses = interrupt.presses();
        assert!(matches!(interrupt.take(INTERRUPTED), Next::Wait));
        assert!(matches!(interrupt.take(INTERRUPTED), Next::EndAt(..)));
        assert!(matches!(interrupt.take(INTERRUPTED), Next::End));
    }
}
