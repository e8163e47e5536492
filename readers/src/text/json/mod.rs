//! JSON: values, records, the dialect, and the survey.

pub(crate) mod nested;
pub(crate) mod records;
pub(crate) mod scan;
pub(crate) mod survey;
