//! Splits a query over streams at its window: the row part below runs on micro-batches, the window
//! part above runs on closed windows.
//!
//! The query may name its window several times, as a common table expression does; it is one window
//! as long as all say the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, TableScanBuilder};
use datafusion::optimizer::Optimizer;
use datafusion::optimizer::push_down_filter::PushDownFilter;

use super::carry::{carry, hidden_columns, own_columns};
use super::feed::{FeedTable, is_feed};
use super::hoist::hoist;
use super::keyed::Keyed;
use super::scans::{feed_scans, reads_stream};
use super::traced::follows_watermark;
use super::{columns, row_wise};
use crate::SqlError;
use crate::catalogue::SourceDef;
use crate::windows::WindowNode;

/// The name of the feed of closed windows in plans.
const WINDOW_FEED: &str = "window";

/// A query over streams, in parts.
#[derive(Debug)]
pub(super) struct Split {
    /// The row part, over feeds.
    pub(super) rows: LogicalPlan,
    /// The sources, by their feeds' numbers.
    pub(super) sources: Vec<Arc<SourceDef>>,
    /// The window part, if the query has a window.
    pub(super) window: Option<SplitWindow>,
}

/// The window of a query and what is above it.
#[derive(Debug)]
pub(super) struct SplitWindow {
    /// The window as the query says it.
    pub(super) node: WindowNode,
    /// The columns of the row part that are the keys of sessions.
    pub(super) keys: Vec<usize>,
    /// What the feed of closed windows holds.
    pub(super) input: SchemaRef,
    /// The window part, over feed 0.
    pub(super) above: LogicalPlan,
    /// Of the row part's columns those that late rows and dead letters are shown with, and their
    /// names.
    pub(super) shown: Vec<(usize, String)>,
}

impl SplitWindow {
    /// The names that the columns of the feed, but for the window's own, have in the query.
    pub(super) fn names(&self) -> Vec<String> {
        let own = self.node.input.schema();
        let columns = self.input.fields().iter();
        let places = columns.filter_map(|field| field.name().strip_prefix('c')?.parse().ok());
        places.map(|place: usize| own.field(place).name().clone()).collect()
    }
}

/// Splits an analysed query. With `shows_late` late rows keep all columns that go into the window.
///
/// # Errors
/// [`SqlError::Statement`] for what a stream can't do, with the fix.
pub(super) fn split(
    state: &SessionState,
    plan: LogicalPlan,
    shows_late: bool,
) -> Result<Split, SqlError> {
    if !reads_stream(&plan)? {
        return Err(SqlError::Statement(
            "the query reads no source; make one with CREATE SOURCE, or write a static query with INSERT INTO a table or COPY".into(),
        ));
    }
    let plan = filtered_early(state, plan)?;
    let Some(node) = only_window(&plan)? else {
        row_wise::check(&plan)?;
        let (rows, sources) = feed_scans(plan)?;
        return Ok(Split { rows, sources, window: None });
    };
    let names = names_shown(&node);
    let late = if shows_late { names.len() } else { 0 };
    let (plan, node) = hoist(plan, node)?;
    row_wise::check(&node.input)?;
    follows_watermark(&node)?;
    let (rows, sources) = feed_scans(node.input.clone())?;
    let rows = carry(rows)?;

    let all: Vec<usize> = (0..own_columns(&rows).count()).collect();
    let full = Feeding::new(&node, &all);
    let above = full.put_into(&plan)?;
    let is_window =
        |node: &LogicalPlan| matches!(node, LogicalPlan::TableScan(scan) if is_feed(scan));
    if reads_stream(&above)? {
        return Err(SqlError::Statement(
            "the query reads a stream both with and without a window; read it through the window everywhere".into(),
        ));
    }
    let keyed = Keyed {
        is_window: &is_window,
        columns: (all.len(), all.len() + 1),
        are_sessions: node.is_session(),
    };
    keyed.check(&above)?;

    let above = state.optimize(&above)?;
    let wanted = wanted(&above, &node, late)?;
    let pruned = Feeding::new(&node, &wanted);
    let above = pruned.put_under(above)?;
    let rows = pruned.rows(rows)?;
    let keys = node.keys.iter().filter_map(|key| wanted.iter().position(|n| n == key)).collect();
    let input = Arc::clone(&pruned.schema);
    // Calls of models, which come behind the query's own columns, are nobody's to see.
    let known = wanted.iter().enumerate().filter_map(|(n, from)| Some((n, names.get(*from)?)));
    let shown = known.map(|(n, name)| (n, name.clone())).collect();
    let window = SplitWindow { node: node.clone(), keys, input, above, shown };
    Ok(Split { rows, sources, window: Some(window) })
}

/// The plan with filters as far down as they go, below the window too; as it was where that would
/// give two mentions of one window different filters.
fn filtered_early(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let filters = Optimizer::with_rules(vec![Arc::new(PushDownFilter::new())]);
    let pushed = filters.optimize(plan.clone(), state, |_, _| {})?;
    Ok(if only_window(&pushed).is_ok() { pushed } else { plan })
}

/// The window over a stream that a plan has.
fn only_window(plan: &LogicalPlan) -> Result<Option<WindowNode>, SqlError> {
    let mut found: Vec<WindowNode> = Vec::new();
    plan.apply(|node| {
        if let Some(window) = window_of(node)
            && reads_stream(&window.input)?
            && !found.contains(window)
        {
            found.push(window.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [first, second, ..] => Err(SqlError::Statement(format!(
            "the query has the windows {first} and {second}, but a pipeline can have one only; name it once in WITH w AS (SELECT * FROM …) and \
             read w, or write two INSERTs"
        ))),
    }
}

/// The window that a step of a plan is.
pub(super) fn window_of(plan: &LogicalPlan) -> Option<&WindowNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// The feed of closed windows, with some of the columns of the window's input.
struct Feeding<'a> {
    node: &'a WindowNode,
    /// Positions in the window's input.
    columns: &'a [usize],
    schema: SchemaRef,
}

impl<'a> Feeding<'a> {
    fn new(node: &'a WindowNode, columns: &'a [usize]) -> Self {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let input = node.input.schema();
        let mut fields: Vec<Field> = columns
            .iter()
            .map(|n| input.field(*n).as_ref().clone().with_name(format!("c{n}")))
            .collect();
        fields.push(Field::new("window_start", time.clone(), false));
        fields.push(Field::new("window_end", time, false));
        if node.has_pane() {
            fields.push(Field::new("window_pane", DataType::Utf8, false));
        }
        Self { node, columns, schema: Arc::new(Schema::new(fields)) }
    }

    /// The plan with the feed, under the names that the window's columns had, in the place of each
    /// mention of the window.
    fn put_into(&self, plan: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let put = plan.clone().transform_down(|node| {
            if window_of(&node) != Some(self.node) {
                return Ok(Transformed::no(node));
            }
            let table = FeedTable::new(0, Arc::clone(&self.schema));
            let scan = TableScanBuilder::new(WINDOW_FEED, provider_as_source(Arc::new(table)));
            let (input, all) =
                (self.node.input.schema().fields().len(), node.schema().fields().len());
            let positions = self.columns.iter().copied().chain(input..all);
            let names = positions.map(|position| node.schema().qualified_field(position));
            let named = columns::under_names(scan.build()?, names)?;
            Ok(Transformed::new(named, true, TreeNodeRecursion::Jump))
        })?;
        Ok(put.data)
    }

    /// An optimised plan with this feed in the place of one that has all columns.
    fn put_under(&self, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let put = plan.transform_down(|step| {
            let LogicalPlan::TableScan(scan) = &step else { return Ok(Transformed::no(step)) };
            if !is_feed(scan) {
                return Ok(Transformed::no(step));
            }
            let places = scan.projected_schema.fields().iter();
            let places = places.map(|field| self.schema.index_of(field.name()));
            let places = places.collect::<Result<Vec<_>, _>>()?;
            let table = FeedTable::new(0, Arc::clone(&self.schema));
            let scan = TableScanBuilder::new(WINDOW_FEED, provider_as_source(Arc::new(table)))
                .with_projection(Some(places));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan.build()?)))
        })?;
        Ok(put.data)
    }

    /// The row part with only the columns of this feed, and the hidden ones.
    fn rows(&self, rows: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let own: Vec<Expr> = own_columns(&rows).collect();
        let wanted = self.columns.iter().zip(self.schema.fields());
        let mut exprs: Vec<Expr> = wanted
            .filter_map(|(n, field)| Some(own.get(*n)?.clone().alias(field.name())))
            .collect();
        exprs.extend(hidden_columns(&rows));
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(rows))?))
    }
}

/// The names of the columns that go into a window, each once.
fn names_shown(node: &WindowNode) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in node.input.schema().fields() {
        let mut name = field.name().clone();
        let mut times = 1;
        while names.contains(&name) {
            times += 1;
            name = format!("{}_{times}", field.name());
        }
        names.push(name);
    }
    names
}

/// The positions of the window's input columns that the window part and the keys of sessions need,
/// and of the first `late` columns; at least one, so that rows can be counted.
fn wanted(above: &LogicalPlan, node: &WindowNode, late: usize) -> Result<Vec<usize>, SqlError> {
    let mut wanted: BTreeSet<usize> = node.keys.iter().copied().chain(0..late).collect();
    above.apply(|step| {
        if let LogicalPlan::TableScan(scan) = step
            && is_feed(scan)
        {
            let names = scan.projected_schema.fields().iter().map(|field| field.name());
            wanted.extend(names.filter_map(|name| name.strip_prefix('c')?.parse::<usize>().ok()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if wanted.is_empty() {
        wanted.insert(node.time);
    }
    Ok(wanted.into_iter().collect())
}
