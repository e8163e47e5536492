//! The functions: one file for each family, each function on one of the two lists here.
//!
//! A function is a value: its declaration, and what it makes of its arguments. What DataFusion
//! wants of a function is in [`kernel`].

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, Documentation, ScalarUDF};
use datafusion::prelude::SessionContext;

use crate::engine::{Models, ParameterNames};
use kernel::{AggregateDef, ScalarDef};

mod aggregates;
mod agreement;
mod classify;
mod declaration;
mod embed;
mod images;
mod kernel;
mod lists;
mod long_texts;
mod model_id;
mod packed;
mod pairs;
mod parse_vector;
mod quantize;
mod single;
mod text_pairs;
mod tokens;

pub(crate) use kernel::runs_model;
pub use text_pairs::alike;

/// All scalar functions.
static SCALARS: &[&ScalarDef] = &[
    &embed::EMBED,
    &images::EMBED_IMAGE,
    &images::IMAGE_HASH,
    &classify::CLASSIFY,
    &quantize::QUANTIZE,
    &packed::HAMMING_DISTANCE,
    &text_pairs::SIMILARITY,
    &text_pairs::RERANK,
    &tokens::TOKEN_COUNT,
    &tokens::IS_TRUNCATED,
    &model_id::MODEL_ID,
    &pairs::COS_SIM,
    &pairs::L2_DISTANCE,
    &pairs::MANHATTAN_DISTANCE,
    &pairs::COSINE_DISTANCE,
    &pairs::INNER_PRODUCT,
    &pairs::ARRAY_DISTANCE,
    &parse_vector::PARSE_VECTOR,
    &single::VECTOR_NORM,
    &single::VECTOR_DIMS,
    &single::TRUNCATE_VECTOR,
    &single::ARRAY_NORMALIZE,
    &lists::ARRAY_ADD,
    &lists::ARRAY_SCALE,
    &lists::ARRAY_SUBTRACT,
];

/// All aggregates.
static AGGREGATES: &[&AggregateDef] = &[
    &aggregates::VECTOR_AVG,
    &aggregates::VECTOR_SUM,
    &aggregates::VECTOR_MIN,
    &aggregates::VECTOR_MAX,
    &agreement::ADJUSTED_RAND_INDEX,
    &agreement::NORMALIZED_MUTUAL_INFO,
    &agreement::ADJUSTED_MUTUAL_INFO,
    &agreement::V_MEASURE,
    &agreement::HOMOGENEITY,
    &agreement::COMPLETENESS,
    &agreement::PURITY,
    &agreement::SPEARMAN,
    &agreement::SILHOUETTE,
];

/// Registers every function with a session's context, and tells the names of their parameters.
pub(crate) fn register(context: &SessionContext, models: &Arc<Models>) -> ParameterNames {
    let mut names = ParameterNames::new();
    let scalars = SCALARS.iter().map(|scalar| scalar.function(models));
    for function in scalars.chain(long_texts::functions()) {
        let function: ScalarUDF = function;
        note(&mut names, function.name(), function.aliases(), function.documentation());
        context.register_udf(function);
    }
    let aggregates = AGGREGATES.iter().map(|aggregate| aggregate.function());
    for function in aggregates.chain([agreement::pearson()]) {
        let function: AggregateUDF = function;
        note(&mut names, function.name(), function.aliases(), function.documentation());
        context.register_udaf(function);
    }
    names
}

fn note(
    names: &mut ParameterNames,
    name: &str,
    aliases: &[String],
    documentation: Option<&Documentation>,
) {
    let parameters: Vec<String> = documentation
        .and_then(|documentation| documentation.arguments.as_ref())
        .into_iter()
        .flatten()
        .map(|(parameter, _)| parameter.clone())
        .collect();
    for name in aliases.iter().map(String::as_str).chain([name]) {
        names.insert(name.to_string(), parameters.clone());
    }
}
