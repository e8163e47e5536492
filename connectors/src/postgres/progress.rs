//! How far pipelines have come, in a table beside the one that they write.
//!
//! A row is a pipeline's progress into one table. Who recovers raises its `fence`; a commit locks
//! the row first, and goes on only if the fence is its own. So an older process can't commit any
//! more, and a newer one waits until a commit that is under way has ended.

use sembla_runtime::{Error, Progress, Result};

use super::address::Address;
use super::failure::{explain, explain_commit};
use super::names::{TableName, literal};
use super::wire::{Session, WireError};

/// The progress of one pipeline into one table.
#[derive(Clone, Debug)]
pub(super) struct ProgressTable {
    /// The table of progress.
    pub(super) name: TableName,
    /// The pipeline.
    pub(super) pipeline: String,
    /// The table that is written.
    pub(super) target: String,
    /// The number under which this process may commit.
    pub(super) fence: String,
}

impl ProgressTable {
    /// Makes the table if there is none, and takes the fence; within a transaction. Gives the
    /// progress of the last commit.
    ///
    /// # Errors
    /// What the server says, and progress that can't be read.
    pub(super) async fn take(
        session: &mut Session,
        address: &Address,
        name: TableName,
        pipeline: &str,
        target: &str,
    ) -> Result<(Self, Option<Progress>)> {
        let what = format!("reading progress from table {name}");
        let failed = |error: WireError| explain(address, &what, &error);
        if super::catalogue::find(session, &name).await.map_err(failed)?.is_none() {
            let table = name.sql();
            let create = format!(
                "CREATE TABLE {table} (pipeline text NOT NULL, target text NOT NULL, fence bigint NOT NULL, \
                 epoch bigint NOT NULL DEFAULT 0, progress jsonb, updated_at timestamptz NOT NULL DEFAULT now(), \
                 PRIMARY KEY (pipeline, target))"
            );
            let comment = format!(
                "COMMENT ON TABLE {table} IS {}",
                literal(
                    "How far pipelines of Sembla have come; written in the transaction of their rows"
                )
            );
            session.execute(&[&create, &comment]).await.map_err(failed)?;
        }
        let sql = format!(
            "INSERT INTO {0} AS p (pipeline, target, fence) VALUES ($1, $2, 1) \
             ON CONFLICT (pipeline, target) DO UPDATE SET fence = p.fence + 1 \
             RETURNING fence::text, progress::text",
            name.sql()
        );
        let rows = session.query(&sql, &[Some(pipeline), Some(target)]).await.map_err(failed)?;
        let Some([Some(fence), progress]) = rows.first().map(Vec::as_slice) else {
            return Err(Error::External(format!("{what}: it gives no row")));
        };
        let progress = progress.as_deref().map(|text| read(text, pipeline, &name));
        let (pipeline, target) = (pipeline.to_string(), target.to_string());
        Ok((Self { name, pipeline, target, fence: fence.clone() }, progress))
    }

    /// Locks the row for a commit; within its transaction.
    ///
    /// # Errors
    /// [`Error::Replaced`] when another process has taken over.
    pub(super) async fn lock(&self, session: &mut Session, address: &Address) -> Result<()> {
        let what = format!("the commit of pipeline '{}'", self.pipeline);
        let sql = format!(
            "SELECT fence::text FROM {} WHERE pipeline = $1 AND target = $2 FOR UPDATE",
            self.name.sql()
        );
        let own = [Some(self.pipeline.as_str()), Some(self.target.as_str())];
        let rows = session.query(&sql, &own).await;
        let rows = rows.map_err(|error| explain_commit(address, &what, &error))?;
        match rows.first().and_then(|row| row.first()?.as_ref()) {
            Some(fence) if *fence == self.fence => Ok(()),
            Some(_) => Err(Error::Replaced(format!("{what}: another process has taken over"))),
            None => Err(Error::State(format!(
                "{what}: its row is gone from table {}, so nothing was committed; start it again to read from \
                 the beginning",
                self.name
            ))),
        }
    }

    /// Writes progress; within the transaction of a commit.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn put(
        &self,
        session: &mut Session,
        address: &Address,
        progress: &Progress,
    ) -> Result<()> {
        let text = serde_json::to_string(progress)
            .map_err(|error| Error::Bug(format!("progress has no form in JSON: {error}")))?;
        let sql = format!(
            "UPDATE {} SET epoch = $3::bigint, progress = $4::jsonb, updated_at = now() \
             WHERE pipeline = $1 AND target = $2",
            self.name.sql()
        );
        let epoch = progress.epoch.to_string();
        let values =
            [&self.pipeline, &self.target, &epoch, &text].map(|value| Some(value.as_str()));
        let what = format!("the commit of pipeline '{}'", self.pipeline);
        let put = session.query(&sql, &values).await;
        put.map(drop).map_err(|error| explain_commit(address, &what, &error))
    }
}

/// Progress as it was written; with a doubt where it can't be read.
fn read(text: &str, pipeline: &str, table: &TableName) -> Progress {
    serde_json::from_str(text).unwrap_or_else(|error| Progress {
        pipeline: pipeline.into(),
        doubt: Some(format!(
            "the progress of pipeline '{pipeline}' in table {table} can't be read ({error}); --ignore-state \
             starts over"
        )),
        ..Progress::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_that_can_not_be_read_is_doubted_not_forgotten() {
        let name = TableName::parse("table", "sembla_progress").expect("a name");
        let written = Progress { pipeline: "p".into(), epoch: 3, ..Progress::default() };
        let text = serde_json::to_string(&written).expect("JSON");
        assert_eq!(read(&text, "p", &name), written);
        let doubt = read("{\"epoch\": \"x\"}", "p", &name).doubt.expect("a doubt");
        assert!(doubt.contains("pipeline 'p' in table sembla_progress can't be read"), "{doubt}");
    }
}
