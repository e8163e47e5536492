//! How a pipeline is asked to stop.

use std::time::Duration;

use tokio::sync::watch;

/// What is asked of a running pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Go on.
    #[default]
    Run,
    /// Read no more, finish what was read, and commit it. Windows that are open stay in the state.
    Drain,
    /// End now. What is not committed comes again at the next start.
    Now,
}

/// The end of a channel at which a pipeline hears that it should stop. When the other end is
/// dropped, nobody can ask any more, and the pipeline runs on.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<Stop>);

impl StopSignal {
    /// A signal, and where to give it.
    pub fn channel() -> (watch::Sender<Stop>, Self) {
        let (sender, receiver) = watch::channel(Stop::Run);
        (sender, Self(receiver))
    }

    /// What is asked now.
    pub fn current(&self) -> Stop {
        *self.0.borrow()
    }

    /// Waits until any stop is asked for.
    pub(crate) async fn requested(&mut self) {
        self.at_least(Stop::Drain).await;
    }

    /// Waits until it should end now, or has had so much time to drain.
    pub(crate) async fn exhausted(&mut self, drain_timeout: Duration) -> Exhausted {
        self.requested().await;
        tokio::select! {
            biased;
            () = self.at_least(Stop::Now) => Exhausted::Now,
            () = tokio::time::sleep(drain_timeout) => Exhausted::Overdue,
        }
    }

    async fn at_least(&mut self, wanted: Stop) {
        if self.0.wait_for(|asked| *asked >= wanted).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Why a stop waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// It should end now.
    Now,
    /// It took too long.
    Overdue,
}
