//! A finding in a logical plan. The optimizer sees its inputs and the expressions of their columns,
//! so filters, projections and constants inside them are treated as anywhere.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, LogicalPlan, UserDefinedLogicalNodeCore,
};

use super::declaration::{Declaration, InputDef};
use super::finding::Finding;
use super::options::OptionValues;
use super::roles::{InputTypes, Roles};
use super::stream_node::{StreamInput, StreamNode};
use crate::SqlError;
use crate::columns::{WINDOW_END, WINDOW_START, provenance};

/// An input of a finding, planned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Input {
    /// The query. Its columns have the input's name as their qualifier.
    pub(crate) plan: LogicalPlan,
    /// The roles of its columns.
    pub(crate) roles: Roles<Expr>,
    /// The columns that go along with each row that is found.
    pub(crate) carried: Vec<String>,
    /// The roles in words, for EXPLAIN.
    pub(crate) words: String,
}

impl Input {
    /// The type of each role.
    ///
    /// # Errors
    /// When an expression has none.
    pub(crate) fn types(&self) -> Result<InputTypes> {
        let schema = self.plan.schema();
        let carried = self.carried_positions().into_iter();
        let carried = carried.filter_map(|position| schema.fields().get(position).cloned());
        let vector = self.roles.vector.as_ref().map(|vector| vector.to_field(schema));
        let vector = vector.transpose()?.map(|(_, field)| provenance::said(field.metadata()));
        Ok(InputTypes {
            roles: self.roles.try_map(|role| role.get_type(schema))?,
            provenance: vector.unwrap_or_default(),
            carried: carried.collect(),
        })
    }

    /// The positions of the columns that go along.
    pub(crate) fn carried_positions(&self) -> Vec<usize> {
        let schema = self.plan.schema();
        self.carried.iter().filter_map(|name| schema.index_of_column_by_name(None, name)).collect()
    }
}

/// A finding in a logical plan.
#[derive(Clone, Debug)]
pub(crate) struct FindingNode {
    pub(crate) declaration: &'static Declaration,
    pub(crate) finding: Arc<dyn Finding>,
    /// In the order of the declaration; `None` where one was left out.
    pub(crate) inputs: Vec<Option<Input>>,
    /// The values of its options.
    pub(crate) options: OptionValues,
    plan_name: String,
    schema: DFSchemaRef,
}

impl FindingNode {
    /// The node, with its columns.
    ///
    /// # Errors
    /// When two columns would have the same name.
    pub(crate) fn new(
        declaration: &'static Declaration,
        finding: Arc<dyn Finding>,
        inputs: Vec<Option<Input>>,
        options: OptionValues,
    ) -> Result<Self> {
        let fields = fields(declaration, finding.as_ref(), &inputs)?;
        let schema = DFSchema::from_unqualified_fields(Fields::from(fields), Default::default())?;
        let plan_name = declaration.plan_name();
        Ok(Self { declaration, finding, inputs, options, plan_name, schema: Arc::new(schema) })
    }

    /// The inputs that were given.
    pub(crate) fn given(&self) -> impl Iterator<Item = &Input> {
        self.inputs.iter().flatten()
    }

    /// The finding with its inputs and options in one line, for EXPLAIN.
    pub(crate) fn describe(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let several = self.given().count() > 1;
        for (definition, input) in self.declaration.inputs.iter().zip(&self.inputs) {
            match input {
                Some(input) if several => {
                    parts.push(format!("{}=({})", definition.name, input.words));
                }
                Some(input) => parts.push(input.words.clone()),
                None => {}
            }
        }
        let own = self.declaration.options.iter();
        parts.extend(own.filter_map(|option| {
            let value = self.options.get(option.name)?;
            Some(format!("{}={value}", option.name))
        }));
        parts.retain(|part| !part.is_empty());
        parts.join(", ")
    }
}

/// The columns of the result.
fn fields(
    declaration: &'static Declaration,
    finding: &dyn Finding,
    inputs: &[Option<Input>],
) -> Result<Vec<FieldRef>> {
    let types: Vec<Option<InputTypes>> = inputs
        .iter()
        .map(|input| input.as_ref().map(Input::types).transpose())
        .collect::<Result<_>>()?;
    let mut fields: Vec<FieldRef> = Vec::new();
    let first = inputs.first().and_then(Option::as_ref);
    for group in first.iter().flat_map(|input| &input.roles.groups) {
        let data_type = first.map_or(Ok(DataType::Null), |i| group.get_type(i.plan.schema()))?;
        let name = group.qualified_name().1;
        fields.push(Arc::new(Field::new(name, data_type, true)));
    }
    fields.extend(finding.columns(&types).into_iter().map(Arc::new));
    if let Some(first) = first {
        for position in first.carried_positions() {
            let field = first.plan.schema().field(position);
            if fields.iter().any(|other| other.name() == field.name()) {
                return Err(SqlError::Statement(format!(
                    "{0}: the input already has a column '{1}'; rename it in a query: {0}((SELECT …))",
                    declaration.name,
                    field.name()
                ))
                .into());
            }
            fields.push(Arc::clone(
                first
                    .plan
                    .schema()
                    .fields()
                    .get(position)
                    .ok_or_else(|| DataFusionError::Internal("a column has no field".into()))?,
            ));
        }
    }
    Ok(fields)
}

impl PartialEq for FindingNode {
    fn eq(&self, other: &Self) -> bool {
        self.declaration.name == other.declaration.name
            && self.options == other.options
            && self.inputs == other.inputs
            // An index and the filter on its rows are in the finding.
            && (matches!(self.inputs.first(), Some(Some(_)))
                || Arc::ptr_eq(&self.finding, &other.finding))
    }
}

impl Eq for FindingNode {}

impl Hash for FindingNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.declaration.name.hash(state);
        self.options.hash(state);
        self.inputs.hash(state);
    }
}

impl PartialOrd for FindingNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl StreamNode for FindingNode {
    fn name(&self) -> &'static str {
        self.declaration.name
    }

    fn inputs(&self) -> Vec<StreamInput<'_>> {
        let declared = self.declaration.inputs.iter().zip(&self.inputs);
        let given = declared.filter_map(|(definition, input)| {
            let InputDef { by_row, one_by_one, .. } = *definition;
            Some(StreamInput { input: input.as_ref()?, by_row, one_by_one })
        });
        given.collect()
    }

    fn windows(&self) -> Option<(usize, usize)> {
        let at = |name: &str| self.schema.index_of_column_by_name(None, name);
        self.declaration.is_online().then(|| at(WINDOW_START).zip(at(WINDOW_END))).flatten()
    }

    /// Columns of the group and of the finding are made of roles; those that go along come last.
    fn made_of(&self, output: usize) -> Option<usize> {
        let first = self.inputs.first()?.as_ref()?;
        let carried = first.carried_positions();
        let before = self.schema.fields().len() - carried.len();
        carried.get(output.checked_sub(before)?).copied()
    }

    fn hands_on(&self) -> bool {
        self.declaration.carries && matches!(self.inputs.first(), Some(Some(_)))
    }

    fn width(&self) -> usize {
        self.schema.fields().len()
    }

    fn over(&self, inputs: Vec<Input>) -> Result<LogicalPlan> {
        let mut given = inputs.into_iter();
        let missing = || DataFusionError::Internal(format!("{} lacks an input", self.plan_name));
        let mut all = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            all.push(match input {
                Some(_) => Some(given.next().ok_or_else(missing)?),
                None => None,
            });
        }
        let (finding, options) = (Arc::clone(&self.finding), self.options.clone());
        let node = Arc::new(Self::new(self.declaration, finding, all, options)?);
        Ok(LogicalPlan::Extension(Extension { node }))
    }
}

impl UserDefinedLogicalNodeCore for FindingNode {
    fn name(&self) -> &str {
        &self.plan_name
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.given().map(|input| &input.plan).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.given().flat_map(|input| input.roles.all().cloned()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.plan_name, self.describe())
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let missing = || DataFusionError::Internal(format!("{} lacks an input", self.plan_name));
        let (mut exprs, mut plans) = (exprs.into_iter(), inputs.into_iter());
        let mut next = |_: &Expr| exprs.next().map(Expr::unalias).ok_or_else(missing);
        let mut changed = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            changed.push(match input {
                Some(input) => Some(Input {
                    plan: plans.next().ok_or_else(missing)?,
                    roles: input.roles.try_map(&mut next)?,
                    ..input.clone()
                }),
                None => None,
            });
        }
        Self::new(self.declaration, Arc::clone(&self.finding), changed, self.options.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let mut first: Vec<usize> =
            output_columns.iter().filter_map(|output| self.made_of(*output)).collect();
        first.sort_unstable();
        first.dedup();
        Some(
            self.given()
                .enumerate()
                .map(|(n, input)| match n {
                    0 => std::mem::take(&mut first),
                    _ => input.carried_positions(),
                })
                .collect(),
        )
    }
}
