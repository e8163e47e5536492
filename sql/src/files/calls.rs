//! `read_csv('…', header => false)`, `read_json('…')` and `read_parquet('…')` in `FROM`.
//!
//! DataFusion opens the tables and files of a statement before it plans, by looking for their names
//! in the parsed text. So a call becomes a name, its own text, and whoever opens that name reads
//! the call again.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::ast::{
    DataType as SqlType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    TableAlias, TableFactor, Value,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use sembla_readers::files::{Format, TableOptions, format_of, glob};

use crate::SqlError;
use crate::columns::planned_type;
use crate::syntax::names::{name_of, nearest};

/// The functions, and what they read.
const CALLS: &[(&str, Format)] =
    &[("read_csv", Format::Csv), ("read_json", Format::Json), ("read_parquet", Format::Parquet)];

/// What each takes beside the files.
const OPTIONS_OF_CSV: &[&str] = &["header", "delimiter", "quote", "escape", "types"];
const OPTIONS_OF_OTHERS: &[&str] = &["types"];

/// The names of the table functions that read files.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CALLS.iter().map(|(call, _)| *call)
}

/// Whether a table function reads files.
fn is_call(name: &str) -> bool {
    CALLS.iter().any(|(call, _)| *call == name)
}

/// Turns a call that reads files into a name that is opened as such; and puts `./` before the name
/// of a folder that stands in quotes, so that it can't be taken for a table. Any other item of
/// FROM stays as it is.
pub(crate) fn as_names(relation: &mut TableFactor) {
    let TableFactor::Table { name, args, alias, .. } = relation else { return };
    let [part] = name.0.as_slice() else { return };
    let Some(ident) = part.as_ident().cloned() else { return };
    match args {
        None if ident.quote_style == Some('\'') && is_bare(&ident.value) => {
            *name = quoted(format!("./{}", ident.value));
        }
        Some(given) if ident.quote_style.is_none() => {
            let function = ident.value.to_lowercase();
            if !is_call(&function) {
                return;
            }
            let given: Vec<String> = given.args.iter().map(ToString::to_string).collect();
            *name = quoted(format!("{function}({})", given.join(", ")));
            *args = None;
            alias.get_or_insert(TableAlias {
                explicit: true,
                name: Ident::new(function),
                columns: Vec::new(),
                at: None,
            });
        }
        _ => {}
    }
}

/// Whether a name in quotes could also be that of a table.
fn is_bare(name: &str) -> bool {
    !name.contains(['/', '\\']) && !glob::is_pattern(name) && format_of(name).is_none()
}

fn quoted(name: String) -> ObjectName {
    ObjectName::from(vec![Ident::with_quote('\'', name)])
}

/// A call that reads files.
#[derive(Debug)]
pub(super) struct Call {
    /// The path, folder, glob or address.
    pub(super) name: String,
    format: Format,
    /// What was given by name.
    given: Vec<(String, Expr)>,
}

/// Reads the text of a call; `None` where a name is not a call.
pub(super) fn read(name: &str) -> Option<Result<Call, SqlError>> {
    let (function, rest) = name.split_once('(')?;
    let (_, format) = CALLS.iter().find(|(call, _)| *call == function)?;
    rest.ends_with(')').then(|| parsed(function, *format, name))
}

fn parsed(function: &str, format: Format, text: &str) -> Result<Call, SqlError> {
    let wrong = || SqlError::Bug(format!("{text} can't be read again"));
    let parsed = Parser::new(&GenericDialect {})
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|_| wrong())?;
    let Expr::Function(call) = parsed else { return Err(wrong()) };
    let FunctionArguments::List(list) = call.args else { return Err(wrong()) };
    let mut files = None;
    let mut given: Vec<(String, Expr)> = Vec::new();
    let known = if format == Format::Csv { OPTIONS_OF_CSV } else { OPTIONS_OF_OTHERS };
    for arg in list.args {
        let name = name_of(&arg).map(|name| name.to_lowercase());
        let value = match arg {
            FunctionArg::Named { arg: FunctionArgExpr::Expr(value), .. }
            | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(value), .. }
            | FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => value,
            other => return Err(mistake(function, format!("{other} is not a value"))),
        };
        match name {
            None if files.is_none() => files = Some(text_of(function, "the files", &value)?),
            None => {
                return Err(mistake(
                    function,
                    format!("{value} needs a name: write options as name => value"),
                ));
            }
            Some(name) if !known.contains(&name.as_str()) => {
                return Err(mistake(
                    function,
                    format!(
                        "there is no option '{name}'; did you mean '{}'? It takes {}",
                        nearest(known.iter().copied(), &name),
                        known.join(", ")
                    ),
                ));
            }
            Some(name) if given.iter().any(|(known, _)| *known == name) => {
                return Err(mistake(function, format!("{name} is given more than once")));
            }
            Some(name) => given.push((name, value)),
        }
    }
    let name = files.ok_or_else(|| {
        mistake(
            function,
            format!("the first argument must be a file, folder or glob: {function}('x.csv')"),
        )
    })?;
    Ok(Call { name, format, given })
}

impl Call {
    /// The options of the readers.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for values that can't be.
    pub(super) fn options(&self, state: &SessionState) -> Result<TableOptions, SqlError> {
        let function = CALLS.iter().find(|(_, format)| *format == self.format);
        let function = function.map_or("read_csv", |(name, _)| *name);
        let mut options = TableOptions { format: Some(self.format), ..TableOptions::default() };
        for (name, value) in &self.given {
            match name.as_str() {
                "header" => options.header = Some(flag(function, name, value)?),
                "delimiter" => {
                    options.delimiter = Some(letter(function, name, r"';' or '\t'", value)?);
                }
                "quote" => options.quote = Some(letter(function, name, "'\"'", value)?),
                "escape" => options.escape = Some(letter(function, name, r"'\'", value)?),
                _ => options.types = types(function, state, value)?,
            }
        }
        Ok(options)
    }
}

fn mistake(function: &str, message: String) -> SqlError {
    SqlError::Statement(format!("{function}: {message}"))
}

fn text_of(function: &str, what: &str, value: &Expr) -> Result<String, SqlError> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Ok(text.clone()),
            other => {
                Err(mistake(function, format!("{what} must be a text in quotes, got {other}")))
            }
        },
        other => Err(mistake(function, format!("{what} must be a text in quotes, got {other}"))),
    }
}

fn flag(function: &str, name: &str, value: &Expr) -> Result<bool, SqlError> {
    match value {
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => {
            Ok(value.value == Value::Boolean(true))
        }
        other => Err(mistake(function, format!("{name} must be true or false, got {other}"))),
    }
}

/// A byte that means something between or around fields.
fn letter(function: &str, name: &str, example: &str, value: &Expr) -> Result<u8, SqlError> {
    let text = text_of(function, name, value)?;
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [byte @ b'"'] if name != "delimiter" => Ok(*byte),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err(mistake(
            function,
            format!("{name} must be one ASCII character such as {example}, got '{text}'"),
        )),
    }
}

/// `'id VARCHAR, price DOUBLE'` or `{'id': 'VARCHAR', 'price': 'DOUBLE'}`.
fn types(
    function: &str,
    state: &SessionState,
    value: &Expr,
) -> Result<Vec<(String, DataType)>, SqlError> {
    let wrong = |why: String| {
        mistake(
            function,
            format!(
                "types must be columns with their types such as 'id VARCHAR, price DOUBLE': {why}"
            ),
        )
    };
    let declared = match value {
        Expr::Dictionary(fields) => {
            let mut declared = Vec::with_capacity(fields.len());
            for field in fields {
                let text = text_of(function, "a type", &field.value)?;
                let mut parser = parser_of(&text).map_err(|error| wrong(error.to_string()))?;
                let parsed = parser.parse_data_type().map_err(|error| wrong(error.to_string()))?;
                declared.push((field.key.value.clone(), parsed));
            }
            declared
        }
        value => columns(&text_of(function, "types", value)?)
            .map_err(|error| wrong(error.to_string()))?,
    };
    let mut types = Vec::with_capacity(declared.len());
    for (name, sql) in declared {
        let data_type = planned_type(state, &sql)
            .map_err(|error| wrong(format!("'{name}': {}", SqlError::from(error))))?;
        let data_type = match data_type {
            DataType::Utf8View => DataType::Utf8,
            other => other,
        };
        types.push((name, data_type));
    }
    Ok(types)
}

fn parser_of(
    text: &str,
) -> Result<Parser<'static>, datafusion::sql::sqlparser::parser::ParserError> {
    static DIALECT: GenericDialect = GenericDialect {};
    Parser::new(&DIALECT).try_with_sql(text)
}

fn columns(
    text: &str,
) -> Result<Vec<(String, SqlType)>, datafusion::sql::sqlparser::parser::ParserError> {
    let mut parser = parser_of(text)?;
    let mut columns = Vec::new();
    loop {
        let name = crate::syntax::folded(&parser.parse_identifier()?);
        columns.push((name, parser.parse_data_type()?));
        if !parser.consume_token(&Token::Comma) {
            parser.expect_token(&Token::EOF)?;
            return Ok(columns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_again_from_its_text() {
        let call = read("read_csv('it''s.csv', header => false, delimiter => ';')");
        let call = call.expect("a call").expect("a sound one");
        assert_eq!((call.name.as_str(), call.given.len()), ("it's.csv", 2));
        assert!(read("orders").is_none());
        assert!(read("read_csv.csv").is_none());
        assert!(read("dedup('x.csv')").is_none());
    }

    #[test]
    fn mistakes_name_the_option() {
        for (call, part) in [
            ("read_csv()", "the first argument must be a file, folder or glob"),
            ("read_csv('x', heder => true)", "did you mean 'header'?"),
            ("read_json('x', header => true)", "there is no option 'header'"),
            ("read_csv('x', header => true, header => true)", "given more than once"),
            ("read_csv(x)", "must be a text in quotes, got x"),
            ("read_json('x', quote => '|')", "there is no option 'quote'"),
        ] {
            let error = read(call).expect("a call").expect_err(call).to_string();
            assert!(error.contains(part), "{call}: {error}");
        }
    }

    #[test]
    fn types_are_columns_in_a_text() {
        let columns = columns("id VARCHAR, \"Price\" DECIMAL(10, 2)").expect("columns");
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["id", "Price"]);
        assert!(super::columns("id VARCHAR price").is_err());
    }
}
