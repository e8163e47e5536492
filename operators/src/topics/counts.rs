//! How often each word occurs in each topic, held sparsely.
//!
//! Counts are f64, so that a stream can decay them, and can be merged, so that threads and windows
//! can count apart. While no word has been pruned, counting apart and together give the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use rayon::prelude::*;

use super::ctfidf::{Sparse, sum_up};
use super::numbers::Numbers;
use super::words::Words;
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};

/// Texts that one thread counts at a time.
const TEXTS_PER_TASK: usize = 1024;

/// Tasks whose counts are in memory together before they are merged.
const TASKS_AT_ONCE: usize = 16;

/// Bytes of a word besides its letters: its entries in the list and in the map.
const BYTES_PER_WORD: usize = 112;

/// Bytes of a count, with the room that a list of them keeps.
const BYTES_PER_COUNT: usize = 24;

/// Words of texts that are heard before they are counted together.
const HEARD_MAX: usize = 1 << 16;

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
    ids: HashMap<Arc<str>, u32, RandomState>,
    topics: BTreeMap<Option<u32>, Sparse>,
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
                "vocabulary_max must be a number of words between 4 and 2147483648, got \
                 {vocabulary_max}"
            )));
        }
        Ok(Self {
            terms: Vec::new(),
            ids: HashMap::default(),
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
                    counts.add(texts, topics, words, host)?;
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

    /// Counts the words of texts on this thread.
    fn add(
        &mut self,
        texts: &[&str],
        topics: &[Option<u32>],
        words: &Words,
        host: &dyn Host,
    ) -> Result<()> {
        let mut heard: Vec<(Option<u32>, u32)> = Vec::new();
        let mut of_text: Vec<u32> = Vec::new();
        let mut known = Numbers::default();
        for (row, (text, topic)) in texts.iter().zip(topics).enumerate() {
            if row % 64 == 0 {
                check(host)?;
            }
            words.for_each_number(text, &mut known, |word| self.id(word), |id| of_text.push(id));
            if of_text.is_empty() {
                // A topic without words is a topic.
                self.topics.entry(*topic).or_default();
            }
            heard.extend(of_text.iter().map(|id| (*topic, *id)));
            of_text.sort_unstable();
            of_text.dedup();
            of_text.drain(..).for_each(|id| self.terms[id as usize].texts += 1.0);
            if heard.len() >= HEARD_MAX || self.terms.len() > self.vocabulary_max {
                let pruned = self.pruned;
                self.settle(&mut heard);
                if self.pruned != pruned {
                    known.clear();
                }
            }
        }
        self.settle(&mut heard);
        Ok(())
    }

    /// Counts what was heard.
    fn settle(&mut self, heard: &mut Vec<(Option<u32>, u32)>) {
        heard.sort_unstable();
        for of_topic in heard.chunk_by(|a, b| a.0 == b.0) {
            let words = of_topic.chunk_by(|a, b| a == b).map(|same| (same[0].1, same.len() as f64));
            self.add_row(of_topic[0].0, words);
        }
        heard.clear();
        self.prune();
    }

    /// Adds counts of a topic.
    fn add_row(&mut self, topic: Option<u32>, counts: impl Iterator<Item = (u32, f64)>) {
        let own = self.topics.entry(topic).or_default();
        let before = own.len();
        own.extend(counts);
        sum_up(own);
        self.counts += own.len() - before;
    }

    /// Adds other counts to these, topic by topic.
    pub fn merge(&mut self, other: &Self) {
        let ids: Vec<u32> = other.terms.iter().map(|term| self.id(&term.word)).collect();
        for (term, id) in other.terms.iter().zip(&ids) {
            self.terms[*id as usize].texts += term.texts;
        }
        for (topic, counts) in &other.topics {
            self.add_row(*topic, counts.iter().map(|(id, count)| (ids[*id as usize], *count)));
        }
        self.pruned += other.pruned;
        self.prune();
    }

    /// Multiplies all counts, so that what was counted before weighs less than what comes.
    pub fn scale(&mut self, factor: f64) {
        self.terms.iter_mut().for_each(|term| term.texts *= factor);
        self.topics.values_mut().flatten().for_each(|(_, count)| *count *= factor);
    }

    /// Puts the counts under other topics; those of topics that become one are added. `None` makes
    /// a topic part of the class of no topic.
    pub(crate) fn relabel(&mut self, topic: impl Fn(u32) -> Option<u32>) {
        self.topics = regrouped(std::mem::take(&mut self.topics).into_iter(), topic);
        self.counts = self.topics.values().map(Vec::len).sum();
    }

    /// The counts under other topics, as [`Self::relabel`] would put them.
    pub(super) fn grouped(
        &self,
        topic: impl Fn(u32) -> Option<u32>,
    ) -> BTreeMap<Option<u32>, Sparse> {
        regrouped(self.topics.iter().map(|(topic, row)| (*topic, row.clone())), topic)
    }

    /// Forgets counts that have decayed below `least`, and words and topics without counts.
    pub(crate) fn forget_below(&mut self, least: f64) {
        let mut is_used = vec![false; self.terms.len()];
        for counts in self.topics.values_mut() {
            counts.retain(|(_, count)| *count >= least);
            counts.iter().for_each(|(id, _)| is_used[*id as usize] = true);
        }
        self.topics.retain(|_, counts| !counts.is_empty());
        self.counts = self.topics.values().map(Vec::len).sum();
        self.keep_terms(&is_used);
    }

    /// Everything but the bound: words with the texts that contain them, and of each topic the
    /// counts of words by number, in order.
    pub(crate) fn parts(&self) -> (Vec<(&str, f64)>, Vec<TopicCounts>) {
        let terms = self.terms.iter().map(|term| (&*term.word, term.texts)).collect();
        let topics = self.topics.iter().map(|(topic, counts)| (*topic, counts.clone()));
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
            let in_order = row.is_sorted_by(|a, b| a.0 < b.0);
            if !in_order || row.last().is_some_and(|(id, _)| *id as usize >= terms.len()) {
                return None;
            }
            all.counts += row.len();
            all.topics.insert(topic, row);
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

    /// The topics in order, the class of no topic first, each with its counts by word, in order.
    pub(super) fn topics(&self) -> &BTreeMap<Option<u32>, Sparse> {
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
        let mut is_kept = vec![false; order.len()];
        order[..kept].iter().for_each(|id| is_kept[*id] = true);
        self.keep_terms(&is_kept);
    }

    /// Keeps some words, in their order, and forgets all others.
    fn keep_terms(&mut self, is_kept: &[bool]) {
        if is_kept.iter().all(|is_kept| *is_kept) {
            return;
        }
        let mut new_ids = vec![0; is_kept.len()];
        let kept = new_ids.iter_mut().zip(is_kept).filter(|(_, is_kept)| **is_kept);
        kept.zip(0_u32..).for_each(|((new, _), id)| *new = id);
        let renumber = |id: &mut u32| {
            let old = std::mem::replace(id, new_ids[*id as usize]);
            is_kept[old as usize]
        };
        self.ids.retain(|_, id| renumber(id));
        let mut id = 0_usize..;
        self.terms.retain(|_| id.next().is_some_and(|id| is_kept[id]));
        for counts in self.topics.values_mut() {
            counts.retain_mut(|(id, _)| renumber(id));
        }
        self.letters = self.terms.iter().map(|term| term.word.len()).sum();
        self.counts = self.topics.values().map(Vec::len).sum();
    }
}

/// Rows of counts under other topics, those of one topic added in the order that they come in.
fn regrouped(
    rows: impl Iterator<Item = (Option<u32>, Sparse)>,
    topic: impl Fn(u32) -> Option<u32>,
) -> BTreeMap<Option<u32>, Sparse> {
    let mut topics: BTreeMap<Option<u32>, Sparse> = BTreeMap::new();
    for (old, row) in rows {
        let counts = topics.entry(old.and_then(&topic)).or_default();
        if counts.is_empty() {
            *counts = row;
        } else {
            counts.extend(row);
        }
    }
    topics.values_mut().for_each(sum_up);
    topics
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
        let row = &counts.topics()[&topic];
        row.iter().find(|(other, _)| *other == id).map_or(0.0, |(_, count)| *count)
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
        one.add(&texts, &topics, &plain(), &Unbounded).expect("counts");
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
