//! Plans windows in FROM.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, TableFactor, Value, ValueWithSpan};

use super::call::Call;
use super::event_time::event_times;
use super::function::function_of;
use super::node::WindowNode;
use crate::relations::named;
use crate::syntax::names::columns_hint;

/// The name of the input in plans.
const INPUT: &str = "input";

/// Plans the items of FROM that are windows.
#[derive(Debug)]
pub(super) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let function = match &relation {
            TableFactor::Function { name, .. } => function_of(name),
            _ => None,
        };
        let (Some(function), TableFactor::Function { args, alias, .. }) = (function, &relation)
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let call = Call::read(function, args, context)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node(&call, context)?) });
        let alias = alias.clone().unwrap_or_else(|| named(function.name));
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
    }
}

fn node(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<WindowNode> {
    let input = context.plan(TableFactor::Derived {
        lateral: false,
        subquery: call.input.clone(),
        alias: Some(named(INPUT)),
        sample: None,
    })?;
    let time = time(call, &input, context)?;
    let schema = input.schema();
    let keys = call.keys.iter().map(|key| column(call, "partition_by", key, schema, context));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    WindowNode::new(input, time, call.kind, keys, (call.early_us, call.lateness_us))
}

/// The position of the column that windows go by.
fn time(
    call: &Call,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<usize> {
    let schema = input.schema();
    let known = event_times(input);
    let Some(given) = &call.time else {
        return known.first().copied().ok_or_else(|| {
            call.mistake(format!(
                "name the column with the time of a row, as the input is not a source with a watermark: {}",
                call.function.usage()
            ))
        });
    };
    let time = column(call, "time", given, schema, context)?;
    let data_type = schema.field(time).data_type();
    if !matches!(data_type, DataType::Timestamp(..) | DataType::Date32) {
        return Err(call.mistake(format!(
            "time must be a timestamp or a date, got {given}, which is {data_type}"
        )));
    }
    match known.first() {
        Some(first) if !known.contains(&time) => Err(call.mistake(format!(
            "time must be {}, the column that the source has a watermark for, got {given}",
            schema.field(*first).name()
        ))),
        _ => Ok(time),
    }
}

/// The position of a column that is named, bare or in quotes.
fn column(
    call: &Call,
    parameter: &str,
    given: &SqlExpr,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> Result<usize> {
    let name = match given {
        SqlExpr::Identifier(name) => context.normalize_ident(name.clone()),
        SqlExpr::CompoundIdentifier(parts) => match parts.last() {
            Some(name) => context.normalize_ident(name.clone()),
            None => String::new(),
        },
        SqlExpr::Value(ValueWithSpan { value: Value::SingleQuotedString(name), .. }) => {
            name.clone()
        }
        other => {
            return Err(call.mistake(format!(
                "{parameter} must be a column, got {other}; compute it in a query and name it, {}((SELECT …), …)",
                call.function.name
            )));
        }
    };
    schema.index_of_column_by_name(None, &name).ok_or_else(|| {
        let columns: Vec<&str> =
            schema.fields().iter().map(|field| field.name().as_str()).collect();
        let hint = columns_hint(parameter, &name, &columns);
        call.mistake(format!("the input has no column '{name}'; {hint}"))
    })
}
