//! From text to statements: those of our own, and DataFusion's.
//!
//! The text is cut into tokens once, by the SQL parser's own tokenizer, so a semicolon inside a
//! string, a comment or a dollar quote never ends a statement. Running statements is
//! [`crate::Session`]'s work.

use std::fmt;

use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as EngineStatement};
use datafusion::sql::sqlparser::ast::{ShowStatementFilter, Statement as SqlStatement};
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Word};

use crate::SqlError;
use crate::findings;

/// One statement, ready to run.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `CREATE MODEL`.
    CreateModel(CreateModel),
    /// `DROP MODEL`.
    DropModel {
        /// The name.
        name: String,
        /// Whether it is no mistake when there is none.
        if_exists: bool,
    },
    /// `SHOW MODELS`.
    ShowModels,
    /// `CREATE INDEX`.
    CreateIndex(CreateIndex),
    /// `DROP INDEX`.
    DropIndex {
        /// The name.
        name: String,
        /// Whether it is no mistake when there is none.
        if_exists: bool,
    },
    /// `SHOW INDEXES`.
    ShowIndexes,
    /// A statement that DataFusion runs.
    Engine(Box<EngineStatement>),
}

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

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateModel(create) => write!(f, "CREATE MODEL {}", create.name),
            Self::DropModel { name, .. } => write!(f, "DROP MODEL {name}"),
            Self::ShowModels => f.write_str("SHOW MODELS"),
            Self::CreateIndex(create) => write!(f, "CREATE INDEX {}", create.name),
            Self::DropIndex { name, .. } => write!(f, "DROP INDEX {name}"),
            Self::ShowIndexes => f.write_str("SHOW INDEXES"),
            Self::Engine(statement) => statement.fmt(f),
        }
    }
}

/// Parses a text of any number of statements.
///
/// # Errors
/// [`SqlError::Syntax`] for the first mistake, with its line and column.
pub(crate) fn parse(
    text: &str,
    dialect: &dyn Dialect,
    recursion_limit: usize,
) -> Result<Vec<Statement>, SqlError> {
    let mut parser = DFParserBuilder::new(text)
        .with_dialect(dialect)
        .with_recursion_limit(recursion_limit)
        .build()?;
    let mut statements = Vec::new();
    loop {
        while parser.parser.consume_token(&Token::SemiColon) {}
        if parser.parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        statements.push(parse_one(&mut parser)?);
        let next = parser.parser.peek_token_ref();
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            return parser.parser.expected_ref("end of statement", next).map_err(syntax);
        }
    }
}

fn parse_one(parser: &mut DFParser<'_>) -> Result<Statement, SqlError> {
    let words: Vec<String> =
        (0..4).map(|n| upper_word(&parser.parser.peek_nth_token(n).token)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CREATE", "MODEL", ..] | ["CREATE", "OR", "REPLACE", "MODEL"] => {
            Ok(Statement::CreateModel(parse_create(parser).map_err(syntax)?))
        }
        ["CREATE", "INDEX", ..] | ["CREATE", "OR", "REPLACE", "INDEX"] => {
            parse_create_index(parser).map_err(syntax)
        }
        ["DROP", "MODEL", ..] => {
            let (name, if_exists) = parse_drop(parser).map_err(syntax)?;
            Ok(Statement::DropModel { name, if_exists })
        }
        ["DROP", "INDEX", ..] => {
            let (name, if_exists) = parse_drop(parser).map_err(syntax)?;
            Ok(Statement::DropIndex { name, if_exists })
        }
        ["SHOW", "INDEXES", ..] => {
            skip(parser, 2);
            Ok(Statement::ShowIndexes)
        }
        ["SHOW", "MODELS", ..] => {
            skip(parser, 2);
            Ok(Statement::ShowModels)
        }
        _ => Ok(Statement::Engine(Box::new(listing_all(parser.parse_statement()?)?))),
    }
}

/// `SHOW FUNCTIONS` as a query. DataFusion's own leaves out every function whose type depends on
/// its arguments, and knows nothing of findings.
fn listing_all(statement: EngineStatement) -> Result<EngineStatement, SqlError> {
    let EngineStatement::Statement(inner) = &statement else { return Ok(statement) };
    let condition = match inner.as_ref() {
        SqlStatement::ShowFunctions { filter: None } => String::new(),
        SqlStatement::ShowFunctions {
            filter: Some(filter @ (ShowStatementFilter::Like(_) | ShowStatementFilter::ILike(_))),
        } => format!("WHERE function_name {filter}"),
        _ => return Ok(statement),
    };
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let findings: Vec<String> = findings::documentation()
        .map(|(name, usage, about)| {
            format!("({}, 'TABLE', {}, {})", literal(name), literal(&usage), literal(&about))
        })
        .collect();
    let query = format!(
        "SELECT DISTINCT * FROM (
           SELECT routine_name AS function_name, function_type, syntax_example, description
           FROM information_schema.routines UNION ALL VALUES {}
         ) {condition} ORDER BY function_name",
        findings.join(", ")
    );
    Ok(DFParser::parse_sql(&query)?.pop_front().unwrap_or(statement))
}

/// The word in upper case, or nothing for anything that is not a bare word.
fn upper_word(token: &Token) -> String {
    match token {
        Token::Word(Word { value, quote_style: None, .. }) => value.to_uppercase(),
        _ => String::new(),
    }
}

fn skip(parser: &mut DFParser<'_>, tokens: usize) {
    for _ in 0..tokens {
        parser.parser.advance_token();
    }
}

/// What models and indexes have in common.
fn parse_create(parser: &mut DFParser<'_>) -> Result<CreateModel, ParserError> {
    skip(parser, 1);
    let parser = &mut parser.parser;
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    parser.advance_token();
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = name_of(parser)?;
    parser.expect_keyword(Keyword::WITH)?;
    parser.expect_token(&Token::LParen)?;
    let options = parser.parse_comma_separated(parse_option)?;
    parser.expect_token(&Token::RParen)?;
    Ok(CreateModel { name, or_replace, if_not_exists, options })
}

fn parse_create_index(parser: &mut DFParser<'_>) -> Result<Statement, ParserError> {
    let CreateModel { name, or_replace, if_not_exists, options } = parse_create(parser)?;
    let query = match parser.parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parser.parse_query()?.to_string()),
        false => None,
    };
    Ok(Statement::CreateIndex(CreateIndex { name, or_replace, if_not_exists, options, query }))
}

fn parse_drop(parser: &mut DFParser<'_>) -> Result<(String, bool), ParserError> {
    skip(parser, 2);
    let if_exists = parser.parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    Ok((name_of(&mut parser.parser)?, if_exists))
}

type TokenParser<'a> = datafusion::sql::sqlparser::parser::Parser<'a>;

fn name_of(parser: &mut TokenParser<'_>) -> Result<String, ParserError> {
    let ident = parser.parse_identifier()?;
    Ok(if ident.quote_style.is_some() { ident.value } else { ident.value.to_lowercase() })
}

/// `key = value`, where the value is a string, a number, `true`, `false` or a bare word.
fn parse_option(parser: &mut TokenParser<'_>) -> Result<(String, String), ParserError> {
    let key = name_of(parser)?;
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

fn syntax(error: ParserError) -> SqlError {
    datafusion::error::DataFusionError::SQL(Box::new(error), None).into()
}
