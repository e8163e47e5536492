//! The cross-encoder that some findings ask about pairs of texts.

use sembla_models::{CancelToken, Model};
use sembla_operators::{Host, host};

use super::declaration::Planning;
use super::options::{Kind, OptionDef};
use crate::SqlError;

/// Pairs that are scored between two looks at the host.
const PAIRS_PER_STEP: usize = 4096;

/// The option that names it.
pub(crate) const RERANKER: OptionDef = OptionDef {
    name: "reranker",
    kind: Kind::Text,
    about: "The cross-encoder: the name of a model, a directory or a hub id.",
};

/// A cross-encoder.
#[derive(Debug)]
pub(crate) struct Reranker {
    model: Model,
    cancel: CancelToken,
}

impl Reranker {
    /// The one that the option names, if it was given.
    ///
    /// # Errors
    /// When the model is not known or gives no single score for a pair.
    pub(crate) fn given(planning: &Planning<'_>) -> Result<Option<Self>, SqlError> {
        let Some(name) = planning.options.text(RERANKER.name) else { return Ok(None) };
        let model = planning.engine.scorer(planning.name, RERANKER.name, Some(name))?;
        Ok(Some(Self { model, cancel: planning.engine.cancel.clone() }))
    }

    /// The scores of pairs of texts. Each step scores its pairs by length.
    ///
    /// # Errors
    /// What the model or the host says.
    pub(crate) fn score(
        &self,
        pairs: &[(&str, &str)],
        host: &dyn Host,
    ) -> Result<Vec<f32>, SqlError> {
        let mut scores = Vec::with_capacity(pairs.len());
        for step in pairs.chunks(PAIRS_PER_STEP) {
            host::check(host)?;
            scores.extend(self.model.score(step, &self.cancel)?);
            host.progress("re-ranking", scores.len() as u64, pairs.len() as u64);
        }
        Ok(scores)
    }
}
