//! Groups of rows that are alike.

pub(super) mod clustering;
pub(super) mod clusters;
pub(super) mod communities;
