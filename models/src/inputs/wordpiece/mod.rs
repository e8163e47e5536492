//! The common tokenizer of BERT's descendants, in one pass: split at spaces and punctuation, lower
//! case, longest pieces first.
//!
//! The tokenizers library builds aligned copies of a text for each of these steps, which takes
//! longer than a static model does. Here a word of plain ASCII goes straight to its pieces. A word
//! with anything else in it (accents, other scripts, control characters, what may be a special
//! token) is given to the library by itself: words are independent of each other there.
//!
//! - *Invariant:* the ids are the library's. Tests compare them on real and on hostile texts.
//! - *Invariant:* no more of a text is read than the limit wants.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::Deserialize;
use tokenizers::Tokenizer;

use super::spans::TokenSpan;

/// A word that the library is given is no longer than this; a text with a longer one goes there as
/// a whole, as the library knows when to stop within a word.
const FOREIGN_WORD_BYTES_MAX: usize = 1024;

/// The parts of a `tokenizer.json` that decide whether this is its tokenizer.
#[derive(Deserialize)]
struct Declared {
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<Typed>,
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    clean_text: bool,
    #[serde(default)]
    lowercase: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    unk_token: String,
    #[serde(default)]
    continuing_subword_prefix: String,
    #[serde(default)]
    max_input_chars_per_word: usize,
}

#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
}

impl Added {
    /// Whether it can be told from the word it is in, by its first byte, that it may be there.
    fn is_plain(&self) -> bool {
        let first = self.content.bytes().next();
        first.is_some_and(|byte| byte.is_ascii_punctuation())
            && !self.content.contains(char::is_whitespace)
            && !(self.single_word || self.lstrip || self.rstrip || self.normalized)
    }
}

/// What a byte of ASCII is to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// A letter or digit.
    Inner,
    /// A word by itself.
    Punctuation,
    /// Between words.
    Space,
    /// The library's to judge.
    Foreign,
}

/// Pieces by their bytes.
type Pieces = HashMap<Box<[u8]>, u32, BuildHasherDefault<PieceHasher>>;

/// A tokenizer of that kind.
pub(super) struct WordPiece {
    classes: [Class; 256],
    /// By byte, as it is looked up.
    cased: [u8; 256],
    /// What a word begins with, and what it goes on with.
    first: Pieces,
    next: Pieces,
    piece_bytes_max: usize,
    unknown: u32,
    word_bytes_max: usize,
    /// Ids before and after the text's own, where special tokens are wanted.
    around: (Vec<u32>, Vec<u32>),
}

/// The ids of a text.
pub(super) struct Pieced {
    pub(super) ids: Vec<u32>,
    /// Whether the text had more than the limit.
    pub(super) truncated: bool,
}

impl WordPiece {
    /// The same as a tokenizer, if it is of that kind. `declared` is its file; `lowercase` whether
    /// texts are lowered before; `is_special` whether special tokens are wanted.
    pub(super) fn of(
        tokenizer: &Tokenizer,
        declared: &[u8],
        lowercase: bool,
        is_special: bool,
    ) -> Option<Self> {
        let declared: Declared = serde_json::from_slice(declared).ok()?;
        let normalizer = declared.normalizer?;
        let Model { kind, unk_token, continuing_subword_prefix, max_input_chars_per_word } =
            declared.model;
        let is_it = normalizer.kind == "BertNormalizer"
            && normalizer.clean_text
            && declared.pre_tokenizer?.kind == "BertPreTokenizer"
            && kind.is_some_and(|kind| kind == "WordPiece")
            && !continuing_subword_prefix.is_empty()
            && declared.added_tokens.iter().all(Added::is_plain);
        if !is_it {
            return None;
        }
        let vocabulary = tokenizer.get_vocab(false);
        let unknown = *vocabulary.get(&unk_token)?;
        let (mut first, mut next) = (Pieces::default(), Pieces::default());
        for (piece, id) in vocabulary {
            if let Some(rest) = piece.strip_prefix(&continuing_subword_prefix) {
                next.insert(rest.as_bytes().into(), id);
            }
            first.insert(piece.into_bytes().into(), id);
        }
        let longest = |pieces: &Pieces| pieces.keys().map(|piece| piece.len()).max().unwrap_or(0);
        let specials =
            declared.added_tokens.iter().filter_map(|added| added.content.bytes().next());
        let (classes, cased) = bytes(specials.collect(), lowercase || normalizer.lowercase);
        Some(Self {
            classes,
            cased,
            piece_bytes_max: longest(&first).max(longest(&next)),
            first,
            next,
            unknown,
            word_bytes_max: max_input_chars_per_word,
            around: if is_special { around(tokenizer)? } else { Default::default() },
        })
    }

    /// The ids of a text, at most `limit` with special tokens. `foreign` gives the library's ids of
    /// a word. `None` where the library should take the whole text.
    pub(super) fn encode<E>(
        &self,
        text: &str,
        limit: usize,
        foreign: impl Fn(&str) -> Result<Vec<u32>, E>,
    ) -> Result<Option<Pieced>, E> {
        let (before, after) = &self.around;
        let room = limit.saturating_sub(before.len() + after.len());
        let mut ids = Vec::with_capacity(before.len() + after.len() + room.min(text.len() / 4 + 4));
        ids.extend_from_slice(before);
        let end = before.len().saturating_add(room);
        for word in text.as_bytes().split(|byte| self.class(*byte) == Class::Space) {
            if ids.len() > end {
                break;
            }
            if word.iter().any(|byte| self.class(*byte) == Class::Foreign) {
                // Spaces are ASCII, so a word between two of them is as sound as the text.
                match std::str::from_utf8(word) {
                    Ok(word) if word.len() <= FOREIGN_WORD_BYTES_MAX => ids.extend(foreign(word)?),
                    _ => return Ok(None),
                }
                continue;
            }
            let is_inner = |byte: u8| self.class(byte) == Class::Inner;
            for part in word.chunk_by(|a, b| is_inner(*a) && is_inner(*b)) {
                self.pieces(part, &mut ids);
                if ids.len() > end {
                    break;
                }
            }
        }
        let truncated = ids.len() > end;
        ids.truncate(end);
        ids.extend_from_slice(after);
        Ok(Some(Pieced { ids, truncated }))
    }

    /// The words of a text with the number of their pieces, however many. Pieces of a text that is
    /// cut between two of these are the pieces of its parts. `foreign` measures what the library
    /// has to read, from its first byte.
    pub(super) fn spans<E>(
        &self,
        text: &str,
        foreign: impl Fn(&str) -> Result<Vec<TokenSpan>, E>,
    ) -> Result<Vec<TokenSpan>, E> {
        let mut spans = Vec::with_capacity(text.len() / 6 + 1);
        let mut ids = Vec::new();
        let mut start = 0;
        for word in text.as_bytes().split(|byte| self.class(*byte) == Class::Space) {
            let next = start + word.len() + 1;
            if word.iter().any(|byte| self.class(*byte) == Class::Foreign) {
                let own = foreign(&text[start..start + word.len()])?;
                spans.extend(own.into_iter().map(|span| span.shifted(start)));
            } else {
                let is_inner = |byte: u8| self.class(byte) == Class::Inner;
                for part in word.chunk_by(|a, b| is_inner(*a) && is_inner(*b)) {
                    ids.clear();
                    self.pieces(part, &mut ids);
                    let end = start + part.len();
                    spans.push(TokenSpan { start, end, tokens: ids.len() as u32 });
                    start = end;
                }
            }
            start = next;
        }
        Ok(spans)
    }

    /// Whether what follows a text is a word of its own, so that the pieces of both are those of
    /// each.
    pub(super) fn ends_word(&self, text: &str) -> bool {
        let last = text.bytes().next_back();
        last.is_none_or(|byte| matches!(self.class(byte), Class::Space | Class::Punctuation))
    }

    fn class(&self, byte: u8) -> Class {
        self.classes[usize::from(byte)]
    }

    /// The pieces of a word, the longest first; the unknown token where there are none.
    fn pieces(&self, word: &[u8], ids: &mut Vec<u32>) {
        if word.len() > self.word_bytes_max {
            ids.push(self.unknown);
            return;
        }
        let mut lowered = [0; 128];
        let lowered = match lowered.get_mut(..word.len()) {
            Some(lowered) => lowered,
            None => return self.long(word, ids),
        };
        for (to, from) in lowered.iter_mut().zip(word) {
            *to = self.cased[usize::from(*from)];
        }
        self.longest_first(lowered, ids);
    }

    /// As `pieces`, for words that a model allows to be unusually long.
    fn long(&self, word: &[u8], ids: &mut Vec<u32>) {
        let lowered: Vec<u8> = word.iter().map(|byte| self.cased[usize::from(*byte)]).collect();
        self.longest_first(&lowered, ids);
    }

    fn longest_first(&self, word: &[u8], ids: &mut Vec<u32>) {
        let begun = ids.len();
        let (mut rest, mut pieces) = (word, &self.first);
        while !rest.is_empty() {
            let most = rest.len().min(self.piece_bytes_max);
            let found = (1..=most).rev().find_map(|end| Some((end, *pieces.get(&rest[..end])?)));
            let Some((end, id)) = found else {
                ids.truncate(begun);
                ids.push(self.unknown);
                return;
            };
            ids.push(id);
            rest = &rest[end..];
            pieces = &self.next;
        }
    }
}

/// What bytes are, and how they are looked up. `specials` may begin a special token.
fn bytes(specials: Vec<u8>, lowercase: bool) -> ([Class; 256], [u8; 256]) {
    let (mut classes, mut cased) = ([Class::Foreign; 256], [0; 256]);
    for byte in 0..=u8::MAX {
        let at = usize::from(byte);
        cased[at] = if lowercase { byte.to_ascii_lowercase() } else { byte };
        classes[at] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => Class::Space,
            _ if specials.contains(&byte) => Class::Foreign,
            _ if byte.is_ascii_alphanumeric() => Class::Inner,
            _ if byte.is_ascii_punctuation() => Class::Punctuation,
            _ => Class::Foreign,
        };
    }
    (classes, cased)
}

/// The ids that the tokenizer puts before and after a text.
fn around(tokenizer: &Tokenizer) -> Option<(Vec<u32>, Vec<u32>)> {
    let ids = |special| Some(tokenizer.encode_fast("a", special).ok()?.get_ids().to_vec());
    let (own, all) = (ids(false)?, ids(true)?);
    let at = all.windows(own.len().max(1)).position(|part| part == own)?;
    Some((all[..at].to_vec(), all[at + own.len()..].to_vec()))
}

/// A quick hash of a few bytes. Vocabularies are no place for an attack on a hash: a model's file
/// can only make its own tokenizer slow.
#[derive(Default)]
struct PieceHasher(u64);

impl Hasher for PieceHasher {
    fn write(&mut self, bytes: &[u8]) {
        const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(part) {
                *to = *from;
            }
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
        }
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        // The table takes its bits from both ends.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests;
