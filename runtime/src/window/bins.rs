//! Which row is in which open window, and which window is due.
//!
//! Rows lie in *bins*. A bin of a tumble or a hop is a slice of time that no window cuts, so a
//! window is a number of whole bins and a row is in one bin, however many windows it is in. A bin
//! of a session is one key's session, and a window is the sessions of all keys that have its
//! bounds.
//!
//! - *Invariant:* an open window has a row. It is in the agenda once: at its end until it has
//!   fired, then at its end plus the lateness.
//! - *Invariant:* a bin is there as long as a window that is open needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::slots::{RowRef, Slots};
use super::{Grid, Window, WindowKind};
use crate::stage::Pane;

/// A session's key as bytes; empty where there is none.
pub(super) type Key = Arc<[u8]>;

pub(super) struct Bins {
    kind: WindowKind,
    lateness_us: i64,
    /// By key and start.
    bins: BTreeMap<(Key, i64), Bin>,
    windows: BTreeMap<Window, Open>,
    /// When each open window is due.
    agenda: BTreeSet<(i64, Window)>,
    /// Windows that have not fired and changed since they were last shown.
    unshown: BTreeSet<Window>,
    /// The watermark up to which windows have fired.
    closed_until_us: i64,
}

#[derive(Default)]
struct Bin {
    rows: Vec<RowRef>,
    /// Whether they are in order.
    is_sorted: bool,
    /// Whether rows came since the last barrier.
    is_fresh: bool,
    /// Where the session ends; not used by slices.
    end_us: i64,
}

#[derive(Default)]
struct Open {
    has_fired: bool,
    /// Whether rows came after it had fired.
    is_late: bool,
    /// Whose sessions these are; empty for a tumble or a hop.
    keys: BTreeSet<Key>,
}

impl Bins {
    pub(super) fn new(kind: WindowKind, lateness_us: i64, closed_until_us: i64) -> Self {
        Self {
            kind,
            lateness_us,
            bins: BTreeMap::new(),
            windows: BTreeMap::new(),
            agenda: BTreeSet::new(),
            unshown: BTreeSet::new(),
            closed_until_us,
        }
    }

    /// How many windows are open.
    pub(super) fn windows(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn closed_until_us(&self) -> i64 {
        self.closed_until_us
    }

    /// Puts rows of a batch where they belong. Gives those that are late.
    pub(super) fn place(
        &mut self,
        rows: impl Iterator<Item = (Key, i64, RowRef)>,
        watermark_us: i64,
    ) -> Vec<RowRef> {
        if let WindowKind::Session { gap_us } = self.kind {
            let is_late = |(key, time_us, row): &(Key, i64, RowRef)| {
                !self.place_in_session(gap_us, key, *time_us, *row, watermark_us)
            };
            return rows.filter(is_late).map(|(_, _, row)| row).collect();
        }
        let grid = self.kind.grid();
        let (mut late, mut slices) = (Vec::new(), BTreeSet::new());
        for (key, time_us, row) in rows {
            let last_end_us = grid.last_start(time_us) + grid.size_us;
            if last_end_us + self.lateness_us <= watermark_us {
                late.push(row);
                continue;
            }
            let slice_us = grid.slice_start(time_us);
            self.bins.entry((key, slice_us)).or_default().push(row);
            slices.insert(slice_us);
        }
        self.touch_windows_over(grid, &slices, watermark_us);
        late
    }

    /// Notes that windows over these slices have new rows; those that are done stay away.
    fn touch_windows_over(&mut self, grid: Grid, slices: &BTreeSet<i64>, watermark_us: i64) {
        let done_us = watermark_us.max(self.closed_until_us).saturating_sub(self.lateness_us);
        let mut next_us = i64::MIN;
        for slice_us in slices {
            let last_us = grid.last_start(*slice_us);
            let mut start_us = last_us;
            while start_us >= next_us && start_us + grid.size_us > *slice_us {
                let window = Window { start_us, end_us: start_us + grid.size_us };
                if window.end_us > done_us {
                    self.touch(window, None);
                }
                start_us -= grid.slide_us;
            }
            next_us = last_us + grid.slide_us;
        }
    }

    /// Puts a row into its session, which may put several together. False if that has closed.
    fn place_in_session(
        &mut self,
        gap_us: i64,
        key: &Key,
        time_us: i64,
        row: RowRef,
        watermark_us: i64,
    ) -> bool {
        let (mut start_us, mut end_us) = (time_us, time_us + gap_us);
        let earlier = self.bins.range((key.clone(), i64::MIN)..(key.clone(), end_us)).rev();
        let overlapping = earlier.take_while(|(_, bin)| bin.end_us > time_us);
        let mut starts = Vec::new();
        for ((_, start), bin) in overlapping {
            (start_us, end_us) = (start_us.min(*start), end_us.max(bin.end_us));
            starts.push(*start);
        }
        if end_us + self.lateness_us <= watermark_us {
            return false;
        }

        let mut merged = Bin { end_us, ..Bin::default() };
        for start in starts {
            let Some(bin) = self.bins.remove(&(key.clone(), start)) else { continue };
            if (start, bin.end_us) != (start_us, end_us) {
                self.leave(Window { start_us: start, end_us: bin.end_us }, key);
            }
            merged.absorb(bin);
        }
        merged.push(row);
        self.bins.insert((key.clone(), start_us), merged);
        self.touch(Window { start_us, end_us }, Some(key.clone()));
        true
    }

    /// Notes that a window has a new row, of that key.
    fn touch(&mut self, window: Window, key: Option<Key>) {
        let open = self.windows.entry(window).or_insert_with(|| {
            let has_fired = window.end_us <= self.closed_until_us;
            let due_us = window.end_us + if has_fired { self.lateness_us } else { 0 };
            self.agenda.insert((due_us, window));
            Open { has_fired, ..Open::default() }
        });
        open.keys.extend(key);
        if open.has_fired {
            open.is_late = true;
        } else {
            self.unshown.insert(window);
        }
    }

    /// Notes that a key has no session of these bounds any more. If others have, their window is to
    /// be handed out without it.
    fn leave(&mut self, window: Window, key: &Key) {
        let Some(open) = self.windows.get_mut(&window) else { return };
        open.keys.remove(key);
        if open.keys.is_empty() {
            self.forget(window);
        } else if open.has_fired {
            open.is_late = true;
        } else {
            self.unshown.insert(window);
        }
    }

    fn forget(&mut self, window: Window) -> Option<Open> {
        self.unshown.remove(&window);
        self.agenda.remove(&(window.end_us, window));
        self.agenda.remove(&(window.end_us + self.lateness_us, window));
        self.windows.remove(&window)
    }

    /// The next window that a watermark makes fire. Windows that are done without firing again are
    /// closed on the way; their rows go into `released`.
    pub(super) fn next_due(
        &mut self,
        watermark_us: i64,
        released: &mut Vec<RowRef>,
    ) -> Option<(Window, Pane)> {
        while let Some((_, window)) = self.agenda.first().filter(|(due, _)| *due <= watermark_us) {
            let window = *window;
            match self.windows.get(&window) {
                Some(open) if !open.has_fired => return Some((window, Pane::OnTime)),
                Some(open) if open.is_late => return Some((window, Pane::Late)),
                _ => self.close(window, released),
            }
        }
        self.closed_until_us = self.closed_until_us.max(watermark_us);
        None
    }

    /// Notes that a window has fired. Gives the rows that no window needs any more.
    pub(super) fn fired(&mut self, window: Window) -> Vec<RowRef> {
        let mut released = Vec::new();
        let is_done = self.lateness_us == 0;
        match self.windows.get_mut(&window) {
            Some(open) if !open.has_fired && !is_done => {
                open.has_fired = true;
                self.unshown.remove(&window);
                self.agenda.remove(&(window.end_us, window));
                self.agenda.insert((window.end_us + self.lateness_us, window));
            }
            _ => self.close(window, &mut released),
        }
        released
    }

    /// A window is done.
    fn close(&mut self, window: Window, released: &mut Vec<RowRef>) {
        let Some(open) = self.forget(window) else { return };
        let mut keys: Vec<(Key, i64)> =
            open.keys.into_iter().map(|key| (key, window.start_us)).collect();
        if !matches!(self.kind, WindowKind::Session { .. }) {
            // The slices of which this is the last window.
            let until_us = window.start_us + self.kind.grid().slide_us;
            let slices = self.bins.range((no_key(), window.start_us)..(no_key(), until_us));
            keys.extend(slices.map(|(key, _)| key.clone()));
        }
        for key in keys {
            released.extend(self.bins.remove(&key).unwrap_or_default().rows);
        }
    }

    /// The next window that changed since it was last shown, if it has not fired.
    pub(super) fn next_unshown(&self) -> Option<Window> {
        self.unshown.first().copied()
    }

    /// Notes that a window was shown.
    pub(super) fn shown(&mut self, window: Window) {
        self.unshown.remove(&window);
    }

    /// The rows of a window, in order.
    pub(super) fn rows(&mut self, window: Window, slots: &Slots) -> Vec<RowRef> {
        let mut rows = Vec::new();
        let keys = self.windows.get(&window).map(|open| open.keys.clone()).unwrap_or_default();
        for key in &keys {
            let bin = self.bins.get_mut(&(key.clone(), window.start_us));
            rows.extend(bin.into_iter().flat_map(|bin| bin.sorted(slots)).copied());
        }
        if keys.is_empty() {
            let slices = (no_key(), window.start_us)..(no_key(), window.end_us);
            for (_, bin) in self.bins.range_mut(slices) {
                rows.extend_from_slice(bin.sorted(slots));
            }
        }
        if keys.len() > 1 {
            slots.sort(&mut rows);
        }
        rows
    }

    /// Follows rows that have moved; only those that came since the last barrier if only they have.
    pub(super) fn follow(&mut self, moved: impl Fn(RowRef) -> RowRef, only_fresh: bool) {
        for bin in self.bins.values_mut() {
            if bin.is_fresh || !only_fresh {
                bin.rows.iter_mut().for_each(|row| *row = moved(*row));
            }
            bin.is_fresh = false;
        }
    }

    /// The windows that got rows after they had fired, as (start, end).
    pub(super) fn late(&self) -> Vec<(i64, i64)> {
        let late = self.windows.iter().filter(|(_, open)| open.is_late);
        late.map(|(window, _)| (window.start_us, window.end_us)).collect()
    }

    /// Says which windows got rows after they had fired. False if one of them isn't open.
    pub(super) fn restore_late(&mut self, late: &[(i64, i64)]) -> bool {
        self.windows.values_mut().for_each(|open| open.is_late = false);
        late.iter().all(|(start_us, end_us)| {
            let window = Window { start_us: *start_us, end_us: *end_us };
            let open = self.windows.get_mut(&window).filter(|open| open.has_fired);
            open.map(|open| open.is_late = true).is_some()
        })
    }
}

impl Bin {
    fn push(&mut self, row: RowRef) {
        self.rows.push(row);
        self.is_sorted = false;
        self.is_fresh = true;
    }

    /// Takes the rows of another in; the shorter list is moved. Rows of equal order come from one
    /// batch and are in one bin, so which list is first doesn't matter.
    fn absorb(&mut self, mut other: Self) {
        if other.rows.len() > self.rows.len() {
            std::mem::swap(&mut self.rows, &mut other.rows);
        }
        self.rows.append(&mut other.rows);
        self.is_fresh |= other.is_fresh;
        self.is_sorted = false;
    }

    fn sorted(&mut self, slots: &Slots) -> &[RowRef] {
        if !self.is_sorted {
            slots.sort(&mut self.rows);
            self.is_sorted = true;
        }
        &self.rows
    }
}

/// The key of windows without keys.
pub(super) fn no_key() -> Key {
    Arc::from([])
}
