//! Exit codes of commands that do not end well.
//!
//! 1 for a failure of the outside world or a bug, 2 for something the user can fix, 130 for Ctrl-C,
//! 143 for SIGTERM. A closed stdout (`| head`) ends the command quietly.

use std::process::ExitCode;

pub(crate) use sembla_jobs::{Failure, Result, one_line};

use crate::signal_code;

/// The exit code of the process.
pub(crate) fn exit_code(failure: &Failure) -> ExitCode {
    ExitCode::from(match failure {
        Failure::User(_) => 2,
        Failure::Other(_) => 1,
        Failure::Interrupted(_) => signal_code::get(),
        Failure::OutputClosed => 0,
    })
}
