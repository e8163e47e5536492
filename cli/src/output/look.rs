//! How a table looks: how wide it may be, how many rows it has, and whether each row is a block of
//! its own.

use crate::terminal::stdout_width;

/// The look of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Rows after which it ends.
    pub(crate) max_rows: Option<usize>,
    /// Columns of the screen that it has to fit; `None` where it may be as wide as it is.
    pub(crate) width: Option<usize>,
    /// Whether each value has a line of its own, with its column's name.
    pub(crate) is_expanded: bool,
}

impl Look {
    /// That of results on standard output: on a terminal they fit its width.
    pub(crate) fn of_stdout() -> Self {
        Self { width: stdout_width(), ..Self::default() }
    }
}
