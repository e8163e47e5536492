//! Reads the static tables of a pipeline once, when it starts.
//!
//! A plan of a stream runs for every micro-batch. What it joins with or searches in does not change
//! between runs, so it is read, and embedded, once and kept in memory, borrowed from the session's
//! memory pool. A pipeline sees its static tables as they were when it started.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection, TableScan, TableScanBuilder};
use datafusion::physical_plan::collect;

use super::columns;
use super::feed::reads_feed;
use super::row_wise::any_input;
use crate::SqlError;
use crate::relations::{Input, Roles, stream_node};

/// The name of a kept table in plans.
const KEPT: &str = "static_table";

/// The static tables of a pipeline, in memory.
#[derive(Debug)]
pub(super) struct StaticTables {
    state: SessionState,
    memory: MemoryReservation,
    /// What was read, by its plan; one that is read twice is kept once.
    kept: Vec<(LogicalPlan, LogicalPlan)>,
}

impl StaticTables {
    /// Nothing yet.
    pub(super) fn new(state: &SessionState) -> Self {
        let pool = &state.runtime_env().memory_pool;
        let memory = MemoryConsumer::new("static tables of a stream").register(pool);
        Self { state: state.clone(), memory, kept: Vec::new() }
    }

    /// The plan over feeds with everything else that it reads in memory.
    ///
    /// # Errors
    /// What reading says, and [`SqlError::Resources`] when the memory limit does not suffice.
    pub(super) async fn settle(&mut self, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        for read in wanted(&plan)? {
            if !self.kept.iter().any(|(known, _)| *known == read) {
                let kept = self.read(&read).await?;
                self.kept.push((read, kept));
            }
        }
        let kept = |plan: &LogicalPlan| {
            self.kept.iter().find(|(known, _)| known == plan).map(|(_, kept)| kept.clone())
        };
        let settled = plan.transform_down(|step| match step {
            LogicalPlan::Join(mut join) => {
                let sides = (kept(&join.left), kept(&join.right));
                let changed = sides.0.is_some() || sides.1.is_some();
                join.left = sides.0.map_or(join.left, Arc::new);
                join.right = sides.1.map_or(join.right, Arc::new);
                let join = LogicalPlan::Join(join).recompute_schema()?;
                Ok(if changed { Transformed::yes(join) } else { Transformed::no(join) })
            }
            LogicalPlan::Extension(extension) => {
                let mut inputs = Vec::new();
                let mut changed = false;
                let node = stream_node(&extension);
                for given in node.iter().flat_map(|node| node.inputs()) {
                    let mut input = given.input.clone();
                    let (with_roles, over_roles) = roles_made(&input)?;
                    if let Some(kept) = kept(&with_roles) {
                        input.plan = kept;
                        input.roles = over_roles;
                        changed = true;
                    }
                    inputs.push(input);
                }
                match node {
                    Some(node) if changed => Ok(Transformed::yes(node.over(inputs)?)),
                    _ => Ok(Transformed::no(LogicalPlan::Extension(extension))),
                }
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(settled.data)
    }

    /// Reads a plan into memory; the result has the same columns under the same names.
    async fn read(&mut self, plan: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let physical = self.state.create_physical_plan(plan).await?;
        let rows = collect(physical, self.state.task_ctx()).await?;
        let bytes: usize = rows.iter().map(|batch| batch.get_array_memory_size()).sum();
        self.memory.try_grow(bytes)?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let names = (0..schema.fields().len()).map(|n| format!("c{n}"));
        let fields = schema.fields().iter().zip(names);
        let fields: Vec<_> =
            fields.map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
        let renamed = Arc::new(arrow::datatypes::Schema::new(fields));
        let rows = rows.into_iter().map(|batch| {
            arrow::array::RecordBatch::try_new(Arc::clone(&renamed), batch.columns().to_vec())
        });
        let rows =
            rows.collect::<Result<Vec<_>, _>>().map_err(|e| crate::error::arrow_error(&e))?;
        let table = MemTable::try_new(Arc::clone(&renamed), vec![rows])?;
        let scan = TableScanBuilder::new(KEPT, provider_as_source(Arc::new(table))).build()?;
        Ok(columns::under_names(scan, plan.schema().iter())?)
    }
}

/// Whether a plan reads any table; what doesn't is cheaper to make again.
fn reads_tables(plan: &LogicalPlan) -> Result<bool, SqlError> {
    any_input(plan, |step| matches!(step, LogicalPlan::TableScan(TableScan { .. })))
}

/// What is to be read once: the sides of joins and the inputs of findings without a feed.
fn wanted(plan: &LogicalPlan) -> Result<Vec<LogicalPlan>, SqlError> {
    let mut wanted = Vec::new();
    plan.apply(|step| {
        if !reads_feed(step)? {
            return Ok(TreeNodeRecursion::Jump);
        }
        match step {
            LogicalPlan::Join(Join { left, right, .. }) => {
                for side in [left, right] {
                    if !reads_feed(side)? && reads_tables(side)? {
                        wanted.push(side.as_ref().clone());
                    }
                }
            }
            LogicalPlan::Extension(extension) => {
                let node = stream_node(extension);
                for given in node.iter().flat_map(|node| node.inputs()) {
                    if !reads_feed(given.plan())? {
                        wanted.push(roles_made(given.input)?.0);
                    }
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(wanted)
}

/// The plan of an input with its roles as columns, so that texts are embedded with it, and the
/// roles that name these columns.
fn roles_made(input: &Input) -> datafusion::error::Result<(LogicalPlan, Roles<Expr>)> {
    let mut exprs: Vec<Expr> = columns::all(input.plan.schema()).collect();
    let mut made = 0;
    let roles = input.roles.try_map(|role| {
        if matches!(role, Expr::Column(_)) {
            return Ok::<_, datafusion::error::DataFusionError>(role.clone());
        }
        let name = format!("__sembla_role_{made}");
        made += 1;
        exprs.push(role.clone().alias(&name));
        Ok(Expr::Column(Column::new_unqualified(name)))
    })?;
    let plan = Projection::try_new(exprs, Arc::new(input.plan.clone()))?;
    Ok((LogicalPlan::Projection(plan), roles))
}
