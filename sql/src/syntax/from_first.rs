//! `FROM t`, `FROM t WHERE …` and `FROM t ORDER BY …` without SELECT mean `SELECT * FROM t …`, in
//! any place where a query may stand. `FROM t SELECT a` is the parser's to read.
//!
//! The parser knows a bare `FROM t` only with nothing behind it but ORDER BY and LIMIT. So the two
//! words that are missing are put before such a FROM, with its place in the text, before anything
//! is parsed.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// One query of what is between two parentheses, semicolons or set operators.
#[derive(Default)]
struct Part {
    /// Its first word.
    first: Option<Keyword>,
    /// The token before the one that is looked at, and the one before that.
    before: [Option<Token>; 2],
    has_select: bool,
    /// Where a FROM stands that begins it.
    from: Option<usize>,
}

impl Part {
    /// Whether a FROM that comes now begins a query.
    fn can_begin(&self) -> bool {
        use Keyword::{ALL, ANALYZE, AS, DISTINCT, EXPLAIN, INSERT, VERBOSE, WITH};
        if self.has_select || self.from.is_some() {
            return false;
        }
        let word = |token: &Option<Token>| match token {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.keyword),
            _ => None,
        };
        match &self.before[0] {
            None => true,
            Some(Token::RParen) => matches!(self.first, Some(WITH | INSERT)),
            last => match word(last) {
                Some(AS | EXPLAIN | ANALYZE | VERBOSE) => true,
                // `UNION ALL FROM t`, not `a IS DISTINCT FROM b`.
                Some(ALL | DISTINCT) => self.before[1].is_none() && self.first.is_none(),
                _ => self.first == Some(INSERT),
            },
        }
    }

    /// Goes past a token.
    fn pass(&mut self, token: &Token) {
        if let Token::Word(word) = token {
            let is_quantifier = matches!(word.keyword, Keyword::ALL | Keyword::DISTINCT);
            if !(is_quantifier && self.before[0].is_none()) {
                self.first.get_or_insert(word.keyword);
            }
        } else {
            self.first.get_or_insert(Keyword::NoKeyword);
        }
        let before = self.before[0].replace(token.clone());
        self.before[1] = before;
    }
}

/// The tokens with `SELECT *` before each FROM that begins a query without SELECT.
pub(super) fn with_select(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut open: Vec<Part> = vec![Part::default()];
    let mut found: Vec<usize> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let keyword = match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        };
        match (&token.token, keyword) {
            (Token::LParen, _) => {
                open.push(Part::default());
                continue;
            }
            (Token::RParen, _) if open.len() > 1 => found.extend(open.pop().and_then(|p| p.from)),
            (Token::SemiColon, _) => {
                found.extend(open.drain(..).filter_map(|part| part.from));
                open.push(Part::default());
                continue;
            }
            (_, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT) => {
                let is_operator = open.last().is_some_and(|p| p.has_select || p.from.is_some());
                if is_operator && let Some(part) = open.last_mut() {
                    found.extend(std::mem::take(part).from);
                    continue;
                }
            }
            _ => {}
        }
        let Some(part) = open.last_mut() else { continue };
        match keyword {
            Keyword::SELECT => (part.has_select, part.from) = (true, None),
            Keyword::FROM if part.can_begin() => part.from = Some(at),
            _ => {}
        }
        part.pass(&token.token);
    }
    found.extend(open.into_iter().filter_map(|part| part.from));
    if found.is_empty() {
        return tokens;
    }
    found.sort_unstable();
    let mut next = found.into_iter().peekable();
    let mut whole = Vec::with_capacity(tokens.len() + 2 * next.len());
    for (at, token) in tokens.into_iter().enumerate() {
        if next.next_if_eq(&at).is_some() {
            whole.push(TokenWithSpan::new(Token::make_keyword("SELECT"), token.span));
            whole.push(TokenWithSpan::new(Token::Mul, token.span));
        }
        whole.push(token);
    }
    whole
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn changed(text: &str) -> String {
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
        let tokens = with_select(tokens.expect("tokens"));
        let words: Vec<String> = tokens
            .iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .map(|token| token.token.to_string())
            .collect();
        words.join(" ")
    }

    #[test]
    fn a_query_that_begins_with_from_has_all_columns() {
        for (text, expected) in [
            ("FROM t", "SELECT * FROM t"),
            ("FROM 'x.csv' WHERE id > 2", "SELECT * FROM 'x.csv' WHERE id > 2"),
            (
                "FROM t, u JOIN v USING (id) LIMIT 1",
                "SELECT * FROM t , u JOIN v USING ( id ) LIMIT 1",
            ),
            (
                "SELECT count(*) FROM (FROM t WHERE a)",
                "SELECT count ( * ) FROM ( SELECT * FROM t WHERE a )",
            ),
            (
                "WITH x AS (FROM t) FROM x WHERE a",
                "WITH x AS ( SELECT * FROM t ) SELECT * FROM x WHERE a",
            ),
            ("FROM a UNION ALL FROM b", "SELECT * FROM a UNION ALL SELECT * FROM b"),
            ("INSERT INTO x FROM t", "INSERT INTO x SELECT * FROM t"),
            ("INSERT INTO x (a, b) FROM t", "INSERT INTO x ( a , b ) SELECT * FROM t"),
            ("CREATE TABLE x AS FROM t WHERE a", "CREATE TABLE x AS SELECT * FROM t WHERE a"),
            ("EXPLAIN FROM t", "EXPLAIN SELECT * FROM t"),
            ("SELECT 1; FROM t; FROM u", "SELECT 1 ; SELECT * FROM t ; SELECT * FROM u"),
            ("SELECT a IN (FROM t)", "SELECT a IN ( SELECT * FROM t )"),
        ] {
            assert_eq!(changed(text), expected, "{text}");
        }
    }

    #[test]
    fn any_other_from_stays() {
        for text in [
            "SELECT a FROM t",
            "FROM t SELECT a WHERE b",
            "WITH x AS ( SELECT 1 ) SELECT a FROM x",
            "DELETE FROM t WHERE a",
            "SELECT extract ( YEAR FROM d ) , substring ( s FROM 2 ) FROM t",
            "SELECT a IS DISTINCT FROM b FROM t",
            "SELECT ( a ) FROM t",
            "SELECT * EXCEPT ( a ) FROM t",
            "SHOW COLUMNS FROM t",
            "SELECT \"from\" FROM t",
            "INSERT INTO x SELECT a FROM t",
        ] {
            assert_eq!(changed(text), text);
        }
    }
}
