//! c-TF-IDF, the weight of a word for a topic, as BERTopic defines it.
//!
//! `W(x, c) = tf(x, c) / Σ_x tf(x, c) · ln(1 + A / f(x))`, where `tf(x, c)` counts word `x` in the
//! texts of topic `c`, `f(x)` is its count in all topics, and `A` the mean number of words of a
//! topic without its fraction. Texts of no topic count as one more class.
//!
//! Variants: BM25 weighting, `ln(1 + (A - f(x) + 0.5) / (f(x) + 0.5))`, and the square root of the
//! first factor, which weakens frequent words.

use std::collections::BTreeMap;

use super::counts::TopicWords;
use super::words::Words;

/// How words are weighted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighting {
    /// BM25 in the place of `ln(1 + A / f(x))`.
    pub bm25: bool,
    /// Takes the square root of a word's share.
    pub reduce_frequent_words: bool,
    /// Words in fewer texts than this don't count at all.
    pub min_document_frequency: f64,
}

impl Default for Weighting {
    fn default() -> Self {
        Self { bm25: false, reduce_frequent_words: false, min_document_frequency: 1.0 }
    }
}

/// A word and its weight for a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredWord {
    /// The word or n-gram.
    pub word: String,
    /// Its weight.
    pub score: f64,
}

/// The weights of all words for all topics.
#[derive(Clone, Debug)]
pub struct WordWeights<'a> {
    counts: &'a TopicWords,
    reduce_frequent_words: bool,
    /// By word; 0 for words that don't count.
    idf: Vec<f64>,
    topics: BTreeMap<Option<u32>, Sparse>,
}

impl<'a> WordWeights<'a> {
    /// Weighs counted words.
    pub fn new(counts: &'a TopicWords, weighting: &Weighting) -> Self {
        Self::of_rows(counts, counts.topics().clone(), weighting)
    }

    /// Weighs counted words as if topics were put together to other ones; `None` makes a topic part
    /// of the class of no topic.
    pub(crate) fn grouped(
        counts: &'a TopicWords,
        topic: impl Fn(u32) -> Option<u32>,
        weighting: &Weighting,
    ) -> Self {
        Self::of_rows(counts, counts.grouped(topic), weighting)
    }

    fn of_rows(
        counts: &'a TopicWords,
        mut topics: BTreeMap<Option<u32>, Sparse>,
        weighting: &Weighting,
    ) -> Self {
        // A word of a decayed count may be left with less than one text, and counts all the same.
        let least = weighting.min_document_frequency;
        let common = |id: &u32| least <= 1.0 || counts.terms()[*id as usize].texts >= least;
        let mut idf = vec![0.0; counts.terms().len()];
        let mut totals = Vec::with_capacity(topics.len());
        for row in topics.values_mut() {
            row.retain(|(id, _)| common(id));
            row.iter().for_each(|(id, count)| idf[*id as usize] += count);
            totals.push(row.iter().map(|(_, count)| count).sum::<f64>());
        }
        let mean = totals.iter().sum::<f64>() / totals.len().max(1) as f64;
        // The fraction goes, as in BERTopic, unless decay left nothing else.
        let mean = if mean >= 1.0 { mean.floor() } else { mean };
        idf.iter_mut().filter(|frequency| **frequency > 0.0).for_each(|f| {
            *f = if weighting.bm25 { (mean - *f + 0.5) / (*f + 0.5) } else { mean / *f }.ln_1p();
        });
        let mut weights =
            Self { counts, reduce_frequent_words: weighting.reduce_frequent_words, idf, topics };
        let rows = std::mem::take(&mut weights.topics);
        weights.topics = rows.into_iter().map(|(topic, row)| (topic, weights.weigh(row))).collect();
        weights
    }

    /// The words of a topic with the highest weights, the highest first; equal ones in the order of
    /// their code points.
    pub fn top_words(&self, topic: u32, count: usize) -> Vec<ScoredWord> {
        let word = |id: u32| &*self.counts.terms()[id as usize].word;
        let mut row: Vec<(u32, f64)> = self.row(topic).to_vec();
        let best_first = |a: &(u32, f64), b: &(u32, f64)| {
            b.1.total_cmp(&a.1).then_with(|| word(a.0).cmp(word(b.0)))
        };
        if count > 0 && count < row.len() {
            row.select_nth_unstable_by(count - 1, best_first);
        }
        row.truncate(count);
        row.sort_unstable_by(best_first);
        row.into_iter()
            .map(|(id, score)| ScoredWord { word: word(id).to_string(), score })
            .collect()
    }

    /// The weights of a topic's words by number, in order; empty for an unknown topic.
    pub(super) fn row(&self, topic: u32) -> &[(u32, f64)] {
        self.topics.get(&Some(topic)).map_or(&[], Vec::as_slice)
    }

    /// The weights of a text's words, as if it were a topic, in order of the words' numbers.
    pub(super) fn text(&self, text: &str, words: &Words) -> Sparse {
        let mut row = Sparse::new();
        words.for_each(text, |word| {
            let id = self.counts.id_of(word).filter(|id| self.idf[*id as usize] != 0.0);
            row.extend(id.map(|id| (id, 1.0)));
        });
        sum_up(&mut row);
        self.weigh(row)
    }

    /// Turns counts into weights.
    fn weigh(&self, mut row: Sparse) -> Sparse {
        let total: f64 = row.iter().map(|(_, count)| count).sum();
        for (id, count) in &mut row {
            let share = if total > 0.0 { *count / total } else { 0.0 };
            let share = if self.reduce_frequent_words { share.sqrt() } else { share };
            *count = share * self.idf[*id as usize];
        }
        row
    }
}

/// Words by number, in order, with a count or weight.
pub(crate) type Sparse = Vec<(u32, f64)>;

/// Puts a row in order and adds what is said of the same word, in the order in which it stands.
pub(super) fn sum_up(row: &mut Sparse) {
    row.sort_by_key(|(id, _)| *id);
    row.dedup_by(|later, sum| {
        let is_same = later.0 == sum.0;
        if is_same {
            sum.1 += later.1;
        }
        is_same
    });
}

/// The cosine of two rows; 0 when one has no length.
pub(super) fn cosine(a: &[(u32, f64)], b: &[(u32, f64)]) -> f64 {
    let squares = |row: &[(u32, f64)]| row.iter().map(|(_, x)| x * x).sum::<f64>();
    let (mut i, mut j, mut product) = (0, 0, 0.0);
    while let (Some((id, x)), Some((other, y))) = (a.get(i), b.get(j)) {
        if id == other {
            product += x * y;
        }
        i += usize::from(id <= other);
        j += usize::from(other <= id);
    }
    let norm = (squares(a) * squares(b)).sqrt();
    if norm > 0.0 { product / norm } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::stop_words::StopWords;
    use super::super::words::WordOptions;
    use super::*;
    use crate::host::Unbounded;

    const TEXTS: [&str; 4] = [
        "card payment declined card",
        "card lost stolen card card",
        "exchange rate rate currency exchange",
        "lost pin pin blocked payment",
    ];

    fn plain() -> Words {
        let stop_words = StopWords::None;
        Words::new(&WordOptions { stop_words, ..WordOptions::default() }, &[]).expect("options")
    }

    fn counts(texts: &[&str], topics: &[Option<u32>]) -> TopicWords {
        TopicWords::count(texts, topics, &plain(), 1000, &Unbounded).expect("counts").0
    }

    /// The texts one by one; the last is of no topic.
    fn four() -> TopicWords {
        counts(&TEXTS, &[Some(0), Some(1), Some(2), None])
    }

    fn assert_words(found: &[ScoredWord], wanted: &[(&str, f64)]) {
        let words: Vec<&str> = found.iter().map(|word| word.word.as_str()).collect();
        assert_eq!(words, wanted.iter().map(|(word, _)| *word).collect::<Vec<_>>());
        for (found, (word, score)) in found.iter().zip(wanted) {
            assert!((found.score - score).abs() < 1e-12, "{word}: {} != {score}", found.score);
        }
    }

    /// The figures are those of BERTopic 0.17.4's `ClassTfidfTransformer` on the same counts.
    #[test]
    fn weights_are_those_of_bertopic() {
        let counts = four();
        let weights = WordWeights::new(&counts, &Weighting::default());
        let wanted = [
            ("declined", 0.40235947810852507),
            ("card", 0.29389333245105953),
            ("payment", 0.27465307216702745),
        ];
        assert_words(&weights.top_words(0, 10), &wanted);
        let wanted = [("exchange", 0.43944491546724396), ("rate", 0.43944491546724396)];
        assert_words(&weights.top_words(2, 2), &wanted);
    }

    #[test]
    fn variants_are_those_of_bertopic() {
        let counts = four();
        let weighting = |bm25, reduce_frequent_words| Weighting {
            bm25,
            reduce_frequent_words,
            ..Weighting::default()
        };
        let wanted = [
            ("stolen", 0.24079456086518725),
            ("lost", 0.13862943611198905),
            ("card", -0.057186107882594935),
        ];
        assert_words(&WordWeights::new(&counts, &weighting(true, false)).top_words(1, 9), &wanted);
        let wanted = [
            ("stolen", 0.7197625155536004),
            ("lost", 0.4913143516757031),
            ("card", 0.45529759285774135),
        ];
        assert_words(&WordWeights::new(&counts, &weighting(false, true)).top_words(1, 9), &wanted);
        let wanted = [
            ("stolen", 0.5384330067067692),
            ("lost", 0.3099848428288717),
            ("card", -0.07382694782123696),
        ];
        assert_words(&WordWeights::new(&counts, &weighting(true, true)).top_words(1, 9), &wanted);
    }

    #[test]
    fn words_in_few_texts_can_be_left_out() {
        let weighting = Weighting { min_document_frequency: 2.0, ..Weighting::default() };
        let counts = four();
        let weights = WordWeights::new(&counts, &weighting);
        let words = |topic| -> Vec<String> {
            weights.top_words(topic, 9).into_iter().map(|word| word.word).collect()
        };
        assert_eq!(words(0), ["payment", "card"]);
        assert!(words(2).is_empty());
        assert!(words(77).is_empty());
    }

    #[test]
    fn a_text_weighs_as_a_topic_of_its_own() {
        let counts = four();
        let weights = WordWeights::new(&counts, &Weighting::default());
        for (topic, text) in TEXTS.iter().enumerate().take(3) {
            assert_eq!(weights.text(text, &plain()), weights.row(topic as u32));
            assert!(
                (cosine(&weights.text(text, &plain()), weights.row(topic as u32)) - 1.0).abs()
                    < 1e-12
            );
        }
        assert!(weights.text("words nobody counted", &plain()).is_empty());
        assert_eq!(cosine(&[], weights.row(0)), 0.0);
        assert!(
            (cosine(&[(1, 3.0), (4, 4.0)], &[(0, 9.0), (4, 5.0)]) - 20.0 / (5.0 * 106f64.sqrt()))
                .abs()
                < 1e-12
        );
    }

    #[test]
    fn decayed_counts_keep_their_order() {
        let mut counts = four();
        counts.scale(1e-3);
        let weights = WordWeights::new(&counts, &Weighting::default());
        assert_eq!(weights.top_words(0, 1)[0].word, "declined");
        let empty = TopicWords::new(10).expect("options");
        assert!(WordWeights::new(&empty, &Weighting::default()).top_words(0, 3).is_empty());
    }
}
