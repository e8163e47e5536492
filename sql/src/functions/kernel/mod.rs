//! What DataFusion wants of functions, said once for scalar functions and once for aggregates.
//!
//! *Absent:* three scalar functions that users don't declare or find by a name of ours, which would
//! need hooks that no other has: the text of a value that COPY writes keeps the order of its input,
//! the stored vectors of an index belong to that index, and DataFusion's functions of long texts
//! keep their own signatures behind a limit.

mod aggregate;
mod scalar;

pub(super) use aggregate::AggregateDef;
pub(crate) use scalar::runs_model;
pub(super) use scalar::{Call, Planned, ScalarDef, StandIn};
