//! `online_clusters(windows)`: clusters whose ids go on from window to window.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::Host;
use sembla_operators::online::{ClusterOptions, OnlineClusters, Window};

use super::options as online_options;
use super::options::online_cluster_options;
use crate::SqlError;
use crate::relations::declaration::{Declaration, Planning, WINDOWS};
use crate::relations::finding::{Emit, Finding, Found};
use crate::relations::online::{Online, OnlineState, Windowed};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "online_clusters",
    about: "The cluster of each row, window by window: window_start, window_end, id, cluster_id (stable from window to \
            window, never reused; NULL for outliers and for rows without a vector), and the other columns.",
    example: "SELECT window_end, cluster_id, count(*) FROM online_clusters((SELECT * FROM tumble(messages, ts, INTERVAL '10 minutes'))) \
              GROUP BY window_end, cluster_id",
    inputs: &[WINDOWS],
    options: online_cluster_options!(),
    carries: true,
    takes_index: false,
    plan,
};

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    numbered("cluster_id", planning)
}

/// The finding that numbers rows in a column of that name.
///
/// # Errors
/// Options that don't go together or are out of range.
pub(crate) fn numbered(
    column: &'static str,
    planning: &Planning<'_>,
) -> Result<Arc<dyn Finding>, SqlError> {
    let options = online_options::clusters(planning.options)?;
    OnlineClusters::new(options.clone())?;
    Ok(Arc::new(Windowed(Clusters { column, options })))
}

#[derive(Debug)]
struct Clusters {
    column: &'static str,
    options: ClusterOptions,
}

impl Online for Clusters {
    fn columns(&self, input: &InputTypes) -> Vec<Field> {
        vec![input.id_field("id"), Field::new(self.column, DataType::Int64, true)]
    }

    fn begin(&self) -> Result<Box<dyn OnlineState>, SqlError> {
        Ok(Box::new(State(OnlineClusters::new(self.options.clone())?)))
    }

    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn OnlineState>, SqlError> {
        Ok(Box::new(State(OnlineClusters::from_bytes(self.options.clone(), bytes)?)))
    }
}

struct State(OnlineClusters);

impl OnlineState for State {
    fn step(
        &mut self,
        window: Window,
        table: &Table,
        host: &dyn Host,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let found = self.0.step(window, table.vectors(), host)?;
        emit(Found::all(table, [Arc::new(numbers(found.cluster_of)) as ArrayRef])?)
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn fork(&self) -> Box<dyn OnlineState> {
        Box::new(Self(self.0.clone()))
    }
}

/// Numbers of clusters or topics as a column; none is NULL.
pub(crate) fn numbers(ids: impl IntoIterator<Item = Option<u64>>) -> Int64Array {
    ids.into_iter().map(|id| id.map(|id| id as i64)).collect()
}
