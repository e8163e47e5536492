//! How long texts are for a model: in all, and word by word, so that a long text can be cut into
//! pieces of which the model truncates none. Where to cut is left to others.

use crate::inputs::TokenSpan;
use crate::{Model, Prompt, Result};

impl Model {
    /// Measures texts as this model reads them with a prompt before each.
    ///
    /// # Errors
    /// [`ModelError::BadOption`](crate::ModelError::BadOption) for an unknown prompt, and failures
    /// of the tokenizer.
    pub fn lengths(&self, prompt: Prompt<'_>) -> Result<Lengths> {
        Lengths::new(self, self.prompt(prompt)?)
    }
}

/// Measures texts as a model reads them, with a prompt before each and special tokens around.
///
/// # Examples
/// ```
/// use sembla_models::{Model, ModelSpec, Prompt};
///
/// let model = Model::load(&ModelSpec::new("minilm"))?;
/// let lengths = model.lengths(Prompt::Default)?;
/// let text = "A tokenizer, measured.";
/// let words = lengths.spans(text)?;
/// assert_eq!(&text[words[1].start..words[1].end], "tokenizer");
/// let sum: usize = words.iter().map(|word| word.tokens as usize).sum();
/// assert_eq!(lengths.count(text)?, lengths.fixed() + sum);
/// # Ok::<(), sembla_models::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lengths {
    model: Model,
    prompt: String,
    fixed: usize,
}

impl Lengths {
    pub(crate) fn new(model: &Model, prompt: &str) -> Result<Self> {
        let fixed = model.reader()?.length(prompt, "")?;
        Ok(Self { model: model.clone(), prompt: prompt.to_string(), fixed })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens of a text before truncation: its own, the prompt's, and special ones.
    ///
    /// # Errors
    /// Failures of the tokenizer.
    pub fn count(&self, text: &str) -> Result<usize> {
        self.model.reader()?.length(&self.prompt, text)
    }

    /// Tokens of the prompt and of the special ones around a text: [`Lengths::count`] of none.
    pub fn fixed(&self) -> usize {
        self.fixed
    }

    /// The words of a text in their order, with the tokens of each. White space is in none of them,
    /// unless the tokenizer sees it. Takes time and memory in proportion to the text.
    ///
    /// # Errors
    /// Failures of the tokenizer.
    pub fn spans(&self, text: &str) -> Result<Vec<TokenSpan>> {
        self.model.reader()?.spans(text)
    }

    /// Whether [`Lengths::count`] of any part of a text that is cut between words is
    /// [`Lengths::fixed`] and the tokens of its words. If not, it is so only about.
    pub fn adds_up(&self) -> bool {
        self.model.reader().is_ok_and(|reader| reader.adds_up(&self.prompt))
    }

    /// Most tokens that the model reads; `None` is no limit.
    pub fn tokens_max(&self) -> Option<usize> {
        self.model.info().max_length
    }

    /// Most characters of a text that the model reads, however few tokens they are; `None` is no
    /// limit.
    pub fn characters_max(&self) -> Option<usize> {
        self.model.reader().ok()?.characters_max()
    }
}
