//! What a model is given, and how it is made ready to run.
//!
//! An [`Input`] is what callers have: a text, or a pair. A [`Sequence`] is what a backend runs.
//! What the numbers mean to a model is left to it.

mod spans;
mod text;
mod wordpiece;

pub use self::spans::TokenSpan;
pub(crate) use self::text::{Extent, Reading, TextReader};

/// One thing that a model is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input<'a> {
    /// A text.
    Text(&'a str),
    /// Two texts, to be scored together.
    Pair(&'a str, &'a str),
    /// An image, by the hash of its file.
    Image(&'a [u8; 32]),
}

impl Input<'_> {
    /// Its contents, piece by piece, as a hash of it takes them.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &[u8]> {
        let (first, second) = match self {
            Self::Text(text) => (text.as_bytes(), None),
            Self::Pair(first, second) => (first.as_bytes(), Some(second.as_bytes())),
            Self::Image(hash) => (&b"image"[..], Some(&hash[..])),
        };
        std::iter::once(first).chain(second)
    }
}

/// One input, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Segment of each token; `None` is all zeros (a single text).
    pub type_ids: Option<Vec<u32>>,
    /// Tokens at the start that pooling leaves out (a prompt that the model doesn't pool).
    pub skip: usize,
    /// Whether the text was longer than the model's limit.
    pub truncated: bool,
}
