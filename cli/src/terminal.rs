//! How wide the terminal is, and a line on it that is redrawn.

use std::io::{IsTerminal, Write};

use sembla_jobs::output::Look;
use sembla_jobs::printable::cut;

/// Columns of a terminal that does not say how wide it is.
const WIDTH_UNKNOWN: usize = 80;
/// Goes to the beginning of the line and makes it empty.
const ERASE: &str = "\r\u{1b}[2K";

/// The columns of the terminal that standard output is; `None` where it is none.
pub(crate) fn stdout_width() -> Option<usize> {
    std::io::stdout().is_terminal().then(|| requested_width(Output::Standard))
}

/// The look of results on standard output: on a terminal they fit its width.
pub(crate) fn look() -> Look {
    Look { width: stdout_width(), ..Look::default() }
}

/// A line on standard error, where that is a terminal.
#[derive(Debug)]
pub(crate) struct Line {
    is_drawn: bool,
}

impl Line {
    /// A line that is empty still; `None` where there is no terminal.
    pub(crate) fn open() -> Option<Self> {
        std::io::stderr().is_terminal().then_some(Self { is_drawn: false })
    }

    /// Draws a text in the place of what is there.
    pub(crate) fn draw(&mut self, text: &str) {
        // A terminal that wraps at its last column would leave a line behind.
        let width = requested_width(Output::Error).saturating_sub(1);
        self.is_drawn = true;
        write(&format!("{ERASE}{}", cut(text, width)));
    }

    /// Makes the line empty.
    pub(crate) fn erase(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            write(ERASE);
        }
    }
}

fn write(text: &str) {
    let mut out = std::io::stderr().lock();
    // A line that can't be drawn is no reason to stop.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[derive(Clone, Copy)]
enum Output {
    Standard,
    Error,
}

#[cfg(unix)]
fn requested_width(output: Output) -> usize {
    let file = match output {
        Output::Standard => libc::STDOUT_FILENO,
        Output::Error => libc::STDERR_FILENO,
    };
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes into the structure that it is given, which is of the type it wants.
    let answer = unsafe { libc::ioctl(file, libc::TIOCGWINSZ, &mut size) };
    match usize::from(size.ws_col) {
        width if answer == 0 && width > 0 => width,
        _ => WIDTH_UNKNOWN,
    }
}

#[cfg(not(unix))]
fn requested_width(_: Output) -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.unwrap_or(WIDTH_UNKNOWN)
}
