//! Text to token ids: truncation that is noticed, prompts, pairs, in parallel.
//!
//! The padding and truncation that a `tokenizer.json` may carry are cleared: Sembla pads and truncates itself. What
//! the ids mean to a model is left to the graph.

use std::path::Path;

use rayon::prelude::*;
use tokenizers::{
    EncodeInput, Encoding, PostProcessor, Tokenizer, TruncationDirection, TruncationParams,
    TruncationStrategy,
};

use crate::onnxruntime::one_line;
use crate::{CancelToken, ModelError, Result, TokenCount};

/// The largest `tokenizer.json` that is read: XLM-R's is 17 MB, the largest known about 40 MB.
const TOKENIZER_BYTES_MAX: u64 = 256 << 20;

/// Texts that one task tokenises before it looks at the cancel flag.
const CHUNK_ROWS: usize = 64;

/// Reads a tokenizer. The library panics on some files that are not what it expects, so what can be seen before is
/// looked at first, and a panic becomes an error.
fn parse(bytes: &[u8]) -> Result<Tokenizer, String> {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).map_err(|error| error.to_string())?;
    std::panic::catch_unwind(|| Tokenizer::from_bytes(bytes))
        .map_err(|_| "the file is not what a tokenizer looks like".to_string())?
        .map_err(|error| error.to_string())
}

/// One input of a model, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Token ids, special tokens included.
    pub(crate) ids: Vec<u32>,
    /// Segment of each token; `None` is all zeros (a single text).
    pub(crate) type_ids: Option<Vec<u32>>,
    /// Tokens at the start that pooling leaves out (a prompt that the model doesn't pool).
    pub(crate) skip: usize,
    /// Whether the text was longer than the model's limit.
    pub(crate) truncated: bool,
}

/// A model's tokenizer with its limit.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    /// Name of the model, for messages.
    model: String,
    /// Special tokens that the post-processor adds to a single text.
    added: usize,
    add_special_tokens: bool,
    lowercase: bool,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` and sets the limit.
    ///
    /// `max_length` counts special tokens; a static model passes `add_special_tokens = false` and no limit.
    pub(crate) fn load(
        path: &Path,
        model: &str,
        max_length: Option<usize>,
        add_special_tokens: bool,
        lowercase: bool,
    ) -> Result<Self> {
        let size = std::fs::metadata(path).map_err(|error| ModelError::io(path, error))?.len();
        if size > TOKENIZER_BYTES_MAX {
            return Err(ModelError::file(
                path,
                format!("is {size} bytes; a tokenizer has at most {TOKENIZER_BYTES_MAX}"),
            ));
        }
        let bytes = std::fs::read(path).map_err(|error| ModelError::io(path, error))?;
        let mut tokenizer = parse(&bytes).map_err(|problem| {
            ModelError::file(path, format!("is not a tokenizer: {}", one_line(&problem)))
        })?;
        let added = match tokenizer.get_post_processor() {
            Some(processor) if add_special_tokens => processor.added_tokens(false),
            _ => 0,
        };
        let truncation = max_length.map(|max_length| TruncationParams {
            direction: TruncationDirection::Right,
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        });
        tokenizer.with_padding(None).with_truncation(truncation).map_err(|error| {
            ModelError::BadOption(format!(
                "max_length {} is too small for model '{model}': {}",
                max_length.unwrap_or_default(),
                one_line(&error.to_string())
            ))
        })?;
        Ok(Self { tokenizer, model: model.to_string(), added, add_special_tokens, lowercase })
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

    /// The median length of the vocabulary's tokens in characters, at least 1.
    pub(crate) fn median_token_length(&self) -> usize {
        let vocabulary = self.tokenizer.get_vocab(true);
        let mut lengths: Vec<usize> =
            vocabulary.into_keys().map(|token| token.chars().count()).collect();
        lengths.sort_unstable();
        let middle = lengths.len() / 2;
        let median = match (lengths.get(middle), middle.checked_sub(1).map(|low| lengths[low])) {
            (Some(high), Some(low)) if lengths.len() % 2 == 0 => (low + high) / 2,
            (Some(high), _) => *high,
            (None, _) => 1,
        };
        median.max(1)
    }

    /// Token ids of texts, in their order. `prompt` goes before each; `skip` is [`TextTokenizer::prompt_length`] where
    /// pooling leaves the prompt out, else 0.
    pub(crate) fn encode(
        &self,
        texts: &[&str],
        prompt: &str,
        skip: usize,
        cancel: &CancelToken,
    ) -> Result<Vec<Sequence>> {
        self.in_parallel(texts, cancel, |text| {
            let encoding = if prompt.is_empty() {
                self.run(self.cased(text).as_ref().into())?
            } else {
                self.run(self.cased(&format!("{prompt}{text}")).as_ref().into())?
            };
            Ok(Sequence {
                truncated: !encoding.get_overflowing().is_empty(),
                ids: encoding.get_ids().to_vec(),
                type_ids: None,
                skip,
            })
        })
    }

    /// Token ids of pairs, in their order; the longer text of a pair is truncated first.
    pub(crate) fn encode_pairs(
        &self,
        pairs: &[(&str, &str)],
        cancel: &CancelToken,
    ) -> Result<Vec<Sequence>> {
        self.in_parallel(pairs, cancel, |(first, second)| {
            let (first, second) = (self.cased(first), self.cased(second));
            let encoding = self.run((first.as_ref(), second.as_ref()).into())?;
            Ok(Sequence {
                truncated: !encoding.get_overflowing().is_empty(),
                ids: encoding.get_ids().to_vec(),
                type_ids: Some(encoding.get_type_ids().to_vec()),
                skip: 0,
            })
        })
    }

    /// Lengths of texts before truncation.
    pub(crate) fn count(&self, texts: &[&str], cancel: &CancelToken) -> Result<Vec<TokenCount>> {
        self.in_parallel(texts, cancel, |text| {
            let encoding = self.run(self.cased(text).as_ref().into())?;
            let rest: usize = encoding
                .get_overflowing()
                .iter()
                .map(|part| part.len().saturating_sub(self.added))
                .sum();
            Ok(TokenCount {
                tokens: encoding.len() + rest,
                truncated: !encoding.get_overflowing().is_empty(),
            })
        })
    }

    /// Tokens that a prompt takes at the start of a sequence, without a trailing special token.
    pub(crate) fn prompt_length(&self, prompt: &str) -> Result<usize> {
        if prompt.is_empty() {
            return Ok(0);
        }
        let encoding = self.run(self.cased(prompt).as_ref().into())?;
        let trailing = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(trailing))
    }

    /// Applies the model's lower-casing.
    fn cased<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        if self.lowercase { text.to_lowercase().into() } else { text.into() }
    }

    /// Encodes one input.
    fn run(&self, input: EncodeInput<'_>) -> Result<Encoding> {
        self.tokenizer.encode_fast(input, self.add_special_tokens).map_err(|error| {
            ModelError::Tokenizer {
                model: self.model.clone(),
                message: one_line(&error.to_string()),
            }
        })
    }

    /// Maps inputs in parallel, in order, looking at the cancel flag.
    fn in_parallel<I: Sync, O: Send>(
        &self,
        inputs: &[I],
        cancel: &CancelToken,
        one: impl Fn(&I) -> Result<O> + Sync,
    ) -> Result<Vec<O>> {
        let chunks: Result<Vec<Vec<O>>> = inputs
            .par_chunks(CHUNK_ROWS)
            .map(|chunk| {
                cancel.check()?;
                chunk.iter().map(&one).collect()
            })
            .collect();
        Ok(chunks?.into_iter().flatten().collect())
    }
}
