//! Named arguments of Sembla's functions: `embed(text, prompt => 'query')`.
//!
//! DataFusion resolves names too, but rejects a call that leaves out a parameter before a given
//! one. So calls of Sembla's functions are rewritten in the parsed statement: arguments go to their
//! places, and what is left out becomes NULL, which these functions take for their default.
//!
//! The same pass makes sub-queries of the inputs of findings and windows (`rewrite`), so
//! that calls inside them are reached too, makes names of calls that read files (`files::calls`),
//! and looks at the other items of FROM (`from_items`).

use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{
    BinaryExpr, Expr as LogicalExpr, ExprSchemable, LogicalPlan, Operator,
};
use datafusion::sql::parser::{CopyToSource, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, TableFactor,
    Value, VisitMut, VisitorMut,
};

use super::from_items::Known;
use super::rewrite;
use crate::syntax::names::{name_of, nearest};
use crate::{SqlError, files};

/// Puts the named arguments of every call in a statement into their places.
///
/// # Errors
/// [`SqlError::Statement`] for an unknown name (with the nearest known one), a parameter that is
/// given twice, and a positional argument after a named one.
pub(crate) fn place(statement: &mut DfStatement, known: &Known<'_>) -> Result<Placed, SqlError> {
    let mut placing = Placing { known, placed: Placed::default() };
    let flow = match statement {
        DfStatement::Statement(statement) => statement.visit(&mut placing),
        DfStatement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => query.visit(&mut placing),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        DfStatement::Explain(explain) => return place(&mut explain.statement, known),
        DfStatement::CreateExternalTable(_) | DfStatement::Reset(_) => ControlFlow::Continue(()),
    };
    match flow {
        ControlFlow::Continue(()) => Ok(placing.placed),
        ControlFlow::Break(error) => Err(error),
    }
}

/// What was seen in a statement that only its plan can judge.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Placed {
    /// `<=>`, which is a distance of vectors elsewhere and `IS NOT DISTINCT FROM` here.
    has_spaceship: bool,
}

impl Placed {
    /// Checks the plan of the statement.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for `<=>` between vectors.
    pub(crate) fn check(self, plan: &LogicalPlan) -> Result<(), SqlError> {
        if !self.has_spaceship {
            return Ok(());
        }
        let mut is_distance = false;
        plan.apply_with_subqueries(|node| {
            for input in node.inputs() {
                node.apply_expressions(|expr| {
                    expr.apply(|expr| {
                        if let LogicalExpr::BinaryExpr(BinaryExpr { left, op, .. }) = expr {
                            let is_list = left.get_type(input.schema()).is_ok_and(|t| t.is_list());
                            is_distance |= *op == Operator::IsNotDistinctFrom && is_list;
                        }
                        Ok(TreeNodeRecursion::Continue)
                    })
                })?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match is_distance {
            true => Err(SqlError::Statement(
                "a <=> b compares two values for equality; for the distance of vectors use cosine_distance(a, b), l2_distance(a, b) or \
                 inner_product(a, b)"
                    .into(),
            )),
            false => Ok(()),
        }
    }
}

struct Placing<'a> {
    known: &'a Known<'a>,
    placed: Placed,
}

impl VisitorMut for Placing<'_> {
    type Break = SqlError;

    fn pre_visit_table_factor(&mut self, relation: &mut TableFactor) -> ControlFlow<SqlError> {
        files::as_names(relation);
        if let Err(error) = rewrite::inputs_as_queries(relation) {
            return ControlFlow::Break(SqlError::Bug(error.to_string()));
        }
        match self.known.check(relation) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        self.placed.has_spaceship |=
            matches!(expr, Expr::BinaryOp { op: BinaryOperator::Spaceship, .. });
        if let Expr::Function(function) = expr
            && let Err(error) = self.place_call(function)
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }
}

impl Placing<'_> {
    fn place_call(&self, function: &mut Function) -> Result<(), SqlError> {
        let name = function.name.to_string().to_lowercase();
        let (Some(parameters), FunctionArguments::List(list)) =
            (self.known.parameters.get(&name), &mut function.args)
        else {
            return Ok(());
        };
        if list.args.iter().all(|arg| matches!(arg, FunctionArg::Unnamed(_))) {
            return Ok(());
        }
        let mut places: Vec<Option<FunctionArgExpr>> = Vec::new();
        let mut named = false;
        for arg in std::mem::take(&mut list.args) {
            let (position, value) = match split(arg) {
                (None, _) if named => {
                    return Err(SqlError::Statement(format!(
                        "{name}: an argument without a name can't follow one with a name"
                    )));
                }
                (None, value) => (places.len(), value),
                (Some(given), value) => {
                    named = true;
                    (position_of(&name, parameters, &given)?, value)
                }
            };
            if places.len() <= position {
                places.resize(position + 1, None);
            }
            match places.get_mut(position) {
                Some(place @ None) => *place = Some(value),
                _ => {
                    let parameter = parameters.get(position).map(String::as_str);
                    return Err(SqlError::Statement(format!(
                        "{name}: {} is given more than once",
                        parameter.unwrap_or_default()
                    )));
                }
            }
        }
        let null = || FunctionArgExpr::Expr(Expr::Value(Value::Null.into()));
        list.args = places
            .into_iter()
            .map(|place| FunctionArg::Unnamed(place.unwrap_or_else(null)))
            .collect();
        Ok(())
    }
}

/// An argument's name, if it has one, and its value.
fn split(arg: FunctionArg) -> (Option<String>, FunctionArgExpr) {
    let name = name_of(&arg);
    match arg {
        FunctionArg::Unnamed(value)
        | FunctionArg::Named { arg: value, .. }
        | FunctionArg::ExprNamed { arg: value, .. } => (name, value),
    }
}

fn position_of(function: &str, parameters: &[String], given: &str) -> Result<usize, SqlError> {
    let found = parameters.iter().position(|known| known.eq_ignore_ascii_case(given));
    found.ok_or_else(|| {
        SqlError::Statement(format!(
            "{function} has no argument '{given}'; did you mean '{}'? It takes {}",
            nearest(parameters.iter().map(String::as_str), given),
            parameters.join(", ")
        ))
    })
}
