//! Where results go to: the trait that connectors implement, and the progress that a commit
//! carries.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Assignment, Mark, Partition, Rejected, Result};

/// How far a pipeline has come: what the results that are committed stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The name of the pipeline.
    pub pipeline: String,
    /// The number of the commit, from 1.
    pub epoch: u64,
    /// The state file that belongs to it; `None` for a pipeline without state.
    pub state: Option<String>,
    /// By source, by partition: where reading goes on.
    #[serde(with = "crate::positions")]
    pub positions: BTreeMap<String, BTreeMap<Partition, i64>>,
    /// By source, by partition: what a source has to know beside the position, if that is not all;
    /// see [`SourceBatch::token`](crate::SourceBatch::token).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: Tokens,
    /// What these partitions are, as [`Assignment::identities`] has it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identities: Identities,
    /// Whether every bounded source had ended and every window was closed.
    pub is_complete: bool,
    /// Why it can't be taken for progress of this pipeline; it is rejected then, unless it is to be
    /// ignored. Never written down.
    #[serde(skip)]
    pub doubt: Option<String>,
}

/// By source, by partition: what stands beside a position.
pub type Tokens = BTreeMap<String, BTreeMap<String, String>>;

/// By source, by partition: what the partition is.
pub type Identities = BTreeMap<String, BTreeMap<String, String>>;

/// What is written.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// Rows of the result, in the sink's schema.
    Rows(&'a RecordBatch),
    /// Rows that came after their windows had closed, as the window's input had them.
    Late(&'a RecordBatch),
    /// Records that could not be used.
    Rejected(&'a [Rejected]),
    /// How far event time has come, after the rows before it; for a sink that takes marks.
    Marks(&'a [Mark]),
}

/// How often a result comes, whatever fails meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Exactly once.
    ExactlyOnce,
    /// At least once: after a failure some come twice.
    AtLeastOnce,
}

/// A sink. Its life: `recover`, then any number of `write` and `commit`; after an error of kind
/// [`crate::Error::Fenced`] it is `recover`ed again.
#[async_trait]
pub trait Sink: Send {
    /// Fences off earlier instances, undoes what they left uncommitted, and reads the progress that
    /// the last commit carried. `assignment` is by source.
    ///
    /// # Errors
    /// When the outside world fails, or the progress can't be read.
    async fn recover(
        &mut self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>>;

    /// Writes into what the next commit makes visible.
    ///
    /// # Errors
    /// [`crate::Error::Data`] for rows that the sink can't represent: then none of them is written,
    /// and the caller halves the batch to find those to blame. Rejected records are always written,
    /// if need be without what can't be. Other errors when the outside world fails.
    async fn write(&mut self, output: Output<'_>) -> Result<()>;

    /// Makes everything since the last commit visible, together with the progress, or nothing.
    ///
    /// # Errors
    /// [`crate::Error::Fenced`] when another instance has taken over or the outcome is unknown.
    async fn commit(&mut self, progress: &Progress) -> Result<()>;

    /// Gives up what was written since the last commit.
    ///
    /// # Errors
    /// When the outside world fails.
    async fn abort(&mut self) -> Result<()>;

    /// Whether it has a place for records that can't be used.
    fn takes_rejected(&self) -> bool;

    /// Whether it has a place for late rows.
    fn takes_late(&self) -> bool;

    /// The option that would give it a place for records that can't be used, for messages; `None`
    /// where no option does.
    fn rejected_option(&self) -> Option<&'static str> {
        None
    }

    /// Whether it takes marks: then it is the way to the pipeline that has the windows, and its
    /// rows have the hidden columns; see [`crate::exchange`].
    fn takes_marks(&self) -> bool {
        false
    }

    /// Whether its progress lies apart from its results and can be lost without them, as the
    /// committed offsets of a consumer group that expire. Then a pipeline that has committed before
    /// does not start over unasked.
    fn keeps_progress_apart(&self) -> bool {
        false
    }

    /// What it promises.
    fn promise(&self) -> Delivery;
}
