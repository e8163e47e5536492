//! CSV: records, the dialect, and the survey.

pub(crate) mod records;
pub(crate) mod sniff;
pub(crate) mod split;
pub(crate) mod survey;
