//! `CREATE INDEX`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;

use super::options::parse_options;
use super::{Head, TokenParser, parse_head};

/// `CREATE [OR REPLACE] INDEX [IF NOT EXISTS] name WITH (key = value, …) [AS query]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateIndex {
    /// The name.
    pub name: String,
    /// Whether an index of that name gives way.
    pub or_replace: bool,
    /// Whether an index of that name stays and this statement does nothing.
    pub if_not_exists: bool,
    /// The options, in the order they were written, as text.
    pub options: Vec<(String, String)>,
    /// What it is built of; without it, it is opened.
    pub query: Option<String>,
}

pub(super) fn parse(parser: &mut TokenParser<'_>) -> Result<CreateIndex, ParserError> {
    let Head { name, or_replace, if_not_exists } = parse_head(parser)?;
    let options = parse_options(parser)?;
    let query = match parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parse_query()?.to_string()),
        false => None,
    };
    Ok(CreateIndex { name, or_replace, if_not_exists, options, query })
}
