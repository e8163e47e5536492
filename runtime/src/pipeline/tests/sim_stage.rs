//! The two parts of a query: rows pass but for poison, a window gives one line that tells its rows
//! and how many were in the windows before it.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;

use super::sim_source::schema;
use super::world::Life;
use crate::stage::with_hidden_columns;
use crate::{
    ClosedWindow, Error, Pane, RejectedRow, Result, RowStage, StateTable, WindowOut, WindowStage,
};

/// The row part.
pub(super) struct SimRows(Arc<Life>);

impl SimRows {
    pub(super) fn new(life: &Arc<Life>) -> Self {
        Self(Arc::clone(life))
    }
}

fn text_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, false)]))
}

fn text(lines: Vec<String>) -> RecordBatch {
    RecordBatch::try_new(text_schema(), vec![Arc::new(StringArray::from(lines))]).expect("a column")
}

fn ids(rows: &RecordBatch) -> &Int64Array {
    rows.column(0).as_primitive::<Int64Type>()
}

#[async_trait]
impl RowStage for SimRows {
    fn schema(&self) -> SchemaRef {
        match self.0.world.case.windows {
            Some(_) => with_hidden_columns(&schema()),
            None => text_schema(),
        }
    }

    async fn run(&self, source: usize, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
        assert!(source < self.0.world.case.sources, "a source there is");
        self.0.gate("rows").await?;
        let case = &self.0.world.case;
        let is_poison =
            |id: i64| case.partitions.iter().flatten().any(|r| r.id == id && r.is_poison);
        if let Some(id) = ids(&rows).values().iter().find(|id| is_poison(**id)) {
            return Err(Error::Data(format!("id {id} is poison")));
        }
        if case.windows.is_some() {
            return Ok(vec![rows]);
        }
        Ok(vec![text(ids(&rows).values().iter().map(i64::to_string).collect())])
    }
}

/// The window part, with the number of rows it has seen as its state.
pub(super) struct SimWindows {
    life: Arc<Life>,
    before: u64,
}

impl SimWindows {
    pub(super) fn new(life: &Arc<Life>) -> Self {
        Self { life: Arc::clone(life), before: 0 }
    }
}

#[async_trait]
impl WindowStage for SimWindows {
    fn schema(&self) -> SchemaRef {
        text_schema()
    }

    async fn close(&mut self, closed: ClosedWindow) -> Result<WindowOut> {
        self.life.gate("window").await?;
        let (start, end) = (closed.window.start_us, closed.window.end_us);
        let ids: Vec<_> = closed.rows.iter().flat_map(|rows| ids(rows).values().to_vec()).collect();
        let is_rejected = |id: &i64| self.life.world.case.window_rejects.contains(id);
        let rejected = ids.iter().enumerate().filter(|(_, id)| is_rejected(id));
        let rejected = rejected.map(|(row, id)| RejectedRow {
            row: Some(row),
            content: None,
            reason: format!("the window part rejects {id}"),
        });
        let rejected: Vec<_> = rejected.collect();
        let ids: Vec<_> = ids.into_iter().filter(|id| !is_rejected(id)).collect();
        let words: Vec<_> = ids.iter().map(i64::to_string).collect();
        let mut line = format!("[{start}, {end}) {} before: {}", self.before, words.join(" "));
        if closed.pane == Pane::Early {
            line.insert_str(0, "early ");
        } else {
            self.before += ids.len() as u64;
        }
        Ok(WindowOut { batches: vec![text(vec![line])], rejected })
    }

    fn snapshot(&self) -> Result<Vec<StateTable>> {
        let bytes = self.before.to_le_bytes().to_vec().into();
        Ok(vec![StateTable { name: "before".into(), bytes }])
    }

    fn restore(&mut self, tables: &[StateTable]) -> Result<()> {
        self.before = match tables {
            [] => 0,
            [table] => {
                let bytes = table.bytes.as_ref().try_into();
                u64::from_le_bytes(bytes.map_err(|_| Error::State("not 8 bytes".into()))?)
            }
            _ => return Err(Error::State("too many tables".into())),
        };
        Ok(())
    }
}
