//! How strong the breaks between the words of a text are: paragraphs, lines, sentences, clauses.
//!
//! A sentence ends at `.`, `!`, `?` and their like in other scripts, with closing quotes and
//! brackets behind, where white space follows and no lower-case letter; not behind initials and
//! common abbreviations. The end of a line weighs more than that of a sentence only where it is
//! one, since many texts have lines of fixed length.

use super::markdown::Outline;
use super::units::{Units, strength};

/// What is written with a point that ends no sentence, in lower case.
const ABBREVIATIONS: &[&str] = &[
    "al", "approx", "art", "bzw", "ca", "capt", "cf", "co", "col", "corp", "dr", "e.g", "ed", "eq",
    "etc", "fig", "gen", "i.e", "inc", "jr", "ltd", "mr", "mrs", "ms", "no", "nr", "p", "pp",
    "prof", "resp", "rev", "sec", "sgt", "sr", "st", "u.a", "usw", "vol", "vs", "z.b",
];

/// Rates all gaps but the last and those that are forced already.
pub(super) fn rate(units: &mut Units, text: &str, outline: Option<&Outline>) {
    let mut fences = outline.map(|outline| outline.fences.iter().peekable());
    for gap in 1..units.len() {
        if units.strength(gap) == strength::FORCED {
            continue;
        }
        let after = units.range(gap).0;
        let (head, rest) = text.split_at_checked(after).unwrap_or_default();
        // White space that is a unit by itself is the end of what is before it.
        let is_space = rest.chars().next().is_none_or(char::is_whitespace);
        let mut rated = match is_space {
            true => strength::NONE,
            false => between(text, head.trim_end().len(), after),
        };
        if let Some(fences) = &mut fences {
            while fences.next_if(|fence| fence.1 <= after).is_some() {}
            // Blank lines of a program are no paragraphs.
            if fences.peek().is_some_and(|fence| fence.0 < after) {
                rated = rated.max(strength::LINE);
            }
        }
        units.rate(gap, |_| rated);
    }
    for heading in outline.iter().flat_map(|outline| &outline.headings) {
        let (before, after) = (units.unit_at(heading.start), units.unit_at(heading.end));
        units.rate(before, |rated| rated.min(strength::HEADING));
        // A heading is of no use at the end of a chunk.
        units.rate(after, |rated| rated.max(strength::WORD));
    }
}

/// The strength of the break between the byte behind a word and the first byte of the next.
fn between(text: &str, before: usize, after: usize) -> u8 {
    let space = text.as_bytes().get(before..after).unwrap_or_default();
    let ends = || ends_sentence(text, before, after);
    match space.iter().filter(|byte| **byte == b'\n').count() {
        0 if space.is_empty() => match last_char(text, before) {
            Some('。' | '！' | '？' | '｡' | '।') => strength::SENTENCE,
            Some('、' | '，' | '；' | '：') => strength::CLAUSE,
            _ => strength::NONE,
        },
        0 if ends() => strength::SENTENCE,
        0 => match last_char(text, before) {
            Some(',' | ';' | ':' | '–' | '—' | '、' | '，' | '；' | '：' | '،') => {
                strength::CLAUSE
            }
            _ => strength::WORD,
        },
        1 if ends() || is_item(text, after) => strength::FULL_LINE,
        1 => strength::LINE,
        _ => strength::PARAGRAPH,
    }
}

fn last_char(text: &str, end: usize) -> Option<char> {
    text.get(..end)?.chars().next_back()
}

/// Whether a sentence ends before a byte, given where the next word begins.
fn ends_sentence(text: &str, before: usize, after: usize) -> bool {
    let is_closing =
        |c: char| matches!(c, '"' | '\'' | ')' | ']' | '}' | '»' | '”' | '’' | '*' | '_');
    let Some(head) = text.get(..before) else { return false };
    let head = head.trim_end_matches(is_closing);
    match head.chars().next_back() {
        Some('!' | '?' | '…' | '。' | '！' | '？' | '｡' | '।' | '؟' | '۔') => true,
        Some('.') => {
            let next = text.get(after..).and_then(|rest| rest.chars().next());
            let word = &head[..head.len() - 1];
            let start = word.rfind(|c: char| c.is_whitespace() || c == '(').map_or(0, |at| at + 1);
            let word = word.get(start..).unwrap_or(word);
            !next.is_some_and(char::is_lowercase) && !is_abbreviation(word)
        }
        _ => false,
    }
}

/// Whether a word with a point behind it is short for another, an initial, or the number of an
/// item.
fn is_abbreviation(word: &str) -> bool {
    let mut characters = word.chars();
    let (first, second) = (characters.next(), characters.next());
    let is_initial = first.is_some_and(char::is_uppercase) && second.is_none();
    let is_short = word.len() <= 6;
    is_initial || is_short && ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// Whether a line that begins at a byte is an item of a list.
fn is_item(text: &str, after: usize) -> bool {
    let Some(rest) = text.get(after..) else { return false };
    let mut characters = rest.chars();
    match characters.next() {
        Some('-' | '*' | '+' | '•') => characters.next().is_some_and(char::is_whitespace),
        Some(digit) if digit.is_ascii_digit() => {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            rest.starts_with(". ") || rest.starts_with(") ")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rated(text: &str, behind: &str) -> u8 {
        let before = text.find(behind).expect("it is there") + behind.len();
        let rest = &text[before..];
        between(text, before, before + (rest.len() - rest.trim_start().len()))
    }

    #[test]
    fn breaks_are_told_apart() {
        assert_eq!(rated("One.\n\nTwo", "One."), strength::PARAGRAPH);
        assert_eq!(rated("One.\nTwo", "One."), strength::FULL_LINE);
        assert_eq!(rated("one\ntwo", "one"), strength::LINE);
        assert_eq!(rated("one\n- two", "one"), strength::FULL_LINE);
        assert_eq!(rated("One, two", "One,"), strength::CLAUSE);
        assert_eq!(rated("One two", "One"), strength::WORD);
        assert_eq!(rated("well-known", "well"), strength::NONE);
        assert_eq!(rated("三。四", "三。"), strength::SENTENCE);
    }

    #[test]
    fn a_point_is_not_always_the_end_of_a_sentence() {
        assert_eq!(rated("He left. She stayed", "left."), strength::SENTENCE);
        assert_eq!(rated("\"He left.\" She stayed", "left.\""), strength::SENTENCE);
        assert_eq!(rated("by J. Smith", "J."), strength::WORD);
        assert_eq!(rated("see Dr. Smith", "Dr."), strength::WORD);
        assert_eq!(rated("e.g. This", "e.g."), strength::WORD);
        assert_eq!(rated("3 p.m. today", "p.m."), strength::WORD);
    }
}
