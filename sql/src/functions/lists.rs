//! DataFusion's functions that make a new list of numbers, for lists from any writer: their
//! arguments get the names of items that these functions expect.

use datafusion::functions_nested::array_add::array_add_udf;
use datafusion::functions_nested::array_scale::array_scale_udf;
use datafusion::functions_nested::array_subtract::array_subtract_udf;

use super::declaration::Declaration;
use super::kernel::{ScalarDef, StandIn};
use crate::SqlError;

pub(super) static ARRAY_ADD: ScalarDef =
    theirs("array_add", StandIn { theirs: array_add_udf, ours: |_| false });
pub(super) static ARRAY_SCALE: ScalarDef =
    theirs("array_scale", StandIn { theirs: array_scale_udf, ours: |_| false });
pub(super) static ARRAY_SUBTRACT: ScalarDef =
    theirs("array_subtract", StandIn { theirs: array_subtract_udf, ours: |_| false });

/// A function that is DataFusion's for every type.
const fn theirs(name: &'static str, stands_in: StandIn) -> ScalarDef {
    ScalarDef {
        declaration: Declaration {
            name,
            aliases: &[],
            parameters: &[],
            required: 0,
            about: "",
            example: "",
        },
        runs_model: false,
        stands_in: Some(stands_in),
        returns: |call| Err(SqlError::Bug(format!("{} is DataFusion's", call.name))),
        values: |call| Err(SqlError::Bug(format!("{} is DataFusion's", call.name)).into()),
    }
}
