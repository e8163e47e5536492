//! The rows of one query, in memory: what training and the ranking of models read.

use arrow::array::RecordBatch;
use futures::StreamExt;
use sembla_models::CancelToken;
use sembla_sql::{Outcome, Session};

use crate::failure::{Failure, Result};
use crate::numbers::count;

/// All rows of a query.
///
/// # Errors
/// What is not one query that gives rows, what the query says, and more than `rows_max` rows.
pub async fn query_rows(
    session: &Session,
    query: &str,
    cancel: &CancelToken,
    rows_max: usize,
) -> Result<Vec<RecordBatch>> {
    let rows = planned(session, query, cancel).await?;
    let mut stream = sembla_sql::planning::stream(rows).await?;
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        if rows > rows_max {
            return Err(Failure::user(format!(
                "gives more than the {} rows that fit; sample them or add LIMIT",
                count(rows_max as u64)
            )));
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// The columns of a query, which is planned and not run.
///
/// # Errors
/// As [`query_rows`].
pub async fn query_columns(
    session: &Session,
    query: &str,
    cancel: &CancelToken,
) -> Result<arrow::datatypes::SchemaRef> {
    Ok(std::sync::Arc::clone(planned(session, query, cancel).await?.schema().inner()))
}

async fn planned(
    session: &Session,
    query: &str,
    cancel: &CancelToken,
) -> Result<datafusion::dataframe::DataFrame> {
    let mut statements = session.parse(query)?;
    let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
        return Err(Failure::user("must be one query"));
    };
    let Outcome::Rows(rows) = session.execute_with(statement, cancel).await? else {
        return Err(Failure::user("must be a query that gives rows"));
    };
    if rows.schema().fields().is_empty() {
        return Err(Failure::user("must be a query that gives rows"));
    }
    Ok(rows)
}
