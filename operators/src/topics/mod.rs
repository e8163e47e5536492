//! What topics are about: their words, a label, texts that stand for them, and how well the words
//! go together.
//!
//! Which row is of which topic is decided elsewhere (by clusters, or by a column); `None` is a row
//! of no topic. Each file is one step: [`words`] splits texts, [`counts`] counts by topic,
//! [`ctfidf`] weighs, [`coherence`] judges, [`mod@merge`] joins topics, [`mod@over_time`] looks at
//! bins of time.

pub mod coherence;
pub mod counts;
pub mod ctfidf;
mod markup;
pub mod merge;
mod numbers;
pub mod over_time;
pub(crate) mod representatives;
pub mod stop_words;
pub mod words;

use std::collections::BTreeMap;

pub use counts::TopicWords;
pub(crate) use ctfidf::Sparse;
pub use ctfidf::{ScoredWord, Weighting, WordWeights};
pub use merge::{Likeness, MergeOptions, merge, renumber_by_size};
pub use over_time::{TopicInTime, bin_start, over_time};
pub use stop_words::StopWords;
pub use words::{WordOptions, Words};

use crate::error::{OperatorError, Result};
use crate::host::{Host, check};
use crate::unit::UnitVectors;

/// Words in a label.
const LABEL_WORDS: usize = 4;

/// What is reported about topics.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicOptions {
    /// Which words count.
    pub words: WordOptions,
    /// How words are weighted.
    pub weighting: Weighting,
    /// Words reported for each topic.
    pub top_words: usize,
    /// Texts reported for each topic.
    pub representatives: usize,
    /// Different words that are counted at the same time; more than these and the rarest go.
    pub vocabulary_max: usize,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            words: WordOptions::default(),
            weighting: Weighting::default(),
            top_words: 10,
            representatives: 5,
            vocabulary_max: 1_000_000,
        }
    }
}

/// A topic and what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its number.
    pub topic: u32,
    /// Its rows.
    pub size: u64,
    /// Its words, the best first.
    pub words: Vec<ScoredWord>,
    /// Its best words in one line; empty when it has none.
    pub label: String,
    /// Rows that stand for it, the best first, with different texts. With vectors those nearest to
    /// the centre of the topic: they show what it means, while the words already show its words.
    /// Without, those whose words are weighted most like the topic's.
    pub representatives: Vec<u32>,
    /// The mean NPMI of its words' pairs over all texts; `None` with fewer than two words.
    pub coherence: Option<f64>,
}

/// Describes every topic that has rows, by number. `topics[i]` is the topic of `texts[i]`, and so
/// are the vectors, if there are any.
///
/// Cost: two passes over the texts' words; memory for the different words of each topic.
///
/// # Errors
/// [`OperatorError::Data`] when the inputs have different lengths, options that the words reject,
/// what the host says.
pub fn describe(
    texts: &[&str],
    topics: &[Option<u32>],
    vectors: Option<&UnitVectors>,
    options: &TopicOptions,
    host: &dyn Host,
) -> Result<Vec<Topic>> {
    if let Some(vectors) = vectors {
        same_rows(texts.len(), vectors.rows(), "vectors")?;
    }
    let words = Words::new(&options.words, texts)?;
    let (counts, _loan) = TopicWords::count(texts, topics, &words, options.vocabulary_max, host)?;
    check(host)?;
    let weights = WordWeights::new(&counts, &options.weighting);
    let members = members(topics);
    let top_words: Vec<Vec<ScoredWord>> =
        members.keys().map(|topic| weights.top_words(*topic, options.top_words)).collect();
    let coherence = coherence::coherence(&top_words, texts, &words, host)?;
    let wanted = options.representatives;
    let representatives = match vectors {
        Some(vectors) => representatives::by_vectors(texts, &members, vectors, wanted, host)?,
        None => representatives::by_words(texts, &members, &weights, &words, wanted, host)?,
    };
    let told = members.iter().zip(top_words).zip(representatives).zip(coherence);
    Ok(told
        .map(|((((topic, rows), words), representatives), coherence)| Topic {
            topic: *topic,
            size: rows.len() as u64,
            label: label(&words),
            words,
            representatives,
            coherence,
        })
        .collect())
}

/// The best words in one line, without those that say again what is there: another ending of a
/// word, or a word of an n-gram.
pub fn label(words: &[ScoredWord]) -> String {
    let mut told: Vec<&str> = Vec::new();
    for word in words {
        if told.len() < LABEL_WORDS && !told.iter().any(|other| says_the_same(other, &word.word)) {
            told.push(&word.word);
        }
    }
    told.join(", ")
}

/// Whether two words differ by their endings only, or the words of one are all in the other.
fn says_the_same(a: &str, b: &str) -> bool {
    let all_in =
        |a: &str, b: &str| a.split(' ').all(|word| b.split(' ').any(|other| other == word));
    all_in(a, b) || all_in(b, a) || differ_by_ending(a, b)
}

/// Whether one word is another with up to two letters more (`card`, `cards`), or both have endings
/// of up to three letters after at least two thirds of the longer one (`exchange`, `exchanging`).
fn differ_by_ending(a: &str, b: &str) -> bool {
    let same = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let (a, b) = (a.chars().count(), b.chars().count());
    let (longer, shorter) = (a.max(b), a.min(b));
    let grown = same >= 3 && same == shorter && longer - same <= 2;
    grown || (same >= 5 && longer - same <= 3 && same * 3 >= longer * 2)
}

/// The rows of each topic, in order.
pub(crate) fn members(topics: &[Option<u32>]) -> BTreeMap<u32, Vec<u32>> {
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (row, topic) in (0..).zip(topics) {
        if let Some(topic) = topic {
            members.entry(*topic).or_default().push(row);
        }
    }
    members
}

/// Checks that there is one of something for each text.
fn same_rows(texts: usize, others: usize, name: &str) -> Result<()> {
    if texts == others {
        return Ok(());
    }
    Err(OperatorError::Data(format!("{texts} texts don't match {others} {name}")))
}

#[cfg(test)]
mod tests;
