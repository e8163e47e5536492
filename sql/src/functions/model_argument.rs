//! The model and the prompt that a function is called with: literals, looked up when a query is
//! planned.

use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs};
use sembla_models::{Model, ModelKind, Prompt};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::Engine;
use super::texts::literal_text;
use crate::SqlError;

/// The text of an argument that must be a literal; `None` where it is NULL or not given.
///
/// # Errors
/// [`SqlError::Statement`] when the argument is not a literal or not a text.
pub(crate) fn planned_literal<'a>(
    what: &str,
    args: &ReturnFieldArgs<'a>,
    position: usize,
) -> Result<Option<&'a str>, SqlError> {
    match args.scalar_arguments.get(position) {
        None => Ok(None),
        Some(Some(value)) => literal_text(what, value),
        Some(None) => Err(SqlError::Statement(format!("{what} must be a literal"))),
    }
}

/// The same while a query runs.
///
/// # Errors
/// [`SqlError::Statement`] when the argument is not a literal or not a text.
pub(crate) fn given_literal<'a>(
    what: &str,
    args: &'a [ColumnarValue],
    position: usize,
) -> Result<Option<&'a str>, SqlError> {
    match args.get(position) {
        None => Ok(None),
        Some(ColumnarValue::Scalar(value)) => literal_text(what, value),
        Some(ColumnarValue::Array(_)) => {
            Err(SqlError::Statement(format!("{what} must be a literal")))
        }
    }
}

/// What the messages call the model argument.
pub(crate) const MODEL: &str = "the model";

impl Engine {
    /// The model of that name, loaded if need be, without holding up other tasks of the runtime.
    ///
    /// # Errors
    /// An unknown name, and whatever loading says.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<Model, SqlError> {
        Ok(blocking(|| self.models.get(name))?)
    }

    /// A model that turns texts into vectors.
    ///
    /// # Errors
    /// When it is a cross-encoder, and those of [`Engine::model`].
    pub(crate) fn encoder(&self, function: &str, name: Option<&str>) -> Result<Model, SqlError> {
        let model = self.model(name)?;
        if model.info().kind == ModelKind::CrossEncoder {
            return Err(SqlError::Statement(format!(
                "{function} needs a model that embeds; model '{}' is a cross-encoder, which rerank takes",
                self.called(name)
            )));
        }
        Ok(model)
    }

    /// A model that gives one score for a pair of texts; `argument` is what names it.
    ///
    /// # Errors
    /// When it embeds or gives several scores, and those of [`Engine::model`].
    pub(crate) fn scorer(
        &self,
        function: &str,
        argument: &str,
        name: Option<&str>,
    ) -> Result<Model, SqlError> {
        let model = self.model(name)?;
        let info = model.info();
        if info.kind != ModelKind::CrossEncoder {
            return Err(SqlError::Statement(format!(
                "{function} needs a cross-encoder; model '{}' embeds: name another with {argument} => '…'",
                self.called(name)
            )));
        }
        if info.labels != 1 {
            return Err(SqlError::Statement(format!(
                "{function} needs a model that gives one score; model '{}' gives {}",
                self.called(name),
                info.labels
            )));
        }
        Ok(model)
    }

    fn called(&self, name: Option<&str>) -> String {
        name.map_or_else(|| self.models.default_name(), str::to_string)
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
        "model '{model}' has no prompt '{name}'; it takes {}, and '' for none",
        known.join(", ")
    ))
}

/// Runs long work of the processor, telling the runtime that this thread is taken.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
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
            "model 'e5' has no prompt 'x'; it takes query, document, title, and '' for none"
        );
    }
}
