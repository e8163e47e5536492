//! Tests of the rows of windows, beside their plain definition.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::Schema;

use super::*;
use crate::window::samples::{Dice, Row, Shown, batch, numbers, schema, shown, spec};
use crate::window::sessions_of;

const KINDS: [WindowKind; 5] = [
    WindowKind::Tumble { size_us: 10, offset_us: 3 },
    WindowKind::Hop { slide_us: 5, size_us: 10, offset_us: 0 },
    WindowKind::Hop { slide_us: 3, size_us: 7, offset_us: -1 },
    WindowKind::Session { gap_us: 4 },
    WindowKind::Session { gap_us: 9 },
];

/// What windows do, word for word: each window keeps its own rows, and everything is looked for
/// from one end to the other.
struct Plain {
    kind: WindowKind,
    lateness_us: i64,
    closed_until_us: i64,
    /// A window, the key of a session, and the rows.
    contents: Vec<(Window, Option<u8>, Vec<Row>)>,
    /// Whether a window has fired, and whether it has changed since.
    flags: BTreeMap<Window, (bool, bool)>,
}

impl Plain {
    fn new(kind: WindowKind, lateness_us: i64) -> Self {
        let (contents, flags) = (Vec::new(), BTreeMap::new());
        Self { kind, lateness_us, closed_until_us: i64::MIN, contents, flags }
    }

    fn is_done(&self, window: &Window, watermark_us: i64) -> bool {
        window.end_us + self.lateness_us <= watermark_us
    }

    /// Whether the row was taken.
    fn insert(&mut self, row: Row, watermark_us: i64) -> bool {
        let windows: Vec<Window> = self.kind.assign(row.time_us).unwrap().collect();
        if matches!(self.kind, WindowKind::Session { .. }) {
            return self.insert_into_session(row, windows[0], watermark_us);
        }
        let open: Vec<&Window> =
            windows.iter().filter(|window| !self.is_done(window, watermark_us)).collect();
        for window in &open {
            let place = self.contents.iter().position(|(other, _, _)| other == *window);
            let place = place.unwrap_or_else(|| {
                self.contents.push((**window, None, Vec::new()));
                self.contents.len() - 1
            });
            self.contents[place].2.push(row);
        }
        let is_taken = !open.is_empty();
        open.into_iter().for_each(|window| touch(&mut self.flags, *window, self.closed_until_us));
        is_taken
    }

    fn insert_into_session(&mut self, row: Row, own: Window, watermark_us: i64) -> bool {
        let key = row.key;
        let overlaps = |other: &Window| other.start_us < own.end_us && own.start_us < other.end_us;
        let (old, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.contents)
            .into_iter()
            .partition(|(window, other, _)| *other == key && overlaps(window));
        let merged = Window {
            start_us: old.iter().map(|(window, ..)| window.start_us).min().unwrap_or(own.start_us),
            end_us: old.iter().map(|(window, ..)| window.end_us).max().unwrap_or(own.end_us),
        };
        let merged = Window {
            start_us: merged.start_us.min(own.start_us),
            end_us: merged.end_us.max(own.end_us),
        };
        self.contents = rest;
        if self.is_done(&merged, watermark_us) {
            self.contents.extend(old);
            return false;
        }
        let mut rows = vec![row];
        for (window, _, its_rows) in old {
            rows.extend(its_rows);
            if window == merged {
                continue;
            }
            if self.contents.iter().any(|(other, ..)| *other == window) {
                self.flags.entry(window).and_modify(|(fired, changed)| *changed |= *fired);
            } else {
                self.flags.remove(&window);
            }
        }
        self.contents.push((merged, key, rows));
        touch(&mut self.flags, merged, self.closed_until_us);
        true
    }

    fn close_until(&mut self, watermark_us: i64) -> Vec<Shown> {
        let mut closed = Vec::new();
        loop {
            let due = |window: &Window, fired: bool| {
                window.end_us + if fired { self.lateness_us } else { 0 }
            };
            let next =
                self.flags.iter().map(|(window, flags)| (due(window, flags.0), *window, *flags));
            let Some((due_us, window, (fired, changed))) = next.min() else { break };
            if due_us > watermark_us {
                break;
            }
            if !fired || changed {
                let own = self.contents.iter().filter(|(other, ..)| *other == window);
                let mut rows: Vec<Row> = own.flat_map(|(_, _, rows)| rows.clone()).collect();
                rows.sort();
                let pane = if fired { "late" } else { "on_time" };
                let numbers = rows.iter().map(|row| row.number).collect();
                closed.push((window.start_us, window.end_us, pane, numbers));
            }
            if fired || self.lateness_us == 0 {
                self.flags.remove(&window);
                self.contents.retain(|(other, ..)| *other != window);
            } else {
                self.flags.insert(window, (true, false));
            }
        }
        self.closed_until_us = self.closed_until_us.max(watermark_us);
        closed
    }
}

fn touch(flags: &mut BTreeMap<Window, (bool, bool)>, window: Window, closed_until_us: i64) {
    let (fired, changed) = flags.entry(window).or_insert((window.end_us <= closed_until_us, false));
    *changed |= *fired;
}

fn close_until(rows: &mut WindowRows, watermark_us: i64) -> Vec<Shown> {
    std::iter::from_fn(|| rows.close_next(watermark_us).unwrap()).map(|w| shown(&w)).collect()
}

/// Segments as files, as a store would have them.
#[derive(Default)]
struct Files(HashMap<String, Bytes>);

impl Files {
    fn barrier(&mut self, rows: &mut WindowRows, epoch: u64) -> SavedWindows {
        let checkpoint = rows.barrier(epoch).unwrap();
        if let Some(segment) = checkpoint.segment {
            assert_eq!(segment.reference.check(&segment.bytes), Ok(()));
            self.0.insert(segment.reference.name, segment.bytes);
        }
        checkpoint.saved
    }

    fn restore(&self, spec: WindowSpec, saved: &SavedWindows) -> WindowRows {
        let mut restoring = Restoring::new(spec, saved).unwrap();
        for reference in &saved.segments {
            restoring.segment(reference, &self.0[&reference.name]).unwrap();
        }
        restoring.finish().unwrap()
    }
}

/// Rows come in any order, some late; barriers and restores come at any time. What is handed out is
/// what the plain sibling hands out, and every row is in its windows or late.
#[test]
fn windows_are_those_of_the_plain_sibling_through_barriers_and_restores() {
    for seed in 0..400 {
        let mut dice = Dice::new(seed);
        let kind = KINDS[dice.below(KINDS.len() as u64) as usize];
        let lateness_us = [0, 0, 6][dice.below(3) as usize];
        let spec = spec(kind, lateness_us);
        let mut plain = Plain::new(kind, lateness_us);
        let mut rows = WindowRows::new(spec.clone()).unwrap();
        let (mut files, mut watermark_us, mut number) = (Files::default(), i64::MIN, 0);
        let (mut seen, mut late_rows) = (Vec::new(), 0);
        for step in 0..60 {
            let some: Vec<Row> = (0..dice.below(6))
                .map(|_| {
                    number += 1;
                    let time_us = step / 2 - 15 + dice.below(14) as i64;
                    let key = Some(dice.below(3) as u8).filter(|key| *key > 0);
                    Row { number, key, time_us }
                })
                .collect();
            let late: Vec<i64> = some
                .iter()
                .filter(|row| !plain.insert(**row, watermark_us))
                .map(|row| row.number)
                .collect();
            assert_eq!(numbers(&rows.insert(batch(&some), watermark_us).unwrap()), late);
            late_rows += late.len();

            watermark_us = watermark_us.max(step / 2 - 15 - dice.below(4) as i64);
            let closed = close_until(&mut rows, watermark_us);
            assert_eq!(closed, plain.close_until(watermark_us), "seed {seed}, {kind:?}");
            seen.extend(closed.into_iter().flat_map(|(.., numbers)| numbers));
            if dice.below(3) == 0 {
                let saved = files.barrier(&mut rows, step as u64);
                if dice.below(2) == 0 {
                    let (windows, held) = (rows.windows(), rows.rows());
                    rows = files.restore(spec.clone(), &saved);
                    assert_eq!((rows.windows(), rows.rows()), (windows, held));
                }
            }
        }
        let closed = close_until(&mut rows, i64::MAX);
        assert_eq!(closed, plain.close_until(i64::MAX), "seed {seed}, {kind:?}");
        seen.extend(closed.into_iter().flat_map(|(.., numbers)| numbers));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len() + late_rows, number as usize, "each row is in a window or late");
        assert_eq!((rows.rows(), rows.windows(), rows.bytes()), (0, 0, 0));
        assert!(files.barrier(&mut rows, 100).segments.is_empty());
    }
}

/// Without late rows a stream's windows are those of the static rows, in whatever order rows come.
#[test]
fn windows_of_a_stream_are_those_of_static_rows() {
    for seed in 0..100 {
        let mut dice = Dice::new(seed);
        let kind = KINDS[dice.below(KINDS.len() as u64) as usize];
        let delay_us = dice.below(8) as i64;
        let row = |number: i64, dice: &mut Dice| {
            Row::new(number, dice.below(3) as u8, number / 3 + dice.below(9) as i64)
        };
        let mut some: Vec<Row> = (0..200).map(|number| row(number, &mut dice)).collect();

        let mut expected: BTreeMap<Window, Vec<Row>> = BTreeMap::new();
        let times: Vec<i64> = some.iter().map(|row| row.time_us).collect();
        let keys: Vec<Option<u8>> = some.iter().map(|row| row.key).collect();
        for (place, row) in some.iter().enumerate() {
            let windows = match kind {
                WindowKind::Session { gap_us } => {
                    vec![sessions_of(gap_us, &times, &keys).unwrap()[place]]
                }
                _ => kind.assign(row.time_us).unwrap().collect(),
            };
            windows.into_iter().for_each(|window| expected.entry(window).or_default().push(*row));
        }
        expected.values_mut().for_each(|rows| rows.sort());
        let expected = expected.into_iter().map(|(window, rows)| {
            let numbers = rows.iter().map(|row| row.number).collect();
            (window.start_us, window.end_us, "on_time", numbers)
        });

        let mut arrival: Vec<i64> =
            some.iter().map(|row| row.time_us + dice.below(delay_us as u64 + 1) as i64).collect();
        let mut order: Vec<usize> = (0..some.len()).collect();
        order.sort_by_key(|row| arrival[*row]);
        some = order.iter().map(|row| some[*row]).collect();
        arrival.clear();

        let mut rows = WindowRows::new(spec(kind, 0)).unwrap();
        let (mut closed, mut watermark_us) = (Vec::new(), i64::MIN);
        for part in some.chunks(1 + dice.below(7) as usize) {
            assert_eq!(rows.insert(batch(part), watermark_us).unwrap(), None, "nothing is late");
            let latest = part.iter().map(|row| row.time_us - delay_us).max().unwrap();
            watermark_us = watermark_us.max(latest);
            closed.extend(close_until(&mut rows, watermark_us));
        }
        closed.extend(close_until(&mut rows, i64::MAX));
        assert_eq!(closed, expected.collect::<Vec<_>>(), "seed {seed}, {kind:?}");
    }
}

#[test]
fn early_panes_show_what_changed_and_change_nothing() {
    let mut rows = WindowRows::new(spec(KINDS[1], 0)).unwrap();
    let early = |rows: &mut WindowRows| -> Vec<Shown> {
        std::iter::from_fn(|| rows.early_next().unwrap()).map(|w| shown(&w)).collect()
    };
    rows.insert(batch(&[Row::new(1, 0, 7), Row::new(2, 0, 12)]), 0).unwrap();
    let panes =
        [(0, 10, "early", vec![1]), (5, 15, "early", vec![1, 2]), (10, 20, "early", vec![2])];
    assert_eq!(early(&mut rows), panes);
    assert_eq!(early(&mut rows), []);
    rows.insert(batch(&[Row::new(3, 0, 11)]), 0).unwrap();
    let panes = [(5, 15, "early", vec![1, 3, 2]), (10, 20, "early", vec![3, 2])];
    assert_eq!(early(&mut rows), panes);
    rows.insert(batch(&[Row::new(4, 0, 8)]), 0).unwrap();
    assert_eq!(close_until(&mut rows, 12), [(0, 10, "on_time", vec![1, 4])]);
    assert_eq!(early(&mut rows), [(5, 15, "early", vec![1, 4, 3, 2])]);
}

#[test]
fn sessions_of_several_keys_with_one_extent_are_one_window() {
    let mut rows = WindowRows::new(spec(KINDS[3], 0)).unwrap();
    let some = [Row::new(1, 1, 0), Row::new(2, 2, 0), Row::new(3, 1, 2), Row::new(4, 2, 2)];
    rows.insert(batch(&some), i64::MIN).unwrap();
    rows.insert(batch(&[Row::new(5, 3, 1), Row { number: 6, key: None, time_us: 1 }]), 0).unwrap();
    let windows = [(1, 5, "on_time", vec![5, 6]), (0, 6, "on_time", vec![1, 2, 3, 4])];
    assert_eq!(close_until(&mut rows, 10), windows);
}

#[test]
fn a_session_that_a_late_row_bridges_is_still_open() {
    let mut rows = WindowRows::new(spec(KINDS[4], 0)).unwrap();
    rows.insert(batch(&[Row::new(1, 0, 20)]), i64::MIN).unwrap();
    // Its own window ends at 21, before the watermark, but it overlaps one that is open.
    assert_eq!(rows.insert(batch(&[Row::new(2, 0, 12)]), 25).unwrap(), None);
    assert!(rows.insert(batch(&[Row::new(3, 1, 12)]), 25).unwrap().is_some(), "another key");
    assert_eq!(close_until(&mut rows, 29), [(12, 29, "on_time", vec![2, 1])]);
}

/// A window that takes many epochs: each barrier writes little, and few files are named.
#[test]
fn a_barrier_writes_what_is_new() {
    let long = WindowKind::Tumble { size_us: 1_000_000, offset_us: 0 };
    let mut rows = WindowRows::new(spec(long, 0)).unwrap();
    let (mut written, mut files) = (0, Files::default());
    let (epochs, each) = (1000, 10);
    for epoch in 0..epochs {
        let some: Vec<Row> = (0..each).map(|n| Row::new(epoch * each + n, 0, epoch)).collect();
        rows.insert(batch(&some), i64::MIN).unwrap();
        let before = files.0.len();
        let saved = files.barrier(&mut rows, epoch as u64);
        assert_eq!(files.0.len(), before + 1);
        written += saved.segments.last().unwrap().rows;
        assert!(saved.segments.len() <= 60, "{} segments", saved.segments.len());
        assert!(saved.live.is_empty(), "all rows count");
    }
    // Once when new, and once for each time that a segment became 16 times as long.
    assert!(written <= 4 * (epochs * each) as u64, "{written} rows were written");
    assert!(rows.barrier(9999).unwrap().segment.is_none(), "nothing is new");
}

/// What is left of a segment is rewritten when it is little, so that neither disk nor memory
/// holds much more than what is needed.
#[test]
fn what_is_left_of_a_segment_does_not_hold_the_rest() {
    let kind = WindowKind::Session { gap_us: 10 };
    let mut rows = WindowRows::new(spec(kind, 0)).unwrap();
    let mut files = Files::default();
    let some: Vec<Row> = (0..1000).map(|n| Row::new(n, 0, if n < 5 { 500 } else { 0 })).collect();
    rows.insert(batch(&some), i64::MIN).unwrap();
    let before = files.barrier(&mut rows, 1);
    let bytes = rows.bytes();
    assert_eq!(close_until(&mut rows, 100).len(), 1);
    let after = files.barrier(&mut rows, 2);
    assert_eq!((before.segments[0].rows, after.segments[0].rows), (1000, 5));
    assert!(rows.bytes() < bytes / 10, "{} of {bytes} bytes", rows.bytes());
    assert_eq!(close_until(&mut rows, i64::MAX), [(500, 510, "on_time", vec![0, 1, 2, 3, 4])]);
}

#[test]
fn rows_over_the_limit_are_refused_as_a_whole() {
    let one = batch(&[Row::new(1, 0, 0)]);
    let mut rows = WindowRows::new(spec(KINDS[0], 0)).unwrap();
    rows.insert(one.clone(), 0).unwrap();
    let bytes = rows.bytes();
    let limited = WindowSpec { bytes_max: bytes * 3 / 2, ..spec(KINDS[0], 0) };
    let mut rows = WindowRows::new(limited).unwrap();
    rows.insert(one.clone(), 0).unwrap();
    let error = rows.insert(one.clone(), 0).unwrap_err();
    assert!(matches!(&error, Error::Memory(why) if why.contains("raise the memory limit")));
    assert_eq!((rows.rows(), rows.bytes()), (1, bytes));
    close_until(&mut rows, 100);
    rows.insert(batch(&[Row::new(1, 0, 200)]), 0).unwrap();
}

#[test]
fn a_part_of_larger_buffers_does_not_hold_them() {
    let some: Vec<Row> = (0..100_000).map(|n| Row::new(n, 0, 0)).collect();
    let all = batch(&some);
    let mut rows = WindowRows::new(spec(KINDS[0], 0)).unwrap();
    rows.insert(all.slice(500, 3), 0).unwrap();
    assert!(rows.bytes() < 50_000, "{} bytes", rows.bytes());
    assert_eq!(close_until(&mut rows, 100)[0].3, [500, 501, 502]);
}

#[test]
fn a_time_that_can_not_be_refuses_the_batch() {
    for time_us in [i64::MIN, i64::MAX] {
        let mut rows = WindowRows::new(spec(KINDS[0], 0)).unwrap();
        let some = batch(&[Row::new(1, 0, 5), Row::new(2, 0, time_us)]);
        assert!(matches!(rows.insert(some, i64::MIN), Err(Error::Data(_))));
        assert_eq!((rows.rows(), rows.windows(), rows.bytes()), (0, 0, 0));
    }
}

#[test]
fn rows_may_have_hidden_columns_alone() {
    let hidden = Arc::new(Schema::new(schema().fields()[3..].to_vec()));
    let only_hidden = batch(&[Row::new(1, 0, 0), Row::new(2, 0, 1)]).project(&[3, 4, 5]).unwrap();
    let mut rows = WindowRows::new(WindowSpec { schema: hidden, ..spec(KINDS[0], 0) }).unwrap();
    rows.insert(only_hidden.clone(), i64::MIN).unwrap();
    let closed = rows.close_next(100).unwrap().unwrap();
    assert_eq!((closed.rows[0].num_rows(), closed.rows[0].num_columns()), (2, 0));
    let late = rows.insert(only_hidden, 100).unwrap().unwrap();
    assert_eq!((late.num_rows(), late.num_columns()), (2, 0));
}

#[test]
fn long_windows_come_in_batches() {
    let some: Vec<Row> = (0..20_000).rev().map(|n| Row::new(n, 0, 0)).collect();
    let mut rows = WindowRows::new(spec(KINDS[0], 0)).unwrap();
    some.chunks(999).for_each(|part| assert!(rows.insert(batch(part), 0).unwrap().is_none()));
    let closed = rows.close_next(100).unwrap().unwrap();
    assert_eq!(closed.rows.len(), 3);
    assert_eq!(numbers(&closed.rows), (0..20_000).collect::<Vec<_>>());
}

#[test]
fn what_can_not_be_is_refused() {
    let session = WindowKind::Session { gap_us: 1 };
    let wrong = [
        WindowSpec { lateness_us: -1, ..spec(session, 0) },
        WindowSpec { kind: WindowKind::Session { gap_us: 0 }, ..spec(session, 0) },
        WindowSpec { keys: vec![99], ..spec(session, 0) },
        WindowSpec { keys: vec![0], ..spec(KINDS[0], 0) },
        WindowSpec { schema: Arc::new(Schema::empty()), ..spec(session, 0) },
    ];
    for spec in wrong {
        assert!(WindowRows::new(spec.clone()).is_err(), "{spec:?}");
    }
    let mut rows = WindowRows::new(spec(session, 0)).unwrap();
    let other = batch(&[Row::new(1, 0, 0)]).project(&[1, 0, 2, 3, 4, 5]).unwrap();
    assert!(matches!(rows.insert(other, 0), Err(Error::Bug(_))));
}
