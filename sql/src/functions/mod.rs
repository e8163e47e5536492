//! The functions: one file for each family. Registering them here makes them known to a session.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::logical_expr::Documentation;
use datafusion::prelude::SessionContext;
use sembla_models::CancelToken;

use crate::Models;
use crate::catalogue::Catalogue;
use crate::findings::{Indexes, Listener};
pub(crate) use embed::spread;
pub(crate) use model_argument::blocking;
pub(crate) use vectors::{Vectors, item_field, vector_array, vector_type};

mod aggregates;
mod agreement;
mod declaration;
mod embed;
mod lists;
mod model_argument;
mod pairs;
mod quantize;
mod single;
mod text_pairs;
mod texts;
mod tokens;
mod vectors;

/// What the functions that run models share with their session. Two are equal if they are the same
/// session's.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) models: Arc<Models>,
    pub(crate) cancel: CancelToken,
    pub(crate) progress: Listener,
    pub(crate) indexes: Indexes,
    pub(crate) catalogue: Catalogue,
}

impl PartialEq for Engine {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.models, &other.models)
    }
}

impl Eq for Engine {}

impl Hash for Engine {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.models).hash(state);
    }
}

/// The names of the parameters of each function, by the names it is called by.
pub(crate) type ParameterNames = BTreeMap<String, Vec<String>>;

/// Registers every function with a session's context, and tells the names of their parameters.
pub(crate) fn register(context: &SessionContext, engine: &Engine) -> ParameterNames {
    let mut names = ParameterNames::new();
    let scalar = [embed::function(engine), quantize::function(), quantize::hamming_distance()]
        .into_iter()
        .chain(text_pairs::functions(engine))
        .chain(tokens::functions(engine))
        .chain(pairs::functions())
        .chain(single::functions())
        .chain(lists::functions());
    for function in scalar {
        note(&mut names, function.name(), function.aliases(), function.documentation());
        context.register_udf(function);
    }
    for function in aggregates::functions().into_iter().chain(agreement::functions()) {
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
