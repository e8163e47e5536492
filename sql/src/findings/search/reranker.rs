//! The cross-encoder that some findings ask about pairs of texts.

use sembla_models::Model;
use sembla_operators::host;

use crate::SqlError;
use crate::relations::declaration::Planning;
use crate::relations::finding::FindingHost;
use crate::relations::options::{OptionDef, OptionKind};

/// Pairs that are scored between two looks at the host.
const PAIRS_PER_STEP: usize = 4096;

/// The option that names it.
pub(crate) const RERANKER: OptionDef = OptionDef {
    name: "reranker",
    kind: OptionKind::Text,
    about: "Cross-encoder: the name of a model, a directory or a Hugging Face id.",
};

/// A cross-encoder.
#[derive(Debug)]
pub(crate) struct Reranker {
    model: Model,
}

impl Reranker {
    /// The one that the option names, if it was given.
    ///
    /// # Errors
    /// When the model is not known or gives no single score for a pair.
    pub(crate) fn given(planning: &Planning<'_>) -> Result<Option<Self>, SqlError> {
        let Some(name) = planning.options.text(RERANKER.name) else { return Ok(None) };
        let model = planning.models.scorer(planning.name, RERANKER.name, Some(name))?;
        Ok(Some(Self { model }))
    }

    /// The scores of pairs of texts. Each step scores its pairs by length.
    ///
    /// # Errors
    /// What the model or the host says.
    pub(crate) fn score(
        &self,
        pairs: &[(&str, &str)],
        host: &dyn FindingHost,
    ) -> Result<Vec<f32>, SqlError> {
        let mut scores = Vec::with_capacity(pairs.len());
        for step in pairs.chunks(PAIRS_PER_STEP) {
            host::check(host)?;
            scores.extend(self.model.score(step, host.cancel())?);
            host.progress("re-ranking", scores.len() as u64, pairs.len() as u64);
        }
        Ok(scores)
    }
}
