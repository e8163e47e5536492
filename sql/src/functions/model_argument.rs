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

/// The prompt of that name; `None` is the model's default.
///
/// # Errors
/// When the model has no prompt of that name.
pub(crate) fn prompt_of<'a>(model: &Model, name: Option<&'a str>) -> Result<Prompt<'a>, SqlError> {
    let Some(name) = name else { return Ok(Prompt::Default) };
    let prompts = &model.info().prompts;
    if prompts.iter().any(|(known, _)| known == name) {
        return Ok(Prompt::Named(name));
    }
    match name {
        "query" => Ok(Prompt::Query),
        "document" => Ok(Prompt::Document),
        _ => {
            let known: Vec<_> = ["query", "document"]
                .into_iter()
                .chain(prompts.iter().map(|(name, _)| name.as_str()))
                .collect();
            Err(SqlError::Statement(format!(
                "model '{}' has no prompt '{name}'; it takes {}",
                model.info().name,
                known.join(", ")
            )))
        }
    }
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
