//! CSV and JSON files in a plan: read by the readers, a stretch of a file or several files in each
//! partition, in order.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatchOptions;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::TryStreamExt;
use sembla_readers::files::{Content, Table, TableFile};
use sembla_readers::{Cancel, Range, Rows, RowsRequest};

use super::provider::Scan;
use crate::SqlError;

/// Plans the reading of files, in about so many partitions.
pub(super) fn plan(scan: &Scan<'_>, files: &[usize], partitions: usize) -> Arc<dyn ExecutionPlan> {
    let table = scan.table;
    let texts = files.iter().filter_map(|at| match table.files.get(*at) {
        Some(TableFile { content: Content::Text(survey), file, .. }) => {
            Some((*at, survey, file.bytes))
        }
        _ => None,
    });
    let texts: Vec<_> = texts.collect();
    let bytes: u64 = texts.iter().map(|(_, _, bytes)| *bytes).sum();
    let share = bytes.div_ceil(partitions.max(1) as u64).max(1);
    // A few parts more than partitions, so that these come out even.
    let mut groups: Vec<Vec<Part>> = vec![Vec::new()];
    let (mut taken, mut rows) = (0, 0);
    for (file, survey, bytes) in texts {
        rows += survey.rows;
        let wanted = usize::try_from(bytes.div_ceil(share)).unwrap_or(partitions);
        let ranges = survey.ranges(wanted.max(1));
        let each = bytes / ranges.len().max(1) as u64;
        for range in ranges {
            if taken >= share * groups.len() as u64 {
                groups.push(Vec::new());
            }
            if let Some(group) = groups.last_mut() {
                group.push(Part { file, range });
            }
            taken += each;
        }
    }
    let properties = PlanProperties::new(
        EquivalenceProperties::new(Arc::clone(&scan.schema)),
        Partitioning::UnknownPartitioning(groups.len()),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Arc::new(TextExec {
        table: Arc::clone(table),
        columns: scan.columns.clone(),
        schema: Arc::clone(&scan.schema),
        groups: groups.into_iter().map(Into::into).collect(),
        rows,
        limit: scan.limit,
        cancel: scan.cancel.clone(),
        properties: Arc::new(properties),
    })
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Its place in the table.
    file: usize,
    range: Range,
}

/// Reads text files.
#[derive(Debug)]
struct TextExec {
    table: Arc<Table>,
    /// The columns of the table that are read.
    columns: Vec<usize>,
    schema: SchemaRef,
    /// What each partition reads.
    groups: Vec<Arc<[Part]>>,
    rows: u64,
    limit: Option<usize>,
    cancel: Cancel,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for TextExec {
    fn fmt_as(&self, _: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut files: Vec<usize> =
            self.groups.iter().flat_map(|group| group.iter().map(|part| part.file)).collect();
        files.dedup();
        let name = |at: &usize| self.table.files.get(*at).map(|file| file.file.name.as_str());
        write!(out, "TextExec: files=[")?;
        const SHOWN: usize = 5;
        let shown: Vec<&str> = files.iter().take(SHOWN).filter_map(name).collect();
        let more = if files.len() > SHOWN { ", …" } else { "" };
        write!(out, "{}{more}], partitions={}", shown.join(", "), self.groups.len())?;
        let columns: Vec<&str> =
            self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(out, ", projection=[{}]", columns.join(", "))?;
        match self.limit {
            Some(limit) => write!(out, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for TextExec {
    fn name(&self) -> &str {
        "TextExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let recompute = ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(recompute))
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if args.partition().is_none() {
            let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
            let rows = self.limit.map_or(rows, |limit| limit.min(rows));
            statistics.num_rows = Precision::Exact(rows);
        }
        Ok(Arc::new(statistics))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let parts = self.groups.get(partition).cloned().unwrap_or_default();
        let reader = Reader {
            table: Arc::clone(&self.table),
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
            parts,
            next: 0,
            open: None,
            left: self.limit.unwrap_or(usize::MAX),
            batch_rows: context.session_config().batch_size().max(1),
            cancel: self.cancel.clone(),
        };
        let batches = futures::stream::try_unfold(reader, |mut reader| async move {
            // A thread is held for one batch at a time, so that readers that wait for each other
            // can't use up all of them.
            let read = tokio::task::spawn_blocking(move || {
                let batch = reader.read()?;
                Ok::<_, SqlError>(batch.map(|batch| (batch, reader)))
            });
            let read = read.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)));
            Ok::<_, DataFusionError>(read??)
        });
        let batches = batches.into_stream();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }
}

/// Reads the parts of one partition.
struct Reader {
    table: Arc<Table>,
    columns: Vec<usize>,
    schema: SchemaRef,
    parts: Arc<[Part]>,
    /// The part that is opened next.
    next: usize,
    /// The part that is read, and its file.
    open: Option<(Rows, usize)>,
    /// Rows that are still wanted.
    left: usize,
    batch_rows: usize,
    cancel: Cancel,
}

impl Reader {
    fn read(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        while self.left > 0 {
            let Some((rows, file)) = &mut self.open else {
                let Some(part) = self.parts.get(self.next).copied() else { return Ok(None) };
                self.next += 1;
                self.open = self.open(part)?.map(|rows| (rows, part.file));
                continue;
            };
            match rows.next().transpose()? {
                None => self.open = None,
                Some(batch) => {
                    let batch = batch.slice(0, batch.num_rows().min(self.left));
                    self.left -= batch.num_rows();
                    let file = *file;
                    return self.whole(&batch, file).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn open(&self, part: Part) -> Result<Option<Rows>, SqlError> {
        let Some(file) = self.table.files.get(part.file) else { return Ok(None) };
        let Content::Text(survey) = &file.content else { return Ok(None) };
        let own = self.columns.iter().zip(self.schema.fields());
        let own = own.filter(|(at, _)| !self.table.folder_columns.contains(at));
        let own: Vec<_> = own.map(|(_, field)| Arc::clone(field)).collect();
        let request = RowsRequest {
            range: Some(part.range),
            batch_rows: self.batch_rows,
            cancel: self.cancel.clone(),
            ..RowsRequest::new(survey.dialect.clone(), Arc::new(Schema::new(own)))
        };
        Ok(Some(sembla_readers::rows(file.file.open(), request)?))
    }

    /// A batch of a file as one of the table.
    fn whole(&self, batch: &RecordBatch, file: usize) -> Result<RecordBatch, SqlError> {
        let rows = batch.num_rows();
        let values = self.table.files.get(file).map(|file| file.folder_values.as_slice());
        let columns = self.columns.iter().zip(self.schema.fields());
        let columns = columns.map(|(at, field): (&usize, &Arc<Field>)| {
            let folder = self.table.folder_columns.iter().position(|folder| folder == at);
            match folder.and_then(|folder| values?.get(folder)) {
                Some(value) => sembla_readers::files::repeated(value, rows),
                None => {
                    let found = batch.column_by_name(field.name());
                    let missing = || arrow::array::new_null_array(field.data_type(), rows);
                    Ok(found.cloned().unwrap_or_else(missing))
                }
            }
        });
        let columns = columns.collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(|error| crate::error::arrow_error(&error))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| crate::error::arrow_error(&error))
    }
}
