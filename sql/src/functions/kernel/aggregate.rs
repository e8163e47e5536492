//! The one implementation of aggregates: each aggregate of this folder is an [`AggregateDef`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
    Volatility,
};

use crate::SqlError;
use crate::functions::declaration::Declaration;

/// Makes what takes the rows of all groups.
type ForGroups = fn(&AccumulatorArgs<'_>) -> Box<dyn GroupsAccumulator>;

/// An aggregate.
#[derive(Debug)]
pub(crate) struct AggregateDef {
    pub(crate) declaration: Declaration,
    /// The type of the result, by those of the arguments.
    pub(crate) returns: fn(&[DataType]) -> DataType,
    /// What a partial result is made of: names and types.
    pub(crate) state: fn() -> Vec<(&'static str, DataType)>,
    /// What takes the rows of one group.
    pub(crate) accumulator: fn(&AccumulatorArgs<'_>) -> Box<dyn Accumulator>,
    /// What takes the rows of all groups at once, if something does.
    pub(crate) groups: Option<ForGroups>,
    /// Whether the result is the same for every order of the rows, bit by bit.
    pub(crate) takes_any_order: bool,
}

/// An aggregate as DataFusion knows it. Two are equal if they have one name.
struct Aggregate {
    def: &'static AggregateDef,
    aliases: Vec<String>,
    signature: Signature,
    documentation: Documentation,
}

impl AggregateDef {
    /// The aggregate for a session.
    pub(crate) fn function(&'static self) -> AggregateUDF {
        AggregateUDF::from(Aggregate {
            def: self,
            aliases: self.declaration.aliases(),
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: self.declaration.documentation(),
        })
    }

    fn refuse_distinct(&self, args: &AccumulatorArgs<'_>) -> Result<(), SqlError> {
        match args.is_distinct {
            true => Err(SqlError::Statement(format!(
                "{} does not take DISTINCT",
                self.declaration.name
            ))),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl AggregateUDFImpl for Aggregate {
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
        Ok(self.def.declaration.coerced(types))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.def.declaration.check(&types.iter().collect::<Vec<_>>())?;
        Ok((self.def.returns)(types))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |(name, data_type)| {
            Arc::new(Field::new(format_state_name(args.name, name), data_type, true))
        };
        Ok((self.def.state)().into_iter().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.def.refuse_distinct(&args)?;
        Ok((self.def.accumulator)(&args))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.def.groups.is_some() && !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.def.refuse_distinct(&args)?;
        match self.def.groups {
            Some(groups) => Ok(groups(&args)),
            None => Err(DataFusionError::Internal(format!("{} takes one group", self.name()))),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        match self.def.takes_any_order {
            true => AggregateOrderSensitivity::Insensitive,
            false => AggregateOrderSensitivity::HardRequirement,
        }
    }
}
