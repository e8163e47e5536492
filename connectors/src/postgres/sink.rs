//! The sink: rows are staged as they come, and a commit moves them to their tables together with
//! the progress, in one transaction.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sembla_runtime::{Assignment, Delivery, Error, Output, Progress, Result, Sink, failpoint};

use super::address::Address;
use super::catalogue;
use super::failure::{explain, explain_commit};
use super::options::{REJECTED, SinkSettings};
use super::progress::ProgressTable;
use super::target::Target;
use super::wire::{Session, WireError, connect};
use crate::connector::{failed_before, shared_source};
use crate::rejected::{rejected_rows, rejected_schema};

/// The lock under which tables are made, so that two processes that start together don't both make
/// one: the letters "sembla" as a number.
const MAKING: &str = "126879464057953";

/// What each session sets: no wait for a lock, and no transaction left open, takes for ever.
const SETTINGS: &str = "SELECT pg_catalog.set_config('lock_timeout', '30s', false), \
                        pg_catalog.set_config('idle_in_transaction_session_timeout', '60s', false)";

/// A sink that writes rows to a table of PostgreSQL.
pub struct PostgresSink {
    settings: SinkSettings,
    rows: Target,
    rejected: Option<Target>,
    /// Known when the first late row comes, with its columns.
    late: Option<Target>,
    open: Option<Open>,
}

/// What recovery has given.
struct Open {
    session: Session,
    progress: ProgressTable,
}

impl PostgresSink {
    /// A sink for rows of a schema. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Option`] for options that don't fit the schema.
    pub(super) fn new(schema: &SchemaRef, settings: SinkSettings) -> Result<Self> {
        let rows = Target::new(settings.rows.clone(), schema, 0)?;
        let rejected = settings.rejected.clone();
        let rejected = rejected.map(|spec| Target::new(spec, &rejected_schema(), 1)).transpose()?;
        Ok(Self { settings, rows, rejected, late: None, open: None })
    }

    /// Looks whether everything is there and may be used; leaves nothing behind.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) async fn probe(mut self) -> Result<()> {
        let address = self.settings.address.clone();
        let mut session = open_session(&address).await?;
        begin(&mut session, &address).await?;
        let prepared = self.prepare(&mut session, &address).await;
        roll_back(&mut session, &address).await?;
        session.close().await;
        prepared
    }

    /// Makes or checks all tables whose columns are known; within a transaction.
    async fn prepare(&mut self, session: &mut Session, address: &Address) -> Result<()> {
        let lock = format!("SELECT pg_catalog.pg_advisory_xact_lock({MAKING})");
        let locked = session.query(&lock, &[]).await;
        locked.map_err(|error| explain(address, "preparing tables", &error))?;
        self.rows.prepare(session, address).await?;
        if let Some(rejected) = &mut self.rejected {
            rejected.prepare(session, address).await?;
        }
        Ok(())
    }

    /// Prepares the tables and their staging, and takes the fence, all or nothing. Tables that
    /// progress is about and that are gone are not made: what was committed is gone with them.
    async fn take_over(
        &mut self,
        session: &mut Session,
        pipeline: &str,
    ) -> Result<(ProgressTable, Option<Progress>)> {
        let address = self.settings.address.clone();
        begin(session, &address).await?;
        let taken = async {
            let name = self.rows.name();
            let failed = |error: WireError| explain(&address, "looking for the table", &error);
            let was_there = catalogue::find(session, name).await.map_err(failed)?.is_some();
            self.prepare(session, &address).await?;
            let full = self.rows.full_name().clone();
            let table = full.sibling(&self.settings.progress);
            let (table, mut progress) =
                ProgressTable::take(session, &address, table, pipeline, &full.to_string()).await?;
            let lost = progress.as_mut().filter(|progress| !was_there && progress.doubt.is_none());
            let is_lost = lost.is_some();
            if let Some(progress) = lost {
                progress.doubt = Some(format!(
                    "table {full} does not exist any more, and pipeline '{pipeline}' has written to it up to \
                     commit {}; bring it back, or start over with --ignore-state",
                    progress.epoch
                ));
            }
            Ok((table, progress, is_lost))
        }
        .await;
        let (table, progress, is_lost) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                // The connection may be gone; what failed first is what counts.
                let _ = roll_back(session, &address).await;
                return Err(error);
            }
        };
        if is_lost {
            // The first write makes them, if the progress is to be ignored.
            self.forget();
            roll_back(session, &address).await?;
            begin(session, &address).await?;
            let (table, _) =
                ProgressTable::take(session, &address, table.name.clone(), pipeline, &table.target)
                    .await?;
            finish(session, &address).await?;
            return Ok((table, progress));
        }
        finish(session, &address).await?;
        self.stage(session, &address).await?;
        Ok((table, progress))
    }

    async fn stage(&self, session: &mut Session, address: &Address) -> Result<()> {
        self.rows.stage(session, address).await?;
        match &self.rejected {
            Some(rejected) => rejected.stage(session, address).await,
            None => Ok(()),
        }
    }

    fn forget(&mut self) {
        self.rows.forget();
        self.rejected.iter_mut().for_each(Target::forget);
        self.late = None;
    }

    /// Makes the tables where recovery has left them out.
    async fn make_missing(&mut self, session: &mut Session) -> Result<()> {
        if self.rows.is_ready() {
            return Ok(());
        }
        let address = self.settings.address.clone();
        begin(session, &address).await?;
        self.prepare(session, &address).await?;
        finish(session, &address).await?;
        self.stage(session, &address).await
    }

    async fn write_all(&mut self, session: &mut Session, output: Output<'_>) -> Result<()> {
        self.make_missing(session).await?;
        let address = self.settings.address.clone();
        match output {
            Output::Rows(rows) => self.rows.add(session, &address, rows).await,
            Output::Rejected(records) => {
                let Some(rejected) = &mut self.rejected else {
                    return Err(Error::Bug(format!("rejected rows come without {REJECTED}")));
                };
                rejected.add(session, &address, &rejected_rows(records)?).await
            }
            Output::Late(rows) => {
                self.late_target(session, rows).await?.add(session, &address, rows).await
            }
            Output::Marks(_) => Err(Error::Bug("marks come to a table".into())),
        }
    }

    /// The table of late rows, made or checked when the first one comes.
    async fn late_target(
        &mut self,
        session: &mut Session,
        rows: &RecordBatch,
    ) -> Result<&mut Target> {
        if self.late.is_none() {
            let Some(spec) = self.settings.late.clone() else {
                return Err(Error::Bug("late rows come without late_table".into()));
            };
            let address = &self.settings.address;
            let mut target = Target::new(spec, &rows.schema(), 2)?;
            begin(session, address).await?;
            target.prepare(session, address).await?;
            finish(session, address).await?;
            target.stage(session, address).await?;
            self.late = Some(target);
        }
        self.late.as_mut().ok_or_else(|| Error::Bug("no table of late rows".into()))
    }

    fn targets(&mut self) -> impl Iterator<Item = &mut Target> {
        std::iter::once(&mut self.rows).chain(&mut self.rejected).chain(&mut self.late)
    }

    async fn commit_all(&mut self, open: &mut Open, progress: &Progress) -> Result<()> {
        self.make_missing(&mut open.session).await?;
        let address = self.settings.address.clone();
        let what = format!("the commit of pipeline '{}'", progress.pipeline);
        let failed = |error: WireError| explain_commit(&address, &what, &error);
        let session = &mut open.session;
        session.execute(&["BEGIN"]).await.map_err(failed)?;
        open.progress.lock(session, &address).await?;
        for target in self.targets() {
            target.merge(session, &address).await?;
        }
        open.progress.put(session, &address, progress).await?;
        let before = failpoint::hit("postgres.commit.before");
        before.map_err(|error| Error::Fenced(error.to_string()))?;
        session.execute(&["COMMIT"]).await.map_err(failed)?;
        self.targets().for_each(Target::merged);
        // From here on it has happened.
        let after = failpoint::hit("postgres.commit.after");
        after.map_err(|error| Error::Fenced(error.to_string()))?;
        if progress.is_complete {
            self.index(session).await?;
        }
        Ok(())
    }

    /// Makes the index that is asked for.
    async fn index(&self, session: &mut Session) -> Result<()> {
        let Some(method) = self.settings.index else { return Ok(()) };
        let table = self.rows.name();
        tracing::info!("creating the {method} index of table {table}");
        self.rows.index(session, &self.settings.address, method).await
    }

    /// Recovery's session. It is put back after a call that leaves it in order.
    fn take_open(&mut self) -> Result<Open> {
        self.open.take().ok_or_else(failed_before)
    }
}

#[async_trait]
impl Sink for PostgresSink {
    async fn recover(
        &mut self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        if let Some(source) = shared_source(assignment) {
            return Err(Error::Option(format!(
                "another instance reads part of the source '{source}', but one process writes table {}; stop the other",
                self.rows.name()
            )));
        }
        self.forget();
        if let Some(open) = self.open.take() {
            open.session.close().await;
        }
        let mut session = open_session(&self.settings.address).await?;
        let (progress, last) = self.take_over(&mut session, pipeline).await?;
        if last.as_ref().is_some_and(|last| last.is_complete && last.doubt.is_none()) {
            // A kill may have come between the last commit and the index.
            self.index(&mut session).await?;
        }
        self.open = Some(Open { session, progress });
        Ok(last)
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        let mut open = self.take_open()?;
        let written = self.write_all(&mut open.session, output).await;
        // A row that is refused leaves the session as it was.
        if written.is_ok() || matches!(written, Err(Error::Data(_))) {
            self.open = Some(open);
        }
        failpoint::hit("postgres.staged")?;
        written
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        let mut open = self.take_open()?;
        self.commit_all(&mut open, progress).await?;
        self.open = Some(open);
        Ok(())
    }

    async fn abort(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let address = self.settings.address.clone();
        for target in self.targets() {
            let cleared = target.clear(&mut open.session).await;
            cleared.map_err(|error| explain(&address, "giving up rows", &error))?;
        }
        self.open = Some(open);
        Ok(())
    }

    fn takes_rejected(&self) -> bool {
        self.rejected.is_some()
    }

    fn takes_late(&self) -> bool {
        self.settings.late.is_some()
    }

    fn rejected_option(&self) -> Option<&'static str> {
        Some(REJECTED)
    }

    fn promise(&self) -> Delivery {
        Delivery::ExactlyOnce
    }
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSink").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A session with the settings of all.
async fn open_session(address: &Address) -> Result<Session> {
    let failed = |error: WireError| explain(address, "logging in", &error);
    let mut session = connect(&address.login()).await.map_err(failed)?;
    session.query(SETTINGS, &[]).await.map_err(failed)?;
    Ok(session)
}

async fn begin(session: &mut Session, address: &Address) -> Result<()> {
    let begun = session.execute(&["BEGIN"]).await;
    begun.map_err(|error| explain(address, "beginning a transaction", &error))
}

async fn finish(session: &mut Session, address: &Address) -> Result<()> {
    let finished = session.execute(&["COMMIT"]).await;
    finished.map_err(|error| explain(address, "ending a transaction", &error))
}

async fn roll_back(session: &mut Session, address: &Address) -> Result<()> {
    let rolled_back = session.execute(&["ROLLBACK"]).await;
    rolled_back.map_err(|error| explain(address, "giving up a transaction", &error))
}
