//! ONNX files without ONNX Runtime: writing graphs, and checking foreign ones before they are run.
//!
//! Nothing here runs a model or knows what a graph computes.

pub(crate) mod check;
mod external;
pub(crate) mod proto;
#[cfg(test)]
mod tests;
mod walk;
pub(crate) mod writer;

/// The domain of the operators that are Sembla's own.
pub(crate) const DOMAIN: &str = "ai.sembla";
