//! A sink's place at a cluster: it is taken by recovery, and lost by a failure that leaves nothing
//! to go on with.
//!
//! - *Invariant:* nothing is written before recovery, and nothing is committed without the lease
//!   under which it was read.

use std::collections::BTreeMap;

use sembla_runtime::{Assignment, Error, Progress, Result, failpoint};

use super::client::drop_in_background;
use super::group::Group;
use super::session::{Opening, Session};
use super::settings::SinkSettings;
use crate::connector::failed_before;

/// The place of one sink.
pub(super) struct Seat {
    pub(super) settings: SinkSettings,
    /// By source its consumer group.
    groups: BTreeMap<String, Group>,
    session: Option<Session>,
}

impl Seat {
    pub(super) fn new(settings: SinkSettings, groups: BTreeMap<String, Group>) -> Self {
        Self { settings, groups, session: None }
    }

    /// The session, if its right to commit has not ended.
    ///
    /// # Errors
    /// [`Error::Fenced`] when there is none.
    pub(super) fn session(&mut self) -> Result<&mut Session> {
        let session = self.session.as_mut().ok_or_else(failed_before)?;
        session.check()?;
        Ok(session)
    }

    /// Fences off earlier sinks, and reads the progress.
    pub(super) async fn recover(
        &mut self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        if let Some(session) = self.session.take() {
            drop_in_background(session);
        }
        let opening = Opening { settings: &self.settings, groups: &self.groups };
        let session = opening.open(pipeline, assignment).await?;
        let last = session.last.clone();
        self.session = Some(session);
        Ok(last)
    }

    /// What came of a write.
    pub(super) fn written(&mut self, result: Result<()>) -> Result<()> {
        let result = match (result, &self.session) {
            (Ok(()), Some(session)) => session.producer.check(),
            (result, _) => result,
        };
        failpoint::hit("kafka.produce")?;
        self.ending(result)
    }

    /// Makes what was written visible, with the progress.
    pub(super) async fn commit(&mut self, progress: &Progress) -> Result<()> {
        let result = match self.session() {
            Ok(session) => session.commit(progress).await,
            Err(error) => Err(error),
        };
        self.ending(result)
    }

    /// Gives up what was written since the last commit.
    pub(super) async fn abort(&mut self) -> Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let result = session.abort().await;
        self.ending(result)
    }

    /// Ends the session after an error that leaves nothing to go on with.
    fn ending<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(Error::is_fenced) {
            self.session = None;
        }
        result
    }
}
