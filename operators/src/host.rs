//! What an operator asks of whoever runs it: leave to go on, memory, and a listener for progress.
//!
//! Operators have no clock, no terminal and no memory pool of their own. A static table, a window
//! of a stream and a test each bring their own [`Host`].

use crate::error::{OperatorError, Result};

/// Whoever runs an operator. All methods have an answer, so that a host says only what it cares
/// for; they are called from many threads.
pub trait Host: Sync {
    /// Whether the work should end. Operators look at least every few milliseconds.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// `done` of `total` steps of `stage` are behind us. Steps are in proportion to time, within
    /// one stage.
    fn progress(&self, stage: &'static str, done: u64, total: u64) {
        let _ = (stage, done, total);
    }

    /// Lends memory that is about to be allocated; [`Loan`] gives it back.
    ///
    /// # Errors
    /// [`OperatorError::Memory`], with a message that says what to raise.
    fn lend(&self, bytes: usize) -> Result<()> {
        let _ = bytes;
        Ok(())
    }

    /// Takes back memory that was lent.
    fn take_back(&self, bytes: usize) {
        let _ = bytes;
    }
}

/// Asks the host for leave to go on.
///
/// # Errors
/// [`OperatorError::Cancelled`].
pub fn check(host: &dyn Host) -> Result<()> {
    if host.is_cancelled() { Err(OperatorError::Cancelled) } else { Ok(()) }
}

/// A host that never stops the work, lends without limit and does not listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbounded;

impl Host for Unbounded {}

/// A host without its ear for progress: for steps whose own progress would say nothing about the
/// whole.
pub(crate) struct Quiet<'a>(pub(crate) &'a dyn Host);

impl Host for Quiet<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn lend(&self, bytes: usize) -> Result<()> {
        self.0.lend(bytes)
    }

    fn take_back(&self, bytes: usize) {
        self.0.take_back(bytes);
    }
}

/// Memory that a host has lent. Dropping it gives it back.
pub struct Loan<'a> {
    host: &'a dyn Host,
    bytes: usize,
}

impl<'a> Loan<'a> {
    /// Borrows `bytes`.
    ///
    /// # Errors
    /// What the host says.
    pub fn new(host: &'a dyn Host, bytes: usize) -> Result<Self> {
        host.lend(bytes)?;
        Ok(Self { host, bytes })
    }

    /// Borrows so much more, or gives so much back, that the loan is `bytes`.
    ///
    /// # Errors
    /// What the host says; the loan is then what it was.
    pub fn resize(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            self.host.lend(bytes - self.bytes)?;
        } else {
            self.host.take_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.host.take_back(self.bytes);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A host with a limit, for tests of bounds.
    #[derive(Debug, Default)]
    pub(crate) struct Limited {
        pub(crate) limit: usize,
        pub(crate) lent: AtomicUsize,
        pub(crate) cancelled: bool,
    }

    impl Host for Limited {
        fn is_cancelled(&self) -> bool {
            self.cancelled
        }

        fn lend(&self, bytes: usize) -> Result<()> {
            let lent = self.lent.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if lent <= self.limit {
                return Ok(());
            }
            self.lent.fetch_sub(bytes, Ordering::Relaxed);
            Err(OperatorError::Memory(format!("{lent} bytes are over the limit")))
        }

        fn take_back(&self, bytes: usize) {
            self.lent.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_loan_is_given_back() {
        let host = Limited { limit: 100, ..Limited::default() };
        {
            let mut loan = Loan::new(&host, 60).expect("within the limit");
            assert!(Loan::new(&host, 41).is_err());
            loan.resize(100).expect("within the limit");
            assert!(loan.resize(101).is_err());
            assert_eq!(host.lent.load(Ordering::Relaxed), 100);
            loan.resize(10).expect("less");
            assert_eq!(host.lent.load(Ordering::Relaxed), 10);
        }
        assert_eq!(host.lent.load(Ordering::Relaxed), 0);
    }
}
