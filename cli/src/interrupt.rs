//! Ctrl-C: stops the work that runs, not the process; a second Ctrl-C stops the process.
//!
//! A thread of its own waits for the signal, because the threads that run queries can be busy
//! inside a model for seconds. It knows nothing of what it stops: work registers its cancel token
//! with [`Interrupt::guard`]. Without a guard, Ctrl-C ends the process with exit code 130.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sembla_models::CancelToken;
use tokio::sync::Notify;

use crate::failure::{Failure, Result};

/// The exit code of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// The listener. Clones share it.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<Mutex<Option<Running>>>);

/// The work that Ctrl-C stops now.
enum Running {
    /// Work that a token stops; a second Ctrl-C ends the process.
    Token { token: CancelToken, notify: Arc<Notify> },
    /// Work that decides itself what each Ctrl-C means.
    Presses(Arc<Notify>),
}

impl Interrupt {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the operating system gives no thread or no signal handler.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self(Arc::default());
        let listener = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(|error| Failure::other(format!("waiting for signals: {error}")))?;
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(listener.wait()))
            .map_err(|error| Failure::other(format!("waiting for signals: {error}")))?;
        Ok(interrupt)
    }

    /// Makes Ctrl-C stop the work that holds `token`, for as long as the guard lives.
    pub(crate) fn guard(&self, token: CancelToken) -> Guard {
        let notify = Arc::new(Notify::new());
        let running = Running::Token { token: token.clone(), notify: Arc::clone(&notify) };
        *self.lock() = Some(running);
        Guard { interrupt: self.clone(), token, notify }
    }

    /// Tells work of each Ctrl-C and each SIGTERM, for as long as the result lives.
    pub(crate) fn presses(&self) -> Presses {
        let notify = Arc::new(Notify::new());
        *self.lock() = Some(Running::Presses(Arc::clone(&notify)));
        Presses { interrupt: self.clone(), notify }
    }

    /// Waits for signals for ever.
    async fn wait(self) {
        while next_signal().await.is_ok() {
            match self.lock().as_ref() {
                Some(Running::Token { token, notify }) if !token.is_cancelled() => {
                    token.cancel();
                    notify.notify_one();
                }
                Some(Running::Presses(notify)) => notify.notify_one(),
                _ => std::process::exit(INTERRUPTED),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for Ctrl-C, or for what asks a service to end.
#[cfg(unix)]
async fn next_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
async fn next_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
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
        *self.interrupt.lock() = None;
    }
}

/// Ctrl-C concerns the work of this guard until it is dropped.
pub(crate) struct Guard {
    interrupt: Interrupt,
    token: CancelToken,
    notify: Arc<Notify>,
}

impl Guard {
    /// Whether Ctrl-C was pressed.
    pub(crate) fn was_pressed(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The token that Ctrl-C sets.
    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Waits for Ctrl-C.
    pub(crate) async fn pressed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        *self.interrupt.lock() = None;
    }
}
