//! What DataFusion wants of functions, said once for scalar functions and once for aggregates.

mod aggregate;
mod scalar;

pub(super) use aggregate::AggregateDef;
pub(crate) use scalar::runs_model;
pub(super) use scalar::{Call, Planned, ScalarDef, StandIn};
