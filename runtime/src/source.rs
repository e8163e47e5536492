//! Where rows come from: the trait that connectors implement.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{Mark, Result};

/// The name of an input partition, unique within its source: `messages/3` for Kafka, `0` for files.
pub type Partition = Arc<str>;

/// Who reads the partitions of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Those that this instance reads.
    pub partitions: Vec<Partition>,
    /// Those that other instances read; `None` where there are some and it isn't known which.
    pub others: Option<Vec<Partition>>,
    /// Of the partitions that this instance reads, what each one is, where the source knows: it
    /// changes when a partition of the same name takes its place, as that of a topic that was
    /// deleted and created again. Positions of one mean nothing in the other.
    pub identities: BTreeMap<Partition, String>,
}

impl Assignment {
    /// This instance reads all of them.
    pub fn whole(partitions: Vec<Partition>) -> Self {
        Self { partitions, others: Some(Vec::new()), identities: BTreeMap::new() }
    }

    /// Whether no other instance reads some.
    pub fn is_whole(&self) -> bool {
        self.others.as_ref().is_some_and(Vec::is_empty)
    }
}

/// A record that can't be turned into a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where it came from.
    pub partition: Partition,
    /// Its position there: an offset in Kafka, a row number in files.
    pub position: i64,
    /// Its time in microseconds since 1970, where the source knows one.
    pub timestamp_us: Option<i64>,
    /// Its key, as it was.
    pub key: Option<Bytes>,
    /// Its raw bytes. A row that was rejected after decoding is given as JSON.
    pub payload: Option<Bytes>,
    /// Why, in one line.
    pub reason: String,
}

/// Rows of one partition, in the order of their positions.
#[derive(Clone, Debug)]
pub struct SourceBatch {
    /// Where they came from.
    pub partition: Partition,
    /// The rows, in the source's schema.
    pub rows: RecordBatch,
    /// Of each row its place among all rows of the source: the offset in Kafka, the row's number in
    /// the whole data set for files. With the partition it settles the order of rows of equal time.
    pub sequences: Vec<i64>,
    /// Records between these rows that can't be used.
    pub rejected: Vec<Rejected>,
    /// The position where reading goes on after this batch.
    pub next: i64,
    /// What a source has to know beside that number to go on there; it is committed with it. See
    /// [`Source::recall`].
    pub token: Option<String>,
    /// How far event time has come where the rows were read first; from an exchange only. They
    /// follow the rows.
    pub marks: Vec<Mark>,
    /// Bytes that were read for it.
    pub bytes: usize,
}

/// What a source has to say.
#[derive(Debug)]
pub enum SourceEvent {
    /// Some rows.
    Batch(SourceBatch),
    /// A partition that has no more rows, ever.
    End(Partition),
    /// The assignment changes. Everything that was read is committed or given up before the answer
    /// is sent, or its sender dropped; then `assigned` is called again.
    Reassign(oneshot::Sender<()>),
}

/// A source of rows. Its life: `assigned`, `start`, any number of `next`; and again from `assigned`
/// whenever the pipeline restarts from committed progress: after [`SourceEvent::Reassign`], and
/// after a failure anywhere in the pipeline. What was given out and not committed comes again.
#[async_trait]
pub trait Source: Send {
    /// The schema of its rows.
    fn schema(&self) -> SchemaRef;

    /// Waits until this instance has partitions.
    ///
    /// # Errors
    /// When the outside world fails.
    async fn assigned(&mut self) -> Result<Assignment>;

    /// The tokens that were committed with the positions, by partition, before each `start`. Only a
    /// source that gives some needs them.
    fn recall(&mut self, _tokens: &BTreeMap<Partition, String>) {}

    /// Begins to read each partition at its position; one that is not in the map begins where the
    /// source's options say, or at its beginning when the map has others (it is new then).
    ///
    /// # Errors
    /// When a position is not there any more, or the outside world fails.
    async fn start(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<()>;

    /// The next event. Dropping the future loses nothing. While nobody asks, the source stops
    /// reading ahead once its own bounded queues are full, and keeps its place in a group.
    ///
    /// # Errors
    /// When the outside world fails. `None` when every partition has ended.
    async fn next(&mut self) -> Result<Option<SourceEvent>>;

    /// How far ahead of the rows before it one row may be and still move the watermark, in
    /// microseconds; `None` for no bound. See [`crate::watermark`].
    fn max_ahead_us(&self) -> Option<i64> {
        None
    }

    /// Whether its rows are of the present, so that an event time far ahead of the clock can't be
    /// right. False for what is replayed, whose clock says nothing.
    fn is_live(&self) -> bool {
        false
    }

    /// What there is that was not read when every partition had ended at those positions, in words
    /// that follow "since then": `12 rows were added`. `None` where nothing changed. It may read
    /// all of a bounded source.
    ///
    /// # Errors
    /// When the outside world fails.
    async fn unread(&mut self, _positions: &BTreeMap<Partition, i64>) -> Result<Option<String>> {
        Ok(None)
    }

    /// Whether what comes later always lies behind its positions, as in a log. Then a pipeline of
    /// rows that had read all of it reads on from there. False where a later row may belong before
    /// an earlier one, as in files that are read in the order of time.
    fn is_log(&self) -> bool {
        false
    }

    /// How many records are known to lie ahead of what was given out, by partition; for metrics.
    fn lag(&self) -> BTreeMap<Partition, i64> {
        BTreeMap::new()
    }
}

/// Where the event time of the rows of a source comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// They have none, and can't go into windows.
    None,
    /// The column of that number: a timestamp that is never NULL.
    Column(usize),
    /// The rows come from an [exchange](crate::exchange): they have been through the row part of
    /// another pipeline, have the hidden columns as their last ones, and watermarks come as marks.
    Marks,
}

impl EventTime {
    /// The column that has it, if one does.
    pub(crate) fn column(self) -> Option<usize> {
        match self {
            Self::Column(column) => Some(column),
            Self::None | Self::Marks => None,
        }
    }
}
