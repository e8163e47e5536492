//! Takes scraps of HTML out of a text whose words are counted: tags, comments and entities, also
//! where an earlier program has escaped them twice or lost their `&`.
//!
//! Nothing else of HTML is known: what stands between tags stays, whatever the tags mean.

use std::borrow::Cow;

/// Bytes that a tag or comment may have; what is longer is text with a `<` in it.
const TAG_BYTES_MAX: usize = 4096;
/// Bytes that an entity may have between `&` and `;`.
const ENTITY_BYTES_MAX: usize = 10;

/// How often entities may have been escaped.
const ESCAPED_TIMES_MAX: usize = 3;

/// Entities that stand for a character, by name.
const ENTITIES: &[(&str, char)] = &[
    ("aacute", 'á'),
    ("acirc", 'â'),
    ("aelig", 'æ'),
    ("agrave", 'à'),
    ("amp", '&'),
    ("apos", '\''),
    ("aring", 'å'),
    ("atilde", 'ã'),
    ("auml", 'ä'),
    ("ccedil", 'ç'),
    ("eacute", 'é'),
    ("ecirc", 'ê'),
    ("egrave", 'è'),
    ("euml", 'ë'),
    ("gt", '>'),
    ("iacute", 'í'),
    ("icirc", 'î'),
    ("iuml", 'ï'),
    ("lt", '<'),
    ("nbsp", ' '),
    ("ntilde", 'ñ'),
    ("oacute", 'ó'),
    ("ocirc", 'ô'),
    ("oelig", 'œ'),
    ("ograve", 'ò'),
    ("oslash", 'ø'),
    ("otilde", 'õ'),
    ("ouml", 'ö'),
    ("quot", '"'),
    ("szlig", 'ß'),
    ("uacute", 'ú'),
    ("ucirc", 'û'),
    ("ugrave", 'ù'),
    ("uuml", 'ü'),
];

/// Entities that are taken for such without their `&`.
const ENTITIES_WITHOUT_AND: [&str; 5] = ["amp", "gt", "lt", "nbsp", "quot"];

/// The text without markup.
pub(super) fn without_markup(text: &str) -> Cow<'_, str> {
    let mut decoded = Cow::Borrowed(text);
    for _ in 0..ESCAPED_TIMES_MAX {
        match without_entities(&decoded) {
            Some(shorter) => decoded = Cow::Owned(shorter),
            None => break,
        }
    }
    if !decoded.contains('<') {
        return decoded;
    }
    let mut kept = String::with_capacity(decoded.len());
    let mut rest = decoded.as_ref();
    while let Some(start) = rest.find('<') {
        let (before, from) = rest.split_at(start);
        kept.push_str(before);
        let end = tag_bytes(from).unwrap_or(1);
        kept.push(' ');
        rest = from.get(end..).unwrap_or_default();
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// The bytes of the tag or comment that a text begins with; `None` where it begins with neither.
fn tag_bytes(text: &str) -> Option<usize> {
    let end = match text.strip_prefix("<!--") {
        Some(_) => text.find("-->")? + "-->".len(),
        None => {
            let name = text.get(1..)?.trim_start_matches('/');
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!').then_some(())?;
            let end = text.get(1..)?.find(['<', '>'])? + 1;
            text.get(end..)?.starts_with('>').then_some(end + 1)?
        }
    };
    (end <= TAG_BYTES_MAX).then_some(end)
}

/// The text with characters in the place of entities; an entity of another name is a space. `None`
/// where there is none.
fn without_entities(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, character, after)) = next_entity(rest) {
        // An `&` that was escaped itself belongs to what follows at once.
        if before.is_empty() && !rest.starts_with('&') && decoded.ends_with('&') {
            decoded.pop();
        }
        decoded.push_str(before);
        decoded.push(character);
        rest = after;
    }
    if rest.len() == text.len() {
        return None;
    }
    decoded.push_str(rest);
    Some(decoded)
}

/// The first entity of a text: what is before it, its character, and what is behind it.
fn next_entity(text: &str) -> Option<(&str, char, &str)> {
    let mut from = 0;
    while let Some(end) = text.get(from..)?.find(';').map(|found| from + found) {
        let before = text.get(..end)?;
        let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '#';
        let bytes = before.chars().rev().take(ENTITY_BYTES_MAX + 1).take_while(is_part).count();
        let (head, name) = before.split_at(before.len() - bytes);
        if let Some(character) = character_of(name, head.ends_with('&')) {
            let head = head.strip_suffix('&').unwrap_or(head);
            return Some((head, character, text.get(end + 1..)?));
        }
        from = end + 1;
    }
    None
}

/// The character that an entity stands for; `None` for what is no entity.
fn character_of(name: &str, has_and: bool) -> Option<char> {
    if name.is_empty() || name.len() > ENTITY_BYTES_MAX {
        return None;
    }
    if let Some(number) = name.strip_prefix('#') {
        let number = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        return Some(char::from_u32(number).filter(|c| !c.is_control()).unwrap_or(' '));
    }
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !is_name || (!has_and && !ENTITIES_WITHOUT_AND.contains(&name)) {
        return None;
    }
    let known = ENTITIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    Some(known.map_or(' ', |(_, character)| *character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_entities_go() {
        for (text, kept) in [
            ("plain; text, 2 < 3 and 5 > 4", "plain; text, 2   3 and 5 > 4"),
            ("<p class=\"x\">one<br/>two</p>", " one two "),
            ("a<!-- <b>not</b> seen -->b", "a b"),
            ("caf&eacute; &amp; bar&hellip;", "café & bar "),
            ("Pentagon #39;s quot;plan quot;", "Pentagon 's \"plan \""),
            ("see &lt;A HREF=&quot;http://x.y&quot;&gt;this&lt;/A&gt;", "see  this "),
            ("&amp;lt;b&amp;gt;twice", " twice"),
            ("a list; a quota; R&D; x&1;", "a list; a quota; R  x&1;"),
            ("unclosed <b", "unclosed  b"),
            ("", ""),
        ] {
            assert_eq!(without_markup(text), kept, "{text}");
        }
    }

    #[test]
    fn any_text_is_taken() {
        for text in ["<", "&", ";", "&;", "<>", "&#;", "&#x;", "&#99999999;", "é&é;", "<é>", ";;;;"]
        {
            without_markup(text);
        }
        let long = format!("<a {}>x", "y".repeat(2 * TAG_BYTES_MAX));
        assert!(without_markup(&long).len() > TAG_BYTES_MAX);
    }
}
