//! How long and how deep a statement may be.
//!
//! Whoever reads a statement goes down into it: each pair of parentheses is a level, and so is each
//! operator of a chain, since `a OR b OR c` is `(a OR b) OR c`, and each SELECT of a chain of
//! unions. The levels are counted in the words of the text, before anything goes down, so that a
//! statement that is too deep is reported and ends nothing. What is within the limits fits the
//! stack that statements are planned on (`planning`).

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::SqlError;

/// Most parentheses, brackets, CASEs and NOTs within one another.
pub(crate) const NESTED_MAX: usize = 128;

/// Most levels in all: what is nested, and the operators and unions of chains.
pub(crate) const LEVELS_MAX: usize = 10_000;

/// Steps of the parser into what is nested. A level takes several, and [`NESTED_MAX`] comes first.
pub(crate) const PARSER_STEPS_MAX: usize = 16 * NESTED_MAX;

/// What is open around a word.
#[derive(Default)]
struct Group {
    /// Operators since the last comma or clause.
    chain: usize,
    /// Unions and joins since the group began.
    parts: usize,
    /// NOTs and signs right before the word.
    prefixes: usize,
    /// Whether it is a CASE, which END closes.
    is_case: bool,
}

/// Counts levels, word by word.
#[derive(Default)]
struct Levels {
    open: Vec<Group>,
    /// Levels of all groups but the innermost.
    around: usize,
    inner: Group,
    deepest: usize,
    most_nested: usize,
}

/// Checks the words of a text of statements.
///
/// # Errors
/// [`SqlError::Syntax`] with how deep a statement is and the limit.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut levels = Levels::default();
    for token in tokens {
        levels.take(&token.token);
        let (found, limit, what) = match () {
            () if levels.most_nested > NESTED_MAX => {
                (levels.most_nested, NESTED_MAX, "parentheses, CASE or NOT within one another")
            }
            () if levels.deepest > LEVELS_MAX => {
                (levels.deepest, LEVELS_MAX, "levels: each operator or UNION of a chain is one")
            }
            () => continue,
        };
        let (line, column) = (token.span.start.line, token.span.start.column);
        return Err(SqlError::Syntax(format!(
            "the statement is nested too deeply at line {line}, column {column}: {found} {what}; the limit is {limit}. \
             A long list of alternatives is shorter as IN (…) or a table"
        )));
    }
    Ok(())
}

impl Levels {
    fn take(&mut self, token: &Token) {
        match token {
            Token::Whitespace(_) => return,
            Token::LParen | Token::LBracket | Token::LBrace => self.begin(false),
            Token::RParen | Token::RBracket | Token::RBrace => self.end(false),
            Token::SemiColon => *self = Self::default(),
            Token::Comma => (self.inner.chain, self.inner.prefixes) = (0, 0),
            Token::Word(Word { value, quote_style: None, .. }) => self.word(value),
            token if is_operator(token) => {
                self.inner.chain += 1;
                self.inner.prefixes += 1;
            }
            _ => self.inner.prefixes = 0,
        }
        let own = self.inner.chain + self.inner.parts;
        self.deepest = self.deepest.max(self.around + self.open.len() + own);
        self.most_nested = self.most_nested.max(self.open.len() + self.inner.prefixes);
    }

    fn word(&mut self, word: &str) {
        let is = |words: &[&str]| words.iter().any(|other| word.eq_ignore_ascii_case(other));
        if is(&["UNION", "INTERSECT", "EXCEPT", "JOIN"]) {
            self.inner.parts += 1;
            (self.inner.chain, self.inner.prefixes) = (0, 0);
        } else if is(&["SELECT", "FROM", "WHERE", "HAVING", "WHEN", "THEN", "ELSE", "ON", "BY"]) {
            (self.inner.chain, self.inner.prefixes) = (0, 0);
        } else if is(&["CASE"]) {
            self.begin(true);
        } else if is(&["END"]) {
            self.end(true);
        } else if is(&["NOT"]) {
            self.inner.chain += 1;
            self.inner.prefixes += 1;
        } else if is(&[
            "AND", "OR", "XOR", "DIV", "MOD", "LIKE", "ILIKE", "IS", "ESCAPE", "COLLATE",
        ]) {
            self.inner.chain += 1;
            self.inner.prefixes = 0;
        } else {
            self.inner.prefixes = 0;
        }
    }

    fn begin(&mut self, is_case: bool) {
        let inner = std::mem::replace(&mut self.inner, Group { is_case, ..Group::default() });
        self.around += inner.chain + inner.parts;
        self.open.push(inner);
    }

    /// Closes a group; what closes nothing is the parser's to tell.
    fn end(&mut self, is_case: bool) {
        if self.inner.is_case != is_case {
            return;
        }
        if let Some(outer) = self.open.pop() {
            self.around -= outer.chain + outer.parts;
            self.inner = outer;
            self.inner.prefixes = 0;
        }
    }
}

/// Whether a token stands between two values or before one.
fn is_operator(token: &Token) -> bool {
    !matches!(
        token,
        Token::EOF
            | Token::Word(_)
            | Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
            | Token::Period
            | Token::RArrow
    )
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn told(text: &str) -> Option<String> {
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
        check(&tokens.expect("words")).err().map(|error| error.to_string())
    }

    #[test]
    fn what_is_too_deep_is_told_with_its_depth_and_the_limit() {
        for text in [
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(LEVELS_MAX + 1)),
            format!("SELECT 1 WHERE {}1=1", "1=0 OR ".repeat(LEVELS_MAX)),
            format!("SELECT {}'a'", "'a'||".repeat(LEVELS_MAX + 1)),
            format!("SELECT {}1", "1+".repeat(5 * LEVELS_MAX)),
            format!("SELECT CAST(NULL AS {}INT)", "ARRAY<".repeat(LEVELS_MAX + 1)),
            format!("SELECT {}true", "NOT ".repeat(NESTED_MAX + 1)),
            format!("SELECT {}1", "- ".repeat(NESTED_MAX + 1)),
            format!("SELECT {}1{}", "(".repeat(NESTED_MAX + 1), ")".repeat(NESTED_MAX + 1)),
            format!(
                "SELECT {}1{}",
                "CASE WHEN ".repeat(NESTED_MAX + 1),
                " THEN 1 END".repeat(NESTED_MAX + 1)
            ),
            format!("SELECT {}1{}", "[".repeat(NESTED_MAX + 1), "]".repeat(NESTED_MAX + 1)),
        ] {
            let message = told(&text).expect("too deep");
            let limit =
                message.contains("the limit is 128") || message.contains("the limit is 10000");
            assert!(limit && message.contains("nested too deeply at line 1"), "{message}");
        }
    }

    #[test]
    fn what_is_long_and_not_deep_is_left_alone() {
        for text in [
            format!("SELECT 1 WHERE 1 IN ({}1)", "1, ".repeat(100_000)),
            format!("VALUES {}(1, 'a')", "(1 + 2, '(((('), ".repeat(50_000)),
            "SELECT 1 + 1;".repeat(30_000),
            format!("SELECT {}1", "1 + 1, ".repeat(30_000)),
            format!("SELECT 1 WHERE {}true", "x = 1 OR ".repeat(4_000)),
            format!("SELECT {} 1", "CASE WHEN 1 = 1 THEN 2 END, ".repeat(5_000)),
            format!("SELECT '{}'", "(+".repeat(100_000)),
            ")))) END END ))".into(),
        ] {
            assert_eq!(told(&text), None);
        }
    }
}
