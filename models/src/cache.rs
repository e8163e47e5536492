//! Remembers vectors on disk by the content of what was embedded, so that nothing is embedded
//! twice.
//!
//! A key is the hash of everything that decides a vector: the model's fingerprint (files,
//! precision, longest input, truncation), the prompt and the input. The store is LMDB: safe with
//! several processes, whole after a kill. It holds two generations; when the younger has used up
//! its half of the bound, the older is dropped and they change places. A vector that is read from
//! the older generation moves to the younger, so what is used stays.
//!
//! A cache that is full or busy never stops a job; a folder that can't be used is an error when the
//! model loads.
//!
//! - *Invariant:* a vector is given as it was written, or not at all: each has a checksum of itself
//!   and its key, and nothing is read behind the end of a file that was cut.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls};

use crate::inputs::Input;
use crate::{ModelError, Result};

/// The hash that stands for an input under a model and a prompt.
pub(crate) type Key = [u8; 32];

/// Processes and threads that may read at the same time.
const READERS_MAX: u32 = 512;

/// Bytes of the checksum behind a vector.
const CHECKSUM_BYTES: usize = 4;

/// Key of the number that says which generation is the younger.
const YOUNGER: &[u8] = b"younger";

/// A folder of remembered vectors, shared by all models that name it.
struct Store {
    path: PathBuf,
    env: Env<WithoutTls>,
    /// What does not fit anywhere else: which generation is the younger.
    meta: Database<Bytes, Bytes>,
    generations: [Database<Bytes, Bytes>; 2],
    /// Bytes that one generation may take.
    generation_bytes: u64,
}

/// One model's view of a [`Store`].
pub(crate) struct VectorCache {
    store: Arc<Store>,
    fingerprint: String,
}

/// A borrowed view of the generations inside one transaction.
struct Generations {
    younger: Database<Bytes, Bytes>,
    older: Database<Bytes, Bytes>,
    /// Number of the younger.
    number: usize,
}

impl VectorCache {
    /// Opens or makes the cache in `folder`, at most `mib` MiB on disk.
    ///
    /// # Errors
    /// [`ModelError::Cache`] when the folder can't be made or holds something else.
    pub(crate) fn open(folder: &Path, mib: u64, fingerprint: &str) -> Result<Self> {
        let store = Store::open(folder, mib)?;
        Ok(Self { store, fingerprint: fingerprint.to_string() })
    }

    /// The key of an input after a prompt.
    pub(crate) fn key(&self, prompt: &str, input: &Input<'_>) -> Key {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.fingerprint.as_bytes());
        let mut pieces = std::iter::once(prompt.as_bytes()).chain(input.contents()).peekable();
        while let Some(piece) = pieces.next() {
            // The length of each piece but the last, so that no two lists give the same bytes.
            if pieces.peek().is_some() {
                hasher.update(&(piece.len() as u64).to_le_bytes());
            }
            hasher.update(piece);
        }
        *hasher.finalize().as_bytes()
    }

    /// Fills the rows of `values` that are remembered, and gives the numbers of those that are not.
    pub(crate) fn read(
        &self,
        keys: &[Key],
        dimension: usize,
        values: &mut [f32],
    ) -> Result<Vec<usize>> {
        let (missing, old) = {
            let txn = self.store.env.read_txn().map_err(|error| self.store.error(&error))?;
            self.store.lookup(&txn, keys, dimension, values)?
        };
        if !old.is_empty() {
            let rows = old
                .iter()
                .map(|row| (&keys[*row], &values[row * dimension..(row + 1) * dimension]));
            self.write(rows)?;
        }
        Ok(missing)
    }

    /// Remembers vectors.
    pub(crate) fn write<'a>(
        &self,
        rows: impl Iterator<Item = (&'a Key, &'a [f32])> + Clone,
    ) -> Result<()> {
        // A store without room is rotated once; if that doesn't help, the vectors stay
        // unremembered.
        for attempt in 0..2 {
            match self.store.put(rows.clone(), attempt > 0) {
                Err(heed::Error::Mdb(MdbError::MapFull)) => {}
                Err(error) => return Err(self.store.error(&error)),
                Ok(()) => return Ok(()),
            }
        }
        tracing::warn!(path = %self.store.path.display(), "the cache is too small for one batch; raise cache_mib");
        Ok(())
    }
}

impl Store {
    /// Opens a folder once per process; LMDB must not have it open twice.
    fn open(folder: &Path, mib: u64) -> Result<Arc<Self>> {
        static OPEN: OnceLock<Mutex<HashMap<PathBuf, Weak<Store>>>> = OnceLock::new();
        let fail = |message: String| ModelError::Cache { path: folder.to_path_buf(), message };
        std::fs::create_dir_all(folder).map_err(|error| fail(error.to_string()))?;
        let path = folder.canonicalize().map_err(|error| fail(error.to_string()))?;
        let open = OPEN.get_or_init(Mutex::default);
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(&path).and_then(Weak::upgrade) {
            return Ok(store);
        }
        let store = Self::open_new(&path, mib).map_err(|error| {
            fail(format!("can't be opened as a cache of vectors: {error}; name another folder or delete this one"))
        })?;
        let store = Arc::new(store);
        open.insert(path, Arc::downgrade(&store));
        Ok(store)
    }

    fn open_new(path: &Path, mib: u64) -> heed::Result<Self> {
        let bytes = usize::try_from(mib.saturating_mul(1 << 20)).unwrap_or(usize::MAX >> 1);
        // LMDB wants whole pages, and its own pages need some room.
        let bytes = (bytes >> 16 << 16).max(1 << 20);
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(bytes).max_dbs(3).max_readers(READERS_MAX);
        // SAFETY: NO_META_SYNC can lose the last commit at a power cut, never the store; the files
        // are changed by LMDB alone, which is what the format asks of its users.
        let env = unsafe { options.flags(EnvFlags::NO_META_SYNC).open(path)? };
        let mut txn = env.write_txn()?;
        fill_up(&env, path)?;
        let meta = env.create_database(&mut txn, Some("meta"))?;
        let first = env.create_database(&mut txn, Some("generation-0"))?;
        let second = env.create_database(&mut txn, Some("generation-1"))?;
        txn.commit()?;
        env.clear_stale_readers()?;
        Ok(Self {
            path: path.to_path_buf(),
            env,
            meta,
            generations: [first, second],
            generation_bytes: bytes as u64 / 20 * 9,
        })
    }

    fn error(&self, error: &heed::Error) -> ModelError {
        let message = match error {
            heed::Error::Mdb(MdbError::MapResized) => {
                "another process uses it with a larger limit; use the same cache_mib".to_string()
            }
            other => format!("{other}; delete the folder to start over"),
        };
        ModelError::Cache { path: self.path.clone(), message }
    }

    fn generations(&self, txn: &RoTxn) -> heed::Result<Generations> {
        let number = match self.meta.get(txn, YOUNGER)? {
            Some([1, ..]) => 1,
            _ => 0,
        };
        Ok(Generations {
            younger: self.generations[number],
            older: self.generations[1 - number],
            number,
        })
    }

    /// Fills what is there; gives the rows that are missing, and those that only the older
    /// generation has.
    fn lookup(
        &self,
        txn: &RoTxn,
        keys: &[Key],
        dimension: usize,
        values: &mut [f32],
    ) -> Result<(Vec<usize>, Vec<usize>)> {
        let fail = |error: heed::Error| self.error(&error);
        let generations = self.generations(txn).map_err(fail)?;
        let (mut missing, mut old) = (Vec::new(), Vec::new());
        for (row, (key, target)) in keys.iter().zip(values.chunks_exact_mut(dimension)).enumerate()
        {
            if let Some(bytes) = generations.younger.get(txn, key).map_err(fail)?
                && decode(key, bytes, target)
            {
                continue;
            }
            match generations.older.get(txn, key).map_err(fail)? {
                Some(bytes) if decode(key, bytes, target) => old.push(row),
                _ => missing.push(row),
            }
        }
        Ok((missing, old))
    }

    fn put<'a>(
        &self,
        rows: impl Iterator<Item = (&'a Key, &'a [f32])>,
        rotate: bool,
    ) -> heed::Result<()> {
        let mut txn = self.env.write_txn()?;
        let mut generations = self.generations(&txn)?;
        if rotate || self.used(&txn, &generations)? > self.generation_bytes {
            generations = self.rotate(&mut txn, &generations)?;
        }
        let mut bytes = Vec::new();
        for (key, vector) in rows {
            encode(key, vector, &mut bytes);
            generations.younger.put(&mut txn, key, &bytes)?;
        }
        txn.commit()
    }

    /// Bytes that the younger generation takes.
    fn used(&self, txn: &RoTxn, generations: &Generations) -> heed::Result<u64> {
        let stat = generations.younger.stat(txn)?;
        let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        Ok(pages as u64 * u64::from(stat.page_size))
    }

    fn rotate(&self, txn: &mut RwTxn, generations: &Generations) -> heed::Result<Generations> {
        generations.older.clear(txn)?;
        let number = 1 - generations.number;
        self.meta.put(txn, YOUNGER, &[u8::try_from(number).unwrap_or(0)])?;
        self.generations(txn)
    }
}

/// Gives a file that ends before its last page the length that it says it has: it is mapped, and
/// reading behind its end would kill the process. What was lost is zeros then, which LMDB reports.
/// To be called inside a write transaction, so that no other process writes meanwhile.
fn fill_up(env: &Env<WithoutTls>, folder: &Path) -> heed::Result<()> {
    let pages = env.info().last_page_number as u64 + 1;
    let wanted = pages.saturating_mul(u64::from(env.stat().page_size));
    if env.real_disk_size()? < wanted {
        OpenOptions::new().write(true).open(folder.join("data.mdb"))?.set_len(wanted)?;
    }
    Ok(())
}

/// Writes a vector, and behind it the checksum.
fn encode(key: &Key, vector: &[f32], bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    let checksum = checksum(key, bytes);
    bytes.extend(checksum);
}

fn checksum(key: &Key, vector: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut first = [0; CHECKSUM_BYTES];
    let hash = blake3::Hasher::new_keyed(key).update(vector).finalize();
    first.copy_from_slice(&hash.as_bytes()[..CHECKSUM_BYTES]);
    first
}

/// Reads a vector; false when the bytes are not the one of this key and width.
fn decode(key: &Key, bytes: &[u8], target: &mut [f32]) -> bool {
    let Some((vector, sum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else { return false };
    let (chunks, rest) = vector.as_chunks::<4>();
    if !rest.is_empty() || chunks.len() != target.len() || checksum(key, vector) != *sum {
        return false;
    }
    for (target, chunk) in target.iter_mut().zip(chunks) {
        *target = f32::from_le_bytes(*chunk);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(seed: usize) -> Vec<f32> {
        (0..64).map(|component| (seed * 64 + component) as f32).collect()
    }

    fn key(cache: &VectorCache, seed: usize) -> Key {
        cache.key("", &Input::Text(&seed.to_string()))
    }

    fn put(cache: &VectorCache, seeds: std::ops::Range<usize>) {
        let keys: Vec<Key> = seeds.clone().map(|seed| key(cache, seed)).collect();
        let vectors: Vec<Vec<f32>> = seeds.map(vector).collect();
        cache.write(keys.iter().zip(vectors.iter().map(Vec::as_slice))).expect("write");
    }

    fn has(cache: &VectorCache, seed: usize) -> bool {
        let mut values = vec![0f32; 64];
        let missing = cache.read(&[key(cache, seed)], 64, &mut values).expect("read");
        assert!(!missing.is_empty() || values == vector(seed));
        missing.is_empty()
    }

    #[test]
    fn what_is_written_comes_back_under_the_same_key_only() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = VectorCache::open(folder.path(), 8, "model-a").expect("open");
        put(&cache, 0..10);
        assert!((0..10).all(|seed| has(&cache, seed)));
        assert!(!has(&cache, 10));
        let other = VectorCache::open(folder.path(), 8, "model-b").expect("open");
        assert!(!has(&other, 3), "another fingerprint is another vector");
        let keys = [
            cache.key("a", &Input::Text("bc")),
            cache.key("ab", &Input::Text("c")),
            cache.key("a", &Input::Pair("b", "c")),
            cache.key("a", &Input::Pair("bc", "")),
            cache.key("", &Input::Pair("a", "bc")),
        ];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = VectorCache::open(folder.path(), 2, "model").expect("open");
        for round in 0..100 {
            put(&cache, round * 100..(round + 1) * 100);
            assert!(has(&cache, 0), "the vector that every round reads is there in round {round}");
        }
        assert!(!has(&cache, 101), "what nobody reads makes room");
        let size = std::fs::metadata(folder.path().join("data.mdb")).expect("file").len();
        assert!(size <= 2 << 20, "{size} bytes");
    }

    /// Flips and cuts lose vectors, or are rejected in one line; they change none and crash
    /// nothing.
    #[test]
    fn a_damaged_file_gives_no_wrong_vector() {
        let whole = tempfile::tempdir().expect("folder");
        put(&VectorCache::open(whole.path(), 8, "model").expect("open"), 0..300);
        let bytes = std::fs::read(whole.path().join("data.mdb")).expect("file");
        let (mut right, mut refused) = (0, 0);
        for step in 0..240_usize {
            let mut damaged = bytes.clone();
            let at = 8192 + (step * 7919) % (bytes.len() - 8192);
            match step % 3 {
                0 => damaged.truncate(at),
                1 => damaged[at] ^= 1 << (step % 8),
                _ => damaged[at..(at + 4096).min(bytes.len())].fill(0),
            }
            let folder = tempfile::tempdir().expect("folder");
            std::fs::write(folder.path().join("data.mdb"), damaged).expect("write");
            let read = VectorCache::open(folder.path(), 8, "model").and_then(|cache| {
                let keys: Vec<Key> = (0..300).map(|seed| key(&cache, seed)).collect();
                let mut values = vec![0f32; 300 * 64];
                let missing = cache.read(&keys, 64, &mut values)?;
                Ok((missing, values))
            });
            match read {
                Ok((missing, values)) => {
                    for (seed, value) in values.chunks(64).enumerate() {
                        assert!(missing.contains(&seed) || value == vector(seed), "{step} {seed}");
                    }
                    right += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().contains('\n'), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(right > 20 && refused > 20, "{right} read, {refused} refused");
    }

    #[test]
    fn a_foreign_file_is_refused_in_one_line() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("data.mdb"), vec![7u8; 8192]).expect("write");
        let error = VectorCache::open(folder.path(), 8, "m").err().expect("refused").to_string();
        assert!(error.contains("cache of vectors") && !error.contains('\n'), "{error}");
    }
}
