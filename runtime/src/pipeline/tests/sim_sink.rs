//! A sink that commits all or nothing, and a predecessor that is fenced off.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use async_trait::async_trait;

use super::oracle::Slowness;
use super::world::Life;
use crate::{Assignment, Delivery, Error, Output, Progress, Result, Sink};

/// What one commit made visible.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    pub(super) progress: Progress,
    /// Each row as text.
    pub(super) rows: Vec<String>,
    pub(super) late: usize,
    pub(super) rejected: Vec<String>,
}

/// The sink of a life.
pub(super) struct SimSink {
    life: Arc<Life>,
    /// What the next commit makes visible.
    open: Committed,
}

impl SimSink {
    pub(super) fn new(life: &Arc<Life>) -> Self {
        Self { life: Arc::clone(life), open: Committed::default() }
    }
}

#[async_trait]
impl Sink for SimSink {
    async fn recover(
        &mut self,
        _pipeline: &str,
        _assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        self.life.gate("sink.recover").await?;
        self.open = Committed::default();
        let durable = self.life.world.durable();
        Ok(durable.committed.last().map(|commit| commit.progress.clone()))
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        self.life.gate("sink.write").await?;
        match self.life.world.case.slowness {
            Slowness::Yields(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Slowness::FirstWrite(time) => {
                if self.life.world.durable().rows_written == 0 {
                    tokio::time::sleep(time).await;
                }
            }
        }
        if let Output::Rows(rows) = output {
            let refused = &self.life.world.case.sink_refuses;
            let refused: Vec<_> = refused.iter().map(i64::to_string).collect();
            if let Some(line) = lines(rows).iter().find(|line| refused.contains(line)) {
                return Err(Error::Data(format!("the sink can't write {line}")));
            }
        }
        match output {
            Output::Rows(rows) => self.open.rows.extend(lines(rows)),
            Output::Late(rows) => self.open.late += rows.num_rows(),
            Output::Marks(_) => unreachable!("it is no exchange"),
            Output::Rejected(records) => self.open.rejected.extend(records.iter().map(|record| {
                let (partition, position) = (&record.partition, record.position);
                let time = record.timestamp_us.unwrap_or_default();
                let row = record.payload.as_ref().map(|json| serde_json::from_slice(json));
                let row: serde_json::Value = row.expect("the row").expect("JSON");
                format!("{partition} {position} {time} id {}: {}", row["id"], record.reason)
            })),
        }
        if let Output::Rows(rows) = output {
            self.life.world.durable().rows_written += rows.num_rows() as u64;
        }
        Ok(())
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        self.life.gate("sink.commit").await?;
        {
            let mut durable = self.life.world.durable();
            let last = durable.committed.last().map_or(0, |commit| commit.progress.epoch);
            assert_eq!(progress.epoch, last + 1, "epochs count commits");
            if let Some(state) = &progress.state {
                assert!(durable.files.contains_key(state), "the state is there before the commit");
            }
            let mut commit = std::mem::take(&mut self.open);
            commit.progress = progress.clone();
            durable.committed.push(commit);
        }
        self.life.gate("sink.commit.done").await
    }

    async fn abort(&mut self) -> Result<()> {
        self.life.gate("sink.abort").await?;
        self.open = Committed::default();
        Ok(())
    }

    fn takes_rejected(&self) -> bool {
        self.life.world.case.has_dead_letters
    }

    fn takes_late(&self) -> bool {
        true
    }

    fn keeps_progress_apart(&self) -> bool {
        true
    }

    fn rejected_option(&self) -> Option<&'static str> {
        Some("letters_to")
    }

    fn promise(&self) -> Delivery {
        Delivery::ExactlyOnce
    }
}

/// The one column of text.
fn lines(rows: &RecordBatch) -> Vec<String> {
    rows.column(0).as_string::<i32>().iter().flatten().map(String::from).collect()
}
