//! Windows of event time in FROM: `tumble`, `hop` and `session`.
//!
//! ```sql
//! SELECT window_start, count(*) FROM tumble(messages, ts, INTERVAL '10 minutes')
//! GROUP BY window_start, window_end
//! ```
//!
//! A window gives the rows of its input, each once for every window that it is in, with the columns
//! `window_start` and `window_end`. [`planner`] reads a call and makes a [`node`] of the logical
//! plan. At rest, [`exec`] computes windows over all rows there are; in a pipeline the plan is
//! split at the node, and the runtime gathers rows by the same rules.
//!
//! *Invariant:* rows keep the order of the input; the windows of one row come by their starts.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

mod call;
mod event_time;
mod exec;
mod function;
mod node;
mod planner;
mod rows;
mod sessions;
mod times;

pub(crate) use exec::WindowExec;
pub(crate) use function::function_of;
pub(crate) use node::WindowNode;

/// All kinds of windows.
pub(crate) fn functions() -> &'static [function::WindowFunction] {
    function::FUNCTIONS
}

/// The name, the call and the documentation of each kind of window.
pub(crate) fn documentation() -> impl Iterator<Item = (&'static str, String, String)> {
    function::FUNCTIONS
        .iter()
        .map(|function| (function.name, function.usage(), function.documentation()))
}

/// Makes windows known to a session's SQL planner.
///
/// # Errors
/// What DataFusion says.
pub(crate) fn register(context: &SessionContext) -> Result<(), DataFusionError> {
    context.register_relation_planner(Arc::new(planner::WindowPlanner))
}
