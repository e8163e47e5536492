//! A window in a logical plan. The optimizer prunes the columns of its input as anywhere, and moves
//! filters below it where they can't change which rows a window has.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use sembla_runtime::window::WindowKind;

use super::function::WindowFunction;
use crate::SqlError;
use crate::columns::interval::Shown;
use crate::columns::{TIME_TYPE, WINDOW_END, WINDOW_PANE, WINDOW_START};

/// A window in a logical plan.
#[derive(Clone, Debug)]
pub(crate) struct WindowNode {
    /// The rows.
    pub(crate) input: LogicalPlan,
    /// The position of the column of the input that windows go by.
    pub(crate) time: usize,
    /// How rows are put into windows.
    pub(crate) kind: WindowKind,
    /// The positions of the columns of the input that are a session's key.
    pub(crate) keys: Vec<usize>,
    /// How often an open window of a stream gives a result, in microseconds.
    pub(crate) early_us: Option<i64>,
    /// How long after its end a window of a stream still takes rows, in microseconds.
    pub(crate) lateness_us: Option<i64>,
    schema: DFSchemaRef,
}

impl WindowNode {
    /// The node, with its columns: those of the input, then those of the window.
    ///
    /// # Errors
    /// When the input has a column of the name of one of the window's.
    pub(super) fn new(
        input: LogicalPlan,
        time: usize,
        kind: WindowKind,
        keys: Vec<usize>,
        (early_us, lateness_us): (Option<i64>, Option<i64>),
    ) -> Result<Self> {
        let mut columns: Vec<(Option<TableReference>, FieldRef)> = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .collect();
        let own =
            [(WINDOW_START, TIME_TYPE), (WINDOW_END, TIME_TYPE), (WINDOW_PANE, DataType::Utf8)];
        let has_pane = early_us.is_some() || lateness_us.is_some();
        for (name, data_type) in own.into_iter().take(if has_pane { 3 } else { 2 }) {
            if columns.iter().any(|(_, field)| field.name() == name) {
                return Err(SqlError::Statement(format!(
                    "{0}: the input already has a column '{name}'; rename it in a query: {0}((SELECT …), …)",
                    WindowFunction::of(&kind)
                ))
                .into());
            }
            columns.push((None, Arc::new(Field::new(name, data_type, false))));
        }
        let metadata = input.schema().metadata().clone();
        let schema = Arc::new(DFSchema::new_with_metadata(columns, metadata)?);
        Ok(Self { input, time, kind, keys, early_us, lateness_us, schema })
    }

    /// The same window over an input that has the columns of this one's first.
    ///
    /// # Errors
    /// As for [`WindowNode::new`].
    pub(crate) fn over(&self, input: LogicalPlan) -> Result<Self> {
        let panes = (self.early_us, self.lateness_us);
        Self::new(input, self.time, self.kind, self.keys.clone(), panes)
    }

    /// Whether there is the column `window_pane`.
    pub(crate) fn has_pane(&self) -> bool {
        self.early_us.is_some() || self.lateness_us.is_some()
    }

    /// Whether windows depend on what other rows there are.
    pub(crate) fn is_session(&self) -> bool {
        matches!(self.kind, WindowKind::Session { .. })
    }

    /// The name of a column of the input.
    pub(super) fn name_of(&self, position: usize) -> &str {
        self.input.schema().field(position).name()
    }

    fn column(&self, position: usize) -> Expr {
        Expr::Column(Column::from(self.input.schema().qualified_field(position)))
    }
}

/// The window as it could be written, without its input: `tumble(time => ts, size => 10 minutes)`.
impl fmt::Display for WindowNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = vec![format!("time => {}", self.name_of(self.time))];
        let mut add = |name: &str, us: i64| parts.push(format!("{name} => {}", Shown(us)));
        let offset_us = match self.kind {
            WindowKind::Tumble { size_us, offset_us } => {
                add("size", size_us);
                offset_us
            }
            WindowKind::Hop { slide_us, size_us, offset_us } => {
                add("slide", slide_us);
                add("size", size_us);
                offset_us
            }
            WindowKind::Session { gap_us } => {
                add("gap", gap_us);
                0
            }
        };
        if offset_us != 0 {
            add("offset", offset_us);
        }
        if let Some(early) = self.early_us {
            add("early", early);
        }
        if let Some(lateness) = self.lateness_us {
            add("lateness", lateness);
        }
        if !self.keys.is_empty() {
            let keys: Vec<&str> = self.keys.iter().map(|key| self.name_of(*key)).collect();
            parts.push(format!("partition_by => ({})", keys.join(", ")));
        }
        write!(f, "{}({})", WindowFunction::of(&self.kind), parts.join(", "))
    }
}

impl PartialEq for WindowNode {
    fn eq(&self, other: &Self) -> bool {
        let parts = |node: &Self| (node.time, node.kind, node.early_us, node.lateness_us);
        parts(self) == parts(other) && self.keys == other.keys && self.input == other.input
    }
}

impl Eq for WindowNode {}

impl Hash for WindowNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        WindowFunction::of(&self.kind).hash(state);
        (self.time, self.early_us, self.lateness_us).hash(state);
        self.keys.hash(state);
        self.input.hash(state);
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "TimeWindow"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        [self.time].iter().chain(&self.keys).map(|position| self.column(*position)).collect()
    }

    /// A row's own window doesn't depend on other rows, so fewer of them change nothing. For a
    /// session they do, unless all rows of a key go.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let own = [WINDOW_START, WINDOW_END, WINDOW_PANE].map(str::to_string);
        let mut prevented: HashSet<String> = own.into_iter().collect();
        if self.is_session() {
            let names = self.input.schema().fields().iter().map(|field| field.name().clone());
            prevented.extend(names);
            for key in &self.keys {
                prevented.remove(self.name_of(*key));
            }
        }
        prevented
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "TimeWindow: {self}")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let broken = || DataFusionError::Internal("a window lost a column of its input".into());
        let input = inputs.into_iter().next().ok_or_else(broken)?;
        let mut positions = exprs.into_iter().map(|expr| match expr.unalias() {
            Expr::Column(column) => input.schema().index_of_column(&column),
            _ => Err(broken()),
        });
        let time = positions.next().ok_or_else(broken)??;
        let keys = positions.collect::<Result<Vec<_>>>()?;
        Self::new(input, time, self.kind, keys, (self.early_us, self.lateness_us))
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|column| *column < inputs).collect()])
    }
}
