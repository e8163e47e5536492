//! Where an instance stands in its consumer group: what the thread that serves the group, the
//! source that reads and the sink that commits know of each other.
//!
//! - *Invariant:* a lease is the right to commit for the partitions that were given with it. It
//!   ends when they are taken back, and no other lease ever has its number.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::topic_partition_list::TopicPartitionList;
use sembla_runtime::{Error, Result};
use tokio::sync::{oneshot, watch};

use super::client::blocking;
use super::consumer::MemberContext;
use super::failure::Explainer;
use super::open_transactions::Waits;
use super::positions::TopicPartition;

/// A consumer of this crate.
pub(super) type GroupConsumer = BaseConsumer<MemberContext>;

/// Where the source stands in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InGroup {
    /// It shares the partitions with other members.
    Shares,
    /// It needs all partitions, so it stands by while there is another member.
    Alone,
    /// It is no member: it looks at what is there, and nobody hears of it.
    Outside,
}

/// What the group has given.
#[derive(Debug)]
pub(super) enum Standing {
    /// Nothing, so far or any more.
    Waiting,
    /// These partitions.
    Given {
        /// The number of the lease.
        lease: u64,
        /// Sorted; not empty.
        partitions: Vec<TopicPartition>,
    },
    /// They are taken back as soon as the answer comes.
    Revoking {
        /// The number of the lease.
        lease: u64,
        /// Taken out by who passes it on.
        answer: Option<oneshot::Sender<()>>,
    },
    /// Nothing, ever.
    Failed(Error),
}

impl Standing {
    /// The lease under which a commit may be made.
    fn lease(&self) -> Option<u64> {
        match self {
            Self::Given { lease, .. } | Self::Revoking { lease, .. } => Some(*lease),
            Self::Waiting | Self::Failed(_) => None,
        }
    }
}

/// One membership, shared by all who have to do with it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) explainer: Arc<Explainer>,
    pub(super) standing: watch::Sender<Standing>,
    /// Whether rows that were read under the lease may be on their way.
    pub(super) is_reading: AtomicBool,
    /// Whether the source is gone.
    pub(super) is_stopping: AtomicBool,
    /// The offsets after the last records, as far as the client has heard.
    pub(super) ends: Mutex<BTreeMap<TopicPartition, i64>>,
    /// The partitions that stand still before an open transaction.
    pub(super) waits: Waits,
}

impl Member {
    pub(super) fn new(explainer: Arc<Explainer>) -> Self {
        Self {
            explainer,
            standing: watch::Sender::new(Standing::Waiting),
            is_reading: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            ends: Mutex::new(BTreeMap::new()),
            waits: Waits::default(),
        }
    }

    /// Gives partitions, if there are some, under a new lease.
    pub(super) fn assign(&self, partitions: Vec<TopicPartition>) {
        self.standing.send_modify(|standing| {
            if !partitions.is_empty() && !matches!(standing, Standing::Failed(_)) {
                *standing = Standing::Given { lease: next_lease(), partitions };
            }
        });
    }
}

/// A number that no lease of this process has had.
fn next_lease() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// A handle on the group of a source, for the sink that commits its offsets.
#[derive(Clone, Debug)]
pub struct Group {
    id: Arc<str>,
    membership: Arc<Mutex<Option<Membership>>>,
}

#[derive(Clone)]
struct Membership {
    member: Arc<Member>,
    consumer: Weak<GroupConsumer>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.member.standing.borrow().fmt(f)
    }
}

/// The right to commit, as it was when it was asked for.
pub(super) struct Lease {
    group: Arc<str>,
    number: u64,
    member: Arc<Member>,
    consumer: Weak<GroupConsumer>,
    /// The generation that a broker compares.
    pub(super) metadata: ConsumerGroupMetadata,
    /// The partitions that it covers.
    pub(super) partitions: Vec<TopicPartition>,
}

impl Group {
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.into(), membership: Arc::default() }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn join(&self, member: Arc<Member>, consumer: &Arc<GroupConsumer>) {
        let membership = Membership { member, consumer: Arc::downgrade(consumer) };
        *self.membership.lock().unwrap_or_else(PoisonError::into_inner) = Some(membership);
    }

    fn membership(&self) -> Result<Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| {
            Error::Bug(format!("group '{}' is used before the source has joined it", self.id))
        })
    }

    /// The consumer, while there is one. Nobody keeps it: its last owner leaves the group.
    ///
    /// # Errors
    /// [`Error::Stopped`] when the source is gone.
    pub(super) fn consumer(&self) -> Result<Arc<GroupConsumer>> {
        self.membership()?.consumer.upgrade().ok_or(Error::Stopped)
    }

    /// The right to commit for what the group has given.
    ///
    /// # Errors
    /// [`Error::Fenced`] when it has given nothing.
    pub(super) fn lease(&self) -> Result<Lease> {
        let Membership { member, consumer } = self.membership()?;
        let (number, partitions) = match &*member.standing.borrow() {
            Standing::Given { lease, partitions } => (*lease, partitions.clone()),
            Standing::Failed(error) => return Err(error.clone()),
            _ => return Err(lost(&self.id)),
        };
        let metadata = consumer
            .upgrade()
            .and_then(|consumer| consumer.group_metadata())
            .ok_or_else(|| lost(&self.id))?;
        Ok(Lease { group: Arc::clone(&self.id), number, member, consumer, metadata, partitions })
    }
}

fn lost(group: &str) -> Error {
    Error::Fenced(format!(
        "group '{group}' has taken the partitions back; reading resumes from the last commit"
    ))
}

/// Waits until a lease ends, and gives the sender that says that nothing of it is on its way.
pub(super) async fn revoked(
    sender: &watch::Sender<Standing>,
    lease: u64,
) -> Result<oneshot::Sender<()>> {
    let mut standing = sender.subscribe();
    loop {
        let mut found = None;
        sender.send_if_modified(|standing| {
            found = match standing {
                Standing::Given { lease: given, .. } if *given == lease => None,
                Standing::Failed(error) => Some(Err(error.clone())),
                Standing::Revoking { lease: revoked, answer } if *revoked == lease => {
                    answer.take().map(Ok)
                }
                // The lease ended unnoticed; nobody waits for an answer.
                _ => Some(Ok(oneshot::channel().0)),
            };
            false
        });
        if let Some(found) = found {
            return found;
        }
        standing.changed().await.map_err(|_| Error::Stopped)?;
    }
}

impl Lease {
    /// Checks that a commit may still be made under it.
    ///
    /// # Errors
    /// [`Error::Fenced`] when it has ended.
    pub(super) fn check(&self) -> Result<()> {
        match self.member.standing.borrow().lease() == Some(self.number) {
            true => Ok(()),
            false => Err(lost(&self.group)),
        }
    }

    /// Commits offsets without a transaction.
    ///
    /// # Errors
    /// [`Error::Fenced`] when the group has moved on.
    pub(super) async fn commit(&self, offsets: TopicPartitionList) -> Result<()> {
        let consumer = self.consumer.upgrade().ok_or(Error::Stopped)?;
        let explainer = Arc::clone(&self.member.explainer);
        blocking(move || {
            consumer
                .commit(&offsets, CommitMode::Sync)
                .map_err(|error| explainer.explain("committing offsets", &error))
        })
        .await
    }
}
