//! Coherence: whether the words of a topic occur in the same texts.
//!
//! Normalised pointwise mutual information (Bouma 2009), with whole texts as documents:
//!
//! `NPMI(a, b) = ln(p(a, b) / (p(a) · p(b))) / -ln p(a, b)`
//!
//! where `p` is a share of all texts. It is 1 when two words only occur together, 0 when they are
//! independent, -1 when they never meet. A topic's coherence is the mean over all pairs of its top
//! words. Two rare words seldom meet in a short text, so topics of short texts are mostly below 0;
//! figures compare within one set of texts.

use std::collections::HashMap;

use rayon::prelude::*;

use super::ctfidf::ScoredWord;
use super::words::Words;
use crate::error::Result;
use crate::host::{Host, check};

/// Texts that one thread looks at for one set of counts.
const TEXTS_PER_TASK: usize = 4096;

/// The coherence of each topic's words over all texts; `None` with fewer than two words.
///
/// Cost: one pass over the texts.
///
/// # Errors
/// What the host says.
pub fn coherence(
    topics: &[Vec<ScoredWord>],
    texts: &[&str],
    words: &Words,
    host: &dyn Host,
) -> Result<Vec<Option<f64>>> {
    let places = places(topics);
    let tasks: Result<Vec<Meetings>> = texts
        .par_chunks(TEXTS_PER_TASK)
        .map(|texts| {
            let mut meetings = Meetings::new(topics);
            for (row, text) in texts.iter().enumerate() {
                if row % 64 == 0 {
                    check(host)?;
                }
                meetings.add(text, words, &places);
            }
            Ok(meetings)
        })
        .collect();
    let mut all = Meetings::new(topics);
    tasks?.iter().for_each(|meetings| all.merge(meetings));
    Ok(all.counts.iter().map(|pairs| mean_npmi(pairs, texts.len())).collect())
}

/// Where a word stands: the topics that have it, and its place among their words.
type Places<'a> = HashMap<&'a str, Vec<(u32, u32)>>;

fn places(topics: &[Vec<ScoredWord>]) -> Places<'_> {
    let mut places = Places::new();
    for (topic, words) in (0..).zip(topics) {
        for (place, word) in (0..).zip(words) {
            places.entry(&word.word).or_default().push((topic, place));
        }
    }
    places
}

/// For each topic a square: in how many texts its words `i` and `j` both are; on the diagonal, in
/// how many word `i` is.
struct Meetings {
    counts: Vec<Square>,
}

#[derive(Clone)]
struct Square {
    size: usize,
    counts: Vec<u32>,
}

impl Meetings {
    fn new(topics: &[Vec<ScoredWord>]) -> Self {
        let square = |size: usize| Square { size, counts: vec![0; size * size] };
        Self { counts: topics.iter().map(|words| square(words.len())).collect() }
    }

    fn add(&mut self, text: &str, words: &Words, places: &Places<'_>) {
        let mut found: Vec<(u32, u32)> = Vec::new();
        words.for_each(text, |word| found.extend(places.get(word).into_iter().flatten()));
        found.sort_unstable();
        found.dedup();
        for same in found.chunk_by(|a, b| a.0 == b.0) {
            let square = &mut self.counts[same[0].0 as usize];
            for (i, (_, a)) in same.iter().enumerate() {
                for (_, b) in &same[i..] {
                    square.counts[*a as usize * square.size + *b as usize] += 1;
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(&other.counts) {
            own.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        }
    }
}

fn mean_npmi(square: &Square, texts: usize) -> Option<f64> {
    let share =
        |i: usize, j: usize| f64::from(square.counts[i * square.size + j]) / texts.max(1) as f64;
    let pairs = (0..square.size).flat_map(|i| (i + 1..square.size).map(move |j| (i, j)));
    let (sum, count) = pairs.fold((0.0, 0), |(sum, count), (i, j)| {
        (sum + npmi(share(i, i), share(j, j), share(i, j)), count + 1)
    });
    (count > 0).then(|| sum / f64::from(count))
}

fn npmi(a: f64, b: f64, both: f64) -> f64 {
    match both {
        0.0 => -1.0,
        1.0 => 1.0,
        both => (both / (a * b)).ln() / -both.ln(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stop_words::StopWords;
    use super::super::words::WordOptions;
    use super::*;
    use crate::host::Unbounded;

    fn plain() -> Words {
        let stop_words = StopWords::None;
        Words::new(&WordOptions { stop_words, ..WordOptions::default() }, &[]).expect("options")
    }

    fn topic(words: &[&str]) -> Vec<ScoredWord> {
        words.iter().map(|word| ScoredWord { word: (*word).to_string(), score: 1.0 }).collect()
    }

    fn found(topics: &[Vec<ScoredWord>], texts: &[&str]) -> Vec<Option<f64>> {
        coherence(topics, texts, &plain(), &Unbounded).expect("coherence")
    }

    #[test]
    fn pairs_that_always_never_or_sometimes_meet() {
        let texts = ["aa bb cc", "aa bb", "cc dd", "dd ee"];
        let topics = [
            topic(&["aa", "bb"]),
            topic(&["aa", "dd"]),
            topic(&["aa", "cc"]),
            topic(&["aa"]),
            topic(&[]),
            topic(&["aa", "unknown"]),
        ];
        let independent = (0.25f64 / (0.5 * 0.5)).ln() / -0.25f64.ln();
        let wanted = [Some(1.0), Some(-1.0), Some(independent), None, None, Some(-1.0)];
        assert_eq!(found(&topics, &texts), wanted);
        assert_eq!(found(&[topic(&["aa", "bb"])], &["aa bb"; 3]), [Some(1.0)]);
        assert_eq!(found(&[topic(&["aa", "bb"])], &[]), [Some(-1.0)]);
    }

    /// The plain count: for every pair, every text.
    #[test]
    fn coherence_is_that_of_a_plain_count() {
        let word = |i: usize| format!("w{}", (i * 7919 + i / 3) % 23);
        let texts: Vec<String> =
            (0..9000).map(|i| format!("{} {} {}", word(i), word(i + 1), word(i * 3))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let topics = [topic(&["w1", "w2", "w3", "w22"]), topic(&["w3", "w9", "w17"])];
        let has = |text: &str, word: &str| text.split(' ').any(|other| other == word);
        for (topic, found) in topics.iter().zip(found(&topics, &texts)) {
            let (mut sum, mut pairs) = (0.0, 0.0);
            for (i, a) in topic.iter().enumerate() {
                for b in &topic[i + 1..] {
                    let share = |test: &dyn Fn(&str) -> bool| {
                        texts.iter().filter(|text| test(text)).count() as f64 / texts.len() as f64
                    };
                    let both = share(&|text| has(text, &a.word) && has(text, &b.word));
                    let apart =
                        share(&|text| has(text, &a.word)) * share(&|text| has(text, &b.word));
                    sum += if both == 0.0 { -1.0 } else { (both / apart).ln() / -both.ln() };
                    pairs += 1.0;
                }
            }
            let found = found.expect("words");
            assert!((found - sum / pairs).abs() < 1e-12, "{found} != {}", sum / pairs);
            assert!(found > -1.0 && found < 1.0);
        }
    }
}
