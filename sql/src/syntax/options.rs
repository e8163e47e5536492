//! `WITH (key = value, …)`.

use std::fmt;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{TokenParser, parse_name};

/// The options of a source or a sink, as text, in the order they were written.
///
/// *Invariant:* no value is in debug output: which ones are secrets is the connector's to say, and
/// it is not asked yet.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct StreamOptions(Vec<(String, String)>);

impl StreamOptions {
    /// The options, secrets and all.
    pub fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }

    /// The options, secrets and all, for the connector.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }

    /// Takes an option out.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        let position = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(position).1)
    }
}

impl From<Vec<(String, String)>> for StreamOptions {
    fn from(options: Vec<(String, String)>) -> Self {
        Self(options)
    }
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

/// `WITH (key = value, …)`.
pub(super) fn parse_options(
    parser: &mut TokenParser<'_>,
) -> Result<Vec<(String, String)>, ParserError> {
    parser.expect_keyword(Keyword::WITH)?;
    parser.expect_token(&Token::LParen)?;
    let options = parser.parse_comma_separated(parse_option)?;
    parser.expect_token(&Token::RParen)?;
    Ok(options)
}

/// The options of a source or a sink, each of which is given once.
pub(super) fn parse_stream_options(
    parser: &mut TokenParser<'_>,
) -> Result<StreamOptions, ParserError> {
    let options = parse_options(parser)?;
    for (n, (key, _)) in options.iter().enumerate() {
        if options.iter().take(n).any(|(other, _)| other == key) {
            return Err(ParserError::ParserError(format!(
                "the option '{key}' is given more than once"
            )));
        }
    }
    Ok(options.into())
}

/// `key = value`, where the key can have dots or be in quotes, and the value is a string, a number,
/// `true`, `false` or a bare word.
fn parse_option(parser: &mut TokenParser<'_>) -> Result<(String, String), ParserError> {
    let mut key = parse_name(parser)?;
    while parser.consume_token(&Token::Period) {
        key = format!("{key}.{}", parse_name(parser)?);
    }
    parser.expect_token(&Token::Eq)?;
    let minus = if parser.consume_token(&Token::Minus) { "-" } else { "" };
    let next = parser.next_token();
    let value = match next.token {
        Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => text,
        Token::DollarQuotedString(text) => text.value,
        Token::Number(text, _) => text,
        Token::Word(word) => word.value,
        _ => return parser.expected("a string, a number, true or false", next),
    };
    Ok((key, format!("{minus}{value}")))
}
