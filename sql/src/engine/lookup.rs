//! The models and prompts that functions and findings name, looked up when a query is planned.

use sembla_models::builtin::{Builtin, RERANKER, SMALL_RERANKER};
use sembla_models::{Model, ModelKind, Prompt};

use super::Models;
use crate::SqlError;
use crate::query::blocking;

impl Models {
    /// The model of that name, loaded if need be, without holding up other tasks of the runtime.
    ///
    /// # Errors
    /// An unknown name, and whatever loading says.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<Model, SqlError> {
        Ok(blocking(|| self.get(name))?)
    }

    /// A model that turns texts into vectors.
    ///
    /// # Errors
    /// When it is a cross-encoder, and those of [`Models::model`].
    pub(crate) fn encoder(&self, function: &str, name: Option<&str>) -> Result<Model, SqlError> {
        let model = self.model(name)?;
        if model.info().kind == ModelKind::CrossEncoder {
            return Err(SqlError::Statement(format!(
                "{function} needs an embedding model, but model '{}' is a cross-encoder, which is for rerank",
                self.called(name)
            )));
        }
        if !model.info().takes.has_texts() {
            return Err(SqlError::Statement(format!(
                "{function} needs a model that takes texts; model '{}' takes images only, by embed_image",
                self.called(name)
            )));
        }
        Ok(model)
    }

    /// A model that turns images into vectors.
    ///
    /// # Errors
    /// When it takes none, and those of [`Models::model`].
    pub(crate) fn image_encoder(
        &self,
        function: &str,
        name: Option<&str>,
    ) -> Result<Model, SqlError> {
        let model = self.model(name)?;
        if !model.info().takes.has_images() {
            return Err(SqlError::Statement(format!(
                "{function} needs a model that takes images, but '{}' takes {}: name a CLIP or SigLIP model, \
                 such as 'openai/clip-vit-base-patch32' or its folder (on the command line with -m)",
                self.called(name),
                model.info().takes
            )));
        }
        Ok(model)
    }

    /// A model that gives one score for a pair of texts; `argument` is what names it. Where none is
    /// named and the session's default is the usual one, it is the re-ranker that was fetched, else
    /// the small one that comes with Sembla.
    ///
    /// # Errors
    /// When it embeds or gives several scores, and those of [`Models::model`].
    pub(crate) fn scorer(
        &self,
        function: &str,
        argument: &str,
        name: Option<&str>,
    ) -> Result<Model, SqlError> {
        let usual = name.is_none() && self.has_usual_default();
        let is_there = |builtin: &&Builtin| builtin.path().is_some();
        let rerankers = [RERANKER, SMALL_RERANKER];
        let name = match usual {
            true => rerankers.iter().find(is_there).map(|builtin| builtin.name),
            false => name,
        };
        let model = self.model(name)?;
        let info = model.info();
        if info.kind != ModelKind::CrossEncoder {
            let fetch = if usual {
                ", or fetch the default one with scripts/fetch-reranker.sh"
            } else {
                ""
            };
            return Err(SqlError::Statement(format!(
                "{function} needs a cross-encoder, but model '{}' is an embedding model; name another with {argument} => '…'{fetch}",
                self.called(name)
            )));
        }
        if info.labels != 1 {
            return Err(SqlError::Statement(format!(
                "{function} needs a model with one score, but model '{}' has {}",
                self.called(name),
                info.labels
            )));
        }
        Ok(model)
    }

    fn called(&self, name: Option<&str>) -> String {
        name.map_or_else(|| self.default_name(), str::to_string)
    }
}

/// The prompt that is given: one of the model's by name, none for NULL and the empty text, and the
/// model's default where nothing is given.
///
/// # Errors
/// When the model has no prompt of that name.
pub(crate) fn prompt_of<'a>(
    model: &Model,
    given: Option<Option<&'a str>>,
) -> Result<Prompt<'a>, SqlError> {
    let name = match given {
        None => return Ok(Prompt::Default),
        Some(None | Some("")) => return Ok(Prompt::Text("")),
        Some(Some(name)) => name,
    };
    let prompts = &model.info().prompts;
    if prompts.iter().any(|(known, _)| known == name) {
        return Ok(Prompt::Named(name));
    }
    match name {
        "query" => Ok(Prompt::Query),
        "document" => Ok(Prompt::Document),
        _ => Err(no_prompt(&model.info().name, prompts, name)),
    }
}

fn no_prompt(model: &str, prompts: &[(String, String)], name: &str) -> SqlError {
    let mut known = vec!["query", "document"];
    known.extend(prompts.iter().map(|(name, _)| name.as_str()));
    let mut seen = std::collections::HashSet::new();
    known.retain(|name| seen.insert(*name));
    SqlError::Statement(format!(
        "model '{model}' has no prompt '{name}'; its prompts are {}, and '' for none",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_is_listed_once() {
        let of = |name: &str| (name.to_string(), "…".to_string());
        let prompts = [of("document"), of("query"), of("title")];
        assert_eq!(
            no_prompt("e5", &prompts, "x").to_string(),
            "model 'e5' has no prompt 'x'; its prompts are query, document, title, and '' for none"
        );
    }
}
