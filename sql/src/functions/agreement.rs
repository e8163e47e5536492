//! Aggregates that measure results: how clusters agree with labels, how separate clusters are, how
//! scores correlate. Rows with a NULL are skipped.
//!
//! Values of labels and clusters can be of any type; they are told apart by a 64-bit hash.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, UInt64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::correlation::corr_udaf;
use datafusion::logical_expr::{Accumulator, AggregateUDF};
use sembla_operators::cluster::silhouette;
use sembla_operators::evaluate::{Contingency, spearman};
use sembla_operators::{Unbounded, UnitVectors};

use super::declaration::{Declaration, Parameter, Takes};
use super::kernel::AggregateDef;
use crate::SqlError;
use crate::columns::vectors::{Vectors, item_field};

/// What every one of them says of NULLs.
macro_rules! about {
    ($text:literal) => {
        concat!($text, " Float64. Rows with a NULL are skipped; NULL if none is left.")
    };
}

/// The aggregate that compares labels with clusters by a function of their counts.
macro_rules! of_partitions {
    ($name:literal, $measure:expr, $about:literal) => {
        AggregateDef {
            declaration: Declaration {
                name: $name,
                aliases: &[],
                parameters: PARTITIONS,
                required: 2,
                about: about!($about),
                example: concat!(
                    "> SELECT ",
                    $name,
                    "(label, cluster) FROM (VALUES ('a', 1), ('a', 1), ('b', 2)) AS t(label, cluster);\n1.0"
                ),
            },
            returns: |_| DataType::Float64,
            state: || state(DataType::UInt64, DataType::UInt64),
            accumulator: |_| {
                Box::new(Partition { measure: $measure, counts: Contingency::default() })
            },
            groups: None,
            takes_any_order: false,
        }
    };
}

const PARTITIONS: &[Parameter] = &[
    Parameter {
        name: "label",
        takes: Takes::Any,
        about: "The true class of the row. Of any type.",
    },
    Parameter {
        name: "cluster",
        takes: Takes::Any,
        about: "The cluster that the row was assigned to. Of any type. COALESCE makes noise a cluster of its own.",
    },
];

pub(super) static ADJUSTED_RAND_INDEX: AggregateDef = of_partitions!(
    "adjusted_rand_index",
    Contingency::adjusted_rand_index,
    "Adjusted Rand index: agreement of labels and clusters on pairs of rows, 1 at best and about 0 by chance."
);
pub(super) static NORMALIZED_MUTUAL_INFO: AggregateDef = of_partitions!(
    "normalized_mutual_info",
    Contingency::normalized_mutual_information,
    "Normalised mutual information of labels and clusters, 0 to 1 (arithmetic mean of entropies)."
);
pub(super) static ADJUSTED_MUTUAL_INFO: AggregateDef = of_partitions!(
    "adjusted_mutual_info",
    Contingency::adjusted_mutual_information,
    "Mutual information of labels and clusters beyond chance, 1 at best."
);
pub(super) static V_MEASURE: AggregateDef = of_partitions!(
    "v_measure",
    Contingency::v_measure,
    "Harmonic mean of homogeneity and completeness."
);
pub(super) static HOMOGENEITY: AggregateDef = of_partitions!(
    "homogeneity",
    Contingency::homogeneity,
    "How far each cluster holds rows of one label, 0 to 1."
);
pub(super) static COMPLETENESS: AggregateDef = of_partitions!(
    "completeness",
    Contingency::completeness,
    "How far the rows of each label are in one cluster, 0 to 1."
);
pub(super) static PURITY: AggregateDef = of_partitions!(
    "purity",
    Contingency::purity,
    "Share of rows that have the most frequent label of their cluster."
);

pub(super) static SPEARMAN: AggregateDef = AggregateDef {
    declaration: Declaration {
        name: "spearman",
        aliases: &[],
        parameters: &[
            Parameter { name: "x", takes: Takes::Number, about: "A number." },
            Parameter { name: "y", takes: Takes::Number, about: "A number." },
        ],
        required: 2,
        about: about!(
            "Spearman's rank correlation of two columns; NULL if one of them does not vary."
        ),
        example: "> SELECT spearman(x, y) FROM (VALUES (1, 10), (2, 100), (3, 1000)) AS t(x, y);\n1.0",
    },
    returns: |_| DataType::Float64,
    state: || state(DataType::Float64, DataType::Float64),
    accumulator: |_| Box::new(Series::default()),
    groups: None,
    takes_any_order: false,
};

pub(super) static SILHOUETTE: AggregateDef = AggregateDef {
    declaration: Declaration {
        name: "silhouette",
        aliases: &[],
        parameters: &[
            Parameter {
                name: "vector",
                takes: Takes::Vector,
                about: "Vector: a list of numbers of any kind.",
            },
            Parameter {
                name: "cluster",
                takes: Takes::Any,
                about: "The cluster of the row. Of any type.",
            },
        ],
        required: 2,
        about: about!(
            "Mean silhouette of clusters by cosine distance, -1 to 1; NULL if there are fewer than two clusters."
        ),
        example: "> SELECT silhouette(v, c) FROM (VALUES ([1.0, 0.0], 1), ([0.0, 1.0], 2)) AS t(v, c);\n0.0",
    },
    returns: |_| DataType::Float64,
    state: || state(DataType::Float32, DataType::UInt64),
    accumulator: |_| Box::new(Clustered::default()),
    groups: None,
    takes_any_order: false,
};

/// DataFusion's correlation under the name that Spearman's stands beside.
pub(super) fn pearson() -> AggregateUDF {
    corr_udaf().as_ref().clone().with_aliases(["pearson"])
}

/// Two lists of values.
fn state(first: DataType, second: DataType) -> Vec<(&'static str, DataType)> {
    let list = |item| DataType::List(item_field(item));
    vec![("first", list(first)), ("second", list(second))]
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
    measure: fn(&Contingency) -> Option<f64>,
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
        Ok(ScalarValue::Float64((self.measure)(&self.counts)))
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
            "silhouette: the vectors have {known} and {dimension} components; they must have the same number"
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
