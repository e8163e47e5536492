//! `INSERT INTO sink SELECT …`, and what EXPLAIN tells of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::dataframe::DataFrame;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Insert, ObjectName, Query, Statement as SqlStatement, TableObject,
};

use super::{Outcome, counted, to_sink};
use crate::SqlError;
use crate::catalogue::SinkDef;
use crate::engine::Connection;
use crate::error::arrow_error;
use crate::planning::{self, Known};
use crate::streams::{StreamPlan, into_sink, reads_stream};
use crate::syntax::folded;

/// `[EXPLAIN] INSERT INTO sink [(columns)] query`.
pub(crate) struct Insertion {
    sink: Arc<SinkDef>,
    columns: Vec<String>,
    query: Box<Query>,
    is_explained: bool,
}

/// What a statement inserts into a sink, if it does.
pub(crate) fn insertion(connection: &Connection, statement: &DfStatement) -> Option<Insertion> {
    match statement {
        DfStatement::Explain(explain) => {
            let inner = insertion(connection, &explain.statement)?;
            Some(Insertion { is_explained: true, ..inner })
        }
        DfStatement::Statement(statement) => inserted(connection, statement),
        _ => None,
    }
}

fn inserted(connection: &Connection, statement: &SqlStatement) -> Option<Insertion> {
    match statement {
        SqlStatement::Explain { statement, .. } => {
            Some(Insertion { is_explained: true, ..inserted(connection, statement)? })
        }
        SqlStatement::Insert(Insert {
            table: TableObject::TableName(ObjectName(name)),
            columns,
            source: Some(query),
            ..
        }) => {
            let [name] = name.as_slice() else { return None };
            let sink = connection.catalogue.sink(&folded(name.as_ident()?))?;
            let columns = columns.iter().map(|name| name.to_string()).collect();
            Some(Insertion { sink, columns, query: query.clone(), is_explained: false })
        }
        _ => None,
    }
}

impl Insertion {
    /// Plans the pipeline, or tells what it would be.
    ///
    /// # Errors
    /// What the query says, and those of [`StreamPlan::new`].
    pub(crate) async fn execute(self, connection: &Connection) -> Result<Outcome, SqlError> {
        let Self { sink, columns, query, is_explained } = self;
        let mut statement = DfStatement::Statement(Box::new(SqlStatement::Query(query)));
        planning::place(&mut statement, &Known::of(connection))?;
        let state = connection.context.state();
        let plan = state.statement_to_plan(statement).await?;
        if sink.kind.takes_batches() && !reads_stream(&plan)? {
            let plan = into_sink(plan, &sink, &columns)?;
            return Self::batch(connection, DataFrame::new(state, plan), &sink, is_explained).await;
        }
        let model = connection.models.default_name();
        let plan = StreamPlan::new(state, plan, sink, &columns, &model).await?;
        if !is_explained {
            return Ok(Outcome::Stream(Box::new(plan)));
        }
        explained(connection, plan.explain())
    }

    /// Writes the rows of a static query, or tells what would be written.
    async fn batch(
        connection: &Connection,
        rows: DataFrame,
        sink: &SinkDef,
        is_explained: bool,
    ) -> Result<Outcome, SqlError> {
        if is_explained {
            let plan = rows.logical_plan().display_indent().to_string();
            let lines = [("rows", plan), ("sink", sink.describe())];
            return explained(connection, lines.map(|(part, words)| (part.into(), words)).into());
        }
        let rows = to_sink::write(rows, sink).await?;
        Ok(Outcome::Done(format!("{} written to sink '{}'", counted(rows), sink.name)))
    }
}

/// The lines of an EXPLAIN: a part of what is explained, and its words.
fn explained(connection: &Connection, lines: Vec<(String, String)>) -> Result<Outcome, SqlError> {
    let (parts, words): (Vec<String>, Vec<String>) = lines.into_iter().unzip();
    let columns: [(&str, ArrayRef); 2] = [
        ("part", Arc::new(StringArray::from(parts))),
        ("plan", Arc::new(StringArray::from(words))),
    ];
    let rows = RecordBatch::try_from_iter(columns).map_err(|error| arrow_error(&error))?;
    Ok(Outcome::Rows(connection.context.read_batch(rows)?))
}
