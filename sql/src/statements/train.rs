//! `CREATE MODEL … WITH (…) AS SELECT …`: a model trained on the rows of a query.

use datafusion::dataframe::DataFrame;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use futures::TryStreamExt;

use arrow::array::RecordBatch;
use sembla_models::ModelSpec;

use super::Outcome;
use super::models::taken;
use crate::SqlError;
use crate::engine::{Connection, PlannedTraining};
use crate::files::Notices;
use crate::planning;
use crate::query::{Progress, QueryScope, blocking};
use crate::syntax::{self, CreateModel, Statement};

/// Trains a model, writes its directory, and gives it a name.
///
/// # Errors
/// Where nothing trains, a name that is taken, options and rows that can't be, and whatever
/// training says; no name is given then.
pub(crate) async fn create(
    connection: &Connection,
    create: CreateModel,
    query: Query,
    notices: &Notices,
) -> Result<Outcome, SqlError> {
    let CreateModel { name, or_replace, if_not_exists, options, .. } = create;
    if let Some(outcome) = taken(&connection.models, &name, or_replace, if_not_exists)? {
        return Ok(outcome);
    }
    let trainer = connection.trainer.as_ref().ok_or_else(|| {
        SqlError::Statement(
            "CREATE MODEL … AS SELECT can't train here; run it with sembla sql, and name the result with CREATE MODEL … WITH (path = '…')"
                .into(),
        )
    })?;
    let planned = blocking(|| trainer.plan(&name, &options, or_replace || if_not_exists))?;
    if if_not_exists && !or_replace && planned.target().is_dir() {
        // An earlier session has made it.
        register(connection, &name, planned.as_ref())?;
        let target = planned.target();
        return Ok(Outcome::Done(format!("model '{name}' is in {} already", target.display())));
    }
    let query = DfStatement::Statement(Box::new(SqlStatement::Query(Box::new(query))));
    // Both are planned before one of them is read.
    let data = frame(connection, query).await?;
    let eval = match planned.eval() {
        Some(text) => Some(frame(connection, one_query(text)?).await?),
        None => None,
    };
    let data = rows(data).await?;
    let eval = match eval {
        Some(eval) => Some(rows(eval).await?),
        None => None,
    };
    let scope = QueryScope::of(connection.context.state().config_options());
    let words = blocking(|| {
        let silent = Silent;
        let progress: &dyn Progress = scope.progress.as_deref().unwrap_or(&silent);
        let notice = |words: &str| notices.say(words);
        planned.run(&data, eval.as_deref(), &scope.cancel, &notice, progress)
    })?;
    register(connection, &name, planned.as_ref())?;
    Ok(Outcome::Done(format!("model '{name}' created in {words}")))
}

/// Gives the new directory its name.
fn register(
    connection: &Connection,
    name: &str,
    planned: &dyn PlannedTraining,
) -> Result<(), SqlError> {
    let spec = ModelSpec::new(planned.target().display().to_string());
    blocking(|| connection.models.add(name, spec))?;
    Ok(())
}

/// A listener that hears nothing.
struct Silent;

impl Progress for Silent {
    fn update(&self, _stage: &str, _done: u64, _total: Option<u64>) {}
}

/// The one query of a text.
fn one_query(text: &str) -> Result<DfStatement, SqlError> {
    let not_one = || SqlError::Statement("eval must be one query, in quotes".into());
    let mut statements = syntax::parse(text, &GenericDialect {})
        .map_err(|error| SqlError::Statement(format!("eval: {error}")))?;
    let (Some(Statement::DataFusion(statement)), true) = (statements.pop(), statements.is_empty())
    else {
        return Err(not_one());
    };
    match statement.as_ref() {
        DfStatement::Statement(inner) if matches!(**inner, SqlStatement::Query(_)) => {
            Ok(*statement)
        }
        _ => Err(not_one()),
    }
}

async fn frame(connection: &Connection, query: DfStatement) -> Result<DataFrame, SqlError> {
    let plan = planning::plan(connection, query).await?;
    Ok(DataFrame::new(connection.context.state(), plan))
}

/// All rows of a query.
async fn rows(frame: DataFrame) -> Result<Vec<RecordBatch>, SqlError> {
    Ok(planning::stream(frame).await?.try_collect().await?)
}
