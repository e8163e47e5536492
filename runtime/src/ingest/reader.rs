//! The task that reads one source, until it ends, partitions are reassigned, or the pipeline stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

use crate::message::Input;
use crate::meters::SourceMeter;
use crate::queue::{Sender, Weight};
use crate::status::Reporter;
use crate::stop::StopSignal;
use crate::{Result, Source, SourceEvent};

/// How often the lag is looked at.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// A source as several attempts share it, one after another.
pub(crate) type SharedSource = Arc<Mutex<Box<dyn Source>>>;

/// Reads source number `number` into `output`.
///
/// # Errors
/// What the source says.
pub(crate) async fn read(
    number: usize,
    source: SharedSource,
    output: Sender<Input>,
    mut stop: StopSignal,
    meter: SourceMeter,
    reporter: Arc<Reporter>,
) -> Result<()> {
    let mut source = source.lock().await;
    let tell_lag = |source: &dyn Source| {
        let ahead = source.lag();
        if !ahead.is_empty() {
            let rows = ahead.values().sum::<i64>();
            meter.lag.set(rows as f64);
            reporter.lag(number, rows);
        }
    };
    let mut lag = tokio::time::interval(LAG_INTERVAL);
    lag.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            () = stop.requested() => {
                // Where nobody takes it, the attempt has failed elsewhere.
                let _ = output.send(Input::Left, Weight::default()).await;
                return Ok(());
            }
            _ = lag.tick() => {
                tell_lag(source.as_ref());
                continue;
            }
            event = source.next() => event?,
        };
        let is_last = matches!(event, None | Some(SourceEvent::Reassign(_)));
        if is_last {
            tell_lag(source.as_ref());
        }
        let (input, weight) = match event {
            None => (Input::Finished(number), Weight::default()),
            Some(event) => {
                let weight = weigh(&event);
                (Input::Event(number, event), weight)
            }
        };
        if output.send(input, weight).await.is_err() || is_last {
            return Ok(());
        }
    }
}

fn weigh(event: &SourceEvent) -> Weight {
    match event {
        SourceEvent::Batch(batch) => {
            let rows = batch.rows.num_rows() + batch.rejected.len();
            Weight { rows: rows.max(1), bytes: batch.bytes.max(Weight::of(&batch.rows).bytes) }
        }
        SourceEvent::End(_) | SourceEvent::Reassign(_) => Weight::default(),
    }
}
