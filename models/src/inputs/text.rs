//! Texts and pairs to token ids: truncation that is noticed, prompts, in parallel.
//!
//! The padding and truncation that a `tokenizer.json` may carry are cleared: Sembla pads and
//! truncates itself. What the ids mean to a model is left to the graph.

use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

use rayon::prelude::*;
use tokenizers::{
    EncodeInput, Encoding, PostProcessor, Tokenizer, TruncationDirection, TruncationParams,
    TruncationStrategy,
};

use super::spans::{self, TokenSpan};
use super::wordpiece::{Pieced, WordPiece};
use super::{Input, Sequence};
use crate::error::one_line;
use crate::info::TokenCount;
use crate::panics::caught;
use crate::workers;
use crate::{CancelToken, ModelError, Result};

/// The largest `tokenizer.json` that is read: XLM-R's is 17 MB, the largest known about 40 MB.
const TOKENIZER_BYTES_MAX: u64 = 256 << 20;

/// Texts that one task tokenises before it looks at the cancel flag.
const CHUNK_ROWS: usize = 64;

/// Reads a tokenizer. The library panics on some files that are not what it expects, so what can be
/// seen before is looked at first, and a panic becomes an error.
fn parse(bytes: &[u8]) -> Result<Tokenizer, String> {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).map_err(|error| error.to_string())?;
    caught(|| Tokenizer::from_bytes(bytes))
        .map_err(|_| "the file does not look like a tokenizer".to_string())?
        .map_err(|error| error.to_string())
}

/// Which tokens of a sequence a model sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All there are.
    All,
    /// None after the first of these; `None` is the largest id that the tokenizer has.
    UpTo(Option<u32>),
    /// Always so many: filled up with padding that the model sees like a word.
    Filled {
        /// Tokens of every sequence.
        length: usize,
        /// The id of padding, where the tokenizer names none.
        padding: u32,
    },
}

impl Extent {
    /// The same with the ids that a tokenizer has.
    fn settled(self, tokenizer: &Tokenizer, named: Option<&str>) -> Self {
        match self {
            Self::UpTo(None) => Self::UpTo(tokenizer.get_vocab(true).into_values().max()),
            Self::Filled { length, padding } => {
                let named = named.and_then(|token| tokenizer.token_to_id(token));
                let own = || tokenizer.get_padding().map(|padding| padding.pad_id);
                Self::Filled { length, padding: named.or_else(own).unwrap_or(padding) }
            }
            same => same,
        }
    }

    /// Cuts or fills the ids of a sequence.
    fn apply(self, ids: &mut Vec<u32>) {
        match self {
            Self::All | Self::UpTo(None) => {}
            Self::UpTo(Some(end)) => {
                if let Some(place) = ids.iter().position(|id| *id == end) {
                    ids.truncate(place + 1);
                }
            }
            Self::Filled { length, padding } => ids.resize(length, padding),
        }
    }
}

/// How texts are read for a model.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Most tokens of a sequence, special tokens included; `None` is no limit.
    pub(crate) max_length: Option<usize>,
    pub(crate) add_special_tokens: bool,
    /// Whether texts become lower case first.
    pub(crate) lowercase: bool,
    /// Whether the prompt's tokens take part in pooling.
    pub(crate) pools_prompt: bool,
    /// Whether of a long text only so many characters are read as the limit has tokens of median
    /// length, which is model2vec's rule.
    pub(crate) reads_beginning: bool,
    /// Which tokens of a text the model sees.
    pub(crate) extent: Extent,
    /// The token that the directory names as padding.
    pub(crate) padding_token: Option<String>,
}

/// A model's tokenizer with its limit.
pub(crate) struct TextReader {
    tokenizer: Tokenizer,
    /// A quicker way to the same ids, where there is one.
    quick: Option<WordPiece>,
    /// Name of the model, for messages.
    model: String,
    reading: Reading,
    /// Most tokens that a sequence keeps.
    limit: usize,
    /// Most characters of a text that are looked at.
    characters: usize,
    /// The same tokenizer without a limit, made when lengths are asked for.
    unlimited: OnceLock<Tokenizer>,
}

impl TextReader {
    /// Reads `tokenizer.json` and sets the limits.
    ///
    /// # Errors
    /// [`ModelError::BadModelFile`] for a file that is not a tokenizer, and
    /// [`ModelError::BadOption`] for a limit that has no room for the special tokens.
    pub(crate) fn load(path: &Path, model: &str, mut reading: Reading) -> Result<Self> {
        let Reading { max_length, add_special_tokens, lowercase, .. } = reading;
        let size = std::fs::metadata(path).map_err(|error| ModelError::io(path, error))?.len();
        if size > TOKENIZER_BYTES_MAX {
            return Err(ModelError::file(
                path,
                format!("has {size} bytes, but a tokenizer may have at most {TOKENIZER_BYTES_MAX}"),
            ));
        }
        let bytes = std::fs::read(path).map_err(|error| ModelError::io(path, error))?;
        crate::lfs::refuse_pointer(path, &bytes)?;
        let mut tokenizer = parse(&bytes).map_err(|problem| {
            ModelError::file(path, format!("is not a tokenizer: {}", one_line(&problem)))
        })?;
        reading.extent = reading.extent.settled(&tokenizer, reading.padding_token.as_deref());
        // Whatever is encoded from here on must not be filled up to a length that the file chose.
        tokenizer.with_padding(None);
        let added = match tokenizer.get_post_processor() {
            Some(processor) if add_special_tokens => processor.added_tokens(false),
            _ => 0,
        };
        let quick = WordPiece::of(&tokenizer, &bytes, lowercase, add_special_tokens);
        // The library stops reading a text once it has enough tokens. Special tokens take places of
        // that limit, so there a longer text always shows; without any, one more token is asked
        // for, to see whether the text goes on.
        let asked = max_length.map(|limit| if added == 0 { limit + 1 } else { limit });
        let truncation = asked.map(|max_length| TruncationParams {
            direction: TruncationDirection::Right,
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        });
        tokenizer.with_truncation(truncation).map_err(|error| {
            ModelError::BadOption(format!(
                "max_length {} is too small for model '{model}': {}",
                max_length.unwrap_or_default(),
                one_line(&error.to_string())
            ))
        })?;
        let characters = match max_length {
            Some(limit) if reading.reads_beginning => {
                limit.saturating_mul(median_token_length(&tokenizer))
            }
            _ => usize::MAX,
        };
        Ok(Self {
            tokenizer,
            quick,
            model: model.to_string(),
            reading,
            limit: max_length.unwrap_or(usize::MAX),
            characters,
            unlimited: OnceLock::new(),
        })
    }

    /// The largest id that the vocabulary has, plus one.
    pub(crate) fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |largest| largest as usize + 1)
    }

    /// The id that stands for what the vocabulary doesn't have.
    pub(crate) fn unknown_id(&self) -> Option<u32> {
        let model = serde_json::to_value(self.tokenizer.get_model()).ok()?;
        match model.get("unk_token").and_then(serde_json::Value::as_str) {
            Some(token) => self.tokenizer.token_to_id(token),
            None => model.get("unk_id")?.as_u64().and_then(|id| u32::try_from(id).ok()),
        }
    }

    /// Inputs as token ids, in their order, with `prompt` before each text. Of a pair the longer
    /// text is truncated first.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`], and failures of the tokenizer.
    pub(crate) fn read(
        &self,
        inputs: &[Input<'_>],
        prompt: &str,
        cancel: &CancelToken,
    ) -> Result<Vec<Sequence>> {
        let skip = if self.reading.pools_prompt { 0 } else { self.prompt_length(prompt)? };
        self.in_parallel(inputs, cancel, |input| match *input {
            Input::Text(text) => self.text(prompt, text, skip),
            Input::Pair(first, second) => self.pair(first, second),
            Input::Image(_) => Err(ModelError::Bug("an image is no text".into())),
        })
    }

    fn text(&self, prompt: &str, text: &str, skip: usize) -> Result<Sequence> {
        let seen = beginning(text, self.characters);
        let is_cut = seen.len() < text.len();
        let text: Cow<'_, str> = match prompt {
            "" => Cow::Borrowed(seen),
            prompt => format!("{prompt}{seen}").into(),
        };
        let (mut ids, truncated) = match self.quickly(&text, self.limit)? {
            Some(Pieced { ids, truncated }) => (ids, truncated),
            None => {
                let encoding = self.run(self.cased(&text).as_ref().into())?;
                let mut ids = encoding.get_ids().to_vec();
                let truncated = ids.len() > self.limit || !encoding.get_overflowing().is_empty();
                ids.truncate(self.limit);
                (ids, truncated)
            }
        };
        self.reading.extent.apply(&mut ids);
        Ok(Sequence { ids, type_ids: None, skip, truncated: truncated || is_cut })
    }

    fn pair(&self, first: &str, second: &str) -> Result<Sequence> {
        let (first, second) = (self.cased(first), self.cased(second));
        let encoding = self.run((first.as_ref(), second.as_ref()).into())?;
        Ok(Sequence {
            truncated: !encoding.get_overflowing().is_empty(),
            ids: encoding.get_ids().to_vec(),
            type_ids: Some(encoding.get_type_ids().to_vec()),
            skip: 0,
        })
    }

    /// Lengths of texts before truncation.
    pub(crate) fn count(&self, texts: &[&str], cancel: &CancelToken) -> Result<Vec<TokenCount>> {
        self.in_parallel(texts, cancel, |text| {
            let tokens = match self.quickly(text, usize::MAX)? {
                Some(pieced) => pieced.ids.len(),
                None => self.all_ids(text, self.reading.add_special_tokens)?.len(),
            };
            Ok(TokenCount { tokens, truncated: tokens > self.limit })
        })
    }

    /// Tokens of a text before truncation, with a prompt before it and special tokens around.
    pub(crate) fn length(&self, prompt: &str, text: &str) -> Result<usize> {
        let text: Cow<'_, str> = match prompt {
            "" => Cow::Borrowed(text),
            prompt => format!("{prompt}{text}").into(),
        };
        Ok(match self.quickly(&text, usize::MAX)? {
            Some(pieced) => pieced.ids.len(),
            None => self.all_ids(&text, self.reading.add_special_tokens)?.len(),
        })
    }

    /// The words of a text with their tokens, without special ones.
    pub(crate) fn spans(&self, text: &str) -> Result<Vec<TokenSpan>> {
        match &self.quick {
            Some(quick) => quick.spans(text, |word| self.read_spans(word, false)),
            None => self.read_spans(text, true),
        }
    }

    /// Whether the length of a text behind a prompt is the sum of its [words](Self::spans) and of
    /// what is around it.
    pub(crate) fn adds_up(&self, prompt: &str) -> bool {
        self.quick.as_ref().is_some_and(|quick| quick.ends_word(prompt))
    }

    /// Most characters of a text that are looked at, if that is limited.
    pub(crate) fn characters_max(&self) -> Option<usize> {
        (self.characters < usize::MAX).then_some(self.characters)
    }

    /// The words of a text as the library sees them.
    fn read_spans(&self, text: &str, divides: bool) -> Result<Vec<TokenSpan>> {
        let cased = self.cased(text);
        if cased.len() != text.len() {
            // Places in the one are none in the other.
            let tokens = self.all_ids(text, false)?.len() as u32;
            return Ok(vec![TokenSpan { start: 0, end: text.len(), tokens }]);
        }
        let unlimited = self.unlimited()?;
        let encoding = self.call(|| unlimited.encode(cased.as_ref(), false))?;
        Ok(spans::of_encoding(&encoding, text, divides))
    }

    /// The ids of a text by the quick way, where there is one.
    fn quickly(&self, text: &str, limit: usize) -> Result<Option<Pieced>> {
        match &self.quick {
            Some(quick) => quick.encode(text, limit, |word| self.all_ids(word, false)),
            None => Ok(None),
        }
    }

    /// The library's ids of a text, however long.
    fn all_ids(&self, text: &str, is_special: bool) -> Result<Vec<u32>> {
        let unlimited = self.unlimited()?;
        let encoding = self.call(|| unlimited.encode_fast(self.cased(text).as_ref(), is_special));
        Ok(encoding?.get_ids().to_vec())
    }

    /// The tokenizer without a limit.
    fn unlimited(&self) -> Result<&Tokenizer> {
        if let Some(tokenizer) = self.unlimited.get() {
            return Ok(tokenizer);
        }
        let mut tokenizer = self.tokenizer.clone();
        tokenizer.with_truncation(None).map_err(|error| self.error(&*error))?;
        Ok(self.unlimited.get_or_init(|| tokenizer))
    }

    /// Tokens that a prompt takes at the start of a sequence, without a trailing special token.
    fn prompt_length(&self, prompt: &str) -> Result<usize> {
        if prompt.is_empty() {
            return Ok(0);
        }
        let encoding = self.run(self.cased(prompt).as_ref().into())?;
        let trailing = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(trailing))
    }

    /// Applies the model's lower-casing.
    fn cased<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.reading.lowercase { text.to_lowercase().into() } else { text.into() }
    }

    /// Encodes one input.
    fn run(&self, input: EncodeInput<'_>) -> Result<Encoding> {
        self.call(|| self.tokenizer.encode_fast(input, self.reading.add_special_tokens))
    }

    /// Calls the library, which panics where a regular expression of the file gives up on a text.
    fn call(
        &self,
        encode: impl FnOnce() -> Result<Encoding, tokenizers::Error>,
    ) -> Result<Encoding> {
        let encoded = caught(encode).map_err(|panic| ModelError::Tokenizer {
            model: self.model.clone(),
            message: format!("it failed on a text: {}", one_line(&panic)),
        })?;
        encoded.map_err(|error| self.error(&*error))
    }

    fn error(&self, error: &dyn std::error::Error) -> ModelError {
        ModelError::Tokenizer { model: self.model.clone(), message: one_line(&error.to_string()) }
    }

    /// Maps inputs in parallel, in order, looking at the cancel flag.
    fn in_parallel<I: Sync, O: Send>(
        &self,
        inputs: &[I],
        cancel: &CancelToken,
        one: impl Fn(&I) -> Result<O> + Sync,
    ) -> Result<Vec<O>> {
        let chunks: Result<Vec<Vec<O>>> = workers::run(|| {
            let chunk = |chunk: &[I]| {
                cancel.check()?;
                chunk.iter().map(&one).collect()
            };
            inputs.par_chunks(CHUNK_ROWS).map(chunk).collect()
        });
        Ok(chunks?.into_iter().flatten().collect())
    }
}

/// The median length of a vocabulary's tokens in characters, at least 1.
fn median_token_length(tokenizer: &Tokenizer) -> usize {
    let vocabulary = tokenizer.get_vocab(true);
    let mut lengths: Vec<usize> =
        vocabulary.into_keys().map(|token| token.chars().count()).collect();
    lengths.sort_unstable();
    let middle = lengths.len() / 2;
    let median = match (lengths.get(middle), middle.checked_sub(1).map(|low| lengths[low])) {
        (Some(high), Some(low)) if lengths.len().is_multiple_of(2) => (low + high) / 2,
        (Some(high), _) => *high,
        (None, _) => 1,
    };
    median.max(1)
}

/// The first `characters` characters of a text.
fn beginning(text: &str, characters: usize) -> &str {
    if text.len() <= characters {
        return text;
    }
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(folder: &str, limit: usize, special: bool) -> TextReader {
        let builtin = Path::new(env!("CARGO_MANIFEST_DIR")).join("builtin").join(folder);
        let reading = Reading {
            max_length: Some(limit),
            add_special_tokens: special,
            lowercase: false,
            pools_prompt: true,
            reads_beginning: false,
            extent: Extent::All,
            padding_token: None,
        };
        TextReader::load(&builtin.join("tokenizer.json"), "test", reading).expect("load")
    }

    #[test]
    fn lengths_and_truncation_are_exact_at_the_limit() {
        let cancel = CancelToken::new();
        let text = "one two three four five six";
        for (folder, special, whole) in
            [("potion-base-4M-int8", false, 6), ("all-MiniLM-L6-v2-q8", true, 8)]
        {
            for limit in 3..12 {
                let tokenizer = load(folder, limit, special);
                let count = tokenizer.count(&[text], &cancel).expect("count")[0];
                let expected = TokenCount { tokens: whole, truncated: whole > limit };
                assert_eq!(count, expected, "{folder} at {limit}");
                let input = Input::Text(text);
                let sequence = tokenizer.read(&[input], "", &cancel).expect("encode").remove(0);
                assert_eq!(sequence.truncated, whole > limit, "{folder} at {limit}");
                assert_eq!(sequence.ids.len(), whole.min(limit), "{folder} at {limit}");
                if special {
                    assert_eq!(sequence.ids.last(), Some(&102), "[SEP] stays at the end");
                }
            }
        }
    }

    #[test]
    fn pairs_keep_their_separators_and_segments() {
        let cancel = CancelToken::new();
        let tokenizer = load("all-MiniLM-L6-v2-q8", 9, true);
        let long = "one two three four five six seven";
        let pairs = [Input::Pair("one two", long), Input::Pair("one", "two")];
        let sequences = tokenizer.read(&pairs, "", &cancel).expect("encode");
        assert!(sequences[0].truncated && !sequences[1].truncated);
        assert_eq!(sequences[0].ids.len(), 9);
        assert_eq!(sequences[1].type_ids.as_deref(), Some(&[0, 0, 0, 1, 1][..]));
    }
}
