//! Topics over time: how large each topic is in each bin of time, and its words there.
//!
//! The words of a bin are weighed by the counts of that bin alone, so that a bin gives the same
//! words whatever comes later, and a window of a stream gives what its bin gives in a static table.
//! Only the languages of stop words, when they are guessed, are guessed from all texts.

use std::collections::BTreeMap;

use super::counts::TopicWords;
use super::ctfidf::{ScoredWord, WordWeights};
use super::words::Words;
use super::{TopicOptions, members, same_rows};
use crate::error::Result;
use crate::host::{Host, check};

/// A topic in a bin of time.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicInTime {
    /// The bin, as it was given.
    pub bin: i64,
    /// The topic.
    pub topic: u32,
    /// Rows of the topic in the bin, at least 1.
    pub size: u64,
    /// The best words first.
    pub words: Vec<ScoredWord>,
}

/// The start of the bin that a time is in; bins are `width` wide and one starts at `origin`. `None`
/// when the width is not positive or the start is out of range.
pub fn bin_start(time: i64, width: i64, origin: i64) -> Option<i64> {
    if width <= 0 {
        return None;
    }
    let (time, width, origin) = (i128::from(time), i128::from(width), i128::from(origin));
    i64::try_from(time - (time - origin).rem_euclid(width)).ok()
}

/// Every topic in every bin where it has rows, by bin and topic. `bins[i]` is the bin of row `i`;
/// rows without one are left out.
///
/// # Errors
/// [`crate::OperatorError::Data`] when the inputs have different lengths, options that the words
/// reject, what the host says.
pub fn over_time(
    texts: &[&str],
    topics: &[Option<u32>],
    bins: &[Option<i64>],
    options: &TopicOptions,
    host: &dyn Host,
) -> Result<Vec<TopicInTime>> {
    same_rows(texts.len(), topics.len(), "topics")?;
    same_rows(texts.len(), bins.len(), "times")?;
    let words = Words::new(&options.words, texts)?;
    let mut rows_by_bin: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (row, bin) in bins.iter().enumerate() {
        if let Some(bin) = bin {
            rows_by_bin.entry(*bin).or_default().push(row);
        }
    }
    let total = rows_by_bin.len() as u64;
    let mut found = Vec::new();
    for (done, (bin, rows)) in (1..).zip(rows_by_bin) {
        check(host)?;
        let texts: Vec<&str> = rows.iter().map(|row| texts[*row]).collect();
        let topics: Vec<Option<u32>> = rows.iter().map(|row| topics[*row]).collect();
        let (counts, _loan) =
            TopicWords::count(&texts, &topics, &words, options.vocabulary_max, host)?;
        let weights = WordWeights::new(&counts, &options.weighting);
        found.extend(members(&topics).into_iter().map(|(topic, rows)| TopicInTime {
            bin,
            topic,
            size: rows.len() as u64,
            words: weights.top_words(topic, options.top_words),
        }));
        host.progress("topics over time", done, total);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unbounded;

    #[test]
    fn bins_start_where_they_should() {
        assert_eq!(bin_start(7, 5, 0), Some(5));
        assert_eq!(bin_start(-1, 5, 0), Some(-5));
        assert_eq!(bin_start(-5, 5, 0), Some(-5));
        assert_eq!(bin_start(7, 5, 3), Some(3));
        assert_eq!(bin_start(2, 5, 3), Some(-2));
        assert_eq!(bin_start(7, 0, 0), None);
        assert_eq!(bin_start(i64::MIN, i64::MAX, 0), None);
        assert_eq!(bin_start(i64::MAX, 1, i64::MIN), Some(i64::MAX));
    }

    #[test]
    fn a_bin_has_sizes_and_words_of_its_own() {
        let texts = ["card lost", "card stolen", "rate", "card arrived", "rates euro", "nothing"];
        let topics = [Some(0), Some(0), Some(1), Some(0), Some(1), Some(1)];
        let bins = [Some(10), Some(10), Some(10), Some(20), Some(20), None];
        let options = TopicOptions::default();
        let found = over_time(&texts, &topics, &bins, &options, &Unbounded).expect("found");
        let shape: Vec<(i64, u32, u64)> =
            found.iter().map(|found| (found.bin, found.topic, found.size)).collect();
        assert_eq!(shape, [(10, 0, 2), (10, 1, 1), (20, 0, 1), (20, 1, 1)]);
        let words: Vec<&str> = found[2].words.iter().map(|word| word.word.as_str()).collect();
        assert_eq!(words, ["arrived", "card"]);
        // What comes later changes nothing.
        let early = over_time(&texts[..3], &topics[..3], &bins[..3], &options, &Unbounded);
        assert_eq!(early.expect("found"), found[..2]);
    }

    #[test]
    fn uneven_inputs_are_refused() {
        let refused = over_time(&["a"], &[None], &[], &TopicOptions::default(), &Unbounded);
        assert!(refused.is_err());
        assert_eq!(over_time(&[], &[], &[], &TopicOptions::default(), &Unbounded), Ok(Vec::new()));
    }
}
