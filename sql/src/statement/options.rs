//! `WITH (key = value, …)`.

use std::fmt;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;
use sembla_connectors::options::{from_environment, without_credentials};

use super::{TokenParser, parse_name};

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// Words in the names of options whose values are secrets. Names are compared in lower case with
/// `.` and `-` as `_`.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passphrase",
    "secret",
    "token",
    "credential",
    "jaas",
    "oauthbearer_config",
    "user_info",
    "key_pem",
    "access_key",
    "account_key",
    "private_key",
    "sas_",
];

/// The options of a source or a sink, as text, in the order they were written.
///
/// *Invariant:* the value of a secret is in no debug output; [`StreamOptions::shown`] hides it too.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct StreamOptions(Vec<(String, String)>);

impl StreamOptions {
    /// The options, secrets and all, for who opens the connection.
    pub fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }

    /// The value of an option, if it was given.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Takes an option out.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        let position = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(position).1)
    }

    /// Puts the values of environment variables in the place of `env:NAME`. A secret stays a
    /// reference; whoever opens the connection looks it up.
    ///
    /// # Errors
    /// [`sembla_runtime::Error::Option`] for a variable that isn't set, or is no text.
    pub(crate) fn look_up(&mut self) -> sembla_runtime::Result<()> {
        for (key, value) in self.0.iter_mut().filter(|(key, _)| !is_secret(key)) {
            *value = from_environment(key, value)?;
        }
        Ok(())
    }

    /// The options for people: secrets, and passwords in addresses, are hidden.
    pub fn shown(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(key, value)| {
            let value =
                if is_secret(key) { HIDDEN.to_string() } else { without_credentials(value) };
            (key.as_str(), value)
        })
    }
}

impl From<Vec<(String, String)>> for StreamOptions {
    fn from(options: Vec<(String, String)>) -> Self {
        Self(options)
    }
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

/// `key = 'value', …`, as it would be written.
impl fmt::Display for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (key, value)) in self.shown().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{key} = '{}'", value.replace('\'', "''"))?;
        }
        Ok(())
    }
}

/// Whether the value of the option of that name is a secret.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace(['.', '-'], "_");
    SECRET_WORDS.iter().any(|word| key.contains(word))
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
            return Err(ParserError::ParserError(format!("the option '{key}' is given twice")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_refer_to_the_environment_and_secrets_are_left_there() {
        let given = |key: &str, value: &str| (key.to_string(), value.to_string());
        let of = |options: Vec<(String, String)>| StreamOptions::from(options);
        let mut options = of(vec![given("topic", "env:PATH"), given("sasl.password", "env:PATH")]);
        assert!(options.look_up().is_ok());
        assert_eq!(options.get("topic").map(str::to_string), std::env::var("PATH").ok());
        assert_eq!(options.get("sasl.password"), Some("env:PATH"));
        let mut unknown = of(vec![given("topic", "env:SEMBLA_NOT_SET")]);
        let line = unknown.look_up().expect_err("it isn't set").to_string();
        assert_eq!(
            line,
            "topic refers to the environment variable SEMBLA_NOT_SET, which isn't set"
        );
    }
}
