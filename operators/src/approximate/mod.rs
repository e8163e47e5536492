//! An approximate index of vectors: HNSW (Malkov and Yashunin 2016), by usearch.
//!
//! A search looks at a small part of the rows and may miss some; how much of the exact result is
//! found (the recall) grows with `expansion`. Rows are added on all cores, and the graph depends on
//! the order in which threads come, so two builds of the same rows may find differently. The
//! scores of what is found don't: they are the cosines of the stored vectors, by the one sum of
//! [`UnitVectors::cosine`], and equal scores are ordered by key.
//!
//! This is the one operator that knows files: [`ApproximateIndex::save`] and
//! [`ApproximateIndex::open`] write and read the index's own format at a path that the caller gives
//! (see `file`).

mod file;

pub use file::Unpublished;

use rayon::prelude::*;
use usearch::ffi::{IndexOptions, MetricKind, ScalarKind};

use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};
use crate::neighbours::{Neighbour, Neighbours};
use crate::unit::{UnitVectors, cosine, normalize};

/// The smallest `connectivity` that can be asked for.
pub const CONNECTIVITY_MIN: usize = 2;
/// The largest `connectivity` that can be asked for.
pub const CONNECTIVITY_MAX: usize = 512;
/// The largest `expansion` that can be asked for.
pub const EXPANSION_MAX: usize = 100_000;

/// Rows that are added or searched between two looks at the host.
const ROWS_PER_STEP: usize = 4096;

/// Cosine distances up to this are those of equal rows, with the library's rounding.
const EQUAL_DISTANCE: f32 = 1e-6;

/// Threads that an index has room for at the least.
const THREADS_MIN: usize = 128;

/// Bytes of a row's key, level and rounding in the graph.
const ROW_BYTES: usize = 40;

/// Bytes of a row in the tables that find it by key and by slot.
const LOOKUP_BYTES: usize = 32;

/// How components are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As they are: 4 bytes.
    F32,
    /// Half precision: 2 bytes; cosines are off by about 1e-3.
    F16,
    /// One byte; cosines are off by about 1e-2.
    I8,
}

impl Storage {
    /// Every storage, with the name of its option.
    pub const NAMES: [(&'static str, Self); 3] =
        [("f32", Self::F32), ("f16", Self::F16), ("i8", Self::I8)];

    /// Reads an option.
    ///
    /// # Errors
    /// [`OperatorError::Option`] that names the storages.
    pub fn parse(name: &str) -> Result<Self> {
        let known = Self::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, storage)| *storage).ok_or_else(|| {
            OperatorError::Option(format!("storage must be 'f32', 'f16' or 'i8', got '{name}'"))
        })
    }

    fn kind(self) -> ScalarKind {
        match self {
            Self::F32 => ScalarKind::F32,
            Self::F16 => ScalarKind::F16,
            Self::I8 => ScalarKind::I8,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

/// How an index is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApproximateOptions {
    /// How components are stored.
    pub storage: Storage,
    /// Links of a row to others, 2 to 512: more find better and take memory.
    pub connectivity: usize,
    /// Rows that are held as candidates while one is added: more find better and take time.
    pub expansion: usize,
}

impl Default for ApproximateOptions {
    fn default() -> Self {
        Self { storage: Storage::F32, connectivity: 16, expansion: 128 }
    }
}

/// Candidates of a search unless the caller says otherwise.
pub const SEARCH_EXPANSION: usize = 128;

/// A row of an index that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApproximateHit {
    /// The key it was added with.
    pub key: u64,
    /// The cosine of the query and the stored vector.
    pub score: f32,
}

/// Vectors that can be searched approximately, each with a key of the caller's.
pub struct ApproximateIndex {
    index: usearch::Index,
    options: ApproximateOptions,
}

impl ApproximateIndex {
    /// An empty index of vectors of one dimension.
    ///
    /// # Errors
    /// [`OperatorError::Option`] for options out of range.
    pub fn new(dimension: usize, options: &ApproximateOptions) -> Result<Self> {
        let wrong = |message: String| Err(OperatorError::Option(message));
        if dimension == 0 || dimension > 1 << 16 {
            return wrong(format!(
                "vectors of an index must have 1 to 65536 components, got {dimension}"
            ));
        }
        if !(CONNECTIVITY_MIN..=CONNECTIVITY_MAX).contains(&options.connectivity) {
            return wrong(format!(
                "connectivity must be a number of links between {CONNECTIVITY_MIN} and {CONNECTIVITY_MAX}, got {}",
                options.connectivity
            ));
        }
        check_expansion(options.expansion)?;
        let native = IndexOptions {
            dimensions: dimension,
            metric: MetricKind::Cos,
            quantization: options.storage.kind(),
            connectivity: options.connectivity,
            expansion_add: options.expansion,
            // A search that wants more rows than this looks at as many as it wants, so the number
            // of rows says how wide each search is, with no state that searches would share.
            expansion_search: 1,
            multi: false,
        };
        let index = usearch::Index::new(&native).map_err(failed)?;
        let mut index = Self { index, options: *options };
        index.compare_by_own_cosine();
        Ok(index)
    }

    /// Makes the library compare f32 vectors by the crate's own sum, which uses what the processor
    /// has and is faster than the portable one. Loading a file undoes it.
    fn compare_by_own_cosine(&mut self) {
        let dimension = self.dimension();
        if self.options.storage == Storage::F32 {
            self.index.change_metric::<f32>(Box::new(move |a: *const f32, b: *const f32| {
                // SAFETY: the library calls this with vectors of the index's dimension: stored
                // ones, which it aligns to 64 bytes, and the slices that it is searched with.
                let vector = |start| unsafe { std::slice::from_raw_parts(start, dimension) };
                1.0 - cosine(vector(a), vector(b))
            }));
        }
    }

    /// Number of vectors.
    pub fn rows(&self) -> usize {
        self.index.size()
    }

    /// Number of components of a vector.
    pub fn dimension(&self) -> usize {
        self.index.dimensions()
    }

    /// How the index was built.
    pub fn options(&self) -> &ApproximateOptions {
        &self.options
    }

    /// Bytes that the index takes now. The caller, who keeps it, accounts for them.
    pub fn bytes(&self) -> usize {
        let stats = self.index.memory_stats();
        // What is mapped ahead and not used yet is no memory.
        let graph = stats.graph_allocated - stats.graph_reserved.min(stats.graph_allocated);
        let vectors = stats.vectors_allocated - stats.vectors_reserved.min(stats.vectors_allocated);
        graph + vectors + self.rows() * LOOKUP_BYTES
    }

    /// About how many bytes an index of `rows` vectors takes.
    pub fn bytes_for(rows: usize, dimension: usize, options: &ApproximateOptions) -> usize {
        // The ground level has two links for each of the others', each of 4 bytes, and few rows
        // are on the levels above.
        let links = options.connectivity * 2 * 4 + options.connectivity / 2;
        rows * (dimension * options.storage.bytes() + links + ROW_BYTES + LOOKUP_BYTES)
    }

    /// Adds vectors on all cores, each with a key that the index doesn't have yet. Rows without
    /// a direction are left out. After an error some of the rows may be in the index.
    ///
    /// # Errors
    /// [`OperatorError::Data`] when a key is there already or comes twice, or there are not as many
    /// keys as vectors; another dimension; what the host says.
    pub fn add(&mut self, keys: &[u64], vectors: &UnitVectors, host: &dyn Host) -> Result<()> {
        if keys.len() != vectors.rows() {
            return Err(OperatorError::Data(format!(
                "{} keys don't match {} vectors",
                keys.len(),
                vectors.rows()
            )));
        }
        self.check_dimension(vectors)?;
        self.check_keys(keys)?;
        let _loan = Loan::new(host, Self::bytes_for(keys.len(), self.dimension(), &self.options))?;
        self.reserve(self.rows() + keys.len())?;
        let rows: Vec<usize> = (0..keys.len()).collect();
        for step in rows.chunks(ROWS_PER_STEP) {
            step.par_iter().try_for_each(|row| -> Result<()> {
                check(host)?;
                if vectors.has_direction(*row) {
                    self.index.add(keys[*row], vectors.row(*row)).map_err(failed)?;
                }
                Ok(())
            })?;
            let done = step.last().map_or(0, |row| row + 1);
            host.progress("indexing vectors", done as u64, keys.len() as u64);
        }
        self.link_lost_rows(keys, vectors, host)
    }

    /// Adds the rows once more, one after another, that no search reaches. When rows that are
    /// neighbours are added at the same moment, the library may leave some of them without a link
    /// that leads to them; with more threads than cores that was up to 2 % of the rows.
    fn link_lost_rows(&self, keys: &[u64], vectors: &UnitVectors, host: &dyn Host) -> Result<()> {
        let is_lost = |row: &usize| -> Result<Option<usize>> {
            check(host)?;
            if !vectors.has_direction(*row) {
                return Ok(None);
            }
            let wanted = self.options.expansion.min(self.rows());
            let found = self.index.search(vectors.row(*row), wanted).map_err(failed)?;
            // Where there are many equal rows it is enough to find some of them.
            let equal = found.distances.last().is_some_and(|furthest| *furthest <= EQUAL_DISTANCE);
            Ok((!equal && !found.keys.contains(&keys[*row])).then_some(*row))
        };
        let rows: Vec<usize> = (0..keys.len()).collect();
        let lost: Result<Vec<Option<usize>>> = rows.par_iter().map(is_lost).collect();
        for row in lost?.into_iter().flatten() {
            check(host)?;
            self.index.remove(keys[row]).map_err(failed)?;
            self.index.add(keys[row], vectors.row(row)).map_err(failed)?;
        }
        Ok(())
    }

    /// About the `k` most similar vectors of each query, best first; equal scores by key. The
    /// search holds `expansion` candidates, or `k` if that is more, and is exact where those are as
    /// many as the rows.
    ///
    /// # Errors
    /// [`OperatorError::Option`] for an expansion of 0 or above 100,000, another dimension, what
    /// the host says.
    pub fn search(
        &self,
        queries: &UnitVectors,
        k: usize,
        expansion: usize,
        host: &dyn Host,
    ) -> Result<Vec<Vec<ApproximateHit>>> {
        self.search_among(queries, k, expansion, None, host)
    }

    /// The same among the vectors whose keys are wanted. The others still lead the search through
    /// the graph, so a key that is not wanted costs time but hides nothing.
    ///
    /// # Errors
    /// As [`ApproximateIndex::search`].
    pub fn search_among(
        &self,
        queries: &UnitVectors,
        k: usize,
        expansion: usize,
        is_wanted: Option<&(dyn Fn(u64) -> bool + Sync)>,
        host: &dyn Host,
    ) -> Result<Vec<Vec<ApproximateHit>>> {
        check_expansion(expansion)?;
        self.check_dimension(queries)?;
        let wanted = k.max(expansion).min(self.rows());
        let done = std::sync::atomic::AtomicU64::new(0);
        let search = |query: usize| {
            check(host)?;
            let searched = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            if searched.is_multiple_of(ROWS_PER_STEP as u64) {
                host.progress("searching", searched, queries.rows() as u64);
            }
            if k == 0 || wanted == 0 || !queries.has_direction(query) {
                return Ok(Vec::new());
            }
            self.search_one(queries.row(query), k, wanted, is_wanted)
        };
        (0..queries.rows()).into_par_iter().map(search).collect()
    }

    /// Searches with `wanted` candidates and gives the best `k`.
    fn search_one(
        &self,
        query: &[f32],
        k: usize,
        wanted: usize,
        is_wanted: Option<&(dyn Fn(u64) -> bool + Sync)>,
    ) -> Result<Vec<ApproximateHit>> {
        let found = match is_wanted {
            // As many candidates as rows: the graph saves nothing, and changes may have cut it.
            _ if wanted == self.rows() => self.index.exact_search(query, wanted),
            Some(is_wanted) => self.index.filtered_search(query, wanted, is_wanted),
            None => self.index.search(query, wanted),
        };
        let found = found.map_err(failed)?;
        let mut stored = vec![0f32; query.len()];
        // Another half is looked at, as the library's own distances are rounded otherwise.
        let is_wanted = |key: &&u64| is_wanted.is_none_or(|is_wanted| is_wanted(**key));
        let rescored = found.keys.iter().filter(is_wanted).take(k.saturating_add(k / 2 + 1));
        let mut hits = rescored
            .map(|key| {
                self.index.get(*key, &mut stored).map_err(failed)?;
                if self.options.storage != Storage::F32 {
                    normalize(&mut stored);
                }
                Ok(ApproximateHit { key: *key, score: cosine(query, &stored) })
            })
            .collect::<Result<Vec<_>>>()?;
        hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)));
        hits.truncate(k);
        Ok(hits)
    }

    /// The stored vectors of some keys, in that order. What was stored in fewer bits is of length
    /// one again.
    ///
    /// # Errors
    /// [`OperatorError::Data`] for a key that the index doesn't have, what the host says.
    pub fn vectors_of(&self, keys: &[u64], host: &dyn Host) -> Result<UnitVectors> {
        let dimension = self.dimension();
        let mut values = vec![0f32; keys.len() * dimension];
        values.par_chunks_mut(dimension).zip(keys).try_for_each(|(vector, key)| {
            check(host)?;
            if self.index.get(*key, vector).map_err(failed)? == 0 {
                return Err(OperatorError::Data(format!("key {key} is not in the index")));
            }
            if self.options.storage != Storage::F32 {
                normalize(vector);
            }
            Ok(())
        })?;
        Ok(UnitVectors::of_units(dimension, values))
    }

    /// Makes room for rows, and for the threads that work on them at once. Later searches may come
    /// from a larger pool than this call.
    fn reserve(&self, rows: usize) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = rayon::current_num_threads().max(cores).max(THREADS_MIN);
        self.index.reserve_capacity_and_threads(rows, threads).map_err(failed)
    }

    fn check_keys(&self, keys: &[u64]) -> Result<()> {
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        let there = sorted.iter().copied().find(|key| self.index.contains(*key));
        let reserved = sorted.last().copied().filter(|key| *key == u64::MAX);
        let refuse = |key, why| Err(OperatorError::Data(format!("key {key} {why}")));
        match (twice, there, reserved) {
            (Some(key), _, _) => refuse(key, "comes twice"),
            (_, Some(key), _) => refuse(key, "already exists in the index"),
            (_, _, Some(key)) => refuse(key, "can't be used; keys are below it"),
            _ => Ok(()),
        }
    }

    fn check_dimension(&self, vectors: &UnitVectors) -> Result<()> {
        if vectors.rows() == 0 || vectors.dimension() == self.dimension() {
            return Ok(());
        }
        Err(OperatorError::Data(format!(
            "the vectors of the index have {} components, but these have {}",
            self.dimension(),
            vectors.dimension()
        )))
    }
}

/// About the `k` most similar other rows of each row, of those with a cosine of at least
/// `min_score`, best first: [`crate::neighbours::top_k_within`] without comparing all with all. The
/// index is built for this call and dropped.
///
/// # Errors
/// As [`ApproximateIndex::add`] and [`ApproximateIndex::search`].
pub fn top_k_within(
    vectors: &UnitVectors,
    k: usize,
    min_score: f32,
    options: &ApproximateOptions,
    expansion: usize,
    host: &dyn Host,
) -> Result<Neighbours> {
    let rows = vectors.rows();
    let _loan = Loan::new(host, Neighbours::bytes(rows, k))?;
    let mut index = ApproximateIndex::new(vectors.dimension().max(1), options)?;
    let keys: Vec<u64> = (0..rows as u64).collect();
    index.add(&keys, vectors, host)?;
    let found = index.search(vectors, k.saturating_add(1), expansion, host)?;
    let neighbours = |(row, hits): (usize, Vec<ApproximateHit>)| {
        let neighbour = |hit: ApproximateHit| {
            // Scores are those of the rows themselves, however the index stores them.
            let score = vectors.cosine(row, vectors, hit.key as usize);
            Neighbour { row: hit.key as u32, score }
        };
        let mut found: Vec<Neighbour> = hits
            .into_iter()
            .filter(|hit| hit.key as usize != row)
            .map(neighbour)
            .filter(|neighbour| neighbour.score >= min_score)
            .collect();
        found.sort_unstable_by(Neighbour::best_first);
        found.truncate(k);
        found
    };
    Ok(Neighbours::from_rows(found.into_iter().enumerate().map(neighbours).collect()))
}

fn check_expansion(expansion: usize) -> Result<()> {
    if (1..=EXPANSION_MAX).contains(&expansion) {
        return Ok(());
    }
    Err(OperatorError::Option(format!(
        "expansion must be a number of candidates between 1 and {EXPANSION_MAX}, got {expansion}"
    )))
}

fn failed(error: impl std::fmt::Display) -> OperatorError {
    OperatorError::Bug(format!("vector index: {error}"))
}

#[cfg(test)]
mod tests;
