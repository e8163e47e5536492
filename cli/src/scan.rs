//! Looks at a piece of SQL as far as people's input needs: is it complete, is its end inside a
//! string, and where does each statement end?
//!
//! It knows strings, quoted names and comments, and nothing else of the language.

/// Where a piece of SQL ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After a semicolon.
    Complete,
    /// Inside a string that begins at this byte (after the quote).
    String(usize),
    /// Anywhere else.
    Open,
}

/// Where `text` ends.
pub(crate) fn end_of(text: &str) -> End {
    scan(text, |_| {})
}

/// The statements of `text`, each with the comments above it.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut ends = Vec::new();
    scan(text, |end| ends.push(end));
    ends.push(text.len());
    let mut begin = 0;
    let pieces = ends.into_iter().filter_map(|end| {
        let piece = text.get(begin..end);
        begin = end;
        piece.filter(|piece| !piece.trim().is_empty())
    });
    pieces.collect()
}

/// Goes through `text`, and tells `semicolon` of the byte behind each that ends a statement.
fn scan(text: &str, mut semicolon: impl FnMut(usize)) -> End {
    let mut letters = text.char_indices().peekable();
    let mut end = End::Open;
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map(|(_, letter)| *letter);
        match (letter, next) {
            ('\'' | '"', _) => {
                if !letters.any(|(_, inner)| inner == letter) {
                    let start = at + letter.len_utf8();
                    return if letter == '\'' { End::String(start) } else { End::Open };
                }
                end = End::Open;
            }
            ('-', Some('-')) => {
                letters.any(|(_, inner)| inner == '\n');
            }
            ('/', Some('*')) => {
                letters.next();
                if !skip_comment(&mut letters) {
                    return End::Open;
                }
            }
            (';', _) => {
                semicolon(at + 1);
                end = End::Complete;
            }
            (letter, _) if letter.is_whitespace() => {}
            _ => end = End::Open,
        }
    }
    end
}

/// Goes behind the end of a block comment; `false` when it has none.
fn skip_comment(letters: &mut std::iter::Peekable<std::str::CharIndices<'_>>) -> bool {
    while let Some((_, letter)) = letters.next() {
        if letter == '*' && letters.next_if(|(_, next)| *next == '/').is_some() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_ends_a_statement_outside_of_strings_and_comments() {
        for complete in ["select 1;", "select ';' ;  ", "a; -- b", "/* ; */ a;", "select 'it''s';"]
        {
            assert_eq!(end_of(complete), End::Complete, "{complete}");
        }
        for open in ["", "select 1", "a; b", "-- a;", "/* a;", "select \"a;", "a /* ; */"] {
            assert_eq!(end_of(open), End::Open, "{open}");
        }
        assert_eq!(end_of("from 'dir/fi"), End::String(6));
        assert_eq!(end_of("'a' 'it''s;"), End::String(9));
    }

    #[test]
    fn a_text_is_split_behind_its_semicolons() {
        assert_eq!(split("-- x;\na ';'; b;\n"), ["-- x;\na ';';", " b;"]);
        assert!(split(" \n").is_empty());
    }
}
