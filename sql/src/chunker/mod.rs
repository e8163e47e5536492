//! Cuts texts into chunks for a model: where models and the operator that cuts meet.

use sembla_models::{CancelToken, Lengths, Model, ModelError, Prompt};
use sembla_operators::chunks::{self, Chunk, ChunkOptions, Measure, Method, Word};
use sembla_operators::{Host, OperatorError};

use crate::SqlError;

/// Tokens of a chunk where nobody says how many, if the model reads so many.
const SIZE: usize = 256;

/// Tokens that a chunk repeats of the one before where nobody says how many, if that is no more
/// than an eighth of the size.
const OVERLAP: usize = 32;

/// How texts are to be cut. Sizes that are `None` follow from the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkSpec {
    /// The method: `recursive`, `sentence`, `markdown`, `tokens` or `semantic`.
    pub method: String,
    /// Most tokens of a chunk, special tokens and the prompt included.
    pub size: Option<usize>,
    /// Most tokens of the end of a chunk that the next one begins with.
    pub overlap: Option<usize>,
    /// Whether a chunk of Markdown begins with the headings above it.
    pub heading: bool,
}

impl std::str::FromStr for ChunkSpec {
    type Err = SqlError;

    /// Reads `method[:size[:overlap]]`.
    fn from_str(words: &str) -> Result<Self, SqlError> {
        let wrong = || {
            SqlError::Statement(format!(
                "'{words}' is no way to chunk; write method:size:overlap, such as recursive:256:32, with one of {}",
                Method::NAMES.join(", ")
            ))
        };
        let mut parts = words.split(':');
        let method = parts.next().and_then(Method::of).and(words.split(':').next());
        let method = method.ok_or_else(wrong)?.to_string();
        let mut number = || {
            parts.next().map(str::parse).transpose().map_err(|_: std::num::ParseIntError| wrong())
        };
        let (size, overlap) = (number()?, number()?);
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self { method, size, overlap, heading: true })
    }
}

impl std::fmt::Display for ChunkSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.method)?;
        for number in [self.size, self.overlap].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        if self.heading { Ok(()) } else { f.write_str(" without headings") }
    }
}

/// Cuts texts into pieces that a model reads whole. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Chunker {
    lengths: Lengths,
    /// The model that sees subjects change.
    subjects: Option<Model>,
    options: ChunkOptions,
}

impl Chunker {
    /// A chunker for a model that gets a prompt before each chunk. `subjects` loads a quick model
    /// that tells subjects apart, which the method `semantic` asks for.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for a size that is more than the model reads, or has no room for
    /// text and overlap; what loading says.
    pub fn new(
        model: &Model,
        prompt: Prompt<'_>,
        given: &ChunkSpec,
        subjects: impl FnOnce() -> Result<Model, SqlError>,
    ) -> Result<Self, SqlError> {
        let method = Method::of(&given.method).ok_or_else(|| {
            SqlError::Statement(format!(
                "there is no method '{}'; methods are {}",
                given.method,
                Method::NAMES.join(", ")
            ))
        })?;
        let lengths = model.lengths(prompt)?;
        let limit = lengths.tokens_max();
        let size = given.size.unwrap_or_else(|| limit.map_or(SIZE, |limit| limit.min(SIZE)));
        if let Some(limit) = limit.filter(|limit| size > *limit) {
            return Err(SqlError::Statement(format!(
                "size must be at most {limit}, which is all that model '{}' reads, got {size}",
                model.info().name
            )));
        }
        let overlap = given.overlap.unwrap_or(OVERLAP.min(size / 8));
        let characters = lengths.characters_max();
        let options = ChunkOptions { method, size, overlap, heading: given.heading, characters };
        let subjects = (method == Method::Semantic).then(subjects).transpose()?;
        chunks::check(&options, &Tokens { lengths: &lengths, subjects: None, cancel: None })?;
        Ok(Self { lengths, subjects, options })
    }

    /// The options, with sizes that follow from the model.
    pub fn options(&self) -> &ChunkOptions {
        &self.options
    }

    /// The chunks of texts, in their order; none of NULL, white space and text without tokens.
    /// Works on all cores.
    ///
    /// # Errors
    /// Those of the tokenizer and of `host`, and [`SqlError::Cancelled`].
    pub fn split(
        &self,
        texts: &[Option<&str>],
        cancel: &CancelToken,
        host: &dyn Host,
    ) -> Result<Vec<Vec<Chunk>>, SqlError> {
        let subjects = self.subjects.as_ref();
        let measure = Tokens { lengths: &self.lengths, subjects, cancel: Some(cancel) };
        Ok(chunks::split_all(texts, &self.options, &measure, host)?)
    }
}

impl Chunker {
    /// [`Chunker::split`] outside of a query.
    ///
    /// # Errors
    /// As there.
    pub fn split_texts(
        &self,
        texts: &[Option<&str>],
        cancel: &CancelToken,
    ) -> Result<Vec<Vec<Chunk>>, SqlError> {
        self.split(texts, cancel, &Cancellable(cancel))
    }
}

/// A host that stops the work when a token is set, and lends without limit.
struct Cancellable<'a>(&'a CancelToken);

impl Host for Cancellable<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// A model as chunking measures with it.
struct Tokens<'a> {
    lengths: &'a Lengths,
    subjects: Option<&'a Model>,
    cancel: Option<&'a CancelToken>,
}

impl Measure for Tokens<'_> {
    fn count(&self, text: &str) -> Result<usize, OperatorError> {
        self.lengths.count(text).map_err(failed)
    }

    fn fixed(&self) -> usize {
        self.lengths.fixed()
    }

    fn words(&self, text: &str) -> Result<Vec<Word>, OperatorError> {
        let spans = self.lengths.spans(text).map_err(failed)?.into_iter();
        Ok(spans
            .map(|span| Word { start: span.start, end: span.end, tokens: span.tokens })
            .collect())
    }

    fn adds_up(&self) -> bool {
        self.lengths.adds_up()
    }

    fn vectors(&self, sentences: &[&str]) -> Result<(usize, Vec<f32>), OperatorError> {
        let model =
            self.subjects.ok_or_else(|| OperatorError::Bug("no model for subjects".into()))?;
        let never = CancelToken::new();
        let cancel = self.cancel.unwrap_or(&never);
        let vectors = model.embed(sentences, Prompt::Text(""), cancel).map_err(failed)?;
        Ok((vectors.dimension, vectors.values))
    }
}

fn failed(error: ModelError) -> OperatorError {
    match error {
        ModelError::Cancelled => OperatorError::Cancelled,
        error => OperatorError::Caller(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
