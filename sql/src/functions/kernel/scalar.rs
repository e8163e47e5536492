//! The one implementation of scalar functions: each function of this folder is a [`ScalarDef`], and
//! what DataFusion wants of a function is said here, once.

use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use sembla_models::CancelToken;

use crate::SqlError;
use crate::columns::images::Images;
use crate::columns::provenance::{self, Metadata};
use crate::columns::texts::{Texts, literal_text};
use crate::columns::vectors::{Vectors, item_field};
use crate::engine::Models;
use crate::functions::declaration::Declaration;
use crate::query::QueryScope;

/// A scalar function.
#[derive(Debug)]
pub(crate) struct ScalarDef {
    pub(crate) declaration: Declaration,
    /// Whether a model runs on the values of a row, which takes long.
    pub(crate) runs_model: bool,
    /// The function of DataFusion that has this name too, if one does.
    pub(crate) stands_in: Option<StandIn>,
    /// The type of the result; what literals and types show to be a mistake is found here.
    pub(crate) returns: fn(&Planned<'_>) -> Result<DataType, SqlError>,
    /// The values for [`Call::rows`] rows.
    pub(crate) values: fn(&Call<'_>) -> Result<ArrayRef>,
}

/// Which function of DataFusion a function stands in for, and for which types. For all others
/// DataFusion's own runs, by its own rules.
#[derive(Debug)]
pub(crate) struct StandIn {
    pub(crate) theirs: fn() -> Arc<ScalarUDF>,
    pub(crate) ours: fn(&DataType) -> bool,
}

/// A call when its query is planned.
pub(crate) struct Planned<'a> {
    /// The function's name, for messages.
    pub(crate) name: &'static str,
    pub(crate) models: &'a Models,
    args: &'a ReturnFieldArgs<'a>,
    /// What the field of the result says.
    says: RefCell<Metadata>,
}

impl Planned<'_> {
    /// The type of an argument, if it is given.
    pub(crate) fn type_of(&self, position: usize) -> Option<&DataType> {
        self.args.arg_fields.get(position).map(|field| field.data_type())
    }

    /// What an argument says of the model of its vectors.
    pub(crate) fn provenance(&self, position: usize) -> Metadata {
        let field = self.args.arg_fields.get(position);
        field.map(|field| provenance::said(field.metadata())).unwrap_or_default()
    }

    /// Has the field of the result say where its vectors come from.
    pub(crate) fn says(&self, provenance: Metadata) {
        self.says.replace(provenance);
    }

    /// Rejects two vectors of different models.
    ///
    /// # Errors
    /// [`SqlError::Statement`] that names both.
    pub(crate) fn refuse_two_models(&self) -> Result<(), SqlError> {
        match provenance::different(&self.provenance(0), &self.provenance(1)) {
            Some((one, other)) => Err(SqlError::Statement(format!(
                "{}: the vectors are of {one} and {other}, which can't be compared; embed both with one model",
                self.name
            ))),
            None => Ok(()),
        }
    }

    /// The value of an argument, if it is given and a literal.
    pub(crate) fn constant(&self, position: usize) -> Option<&ScalarValue> {
        self.args.scalar_arguments.get(position).copied().flatten()
    }

    /// The text of an argument that must be a literal; the outer `None` where it is not given, the
    /// inner one where it is NULL.
    ///
    /// # Errors
    /// [`SqlError::Statement`] when the argument is not a literal or not a text.
    pub(crate) fn literal(
        &self,
        what: &str,
        position: usize,
    ) -> Result<Option<Option<&str>>, SqlError> {
        match self.args.scalar_arguments.get(position) {
            None => Ok(None),
            Some(Some(value)) => literal_text(what, value).map(Some),
            Some(None) => Err(not_literal(what)),
        }
    }
}

/// A call while its query runs.
pub(crate) struct Call<'a> {
    /// The function's name, for messages.
    pub(crate) name: &'static str,
    pub(crate) models: &'a Models,
    /// What stops the query.
    pub(crate) cancel: CancelToken,
    /// Rows that are asked for: 1 where all arguments are constants.
    pub(crate) rows: usize,
    args: &'a ScalarFunctionArgs,
}

impl Call<'_> {
    /// The planned type of the result.
    pub(crate) fn result(&self) -> &DataType {
        self.args.return_type()
    }

    /// An argument that is a text.
    ///
    /// # Errors
    /// When it is missing or no text.
    pub(crate) fn texts(&self, position: usize) -> Result<Texts> {
        Texts::new(self.arg(position)?)
    }

    /// An argument that is an image.
    ///
    /// # Errors
    /// When it is missing, or neither bytes nor a text.
    pub(crate) fn images(&self, position: usize) -> Result<Images> {
        Images::new(self.arg(position)?)
    }

    /// The type of an argument, if it is given.
    pub(crate) fn type_of(&self, position: usize) -> Option<&DataType> {
        self.args.arg_fields.get(position).map(|field| field.data_type())
    }

    /// The value of an argument, if it is given and a literal.
    pub(crate) fn constant(&self, position: usize) -> Option<&ScalarValue> {
        match self.args.args.get(position) {
            Some(ColumnarValue::Scalar(value)) => Some(value),
            _ => None,
        }
    }

    /// An argument that is a vector.
    ///
    /// # Errors
    /// When it is missing or no vector.
    pub(crate) fn vectors(&self, position: usize) -> Result<Vectors> {
        Vectors::new(self.arg(position)?)
    }

    /// The same for one that may be left out.
    ///
    /// # Errors
    /// When it is not a vector.
    pub(crate) fn optional_vectors(&self, position: usize) -> Result<Option<Vectors>> {
        self.args.args.get(position).map(Vectors::new).transpose()
    }

    /// An argument as a column of [`Call::rows`] rows.
    ///
    /// # Errors
    /// When it is missing.
    pub(crate) fn array(&self, position: usize) -> Result<ArrayRef> {
        self.arg(position)?.to_array(self.rows)
    }

    /// The same as [`Planned::literal`].
    ///
    /// # Errors
    /// [`SqlError::Statement`] when the argument is not a literal or not a text.
    pub(crate) fn literal(
        &self,
        what: &str,
        position: usize,
    ) -> Result<Option<Option<&str>>, SqlError> {
        match self.args.args.get(position) {
            None => Ok(None),
            Some(ColumnarValue::Scalar(value)) => literal_text(what, value).map(Some),
            Some(ColumnarValue::Array(_)) => Err(not_literal(what)),
        }
    }

    fn arg(&self, position: usize) -> Result<&ColumnarValue> {
        self.args.args.get(position).ok_or_else(|| {
            DataFusionError::Internal(format!("{} lacks argument {position}", self.name))
        })
    }
}

fn not_literal(what: &str) -> SqlError {
    SqlError::Statement(format!("{what} must be a literal"))
}

/// Whether an expression is the call of a function that runs a model.
pub(crate) fn runs_model(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => {
            let function = call.func.inner().downcast_ref::<Function>();
            function.is_some_and(|function| function.def.runs_model)
        }
        _ => false,
    }
}

/// A function of a session. Two are equal if they have one name and look their models up in the
/// same place.
struct Function {
    def: &'static ScalarDef,
    models: Arc<Models>,
    /// DataFusion's function of that name.
    theirs: Option<Arc<ScalarUDF>>,
    aliases: Vec<String>,
    signature: Signature,
    documentation: Documentation,
}

impl ScalarDef {
    /// The function for a session with these models.
    pub(crate) fn function(&'static self, models: &Arc<Models>) -> ScalarUDF {
        let theirs = self.stands_in.as_ref().map(|stands_in| (stands_in.theirs)());
        let (aliases, documentation) = match &theirs {
            Some(theirs) => (theirs.aliases().to_vec(), theirs.documentation().cloned()),
            None => (self.declaration.aliases(), None),
        };
        ScalarUDF::from(Function {
            def: self,
            models: Arc::clone(models),
            theirs,
            aliases,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: documentation.unwrap_or_else(|| self.declaration.documentation()),
        })
    }
}

impl Function {
    /// DataFusion's function, if it is the one for these types.
    fn theirs<'a>(&self, mut types: impl Iterator<Item = &'a DataType>) -> Option<&ScalarUDF> {
        let stands_in = self.def.stands_in.as_ref()?;
        self.theirs.as_deref().filter(|_| !types.any(stands_in.ours))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && Arc::ptr_eq(&self.models, &other.models)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
        Arc::as_ptr(&self.models).hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.def.declaration.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.theirs(types.iter()) {
            Some(theirs) => {
                Ok(theirs.coerce_types(types)?.into_iter().map(with_named_item).collect())
            }
            None => Ok(self.def.declaration.coerced(types)),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        let name = self.name();
        Err(DataFusionError::Internal(format!("the type of {name} depends on its arguments")))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<&DataType> = args.arg_fields.iter().map(|field| field.data_type()).collect();
        if let Some(theirs) = self.theirs(types.iter().copied()) {
            return theirs.return_field_from_args(args);
        }
        let declaration = &self.def.declaration;
        declaration.check(&types)?;
        let (name, says) = (declaration.name, RefCell::default());
        let planned = Planned { name, models: &self.models, args: &args, says };
        let result = (self.def.returns)(&planned)?;
        Ok(Arc::new(Field::new(name, result, true).with_metadata(planned.says.into_inner())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(theirs) = self.theirs(args.arg_fields.iter().map(|field| field.data_type())) {
            return theirs.invoke_with_args(args);
        }
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let call = Call {
            name: self.def.declaration.name,
            models: &self.models,
            cancel: QueryScope::of(&args.config_options).cancel,
            rows: if is_constant { 1 } else { args.number_rows },
            args: &args,
        };
        let values = (self.def.values)(&call)?;
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}

/// A type with the items of lists named as DataFusion names those of its results. Its functions
/// plan with the name that the argument's item has, which pyarrow, pandas and polars call
/// `element`, and give lists whose item is called `item`.
fn with_named_item(data_type: DataType) -> DataType {
    match data_type {
        DataType::List(item) => DataType::List(item_field(item.data_type().clone())),
        DataType::LargeList(item) => DataType::LargeList(item_field(item.data_type().clone())),
        other => other,
    }
}
