//! A text index in memory: BM25 over words, by tantivy.
//!
//! A query is a bag of words: rows score by each word that they hold, a word that the query repeats
//! counts as often, and nothing in it is a command. Words are those of [`crate::topics::words`]
//! (pairs of characters in scripts without spaces), stemmed where tantivy knows the language.
//!
//! There is one segment, written by one thread in the order of rows, and scores are summed in
//! one order, so equal texts have equal scores and results depend on the input alone. That is also
//! why whole posting lists are scored, rather than skipped through by bounds.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use rayon::prelude::*;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::directory::RamDirectory;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{
    Language, RemoveLongFilter, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer,
};
use tantivy::{DocId, Index, Score, Searcher, SegmentReader, TantivyDocument, TantivyError, Term};

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::topics::words::for_each_index_word;

/// Words with more bytes than this are not indexed.
const WORD_BYTES_MAX: usize = 255;

/// Bytes that tantivy needs for one segment at the least.
const BUDGET_MIN: usize = 15_000_000;

/// How a text index is built.
#[derive(Clone, Debug, PartialEq)]
pub struct TextIndexOptions {
    /// The language of the texts, by its ISO 639-1 code. Where tantivy has a stemmer for it, words
    /// are stemmed; else they are indexed as they are.
    pub language: String,
    /// Bytes that the index may take while it is written.
    pub budget_bytes: usize,
}

impl Default for TextIndexOptions {
    fn default() -> Self {
        Self { language: "en".to_string(), budget_bytes: 1 << 30 }
    }
}

/// A row that was found, and its BM25 score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextHit {
    /// The row.
    pub row: u32,
    /// Its score, above 0; comparable within one query only.
    pub score: f32,
}

/// Texts that can be searched by words.
///
/// # Examples
/// ```
/// use sembla_operators::Unbounded;
/// use sembla_operators::text_index::{TextIndex, TextIndexOptions};
///
/// let texts = ["I lost my card", "hello", "cards get lost"];
/// let index = TextIndex::build(&texts, &TextIndexOptions::default(), &Unbounded)?;
/// let hits = index.search("lost cards", 2, &Unbounded)?;
/// let rows: Vec<u32> = hits.iter().map(|hit| hit.row).collect();
/// assert_eq!(rows, [2, 0]);
/// # Ok::<(), sembla_operators::OperatorError>(())
/// ```
pub struct TextIndex {
    searcher: Searcher,
    analyzer: TextAnalyzer,
    text: Field,
}

impl TextIndex {
    /// Indexes texts; the row of a text is its position. While the index is built, its memory is
    /// borrowed; afterwards it is the caller's to account for, by [`TextIndex::bytes`].
    ///
    /// # Errors
    /// [`OperatorError::Option`] when the budget is below 15 MB, [`OperatorError::Memory`] when
    /// the texts don't fit it, what the host says.
    pub fn build(texts: &[&str], options: &TextIndexOptions, host: &dyn Host) -> Result<Self> {
        if options.budget_bytes < BUDGET_MIN {
            return Err(OperatorError::Option(format!(
                "budget_bytes must be >= {BUDGET_MIN}, got {}",
                options.budget_bytes
            )));
        }
        let analyzer = analyzer(&options.language);
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(ANALYZER)
            .set_index_option(IndexRecordOption::WithFreqs);
        let text =
            schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let tokenizers = tantivy::tokenizer::TokenizerManager::new();
        tokenizers.register(ANALYZER, analyzer.clone());
        let builder = Index::builder().schema(schema.build()).tokenizers(tokenizers);
        let mut writer = builder
            .single_segment_index_writer::<TantivyDocument>(
                RamDirectory::create(),
                options.budget_bytes,
            )
            .map_err(failed)?;
        let mut loan = Loan::new(host, 0)?;
        for (row, row_text) in texts.iter().enumerate() {
            if row % 256 == 0 {
                check(host)?;
                host.progress("indexing texts", row as u64, texts.len() as u64);
                // What is written stays in memory, and is written once more at the end.
                let bytes = 2 * writer.mem_usage();
                if bytes > options.budget_bytes {
                    return Err(OperatorError::Memory(format!(
                        "the text index needs more than its budget of {} bytes after {row} of {} \
                         texts; raise it or index fewer texts",
                        options.budget_bytes,
                        texts.len()
                    )));
                }
                loan.resize(bytes)?;
            }
            let mut document = TantivyDocument::new();
            document.add_text(text, row_text);
            writer.add_document(document).map_err(failed)?;
        }
        let index = writer.finalize().map_err(failed)?;
        let searcher = index.reader().map_err(failed)?.searcher();
        host.progress("indexing texts", texts.len() as u64, texts.len() as u64);
        Ok(Self { searcher, analyzer, text })
    }

    /// Number of texts.
    pub fn rows(&self) -> usize {
        self.searcher.num_docs() as usize
    }

    /// Bytes that the index takes.
    ///
    /// # Errors
    /// [`OperatorError::Bug`] when tantivy can't say.
    pub fn bytes(&self) -> Result<usize> {
        let usage = self.searcher.space_usage().map_err(|error| failed(error.into()))?;
        Ok(usage.total().get_bytes() as usize)
    }

    /// The `top_k` rows that score best, best first; of equal scores the lower row first. Rows with
    /// none of the words are not found.
    ///
    /// Cost: the posting lists of the query's words.
    ///
    /// # Errors
    /// What the host says.
    pub fn search(&self, query: &str, top_k: usize, host: &dyn Host) -> Result<Vec<TextHit>> {
        check(host)?;
        let query = self.query(query);
        self.searcher.search(&query, &BestRows { top_k }).map_err(failed)
    }

    /// [`TextIndex::search`] for many queries, on all cores.
    ///
    /// # Errors
    /// What the host says.
    pub fn search_all(
        &self,
        queries: &[&str],
        top_k: usize,
        host: &dyn Host,
    ) -> Result<Vec<Vec<TextHit>>> {
        queries.par_iter().map(|query| self.search(query, top_k, host)).collect()
    }

    /// Any of the words, each weighed by how often it occurs.
    fn query(&self, query: &str) -> BooleanQuery {
        let mut counts: BTreeMap<Term, u16> = BTreeMap::new();
        let mut analyzer = self.analyzer.clone();
        analyzer.token_stream(query).process(&mut |token| {
            let count = counts.entry(Term::from_field_text(self.text, &token.text)).or_default();
            *count = count.saturating_add(1);
        });
        let clause = |(term, count): (Term, u16)| -> (Occur, Box<dyn Query>) {
            let term: Box<dyn Query> = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
            let weighed: Box<dyn Query> =
                if count == 1 { term } else { Box::new(BoostQuery::new(term, f32::from(count))) };
            (Occur::Should, weighed)
        };
        BooleanQuery::new(counts.into_iter().map(clause).collect())
    }
}

/// The name of our words among tantivy's tokenizers.
const ANALYZER: &str = "words";

fn analyzer(language: &str) -> TextAnalyzer {
    let words = TextAnalyzer::builder(IndexWords::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX));
    match stemmer(language) {
        Some(language) => words.filter(Stemmer::new(language)).build(),
        None => words.build(),
    }
}

/// tantivy's stemmer for a language.
fn stemmer(language: &str) -> Option<Language> {
    Some(match language {
        "ar" => Language::Arabic,
        "da" => Language::Danish,
        "de" => Language::German,
        "el" => Language::Greek,
        "en" => Language::English,
        "es" => Language::Spanish,
        "fi" => Language::Finnish,
        "fr" => Language::French,
        "hu" => Language::Hungarian,
        "it" => Language::Italian,
        "nl" => Language::Dutch,
        "no" | "nb" | "nn" => Language::Norwegian,
        "pt" => Language::Portuguese,
        "ro" => Language::Romanian,
        "ru" => Language::Russian,
        "sv" => Language::Swedish,
        "ta" => Language::Tamil,
        "tr" => Language::Turkish,
        _ => return None,
    })
}

/// Our words as a tokenizer of tantivy. Positions and offsets are not used by a bag of words.
#[derive(Clone, Default)]
struct IndexWords {
    words: Vec<String>,
    token: Token,
}

impl Tokenizer for IndexWords {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.words.clear();
        for_each_index_word(text, |word| self.words.push(word.to_string()));
        self.token = Token::default();
        WordStream { words: self.words.iter_mut(), token: &mut self.token }
    }
}

struct WordStream<'a> {
    words: std::slice::IterMut<'a, String>,
    token: &'a mut Token,
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text = std::mem::take(word);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// Collects the best rows. As rows were written in order to one segment, tantivy's numbers of
/// documents are rows.
struct BestRows {
    top_k: usize,
}

impl Collector for BestRows {
    type Fruit = Vec<TextHit>;
    type Child = BestOfSegment;

    fn for_segment(&self, _: u32, _: &SegmentReader) -> tantivy::Result<BestOfSegment> {
        Ok(BestOfSegment { top_k: self.top_k, worst_first: BinaryHeap::new() })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, segments: Vec<Vec<TextHit>>) -> tantivy::Result<Vec<TextHit>> {
        Ok(segments.into_iter().flatten().collect())
    }
}

struct BestOfSegment {
    top_k: usize,
    worst_first: BinaryHeap<Ranked>,
}

impl SegmentCollector for BestOfSegment {
    type Fruit = Vec<TextHit>;

    fn collect(&mut self, row: DocId, score: Score) {
        let hit = Ranked(TextHit { row, score });
        if self.worst_first.len() < self.top_k {
            self.worst_first.push(hit);
        } else if let Some(mut worst) = self.worst_first.peek_mut()
            && hit < *worst
        {
            *worst = hit;
        }
    }

    fn harvest(self) -> Vec<TextHit> {
        self.worst_first.into_sorted_vec().into_iter().map(|ranked| ranked.0).collect()
    }
}

/// A hit that compares by rank: the higher score is less, then the lower row.
#[derive(PartialEq)]
struct Ranked(TextHit);

impl Eq for Ranked {}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.score.total_cmp(&self.0.score).then(self.0.row.cmp(&other.0.row))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn failed(error: TantivyError) -> OperatorError {
    OperatorError::Bug(format!("text index: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Unbounded;
    use crate::host::tests::Limited;
    use crate::similarity::tests::random_vector;

    fn build(texts: &[&str], language: &str) -> TextIndex {
        let options = TextIndexOptions { language: language.to_string(), ..Default::default() };
        TextIndex::build(texts, &options, &Unbounded).expect("an index")
    }

    fn rows(index: &TextIndex, query: &str, top_k: usize) -> Vec<u32> {
        let hits = index.search(query, top_k, &Unbounded).expect("hits");
        hits.iter().map(|hit| hit.row).collect()
    }

    /// The formula, over all texts: k1 = 1.2, b = 0.75, idf = ln(1 + (N - n + 0.5) / (n + 0.5)).
    fn slow(texts: &[&str], query: &str) -> Vec<(u32, f64)> {
        let split = |text: &str| -> Vec<String> {
            let mut words = Vec::new();
            for_each_index_word(text, |word| words.push(word.to_string()));
            words
        };
        let texts: Vec<Vec<String>> = texts.iter().map(|text| split(text)).collect();
        let mean = texts.iter().map(Vec::len).sum::<usize>() as f64 / texts.len() as f64;
        let mut scores = vec![0.0; texts.len()];
        for word in split(query) {
            let holding = texts.iter().filter(|text| text.contains(&word)).count() as f64;
            let idf = (1.0 + (texts.len() as f64 - holding + 0.5) / (holding + 0.5)).ln();
            for (text, score) in texts.iter().zip(&mut scores) {
                let tf = text.iter().filter(|other| **other == word).count() as f64;
                let length = text.len() as f64;
                *score += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / mean));
            }
        }
        let mut found: Vec<(u32, f64)> =
            (0..).zip(scores).filter(|(_, score)| *score > 0.0).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found
    }

    #[test]
    fn scores_are_those_of_the_formula() {
        let numbers = random_vector(3000, 5);
        let word = |x: f32| format!("w{}", ((x.abs() * 6.0).exp() as u32) % 200);
        let mut texts: Vec<String> = numbers
            .chunks(12)
            .enumerate()
            .map(|(i, chunk)| {
                let words: Vec<String> = chunk[..i % 13].iter().map(|x| word(*x)).collect();
                words.join(" ")
            })
            .collect();
        texts.extend_from_within(100..150);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let index = build(&texts, "none");
        for query in ["w1", "w1 w2 w3", "w7 w7 w7 w11", "w150 w3 unknown", "unknown", ""] {
            let wanted = slow(&texts, query);
            let found = index.search(query, texts.len(), &Unbounded).expect("hits");
            assert_eq!(found.len(), wanted.len(), "{query}");
            for (hit, (_, score)) in found.iter().zip(&wanted) {
                assert!((f64::from(hit.score) - score).abs() < 1e-4, "{query}: {hit:?} {score}");
            }
            for (a, b) in found.iter().zip(&found[1.min(found.len())..]) {
                assert!(a.score > b.score || (a.score == b.score && a.row < b.row));
            }
            for hit in &found {
                let same =
                    found.iter().find(|other| texts[other.row as usize] == texts[hit.row as usize]);
                assert!(same.is_some_and(|other| other.score == hit.score), "equal texts");
            }
            assert_eq!(
                index.search(query, 7, &Unbounded).expect("hits"),
                found[..7.min(found.len())]
            );
        }
    }

    #[test]
    fn words_are_stemmed_and_ties_go_to_the_lower_row() {
        let texts = ["Cancelled transfers", "a card", "transfer cancelling", "CARDS!", ""];
        let index = build(&texts, "en");
        assert_eq!(rows(&index, "cancel transfer", 10), [0, 2]);
        assert_eq!(rows(&index, "Card", 10), [3, 1]);
        assert_eq!(rows(&build(&texts, "none"), "transfer", 10), [2]);
        let same = build(&["x y"; 100], "en");
        assert_eq!(rows(&same, "y", 5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_query_is_words_and_no_command() {
        let index = build(&["text fox", "the (quick) fox* AND dog", "dog"], "en");
        assert_eq!(rows(&index, "text:fox^9 OR -dog \"AND +(", 10).len(), 3);
        assert_eq!(rows(&index, "[a TO z] *", 10), Vec::<u32>::new());
        assert_eq!(rows(&index, "\"", 10), Vec::<u32>::new());
        assert_eq!(rows(&index, &"x".repeat(70_000), 10), Vec::<u32>::new());
    }

    #[test]
    fn other_scripts_are_found() {
        let index = build(&["我的银行卡丢了", "银行在哪里", "карта потерялась"], "zh");
        assert_eq!(rows(&index, "银行卡", 10), [0, 1]);
        assert_eq!(rows(&index, "Карта", 10), [2]);
    }

    #[test]
    fn no_texts_long_words_and_zero_k() {
        assert!(rows(&build(&[], "en"), "x", 10).is_empty());
        let long = "y".repeat(70_000);
        let index = build(&[&long, "x"], "en");
        assert_eq!(index.rows(), 2);
        assert!(index.bytes().expect("a size") > 0);
        assert_eq!(rows(&index, "x", 10), [1]);
        assert!(rows(&index, "x", 0).is_empty());
        let all = index.search_all(&["x", "z"], 3, &Unbounded).expect("hits");
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn the_budget_and_the_host_bound() {
        let texts: Vec<String> =
            (0..200_000).map(|i| format!("word{i} other{i} third{i}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = TextIndexOptions { budget_bytes: BUDGET_MIN, ..Default::default() };
        let error = TextIndex::build(&texts, &options, &Unbounded).err().expect("over budget");
        assert!(error.to_string().contains("raise it"), "{error}");
        let small = TextIndexOptions { budget_bytes: 1000, ..Default::default() };
        assert!(matches!(TextIndex::build(&[], &small, &Unbounded), Err(OperatorError::Option(_))));
        let host = Limited { limit: 1 << 20, ..Limited::default() };
        let refused = TextIndex::build(&texts, &TextIndexOptions::default(), &host);
        assert!(matches!(refused, Err(OperatorError::Memory(_))));
        let host = Limited { limit: 1 << 40, cancelled: true, ..Limited::default() };
        let stopped = TextIndex::build(&["x"], &TextIndexOptions::default(), &host);
        assert!(matches!(stopped, Err(OperatorError::Cancelled)));
    }
}
