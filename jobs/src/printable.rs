//! Texts on a screen: what would move the cursor, break the line or turn the direction of writing
//! is shown as what it is.
//!
//! Files of results keep texts as they are; this is for tables, messages and pages.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

/// A text in which every character can be seen, on one line.
///
/// # Examples
/// ```
/// use sembla_jobs::printable::printable;
///
/// assert_eq!(printable("plain"), "plain");
/// assert!(!printable("a\u{1b}[31mb").contains('\u{1b}'));
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        push(&mut shown, letter);
    }
    Cow::Owned(shown)
}

/// Adds a character as it can be seen.
pub fn push(shown: &mut String, letter: char) {
    match letter {
        '\n' | '\u{2028}' | '\u{2029}' | '\u{85}' => shown.push('↵'),
        '\t' | '\r' => shown.push(' '),
        letter if is_unseen(letter) => shown.extend(letter.escape_unicode()),
        letter => shown.push(letter),
    }
}

/// Whether a character is for machines: controls, breaks of lines, turns of direction, and marks
/// that take no room. The joiners that scripts and emoji need are not.
pub fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// A text that is at most `width` columns wide, with a mark where there is more of it.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let room = width.saturating_sub("…".width());
    let ends = text.char_indices().map(|(at, letter)| at + letter.len_utf8());
    let end = ends.take_while(|end| text.get(..*end).is_some_and(|c| c.width() <= room)).last();
    Cow::Owned(format!("{}…", text.get(..end.unwrap_or_default()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_by_the_columns_that_it_takes() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
    }

    #[test]
    fn what_can_not_be_seen_is_named() {
        assert_eq!(printable("plain 日本 é 👩\u{200d}🔬"), "plain 日本 é 👩\u{200d}🔬");
        assert_eq!(printable("a\nb\tc\u{2028}d"), "a↵b c↵d");
        assert_eq!(printable("\u{1b}[2J\0\u{202e}gpj"), "\\u{1b}[2J\\u{0}\\u{202e}gpj");
    }
}
