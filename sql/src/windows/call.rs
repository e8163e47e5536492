//! Reads a call of a window: which argument is what. All mistakes that don't need the input's
//! columns are found here.

use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Query, Value, ValueWithSpan,
};
use sembla_runtime::window::WindowKind;

use super::function::{EARLY, LATENESS, OFFSET, PARTITION_BY, Parameter, TIME, WindowFunction};
use crate::SqlError;
use crate::columns::{constant, interval};
use crate::syntax::names::{name_of, nearest};

/// What a window is called with.
pub(super) struct Call {
    pub(super) function: &'static WindowFunction,
    pub(super) input: Box<Query>,
    /// The time column as it was written, if it was given.
    pub(super) time: Option<SqlExpr>,
    pub(super) kind: WindowKind,
    /// The columns that are a session's key.
    pub(super) keys: Vec<SqlExpr>,
    pub(super) early_us: Option<i64>,
    pub(super) lateness_us: Option<i64>,
}

/// The arguments by the parameters' names.
#[derive(Default)]
struct Given(Vec<(&'static str, SqlExpr)>);

impl Given {
    fn get(&self, name: &str) -> Option<&SqlExpr> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

impl Call {
    /// Reads the arguments of a window function.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for what is missing, unknown, given twice or can't be.
    pub(super) fn read(
        function: &'static WindowFunction,
        args: &[FunctionArg],
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Self> {
        let reader = Reader { function };
        let (input, given) = reader.sorted(args)?;
        let mut length = |parameter: &Parameter, bounds| match given.get(parameter.name) {
            Some(value) => reader.length(parameter.name, value, bounds, context).map(Some),
            None => Ok(None),
        };
        let mut lengths = Vec::with_capacity(function.lengths.len());
        for parameter in function.lengths {
            lengths.push(length(parameter, Bounds::Positive)?.ok_or_else(|| {
                reader.mistake(format!(
                    "{0} is missing; give it as {0} => INTERVAL '10 minutes'",
                    parameter.name
                ))
            })?);
        }
        let offset_us = length(&OFFSET, Bounds::Any)?.unwrap_or(0);
        let early_us = length(&EARLY, Bounds::Positive)?;
        let lateness_us = length(&LATENESS, Bounds::NotNegative)?;
        let kind = (function.kind)(&lengths, offset_us)
            .ok_or_else(|| DataFusionError::Internal(format!("{} is not whole", function.name)))?;
        kind.check().map_err(|error| reader.mistake(error.to_string()))?;
        let keys = match given.get(PARTITION_BY.name) {
            None => Vec::new(),
            Some(SqlExpr::Tuple(columns)) => columns.clone(),
            Some(SqlExpr::Nested(column)) => vec![column.as_ref().clone()],
            Some(column) => vec![column.clone()],
        };
        let time = given.get(TIME.name).cloned();
        Ok(Self { function, input, time, kind, keys, early_us, lateness_us })
    }

    /// A mistake in this call.
    pub(super) fn mistake(&self, message: String) -> DataFusionError {
        Reader { function: self.function }.mistake(message)
    }
}

/// What a length of time must be.
#[derive(Clone, Copy)]
enum Bounds {
    Any,
    NotNegative,
    Positive,
}

struct Reader {
    function: &'static WindowFunction,
}

impl Reader {
    /// The input, and the other arguments by their names.
    fn sorted(&self, args: &[FunctionArg]) -> Result<(Box<Query>, Given)> {
        let mut given = Given::default();
        let mut positional = Vec::new();
        for arg in args {
            let name = name_of(arg);
            let value = match arg {
                FunctionArg::Named { arg: FunctionArgExpr::Expr(value), .. }
                | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(value), .. }
                | FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => value,
                other => return Err(self.mistake(format!("{other} is not a value"))),
            };
            match name {
                None if given.0.is_empty() => positional.push(value),
                None => {
                    return Err(self.mistake(format!(
                        "{value} needs a name: an argument without a name can't follow one with a name"
                    )));
                }
                Some(name) => self.put(&mut given, &name.to_lowercase(), value)?,
            }
        }
        let mut positional = positional.into_iter();
        let input = self.input(positional.next())?;
        self.place(positional.as_slice(), &mut given)?;
        Ok((input, given))
    }

    /// The query that the first argument has become.
    fn input(&self, value: Option<&SqlExpr>) -> Result<Box<Query>> {
        let Some(mut value) = value else {
            return Err(self.mistake(format!(
                "the first argument must be a table, a file in quotes or a query in parentheses: {}",
                self.function.usage()
            )));
        };
        while let SqlExpr::Nested(inner) = value {
            value = inner;
        }
        match value {
            SqlExpr::Subquery(query) => Ok(query.clone()),
            other => Err(self.mistake(format!(
                "the input must be a table, a file in quotes or a query in parentheses, got {other}"
            ))),
        }
    }

    /// Names what was given by its place: the time column, unless it was left out, and the lengths.
    fn place(&self, values: &[&SqlExpr], given: &mut Given) -> Result<()> {
        let lengths = self.function.lengths;
        let has_time = match values.first() {
            Some(first) => values.len() > lengths.len() || is_name(first),
            None => false,
        };
        let places = has_time.then_some(&TIME).into_iter().chain(lengths);
        let mut places = places.map(|parameter| parameter.name);
        for value in values {
            let Some(name) = places.next() else {
                return Err(self.mistake(format!(
                    "too many arguments, from {value} on; call it as {}",
                    self.function.usage()
                )));
            };
            self.put(given, name, value)?;
        }
        Ok(())
    }

    fn put(&self, given: &mut Given, name: &str, value: &SqlExpr) -> Result<()> {
        let Some(known) = self.function.parameters().find(|parameter| parameter.name == name)
        else {
            return Err(self.mistake(format!(
                "there is no option '{name}'; did you mean '{}'? It takes {}",
                nearest(self.function.parameters().map(|parameter| parameter.name), name),
                self.function.names()
            )));
        };
        if given.get(known.name).is_some() {
            return Err(self.mistake(format!("{name} is given more than once")));
        }
        given.0.push((known.name, value.clone()));
        Ok(())
    }

    /// A length of time in microseconds.
    fn length(
        &self,
        name: &str,
        value: &SqlExpr,
        bounds: Bounds,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<i64> {
        let planned = context.sql_to_expr(value.clone(), &DFSchema::empty());
        let Some(constant) = planned.and_then(constant).ok().flatten() else {
            return Err(self.mistake(format!(
                "{name} must be a constant interval such as INTERVAL '10 minutes', got {value}"
            )));
        };
        let must = match (interval::micros(&constant), bounds) {
            (Ok(length), Bounds::Positive) if length <= 0 => "must be longer than 0",
            (Ok(length), Bounds::NotNegative) if length < 0 => "must not be negative",
            (Ok(length), _) => return Ok(length),
            (Err(must), _) => must,
        };
        Err(self.mistake(format!("{name} {must}, got {value}")))
    }

    fn mistake(&self, message: String) -> DataFusionError {
        SqlError::Statement(format!("{}: {message}", self.function.name)).into()
    }
}

/// Whether an argument can only be a column.
fn is_name(value: &SqlExpr) -> bool {
    let text = |value: &Value| matches!(value, Value::SingleQuotedString(_));
    match value {
        SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_) => true,
        SqlExpr::Value(ValueWithSpan { value, .. }) => text(value),
        _ => false,
    }
}
