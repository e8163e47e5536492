//! Aggregates that measure results: how clusters agree with labels, how separate clusters are, how
//! scores correlate. Rows with a NULL are passed over.
//!
//! Values of labels and clusters can be of any type; they are told apart by a 64-bit hash.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, UInt64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::correlation::corr_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
};
use sembla_operators::cluster::silhouette;
use sembla_operators::evaluate::{Contingency, spearman};
use sembla_operators::{Unbounded, UnitVectors};

use super::declaration::{Declaration, Parameter};
use super::vectors::{Shape, Vectors, item_field};
use crate::SqlError;

const PARTITIONS: &[Parameter] = &[
    Parameter { name: "label", about: "What the row is, as people say. Of any type." },
    Parameter {
        name: "cluster",
        about: "The cluster that the row was found in. Of any type. COALESCE makes noise a cluster of its own.",
    },
];

const SERIES: &[Parameter] =
    &[Parameter { name: "x", about: "A number." }, Parameter { name: "y", about: "A number." }];

const SILHOUETTE: &[Parameter] = &[
    Parameter { name: "vector", about: "Vector: a list of numbers of any kind." },
    Parameter { name: "cluster", about: "The cluster of the row. Of any type." },
];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Measure {
    AdjustedRandIndex,
    NormalizedMutualInformation,
    AdjustedMutualInformation,
    /// The V-measure.
    BalancedMean,
    Homogeneity,
    Completeness,
    Purity,
    Spearman,
    Silhouette,
}

/// An aggregate that measures.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Agreement {
    declaration: Declaration,
    measure: Measure,
}

/// All functions of this file.
pub(crate) fn functions() -> Vec<AggregateUDF> {
    let partitions = [
        (
            Measure::AdjustedRandIndex,
            "adjusted_rand_index",
            "Adjusted Rand index: agreement of labels and clusters on pairs of rows, 1 at best and about 0 by chance.",
        ),
        (
            Measure::NormalizedMutualInformation,
            "normalized_mutual_info",
            "Normalised mutual information of labels and clusters, 0 to 1 (arithmetic mean of entropies).",
        ),
        (
            Measure::AdjustedMutualInformation,
            "adjusted_mutual_info",
            "Mutual information of labels and clusters beyond chance, 1 at best.",
        ),
        (Measure::BalancedMean, "v_measure", "Harmonic mean of homogeneity and completeness."),
        (
            Measure::Homogeneity,
            "homogeneity",
            "How far each cluster holds rows of one label, 0 to 1.",
        ),
        (
            Measure::Completeness,
            "completeness",
            "How far the rows of each label are in one cluster, 0 to 1.",
        ),
        (
            Measure::Purity,
            "purity",
            "Share of rows that have the most frequent label of their cluster.",
        ),
    ];
    let partitions = partitions.into_iter().map(|(measure, name, about)| {
        let example = format!(
            "> SELECT {name}(label, cluster) FROM (VALUES ('a', 1), ('a', 1), ('b', 2)) AS t(label, cluster);\n1.0"
        );
        Agreement::function(measure, name, PARTITIONS, about, &example)
    });
    let series = [
        Agreement::function(
            Measure::Spearman,
            "spearman",
            SERIES,
            "Spearman's rank correlation of two columns; NULL if one of them does not vary.",
            "> SELECT spearman(x, y) FROM (VALUES (1, 10), (2, 100), (3, 1000)) AS t(x, y);\n1.0",
        ),
        Agreement::function(
            Measure::Silhouette,
            "silhouette",
            SILHOUETTE,
            "Mean silhouette of clusters by cosine distance, -1 to 1; NULL if there are fewer than two clusters.",
            "> SELECT silhouette(v, c) FROM (VALUES ([1.0, 0.0], 1), ([0.0, 1.0], 2)) AS t(v, c);\n0.0",
        ),
    ];
    let pearson = corr_udaf().as_ref().clone().with_aliases(["pearson"]);
    partitions.chain(series).chain([pearson]).collect()
}

impl Agreement {
    fn function(
        measure: Measure,
        name: &'static str,
        parameters: &'static [Parameter],
        about: &str,
        example: &str,
    ) -> AggregateUDF {
        let about =
            format!("{about} Float64. Rows with a NULL are passed over; NULL if none is left.");
        let declaration = Declaration::new(name, parameters, 2, &about, example);
        AggregateUDF::from(Self { declaration, measure })
    }

    fn state_type(&self) -> [DataType; 2] {
        match self.measure {
            Measure::Spearman => [DataType::Float64, DataType::Float64],
            Measure::Silhouette => [DataType::Float32, DataType::UInt64],
            _ => [DataType::UInt64, DataType::UInt64],
        }
    }
}

impl AggregateUDFImpl for Agreement {
    fn name(&self) -> &str {
        self.declaration.name
    }

    fn signature(&self) -> &Signature {
        &self.declaration.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.declaration.documentation)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.declaration.check_count(types.len())?;
        match (self.measure, types) {
            (Measure::Spearman, types) => {
                if let Some(other) = types.iter().find(|t| !t.is_numeric() && !t.is_null()) {
                    let message = format!("{} takes numbers, not {other}", self.name());
                    return Err(SqlError::Statement(message).into());
                }
                Ok(vec![DataType::Float64, DataType::Float64])
            }
            (Measure::Silhouette, [vector, _]) => {
                Shape::of(self.name(), vector)?;
                Ok(types.to_vec())
            }
            _ => Ok(types.to_vec()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.declaration.check_count(types.len())?;
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let names = ["first", "second"].into_iter().zip(self.state_type());
        let field = |(name, item)| {
            let data_type = DataType::List(item_field(item));
            Arc::new(Field::new(format_state_name(args.name, name), data_type, true))
        };
        Ok(names.map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            let message = format!("{} does not take DISTINCT", self.name());
            return Err(SqlError::Statement(message).into());
        }
        Ok(match self.measure {
            Measure::Spearman => Box::new(Series::default()),
            Measure::Silhouette => Box::new(Clustered::default()),
            measure => Box::new(Partition { measure, counts: Contingency::default() }),
        })
    }
}

/// A hash of each value of a column; `None` for NULL.
fn hashes(column: &ArrayRef) -> Result<Vec<Option<u64>>> {
    let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(column))?;
    let hash = |(row, value): (usize, arrow::row::Row<'_>)| {
        let mut hasher = DefaultHasher::new();
        value.data().hash(&mut hasher);
        (!column.is_null(row) && column.data_type() != &DataType::Null).then(|| hasher.finish())
    };
    Ok(rows.iter().enumerate().map(hash).collect())
}

fn two(values: &[ArrayRef]) -> Result<(&ArrayRef, &ArrayRef)> {
    match values {
        [first, second] => Ok((first, second)),
        _ => Err(DataFusionError::Internal("a measure has two arguments".into())),
    }
}

/// Values as one list, for the state of an aggregate.
fn list(values: ArrayRef) -> Result<ScalarValue> {
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let item = item_field(values.data_type().clone());
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(item, offsets, values, None)?)))
}

/// Counts of labels and clusters.
#[derive(Debug)]
struct Partition {
    measure: Measure,
    counts: Contingency,
}

impl Accumulator for Partition {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (labels, clusters) = two(values)?;
        for pair in hashes(labels)?.into_iter().zip(hashes(clusters)?) {
            if let (Some(label), Some(cluster)) = pair {
                self.counts.add(label, cluster);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(match self.measure {
            Measure::AdjustedRandIndex => self.counts.adjusted_rand_index(),
            Measure::NormalizedMutualInformation => self.counts.normalized_mutual_information(),
            Measure::AdjustedMutualInformation => self.counts.adjusted_mutual_information(),
            Measure::BalancedMean => self.counts.v_measure(),
            Measure::Homogeneity => self.counts.homogeneity(),
            Measure::Completeness => self.counts.completeness(),
            Measure::Purity => self.counts.purity(),
            Measure::Spearman | Measure::Silhouette => None,
        }))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.bytes()
    }

    /// The cells: `[label, cluster, label, cluster, …]` and `[count, count, …]`.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let cells = || self.counts.cells();
        let pairs = cells().flat_map(|(label, cluster, _)| [label, cluster]);
        let counts = cells().map(|(_, _, count)| count);
        Ok(vec![
            list(Arc::new(UInt64Array::from_iter_values(pairs)))?,
            list(Arc::new(UInt64Array::from_iter_values(counts)))?,
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (pairs, counts) = two(states)?;
        for row in (0..pairs.len()).filter(|row| pairs.is_valid(*row)) {
            let pairs = pairs.as_list::<i32>().value(row);
            let counts = counts.as_list::<i32>().value(row);
            let (pairs, _) = pairs.as_primitive::<UInt64Type>().values().as_chunks::<2>();
            let counts = counts.as_primitive::<UInt64Type>();
            for ([label, cluster], count) in pairs.iter().zip(counts.values()) {
                self.counts.add_count(*label, *cluster, *count);
            }
        }
        Ok(())
    }
}

/// Two series of numbers.
#[derive(Debug, Default)]
struct Series {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Accumulator for Series {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (x, y) = two(values)?;
        let (x, y) = (x.as_primitive::<Float64Type>(), y.as_primitive::<Float64Type>());
        for pair in x.iter().zip(y) {
            if let (Some(x), Some(y)) = pair {
                self.x.push(x);
                self.y.push(y);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = spearman(&self.x, &self.y);
        let found = found.map_err(|error| DataFusionError::Internal(error.to_string()))?;
        Ok(ScalarValue::Float64(found))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.x.capacity() + self.y.capacity()) * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            list(Arc::new(Float64Array::from(std::mem::take(&mut self.x))))?,
            list(Arc::new(Float64Array::from(std::mem::take(&mut self.y))))?,
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (x, y) = two(states)?;
        for row in (0..x.len()).filter(|row| x.is_valid(*row)) {
            let values = [x.as_list::<i32>().value(row), y.as_list::<i32>().value(row)];
            self.update_batch(&values)?;
        }
        Ok(())
    }
}

/// Vectors and their clusters.
#[derive(Debug, Default)]
struct Clustered {
    /// Component after component.
    vectors: Vec<f32>,
    clusters: Vec<u64>,
}

impl Clustered {
    fn check(&self, added: usize, dimension: usize) -> Result<(), SqlError> {
        let known = self.vectors.len().checked_div(self.clusters.len()).unwrap_or(dimension);
        if added == 0 || known == dimension {
            return Ok(());
        }
        Err(SqlError::Data(format!(
            "silhouette: a vector of {known} components and one of {dimension} do not fit"
        )))
    }
}

impl Accumulator for Clustered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (vectors, clusters) = two(values)?;
        let vectors = Vectors::from_array(vectors, false)?;
        for (row, cluster) in hashes(clusters)?.into_iter().enumerate() {
            if let (Some(vector), Some(cluster)) = (vectors.row(row), cluster) {
                self.check(1, vector.len())?;
                self.vectors.extend_from_slice(vector);
                self.clusters.push(cluster);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(dimension) = self.vectors.len().checked_div(self.clusters.len()) else {
            return Ok(ScalarValue::Float64(None));
        };
        let mut numbers = std::collections::HashMap::new();
        let number = |cluster: &u64| {
            let next = numbers.len() as u32;
            Some(*numbers.entry(*cluster).or_insert(next))
        };
        let clusters: Vec<Option<u32>> = self.clusters.iter().map(number).collect();
        let vectors = UnitVectors::new(dimension, std::mem::take(&mut self.vectors));
        let vectors = vectors.map_err(SqlError::from)?;
        let found = silhouette(&vectors, &clusters, &Unbounded).map_err(SqlError::from)?;
        Ok(ScalarValue::Float64(found))
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.vectors.capacity() * size_of::<f32>()
            + self.clusters.capacity() * size_of::<u64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            list(Arc::new(Float32Array::from(std::mem::take(&mut self.vectors))))?,
            list(Arc::new(UInt64Array::from(std::mem::take(&mut self.clusters))))?,
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (vectors, clusters) = two(states)?;
        for row in (0..vectors.len()).filter(|row| vectors.is_valid(*row)) {
            let vectors = cast(&vectors.as_list::<i32>().value(row), &DataType::Float32)?;
            let vectors = vectors.as_primitive::<Float32Type>().values();
            let clusters = clusters.as_list::<i32>().value(row);
            let clusters = clusters.as_primitive::<UInt64Type>().values();
            let dimension = vectors.len().checked_div(clusters.len()).unwrap_or_default();
            self.check(clusters.len(), dimension)?;
            self.vectors.extend_from_slice(vectors);
            self.clusters.extend_from_slice(clusters);
        }
        Ok(())
    }
}
