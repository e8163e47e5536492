//! Which columns of an input play which role: those that options name, else those whose names and
//! types leave no doubt.

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, ScalarUDF, cast, ident, lit};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, Value, ValueWithSpan};
use sembla_readers::files::Looks;

use super::column_looks;
use crate::SqlError;
use crate::columns::by_name::{self, is_text, is_vector};
use crate::columns::{WINDOW_END, WINDOW_PANE, WINDOW_START};
use crate::engine::indexes::stored_vectors;
use crate::relations::declaration::{Declaration, InputDef, Need};
use crate::relations::options::{OptionKind, OptionValue, OptionValues};
use crate::relations::roles::Roles;
use crate::syntax::names::columns_hint;

/// Columns that options name, as they were written, by option.
pub(crate) type GivenColumns = Vec<(&'static str, SqlExpr)>;

/// Finds the roles of one input.
pub(crate) struct Resolver<'a> {
    pub(crate) declaration: &'static Declaration,
    pub(crate) input: &'static InputDef,
    /// Whether it is the first input: others fall back where they lack a column that is named.
    pub(crate) is_first: bool,
    /// The input.
    pub(crate) plan: &'a LogicalPlan,
    /// Its columns.
    pub(crate) schema: &'a DFSchema,
    pub(crate) given: &'a GivenColumns,
    /// The names of all that was given by name.
    pub(crate) names_given: &'a [String],
    pub(crate) options: &'a OptionValues,
    /// The function that embeds.
    pub(crate) embed: &'a ScalarUDF,
    /// The name of the model that is used when none is named.
    pub(crate) default_model: &'a str,
}

impl Resolver<'_> {
    /// The roles, and the same in words for EXPLAIN.
    ///
    /// # Errors
    /// [`SqlError::Statement`] for columns that do not exist, of the wrong type, or in doubt.
    pub(crate) fn roles(
        &self,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<(Roles<Expr>, String)> {
        if !self.input.columns.is_empty() {
            return self.known_columns(context);
        }
        let mut words = Vec::new();
        let id = match self.named("id", context)? {
            _ if self.input.one_by_one => None,
            Some(id) => Some(id),
            None => self.field("id").map(|_| self.column("id")),
        };
        if !self.input.one_by_one {
            words.push(format!("id={}", id.as_ref().map_or("row number".into(), shown)));
        }
        let text = self.text(id.as_ref(), context)?;
        let vector = self.vector(text.as_ref(), context)?;
        match &vector {
            Some((vector, None)) => words.push(format!("vector={}", shown(vector))),
            Some((_, Some(embedded))) => words.push(format!("embed={embedded}")),
            None => {}
        }
        let text = text.filter(|_| self.input.texts != Need::No);
        if self.input.texts == Need::Must && text.is_none() {
            return Err(self.no_text());
        }
        if let Some(text) = &text {
            words.push(format!("text={}", shown(text)));
        }
        let groups = self.groups(context)?;
        if !groups.is_empty() && !self.input.windowed {
            let groups: Vec<_> = groups.iter().map(shown).collect();
            words.push(format!("partition_by={}", groups.join("+")));
        }
        let extras = self.extras(context)?;
        words.extend(extras.iter().map(|(name, extra)| format!("{name}={}", shown(extra))));
        let vector = vector.map(|(vector, _)| vector);
        let text = text.map(|text| self.plain_text(text)).transpose()?;
        Ok((Roles { id, text, vector, groups, extras }, words.join(", ")))
    }

    /// The columns of an input that are known by their names. So that those of two inputs can be
    /// compared, strings are of one type and whole numbers too.
    fn known_columns(
        &self,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<(Roles<Expr>, String)> {
        let mut extras = Vec::new();
        for name in self.input.columns {
            if let Some(field) = self.field(name) {
                let column = self.column(name);
                extras.push((
                    *name,
                    match field.data_type() {
                        data_type if is_text(data_type) => cast(column, DataType::Utf8),
                        data_type if data_type.is_integer() => cast(column, DataType::Int64),
                        _ => column,
                    },
                ));
            }
        }
        let words: Vec<_> = extras.iter().map(|(name, _)| name.to_string()).collect();
        let groups = self.groups(context)?;
        Ok((Roles { id: None, text: None, vector: None, groups, extras }, words.join(", ")))
    }

    /// The column of texts, if there is one. Ids may be strings, but are not taken for texts.
    fn text(
        &self,
        id: Option<&Expr>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Option<Expr>> {
        if self.input.texts == Need::No && self.input.vectors == Need::No {
            return Ok(None);
        }
        if self.schema.fields().is_empty() {
            // An empty file has no columns, and no rows either, of which any text can be said.
            return Ok(Some(lit(ScalarValue::Utf8(None))));
        }
        if let Some(text) = self.named("text", context)? {
            let data_type = text.get_type(self.schema)?;
            if data_type == DataType::Null {
                return Ok(Some(cast(text, DataType::Utf8)));
            }
            if !is_text(&data_type) {
                return Err(self.mistake(format!(
                    "text must be a column of texts, got {}, which is {data_type}",
                    shown(&text)
                )));
            }
            return Ok(Some(text));
        }
        let id = id.map(shown);
        Ok(match by_name::texts(self.fields(), id.as_deref(), &self.look())?.as_slice() {
            [only] => Some(self.column(only)),
            _ => None,
        })
    }

    fn fields(&self) -> impl Iterator<Item = &Field> + Clone {
        self.schema.fields().iter().map(AsRef::as_ref)
    }

    /// How columns of text look, where they come from files as they are.
    fn look(&self) -> impl Fn(&str) -> Result<Looks> {
        move |name| Ok(column_looks::of(self.plan, name)?)
    }

    /// The vectors, and in words how they are embedded if they are.
    fn vector(
        &self,
        text: Option<&Expr>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Option<(Expr, Option<String>)>> {
        let need = match self.input.vectors {
            Need::No => return Ok(None),
            Need::MustUnless(option) if self.is_given(option) => Need::IfThere,
            Need::MustUnless(_) => Need::Must,
            need => need,
        };
        if let Some(vector) = self.named("vector", context)? {
            let data_type = vector.get_type(self.schema)?;
            if is_text(&data_type) {
                return Ok(Some((parsed(context, vector)?, None)));
            }
            if !is_vector(&data_type) {
                return Err(self.mistake(format!(
                    "vector must be a column of vectors (lists of numbers), got {}, which is {data_type}",
                    shown(&vector)
                )));
            }
            return Ok(Some((vector, None)));
        }
        let vectors = by_name::vectors(self.fields(), &self.look())?;
        match (vectors.as_slice(), text) {
            ([only], _) => {
                let column = self.column(only);
                let is_said = is_text(&column.get_type(self.schema)?);
                let vector = if is_said { parsed(context, column)? } else { column };
                Ok(Some((vector, None)))
            }
            ([], _) if need != Need::Must => Ok(None),
            ([], Some(text)) => Ok(Some(self.embedded(text))),
            ([], None) => Err(self.no_text()),
            (several, _) => Err(self.mistake(format!(
                "{} has several columns of vectors: {}; name one with vector => …",
                self.called(),
                several.join(", ")
            ))),
        }
    }

    /// The vectors of texts.
    fn embedded(&self, text: &Expr) -> (Expr, Option<String>) {
        let named = self.options.text("model");
        let model = named.unwrap_or(self.default_model);
        let rows = stored_vectors::rows_of(self.plan).filter(|_| !self.is_given(self.input.prompt));
        if let Some(stored) =
            rows.and_then(|rows| rows.vectors(self.plan, text, (model, named.is_some())))
        {
            return (stored, None);
        }
        let prompt = self.options.text(self.input.prompt).or(self.input.default_prompt);
        let mut arguments = vec![text.clone(), lit(model)];
        arguments.extend(prompt.map(lit));
        let call = self.embed.call(arguments);
        let prompt = prompt.filter(|prompt| !prompt.is_empty());
        let prompt = prompt.map_or(String::new(), |prompt| format!(", {prompt}"));
        (call, Some(format!("{model}({}{prompt})", shown(text))))
    }

    fn groups(&self, context: &mut dyn RelationPlannerContext) -> Result<Vec<Expr>> {
        if self.input.windowed {
            return self.window_columns();
        }
        let Some((_, given)) = self.given.iter().find(|(name, _)| *name == "partition_by") else {
            return Ok(Vec::new());
        };
        let columns = match given {
            SqlExpr::Tuple(columns) => columns.clone(),
            SqlExpr::Nested(column) => vec![column.as_ref().clone()],
            column => vec![column.clone()],
        };
        let resolved: Result<Vec<Expr>> =
            columns.iter().map(|column| self.resolve("partition_by", column, context)).collect();
        match resolved {
            Err(_) if !self.is_first => Ok(Vec::new()),
            resolved => resolved,
        }
    }

    /// The columns that say which window a row is in.
    fn window_columns(&self) -> Result<Vec<Expr>> {
        for name in [WINDOW_START, WINDOW_END] {
            let Some(field) = self.field(name) else {
                return Err(self.mistake(format!(
                    "{} must be a tumble, hop or session window, but it has no column {name}",
                    self.called()
                )));
            };
            if !matches!(field.data_type(), DataType::Timestamp(..)) {
                return Err(self.mistake(format!(
                    "{name} must be a timestamp, as tumble, hop and session return it, got {}",
                    field.data_type()
                )));
            }
        }
        let all = [WINDOW_START, WINDOW_END, WINDOW_PANE].into_iter();
        Ok(all.filter(|name| self.field(name).is_some()).map(|name| self.column(name)).collect())
    }

    /// Columns that own options of the finding name; they are the first input's.
    fn extras(
        &self,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Vec<(&'static str, Expr)>> {
        let mut extras = Vec::new();
        for option in self.declaration.options.iter().filter(|_| self.is_first) {
            let bin = match option.kind {
                OptionKind::Column => None,
                OptionKind::Time { bin } => self.options.get(bin),
                _ => continue,
            };
            let Some(extra) = self.named(option.name, context)? else { continue };
            let extra = match bin {
                Some(OptionValue::Interval(width)) => self.binned(width, extra, context)?,
                _ => extra,
            };
            extras.push((option.name, extra));
        }
        Ok(extras)
    }

    /// A time as the start of its bin.
    fn binned(
        &self,
        width: &ScalarValue,
        time: Expr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Expr> {
        let data_type = time.get_type(self.schema)?;
        let time = match data_type {
            DataType::Timestamp(..) => time,
            DataType::Date32 | DataType::Date64 => {
                cast(time, DataType::Timestamp(TimeUnit::Nanosecond, None))
            }
            other => {
                return Err(self.mistake(format!(
                    "time must be a timestamp or a date to be divided into bins, got {}, which is {other}",
                    shown(&time)
                )));
            }
        };
        let date_bin = context.context_provider().get_function_meta("date_bin");
        let date_bin =
            date_bin.ok_or_else(|| self.mistake("the function date_bin is missing".into()))?;
        Ok(date_bin.call(vec![lit(width.clone()), time]))
    }

    /// The column that an option names, if it was given.
    fn named(
        &self,
        option: &str,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Option<Expr>> {
        let Some((_, given)) = self.given.iter().find(|(name, _)| *name == option) else {
            return Ok(None);
        };
        if self.schema.fields().is_empty() {
            return Ok(Some(lit(ScalarValue::Utf8(None))));
        }
        match self.resolve(option, given, context) {
            Ok(expr) => Ok(Some(expr)),
            Err(_) if !self.is_first => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A column by its name, bare or in quotes, or an expression of columns.
    fn resolve(
        &self,
        option: &str,
        given: &SqlExpr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Expr> {
        let name = match given {
            SqlExpr::Identifier(name) => context.normalize_ident(name.clone()),
            SqlExpr::CompoundIdentifier(parts) => match parts.last() {
                Some(name) => context.normalize_ident(Ident::clone(name)),
                None => String::new(),
            },
            SqlExpr::Value(ValueWithSpan { value: Value::SingleQuotedString(name), .. }) => {
                name.clone()
            }
            expression => return context.sql_to_expr(expression.clone(), self.schema),
        };
        if self.field(&name).is_some() {
            return Ok(self.column(&name));
        }
        let columns = self.names(|_| true);
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let hint = columns_hint(option, &name, &columns);
        Err(self.mistake(format!("{} has no column '{name}'; {hint}", self.called())))
    }

    /// A text that is not a dictionary.
    fn plain_text(&self, text: Expr) -> Result<Expr> {
        Ok(match text.get_type(self.schema)? {
            DataType::Dictionary(_, values) => cast(text, *values),
            DataType::Null => cast(text, DataType::Utf8),
            _ => text,
        })
    }

    fn is_given(&self, option: &str) -> bool {
        self.names_given.iter().any(|name| name == option)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.schema.fields().iter().find(|field| field.name() == name).map(AsRef::as_ref)
    }

    fn names(&self, wanted: impl Fn(&Field) -> bool) -> Vec<String> {
        let fields = self.schema.fields().iter().filter(|field| wanted(field));
        fields.map(|field| field.name().clone()).collect()
    }

    fn column(&self, name: &str) -> Expr {
        match self.schema.qualified_field_with_unqualified_name(name) {
            Ok((qualifier, field)) => Expr::from((qualifier, field)),
            Err(_) => ident(name),
        }
    }

    fn called(&self) -> String {
        format!("the {}", self.input.name)
    }

    fn no_text(&self) -> datafusion::error::DataFusionError {
        let what = if self.input.texts == Need::Must { "texts" } else { "texts or vectors" };
        // Of files that can't be read it is their reader that tells.
        let several = by_name::texts(self.fields(), Some("id"), &self.look()).unwrap_or_default();
        self.mistake(if several.is_empty() {
            let columns = self.schema.fields().iter();
            let columns: Vec<_> =
                columns.map(|field| format!("{} {}", field.name(), field.data_type())).collect();
            format!("{} has no column of {what}; it has {}", self.called(), columns.join(", "))
        } else if let Some((_, given)) = self.given.iter().find(|(name, _)| *name == "text") {
            format!(
                "{} has no column {given}, but several columns of strings: {}; rename one in a query: {} => (SELECT … AS {given} …)",
                self.called(),
                several.join(", "),
                self.input.name
            )
        } else {
            format!(
                "{} has several columns of strings: {}; name one with text => …",
                self.called(),
                several.join(", ")
            )
        })
    }

    fn mistake(&self, message: String) -> datafusion::error::DataFusionError {
        SqlError::Statement(format!("{}: {message}", self.declaration.name)).into()
    }
}

/// The vectors that a column of text says.
fn parsed(context: &mut dyn RelationPlannerContext, texts: Expr) -> Result<Expr> {
    let parse = context.context_provider().get_function_meta("parse_vector");
    let parse = parse
        .ok_or_else(|| DataFusionError::Internal("the function parse_vector is missing".into()))?;
    Ok(parse.call(vec![texts]))
}

/// An expression as EXPLAIN shows it: columns without the name of the input.
pub(crate) fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.name.clone(),
        other => other.human_display().to_string(),
    }
}
