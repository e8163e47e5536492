//! Inputs of findings and windows become sub-queries before a statement is planned.
//!
//! `paraphrase_mining(docs, other => 'more.parquet')` names tables where SQL has expressions. The
//! planner opens the tables and files of a statement before it plans, by looking for relations in
//! the parsed text, so the names are turned into `(SELECT * FROM docs)` here. From then on tables,
//! views, files, common table expressions and nested findings are one case: a query.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SetExpr,
    TableFactor, TableFunctionArgs, Value, ValueWithSpan,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use crate::findings::declaration_of;
use crate::syntax::names::name_of;
use crate::windows;

/// Turns the inputs of a finding or a window into sub-queries; any other item of FROM stays as it
/// is.
///
/// # Errors
/// What the parser says of a query that it makes, which should not happen.
pub(crate) fn inputs_as_queries(relation: &mut TableFactor) -> Result<(), ParserError> {
    let TableFactor::Table { name, args: Some(args), alias, .. } = relation else { return Ok(()) };
    let declaration = declaration_of(name);
    if declaration.is_none() && windows::function_of(name).is_none() {
        return Ok(());
    }
    let TableFunctionArgs { mut args, .. } = args.clone();
    for (position, arg) in args.iter_mut().enumerate() {
        let is_input = match name_of(arg) {
            None => position == 0,
            Some(given) => declaration.is_some_and(|finding| finding.input(&given).is_some()),
        };
        if is_input
            && let Some(FunctionArgExpr::Expr(value)) = value_of(arg)
            && let Some(query) = query_of(value)?
        {
            *value = Expr::Subquery(Box::new(query));
        }
    }
    // Not `Table`, whose name would be looked for among the tables and files.
    *relation = TableFactor::Function {
        lateral: false,
        name: name.clone(),
        args,
        with_ordinality: false,
        alias: alias.take(),
    };
    Ok(())
}

fn value_of(arg: &mut FunctionArg) -> Option<&mut FunctionArgExpr> {
    match arg {
        FunctionArg::Named { arg, .. }
        | FunctionArg::ExprNamed { arg, .. }
        | FunctionArg::Unnamed(arg) => Some(arg),
    }
}

/// The query that an argument stands for, unless it is one already or can't be a table.
fn query_of(value: &Expr) -> Result<Option<Query>, ParserError> {
    let relation = match value {
        Expr::Identifier(name) => table(ObjectName::from(vec![name.clone()]), None),
        Expr::CompoundIdentifier(parts) => table(ObjectName::from(parts.clone()), None),
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(file), .. }) => {
            table(ObjectName::from(vec![Ident::with_quote('\'', file.clone())]), None)
        }
        Expr::Function(function) => match &function.args {
            FunctionArguments::List(list) => table(function.name.clone(), Some(list.args.clone())),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let mut query =
        *Parser::new(&GenericDialect {}).try_with_sql("SELECT * FROM input")?.parse_query()?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(from) = select.from.first_mut()
    {
        from.relation = relation;
    }
    Ok(Some(query))
}

fn table(name: ObjectName, args: Option<Vec<FunctionArg>>) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: args.map(|args| TableFunctionArgs { args, settings: None }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
