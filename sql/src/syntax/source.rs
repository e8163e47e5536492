//! `CREATE SOURCE`, and the columns that sources and sinks declare.

use datafusion::sql::sqlparser::ast::{DataType as SqlDataType, Expr as SqlExpr};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::options::{StreamOptions, parse_stream_options};
use super::{Head, TokenParser, parse_head, parse_name, skip, upper_word};

/// `CREATE [OR REPLACE] SOURCE [IF NOT EXISTS] name (column, …, [WATERMARK FOR column [AS column -
/// interval]]) WITH (key = value, …)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSource {
    /// The name.
    pub name: String,
    /// Whether a source of that name gives way.
    pub or_replace: bool,
    /// Whether a source of that name stays and this statement does nothing.
    pub if_not_exists: bool,
    /// The columns, in their order.
    pub columns: Vec<ColumnDef>,
    /// Which column is the time of a row, and how far behind the latest one rows may come.
    pub watermark: Option<WatermarkDef>,
    /// The options.
    pub options: StreamOptions,
}

/// `name type [NOT NULL] [METADATA [FROM 'key']]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDef {
    /// The name.
    pub name: String,
    /// The type, as it was written.
    pub data_type: SqlDataType,
    /// Whether `NOT NULL` was written.
    pub not_null: bool,
    /// What about a record it holds, instead of a field of its value.
    pub metadata: Option<String>,
}

/// `WATERMARK FOR column [AS value]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkDef {
    /// The column that is the time of a row.
    pub column: String,
    /// The watermark that a row of that time stands for; the time itself if it was left out.
    pub value: Option<Box<SqlExpr>>,
}

/// What stands between the parentheses of a source.
enum Element {
    Column(ColumnDef),
    Watermark(WatermarkDef),
}

pub(super) fn parse(parser: &mut TokenParser<'_>) -> Result<CreateSource, ParserError> {
    let Head { name, or_replace, if_not_exists } = parse_head(parser)?;
    parser.expect_token(&Token::LParen)?;
    let (mut columns, mut watermark) = (Vec::new(), None);
    for element in parser.parse_comma_separated(parse_element)? {
        match element {
            Element::Column(column) => columns.push(column),
            Element::Watermark(first) if watermark.is_none() => watermark = Some(first),
            Element::Watermark(second) => {
                return Err(ParserError::ParserError(format!(
                    "WATERMARK FOR {}: a source can have one watermark only",
                    second.column
                )));
            }
        }
    }
    parser.expect_token(&Token::RParen)?;
    let options = parse_stream_options(parser)?;
    Ok(CreateSource { name, or_replace, if_not_exists, columns, watermark, options })
}

/// A column, or the watermark. A column may be called `watermark`: what follows it tells.
fn parse_element(parser: &mut TokenParser<'_>) -> Result<Element, ParserError> {
    let word = |parser: &TokenParser<'_>, n| upper_word(&parser.peek_nth_token_ref(n).token);
    if word(parser, 0) == "WATERMARK" && word(parser, 1) == "FOR" {
        skip(parser, 2);
        let column = parse_name(parser)?;
        let value = match parser.parse_keyword(Keyword::AS) {
            true => Some(Box::new(parser.parse_expr()?)),
            false => None,
        };
        return Ok(Element::Watermark(WatermarkDef { column, value }));
    }
    parse_column(parser).map(Element::Column)
}

/// A column of a source or a sink.
pub(super) fn parse_column(parser: &mut TokenParser<'_>) -> Result<ColumnDef, ParserError> {
    let name = parse_name(parser)?;
    let data_type = parser.parse_data_type()?;
    let mut column = ColumnDef { name, data_type, not_null: false, metadata: None };
    loop {
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            column.not_null = true;
        } else if column.metadata.is_none() && parser.parse_keyword(Keyword::METADATA) {
            column.metadata = Some(match parser.parse_keyword(Keyword::FROM) {
                true => parse_metadata_key(parser)?,
                false => column.name.clone(),
            });
        } else {
            break;
        }
    }
    let next = parser.peek_token_ref();
    match next.token {
        Token::Comma | Token::RParen => Ok(column),
        _ => parser.expected_ref("NOT NULL, METADATA, a comma or )", next),
    }
}

fn parse_metadata_key(parser: &mut TokenParser<'_>) -> Result<String, ParserError> {
    let next = parser.next_token();
    match next.token {
        Token::SingleQuotedString(key) => Ok(key),
        _ => parser.expected("what of the record, in quotes, such as 'key'", next),
    }
}
