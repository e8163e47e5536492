//! The way over all pairs: blocks of rows against blocks of columns, on all cores, within one set
//! of vectors the upper triangle only.
//!
//! A block of rows stays in the second-level cache, a panel of columns in the first; tiles run down
//! the block. What survives a tile is handed to a [`Collect`] a panel at a time, so that bounds
//! which rise are used at once. Memory does not depend on the number of pairs.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::codes::{self, Bytes};
use super::tile::{Limits, Machine, PANEL, Survivor, Survivors, TILE_ROWS_MAX, TILE_SURVIVORS_MAX};
use crate::error::Result;
use crate::host::{Host, Loan, check};
use crate::unit::UnitVectors;

/// Rows of a block, at most; with 384 components in 8 bits they take 400 kB.
const BLOCK_ROWS_MAX: usize = 1024;

/// Blocks of columns that a thread takes at a time: the packing of a block of rows is used so
/// often.
const COLUMN_BLOCKS: usize = 8;

/// Survivors that are waited for before they are handed over.
const SURVIVORS_MIN: usize = 4096;

/// In 8 bits, the share of all pairs that may be recomputed in vain before f32 is faster.
const VAIN_SHARE_MAX: f64 = 0.05;

/// The share of all pairs, at least, that vain ones are weighed against. Bounds are low when a
/// search begins, and many pairs survive that would not later; that says nothing about the vectors.
const TRIAL_SHARE: f64 = 0.05;

/// Fewer rows than this are not worth rounding the columns to 8 bits.
const BYTES_ROWS_MIN: usize = 128;

/// A pair that passed a tile, and about how similar it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) row: u32,
    pub(super) column: u32,
    pub(super) score: f32,
}

/// What is looked for.
pub(super) trait Collect: Sync {
    /// The cosine from which on a pair is of interest to its row.
    fn row_bound(&self, row: usize) -> f32;

    /// The cosine from which on a pair is of interest to its column; infinite if only rows look.
    fn column_bound(&self, column: usize) -> f32;

    /// Takes candidates whose cosine is within `error` of their score; the list may be changed.
    /// Says how many were recomputed in vain.
    fn take(&self, candidates: &mut Vec<Candidate>, error: f32) -> Result<usize>;
}

/// Which pairs are gone over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairs {
    /// Every row of the left with every row of the right.
    Between,
    /// Each two rows of one set once, the lower row on the left.
    Within,
    /// Of [`Pairs::Within`] those in the same group of so many rows.
    Groups(usize),
    /// Of [`Pairs::Within`] those that are not in the same group of so many rows.
    ExceptGroups(usize),
}

impl Pairs {
    fn contains(self, row: u32, column: u32) -> bool {
        match self {
            Self::Between => true,
            Self::Within | Self::Groups(_) => row < column,
            Self::ExceptGroups(rows) => {
                row < column && row as usize / rows != column as usize / rows
            }
        }
    }
}

/// Two sets of vectors, prepared.
pub(super) struct Sweep<'a> {
    left: &'a UnitVectors,
    right: &'a UnitVectors,
    machine: Machine,
    bytes: Option<Sides<Bytes<'a>>>,
    /// Per row 1, or NaN without a direction.
    directed: Sides<Vec<f32>>,
    error: f32,
    /// Pairs in 8 bits, and how many of them were recomputed in vain.
    pairs: AtomicU64,
    vain: AtomicU64,
    host: &'a dyn Host,
}

/// Something for the left and for the right; the same if there is only one set.
struct Sides<T> {
    left: T,
    right: Option<T>,
}

impl<T> Sides<T> {
    fn right(&self) -> &T {
        self.right.as_ref().unwrap_or(&self.left)
    }
}

/// A block of rows and the blocks of columns it meets.
struct Task {
    rows: Range<usize>,
    columns: Vec<Range<usize>>,
}

impl<'a> Sweep<'a> {
    /// Prepares two sets, or one against itself.
    ///
    /// # Errors
    /// What the host says.
    pub(super) fn new(
        left: &'a UnitVectors,
        right: Option<&'a UnitVectors>,
        machine: Machine,
        host: &'a dyn Host,
    ) -> Result<Self> {
        let dimension = left.dimension();
        let worth_it = left.rows() >= BYTES_ROWS_MIN;
        let tiles = Bytes::tiles_for(machine, dimension).filter(|_| worth_it);
        let bytes = tiles
            .map(|tiles| -> Result<_> {
                let right = right.map(|right| Bytes::new(right, tiles, host)).transpose()?;
                Ok(Sides { left: Bytes::new(left, tiles, host)?, right })
            })
            .transpose()?;
        let directed = Sides { left: directed(left), right: right.map(directed) };
        Ok(Self {
            left,
            right: right.unwrap_or(left),
            machine,
            bytes,
            directed,
            error: codes::float_error(dimension),
            pairs: AtomicU64::new(0),
            vain: AtomicU64::new(0),
            host,
        })
    }

    /// Goes over the pairs.
    ///
    /// # Errors
    /// What the host or the collector says.
    pub(super) fn run(
        &self,
        pairs: Pairs,
        stage: Option<&'static str>,
        collect: &dyn Collect,
    ) -> Result<()> {
        let threads = rayon::current_num_threads();
        let tasks = self.tasks(pairs, threads);
        let area =
            |task: &Task| task.rows.len() * task.columns.iter().map(Range::len).sum::<usize>();
        let total = tasks.iter().map(area).sum::<usize>() as u64;
        let (next, done, stop) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let failure = Mutex::new(None);
        let worker = || -> Result<()> {
            let mut worker = Worker::new(self, collect, pairs)?;
            while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                worker.begin(task.rows.clone());
                for columns in &task.columns {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    check(self.host)?;
                    worker.block(columns.clone())?;
                    let area = (task.rows.len() * columns.len()) as u64;
                    let done = done.fetch_add(area, Ordering::Relaxed) + area;
                    stage.into_iter().for_each(|stage| self.host.progress(stage, done, total));
                }
            }
            Ok(())
        };
        rayon::scope(|scope| {
            for _ in 0..threads.min(tasks.len()) {
                scope.spawn(|_| {
                    if let Err(error) = worker() {
                        stop.store(true, Ordering::Relaxed);
                        let mut failure = failure.lock().unwrap_or_else(|error| error.into_inner());
                        failure.get_or_insert(error);
                    }
                });
            }
        });
        let failure = failure.into_inner().unwrap_or_else(|error| error.into_inner());
        failure.map_or(Ok(()), Err)
    }

    /// Cuts the work so that every thread finds enough of it.
    fn tasks(&self, pairs: Pairs, threads: usize) -> Vec<Task> {
        let (rows, columns) = (self.left.rows(), self.right.rows());
        if let Pairs::Groups(group) = pairs {
            let range = |start: usize| start..rows.min(start + group);
            let task = |start| Task { rows: range(start), columns: vec![range(start)] };
            return (0..rows).step_by(group.max(1)).map(task).collect();
        }
        let share = (rows / (4 * threads)).next_multiple_of(PANEL);
        let height = share.clamp(PANEL, BLOCK_ROWS_MAX);
        let mut tasks = Vec::new();
        for start in (0..rows).step_by(height) {
            let first = if pairs == Pairs::Between { 0 } else { start };
            let starts: Vec<usize> = (first..columns).step_by(BLOCK_ROWS_MAX).collect();
            for starts in starts.chunks(COLUMN_BLOCKS) {
                let ranges = starts.iter().map(|start| *start..columns.min(start + BLOCK_ROWS_MAX));
                let rows = start..rows.min(start + height);
                tasks.push(Task { rows, columns: ranges.collect() });
            }
        }
        tasks
    }

    /// The 8-bit form, as long as it pays.
    fn bytes(&self) -> Option<&Sides<Bytes<'a>>> {
        let (pairs, vain) = (self.pairs.load(Ordering::Relaxed), self.vain.load(Ordering::Relaxed));
        let all = self.left.rows() as f64 * self.right.rows() as f64;
        let weighed = (pairs as f64).max(TRIAL_SHARE * all).max(1e6);
        let pays = (vain as f64) <= VAIN_SHARE_MAX * weighed;
        self.bytes.as_ref().filter(|_| pays)
    }
}

/// Per row 1 or NaN, with NaN up to a whole panel.
fn directed(vectors: &UnitVectors) -> Vec<f32> {
    let mark = |row| if vectors.has_direction(row) { 1.0 } else { f32::NAN };
    let mut marks: Vec<f32> = (0..vectors.rows()).map(mark).collect();
    marks.resize(vectors.rows().next_multiple_of(PANEL), f32::NAN);
    marks
}

/// Which form the worker has packed its rows in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packed {
    Nothing,
    Bytes,
    Floats,
}

/// What one thread works with.
struct Worker<'a, 'b> {
    sweep: &'b Sweep<'a>,
    collect: &'b dyn Collect,
    pairs: Pairs,
    rows: Range<usize>,
    packed: Packed,
    row_bytes: Vec<[i8; 4]>,
    row_starts: Vec<[i32; TILE_ROWS_MAX]>,
    row_floats: Vec<f32>,
    column_floats: Vec<f32>,
    /// Per tile of the block: limits and inverse scales of its rows.
    row_limits: Vec<([f32; TILE_ROWS_MAX], [f32; TILE_ROWS_MAX])>,
    survivors: Vec<Survivor>,
    candidates: Vec<Candidate>,
    _loan: Loan<'b>,
}

impl<'a, 'b> Worker<'a, 'b> {
    fn new(sweep: &'b Sweep<'a>, collect: &'b dyn Collect, pairs: Pairs) -> Result<Self> {
        let dimension = sweep.left.dimension();
        let survivors_max = BLOCK_ROWS_MAX * PANEL + SURVIVORS_MIN + TILE_SURVIVORS_MAX;
        let survivor = size_of::<Survivor>() + size_of::<Candidate>();
        let bytes = survivors_max * survivor + BLOCK_ROWS_MAX * dimension * 9;
        Ok(Self {
            sweep,
            collect,
            pairs,
            rows: 0..0,
            packed: Packed::Nothing,
            row_bytes: Vec::new(),
            row_starts: Vec::new(),
            row_floats: Vec::new(),
            column_floats: Vec::new(),
            row_limits: Vec::new(),
            survivors: Vec::new(),
            candidates: Vec::new(),
            _loan: Loan::new(sweep.host, bytes)?,
        })
    }

    /// Turns to a block of rows.
    fn begin(&mut self, rows: Range<usize>) {
        if self.rows != rows {
            self.rows = rows;
            self.packed = Packed::Nothing;
        }
    }

    /// The block of rows against a block of columns.
    fn block(&mut self, columns: Range<usize>) -> Result<()> {
        let sweep = self.sweep;
        if let Some(bytes) = sweep.bytes() {
            if self.packed != Packed::Bytes {
                bytes.left.pack(self.rows.clone(), &mut self.row_bytes, &mut self.row_starts);
                self.packed = Packed::Bytes;
            }
            let residues = (
                bytes.left.residue_max(self.rows.clone()),
                bytes.right().residue_max(columns.clone()),
            );
            let error = residues.0 + residues.1 + residues.0 * residues.1 + sweep.error;
            let scales = (bytes.left.scales(self.rows.start), bytes.right().scales(columns.start));
            let vain = self.panels(columns.clone(), scales, error, Packed::Bytes)?;
            let pairs = (self.rows.len() * columns.len()) as u64;
            sweep.pairs.fetch_add(pairs, Ordering::Relaxed);
            sweep.vain.fetch_add(vain as u64, Ordering::Relaxed);
            return Ok(());
        }
        if self.packed != Packed::Floats {
            let tile_rows = sweep.machine.tile_rows();
            codes::pack(sweep.left, self.rows.clone(), tile_rows, &mut self.row_floats);
            self.packed = Packed::Floats;
        }
        codes::pack(sweep.right, columns.clone(), PANEL, &mut self.column_floats);
        let directed = &sweep.directed;
        let scales = (&directed.left[self.rows.start..], &directed.right()[columns.start..]);
        self.panels(columns, scales, sweep.error, Packed::Floats)?;
        Ok(())
    }

    /// Panel after panel of a block of columns. Says how much was recomputed in vain.
    fn panels(
        &mut self,
        columns: Range<usize>,
        scales: (&[f32], &[f32]),
        error: f32,
        form: Packed,
    ) -> Result<usize> {
        let tile_rows = self.tile_rows(form);
        let mut vain = 0;
        self.limit_rows(scales.0, error, tile_rows);
        for (panel, start) in columns.clone().step_by(PANEL).enumerate() {
            let width = PANEL.min(columns.end - start);
            let mut floor = [f32::INFINITY; PANEL];
            for (floor, column) in floor.iter_mut().zip(start..start + width) {
                *floor = self.collect.column_bound(column) - error;
            }
            let mut scale = [f32::NAN; PANEL];
            scale[..width].copy_from_slice(&scales.1[start - columns.start..][..width]);
            for tile in 0..self.row_limits.len() {
                let first = self.rows.start + tile * tile_rows;
                if self.pairs != Pairs::Between && first >= start + width {
                    break;
                }
                let at = (tile * tile_rows, panel * PANEL);
                self.tile(form, tile, (columns.start, panel), at, (&scale, &floor));
            }
            if self.survivors.len() >= SURVIVORS_MIN {
                vain += self.hand_over(columns.start, scales.0, error)?;
                self.limit_rows(scales.0, error, tile_rows);
            }
        }
        Ok(vain + self.hand_over(columns.start, scales.0, error)?)
    }

    fn tile_rows(&self, form: Packed) -> usize {
        match (form, &self.sweep.bytes) {
            (Packed::Bytes, Some(bytes)) => bytes.left.tiles().rows(),
            _ => self.sweep.machine.tile_rows(),
        }
    }

    /// Reads the bounds of the block's rows again.
    fn limit_rows(&mut self, scales: &[f32], error: f32, tile_rows: usize) {
        self.row_limits.clear();
        for start in self.rows.clone().step_by(tile_rows) {
            let mut limits = ([f32::NAN; TILE_ROWS_MAX], [1.0; TILE_ROWS_MAX]);
            for (position, row) in (start..self.rows.end.min(start + tile_rows)).enumerate() {
                let inverse = scales[row - self.rows.start].recip();
                limits.0[position] = (self.collect.row_bound(row) - error) * inverse;
                limits.1[position] = inverse;
            }
            self.row_limits.push(limits);
        }
    }

    /// One tile against one panel.
    fn tile(
        &mut self,
        form: Packed,
        tile: usize,
        (first_column, panel): (usize, usize),
        (row, column): (usize, usize),
        (scale, floor): (&[f32; PANEL], &[f32; PANEL]),
    ) {
        let (limit, inverse) = &self.row_limits[tile];
        let limits = Limits { limit, inverse, scale, floor };
        let mut out =
            Survivors { found: &mut self.survivors, row: row as u16, column: column as u16 };
        let (machine, dimension) = (self.sweep.machine, self.sweep.left.dimension());
        if let (Packed::Bytes, Some(bytes)) = (form, &self.sweep.bytes) {
            let tiles = bytes.left.tiles();
            let size = bytes.left.steps() * tiles.rows();
            let rows = &self.row_bytes[tile * size..][..size];
            let panel = bytes.right().panel(first_column / PANEL + panel);
            tiles.products(rows, panel, &self.row_starts[tile], limits, &mut out);
            return;
        }
        let size = dimension * machine.tile_rows();
        let rows = &self.row_floats[tile * size..][..size];
        let columns = &self.column_floats[panel * dimension * PANEL..][..dimension * PANEL];
        machine.floats(rows, columns, limits, &mut out);
    }

    /// Hands the survivors to the collector.
    fn hand_over(&mut self, first_column: usize, scales: &[f32], error: f32) -> Result<usize> {
        self.candidates.clear();
        for survivor in self.survivors.drain(..) {
            let row = (self.rows.start + usize::from(survivor.row)) as u32;
            let column = (first_column + usize::from(survivor.column)) as u32;
            if self.pairs.contains(row, column) {
                let score = survivor.value * scales[usize::from(survivor.row)];
                self.candidates.push(Candidate { row, column, score });
            }
        }
        if self.candidates.is_empty() {
            return Ok(0);
        }
        self.collect.take(&mut self.candidates, error)
    }
}
