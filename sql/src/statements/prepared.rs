//! `PREPARE`, `EXECUTE` and `DEALLOCATE`.
//!
//! A prepared statement is kept as it was parsed. `EXECUTE` puts its values in the places of `$1`,
//! `$2`, … and plans the statement then, so a parameter can stand wherever a value can: an option
//! of a table function, in an argument that must be a literal, in the name of a model. A value is a
//! part of the parsed statement and never its text, so nothing in it is taken for SQL.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Query, Statement as SqlStatement, Value, ValueWithSpan, Visit,
    VisitMut, Visitor, VisitorMut,
};

use crate::SqlError;
use crate::syntax::folded;

/// Most statements that a session keeps prepared.
const PREPARED_MAX: usize = 1000;

/// The prepared statements of a session; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PreparedStatements(Arc<Mutex<BTreeMap<String, Prepared>>>);

#[derive(Clone, Debug)]
struct Prepared {
    statement: SqlStatement,
    /// The declared types of the first parameters.
    types: Vec<DataType>,
    parameters: usize,
}

/// What is to be done about a statement.
pub(crate) enum Step {
    /// It is done; this is one line to tell the user.
    Done(String),
    /// Run it.
    Run(Box<DfStatement>),
}

impl PreparedStatements {
    /// Prepares, binds or forgets, if a statement says so; any other is to be run as it is.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for names that are taken or not there, and values that are missing,
    /// too many or no constants.
    pub(crate) fn step(&self, statement: Box<DfStatement>) -> Result<Step, SqlError> {
        let DfStatement::Statement(inner) = statement.as_ref() else {
            return Ok(Step::Run(statement));
        };
        match inner.as_ref() {
            SqlStatement::Prepare { name, data_types, statement } => {
                self.prepare(&folded(name), data_types, statement).map(Step::Done)
            }
            SqlStatement::Execute {
                name: Some(name), parameters, using, immediate: false, ..
            } => {
                let name = name.0.last().and_then(|part| part.as_ident());
                let name = name.map(folded).unwrap_or_default();
                let using = using.iter().map(|value| &value.expr);
                let values: Vec<&Expr> = parameters.iter().chain(using).collect();
                let bound = self.bind(&name, &values)?;
                Ok(Step::Run(Box::new(DfStatement::Statement(Box::new(bound)))))
            }
            SqlStatement::Deallocate { name, .. } => self.forget(&folded(name)).map(Step::Done),
            _ => Ok(Step::Run(statement)),
        }
    }

    fn prepare(
        &self,
        name: &str,
        types: &[DataType],
        statement: &SqlStatement,
    ) -> Result<String, SqlError> {
        let parameters = count(statement)?;
        if types.len() > parameters {
            return Err(refused(format!(
                "prepared statement '{name}' declares {} types but has {parameters} parameters",
                types.len()
            )));
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(name) {
            return Err(refused(format!(
                "prepared statement '{name}' already exists; DEALLOCATE {name} drops it"
            )));
        }
        if all.len() >= PREPARED_MAX {
            return Err(refused(format!(
                "no more than {PREPARED_MAX} statements can be prepared; DEALLOCATE ALL drops them"
            )));
        }
        let (statement, types) = (statement.clone(), types.to_vec());
        all.insert(name.to_string(), Prepared { statement, types, parameters });
        Ok(format!("statement '{name}' prepared: {}", counted(parameters)))
    }

    fn bind(&self, name: &str, values: &[&Expr]) -> Result<SqlStatement, SqlError> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Prepared { statement, types, parameters }) = all.get(name).cloned() else {
            return Err(unknown(name));
        };
        drop(all);
        if values.len() != parameters {
            return Err(refused(format!(
                "prepared statement '{name}' takes {}, got {}",
                counted(parameters),
                values.len()
            )));
        }
        let values = values.iter().enumerate().map(|(n, value)| {
            check_constant(n, value)?;
            Ok(as_type((*value).clone(), types.get(n)))
        });
        let values = values.collect::<Result<Vec<_>, SqlError>>()?;
        let mut statement = statement;
        match VisitMut::visit(&mut statement, &mut Binding { values: &values }) {
            ControlFlow::Continue(()) => Ok(statement),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn forget(&self, name: &str) -> Result<String, SqlError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if name == "all" {
            all.clear();
            return Ok("all prepared statements dropped".into());
        }
        match all.remove(name) {
            Some(_) => Ok(format!("prepared statement '{name}' dropped")),
            None => Err(unknown(name)),
        }
    }
}

/// The number of a parameter, from 1.
fn parameter(expr: &Expr) -> Option<Result<usize, SqlError>> {
    let Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) = expr else {
        return None;
    };
    let number = name.strip_prefix('$').and_then(|number| number.parse().ok());
    Some(number.filter(|number| (1..=usize::from(u16::MAX)).contains(number)).ok_or_else(|| {
        refused(format!("'{name}' is not a parameter; write parameters as $1, $2, …"))
    }))
}

/// How many parameters a statement has.
fn count(statement: &SqlStatement) -> Result<usize, SqlError> {
    struct Counting(usize);
    impl Visitor for Counting {
        type Break = SqlError;

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
            match parameter(expr) {
                Some(Ok(number)) => self.0 = self.0.max(number),
                Some(Err(error)) => return ControlFlow::Break(error),
                None => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut counting = Counting(0);
    match Visit::visit(statement, &mut counting) {
        ControlFlow::Continue(()) => Ok(counting.0),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Puts values in the places of parameters.
struct Binding<'a> {
    values: &'a [Expr],
}

impl VisitorMut for Binding<'_> {
    type Break = SqlError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match parameter(expr) {
            Some(Ok(number)) => {
                if let Some(value) = self.values.get(number - 1) {
                    *expr = value.clone();
                }
                ControlFlow::Continue(())
            }
            Some(Err(error)) => ControlFlow::Break(error),
            None => ControlFlow::Continue(()),
        }
    }
}

/// Checks that a value depends on no rows.
fn check_constant(position: usize, value: &Expr) -> Result<(), SqlError> {
    struct Constant;
    impl Visitor for Constant {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let is_constant = !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
                && parameter(expr).is_none();
            if is_constant { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    if Visit::visit(value, &mut Constant).is_continue() {
        return Ok(());
    }
    Err(refused(format!(
        "parameter ${} must be a constant, with texts in single quotes, got {value}",
        position + 1
    )))
}

/// A value as an expression of its declared type. Literals of that kind stay literals, which some
/// arguments must be.
fn as_type(value: Expr, data_type: Option<&DataType>) -> Expr {
    let Some(data_type) = data_type else { return plain(value) };
    let literal = match &value {
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::SingleQuotedString(_) | Value::DollarQuotedString(_) => is_text(data_type),
            Value::Number(..) => is_number(data_type),
            Value::Boolean(_) => matches!(data_type, DataType::Bool | DataType::Boolean),
            _ => false,
        },
        _ => false,
    };
    if literal {
        return value;
    }
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(plain(value)),
        data_type: data_type.clone(),
        array: false,
        format: None,
    }
}

/// A literal as it is, and anything else in parentheses.
fn plain(value: Expr) -> Expr {
    match value {
        Expr::Value(_) => value,
        other => Expr::Nested(Box::new(other)),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Varchar(None) | DataType::Text | DataType::String(None) | DataType::Char(None)
    )
}

fn is_number(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int(None)
            | DataType::Integer(None)
            | DataType::BigInt(None)
            | DataType::SmallInt(None)
            | DataType::TinyInt(None)
    )
}

fn counted(parameters: usize) -> String {
    format!("{parameters} {}", if parameters == 1 { "parameter" } else { "parameters" })
}

fn unknown(name: &str) -> SqlError {
    refused(format!("prepared statement '{name}' does not exist; PREPARE {name} AS … makes it"))
}

fn refused(message: String) -> SqlError {
    SqlError::Statement(message)
}
