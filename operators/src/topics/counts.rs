//! How often each word occurs in each topic, held sparsely.
//!
//! Counts are f64, so that a stream can decay them, and can be merged, so that threads and windows
//! can count apart. While no word has been pruned, counting apart and together give the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use super::ctfidf::Sparse;
use super::words::Words;
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};

/// Texts that one thread counts at a time.
const TEXTS_PER_TASK: usize = 1024;

/// Tasks whose counts are in memory together before they are merged.
const TASKS_AT_ONCE: usize = 16;

/// Bytes of a word besides its letters: its entries in the list and in the map.
const BYTES_PER_WORD: usize = 112;

/// Bytes of a count in a hash map.
const BYTES_PER_COUNT: usize = 32;

/// A word and what is known of it beyond its topics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) word: Arc<str>,
    /// Texts that contain it.
    pub(super) texts: f64,
}

/// A topic and its counts of words by number, in order.
pub(crate) type TopicCounts = (Option<u32>, Sparse);

/// Counts of words by topic. Texts of no topic (`None`) count as one more class, as in BERTopic.
#[derive(Clone, Debug)]
pub struct TopicWords {
    terms: Vec<Term>,
    ids: HashMap<Arc<str>, u32>,
    topics: BTreeMap<Option<u32>, HashMap<u32, f64>>,
    vocabulary_max: usize,
    pruned: u64,
    letters: usize,
    counts: usize,
}

impl TopicWords {
    /// No counts yet, of at most `vocabulary_max` words. When there are more, the rarest are
    /// forgotten until three quarters are left (the higher count stays, then the word that comes
    /// first in the order of code points).
    ///
    /// # Errors
    /// [`OperatorError::Option`] when `vocabulary_max` is below 4 or above 2³¹.
    pub fn new(vocabulary_max: usize) -> Result<Self> {
        if !(4..=1 << 31).contains(&vocabulary_max) {
            return Err(OperatorError::Option(format!(
                "vocabulary_max is {vocabulary_max}; it is a number of words, between 4 and \
                 2147483648"
            )));
        }
        Ok(Self {
            terms: Vec::new(),
            ids: HashMap::new(),
            topics: BTreeMap::new(),
            vocabulary_max,
            pruned: 0,
            letters: 0,
            counts: 0,
        })
    }

    /// Counts the words of texts on all cores. `topics[i]` is the topic of `texts[i]`.
    ///
    /// The loan is what the counts take.
    ///
    /// # Errors
    /// [`OperatorError::Data`] when there are not as many topics as texts; what the host says.
    pub fn count<'h>(
        texts: &[&str],
        topics: &[Option<u32>],
        words: &Words,
        vocabulary_max: usize,
        host: &'h dyn Host,
    ) -> Result<(Self, Loan<'h>)> {
        super::same_rows(texts.len(), topics.len(), "topics")?;
        let mut all = Self::new(vocabulary_max)?;
        let mut loan = Loan::new(host, 0)?;
        let group = TEXTS_PER_TASK * TASKS_AT_ONCE;
        for (done, (texts, topics)) in texts.chunks(group).zip(topics.chunks(group)).enumerate() {
            let tasks: Result<Vec<Self>> = texts
                .par_chunks(TEXTS_PER_TASK)
                .zip(topics.par_chunks(TEXTS_PER_TASK))
                .map(|(texts, topics)| {
                    let mut counts = Self::new(vocabulary_max)?;
                    for (row, (text, topic)) in texts.iter().zip(topics).enumerate() {
                        if row % 64 == 0 {
                            check(host)?;
                        }
                        counts.add(*topic, text, words);
                    }
                    Ok(counts)
                })
                .collect();
            let tasks = tasks?;
            loan.resize(all.bytes() + tasks.iter().map(Self::bytes).sum::<usize>())?;
            tasks.iter().for_each(|counts| all.merge(counts));
            loan.resize(all.bytes())?;
            host.progress("counting words", done as u64 + 1, topics.len().div_ceil(group) as u64);
        }
        Ok((all, loan))
    }

    /// Counts the words of a text.
    pub fn add(&mut self, topic: Option<u32>, text: &str, words: &Words) {
        let mut found: Vec<u32> = Vec::new();
        words.for_each(text, |word| found.push(self.id(word)));
        found.sort_unstable();
        let counts = self.topics.entry(topic).or_default();
        for same in found.chunk_by(|a, b| a == b) {
            self.terms[same[0] as usize].texts += 1.0;
            let count = counts.entry(same[0]).or_insert_with(|| {
                self.counts += 1;
                0.0
            });
            *count += same.len() as f64;
        }
        self.prune();
    }

    /// Adds other counts to these, topic by topic.
    pub fn merge(&mut self, other: &Self) {
        let ids: Vec<u32> = other.terms.iter().map(|term| self.id(&term.word)).collect();
        for (term, id) in other.terms.iter().zip(&ids) {
            self.terms[*id as usize].texts += term.texts;
        }
        for (topic, counts) in &other.topics {
            let own = self.topics.entry(*topic).or_default();
            let before = own.len();
            for (id, count) in counts {
                *own.entry(ids[*id as usize]).or_default() += count;
            }
            self.counts += own.len() - before;
        }
        self.pruned += other.pruned;
        self.prune();
    }

    /// Multiplies all counts, so that what was counted before weighs less than what comes.
    pub fn scale(&mut self, factor: f64) {
        self.terms.iter_mut().for_each(|term| term.texts *= factor);
        self.topics.values_mut().flat_map(HashMap::values_mut).for_each(|count| *count *= factor);
    }

    /// The same counts under other topics; those of topics that become one are added. `None` makes
    /// a topic part of the class of no topic.
    pub(crate) fn relabelled(&self, topic: impl Fn(u32) -> Option<u32>) -> Self {
        let mut topics: BTreeMap<Option<u32>, HashMap<u32, f64>> = BTreeMap::new();
        for (old, counts) in &self.topics {
            let sums = topics.entry(old.and_then(&topic)).or_default();
            counts.iter().for_each(|(id, count)| *sums.entry(*id).or_default() += count);
        }
        let counts = topics.values().map(HashMap::len).sum();
        Self { topics, counts, ..self.clone() }
    }

    /// Forgets counts that have decayed below `least`, and words and topics without counts.
    pub(crate) fn forget_below(&mut self, least: f64) {
        let mut is_used = vec![false; self.terms.len()];
        for counts in self.topics.values_mut() {
            counts.retain(|_, count| *count >= least);
            counts.keys().for_each(|id| is_used[*id as usize] = true);
        }
        self.topics.retain(|_, counts| !counts.is_empty());
        let used = (0..self.terms.len()).filter(|id| is_used[*id]).collect();
        self.keep_terms(used);
    }

    /// Everything but the bound: words with the texts that contain them, and of each topic the
    /// counts of words by number, in order.
    pub(crate) fn parts(&self) -> (Vec<(&str, f64)>, Vec<TopicCounts>) {
        let terms = self.terms.iter().map(|term| (&*term.word, term.texts)).collect();
        let sorted = |counts: &HashMap<u32, f64>| {
            let mut row: Sparse = counts.iter().map(|(id, count)| (*id, *count)).collect();
            row.sort_unstable_by_key(|(id, _)| *id);
            row
        };
        let topics = self.topics.iter().map(|(topic, counts)| (*topic, sorted(counts)));
        (terms, topics.collect())
    }

    /// Counts of parts that [`Self::parts`] gave; `None` if they can't be.
    pub(crate) fn of_parts(
        vocabulary_max: usize,
        terms: &[(&str, f64)],
        topics: Vec<TopicCounts>,
    ) -> Option<Self> {
        let mut all = Self::new(vocabulary_max).ok()?;
        for (number, (word, texts)) in terms.iter().enumerate() {
            let id = all.id(word) as usize;
            all.terms.get_mut(id).filter(|_| id == number)?.texts = *texts;
        }
        for (topic, row) in topics {
            if row.iter().any(|(id, _)| *id as usize >= terms.len()) {
                return None;
            }
            all.counts += row.len();
            all.topics.insert(topic, row.into_iter().collect());
        }
        Some(all)
    }

    /// Number of different words.
    pub fn vocabulary(&self) -> usize {
        self.terms.len()
    }

    /// How often words were forgotten because there were too many.
    pub fn pruned(&self) -> u64 {
        self.pruned
    }

    /// About how many bytes these counts take.
    pub fn bytes(&self) -> usize {
        self.letters + self.terms.len() * BYTES_PER_WORD + self.counts * BYTES_PER_COUNT
    }

    pub(super) fn terms(&self) -> &[Term] {
        &self.terms
    }

    pub(super) fn id_of(&self, word: &str) -> Option<u32> {
        self.ids.get(word).copied()
    }

    /// The topics in order, the class of no topic first, each with its counts by word.
    pub(super) fn topics(&self) -> &BTreeMap<Option<u32>, HashMap<u32, f64>> {
        &self.topics
    }

    /// The number of a word, which is new if need be.
    fn id(&mut self, word: &str) -> u32 {
        if let Some(id) = self.ids.get(word) {
            return *id;
        }
        let id = self.terms.len() as u32;
        let word: Arc<str> = word.into();
        self.letters += word.len();
        self.ids.insert(word.clone(), id);
        self.terms.push(Term { word, texts: 0.0 });
        id
    }

    /// Forgets the rarest words if there are too many.
    fn prune(&mut self) {
        if self.terms.len() <= self.vocabulary_max {
            return;
        }
        let mut totals = vec![0.0; self.terms.len()];
        for counts in self.topics.values() {
            counts.iter().for_each(|(id, count)| totals[*id as usize] += count);
        }
        let mut order: Vec<usize> = (0..self.terms.len()).collect();
        order.sort_unstable_by(|a, b| {
            totals[*b].total_cmp(&totals[*a]).then(self.terms[*a].word.cmp(&self.terms[*b].word))
        });
        let kept = self.vocabulary_max / 4 * 3;
        self.pruned += (order.len() - kept) as u64;
        order.truncate(kept);
        self.keep_terms(order);
    }

    /// Keeps some words, in the order given, and forgets all others.
    fn keep_terms(&mut self, kept: Vec<usize>) {
        let mut new_ids = vec![None; self.terms.len()];
        kept.iter().enumerate().for_each(|(new, old)| new_ids[*old] = Some(new as u32));
        self.terms = kept.iter().map(|old| self.terms[*old].clone()).collect();
        self.ids = self.terms.iter().zip(0..).map(|(term, id)| (term.word.clone(), id)).collect();
        for counts in self.topics.values_mut() {
            let old = std::mem::take(counts);
            counts.extend(old.iter().filter_map(|(id, n)| Some((new_ids[*id as usize]?, *n))));
        }
        self.letters = self.terms.iter().map(|term| term.word.len()).sum();
        self.counts = self.topics.values().map(HashMap::len).sum();
    }
}

/// Two sets of counts are equal when they count the same words the same, in whatever order they
/// came.
impl PartialEq for TopicWords {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |counts: &Self| -> Vec<_> {
            let word = |id: &u32| counts.terms[*id as usize].clone();
            let mut all: Vec<_> = counts
                .topics
                .iter()
                .flat_map(|(topic, row)| row.iter().map(|(id, n)| (*topic, word(id), *n)))
                .collect();
            all.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.word.cmp(&b.1.word)));
            all
        };
        sorted(self) == sorted(other)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stop_words::StopWords;
    use super::super::words::WordOptions;
    use super::*;
    use crate::host::Unbounded;
    use crate::host::tests::Limited;

    fn plain() -> Words {
        let stop_words = StopWords::None;
        Words::new(&WordOptions { stop_words, ..WordOptions::default() }, &[]).expect("options")
    }

    fn count(texts: &[&str], topics: &[Option<u32>], most: usize) -> TopicWords {
        TopicWords::count(texts, topics, &plain(), most, &Unbounded).expect("counts").0
    }

    fn total(counts: &TopicWords, topic: Option<u32>, word: &str) -> f64 {
        let id = counts.id_of(word).expect("a known word");
        counts.topics()[&topic].get(&id).copied().unwrap_or(0.0)
    }

    #[test]
    fn words_are_counted_by_topic_and_text() {
        let counts = count(&["red red blue", "blue", "red"], &[Some(1), None, Some(1)], 100);
        assert_eq!(total(&counts, Some(1), "red"), 3.0);
        assert_eq!(total(&counts, Some(1), "blue"), 1.0);
        assert_eq!(total(&counts, None, "blue"), 1.0);
        let texts: Vec<f64> = counts.terms().iter().map(|term| term.texts).collect();
        assert_eq!(texts, [2.0, 2.0]);
    }

    #[test]
    fn many_tasks_count_as_one_does() {
        let texts: Vec<String> = (0..40_000).map(|i| format!("w{} w{}", i % 97, i % 31)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let topics: Vec<Option<u32>> = (0..40_000).map(|i| (i % 7 != 0).then_some(i % 7)).collect();
        let mut one = TopicWords::new(1000).expect("options");
        let words = plain();
        texts.iter().zip(&topics).for_each(|(text, topic)| one.add(*topic, text, &words));
        let many = count(&texts, &topics, 1000);
        assert!(many == one);
        assert_eq!(many.bytes(), one.bytes());
    }

    #[test]
    fn counts_decay() {
        let mut counts = count(&["red red", "blue"], &[Some(0), Some(0)], 100);
        counts.scale(0.5);
        counts.merge(&count(&["red"], &[Some(0)], 100));
        assert_eq!(total(&counts, Some(0), "red"), 2.0);
        assert_eq!(total(&counts, Some(0), "blue"), 0.5);
        assert_eq!(counts.terms()[0].texts, 1.5);
    }

    #[test]
    fn the_rarest_words_are_forgotten() {
        let texts = ["aa bb cc dd aa bb cc aa bb zz zz", "ee"];
        let counts = count(&texts, &[Some(0), None], 4);
        let mut left: Vec<&str> = counts.terms().iter().map(|term| &*term.word).collect();
        left.sort_unstable();
        // Of five words three were left; then one more came.
        assert_eq!(left, ["aa", "bb", "cc", "ee"]);
        assert_eq!(counts.pruned(), 2);
        assert_eq!(total(&counts, Some(0), "bb"), 3.0);
        assert!(TopicWords::new(0).is_err());
    }

    #[test]
    fn the_host_bounds_and_stops() {
        let host = Limited { limit: 200, ..Limited::default() };
        let (texts, topics) = (["red blue green"; 9], [Some(0); 9]);
        let refused = TopicWords::count(&texts, &topics, &plain(), 100, &host);
        assert!(matches!(refused, Err(OperatorError::Memory(_))));
        let host = Limited { limit: 9999, cancelled: true, ..Limited::default() };
        let stopped = TopicWords::count(&texts, &topics, &plain(), 100, &host);
        assert!(matches!(stopped, Err(OperatorError::Cancelled)));
        let uneven = TopicWords::count(&texts, &topics[1..], &plain(), 100, &Unbounded);
        assert!(matches!(uneven, Err(OperatorError::Data(_))));
    }
}
