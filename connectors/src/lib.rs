//! Where rows come from and go to.
//!
//! - [`options`]: options are declared once and read once.
//! - [`formats`]: bytes of a record to rows, and back.
//! - *Absent:* what rows mean. A connector turns bytes into rows and rows into bytes.

pub mod formats;
pub mod options;
