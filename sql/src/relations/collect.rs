//! Reads the inputs of a finding to their end. Embedding happens here, batch by batch, since the
//! vector of an input is an expression like any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::DataType;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;
use sembla_operators::{Loan, UnitVectors, host};

use super::roles::Roles;
use super::table::{Column, Table};
use crate::SqlError;
use crate::columns::vectors::Vectors;
use crate::query::{QueryHost, blocking};

/// Rows that are embedded together: enough to fill every core, few enough that progress is reported
/// and a stop is seen every second or so.
const EMBEDDED_ROWS: usize = 1024;

/// An input that can be read.
#[derive(Clone, Debug)]
pub(crate) struct InputExec {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) roles: Roles<Arc<dyn PhysicalExpr>>,
    /// The positions of the columns that go along.
    pub(crate) carried: Vec<usize>,
    /// Whether the vectors are embedded while reading.
    pub(crate) embeds: bool,
    /// Whether it is read piece by piece, since nothing is made of two of its rows.
    pub(crate) one_by_one: bool,
}

/// What one partition of an input holds.
#[derive(Default)]
struct Part {
    batches: Vec<Piece>,
    vectors: Vec<f32>,
    dimension: Option<usize>,
    /// Rows at the beginning that have no vector, while the dimension was not known.
    leading: usize,
}

/// One batch, by role.
struct Piece {
    rows: usize,
    roles: Roles<ArrayRef>,
    carried: Vec<ArrayRef>,
}

impl InputExec {
    /// Reads all partitions at once and puts their rows together in the order of the partitions.
    ///
    /// # Errors
    /// What the input or the model says, vectors of different dimensions, ids that are NULL or
    /// repeat, [`SqlError::Resources`].
    pub(crate) async fn collect(
        &self,
        context: &Arc<TaskContext>,
        host: &Arc<QueryHost>,
    ) -> Result<Table> {
        let rows = Arc::new(AtomicU64::new(0));
        let partitions = self.plan.output_partitioning().partition_count();
        let tasks: Vec<SpawnedTask<Result<Part>>> = (0..partitions)
            .map(|partition| {
                let (input, context) = (self.clone(), Arc::clone(context));
                let (host, rows) = (Arc::clone(host), Arc::clone(&rows));
                SpawnedTask::spawn(
                    async move { input.read(partition, context, &host, &rows).await },
                )
            })
            .collect();
        let mut parts = Vec::with_capacity(partitions);
        for task in tasks {
            parts.push(
                task.join_unwind()
                    .await
                    .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??,
            );
        }
        Ok(blocking(|| self.table(parts, host))?)
    }

    async fn read(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
        host: &QueryHost,
        rows: &AtomicU64,
    ) -> Result<Part> {
        let mut stream = self.plan.execute(partition, context)?;
        let mut part = Part::default();
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let step = if self.embeds { EMBEDDED_ROWS } else { batch.num_rows().max(1) };
            for start in (0..batch.num_rows()).step_by(step) {
                host::check(host).map_err(SqlError::from)?;
                let slice = batch.slice(start, step.min(batch.num_rows() - start));
                self.add(&mut part, &slice, host)?;
                let done = slice.num_rows() as u64;
                let done = rows.fetch_add(done, Ordering::Relaxed) + done;
                host.update(if self.embeds { "embedding" } else { "reading" }, done);
            }
        }
        Ok(part)
    }

    fn add(&self, part: &mut Part, batch: &RecordBatch, host: &QueryHost) -> Result<()> {
        let rows = batch.num_rows();
        let mut roles = self.roles.try_map(|role| role.evaluate(batch)?.into_array(rows))?;
        if let Some(vectors) = roles.vector.take() {
            part.add_vectors(self.name, &vectors, host)?;
        }
        let columns = batch.columns();
        let carried: Vec<ArrayRef> =
            self.carried.iter().filter_map(|position| columns.get(*position).cloned()).collect();
        let bytes = roles.all().chain(&carried).map(bytes_of).sum();
        host.keep(bytes)?;
        part.batches.push(Piece { rows, roles, carried });
        Ok(())
    }

    /// Puts the parts together.
    fn table(&self, parts: Vec<Part>, host: &QueryHost) -> Result<Table, SqlError> {
        let vectors = self.vectors(&parts, host)?;
        let pieces: Vec<Piece> = parts.into_iter().flat_map(|part| part.batches).collect();
        self.assemble(pieces, vectors, host)
    }

    /// The table of one batch, whose rows need not be told apart and have no vectors.
    ///
    /// # Errors
    /// What the columns' expressions say.
    pub(crate) fn piece(&self, batch: &RecordBatch, host: &QueryHost) -> Result<Table> {
        let rows = batch.num_rows();
        let roles = self.roles.try_map(|role| role.evaluate(batch)?.into_array(rows))?;
        let columns = batch.columns();
        let carried = self.carried.iter().filter_map(|position| columns.get(*position).cloned());
        let piece = Piece { rows, roles, carried: carried.collect() };
        Ok(self.assemble(vec![piece], UnitVectors::default(), host)?)
    }

    fn assemble(
        &self,
        pieces: Vec<Piece>,
        vectors: UnitVectors,
        host: &QueryHost,
    ) -> Result<Table, SqlError> {
        let schema = self.plan.schema();
        let type_of = |expr: &Arc<dyn PhysicalExpr>| expr.data_type(&schema);
        let types = self.roles.try_map(type_of)?;
        let column = |data_type: &DataType, of: &dyn Fn(&Piece) -> Option<ArrayRef>| {
            Column::new(data_type.clone(), pieces.iter().filter_map(of).collect())
        };
        let ids = match &types.id {
            Some(data_type) => column(data_type, &|piece| piece.roles.id.clone()),
            None => row_numbers(&pieces),
        };
        let text = types.text.as_ref().map(|t| column(t, &|piece| piece.roles.text.clone()));
        let groups = types.groups.iter().enumerate();
        let groups: Vec<Column> =
            groups.map(|(n, t)| column(t, &|piece| piece.roles.groups.get(n).cloned())).collect();
        // Chunks may be known by their documents, of which each has several.
        let documents = self.roles.extras.iter().find(|(name, _)| *name == "group_by");
        let are_documents = documents.is_some_and(|(_, by)| self.roles.id.as_ref() == Some(by));
        if !self.one_by_one && !are_documents {
            super::ids::check(self.name, &ids, &groups, host)?;
        }
        let extras = types.extras.iter().enumerate();
        let extras = extras
            .map(|(n, (name, t))| {
                let of = |piece: &Piece| piece.roles.extras.get(n).map(|(_, extra)| extra.clone());
                (*name, column(t, &of))
            })
            .collect();
        let carried = self.carried.iter().enumerate().map(|(n, position)| {
            let data_type = schema.field(*position).data_type();
            column(data_type, &|piece| piece.carried.get(n).cloned())
        });
        let carried = carried.collect();
        let roles = Roles { id: None, text, vector: None, groups, extras };
        Ok(Table::new(ids, roles, vectors, carried))
    }

    /// How many components vectors have by their type, if it says.
    fn dimension(&self) -> Option<usize> {
        let role = self.roles.vector.as_ref()?;
        match role.data_type(&self.plan.schema()).ok()? {
            DataType::FixedSizeList(_, size) => usize::try_from(size).ok().filter(|size| *size > 0),
            _ => None,
        }
    }

    fn vectors(&self, parts: &[Part], host: &QueryHost) -> Result<UnitVectors, SqlError> {
        if self.roles.vector.is_none() {
            return Ok(UnitVectors::default());
        }
        let mut dimensions = parts.iter().filter_map(|part| part.dimension);
        // Without any vector, each row has one without a direction.
        let dimension = dimensions.next().or_else(|| self.dimension()).unwrap_or(1);
        if let Some(other) = dimensions.find(|other| *other != dimension) {
            return Err(mixed(self.name, other, dimension));
        }
        let rows: usize = parts.iter().flat_map(|part| &part.batches).map(|piece| piece.rows).sum();
        let copied = Loan::new(host, rows * dimension * size_of::<f32>())?;
        let mut values = Vec::with_capacity(rows * dimension);
        for part in parts {
            values.resize(values.len() + part.leading * dimension, 0.0);
            values.extend_from_slice(&part.vectors);
        }
        drop(copied);
        Ok(UnitVectors::new(dimension, values)?)
    }
}

impl Part {
    fn add_vectors(
        &mut self,
        input: &'static str,
        array: &ArrayRef,
        host: &QueryHost,
    ) -> Result<(), SqlError> {
        let vectors = Vectors::from_array(array, false)?;
        let row = |row| vectors.row(row).filter(|vector| !vector.is_empty());
        if self.dimension.is_none() {
            self.dimension = (0..array.len()).find_map(row).map(<[f32]>::len);
        }
        let Some(dimension) = self.dimension else {
            self.leading += array.len();
            return Ok(());
        };
        host.keep(array.len() * dimension * size_of::<f32>())?;
        for vector in (0..array.len()).map(row) {
            match vector {
                Some(vector) if vector.len() == dimension => self.vectors.extend_from_slice(vector),
                Some(vector) => return Err(mixed(input, vector.len(), dimension)),
                None => self.vectors.resize(self.vectors.len() + dimension, 0.0),
            }
        }
        Ok(())
    }
}

/// Gives inputs without any vector the dimension of those that have some: nothing is similar to a
/// row without a direction, whatever its dimension.
///
/// # Errors
/// [`SqlError::Resources`].
pub(crate) fn one_dimension(
    tables: &mut [Option<Table>],
    host: &QueryHost,
) -> Result<(), SqlError> {
    let directed = |table: &Table| {
        let vectors = table.vectors();
        (0..vectors.rows()).any(|row| vectors.has_direction(row))
    };
    let known: Vec<bool> =
        tables.iter().map(|table| table.as_ref().is_some_and(directed)).collect();
    let of = |is_known: bool| {
        let tables = tables.iter().zip(&known).filter(move |(_, known)| **known == is_known);
        tables.filter_map(|(table, _)| Some(table.as_ref()?.vectors().dimension()))
    };
    let Some(dimension) = of(true).next().or_else(|| of(false).max()) else { return Ok(()) };
    for (table, known) in tables.iter_mut().zip(known) {
        let Some(table) = table.as_mut().filter(|_| !known) else { continue };
        let rows = table.vectors().rows();
        if rows > 0 && table.vectors().dimension() != dimension {
            host.keep(rows * dimension * size_of::<f32>())?;
            table.set_vectors(UnitVectors::new(dimension, vec![0.0; rows * dimension])?);
        }
    }
    Ok(())
}

/// Rejects inputs whose vectors can't be compared.
///
/// # Errors
/// [`SqlError::Data`] with the two inputs and what to do.
pub(crate) fn check_dimensions(
    finding: &str,
    inputs: &[Option<InputExec>],
    tables: &[Option<Table>],
) -> Result<(), SqlError> {
    let mut first: Option<(&InputExec, usize)> = None;
    for (input, table) in inputs.iter().zip(tables) {
        let (Some(input), Some(table)) = (input, table) else { continue };
        let vectors = table.vectors();
        if vectors.rows() == 0 || input.roles.vector.is_none() {
            continue;
        }
        let Some((other, dimension)) = first.replace((input, vectors.dimension())) else {
            continue;
        };
        if dimension != vectors.dimension() {
            let message = differ((other.name, dimension), (input.name, vectors.dimension()));
            return Err(SqlError::Data(format!("{finding}: {message}")));
        }
    }
    Ok(())
}

/// What is said of inputs whose vectors have different dimensions.
pub(crate) fn differ(first: (&str, usize), other: (&str, usize)) -> String {
    format!(
        "the vectors of the {} have {} components, but those of the {} have {}; use one model for both, with model => '…'",
        first.0, first.1, other.0, other.1
    )
}

/// The numbers of all rows, from 0.
fn row_numbers(pieces: &[Piece]) -> Column {
    let mut next = 0;
    let numbers = pieces.iter().map(|piece| {
        let start = next;
        next += piece.rows as u64;
        Arc::new(UInt64Array::from_iter_values(start..next)) as ArrayRef
    });
    Column::new(DataType::UInt64, numbers.collect())
}

fn mixed(input: &str, dimension: usize, other: usize) -> SqlError {
    SqlError::Data(format!(
        "the {input} has vectors of {other} and of {dimension} components; all must have the same number"
    ))
}

/// Bytes that a column keeps alive, near enough: those of its own rows, even where it shares its
/// memory with others.
fn bytes_of(array: &ArrayRef) -> usize {
    let views = array.as_string_view_opt().map_or(0, |views| views.total_bytes_len());
    views
        + array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}
