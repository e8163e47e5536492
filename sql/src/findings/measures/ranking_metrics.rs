//! `ranking_metrics(results, judgements => …)`: how good the results of searches are.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
use sembla_operators::evaluate::{RankingMeans, ranking_metrics};
use sembla_operators::{Host, host};

use crate::SqlError;
use crate::columns::keys::Keys;
use crate::error::arrow_error;
use crate::relations::declaration::{Declaration, InputDef, Need, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::options::{OptionDef, OptionKind};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

/// Queries that are measured between two looks at the host.
const QUERIES_PER_CHECK: usize = 256;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "ranking_metrics",
    about: "Means over the judged queries: metric ('ndcg@10', 'mrr@10', 'map@10', 'recall@10', 'precision@10'), value, queries. A \
            judged query without results counts as 0; one without a relevant row is left out.",
    example: "SELECT * FROM ranking_metrics((SELECT query_id, rank, id FROM results), judgements => 'qrels.csv')",
    inputs: &[
        InputDef {
            name: "results",
            about: "Columns query_id, id, and rank (or score, the greatest first).",
            vectors: Need::No,
            columns: &["query_id", "id", "rank", "score"],
            ..VECTORS
        },
        InputDef {
            name: "judgements",
            about: "Columns query_id, id and relevance, which is above 0 for relevant rows.",
            vectors: Need::No,
            columns: &["query_id", "id", "relevance"],
            ..VECTORS
        },
    ],
    options: &[OptionDef {
        name: "k",
        kind: OptionKind::Count { least: 1, default: Some(10) },
        about: "Cut-off: results per query that count.",
    }],
    carries: false,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Metrics {
    k: usize,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let [Some(results), Some(judgements)] = planning.inputs else {
        return Err(SqlError::Bug("ranking_metrics has two inputs".into()));
    };
    let has = |types: &InputTypes, name: &str| types.extra(name).is_some();
    for (input, types, names) in [
        ("results", results, ["query_id", "id"].as_slice()),
        ("judgements", judgements, ["query_id", "id", "relevance"].as_slice()),
    ] {
        if let Some(missing) = names.iter().find(|name| !has(types, name)) {
            return Err(SqlError::Statement(format!("{input} have no column '{missing}'")));
        }
    }
    if !has(results, "rank") && !has(results, "score") {
        return Err(SqlError::Statement("results have no column 'rank' or 'score'".into()));
    }
    for name in ["query_id", "id"] {
        let (ours, theirs) = (results.extra(name), judgements.extra(name));
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours != theirs
        {
            return Err(SqlError::Statement(format!(
                "{name} is {ours} in the results, but {theirs} in the judgements; cast one of them"
            )));
        }
    }
    Ok(Arc::new(Metrics { k: planning.options.count("k").unwrap_or(10) }))
}

impl Finding for Metrics {
    fn columns(&self, _inputs: &[Option<InputTypes>]) -> Vec<Field> {
        vec![
            column("metric", DataType::Utf8),
            Field::new("value", DataType::Float64, true),
            column("queries", DataType::Int64),
        ]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(results), Some(judgements)] = tables else { return Ok(()) };
        let means = self.means(results, judgements, host)?;
        let measured = means.means();
        let k = self.k;
        let names = ["ndcg", "mrr", "map", "recall", "precision"];
        let values = match measured {
            Some(m) => [m.ndcg, m.mrr, m.map, m.recall, m.precision].map(Some),
            None => [None; 5],
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(names.map(|name| format!("{name}@{k}")))),
            Arc::new(Float64Array::from_iter(values)),
            Arc::new(Int64Array::from_value(means.queries() as i64, names.len())),
        ];
        emit(Found { columns, rows: Vec::new() })
    }
}

impl Metrics {
    fn means(
        &self,
        results: &Table,
        judgements: &Table,
        host: &dyn Host,
    ) -> Result<RankingMeans, SqlError> {
        let mut queries = Keys::default();
        let mut documents = Keys::default();
        let judged_queries = queries.of(&judgements.whole("query_id")?)?;
        let judged_documents = documents.of(&judgements.whole("id")?)?;
        let relevance = numbers(judgements, "relevance")?;
        let mut judged: Vec<HashMap<u32, f64>> = Vec::new();
        for (row, query) in judged_queries.iter().enumerate() {
            let (Some(query), Some(Some(document))) = (query, judged_documents.get(row)) else {
                continue;
            };
            judged.resize_with(judged.len().max(*query as usize + 1), HashMap::new);
            if let Some(of_query) = judged.get_mut(*query as usize) {
                let value = if relevance.is_null(row) { 0.0 } else { relevance.value(row) };
                of_query.insert(*document, value);
            }
        }
        let ranked = ranked(results, judged.len(), &mut queries, &mut documents)?;
        let mut means = RankingMeans::default();
        for (query, judgements) in judged.iter().enumerate() {
            if query % QUERIES_PER_CHECK == 0 {
                host::check(host)?;
            }
            let of_query = ranked.get(query).map(Vec::as_slice).unwrap_or_default();
            if let Some(metrics) = ranking_metrics(of_query, judgements, self.k) {
                means.add(&metrics);
            }
        }
        Ok(means)
    }
}

/// The documents that each judged query found, best first.
fn ranked(
    results: &Table,
    judged: usize,
    queries: &mut Keys,
    documents: &mut Keys,
) -> Result<Vec<Vec<u32>>, SqlError> {
    let of_queries = queries.of(&results.whole("query_id")?)?;
    let of_documents = documents.of(&results.whole("id")?)?;
    let by_rank = results.extra("rank", 0..0)?.is_some();
    let places = numbers(results, if by_rank { "rank" } else { "score" })?;
    let mut ranked: Vec<Vec<(f64, usize, u32)>> = vec![Vec::new(); judged];
    for (row, query) in of_queries.iter().enumerate() {
        let (Some(query), Some(Some(document))) = (query, of_documents.get(row)) else { continue };
        if let Some(of_query) = ranked.get_mut(*query as usize).filter(|_| places.is_valid(row)) {
            let place = if by_rank { places.value(row) } else { -places.value(row) };
            of_query.push((place, row, *document));
        }
    }
    for of_query in &mut ranked {
        of_query.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    }
    let documents = |of_query: Vec<(f64, usize, u32)>| of_query.into_iter().map(|(_, _, d)| d);
    Ok(ranked.into_iter().map(|of_query| documents(of_query).collect()).collect())
}

fn numbers(table: &Table, name: &str) -> Result<Float64Array, SqlError> {
    let numbers = cast(&table.whole(name)?, &DataType::Float64);
    Ok(numbers.map_err(|error| arrow_error(&error))?.as_primitive::<Float64Type>().clone())
}
