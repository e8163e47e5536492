//! `CREATE MODEL`.

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;

use super::options::parse_options;
use super::{Head, TokenParser, parse_head};

/// `CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name WITH (key = value, …) [AS query]`.
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
    /// The query whose rows the model is trained on, if it is trained.
    pub query: Option<Box<Query>>,
}

pub(super) fn parse(parser: &mut TokenParser<'_>) -> Result<CreateModel, ParserError> {
    let Head { name, or_replace, if_not_exists } = parse_head(parser)?;
    let options = parse_options(parser)?;
    let query = match parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parse_query()?),
        false => None,
    };
    Ok(CreateModel { name, or_replace, if_not_exists, options, query })
}
