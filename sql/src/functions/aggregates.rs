//! Aggregates over vectors: `vector_avg`, `vector_sum`, `vector_min`, `vector_max`.
//!
//! One accumulator holds the folded vectors of all groups, component after component, in f64;
//! without GROUP BY there is one group. Memory: eight bytes for each component of each group.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array};
use arrow::array::{FixedSizeListArray, Int64Array, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use sembla_operators::{DimensionMismatch, componentwise};

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::AggregateDef;
use crate::SqlError;
use crate::columns::vectors::{Vectors, item_field, mismatch};

/// How vectors become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fold {
    Avg,
    Sum,
    Min,
    Max,
}

/// The aggregate that says what is taken of each component.
macro_rules! of_each_component {
    ($name:literal, $fold:expr, $what:literal, $result:literal) => {
        AggregateDef {
            declaration: Declaration {
                name: $name,
                aliases: &[],
                parameters: &[VECTOR],
                required: 1,
                about: concat!(
                    $what,
                    " of each component over the vectors of a group, as a list of Float32 that has a fixed size if the input has. ",
                    "Vectors that are NULL or hold a NULL are skipped; NULL if none is left. Vectors of different dimension ",
                    "are an error that names both."
                ),
                example: concat!(
                    "> SELECT ",
                    $name,
                    "(v) FROM (VALUES ([1.0, 2.0]), ([3.0, 4.0])) AS t(v);\n",
                    $result
                ),
            },
            returns,
            state,
            accumulator: |args| Box::new(OneGroup(Groups::new($name, $fold, args))),
            groups: Some(|args| Box::new(Groups::new($name, $fold, args))),
            takes_any_order: true,
        }
    };
}

const VECTOR: Parameter = Parameter {
    name: "vector",
    takes: Takes::Vector,
    about: "Vector: a list of numbers of any kind, read as f32. NULLs, and vectors that hold a NULL, are ignored.",
};

pub(super) static VECTOR_AVG: AggregateDef =
    of_each_component!("vector_avg", Fold::Avg, "Mean", "[2.0, 3.0]");
pub(super) static VECTOR_SUM: AggregateDef =
    of_each_component!("vector_sum", Fold::Sum, "Sum", "[4.0, 6.0]");
pub(super) static VECTOR_MIN: AggregateDef =
    of_each_component!("vector_min", Fold::Min, "Least value", "[1.0, 2.0]");
pub(super) static VECTOR_MAX: AggregateDef =
    of_each_component!("vector_max", Fold::Max, "Greatest value", "[3.0, 4.0]");

fn returns(types: &[DataType]) -> DataType {
    let item = item_field(DataType::Float32);
    match types.first() {
        Some(DataType::FixedSizeList(_, size)) => DataType::FixedSizeList(item, *size),
        _ => DataType::List(item),
    }
}

fn state() -> Vec<(&'static str, DataType)> {
    vec![("folded", DataType::List(item_field(DataType::Float64))), ("count", DataType::Int64)]
}

/// The folded vectors of all groups.
#[derive(Debug)]
struct Groups {
    function: &'static str,
    fold: Fold,
    result: DataType,
    /// Known from the first vector on.
    dimension: Option<usize>,
    /// `groups × dimension` components.
    folded: Vec<f64>,
    /// Vectors that each group has seen.
    counts: Vec<i64>,
}

impl Groups {
    fn new(function: &'static str, fold: Fold, args: &AccumulatorArgs<'_>) -> Self {
        Self {
            function,
            fold,
            result: args.return_type().clone(),
            dimension: None,
            folded: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// Makes room for so many groups.
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        if let Some(dimension) = self.dimension {
            // NaN gives way to any number when the least or greatest is taken.
            let nothing = if matches!(self.fold, Fold::Min | Fold::Max) { f64::NAN } else { 0.0 };
            self.folded.resize(groups * dimension, nothing);
        }
    }

    /// Folds one vector, which stands for `count` of them, into a group.
    fn add<T: Copy + Into<f64>>(
        &mut self,
        group: usize,
        vector: &[T],
        count: i64,
    ) -> Result<(), SqlError> {
        let dimension = *self.dimension.get_or_insert(vector.len());
        if self.folded.len() != self.counts.len() * dimension {
            self.grow(self.counts.len());
        }
        let range = group * dimension..(group + 1) * dimension;
        let (Some(folded), Some(seen)) = (self.folded.get_mut(range), self.counts.get_mut(group))
        else {
            return Err(SqlError::Bug(format!("{}: group {group} does not exist", self.function)));
        };
        let added: Result<(), DimensionMismatch> = match self.fold {
            Fold::Avg | Fold::Sum => componentwise::add(folded, vector),
            Fold::Min => componentwise::keep_min(folded, vector),
            Fold::Max => componentwise::keep_max(folded, vector),
        };
        added.map_err(|error| mismatch(self.function, error))?;
        *seen += count;
        Ok(())
    }

    /// Takes groups out: their folded vectors and counts.
    fn take(&mut self, emit_to: EmitTo) -> (Vec<f64>, Vec<i64>) {
        let components = match emit_to {
            EmitTo::All => EmitTo::All,
            EmitTo::First(groups) => EmitTo::First(groups * self.dimension.unwrap_or_default()),
        };
        (components.take_needed(&mut self.folded), emit_to.take_needed(&mut self.counts))
    }
}

/// Which groups have a vector.
fn seen(counts: &[i64]) -> NullBuffer {
    counts.iter().map(|count| *count > 0).collect()
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let Some(array) = values.first() else { return Ok(()) };
        let vectors = Vectors::from_array(array, false)?;
        for (row, group) in group_indices.iter().enumerate() {
            let taken = opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if let Some(vector) = vectors.row(row).filter(|_| taken) {
                self.add(*group, vector, 1)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let fixed = match &self.result {
            DataType::FixedSizeList(_, size) => usize::try_from(*size).ok(),
            _ => None,
        };
        let dimension = self.dimension.or(fixed).unwrap_or_default();
        let (mut folded, counts) = self.take(emit_to);
        folded.resize(counts.len() * dimension, 0.0);
        if self.fold == Fold::Avg {
            for (vector, count) in folded.chunks_exact_mut(dimension.max(1)).zip(&counts) {
                vector.iter_mut().for_each(|component| *component /= (*count).max(1) as f64);
            }
        }
        let items = Arc::new(Float32Array::from_iter_values(folded.iter().map(|x| *x as f32)));
        let (item, nulls) = (item_field(DataType::Float32), Some(seen(&counts)));
        match &self.result {
            DataType::FixedSizeList(_, size) => {
                let array = FixedSizeListArray::try_new_with_length(
                    item,
                    *size,
                    items,
                    nulls,
                    counts.len(),
                )?;
                Ok(Arc::new(array))
            }
            _ => {
                let offsets =
                    OffsetBuffer::from_lengths(std::iter::repeat_n(dimension, counts.len()));
                Ok(Arc::new(ListArray::try_new(item, offsets, items, nulls)?))
            }
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let dimension = self.dimension.unwrap_or_default();
        let (folded, counts) = self.take(emit_to);
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(dimension, counts.len()));
        let items = Arc::new(Float64Array::from(folded));
        let item = item_field(DataType::Float64);
        Ok(vec![
            Arc::new(ListArray::try_new(item, offsets, items, Some(seen(&counts)))?),
            Arc::new(Int64Array::from(counts)),
        ])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let [folded, counts] = values else {
            return Err(DataFusionError::Internal(format!("{} has two states", self.function)));
        };
        let folded = folded.as_list::<i32>();
        let items = folded.values().as_primitive::<Float64Type>().values();
        let counts = counts.as_primitive::<Int64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            if folded.is_null(row) {
                continue;
            }
            let (start, end) =
                (folded.value_offsets()[row] as usize, folded.value_offsets()[row + 1] as usize);
            self.add(*group, &items[start..end], counts.value(row))?;
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |array| array.len());
        let mut each =
            Self { result: self.result.clone(), folded: vec![], counts: vec![], ..*self };
        let group_indices: Vec<usize> = (0..rows).collect();
        each.update_batch(values, &group_indices, opt_filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.folded.capacity() * size_of::<f64>()
            + self.counts.capacity() * size_of::<i64>()
    }
}

/// The accumulator of a query without groups.
#[derive(Debug)]
struct OneGroup(Groups);

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |array| array.len());
        self.0.update_batch(values, &vec![0; rows], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.grow(1);
        ScalarValue::try_from_array(&self.0.evaluate(EmitTo::All)?, 0)
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.grow(1);
        let state = self.0.state(EmitTo::All)?;
        state.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |array| array.len());
        self.0.merge_batch(states, &vec![0; rows], 1)
    }
}
