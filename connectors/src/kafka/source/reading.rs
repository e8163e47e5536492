//! The tasks that read the partitions of a lease, and what they say.
//!
//! - *Absent:* decoding, which is the readers', and the group.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use arrow::datatypes::SchemaRef;
use sembla_runtime::{Error, Partition, Result, Source as _, SourceEvent};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{KafkaSource, Records};
use crate::formats::Decoder;
use crate::kafka::client::blocking;
use crate::kafka::open_transactions::warn_of_hidden;
use crate::kafka::positions::Places;
use crate::kafka::reader::{CaughtUp, Reader, RecordReader};

/// Batches that are decoded ahead, of all partitions together.
const BATCHES_AHEAD: usize = 2;

/// The tasks that read.
pub(super) struct Reading {
    pub(super) events: mpsc::Receiver<Result<SourceEvent>>,
    pub(super) tasks: JoinSet<()>,
    /// Why one of them has failed.
    pub(super) failed: Option<Error>,
    /// How many partitions have not ended.
    pub(super) open: usize,
    /// By partition where the pipeline goes on, and whether its reader has all there is.
    pub(super) next: BTreeMap<Partition, (i64, CaughtUp)>,
}

impl KafkaSource {
    /// Begins to read at these positions; where it is bounded, up to what is there now.
    pub(super) async fn begin(
        &mut self,
        positions: &BTreeMap<Partition, i64>,
        is_bounded: bool,
    ) -> Result<()> {
        self.stop().await;
        let (lease, partitions) =
            self.given.clone().ok_or_else(|| Error::Bug("start comes after assigned".into()))?;
        let thread = self.thread()?;
        let consumer = thread.consumer.upgrade().ok_or(Error::Stopped)?;
        let (settings, wanted) = (self.settings.clone(), positions.clone());
        let places = blocking(move || {
            let places = Places {
                consumer: &consumer,
                explainer: &settings.connection.explainer,
                start: &settings.start,
                skips_missing: settings.skips_missing,
            };
            let places = places.find(&partitions, &wanted)?;
            if is_bounded {
                warn_of_hidden(&settings.connection, &places);
            }
            Ok(places)
        })
        .await?;
        let starts = places.iter().map(|(key, place)| (key.clone(), *place)).collect();
        let queues = thread.start(lease, starts).await?;
        let (sender, events) = mpsc::channel(BATCHES_AHEAD);
        let mut reading = Reading {
            events,
            tasks: JoinSet::new(),
            failed: None,
            open: places.len(),
            next: places
                .iter()
                .map(|(key, place)| (key.name(), (place.next, CaughtUp::new())))
                .collect(),
        };
        // Without queues the lease has ended; `next` says so.
        for ((partition, place), queue) in places.into_iter().zip(queues.into_iter().flatten()) {
            let caught_up = reading.next.get(&partition.name()).map(|(_, caught_up)| caught_up);
            let caught_up = caught_up.cloned().unwrap_or_else(CaughtUp::new);
            let reader = Reader::new(
                partition,
                queue,
                place,
                is_bounded,
                match &self.records {
                    Records::Rows(columns) => {
                        RecordReader::Rows(Box::new(Decoder::new(columns, &self.options)?))
                    }
                    Records::Exchange(schema) => RecordReader::Exchange(SchemaRef::clone(schema)),
                },
                Arc::clone(&self.settings.connection.explainer),
                caught_up,
            );
            reading.tasks.spawn(reader.run(sender.clone()));
        }
        let consumer = Weak::clone(&thread.consumer);
        reading.tasks.spawn(self.ids.clone().watch(
            consumer,
            self.settings.clone(),
            sender.downgrade(),
        ));
        self.reading = Some(reading);
        Ok(())
    }

    /// Whether there are records behind these positions, in words. The broker's offsets can't say
    /// it, since markers of transactions have offsets too; so it reads until it meets one.
    pub(super) async fn come_since(
        &mut self,
        positions: &BTreeMap<Partition, i64>,
    ) -> Result<Option<String>> {
        self.begin(positions, true).await?;
        let found = loop {
            match self.next().await? {
                Some(SourceEvent::Batch(batch)) => {
                    if batch.rows.num_rows() + batch.rejected.len() > 0 {
                        break Some(format!("records were added to {}", batch.partition));
                    }
                }
                Some(SourceEvent::End(_)) => {}
                Some(SourceEvent::Reassign(answer)) => {
                    // Who asked may be gone.
                    let _ = answer.send(());
                    return Err(Error::Fenced(
                        "the group has reassigned its partitions before reading began".into(),
                    ));
                }
                None => break None,
            }
        };
        self.stop().await;
        Ok(found)
    }

    /// Stops reading; what was read ahead is given up. Waits for the readers, so that none of them
    /// takes a record that the next ones should have.
    pub(super) async fn stop(&mut self) {
        if let Some(reading) = &mut self.reading {
            reading.events.close();
            reading.tasks.shutdown().await;
        }
        self.reading = None;
    }
}
