//! The metrics of a pipeline, by a recorder that only remembers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::oracle::{Case, KINDS};
use super::world::{Fate, Life, World};

/// Values by name, those of all labels added up; of gauges and histograms, how often they were
/// told.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, Vec<Arc<Cell>>>>);

#[derive(Default)]
struct Cell(AtomicU64);

impl Cell {
    fn add(&self, value: u64) {
        self.0.fetch_add(value, Ordering::SeqCst);
    }
}

impl metrics::CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, _value: u64) {
        panic!("counters go on over attempts");
    }
}

impl metrics::GaugeFn for Cell {
    fn increment(&self, _value: f64) {
        self.add(1);
    }

    fn decrement(&self, _value: f64) {
        self.add(1);
    }

    fn set(&self, _value: f64) {
        self.add(1);
    }
}

impl HistogramFn for Cell {
    fn record(&self, _value: f64) {
        self.add(1);
    }
}

impl Memory {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        assert!(key.labels().any(|label| label.key() == "pipeline"), "{key}");
        let cell = Arc::new(Cell::default());
        let mut cells = self.0.lock().expect("no panic in a lock");
        cells.entry(key.name().to_string()).or_default().push(Arc::clone(&cell));
        cell
    }

    fn sum(&self, name: &str) -> Option<u64> {
        let cells = self.0.lock().expect("no panic in a lock");
        let cells = cells.get(name)?;
        Some(cells.iter().map(|cell| cell.0.load(Ordering::SeqCst)).sum())
    }
}

impl Recorder for Memory {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

#[test]
fn metrics_tell_what_happened() {
    let mut case = Case::new(KINDS[1], 2, 80, 8);
    case.partitions[1][3].is_poison = true;
    let world = World::new(case);
    let memory = Memory::default();
    metrics::with_local_recorder(&memory, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let (life, signal) = Life::new(&world, 8, []);
            let Fate::Ended(Ok(_)) = life.live(signal).await else { panic!("it must end") };
        });
    });
    let windows = world.case.expected().len() as u64;
    let commits = world.durable().committed.len() as u64;
    for (name, value) in [
        ("sembla_rows_in_total", 80),
        ("sembla_bytes_in_total", 800),
        ("sembla_rows_out_total", windows),
        ("sembla_batches_out_total", windows),
        ("sembla_rows_late_total", 0),
        ("sembla_rows_rejected_total", 1),
        ("sembla_rows_dead_lettered_total", 1),
        ("sembla_windows_closed_total", windows),
        ("sembla_checkpoints_total", commits),
        ("sembla_checkpoint_seconds", commits),
        ("sembla_restarts_total", 0),
    ] {
        assert_eq!(memory.sum(name), Some(value), "{name}");
    }
    for name in [
        "sembla_batches_in_total",
        "sembla_queue_rows",
        "sembla_queue_bytes",
        "sembla_watermark_seconds",
        "sembla_lag_rows",
        "sembla_checkpoint_bytes",
        "sembla_state_bytes",
        "sembla_windows_open",
    ] {
        assert!(memory.sum(name).is_some_and(|told| told > 0), "{name}");
    }
    for name in [
        "sembla_edge_blocked_seconds_total",
        "sembla_edge_starved_seconds_total",
        "sembla_stage_seconds_total",
    ] {
        assert!(memory.sum(name).is_some(), "{name}");
    }
}
