//! How a table looks: how wide it may be, how many rows it has, and whether each row is a block of
//! its own.

/// The look of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Rows after which it ends.
    pub max_rows: Option<usize>,
    /// Columns of the screen that it has to fit; `None` where it may be as wide as it is.
    pub width: Option<usize>,
    /// Whether each value has a line of its own, with its column's name.
    pub is_expanded: bool,
}
