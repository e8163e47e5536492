//! Splits texts into the words that topics are labelled with.
//!
//! Words are found by Unicode's rules (UAX #29) in lower case. Then numbers, single letters and
//! stop words go, and n-grams are built of what is left, as scikit-learn's `CountVectorizer` does.
//!
//! Scripts that put no spaces between words (Han, Hiragana, Thai, Lao, Khmer, Burmese) give pairs
//! of neighbouring characters instead. That needs no dictionary, is the same for every language,
//! and most words of Chinese are two characters long. A stop word cuts such a stretch, so that no
//! pair contains it. Katakana, mostly loan words, stays whole.
//!
//! Scraps of HTML are no words. Texts are not normalised (NFC) here.

use unicode_segmentation::UnicodeSegmentation;

use super::markup::without_markup;
use super::numbers::Numbers;
use super::stop_words::{StopList, StopWords};
use crate::error::{OperatorError, Result};

/// The longest n-gram that can be asked for.
const NGRAMS_MAX: usize = 5;

/// Characters of Chinese that are grammar almost wherever they stand. Other stop words of one
/// character (上, 中, 人) are parts of too many words of content to cut a stretch there.
const PARTICLES: &str = "的了着过们是在我你您他她它吗呢吧啊和与就都也很把被这那";

/// Which words count.
#[derive(Clone, Debug, PartialEq)]
pub struct WordOptions {
    /// The words that say nothing about a topic.
    pub stop_words: StopWords,
    /// The longest sequence of words that counts as one, from 1.
    pub ngrams_max: usize,
    /// Whether words without a letter count.
    pub keep_numbers: bool,
}

impl Default for WordOptions {
    fn default() -> Self {
        Self { stop_words: StopWords::Auto, ngrams_max: 1, keep_numbers: false }
    }
}

/// Splits texts into words.
#[derive(Clone, Debug)]
pub struct Words {
    stop_words: StopList,
    ngrams_max: usize,
    keep_numbers: bool,
}

impl Words {
    /// The rules for some texts, which are looked at only to guess the languages of the stop words.
    ///
    /// # Errors
    /// [`OperatorError::Option`] for n-grams of 0 or more than 5 words, and a language without
    /// stop words.
    pub fn new(options: &WordOptions, texts: &[&str]) -> Result<Self> {
        if !(1..=NGRAMS_MAX).contains(&options.ngrams_max) {
            return Err(OperatorError::Option(format!(
                "ngrams must be the length of the longest sequence of words, between 1 and \
                 {NGRAMS_MAX}, got {}",
                options.ngrams_max
            )));
        }
        Ok(Self {
            stop_words: options.stop_words.resolve(texts)?,
            ngrams_max: options.ngrams_max,
            keep_numbers: options.keep_numbers,
        })
    }

    /// The languages whose stop words are left out.
    pub fn languages(&self) -> &[&'static str] {
        self.stop_words.languages()
    }

    /// Calls `each` with every word and n-gram of a text, as often as it occurs.
    pub fn for_each(&self, text: &str, mut each: impl FnMut(&str)) {
        let lower = lower_case(&without_markup(text));
        let mut sequence: Vec<&str> = Vec::new();
        for_each_piece(&lower, |piece| match piece {
            Piece::Word(word) => sequence.extend(self.counted(word)),
            Piece::Run(run) => {
                self.ngrams(&sequence, &mut each);
                sequence.clear();
                self.run(run, &mut each);
            }
        });
        self.ngrams(&sequence, &mut each);
    }

    /// Calls `each` with the number of every word and n-gram of a text, as often as it occurs.
    /// `number` gives them numbers; what it said of words is in `known`.
    pub(super) fn for_each_number(
        &self,
        text: &str,
        known: &mut Numbers,
        mut number: impl FnMut(&str) -> u32,
        mut each: impl FnMut(u32),
    ) {
        if self.ngrams_max > 1 {
            return self.for_each(text, |word| each(number(word)));
        }
        let lower = lower_case(&without_markup(text));
        for_each_piece(&lower, |piece| match piece {
            Piece::Word(word) => {
                let numbers = known.of(word, |numbers| {
                    numbers.extend(self.counted(word).map(&mut number));
                });
                numbers.iter().copied().for_each(&mut each);
            }
            Piece::Run(run) => self.run(run, &mut |word: &str| each(number(word))),
        });
    }

    /// All words and n-grams of a text, as often as they occur.
    pub fn split(&self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        self.for_each(text, |word| words.push(word.to_string()));
        words
    }

    /// The parts of a word that count.
    fn counted<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        let is_stop_word = self.stop_words.contains(word);
        word_parts(word).filter(move |part| {
            !is_stop_word
                && (self.keep_numbers || part.contains(char::is_alphabetic))
                && !is_single_letter(part)
                && (part.len() == word.len() || !self.stop_words.contains(part))
        })
    }

    /// The n-grams of words that follow each other.
    fn ngrams(&self, sequence: &[&str], each: &mut impl FnMut(&str)) {
        sequence.iter().for_each(|word| each(word));
        for size in 2..=self.ngrams_max {
            sequence.windows(size).for_each(|words| each(&words.join(" ")));
        }
    }

    /// The pairs of characters (with n-grams: up to `n + 1` characters) of a stretch without
    /// spaces, between the stop words.
    fn run(&self, run: &str, each: &mut impl FnMut(&str)) {
        let clusters: Vec<&str> = run.graphemes(true).collect();
        let (mut from, mut at) = (0, 0);
        while at < clusters.len() {
            match self.stop_word_at(&clusters[at..]) {
                0 => at += 1,
                stop => {
                    self.between_stop_words(&clusters[from..at], each);
                    at += stop;
                    from = at;
                }
            }
        }
        self.between_stop_words(&clusters[from..], each);
    }

    /// The pairs of a part of a stretch; a single kana is what is left of an ending.
    fn between_stop_words(&self, clusters: &[&str], each: &mut impl FnMut(&str)) {
        let kana = clusters.len() == 1 && clusters.iter().all(|kana| kana.starts_with(is_hiragana));
        if !kana {
            clusters_ngrams(clusters, self.ngrams_max + 1, each);
        }
    }

    /// The length of the longest stop word that a stretch begins with.
    fn stop_word_at(&self, clusters: &[&str]) -> usize {
        let longest = self.stop_words.clusters_max().min(clusters.len());
        let cuts = |size: &usize| {
            let word = clusters[..*size].concat();
            let cuts_alone = |c: char| is_hiragana(c) || PARTICLES.contains(c);
            self.stop_words.contains(&word) && (*size > 1 || word.starts_with(cuts_alone))
        };
        (1..=longest).rev().find(cuts).unwrap_or(0)
    }
}

/// Calls `each` with every sequence of 2 to `most` clusters; a single cluster stands for itself.
fn clusters_ngrams(clusters: &[&str], most: usize, each: &mut impl FnMut(&str)) {
    if let [single] = clusters {
        each(single);
    }
    for size in 2..=most {
        clusters.windows(size).for_each(|window| each(&window.concat()));
    }
}

/// A stretch of a text between spaces and punctuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Piece<'a> {
    /// A word of a script with spaces.
    Word(&'a str),
    /// Neighbouring words of one script without spaces.
    Run(&'a str),
}

/// Finds the stretches of a text.
pub(super) fn for_each_piece<'a>(text: &'a str, mut each: impl FnMut(Piece<'a>)) {
    let mut run: Option<(Unspaced, usize, usize)> = None;
    for (start, word) in text.unicode_word_indices() {
        let script = word.chars().next().and_then(unspaced);
        if let Some((open, from, end)) = run {
            if script == Some(open) && end == start {
                run = Some((open, from, start + word.len()));
                continue;
            }
            each(Piece::Run(&text[from..end]));
            run = None;
        }
        match script {
            Some(script) => run = Some((script, start, start + word.len())),
            None => each(Piece::Word(word)),
        }
    }
    if let Some((_, from, end)) = run {
        each(Piece::Run(&text[from..end]));
    }
}

/// Every word of a text, numbers and single letters too: what a text index holds. Offsets are
/// not kept.
pub(crate) fn for_each_index_word(text: &str, mut each: impl FnMut(&str)) {
    let lower = lower_case(text);
    for_each_piece(&lower, |piece| match piece {
        Piece::Word(word) => word_parts(word).for_each(&mut each),
        Piece::Run(run) => {
            let clusters: Vec<&str> = run.graphemes(true).collect();
            clusters_ngrams(&clusters, 2, &mut each);
        }
    });
}

/// A text in lower case, with one sort of apostrophe.
pub(super) fn lower_case(text: &str) -> String {
    let lower = text.to_lowercase();
    if lower.contains('’') { lower.replace('’', "'") } else { lower }
}

/// The parts of a word that Unicode keeps together and readers don't: `l'argent`, `example.com`.
fn word_parts(word: &str) -> impl Iterator<Item = &str> {
    let is_joint = |c: char| matches!(c, '\'' | '.' | ':');
    let has_parts = word.contains(is_joint) && word.contains(char::is_alphabetic);
    word.split(move |c| has_parts && is_joint(c)).filter(|part| !part.is_empty())
}

/// Whether a word is one letter of an alphabet. Syllables, as in Korean, may be words.
fn is_single_letter(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|first| first < '\u{1100}') && chars.next().is_none()
}

/// Scripts without spaces between words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unspaced {
    Han,
    Hiragana,
    Thai,
    Lao,
    Burmese,
    Khmer,
}

/// The script of a character, if it is one without spaces.
pub(super) fn unspaced(c: char) -> Option<Unspaced> {
    match c {
        '\u{0e00}'..='\u{0e7f}' => Some(Unspaced::Thai),
        '\u{0e80}'..='\u{0eff}' => Some(Unspaced::Lao),
        '\u{1000}'..='\u{109f}' => Some(Unspaced::Burmese),
        '\u{1780}'..='\u{17ff}' => Some(Unspaced::Khmer),
        '\u{3041}'..='\u{309f}' => Some(Unspaced::Hiragana),
        '\u{3005}'
        | '\u{3007}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}' => Some(Unspaced::Han),
        _ => None,
    }
}

pub(super) fn is_unspaced(c: char) -> bool {
    unspaced(c).is_some()
}

fn is_hiragana(c: char) -> bool {
    unspaced(c) == Some(Unspaced::Hiragana)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(options: &WordOptions, text: &str) -> Vec<String> {
        Words::new(options, &[text]).expect("options").split(text)
    }

    fn in_language(language: &str) -> WordOptions {
        let stop_words = StopWords::Language(language.to_string());
        WordOptions { stop_words, ..WordOptions::default() }
    }

    fn all() -> WordOptions {
        WordOptions { stop_words: StopWords::None, ..WordOptions::default() }
    }

    #[test]
    fn stop_words_numbers_and_single_letters_go() {
        let text = "I don’t know why my Card's PIN (3.5, 42) was declined; e-mail me at A.B!";
        let found = words(&in_language("en"), text);
        assert_eq!(found, ["card", "pin", "declined", "mail"]);
        let numbers = WordOptions { keep_numbers: true, ..all() };
        assert_eq!(words(&numbers, "pay 3.5 or 42 x"), ["pay", "3.5", "or", "42"]);
        assert_eq!(words(&in_language("fr"), "L'argent n'est pas là"), ["argent"]);
    }

    #[test]
    fn ngrams_are_built_after_stop_words_went() {
        let options = WordOptions { ngrams_max: 3, ..in_language("en") };
        let found = words(&options, "The transfer of the money failed");
        let pairs = ["transfer money", "money failed"];
        assert_eq!(found[..3], ["transfer", "money", "failed"]);
        assert_eq!(found[3..5], pairs);
        assert_eq!(found[5..], ["transfer money failed"]);
    }

    #[test]
    fn scripts_without_spaces_give_pairs() {
        assert_eq!(words(&all(), "银行卡 pin 码"), ["银行", "行卡", "pin", "码"]);
        assert_eq!(words(&in_language("zh"), "我的银行卡丢了。"), ["银行", "行卡", "卡丢"]);
        let japanese = words(&in_language("ja"), "銀行のカードを失くしました");
        assert_eq!(japanese, ["銀行", "カード", "失"]);
        let options = WordOptions { ngrams_max: 2, ..all() };
        assert_eq!(words(&options, "银行卡"), ["银行", "行卡", "银行卡"]);
        assert_eq!(words(&all(), "บัตร"), ["บัต", "ตร"]);
    }

    #[test]
    fn other_alphabets_are_split_at_spaces() {
        assert_eq!(words(&in_language("ru"), "Где моя карта?"), ["карта"]);
        assert_eq!(words(&all(), "돈 카드를"), ["돈", "카드를"]);
        assert_eq!(words(&all(), "हिन्दी में खाता"), ["हिन्दी", "में", "खाता"]);
    }

    #[test]
    fn an_index_holds_every_word() {
        let mut found = Vec::new();
        for_each_index_word("My card's 2nd PIN: 42, 银行卡", |word| {
            found.push(word.to_string())
        });
        assert_eq!(found, ["my", "card", "s", "2nd", "pin", "42", "银行", "行卡"]);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(words(&WordOptions::default(), "").is_empty());
        assert!(words(&WordOptions::default(), " ?! \u{0} \u{1f600}").is_empty());
        assert!(Words::new(&WordOptions::default(), &[]).is_ok());
    }

    #[test]
    fn bad_options_are_refused() {
        let options = WordOptions { ngrams_max: 0, ..WordOptions::default() };
        let error = Words::new(&options, &[]).expect_err("0 words");
        assert!(error.to_string().ends_with("between 1 and 5, got 0"), "{error}");
        let error = Words::new(&in_language("klingon"), &[]).expect_err("no such language");
        assert!(error.to_string().contains("known languages: af, ar, "), "{error}");
    }

    #[test]
    fn scraps_of_html_are_no_words() {
        let text =
            "<a href=\"x\">Oil&nbsp;prices</a> &quot;climb&quot;, Exxon #39;s &lt;b&gt;chief";
        let found = words(&WordOptions::default(), text);
        assert_eq!(found, ["oil", "prices", "climb", "exxon", "chief"]);
    }
}
