//! `CREATE SINK`.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::options::{StreamOptions, parse_stream_options};
use super::source::{ColumnDef, parse_column};
use super::{Head, TokenParser, parse_head};

/// `CREATE [OR REPLACE] SINK [IF NOT EXISTS] name [(column, …)] WITH (key = value, …)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSink {
    /// The name.
    pub name: String,
    /// Whether a sink of that name gives way.
    pub or_replace: bool,
    /// Whether a sink of that name stays and this statement does nothing.
    pub if_not_exists: bool,
    /// The columns, in their order; without them it takes those of the query.
    pub columns: Option<Vec<ColumnDef>>,
    /// The options.
    pub options: StreamOptions,
}

pub(super) fn parse(parser: &mut TokenParser<'_>) -> Result<CreateSink, ParserError> {
    let Head { name, or_replace, if_not_exists } = parse_head(parser)?;
    let mut columns = None;
    if parser.consume_token(&Token::LParen) {
        columns = Some(parser.parse_comma_separated(parse_column)?);
        parser.expect_token(&Token::RParen)?;
    }
    let options = parse_stream_options(parser)?;
    Ok(CreateSink { name, or_replace, if_not_exists, columns, options })
}
