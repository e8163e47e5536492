//! `CREATE MODEL`.

use datafusion::sql::sqlparser::parser::ParserError;

use super::options::parse_options;
use super::{Head, TokenParser, parse_head};

/// `CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name WITH (key = value, …)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateModel {
    /// The name.
    pub name: String,
    /// Whether a model of that name gives way.
    pub or_replace: bool,
    /// Whether a model of that name stays and this statement does nothing.
    pub if_not_exists: bool,
    /// The options, in the order they were written, as text.
    pub options: Vec<(String, String)>,
}

pub(super) fn parse(parser: &mut TokenParser<'_>) -> Result<CreateModel, ParserError> {
    let Head { name, or_replace, if_not_exists } = parse_head(parser)?;
    Ok(CreateModel { name, or_replace, if_not_exists, options: parse_options(parser)? })
}
