//! Stop words: the words that say nothing about a topic, and which languages they come from.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use foldhash::fast::RandomState;
use unicode_segmentation::UnicodeSegmentation;

use super::words::{Piece, Unspaced, for_each_piece, is_unspaced, lower_case, unspaced};
use crate::error::{OperatorError, Result};

/// Texts that are looked at to guess languages.
const SAMPLE_TEXTS_MAX: usize = 500;

/// Languages that are guessed for one set of texts.
const LANGUAGES_MAX: usize = 4;

/// The share of the words that a language must explain, beyond those that the languages before it
/// explain.
const SHARE_MIN: f64 = 0.1;

/// Which stop words are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StopWords {
    /// Those of the languages that the texts seem to be in.
    #[default]
    Auto,
    /// None.
    None,
    /// Those of a language, by its ISO 639-1 code.
    Language(String),
    /// These.
    List(Vec<String>),
}

impl StopWords {
    /// Reads an option: `auto`, `none` or a language.
    ///
    /// # Errors
    /// [`OperatorError::Option`] that lists what is known.
    pub fn parse(value: &str) -> Result<Self> {
        match value.to_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            language => of_language(language).map(|_| Self::Language(language.to_string())),
        }
    }

    /// The words that are meant.
    pub(super) fn resolve(&self, texts: &[&str]) -> Result<StopList> {
        Ok(match self {
            Self::Auto => StopList::of_languages(guess_languages(texts)),
            Self::None => StopList::default(),
            Self::Language(language) => StopList::of_languages(vec![of_language(language)?]),
            Self::List(words) => StopList::of_words(words),
        })
    }
}

/// Stop words, in lower case: those of some languages, or words of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct StopList {
    languages: Vec<&'static str>,
    /// The languages as bits.
    bits: u64,
    words: HashSet<String, RandomState>,
    clusters_max: usize,
}

impl StopList {
    fn of_languages(languages: Vec<&'static str>) -> Self {
        let known = stop_words::available_languages().iter();
        let bits = known.enumerate().filter(|(_, language)| languages.contains(language));
        let bits = bits.filter_map(|(bit, _)| 1_u64.checked_shl(bit as u32)).sum();
        let words = languages.iter().filter_map(stop_words::lookup).flatten().copied();
        let clusters_max = clusters_max(words);
        Self { languages, bits, clusters_max, ..Self::default() }
    }

    fn of_words(words: &[String]) -> Self {
        let words: HashSet<_, _> = words.iter().map(|word| lower_case(word)).collect();
        let clusters_max = clusters_max(words.iter().map(String::as_str));
        Self { words, clusters_max, ..Self::default() }
    }

    /// Whether a word in lower case is one.
    pub(super) fn contains(&self, word: &str) -> bool {
        let listed = || stop_words_by_languages().get(word).is_some_and(|in_| in_ & self.bits != 0);
        self.words.contains(word) || (self.bits != 0 && listed())
    }

    /// The languages whose stop words they are.
    pub(super) fn languages(&self) -> &[&'static str] {
        &self.languages
    }

    /// Clusters of the longest one of a script without spaces.
    pub(super) fn clusters_max(&self) -> usize {
        self.clusters_max
    }
}

fn clusters_max<'a>(words: impl Iterator<Item = &'a str>) -> usize {
    let unspaced = words.filter(|word| word.starts_with(is_unspaced));
    unspaced.map(|word| word.graphemes(true).count()).max().unwrap_or(0)
}

/// The code of a language that has stop words.
pub(super) fn of_language(language: &str) -> Result<&'static str> {
    let known = stop_words::available_languages();
    known.iter().copied().find(|code| *code == language).ok_or_else(|| {
        OperatorError::Option(format!(
            "stop_words must be 'auto', 'none', a list of words or a language, got '{language}'; \
             known languages: {}",
            known.join(", ")
        ))
    })
}

/// The languages of some texts, the most frequent first.
///
/// Words vote for each language that has them as stop words. The language with the most votes
/// takes its words away, and the next is judged by what is left, so that relatives of a language
/// don't come along with it. Scripts without spaces speak for themselves.
pub fn guess_languages(texts: &[&str]) -> Vec<&'static str> {
    let counts = count_words(texts);
    let mut languages = Vec::new();
    let mut words: Vec<(u64, f64)> = counts.by_languages.into_iter().collect();
    words.sort_unstable_by_key(|(languages, _)| *languages);
    while languages.len() < LANGUAGES_MAX {
        let mut votes = vec![0.0; stop_words::available_languages().len()];
        for (listed_in, count) in &words {
            let bits = votes.iter_mut().enumerate();
            bits.filter(|(bit, _)| listed_in >> bit & 1 == 1).for_each(|(_, v)| *v += count);
        }
        let best = (0..votes.len()).rev().max_by(|a, b| votes[*a].total_cmp(&votes[*b]));
        let Some(best) = best.filter(|best| votes[*best] >= SHARE_MIN * counts.words) else {
            break;
        };
        if votes[best] == 0.0 {
            break;
        }
        languages.push(stop_words::available_languages()[best]);
        words.retain(|(listed_in, _)| listed_in >> best & 1 == 0);
    }
    let written = |script: Unspaced| counts.scripts.contains(&script);
    if written(Unspaced::Hiragana) {
        languages.push("ja");
    } else if written(Unspaced::Han) {
        languages.push("zh");
    }
    if written(Unspaced::Thai) {
        languages.push("th");
    }
    languages.retain(|language| stop_words::lookup(language).is_some());
    languages
}

/// What the guess is made from.
#[derive(Default)]
struct Counts {
    /// Number of words, and of characters of scripts without spaces.
    words: f64,
    /// How many of them are stop words of exactly these languages, as bits.
    by_languages: HashMap<u64, f64>,
    scripts: Vec<Unspaced>,
}

/// Looks at texts in equal steps, at most [`SAMPLE_TEXTS_MAX`].
fn count_words(texts: &[&str]) -> Counts {
    let listed = stop_words_by_languages();
    let mut counts = Counts::default();
    for text in texts.iter().step_by(texts.len().div_ceil(SAMPLE_TEXTS_MAX).max(1)) {
        let lower = lower_case(text);
        for_each_piece(&lower, |piece| match piece {
            Piece::Word(word) if word.contains(char::is_alphabetic) => {
                counts.words += 1.0;
                if let Some(languages) = listed.get(word) {
                    *counts.by_languages.entry(*languages).or_default() += 1.0;
                }
            }
            Piece::Word(_) => {}
            Piece::Run(run) => {
                counts.words += run.chars().count() as f64;
                let script = run.chars().next().and_then(unspaced);
                counts.scripts.extend(script.filter(|script| !counts.scripts.contains(script)));
            }
        });
    }
    counts
}

/// For each stop word the languages that list it, as bits in the order of the crate's languages.
fn stop_words_by_languages() -> &'static HashMap<String, u64, RandomState> {
    static LISTED: OnceLock<HashMap<String, u64, RandomState>> = OnceLock::new();
    LISTED.get_or_init(|| {
        let mut listed: HashMap<String, u64, RandomState> = HashMap::default();
        for (bit, language) in stop_words::available_languages().iter().enumerate().take(64) {
            for word in stop_words::lookup(language).unwrap_or_default() {
                *listed.entry(lower_case(word)).or_default() |= 1 << bit;
            }
        }
        listed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "Why was my card declined when I tried to pay with it at the shop?";
    const GERMAN: &str = "Warum wurde meine Karte abgelehnt, als ich damit bezahlen wollte?";

    #[test]
    fn languages_are_guessed_from_their_stop_words() {
        assert_eq!(guess_languages(&[ENGLISH]), ["en"]);
        assert_eq!(guess_languages(&[GERMAN]), ["de"]);
        assert_eq!(guess_languages(&["Почему я не могу это оплатить моей картой"]), ["ru"]);
        assert_eq!(
            guess_languages(&["¿Por qué no puedo pagar con mi tarjeta en la tienda?"]),
            ["es"]
        );
        assert_eq!(guess_languages(&["我的银行卡丢了"]), ["zh"]);
        assert_eq!(guess_languages(&["我的银行卡丢了，Tom 的也丢了"]), ["zh"]);
        assert_eq!(guess_languages(&["銀行のカードを失くしました"]), ["ja"]);
        let mut both = guess_languages(&[ENGLISH, GERMAN]);
        both.sort_unstable();
        assert_eq!(both, ["de", "en"]);
    }

    #[test]
    fn texts_without_stop_words_have_no_language() {
        assert!(guess_languages(&[]).is_empty());
        assert!(guess_languages(&["", "42"]).is_empty());
        assert!(guess_languages(&["xqzv wvvq"]).is_empty());
    }

    #[test]
    fn options_are_read() {
        assert_eq!(StopWords::parse("Auto"), Ok(StopWords::Auto));
        assert_eq!(StopWords::parse("none"), Ok(StopWords::None));
        assert_eq!(StopWords::parse("de"), Ok(StopWords::Language("de".to_string())));
        let error = StopWords::parse("english").expect_err("a code is wanted").to_string();
        assert!(error.contains("got 'english'; "), "{error}");
        let list = StopWords::List(vec!["Card".to_string()]).resolve(&[]).expect("a list");
        assert!(list.contains("card") && !list.contains("the"));
    }

    #[test]
    fn every_language_has_a_bit() {
        assert!(stop_words::available_languages().len() <= 64);
        for language in stop_words::available_languages() {
            let list = StopWords::Language(language.to_string()).resolve(&[]).expect("known");
            let words = stop_words::lookup(language).expect("known");
            assert!(words.iter().all(|word| list.contains(&lower_case(word))), "{language}");
        }
        let german = StopWords::Language("de".to_string()).resolve(&[]).expect("known");
        assert!(german.contains("damit") && !german.contains("with"));
    }
}
