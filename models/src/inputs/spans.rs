//! Where the tokens of a text lie in it.

use tokenizers::Encoding;

/// Tokens of a word that is divided into its tokens, where a text can be cut between any two.
const WORD_TOKENS_MAX: usize = 8;

/// A word or a part of one, and how many tokens it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSpan {
    /// Its first byte in the text.
    pub start: usize,
    /// The byte behind it.
    pub end: usize,
    /// Its tokens.
    pub tokens: u32,
}

impl TokenSpan {
    /// The same in a text that has so many more bytes before it.
    pub(super) fn shifted(self, bytes: usize) -> Self {
        Self { start: self.start + bytes, end: self.end + bytes, ..self }
    }
}

/// The words of a text by what the library made of it. With `divides`, words of many tokens come in
/// pieces of one.
pub(super) fn of_encoding(encoding: &Encoding, text: &str, divides: bool) -> Vec<TokenSpan> {
    let words = encoding.get_word_ids();
    let mut lengths = std::collections::HashMap::new();
    if divides {
        words.iter().flatten().for_each(|word| *lengths.entry(*word).or_insert(0) += 1);
    }
    let is_long = |word: u32| lengths.get(&word).is_some_and(|tokens| *tokens > WORD_TOKENS_MAX);
    let mut spans: Vec<TokenSpan> = Vec::with_capacity(words.len());
    let mut last = None;
    for ((start, end), word) in encoding.get_offsets().iter().zip(words) {
        let (start, end) = (floor(text, *start), floor(text, *end));
        let same_word = word.is_some_and(|word| last == Some(word) && !is_long(word));
        match spans.last_mut() {
            // Tokens of one character have its place all of them, or none.
            Some(span) if same_word || start < span.end || start == end => {
                span.end = span.end.max(end);
                span.tokens += 1;
            }
            _ => spans.push(TokenSpan { start, end: end.max(start), tokens: 1 }),
        }
        last = *word;
    }
    spans
}

/// The nearest border of a character that is not behind a byte.
fn floor(text: &str, byte: usize) -> usize {
    let byte = byte.min(text.len());
    (0..=byte).rev().find(|byte| text.is_char_boundary(*byte)).unwrap_or_default()
}
