//! A bounded queue between two tasks: an edge of the pipeline.
//!
//! - *Invariant:* what lies in it is at most `rows_max` rows and `bytes_max` bytes; only an item
//!   that is larger than that by itself passes, and alone.
//! - *Invariant:* items come out in the order in which sends were finished; items without weight
//!   (barriers, watermarks) keep their place but are never refused a place.
//! - A queue whose senders are gone gives what it has and then ends. A queue whose receiver is gone
//!   hands every item back.
//! - Dropping the future of a send or a receive loses nothing: the item is in the queue or it is
//!   not.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::meters::EdgeMeter;

/// How long a waiting side waits before it adds to its meter, so that a stuck edge shows.
const METER_INTERVAL: Duration = Duration::from_secs(1);

/// What an item weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Rows in it.
    pub(crate) rows: usize,
    /// Bytes it holds.
    pub(crate) bytes: usize,
}

impl Weight {
    /// What a batch weighs: of slices, the part that is theirs.
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        let bytes = batch.columns().iter().map(|column| {
            let whole = || column.get_array_memory_size();
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| whole())
        });
        Self { rows: batch.num_rows(), bytes: bytes.sum() }
    }
}

/// The bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most rows.
    pub(crate) rows_max: usize,
    /// Most bytes.
    pub(crate) bytes_max: usize,
}

impl Bounds {
    /// Whether an item may join a queue that holds `held`. An empty queue takes anything.
    fn admit(self, held: Weight, item: Weight) -> bool {
        let fits = held.rows.saturating_add(item.rows) <= self.rows_max
            && held.bytes.saturating_add(item.bytes) <= self.bytes_max;
        fits || item == Weight::default() || held == Weight::default()
    }
}

/// The item that a queue without its receiver hands back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed<T>(pub(crate) T);

struct State<T> {
    items: VecDeque<(T, Weight)>,
    held: Weight,
    senders: usize,
    is_receiver_gone: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    bounds: Bounds,
    /// Told when an item came or the last sender went.
    filled: Notify,
    /// Told when an item left or the receiver went.
    room: Notify,
    meter: EdgeMeter,
}

impl<T> Shared<T> {
    /// The state. A panic elsewhere can't leave it half changed.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that items go in at.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// The end that items come out at.
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

/// A queue with its bounds and the meter that its fill and waits are told to.
pub(crate) fn bounded<T>(bounds: Bounds, meter: EdgeMeter) -> (Sender<T>, Receiver<T>) {
    let state = State {
        items: VecDeque::new(),
        held: Weight::default(),
        senders: 1,
        is_receiver_gone: false,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        bounds,
        filled: Notify::new(),
        room: Notify::new(),
        meter,
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Waits for room and puts the item in.
    ///
    /// # Errors
    /// [`Closed`] with the item when the receiver is gone.
    pub(crate) async fn send(&self, item: T, weight: Weight) -> Result<(), Closed<T>> {
        let mut item = item;
        loop {
            let mut room = pin!(self.0.room.notified());
            room.as_mut().enable();
            item = match self.offer(item, weight) {
                Offer::Taken => return Ok(()),
                Offer::Closed(item) => return Err(Closed(item)),
                Offer::Full(item) => item,
            };
            wait(room, |waited| self.0.meter.blocked(waited)).await;
        }
    }

    fn offer(&self, item: T, weight: Weight) -> Offer<T> {
        let mut state = self.0.lock();
        if state.is_receiver_gone {
            return Offer::Closed(item);
        }
        if !self.0.bounds.admit(state.held, weight) {
            return Offer::Full(item);
        }
        state.held.rows += weight.rows;
        state.held.bytes += weight.bytes;
        state.items.push_back((item, weight));
        self.0.meter.fill(state.held.rows, state.held.bytes);
        drop(state);
        self.0.filled.notify_one();
        Offer::Taken
    }
}

enum Offer<T> {
    Taken,
    Full(T),
    Closed(T),
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().senders -= 1;
        self.0.filled.notify_one();
    }
}

impl<T> Receiver<T> {
    /// The next item, or `None` when no more can come.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        loop {
            let mut filled = pin!(self.0.filled.notified());
            filled.as_mut().enable();
            {
                let mut state = self.0.lock();
                if let Some((item, weight)) = state.items.pop_front() {
                    state.held.rows -= weight.rows;
                    state.held.bytes -= weight.bytes;
                    self.0.meter.fill(state.held.rows, state.held.bytes);
                    drop(state);
                    self.0.room.notify_waiters();
                    return Some(item);
                }
                if state.senders == 0 {
                    return None;
                }
            }
            wait(filled, |waited| self.0.meter.starved(waited)).await;
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let items = {
            let mut state = self.0.lock();
            state.is_receiver_gone = true;
            state.held = Weight::default();
            self.0.meter.fill(state.held.rows, state.held.bytes);
            std::mem::take(&mut state.items)
        };
        self.0.room.notify_waiters();
        drop(items);
    }
}

/// Waits, and tells the time of it, also while it lasts.
async fn wait(told: impl Future<Output = ()>, meter: impl Fn(Duration)) {
    let mut told = pin!(told);
    loop {
        let from = Instant::now();
        let ended = tokio::time::timeout(METER_INTERVAL, told.as_mut()).await.is_ok();
        meter(from.elapsed());
        if ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
