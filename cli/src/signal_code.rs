//! The exit code of work that a signal stopped: 128 and the number of the signal, as shells count.

use std::sync::atomic::{AtomicI32, Ordering};

/// That of a process that Ctrl-C ended.
pub(crate) const INTERRUPTED: i32 = 130;
/// That of a process that SIGTERM ended.
pub(crate) const TERMINATED: i32 = 143;

/// What the last signal asks for.
static CODE: AtomicI32 = AtomicI32::new(INTERRUPTED);

/// Notes what a signal asks for.
pub(crate) fn set(code: i32) {
    CODE.store(code, Ordering::Relaxed);
}

/// What the last signal has asked for.
pub(crate) fn get() -> u8 {
    u8::try_from(CODE.load(Ordering::Relaxed)).unwrap_or(1)
}
