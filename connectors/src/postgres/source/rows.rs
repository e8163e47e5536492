//! Polls of a table, and their rows as batches of the source.

use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimeUnit;
use sembla_runtime::{Error, Partition, Rejected, Result, SourceBatch, SourceEvent};
use tokio::sync::mpsc::Sender;

use super::SourceSettings;
use super::query::{Place, Query, ROWS_MAX};
use crate::formats::{Column, fit, json_lines, schema_of};
use crate::missing::missing;
use crate::postgres::address::Address;
use crate::postgres::catalogue;
use crate::postgres::failure::explain;
use crate::postgres::names::quoted_list;
use crate::postgres::table::{Decoder, session};
use crate::postgres::wire::{Session, WireError};

/// Makes times have one form as texts, whatever the server's configuration is.
const ISO: &str = "SET datestyle = 'ISO'";
/// Makes all polls of a bounded reading see one state of the table.
const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Reads a table.
pub(super) struct Reader {
    session: Session,
    query: Query,
    columns: Vec<Column>,
    address: Address,
    what: String,
    poll: Duration,
    is_bounded: bool,
}

impl Reader {
    /// Connects, and looks at the table.
    ///
    /// # Errors
    /// A table that is not there or not as the options say, and what the server says.
    pub(super) async fn open(
        settings: &SourceSettings,
        columns: &[Column],
        is_bounded: bool,
    ) -> Result<Self> {
        let SourceSettings { address, table, key, .. } = settings;
        let what = format!("reading table {table}");
        let failed = |error: WireError| explain(address, &what, &error);
        let mut session = session(address).await?;
        session.query(ISO, &[]).await.map_err(failed)?;
        let found = catalogue::find(&mut session, table).await.map_err(failed)?;
        let Some(found) = found else {
            return Err(Error::Option(format!(
                "database '{}' at {address} has no table {table}; check its name, its schema and search_path",
                address.database()
            )));
        };
        let there = catalogue::columns(&mut session, &found).await.map_err(failed)?;
        let lag = (!is_bounded).then_some(settings.lag);
        let query = Query::new(settings, &found.name.sql(), &there, columns, lag)?;
        let mut wanted = key.clone();
        wanted.sort();
        let indexes = catalogue::unique_indexes(&mut session, &found).await.map_err(failed)?;
        if found.is_table && !indexes.contains(&wanted) {
            return Err(Error::Option(format!(
                "table {table} has no unique index over the key ({}), which tells rows of one time apart; create it with \
                 CREATE UNIQUE INDEX ON {table} ({})",
                key.join(", "),
                quoted_list(key.iter().map(String::as_str))
            )));
        }
        if is_bounded {
            session.query(ONE_MOMENT, &[]).await.map_err(failed)?;
        }
        let (address, columns) = (address.clone(), columns.to_vec());
        Ok(Self { session, query, columns, address, what, poll: settings.poll, is_bounded })
    }

    /// Polls until nobody listens, something fails, or a bounded reading is at its end.
    pub(super) async fn run(
        mut self,
        partition: Partition,
        mut position: i64,
        mut place: Option<Place>,
        events: Sender<Result<SourceEvent>>,
    ) {
        loop {
            let polled = self.poll(&partition, &mut position, &mut place, &events).await;
            match polled {
                Err(error) => {
                    let _ = events.send(Err(error)).await;
                    return;
                }
                Ok(None) => return,
                // There may be more.
                Ok(Some(rows)) if rows >= ROWS_MAX => {}
                Ok(Some(_)) if self.is_bounded => {
                    let _ = events.send(Ok(SourceEvent::End(partition))).await;
                    self.session.close().await;
                    return;
                }
                Ok(Some(_)) => tokio::select! {
                    () = tokio::time::sleep(self.poll) => {}
                    () = events.closed() => return,
                },
            }
        }
    }

    /// Reads once, and says how many rows there were; `None` where nobody listens any more.
    async fn poll(
        &mut self,
        partition: &Partition,
        position: &mut i64,
        place: &mut Option<Place>,
        events: &Sender<Result<SourceEvent>>,
    ) -> Result<Option<usize>> {
        let sql = self.query.sql(place.as_ref());
        let copied = self.session.copy_out(&sql).await;
        copied.map_err(|error| explain(&self.address, &self.what, &error))?;
        let mut decoder = Decoder::new(self.query.columns.clone());
        let (mut rows, mut is_all) = (0, false);
        while !is_all {
            let piece = self.session.copied().await;
            let piece = piece.map_err(|error| explain(&self.address, &self.what, &error))?;
            is_all = piece.is_none();
            let batch = match piece {
                Some(piece) => decoder.add(&piece),
                None => decoder.finish(),
            };
            let Some(batch) = batch.map_err(|error| self.named(error))? else { continue };
            rows += batch.num_rows();
            let last = self.last_of(&batch)?;
            let batch = self.batch(partition, *position, &batch, &last)?;
            (*position, *place) = (batch.next, Some(last));
            if events.send(Ok(SourceEvent::Batch(batch))).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }

    /// The place of the last row.
    fn last_of(&self, rows: &RecordBatch) -> Result<Place> {
        let mut texts = rows.columns().iter().skip(self.columns.len()).map(|column| {
            let text = column.as_string_opt::<i32>().filter(|texts| !texts.is_empty());
            text.map(|texts| texts.value(texts.len() - 1).to_string())
        });
        let broken = || Error::Bug("rows of a table come without their place".into());
        let updated_at = texts.next().flatten().ok_or_else(broken)?;
        let key = texts.collect::<Option<Vec<_>>>().ok_or_else(broken)?;
        Ok(Place { updated_at, key })
    }

    /// Rows as the source declares them. Those that it can't have are rejected.
    fn batch(
        &self,
        partition: &Partition,
        position: i64,
        rows: &RecordBatch,
        last: &Place,
    ) -> Result<SourceBatch> {
        let count = rows.num_rows();
        let own: Vec<usize> = (0..self.columns.len()).collect();
        let read = rows.project(&own)?;
        let (arrays, mut bad) = self.fitted(&read);
        bad.extend(missing(&schema_of(&self.columns), &arrays));
        let keep: BooleanArray = (0..count).map(|row| Some(!bad.contains_key(&row))).collect();
        let nullable =
            self.columns.iter().map(|column| Column { nullable: true, ..column.clone() });
        let all = RecordBatch::try_new(schema_of(&nullable.collect::<Vec<_>>()), arrays)?;
        let kept = filter_record_batch(&all, &keep)?;
        let kept = RecordBatch::try_new(schema_of(&self.columns), kept.columns().to_vec())?;
        let sequences = (position..).zip(keep.values().iter());
        let sequences = sequences.filter(|(_, is_kept)| *is_kept).map(|(n, _)| n).collect();
        let mut rejected = Vec::with_capacity(bad.len());
        for (row, reason) in bad {
            let payload = json_lines(&read.slice(row, 1)).ok();
            let payload = payload.map(|line| line.trim_ascii_end().to_vec().into());
            rejected.push(Rejected {
                partition: Partition::clone(partition),
                position: position.saturating_add(i64::try_from(row).unwrap_or(i64::MAX)),
                timestamp_us: None,
                key: None,
                payload,
                reason,
            });
        }
        Ok(SourceBatch {
            partition: Partition::clone(partition),
            bytes: rows.get_array_memory_size(),
            rows: kept,
            sequences,
            rejected,
            next: position.saturating_add(i64::try_from(count).unwrap_or(i64::MAX)),
            token: Some(last.token()?),
            marks: Vec::new(),
        })
    }

    /// The declared columns in their types, and the rows with a value that has no form there.
    fn fitted(
        &self,
        rows: &RecordBatch,
    ) -> (Vec<ArrayRef>, std::collections::BTreeMap<usize, String>) {
        let mut bad = std::collections::BTreeMap::new();
        let columns = self.columns.iter().zip(rows.columns());
        let arrays = columns.map(|(column, array)| {
            let whole = fit(array, column, TimeUnit::Microsecond);
            whole.unwrap_or_else(|_| {
                // Value by value, to find those to blame.
                let one = |row: usize| fit(&array.slice(row, 1), column, TimeUnit::Microsecond);
                let values = (0..array.len()).map(|row| {
                    one(row).unwrap_or_else(|reason| {
                        bad.entry(row).or_insert(reason);
                        arrow::array::new_null_array(&column.data_type, 1)
                    })
                });
                let values: Vec<ArrayRef> = values.collect();
                let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
                arrow::compute::concat(&values).unwrap_or_else(|_| {
                    arrow::array::new_null_array(&column.data_type, array.len())
                })
            })
        });
        (arrays.collect(), bad)
    }

    fn named(&self, error: Error) -> Error {
        match error {
            Error::Data(why) => Error::Data(format!("{}: {why}", self.what)),
            other => other,
        }
    }
}
