//! Plans findings in FROM. All mistakes that can be seen without reading rows are found here.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{
    ExprSchemable, Extension, LogicalPlan, LogicalPlanBuilder, ScalarUDF, lit,
};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Query, TableFactor, Value, ValueWithSpan,
};

use super::comparable::comparable;
use super::condition::condition;
use super::inputs::{GivenColumns, Resolver, shown};
use crate::SqlError;
use crate::columns::by_name::is_vector;
use crate::columns::constant;
use crate::engine::Models;
use crate::engine::indexes::table::IndexTable;
use crate::engine::indexes::{Index, stored_vectors};
use crate::findings::declaration_of;
use crate::functions::runs_model;
use crate::relations::declaration::{Declaration, InputDef, Planning};
use crate::relations::options::{OptionDef, OptionKind, OptionValues};
use crate::relations::roles::InputTypes;
use crate::relations::row_filter::RowFilter;
use crate::relations::{FindingNode, Input, named};
use crate::syntax::names::{name_of, nearest};

/// The name that an option gives a column by; `None` for an expression.
fn name_in(given: &SqlExpr) -> Option<String> {
    match given {
        SqlExpr::Identifier(name) if name.quote_style.is_some() => Some(name.value.clone()),
        SqlExpr::Identifier(name) => Some(name.value.to_lowercase()),
        SqlExpr::Value(ValueWithSpan { value: Value::SingleQuotedString(name), .. }) => {
            Some(name.clone())
        }
        _ => None,
    }
}

/// Plans the items of FROM that are findings.
#[derive(Debug)]
pub(crate) struct FindingPlanner {
    models: Arc<Models>,
}

impl RelationPlanner for FindingPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let declaration = match &relation {
            TableFactor::Function { name, .. } => declaration_of(name),
            _ => None,
        };
        let (Some(declaration), TableFactor::Function { args, alias, .. }) =
            (declaration, &relation)
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let call = Call::read(declaration, args, context)?;
        let node = call.plan(&self.models, context)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        let alias = alias.clone().unwrap_or_else(|| named(declaration.name));
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(alias)))))
    }
}

/// Makes findings known to a session's SQL planner.
///
/// # Errors
/// What DataFusion says.
pub(crate) fn register(context: &SessionContext, models: &Arc<Models>) -> Result<()> {
    context.register_relation_planner(Arc::new(FindingPlanner { models: Arc::clone(models) }))
}

/// What a finding is called with, sorted by what it is.
struct Call {
    declaration: &'static Declaration,
    /// By the declaration's inputs.
    inputs: Vec<Option<GivenInput>>,
    columns: GivenColumns,
    options: OptionValues,
    /// The condition on the rows of the first input.
    filter: Option<SqlExpr>,
    /// The names of all that was given by name, in lower case.
    names: Vec<String>,
}

/// What an input is given as.
enum GivenInput {
    Query(Box<Query>),
    /// One text or vector.
    Single(Box<SqlExpr>),
}

impl Call {
    fn read(
        declaration: &'static Declaration,
        args: &[FunctionArg],
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Self> {
        let inputs = declaration.inputs.iter().map(|_| None).collect();
        let (columns, options, names) = Default::default();
        let mut call = Self { declaration, inputs, columns, options, filter: None, names };
        for (position, arg) in args.iter().enumerate() {
            let name = name_of(arg);
            let value = match arg {
                FunctionArg::Named { arg: FunctionArgExpr::Expr(value), .. }
                | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(value), .. }
                | FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => value,
                other => return Err(call.mistake(format!("{other} is not a value"))),
            };
            let Some(name) = name else {
                if position > 0 {
                    return Err(call.mistake(format!(
                        "{value} needs a name: write what follows the input as name => value"
                    )));
                }
                call.set_input(0, value)?;
                continue;
            };
            let name = name.to_lowercase();
            if call.names.contains(&name) {
                return Err(call.mistake(format!("{name} is given more than once")));
            }
            call.set(&name, value, context)?;
            call.names.push(name);
        }
        declaration.all_options().iter().for_each(|option| call.options.complete(option));
        call.check_inputs()?;
        Ok(call)
    }

    /// Sets what is given by name.
    fn set(
        &mut self,
        name: &str,
        value: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<()> {
        if let Some((position, _)) = self.declaration.input(name).filter(|(at, _)| *at > 0) {
            return self.set_input(position, value);
        }
        if let Some((position, input)) = self.declaration.single(name) {
            if matches!(self.inputs.get(position), Some(Some(_))) {
                return Err(self.mistake(format!(
                    "{name} and {} can't be combined; leave one out",
                    input.name
                )));
            }
            return self.put(position, GivenInput::Single(Box::new(value.clone())));
        }
        let Some(option) = self.declaration.option(name) else {
            let known = self.declaration.names();
            return Err(self.mistake(format!(
                "there is no option '{name}'; did you mean '{}'? It takes {}",
                nearest(known.iter().map(String::as_str), name),
                known.join(", ")
            )));
        };
        match option.kind {
            OptionKind::Column | OptionKind::Columns | OptionKind::Time { .. } => {
                self.columns.push((option.name, value.clone()));
                return Ok(());
            }
            OptionKind::Condition => {
                self.filter = Some(value.clone());
                return Ok(());
            }
            _ => {}
        }
        let mut value = self.constant(&option, value, context)?;
        if value.is_null() && self.declaration.is_prompt(option.name) {
            // Here NULL is not the default but none at all.
            value = ScalarValue::from("");
        }
        self.options.set(&option, &value).map_err(|error| self.mistake(error.to_string()))
    }

    fn set_input(&mut self, position: usize, value: &SqlExpr) -> Result<()> {
        let Some(input) = self.declaration.inputs.get(position) else { return Ok(()) };
        if matches!(self.inputs.get(position), Some(Some(_))) {
            let single = input.single.unwrap_or_default();
            return Err(self
                .mistake(format!("{single} and {} can't be combined; leave one out", input.name)));
        }
        let mut value = value;
        while let SqlExpr::Nested(inner) = value {
            value = inner;
        }
        match value {
            SqlExpr::Subquery(query) => self.put(position, GivenInput::Query(query.clone())),
            other => Err(self.mistake(format!(
                "the {} must be a table, a file in quotes or a query in parentheses, got {other}",
                input.name
            ))),
        }
    }

    fn put(&mut self, position: usize, source: GivenInput) -> Result<()> {
        if let Some(place) = self.inputs.get_mut(position) {
            *place = Some(source);
        }
        Ok(())
    }

    fn check_inputs(&self) -> Result<()> {
        for (position, (input, source)) in
            self.declaration.inputs.iter().zip(&self.inputs).enumerate()
        {
            if source.is_some() || !input.required {
                continue;
            }
            return Err(match (position, input.single) {
                (0, _) => DataFusionError::from(SqlError::Statement(format!(
                    "{0}: the first argument must be a table, a file in quotes or a query in parentheses: {0}(docs, …)",
                    self.declaration.name
                ))),
                (_, Some(single)) => self.mistake(format!(
                    "{single} is missing; give {single} => 'text', or {0} => a table, a file or a query",
                    input.name
                )),
                (_, None) => self.mistake(format!(
                    "{0} is missing; give {0} => a table, a file or a query",
                    input.name
                )),
            });
        }
        Ok(())
    }

    /// The value of an option, which must not depend on rows.
    fn constant(
        &self,
        option: &OptionDef,
        value: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<ScalarValue> {
        if let SqlExpr::Identifier(word) = value {
            let word = ScalarValue::from(word.value.as_str());
            let mut unquoted = OptionValues::default();
            return match unquoted.set(option, &word) {
                Ok(()) => {
                    Err(self
                        .mistake(format!("{0} must be in quotes: {0} => '{word}'", option.name)))
                }
                Err(error) => Err(self.mistake(error.to_string())),
            };
        }
        let no_constant =
            || self.mistake(format!("{} must be a constant, got {value}", option.name));
        let expr = context.sql_to_expr(value.clone(), &DFSchema::empty());
        let expr = expr.map_err(|_| no_constant())?;
        constant(expr)?.ok_or_else(no_constant)
    }

    /// Plans the inputs, finds their columns and makes the finding.
    fn plan(
        self,
        models: &Models,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<FindingNode> {
        let embed = context.context_provider().get_function_meta("embed");
        let embed = embed
            .ok_or_else(|| DataFusionError::Internal("the function embed is missing".into()))?;
        let mut index = self.index(context)?;
        let mut filter = None;
        if let (Some(known), Some(condition)) = (&index, &self.filter) {
            filter = self.index_filter(known, condition, context)?;
            // What needs more than a row is asked of the rows as a table.
            index = index.filter(|_| filter.is_some());
        }
        let mut default_model = match index.as_ref().and_then(|index| index.model()) {
            Some(model) => model.to_string(),
            None => models.default_name(),
        };
        let mut inputs: Vec<Option<Input>> = Vec::new();
        for (position, definition) in self.declaration.inputs.iter().enumerate() {
            let planned = match self.inputs.get(position) {
                _ if position == 0 && index.is_some() => None,
                Some(Some(source)) => {
                    let plan = self.source(definition, source, context)?;
                    let of_index = stored_vectors::rows_of(&plan).filter(|_| position == 0);
                    if let Some(model) = of_index.as_ref().and_then(|rows| rows.index.model()) {
                        default_model = model.to_string();
                    }
                    let first = inputs.first().and_then(Option::as_ref);
                    let input =
                        self.input(definition, plan, first, &embed, &default_model, context)?;
                    Some(input)
                }
                _ => None,
            };
            inputs.push(planned);
        }
        let types = inputs.iter().map(|input| input.as_ref().map(Input::types).transpose());
        let types: Vec<Option<InputTypes>> = types.collect::<Result<_>>()?;
        comparable(self.declaration.inputs, &types).map_err(|why| self.mistake(why))?;
        let name = self.declaration.name;
        let (options, index) = (&self.options, index.as_ref());
        let names =
            self.columns.iter().filter_map(|(option, given)| Some((*option, name_in(given)?)));
        let names: Vec<(&'static str, String)> = names.collect();
        let (inputs_types, names) = (types.as_slice(), names.as_slice());
        let planning =
            Planning { name, options, inputs: inputs_types, names, models, index, filter };
        let finding = (self.declaration.plan)(&planning).map_err(|error| self.with_name(error))?;
        FindingNode::new(self.declaration, finding, inputs, self.options)
    }

    /// The index that is named in the place of the first input.
    fn index(&self, context: &mut dyn RelationPlannerContext) -> Result<Option<Arc<Index>>> {
        let Some(Some(GivenInput::Query(query))) = self.inputs.first() else { return Ok(None) };
        let query = query.to_string();
        let Some(name) = query.strip_prefix("SELECT * FROM ") else { return Ok(None) };
        let table = TableReference::bare(name.to_lowercase());
        let table = context.context_provider().get_table_source(table).ok();
        let index = table.as_ref().and_then(IndexTable::index_in);
        if index.is_some() && !self.declaration.takes_index {
            return Ok(None);
        }
        // Groups, and the documents of some of the rows, are found by comparing rows.
        let given = |option: &str| self.names.iter().any(|name| name == option);
        let by_rows = given("partition_by") || self.filter.is_some() && given("group_by");
        Ok(index.filter(|_| !by_rows))
    }

    /// The filter on the rows of an index; the error of one that needs more than a row.
    fn index_filter(
        &self,
        index: &Index,
        filter: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Option<Arc<RowFilter>>> {
        let input = self.declaration.inputs.first().map_or("", |input| input.name);
        let schema = DFSchema::try_from_qualified_schema(input, &index.schema)?;
        let condition = condition(self.declaration.name, filter, &schema, context)?;
        // Models run once for all rows, where they can be stopped.
        if condition.exists(|part| Ok(runs_model(part)))? {
            return Ok(None);
        }
        Ok(RowFilter::new(condition, &Arc::new(schema)).ok().map(Arc::new))
    }

    /// The query of an input, its columns qualified by the input's name.
    fn source(
        &self,
        definition: &'static InputDef,
        source: &GivenInput,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        match source {
            GivenInput::Query(query) => {
                let plan = context.plan(TableFactor::Derived {
                    lateral: false,
                    subquery: query.clone(),
                    alias: Some(named(definition.name)),
                    sample: None,
                })?;
                let is_first = self.declaration.inputs.first().map(|input| input.name);
                match &self.filter {
                    Some(filter) if is_first == Some(definition.name) => {
                        self.filtered(plan, filter, context)
                    }
                    _ => Ok(plan),
                }
            }
            GivenInput::Single(value) => {
                let name = definition.single.unwrap_or(definition.name);
                let shown = value.to_string();
                let value = context.sql_to_expr(value.as_ref().clone(), &DFSchema::empty())?;
                let data_type = value.get_type(&DFSchema::empty())?;
                if !data_type.is_string() && !is_vector(&data_type) {
                    return Err(self.mistake(format!(
                        "{name} must be a text or a vector (a list of numbers), got {shown}"
                    )));
                }
                LogicalPlanBuilder::empty(true)
                    .project(vec![lit(0_u64).alias("id"), value.alias(name)])?
                    .alias(definition.name)?
                    .build()
            }
        }
    }

    /// The rows of an input that meet a condition.
    fn filtered(
        &self,
        plan: LogicalPlan,
        filter: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let condition = condition(self.declaration.name, filter, plan.schema(), context)?;
        LogicalPlanBuilder::from(plan).filter(condition)?.build()
    }

    fn input(
        &self,
        definition: &'static InputDef,
        plan: LogicalPlan,
        first: Option<&Input>,
        embed: &ScalarUDF,
        default_model: &str,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Input> {
        let resolver = Resolver {
            declaration: self.declaration,
            input: definition,
            is_first: self.declaration.inputs.first().is_some_and(|i| i.name == definition.name),
            plan: &plan,
            schema: plan.schema(),
            given: &self.columns,
            names_given: &self.names,
            options: &self.options,
            embed,
            default_model,
        };
        let is_first = resolver.is_first;
        let (mut roles, words) = resolver.roles(context)?;
        if let Some(first) = first {
            if let (Some(id), Some(other)) = (&mut roles.id, &first.roles.id) {
                let (own, wanted) =
                    (id.get_type(plan.schema())?, other.get_type(first.plan.schema())?);
                let alike = own.is_string() && wanted.is_string()
                    || own.is_integer() && wanted.is_integer();
                if alike {
                    *id = std::mem::take(id).cast_to(&wanted, plan.schema())?;
                }
            }
            for (group, other) in roles.groups.iter_mut().zip(&first.roles.groups) {
                let wanted = other.get_type(first.plan.schema())?;
                *group = std::mem::take(group).cast_to(&wanted, plan.schema())?;
            }
        }
        let mut carried = Vec::new();
        if is_first && self.declaration.carries || definition.carried_as.is_some() {
            // Of a further input, the text is in the result already and the vector is of no use.
            let further = roles.text.iter().chain(&roles.vector).filter(|_| !is_first);
            let shown_already: Vec<String> =
                roles.id.iter().chain(&roles.groups).chain(further).map(shown).collect();
            let names = plan.schema().fields().iter().map(|field| field.name().clone());
            carried = names.filter(|name| !shown_already.contains(name)).collect();
        }
        Ok(Input { plan, roles, carried, words })
    }

    fn with_name(&self, error: SqlError) -> SqlError {
        match error {
            SqlError::Statement(message) if !message.starts_with(self.declaration.name) => {
                SqlError::Statement(format!("{}: {message}", self.declaration.name))
            }
            other => other,
        }
    }

    fn mistake(&self, message: String) -> DataFusionError {
        SqlError::Statement(format!("{}: {message}", self.declaration.name)).into()
    }
}
