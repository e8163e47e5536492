//! `INSERT INTO sink SELECT …`: from a planned query to a pipeline that can run.
//!
//! Everything that can be wrong without touching the outside world is reported when the pipeline is
//! planned; [`StreamPlan::open`] connects to source, sink and state.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Column;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast};
use sembla_connectors::{Exchange, OpenSource, ReadMode};
use sembla_runtime::state::Query as StateQuery;
use sembla_runtime::{
    Delivery, EventTime, Passing, Pipeline, RowStage as _, Source, SourceInput,
    WindowPart as RuntimeWindow,
};

use super::bound::BoundPlan;
use super::connect;
use super::settings::StreamSettings;
use super::split::{Split, SplitWindow, split};
use super::stages::{RowPart, WindowPart};
use super::static_tables::StaticTables;
use crate::SqlError;
use crate::catalogue::{SinkDef, SourceDef};

/// The name of an exchange as a source of the pipeline with the windows.
const EXCHANGE: &str = "exchange";

/// A planned pipeline.
pub struct StreamPlan {
    /// The name of the pipeline, which is its sink's.
    pub(super) name: String,
    /// What decides which state belongs to it.
    query: StateQuery,
    pub(super) sources: Vec<Arc<SourceDef>>,
    pub(super) sink: Arc<SinkDef>,
    pub(super) row_plan: LogicalPlan,
    pub(super) window: Option<SplitWindow>,
    /// What windows are fed through, if it was asked for.
    exchange: Option<Box<dyn Exchange>>,
    /// How often a result comes.
    delivery: Delivery,
    pub(super) settings: StreamSettings,
    pub(super) state: SessionState,
}

impl StreamPlan {
    /// Plans the pipeline of a query into a sink. `columns` are those of the sink that the
    /// statement names; `model` is the model that is used where none is named.
    ///
    /// # Errors
    /// What the query, the window or the sink's columns say.
    pub(crate) async fn new(
        state: SessionState,
        plan: LogicalPlan,
        sink: Arc<SinkDef>,
        columns: &[String],
        model: &str,
    ) -> Result<Self, SqlError> {
        let plan = into_sink(plan, &sink, columns)?;
        let options = state.config_options();
        let plan = state.analyzer().execute_and_check(plan, options, |_, _| {})?;
        let Split { rows, sources, window } = split(&state, plan, sink.shows_late())?;
        // Made again when the static tables are in memory; here for what it says of mistakes.
        BoundPlan::new(&state, &rows).await?;
        if let Some(window) = &window {
            BoundPlan::new(&state, &window.above).await?;
        }
        let settings = StreamSettings::of(&state);
        let name = sink.name.clone();
        let handed_on = Arc::new(rows.schema().as_arrow().clone());
        let exchange = (settings.exchange && window.is_some())
            .then(|| connect::exchange(&name, &sources, &handed_on))
            .transpose()?;
        let results = window.as_ref().map_or(&rows, |window| &window.above);
        let results = Arc::new(results.schema().as_arrow().clone());
        let delivery = sink.promise(&results, settings.options.checkpoint_interval)?;
        let query = identity(&rows, window.as_ref(), &sources, model, exchange.is_some());
        let row_plan = rows;
        Ok(Self {
            name,
            query,
            sources,
            sink,
            row_plan,
            window,
            exchange,
            delivery,
            settings,
            state,
        })
    }

    /// The name of the pipeline.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the static tables, and connects to sources, sink and state: the pipeline, or two of
    /// them with an exchange between. Nothing of a stream is read or written yet.
    ///
    /// # Errors
    /// Options of connectors that can't be, and what the outside world says.
    pub async fn open(mut self, ignore_state: bool) -> Result<Vec<Pipeline>, SqlError> {
        let mut tables = StaticTables::new(&self.state);
        let rows = tables.settle(self.row_plan.clone()).await?;
        let rows = BoundPlan::new(&self.state, &rows).await?;
        let per_window = match &self.window {
            Some(window) => {
                let plan = tables.settle(window.above.clone()).await?;
                Some(BoundPlan::new(&self.state, &plan).await?)
            }
            None => None,
        };
        let tables = Arc::new(tables);
        let schema = per_window.as_ref().map_or(rows.schema(), BoundPlan::schema).clone();
        let windows = self.window.as_ref().zip(per_window).map(|(window, plan)| {
            let SplitWindow { node, keys, input, shown, .. } = window;
            let kept = Arc::clone(&tables);
            RuntimeWindow {
                kind: node.kind,
                keys: keys.clone(),
                lateness_us: node.lateness_us.unwrap_or(0),
                early_us: node.early_us.and_then(|early| u64::try_from(early).ok()),
                stage: Box::new(
                    WindowPart::new(plan, input.clone(), node.has_pane(), kept)
                        .with_names(window.names())
                        .with_shown(shown.clone()),
                ),
            }
        });
        let rows = RowPart::new(rows, tables);
        if let Some(exchange) = self.exchange.take() {
            return self.exchanging(exchange.as_ref(), rows, windows, &schema, ignore_state).await;
        }
        // A window has to see all rows.
        let mode = if windows.is_some() { ReadMode::Alone } else { ReadMode::Shared };
        let (sources, handles) = connect::sources(&self.name, &self.state, &self.sources, mode)?;
        Ok(vec![Pipeline {
            sources: self.inputs(sources),
            rows: Arc::new(rows),
            windows,
            sink: self.sink.open(&schema, handles, self.settings.options.checkpoint_interval)?,
            store: connect::store(&self.name, &self.settings)?,
            name: self.name,
            query: self.query,
            options: self.settings.options,
            ignore_state,
        }])
    }

    /// The pipeline that instances share, up to the exchange, and the one with the windows.
    async fn exchanging(
        self,
        exchange: &dyn Exchange,
        rows: RowPart,
        windows: Option<RuntimeWindow>,
        schema: &SchemaRef,
        ignore_state: bool,
    ) -> Result<Vec<Pipeline>, SqlError> {
        let handed_on = rows.schema();
        let before = format!("{}.rows", self.name);
        let (sources, handles) =
            connect::sources(&before, &self.state, &self.sources, ReadMode::Shared)?;
        let first = Pipeline {
            query: self.query.clone(),
            sources: self.inputs(sources),
            rows: Arc::new(rows),
            windows: None,
            sink: exchange.sink(handles)?,
            store: connect::store(&before, &self.settings)?,
            name: before,
            options: self.settings.options.clone(),
            ignore_state,
        };
        // What was handed on before is not for a pipeline that starts over.
        let start = if ignore_state { Some(exchange.end().await?) } else { None };
        let OpenSource { source, handle } = exchange.source(&self.name, start)?;
        let handles = [(EXCHANGE.to_string(), handle)].into();
        let second = Pipeline {
            sources: vec![SourceInput {
                name: EXCHANGE.into(),
                source,
                event_time: EventTime::Marks,
                delay_us: 0,
                windows: None,
            }],
            rows: Arc::new(Passing(handed_on)),
            windows,
            sink: self.sink.open(schema, handles, self.settings.options.checkpoint_interval)?,
            store: connect::store(&self.name, &self.settings)?,
            name: self.name,
            query: self.query,
            options: self.settings.options,
            ignore_state,
        };
        Ok(vec![first, second])
    }

    /// The sources with what the runtime has to know of their times.
    fn inputs(&self, sources: Vec<Box<dyn Source>>) -> Vec<SourceInput> {
        let inputs = self.sources.iter().zip(sources).map(|(definition, source)| {
            let watermark = definition.watermark.as_ref();
            SourceInput {
                name: definition.name.clone(),
                source,
                event_time: watermark
                    .and_then(|watermark| definition.schema().index_of(&watermark.column).ok())
                    .map_or(EventTime::None, EventTime::Column),
                delay_us: watermark.map_or(0, |watermark| watermark.delay_us),
                windows: self.window.as_ref().map(|window| window.node.kind),
            }
        });
        inputs.collect()
    }

    /// The pipeline in words, one line a part: what EXPLAIN shows.
    pub fn explain(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for source in &self.sources {
            lines.push(("source".to_string(), source.describe()));
        }
        lines.push(("rows".into(), self.row_plan.display_indent().to_string()));
        if let Some(exchange) = &self.exchange {
            lines.push(("exchange".into(), exchange.describe()));
        }
        if let Some(window) = &self.window {
            lines.push(("window".into(), window.node.to_string()));
            lines.push(("per window".into(), window.above.display_indent().to_string()));
        }
        lines.push(("sink".into(), self.sink.describe()));
        lines.push(("delivery".into(), self.promise()));
        lines.push(("scale".into(), self.scale()));
        lines
    }

    /// What the sink promises.
    fn promise(&self) -> String {
        let words = match self.delivery {
            Delivery::ExactlyOnce => {
                "exactly once: results, dead letters and progress are one commit"
            }
            Delivery::AtLeastOnce => {
                "at least once: after a failure some results may be written twice"
            }
        };
        words.into()
    }

    /// What a second instance would do.
    fn scale(&self) -> String {
        let alone = self.sources.iter().find(|source| !source.kind.shares_partitions());
        if let Some(source) = alone {
            return format!("one instance: source '{}' has one reader", source.name);
        }
        let words = match &self.window {
            None => "instances of one group share the partitions",
            Some(_) if self.exchange.is_some() => {
                "instances share the partitions up to the exchange; one of them runs the windows, which need to see \
                 the whole stream, and another takes over when it ends"
            }
            Some(_) => {
                "one instance reads all partitions, as its windows need to see the whole stream; a second one stands \
                 by and takes over (SET stream.exchange = true lets instances share the work before the windows)"
            }
        };
        words.into()
    }
}

/// The query with the sink's columns: by position, or by the names of the statement.
pub(crate) fn into_sink(
    plan: LogicalPlan,
    sink: &SinkDef,
    columns: &[String],
) -> Result<LogicalPlan, SqlError> {
    let Some(wanted) = sink.schema() else {
        if !columns.is_empty() {
            return Err(SqlError::Statement(format!(
                "sink '{}' declares no columns; leave the column list out of INSERT INTO {0} ({})",
                sink.name,
                columns.join(", ")
            )));
        }
        return Ok(plan);
    };
    let given = plan.schema().fields().len();
    let order: Vec<usize> = match columns {
        [] => (0..wanted.fields().len()).collect(),
        columns => {
            columns.iter().map(|name| wanted.index_of(name)).collect::<Result<_, _>>().map_err(
                |_| {
                    SqlError::Statement(format!(
                        "sink '{}' does not have all of the columns {}; it has {}",
                        sink.name,
                        columns.join(", "),
                        names(wanted.fields().iter().map(|field| field.name().as_str()))
                    ))
                },
            )?
        }
    };
    if given != order.len() || order.len() != wanted.fields().len() {
        return Err(SqlError::Statement(format!(
            "sink '{}' has {} columns ({}), but the query has {given} ({})",
            sink.name,
            wanted.fields().len(),
            names(wanted.fields().iter().map(|field| field.name().as_str())),
            names(plan.schema().fields().iter().map(|field| field.name().as_str()))
        )));
    }
    let exprs = wanted.fields().iter().enumerate().map(|(n, field)| {
        let from = order.iter().position(|place| *place == n).unwrap_or(n);
        let column = Expr::Column(Column::from(plan.schema().qualified_field(from)));
        let is_it = column.get_type(plan.schema()).is_ok_and(|own| own == *field.data_type());
        let value = if is_it { column } else { cast(column, field.data_type().clone()) };
        value.alias(field.name())
    });
    let exprs: Vec<Expr> = exprs.collect();
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.collect::<Vec<_>>().join(", ")
}

/// What decides whether kept state fits: the plans, what the sources are, and the model.
fn identity(
    rows: &LogicalPlan,
    window: Option<&SplitWindow>,
    sources: &[Arc<SourceDef>],
    model: &str,
    has_exchange: bool,
) -> StateQuery {
    let mut parts = vec![format!("model: {model}")];
    parts.extend(has_exchange.then(|| "exchange: a topic of one partition".to_string()));
    parts.extend(sources.iter().map(|source| format!("source: {}", source.identity())));
    let lines = |what: &str, plan: &LogicalPlan| {
        let plan = plan.display_indent_schema().to_string();
        plan.lines().map(|line| format!("{what}: {line}")).collect::<Vec<_>>()
    };
    parts.extend(lines("rows", rows));
    if let Some(window) = window {
        parts.push(format!("window: {}", window.node));
        parts.extend(lines("per window", &window.above));
    }
    let description = parts.join("\n");
    let fingerprint = blake3::hash(description.as_bytes()).to_hex().to_string();
    StateQuery { fingerprint, description }
}
