//! Long texts in pieces that a model reads whole: cut where the text has its breaks, and never
//! longer than so many tokens.
//!
//! A text is measured once, word by word ([`Measure`]). From then on the length of any piece is a
//! difference of two sums, so packing a chunk costs as much as looking at its words.
//!
//! - *Invariant:* a chunk has at most [`ChunkOptions::size`] tokens, by the model's own count, with
//!   its prompt, its special tokens and the headings before it.
//! - *Invariant:* chunks come in the order of the text and leave out nothing but white space.
//! - *Absent:* tokenizers and models; a caller brings them.

mod gaps;
mod markdown;
mod packing;
mod subjects;
#[cfg(test)]
mod tests;
mod units;

use std::borrow::Cow;
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{OperatorError, Result};
use crate::{Host, Loan, host};
use packing::Packing;
use units::Units;

/// Bytes that a text takes while it is cut, for each of its own.
const BYTES_PER_BYTE: usize = 16;

/// Bytes of a chunk for each token that it may have. A tokenizer takes a "word" of a megabyte for
/// one unknown token; a chunk of that is of no use to anybody.
const BYTES_PER_TOKEN_MAX: usize = 64;

/// Where texts are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// At the strongest break in the second half of what fits: a blank line, else the end of a
    /// sentence, of a line, of a clause, of a word.
    Recursive,
    /// Between sentences, as many as fit. A sentence that does not fit is cut as by `Recursive`.
    Sentence,
    /// As `Recursive`, and also at headings: a chunk has text of one section and those below it.
    Markdown,
    /// Between words, as many as fit.
    Tokens,
    /// Between sentences, and wherever the subject changes.
    Semantic,
}

impl Method {
    /// The names of all methods.
    pub const NAMES: &'static [&'static str] =
        &["recursive", "sentence", "markdown", "tokens", "semantic"];

    /// The method of that name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "recursive" => Self::Recursive,
            "sentence" => Self::Sentence,
            "markdown" => Self::Markdown,
            "tokens" => Self::Tokens,
            "semantic" => Self::Semantic,
            _ => return None,
        })
    }

    /// Whether white space at both ends of a chunk is left out of it.
    fn trims(self) -> bool {
        !matches!(self, Self::Recursive | Self::Tokens)
    }
}

/// How texts are cut.
#[derive(Clone, Copy, Debug)]
pub struct ChunkOptions {
    /// Where.
    pub method: Method,
    /// Most tokens of a chunk, the prompt and special tokens included.
    pub size: usize,
    /// Most tokens of a chunk's end that the next one begins with.
    pub overlap: usize,
    /// Whether a chunk of Markdown begins with the headings above it.
    pub heading: bool,
    /// Most characters of a chunk, where a model reads no more.
    pub characters: Option<usize>,
}

/// A word of a text, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its first byte.
    pub start: usize,
    /// The byte behind it.
    pub end: usize,
    /// Its tokens.
    pub tokens: u32,
}

/// How a model measures texts.
pub trait Measure: Sync {
    /// Tokens of a text, prompt and special tokens included.
    ///
    /// # Errors
    /// Failures of the tokenizer, as [`OperatorError::Caller`].
    fn count(&self, text: &str) -> Result<usize>;

    /// Tokens of an empty text.
    fn fixed(&self) -> usize;

    /// The words of a text.
    ///
    /// # Errors
    /// Failures of the tokenizer, as [`OperatorError::Caller`].
    fn words(&self, text: &str) -> Result<Vec<Word>>;

    /// Whether the length of a text cut between words is the sum of its parts.
    fn adds_up(&self) -> bool;

    /// Vectors of sentences, for [`Method::Semantic`]: components of each, and all values.
    ///
    /// # Errors
    /// Failures of the model.
    fn vectors(&self, sentences: &[&str]) -> Result<(usize, Vec<f32>)>;
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its first byte in the text.
    pub start: usize,
    /// The byte behind it.
    pub end: usize,
    /// Its tokens, with [`Chunk::context`], the prompt and special tokens.
    pub tokens: usize,
    /// The headings that it stands under, outermost first, its own one included.
    pub heading_path: Option<Arc<str>>,
    /// What its text begins with before that of the piece.
    pub context: Option<Arc<str>>,
}

impl Chunk {
    /// The text of a chunk of `whole`.
    pub fn text<'t>(&self, whole: &'t str) -> Cow<'t, str> {
        let piece = whole.get(self.start..self.end).unwrap_or_default();
        match &self.context {
            Some(context) => format!("{context}{piece}").into(),
            None => piece.into(),
        }
    }
}

/// Checks options against the model that will read the chunks.
///
/// # Errors
/// [`OperatorError::Option`] for a size without room and an overlap that is no part of it.
pub fn check(options: &ChunkOptions, measure: &dyn Measure) -> Result<()> {
    let fixed = measure.fixed();
    if options.size <= fixed {
        return Err(OperatorError::Option(format!(
            "size must be at least {}, got {}: the model's special tokens and its prompt take {fixed}",
            fixed + 1,
            options.size
        )));
    }
    let room = options.size - fixed;
    if options.overlap >= room {
        return Err(OperatorError::Option(format!(
            "overlap must be less than {room}, got {}: of {} tokens a chunk has {room} for its own text",
            options.overlap, options.size
        )));
    }
    Ok(())
}

/// The chunks of a text. White space alone has none.
///
/// Takes time and memory in proportion to the text.
///
/// # Errors
/// Those of [`check`] and of `measure`; [`OperatorError::Option`] where one character has more
/// tokens than a chunk may.
pub fn split(text: &str, options: &ChunkOptions, measure: &dyn Measure) -> Result<Vec<Chunk>> {
    check(options, measure)?;
    let room = options.size - measure.fixed();
    let bytes_max = options.size.saturating_mul(BYTES_PER_TOKEN_MAX).max(BYTES_PER_TOKEN_MAX);
    let bytes_max = bytes_max.min(options.characters.unwrap_or(usize::MAX)).max(16);
    // The headings before a chunk take half of its room at most.
    let has_context = options.method == Method::Markdown && options.heading;
    let unit_max = if has_context { room.div_ceil(2) } else { room };
    let mut units = Units::of(text, measure, unit_max, bytes_max)?;
    let outline = match options.method {
        Method::Markdown => Some(markdown::outline(text)),
        _ => None,
    };
    gaps::rate(&mut units, text, outline.as_ref());
    if options.method == Method::Semantic {
        subjects::mark(&mut units, text, measure)?;
    }
    Packing { text, units: &units, outline: outline.as_ref(), options, measure, bytes_max }.chunks()
}

/// The chunks of many texts, on all cores; none of NULL.
///
/// # Errors
/// Those of [`split`] and what the host says.
pub fn split_all(
    texts: &[Option<&str>],
    options: &ChunkOptions,
    measure: &dyn Measure,
    host: &dyn Host,
) -> Result<Vec<Vec<Chunk>>> {
    check(options, measure)?;
    let one = |text: &Option<&str>| {
        host::check(host)?;
        let Some(text) = text else { return Ok(Vec::new()) };
        let _loan = Loan::new(host, text.len().saturating_mul(BYTES_PER_BYTE))?;
        split(text, options, measure)
    };
    texts.par_iter().map(one).collect()
}
