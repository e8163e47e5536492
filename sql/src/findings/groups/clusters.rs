//! `clusters(input)`: rows in clusters.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};

use super::clustering::{self, ALGORITHM, Clustering, K, LINKAGE, MIN_SIZE, SEED, THRESHOLD};
use crate::SqlError;
use crate::relations::declaration::{Declaration, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "clusters",
    about: "The cluster of each row: id, cluster_id (from 0, the largest first; NULL for noise and for rows without a vector), and \
            the other columns.",
    example: "SELECT cluster_id, count(*) FROM clusters('questions.parquet', k => 20) GROUP BY cluster_id",
    inputs: &[VECTORS],
    options: &[ALGORITHM, K, THRESHOLD, LINKAGE, MIN_SIZE, SEED],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Clusters {
    clustering: Clustering,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    Ok(Arc::new(Clusters { clustering: clustering::algorithm(planning.options)? }))
}

impl Finding for Clusters {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        vec![input.id_field("id"), Field::new("cluster_id", DataType::Int64, true)]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let found = clustering::cluster(table.vectors(), &self.clustering, host)?;
        emit(Found::all(table, [Arc::new(clustering::numbers(&found)) as ArrayRef])?)
    }
}
