//! A static table as a stream: its rows in the order of time, dealt to partitions, at full speed
//! or at a multiple of real time.
//!
//! Who has the table gives a function that reads it in the order of the time column with the number
//! of each row; the replay deals row n to partition n modulo N.
//!
//! - *Invariant:* a row's sequence is its number in the whole table, so results don't depend on the
//!   number of partitions.
//! - *Invariant:* a partition's position is the number of the first row that it hasn't given; it
//!   goes on from there, and rows before it are read over.
//! - *Absent:* reading files, and sorting.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, StructArray, UInt64Array,
};
use arrow::compute::{cast, take_arrays};
use arrow::datatypes::{
    DataType, Field, Fields, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use sembla_runtime::{
    Assignment, Error, Partition, Rejected, Result, Source, SourceBatch, SourceEvent, row_json,
};
use tokio::time::Instant;

use crate::max_ahead::{MAX_AHEAD, max_ahead_us};
use crate::missing::missing;
use crate::options::{Kind, OptionDef, Options};

/// The options of a replay, to be put beside those of what is replayed.
pub const REPLAY_OPTIONS: &[OptionDef] = &[
    OptionDef::new("speed", Kind::Text, "'max', or a multiple of real time such as '60' or '0.5'")
        .or("max"),
    OptionDef::new(
        "partitions",
        Kind::between(1, PARTITIONS_MAX),
        "number of partitions to distribute the rows over",
    )
    .or("1")
    .decides(),
    MAX_AHEAD,
];

/// Partitions of a replay.
const PARTITIONS_MAX: u64 = 1024;
/// Rows closer in time than this to the next pause are given without one.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Reads a table in the order of time, from the row with that number on. Batches have the source's
/// columns, then one `Int64`, the row's number in the whole table, and optionally one
/// [`unreadable`], which is NULL for a row that could be read. Numbers only grow. Rows before the
/// asked one may be given too; they are skipped.
pub type RowsFrom = Arc<dyn Fn(i64) -> BoxStream<'static, Result<RecordBatch>> + Send + Sync>;

/// The fields of the column that tells what is known of a row that can't be read.
static UNREADABLE: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("file", DataType::Utf8, false),
        Field::new("line", DataType::Int64, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("bytes", DataType::Binary, false),
    ])
});

/// The type of the column that tells what is known of a row that can't be read: a struct of its
/// `file`, the `line` on which it begins from 1, the `reason` in one line, and its `bytes`.
pub fn unreadable() -> DataType {
    DataType::Struct(UNREADABLE.clone())
}

/// The rows of a batch that can't be read, as the dead letters take them.
struct Unreadable<'a> {
    columns: Option<(&'a StructArray, [&'a ArrayRef; 4])>,
}

impl<'a> Unreadable<'a> {
    fn of(column: Option<&'a ArrayRef>) -> Self {
        let rows = column.and_then(|column| column.as_struct_opt());
        let columns = rows.and_then(|rows| {
            let columns = rows.columns().iter().collect::<Vec<_>>().try_into().ok()?;
            Some((rows, columns))
        });
        Self { columns }
    }

    fn get(&self, row: usize) -> Option<Rejected> {
        let (rows, [file, line, reason, bytes]) = self.columns.as_ref()?;
        if rows.is_null(row) {
            return None;
        }
        Some(Rejected {
            partition: file.as_string_opt::<i32>()?.value(row).into(),
            position: line.as_primitive_opt::<Int64Type>()?.value(row),
            timestamp_us: None,
            key: None,
            payload: Some(Bytes::copy_from_slice(bytes.as_binary_opt::<i32>()?.value(row))),
            reason: reason.as_string_opt::<i32>()?.value(row).into(),
        })
    }
}

/// How fast rows come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as they can be read.
    Max,
    /// So many seconds of the time column in a second.
    TimesReal(f64),
}

impl Speed {
    /// What the option `speed` says.
    ///
    /// ```
    /// use sembla_connectors::replay::Speed;
    ///
    /// assert_eq!(Speed::parse("60"), Ok(Speed::TimesReal(60.0)));
    /// assert_eq!(Speed::parse("max"), Ok(Speed::Max));
    /// ```
    ///
    /// # Errors
    /// [`Error::Option`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Self::Max);
        }
        match text.trim().parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Self::TimesReal(factor)),
            _ => Err(Error::Option(format!(
                "speed must be 'max' or a multiple of real time > 0 such as '60', got '{text}'"
            ))),
        }
    }
}

/// When rows are due. Pure, so that it can be tested without waiting.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The time of the first row in microseconds.
    origin_us: i64,
    factor: f64,
}

impl Pace {
    /// How long after the beginning a row of that time is due.
    fn due(self, time_us: i64) -> Duration {
        let micros = time_us.saturating_sub(self.origin_us).max(0) as f64 / self.factor;
        Duration::from_secs_f64(micros.min(1e18) / 1e6)
    }

    /// How many of these rows, at least one, are due so long after the beginning.
    fn count(self, times: &[Option<i64>], elapsed: Duration) -> usize {
        let until = elapsed + PAUSE_MIN;
        let due = times.iter().take_while(|time| time.is_none_or(|time| self.due(time) <= until));
        due.count().max(1)
    }
}

/// A table as a bounded source. It holds the batch that is being dealt; with a speed also those
/// that were read and are not due.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use futures::StreamExt;
/// use sembla_connectors::options::Options;
/// use sembla_connectors::replay::{REPLAY_OPTIONS, ReplaySource, RowsFrom};
/// use sembla_runtime::{Source, SourceEvent};
///
/// let column = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
/// let rows = RecordBatch::try_from_iter([("id", column(vec![5, 6]))])?;
/// let numbered =
///     RecordBatch::try_from_iter([("id", column(vec![5, 6])), ("n", column(vec![0, 1]))])?;
/// let rows_from: RowsFrom =
///     Arc::new(move |_| futures::stream::iter([Ok(numbered.clone())]).boxed());
/// let options = Options::read("a table", REPLAY_OPTIONS, &[])?;
/// let mut replay = ReplaySource::new(rows.schema(), rows_from, None, &options)?;
/// let first = futures::executor::block_on(async {
///     replay.assigned().await?;
///     replay.start(&Default::default()).await?;
///     replay.next().await
/// })?;
/// assert!(matches!(first, Some(SourceEvent::Batch(batch)) if batch.sequences == [0, 1]));
/// # Ok::<(), sembla_runtime::Error>(())
/// ```
pub struct ReplaySource {
    schema: SchemaRef,
    rows_from: RowsFrom,
    partitions: Vec<Partition>,
    max_ahead_us: Option<i64>,
    /// Whether the rows never end.
    is_endless: bool,
    /// The place of the time column, which a speed needs.
    time_column: Option<usize>,
    speed: Speed,
    /// Of each partition the number of its first row that wasn't given.
    next: Vec<i64>,
    rows: Option<BoxStream<'static, Result<RecordBatch>>>,
    ready: VecDeque<SourceEvent>,
    /// Read, but not due yet.
    waiting: VecDeque<RecordBatch>,
    /// When the replay began, and how its rows follow.
    clock: Option<(Instant, Pace)>,
}

impl ReplaySource {
    /// A replay by the options of [`REPLAY_OPTIONS`]. `schema` is that of the rows without their
    /// number; `time_column` is the column whose times decide the pace.
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be.
    pub fn new(
        schema: SchemaRef,
        rows_from: RowsFrom,
        time_column: Option<&str>,
        options: &Options,
    ) -> Result<Self> {
        let speed = Speed::parse(options.text("speed")?)?;
        let count = options.count("partitions")?;
        let time_column = time_column
            .map(|name| {
                let place = schema.index_of(name).map_err(|_| {
                    Error::Option(format!("{} has no time column '{name}'", options.what()))
                })?;
                match schema.field(place).data_type() {
                    DataType::Timestamp(..) => Ok(place),
                    other => Err(Error::Option(format!(
                        "the time column '{name}' must be a TIMESTAMP, got {other}"
                    ))),
                }
            })
            .transpose()?;
        if speed != Speed::Max && time_column.is_none() {
            return Err(Error::Option(
                "a speed other than 'max' needs the source to have a time column; declare it with \
                 WATERMARK FOR"
                    .into(),
            ));
        }
        let partitions: Vec<Partition> = (0..count).map(|n| n.to_string().into()).collect();
        Ok(Self {
            schema,
            rows_from,
            next: vec![0; partitions.len()],
            is_endless: false,
            partitions,
            max_ahead_us: max_ahead_us(options)?,
            time_column,
            speed,
            rows: None,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            clock: None,
        })
    }

    /// The same for a table that never ends.
    #[must_use]
    pub fn endless(self) -> Self {
        Self { is_endless: true, ..self }
    }

    /// Deals a batch to the partitions, without the rows that were given before.
    fn deal(&mut self, batch: &RecordBatch) -> Result<()> {
        let width = self.schema.fields().len();
        let numbers = self.numbers(batch).cloned().ok_or_else(|| {
            Error::Bug("replayed rows have no numbers behind their columns".into())
        })?;
        let columns = batch.columns().get(..width).unwrap_or_default();
        let unreadable = Unreadable::of(batch.columns().get(width + 1));
        let missing = missing(&self.schema, columns);
        for partition in 0..self.partitions.len() {
            let places = self.places_of(partition, &numbers);
            let Some(last) = places.last() else { continue };
            self.next[partition] = numbers.value(*last) + 1;
            let (mut good, mut rejected) = (Vec::with_capacity(places.len()), Vec::new());
            for place in places {
                if let Some(letter) = unreadable.get(place) {
                    rejected.push(letter);
                } else if let Some(reason) = missing.get(&place) {
                    let position = numbers.value(place);
                    rejected.push(self.incomplete(batch, place, partition, position, reason)?);
                } else {
                    good.push(place);
                }
            }
            let rows = self.taken(columns, &good)?;
            self.ready.push_back(SourceEvent::Batch(SourceBatch {
                partition: Partition::clone(&self.partitions[partition]),
                bytes: rows.columns().iter().map(bytes_of).sum(),
                rows,
                sequences: good.iter().map(|place| numbers.value(*place)).collect(),
                rejected,
                next: self.next[partition],
                token: None,
                marks: Vec::new(),
            }));
        }
        Ok(())
    }

    /// The numbers of the rows of a batch.
    fn numbers<'a>(&self, batch: &'a RecordBatch) -> Option<&'a Int64Array> {
        batch.columns().get(self.schema.fields().len())?.as_primitive_opt()
    }

    /// A row that lacks a value, which is given as JSON.
    fn incomplete(
        &self,
        batch: &RecordBatch,
        place: usize,
        partition: usize,
        position: i64,
        reason: &str,
    ) -> Result<Rejected> {
        let own: Vec<usize> = (0..self.schema.fields().len()).collect();
        let payload = row_json(&batch.slice(place, 1).project(&own)?);
        Ok(Rejected {
            partition: Partition::clone(&self.partitions[partition]),
            position,
            timestamp_us: None,
            key: None,
            payload,
            reason: reason.to_string(),
        })
    }

    /// The rows at those places, as the source's schema has them.
    fn taken(&self, columns: &[ArrayRef], places: &[usize]) -> Result<RecordBatch> {
        let all = columns.first().map_or(0, |column| column.len());
        let columns = if places.len() == all {
            columns.to_vec()
        } else {
            let places: UInt64Array = places.iter().map(|place| *place as u64).collect();
            take_arrays(columns, &places, None)?
        };
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)
            .map_err(|error| Error::Data(format!("replayed rows aren't as declared: {error}")))
    }

    /// The rows of a batch that a partition still has to give.
    fn places_of(&self, partition: usize, numbers: &Int64Array) -> Vec<usize> {
        let (count, next) = (self.partitions.len() as i64, self.next[partition]);
        let is_ours = |number: i64| number.rem_euclid(count) == partition as i64 && number >= next;
        (0..numbers.len()).filter(|place| is_ours(numbers.value(*place))).collect()
    }

    /// Waits until the first waiting rows are due, and deals those.
    async fn pace(&mut self, factor: f64) -> Result<()> {
        let Some(batch) = self.waiting.front() else { return Ok(()) };
        let times = self.times(batch)?;
        let first = times.iter().flatten().next().copied();
        let (begun, pace) = match (self.clock, first) {
            (Some(clock), _) => clock,
            (None, Some(origin_us)) => (Instant::now(), Pace { origin_us, factor }),
            (None, None) => return self.deal_front(batch.num_rows()),
        };
        self.clock = Some((begun, pace));
        let due = first.map_or(Duration::ZERO, |first| pace.due(first));
        tokio::time::sleep_until(begun + due).await;
        self.deal_front(pace.count(&times, begun.elapsed()))
    }

    /// Deals so many rows of the first waiting batch.
    fn deal_front(&mut self, count: usize) -> Result<()> {
        let Some(batch) = self.waiting.pop_front() else { return Ok(()) };
        let count = count.min(batch.num_rows());
        if count < batch.num_rows() {
            self.waiting.push_front(batch.slice(count, batch.num_rows() - count));
        }
        self.deal(&batch.slice(0, count))
    }

    /// The times of rows in microseconds.
    fn times(&self, batch: &RecordBatch) -> Result<Vec<Option<i64>>> {
        let column = self
            .time_column
            .and_then(|place| batch.columns().get(place))
            .ok_or_else(|| Error::Bug("replayed rows have no time".into()))?;
        let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        Ok(micros.as_primitive::<TimestampMicrosecondType>().iter().collect())
    }

    /// Whether any partition still has that row, or one behind it, to give.
    fn is_old(&self, batch: &RecordBatch) -> bool {
        let last = self.numbers(batch).and_then(|numbers| numbers.values().last().copied());
        last.is_some_and(|last| self.next.iter().all(|next| *next > last))
    }
}

#[async_trait]
impl Source for ReplaySource {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn max_ahead_us(&self) -> Option<i64> {
        self.max_ahead_us
    }

    async fn assigned(&mut self) -> Result<Assignment> {
        Ok(Assignment::whole(self.partitions.clone()))
    }

    async fn start(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<()> {
        if let Some(other) = positions.keys().find(|partition| !self.partitions.contains(partition))
        {
            return Err(Error::Option(format!(
                "the progress names partition {other}, but the replay has {} partitions; keep the option 'partitions' as it \
                 was, or start over",
                self.partitions.len()
            )));
        }
        for (next, partition) in self.next.iter_mut().zip(&self.partitions) {
            *next = positions.get(partition).copied().unwrap_or(0);
        }
        let first = self.next.iter().copied().min().unwrap_or(0);
        self.rows = Some((self.rows_from)(first));
        self.ready.clear();
        self.waiting.clear();
        self.clock = None;
        Ok(())
    }

    async fn unread(&mut self, positions: &BTreeMap<Partition, i64>) -> Result<Option<String>> {
        if self.is_endless {
            return Ok(Some("watch was set".into()));
        }
        let given = positions.values().copied().max().unwrap_or(0);
        let mut all = (self.rows_from)(0);
        let mut count = 0;
        while let Some(batch) = all.next().await.transpose()? {
            let last = self.numbers(&batch).and_then(|numbers| numbers.values().last());
            count = last.map_or(count, |last| last + 1);
        }
        let rows = |count: i64| match count {
            1 => "1 row was".to_string(),
            count => format!("{count} rows were"),
        };
        Ok(match count.cmp(&given) {
            Ordering::Equal => None,
            Ordering::Greater => Some(format!("{} added to it", rows(count - given))),
            Ordering::Less => Some(format!("{} removed from it", rows(given - count))),
        })
    }

    async fn next(&mut self) -> Result<Option<SourceEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if let (Speed::TimesReal(factor), false) = (self.speed, self.waiting.is_empty()) {
                self.pace(factor).await?;
                continue;
            }
            let Some(rows) = &mut self.rows else { return Ok(None) };
            match rows.next().await.transpose()? {
                None => {
                    self.rows = None;
                    let ends =
                        self.partitions.iter().map(|p| SourceEvent::End(Partition::clone(p)));
                    self.ready.extend(ends);
                }
                Some(batch) if batch.num_rows() == 0 || self.is_old(&batch) => {}
                Some(batch) => match self.speed {
                    Speed::Max => self.deal(&batch)?,
                    Speed::TimesReal(_) => self.waiting.push_back(batch),
                },
            }
        }
    }
}

/// Bytes of an array's values, without what its buffers hold beside them.
fn bytes_of(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

#[cfg(test)]
mod tests;
