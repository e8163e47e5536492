//! From text to statements: those of our own, and DataFusion's.
//!
//! The text is cut into tokens once, by the SQL parser's own tokenizer, so a semicolon inside a
//! string, a comment or a dollar quote never ends a statement. Each kind of thing that can be
//! created has a file: what its statements hold, and how they are read. Running statements is
//! [`crate::Session`]'s work.

use std::fmt;

use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer, Word};

use crate::SqlError;

mod from_first;
mod index;
mod limits;
mod model;
pub(crate) mod names;
mod options;
mod sink;
mod source;
#[cfg(test)]
mod tests;

pub use index::CreateIndex;
pub use model::CreateModel;
pub use options::StreamOptions;
pub use sink::CreateSink;
pub use source::{ColumnDef, CreateSource, WatermarkDef};

/// One statement, ready to run.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `CREATE MODEL`.
    CreateModel(CreateModel),
    /// `DROP MODEL`.
    DropModel {
        /// The name.
        name: String,
        /// Whether it is not a mistake when there is none.
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
        /// Whether it is not a mistake when there is none.
        if_exists: bool,
    },
    /// `SHOW INDEXES`.
    ShowIndexes,
    /// `CREATE SOURCE`.
    CreateSource(CreateSource),
    /// `DROP SOURCE`.
    DropSource {
        /// The name.
        name: String,
        /// Whether it is not a mistake when there is none.
        if_exists: bool,
    },
    /// `SHOW SOURCES`.
    ShowSources,
    /// `CREATE SINK`.
    CreateSink(CreateSink),
    /// `DROP SINK`.
    DropSink {
        /// The name.
        name: String,
        /// Whether it is not a mistake when there is none.
        if_exists: bool,
    },
    /// `SHOW SINKS`.
    ShowSinks,
    /// A statement that DataFusion runs.
    DataFusion(Box<DfStatement>),
}

impl Statement {
    /// Whether it trains a model, which takes long and keeps its progress when it is stopped.
    pub fn trains(&self) -> bool {
        matches!(self, Self::CreateModel(create) if create.query.is_some())
    }
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
            Self::CreateSource(create) => write!(f, "CREATE SOURCE {}", create.name),
            Self::DropSource { name, .. } => write!(f, "DROP SOURCE {name}"),
            Self::ShowSources => f.write_str("SHOW SOURCES"),
            Self::CreateSink(create) => write!(f, "CREATE SINK {}", create.name),
            Self::DropSink { name, .. } => write!(f, "DROP SINK {name}"),
            Self::ShowSinks => f.write_str("SHOW SINKS"),
            Self::DataFusion(statement) => statement.fmt(f),
        }
    }
}

/// Parses a text of any number of statements.
///
/// # Errors
/// [`SqlError::Syntax`] for the first mistake, with its line and column.
pub(crate) fn parse(text: &str, dialect: &dyn Dialect) -> Result<Vec<Statement>, SqlError> {
    let tokens = Tokenizer::new(dialect, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| syntax(error.into()))?;
    limits::check(&tokens)?;
    let mut parser = DFParserBuilder::new(from_first::with_select(tokens))
        .with_dialect(dialect)
        .with_recursion_limit(limits::PARSER_STEPS_MAX)
        .build()?;
    let mut statements = Vec::new();
    loop {
        while parser.parser.consume_token(&Token::SemiColon) {}
        if parser.parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        let may_hold_secrets = upper_word(&parser.parser.peek_token_ref().token) == "CREATE";
        let statement = parse_whole(&mut parser);
        statements.push(statement.map_err(|error| match error {
            SqlError::Syntax(message) if may_hold_secrets => {
                SqlError::Syntax(without_strings(&message))
            }
            other => other,
        })?);
    }
}

/// A statement and the semicolon or the end of the text behind it.
fn parse_whole(parser: &mut DFParser<'_>) -> Result<Statement, SqlError> {
    let statement = parse_one(parser)?;
    let next = parser.parser.peek_token_ref();
    if !matches!(next.token, Token::SemiColon | Token::EOF) {
        return parser.parser.expected_ref("end of statement", next).map_err(syntax);
    }
    Ok(statement)
}

/// A message without the strings that it has found: one can be a password that an `=` is missing
/// before.
fn without_strings(message: &str) -> String {
    const FOUND: &str = "found: ";
    let Some((before, found)) = message.split_once(FOUND) else { return message.to_string() };
    if !found.starts_with(['\'', '"', '$']) && !found.starts_with("E'") {
        return message.to_string();
    }
    let place = found.rfind(" at Line").and_then(|at| found.get(at..)).unwrap_or_default();
    format!("{before}{FOUND}a string{place}")
}

fn parse_one(parser: &mut DFParser<'_>) -> Result<Statement, SqlError> {
    match parse_own(&mut parser.parser).map_err(syntax)? {
        Some(statement) => Ok(statement),
        None => Ok(Statement::DataFusion(Box::new(parser.parse_statement()?))),
    }
}

/// A statement of our own, if the next one is.
fn parse_own(parser: &mut TokenParser<'_>) -> Result<Option<Statement>, ParserError> {
    let words: Vec<String> =
        (0..4).map(|n| upper_word(&parser.peek_nth_token_ref(n).token)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (verb, what) = match words.as_slice() {
        ["CREATE", "OR", "REPLACE", what] => ("CREATE", *what),
        [verb, what, ..] => (*verb, *what),
        _ => return Ok(None),
    };
    Ok(Some(match (verb, what) {
        ("CREATE", "MODEL") => Statement::CreateModel(model::parse(parser)?),
        ("CREATE", "INDEX") => Statement::CreateIndex(index::parse(parser)?),
        ("CREATE", "SOURCE") => Statement::CreateSource(source::parse(parser)?),
        ("CREATE", "SINK") => Statement::CreateSink(sink::parse(parser)?),
        ("DROP", "MODEL" | "INDEX" | "SOURCE" | "SINK") => {
            let (name, if_exists) = parse_drop(parser)?;
            match what {
                "MODEL" => Statement::DropModel { name, if_exists },
                "INDEX" => Statement::DropIndex { name, if_exists },
                "SOURCE" => Statement::DropSource { name, if_exists },
                _ => Statement::DropSink { name, if_exists },
            }
        }
        ("SHOW", "MODELS" | "INDEXES" | "SOURCES" | "SINKS") => {
            skip(parser, 2);
            match what {
                "MODELS" => Statement::ShowModels,
                "INDEXES" => Statement::ShowIndexes,
                "SOURCES" => Statement::ShowSources,
                _ => Statement::ShowSinks,
            }
        }
        _ => return Ok(None),
    }))
}

/// What every CREATE of ours begins with.
struct Head {
    name: String,
    or_replace: bool,
    if_not_exists: bool,
}

/// `CREATE [OR REPLACE] … [IF NOT EXISTS] name`.
fn parse_head(parser: &mut TokenParser<'_>) -> Result<Head, ParserError> {
    skip(parser, 1);
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    skip(parser, 1);
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    Ok(Head { name: parse_name(parser)?, or_replace, if_not_exists })
}

/// `DROP … [IF EXISTS] name`.
fn parse_drop(parser: &mut TokenParser<'_>) -> Result<(String, bool), ParserError> {
    skip(parser, 2);
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    Ok((parse_name(parser)?, if_exists))
}

type TokenParser<'a> = Parser<'a>;

/// A name, in lower case unless it is in quotes.
fn parse_name(parser: &mut TokenParser<'_>) -> Result<String, ParserError> {
    Ok(folded(&parser.parse_identifier()?))
}

/// A name as it is known: in lower case unless it was quoted.
pub(crate) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The word in upper case, or nothing for anything that is not a bare word.
fn upper_word(token: &Token) -> String {
    match token {
        Token::Word(Word { value, quote_style: None, .. }) => value.to_uppercase(),
        _ => String::new(),
    }
}

fn skip(parser: &mut TokenParser<'_>, tokens: usize) {
    for _ in 0..tokens {
        parser.advance_token();
    }
}

fn syntax(error: ParserError) -> SqlError {
    datafusion::error::DataFusionError::SQL(Box::new(error), None).into()
}
