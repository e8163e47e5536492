//! Whether a plan above a window treats each window by itself, so that running it window by window
//! gives the rows that it gives over all windows at once.
//!
//! Each step of the plan is asked which of its output columns are the window's start and end; a
//! step that brings rows together must do so within equal values of them.

use datafusion::common::JoinType;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Join, LogicalPlan, Operator, Unnest, Window,
};

use super::columns::position;
use super::row_wise::any_input;
use crate::SqlError;
use crate::relations::{StreamNode, stream_node};

/// Which output columns of a step are the window's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marks {
    start: Vec<usize>,
    end: Vec<usize>,
}

impl Marks {
    /// The marks where output column n is input column `of(n)`.
    fn mapped(&self, columns: usize, of: impl Fn(usize) -> Option<usize>) -> Self {
        let pick = |marked: &[usize]| {
            (0..columns).filter(|n| of(*n).is_some_and(|from| marked.contains(&from))).collect()
        };
        Self { start: pick(&self.start), end: pick(&self.end) }
    }

    /// The columns that are marked in both.
    fn common(&self, other: &Self) -> Self {
        let both = |a: &[usize], b: &[usize]| -> Vec<usize> {
            a.iter().copied().filter(|n| b.contains(n)).collect()
        };
        Self { start: both(&self.start, &other.start), end: both(&self.end, &other.end) }
    }

    fn shifted(&self, by: usize) -> Self {
        let shift = |marked: &[usize]| marked.iter().map(|n| n + by).collect();
        Self { start: shift(&self.start), end: shift(&self.end) }
    }

    /// Whether rows with equal values of some columns are of one window. The windows of one kind
    /// have one length, so either end tells; sessions need both.
    fn settled_by(&self, columns: &[usize], both: bool) -> bool {
        let has = |marked: &[usize]| marked.iter().any(|n| columns.contains(n));
        if both { has(&self.start) && has(&self.end) } else { has(&self.start) || has(&self.end) }
    }
}

/// What is asked of a plan.
pub(super) struct Keyed<'a> {
    /// Whether a node is the window's feed, whose last columns are its start and end.
    pub(super) is_window: &'a dyn Fn(&LogicalPlan) -> bool,
    /// Columns of the window's feed that are the start and the end.
    pub(super) columns: (usize, usize),
    /// Whether windows differ in length.
    pub(super) are_sessions: bool,
}

impl Keyed<'_> {
    /// Checks a plan above windows.
    ///
    /// # Errors
    /// [`SqlError::Statement`] that names the first step that brings windows together, and the
    /// fix.
    pub(super) fn check(&self, plan: &LogicalPlan) -> Result<(), SqlError> {
        self.marks(plan).map(|_| ())
    }

    fn reads_window(&self, plan: &LogicalPlan) -> Result<bool, SqlError> {
        any_input(plan, self.is_window)
    }

    fn marks(&self, plan: &LogicalPlan) -> Result<Marks, SqlError> {
        if (self.is_window)(plan) {
            return Ok(Marks { start: vec![self.columns.0], end: vec![self.columns.1] });
        }
        if !self.reads_window(plan)? {
            return Ok(Marks::default());
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                let schema = projection.input.schema();
                let marks = self.marks(&projection.input)?;
                let of = |n: usize| projection.expr.get(n).and_then(|expr| position(expr, schema));
                Ok(marks.mapped(projection.expr.len(), of))
            }
            LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Repartition(_) => {
                self.only_input(plan)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.only_input(plan),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Err(SqlError::Statement(
                "LIMIT would count the rows of all windows together; number the rows of each window instead: row_number() OVER (PARTITION BY \
                 window_start, window_end ORDER BY …) AS n … WHERE n <= 10"
                    .into(),
            )),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.over(window),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => {
                let mut all = union.inputs.iter().map(|input| self.marks(input));
                let first = all.next().transpose()?.unwrap_or_default();
                all.try_fold(first, |sum, next| Ok(sum.common(&next?)))
            }
            LogicalPlan::Distinct(distinct) => self.distinct(distinct),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Extension(extension) => match stream_node(extension) {
                Some(node) => self.node(node),
                None => Err(across(extension.node.name())),
            },
            other => Err(across(&other.display().to_string())),
        }
    }

    fn only_input(&self, plan: &LogicalPlan) -> Result<Marks, SqlError> {
        match plan.inputs().as_slice() {
            [input] => self.marks(input),
            _ => Ok(Marks::default()),
        }
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<Marks, SqlError> {
        let schema = aggregate.input.schema();
        let marks = self.marks(&aggregate.input)?;
        let grouped: Vec<usize> =
            aggregate.group_expr.iter().filter_map(|expr| position(expr, schema)).collect();
        let sets = aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
        if sets || !marks.settled_by(&grouped, self.are_sessions) {
            return Err(SqlError::Statement(
                "an aggregate over a windowed stream needs GROUP BY window_start, window_end"
                    .into(),
            ));
        }
        let of = |n: usize| aggregate.group_expr.get(n).and_then(|expr| position(expr, schema));
        Ok(marks.mapped(aggregate.group_expr.len(), of))
    }

    fn over(&self, window: &Window) -> Result<Marks, SqlError> {
        let schema = window.input.schema();
        let marks = self.marks(&window.input)?;
        for expr in &window.window_expr {
            let Expr::WindowFunction(function) = expr.clone().unalias() else { continue };
            let WindowFunctionParams { partition_by, .. } = &function.params;
            let parts: Vec<usize> =
                partition_by.iter().filter_map(|expr| position(expr, schema)).collect();
            if !marks.settled_by(&parts, self.are_sessions) {
                return Err(SqlError::Statement(
                    "OVER on a windowed stream needs PARTITION BY window_start, window_end".into(),
                ));
            }
        }
        Ok(marks)
    }

    fn join(&self, join: &Join) -> Result<Marks, SqlError> {
        let (left, right) = (self.marks(&join.left)?, self.marks(&join.right)?);
        let width = join.left.schema().fields().len();
        let in_left = self.reads_window(&join.left)?;
        let in_right = self.reads_window(&join.right)?;
        if in_left && in_right && !self.joined_on_windows(join, &left, &right) {
            return Err(SqlError::Statement(
                "the join does not say that both windows are the same; add a.window_start = b.window_start AND a.window_end = b.window_end to the \
                 condition of JOIN … ON"
                    .into(),
            ));
        }
        let keeps_window = match join.join_type {
            JoinType::Inner => true,
            JoinType::Left => in_left,
            JoinType::Right => in_right,
            JoinType::Full => in_left && in_right,
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => in_left,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => in_right,
        };
        if !keeps_window {
            return Err(SqlError::Statement(format!(
                "this {} JOIN returns rows of a static table that no window matches; make the window the side that is kept",
                join.join_type
            )));
        }
        Ok(match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right,
            _ => {
                let right = right.shifted(width);
                let all = |a: &[usize], b: &[usize]| [a, b].concat();
                Marks { start: all(&left.start, &right.start), end: all(&left.end, &right.end) }
            }
        })
    }

    /// Whether the condition of a join equates the windows of both sides.
    fn joined_on_windows(&self, join: &Join, left: &Marks, right: &Marks) -> bool {
        let (l, r) = (join.left.schema(), join.right.schema());
        let mut equal: Vec<(usize, usize)> = Vec::new();
        let mut note = |a: &Expr, b: &Expr| {
            if let (Some(a), Some(b)) = (position(a, l), position(b, r)) {
                equal.push((a, b));
            } else if let (Some(a), Some(b)) = (position(b, l), position(a, r)) {
                equal.push((a, b));
            }
        };
        join.on.iter().for_each(|(a, b)| note(a, b));
        for condition in join.filter.iter().flat_map(split_conjunction) {
            if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition {
                note(left, right);
            }
        }
        let starts = equal.iter().any(|(a, b)| left.start.contains(a) && right.start.contains(b));
        let ends = equal.iter().any(|(a, b)| left.end.contains(a) && right.end.contains(b));
        if self.are_sessions { starts && ends } else { starts || ends }
    }

    fn distinct(&self, distinct: &Distinct) -> Result<Marks, SqlError> {
        let (marks, columns) = match distinct {
            Distinct::All(input) => {
                let all: Vec<usize> = (0..input.schema().fields().len()).collect();
                (self.marks(input)?, all)
            }
            Distinct::On(on) => {
                let schema = on.input.schema();
                let columns: Vec<usize> =
                    on.on_expr.iter().filter_map(|expr| position(expr, schema)).collect();
                let marks = self.marks(&on.input)?;
                let of = |n: usize| on.select_expr.get(n).and_then(|e| position(e, schema));
                if !marks.settled_by(&columns, self.are_sessions) {
                    return Err(across("DISTINCT ON"));
                }
                return Ok(marks.mapped(on.select_expr.len(), of));
            }
        };
        match marks.settled_by(&columns, self.are_sessions) {
            true => Ok(marks),
            false => Err(across("DISTINCT")),
        }
    }

    fn unnest(&self, unnest: &Unnest) -> Result<Marks, SqlError> {
        let marks = self.marks(&unnest.input)?;
        let of = |n: usize| unnest.dependency_indices.get(n).copied();
        Ok(marks.mapped(unnest.dependency_indices.len(), of))
    }

    fn node(&self, node: &dyn StreamNode) -> Result<Marks, SqlError> {
        let mut found = Marks::default();
        for (number, input) in node.inputs().iter().enumerate() {
            if !self.reads_window(input.plan())? {
                continue;
            }
            let marks = self.marks(input.plan())?;
            if input.one_by_one {
                return Ok(marks.mapped(node.width(), |n| node.made_of(n)));
            }
            let schema = input.plan().schema();
            let groups: Vec<Option<usize>> =
                input.groups().iter().map(|group| position(group, schema)).collect();
            let known: Vec<usize> = groups.iter().flatten().copied().collect();
            if node.windows().is_none() && !marks.settled_by(&known, self.are_sessions) {
                return Err(SqlError::Statement(format!(
                    "{} over a windowed stream needs partition_by => (window_start, window_end)",
                    node.name()
                )));
            }
            if number == 0 {
                found = marks.mapped(groups.len(), |n| groups.get(n).copied().flatten());
            }
        }
        Ok(match node.windows() {
            Some((start, end)) => Marks { start: vec![start], end: vec![end] },
            None => found,
        })
    }
}

fn across(what: &str) -> SqlError {
    SqlError::Statement(format!(
        "{what} combines rows of several windows, which is impossible in a stream; do it per window_start and window_end"
    ))
}
