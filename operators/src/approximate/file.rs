//! The file of an approximate index: what usearch writes, then a footer of ours.
//!
//! usearch trusts the numbers in a file, so nothing is handed to it before the footer says that the
//! file is whole: its last 64 bytes hold a name, the version, dimension, storage, options,
//! number of rows, length and a checksum of all before it. That finds files that are torn, foreign
//! or damaged; it is no protection against a file that was made to deceive.
//!
//! A file appears under its name only when it is complete and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{ApproximateIndex, ApproximateOptions, Storage, failed};
use crate::error::{OperatorError, Result};
use crate::host::{Host, Loan, check};

/// What a footer begins with.
const MAGIC: [u8; 8] = *b"SEMBLAIX";

/// The version of the format.
const VERSION: u32 = 1;

/// Bytes of the footer.
const FOOTER_BYTES: usize = 64;

/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 1 << 20;

impl ApproximateIndex {
    /// Writes the index to `path`, in place of what is there.
    ///
    /// # Errors
    /// [`OperatorError::Data`] that names the file and the cause.
    pub fn save(&self, path: &Path, host: &dyn Host) -> Result<()> {
        self.write_beside(path, host)?.publish()
    }

    /// Writes the index beside `path`, so that files which belong to it can be written before it
    /// appears there.
    ///
    /// # Errors
    /// [`OperatorError::Data`] that names the file and the cause.
    pub fn write_beside(&self, path: &Path, host: &dyn Host) -> Result<Unpublished> {
        let mut unpublished = Unpublished {
            partial: partial_path(path),
            path: path.to_path_buf(),
            identity: 0,
            is_published: false,
        };
        unpublished.identity = self.write(&unpublished.partial, host)?;
        Ok(unpublished)
    }

    /// What tells the index in a file from any other: [`Unpublished::identity`] of what was
    /// published there last.
    ///
    /// # Errors
    /// [`OperatorError::Data`] when there is no such file, or it is no index.
    pub fn identity(path: &Path) -> Result<u64> {
        let mut file = File::open(path).map_err(|error| cannot("read", path, &error))?;
        Ok(read_footer(&mut file, path)?.checksum)
    }

    /// Reads an index that [`ApproximateIndex::save`] wrote.
    ///
    /// # Errors
    /// [`OperatorError::Data`] when there is no such file, or it is no index, is damaged or cut
    /// off; what the host says.
    pub fn open(path: &Path, host: &dyn Host) -> Result<Self> {
        let mut file = File::open(path).map_err(|error| cannot("read", path, &error))?;
        let footer = read_footer(&mut file, path)?;
        if checksum(&mut file, footer.length, host, path)? != footer.checksum {
            return Err(damaged(path));
        }
        let bytes =
            Self::bytes_for(footer.rows as usize, footer.dimension as usize, &footer.options);
        let _loan = Loan::new(host, bytes)?;
        let mut index = Self::new(footer.dimension as usize, &footer.options)?;
        index.index.load(name(path)?).map_err(failed)?;
        let as_saved = index.rows() as u64 == footer.rows
            && index.dimension() as u64 == footer.dimension
            && index.index.connectivity() == footer.options.connectivity;
        if !as_saved {
            return Err(damaged(path));
        }
        index.compare_by_own_cosine();
        index.reserve(index.rows())?;
        Ok(index)
    }

    /// Writes a whole file and gives the checksum of its contents.
    fn write(&self, path: &Path, host: &dyn Host) -> Result<u64> {
        self.index.save(name(path)?).map_err(|error| cannot("written", path, &error))?;
        let written = |error: io::Error| cannot("written", path, &error);
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(written)?;
        let length = file.metadata().map_err(written)?.len();
        let checksum = checksum(&mut file, length, host, path)?;
        let footer = Footer {
            options: self.options,
            dimension: self.dimension() as u64,
            rows: self.rows() as u64,
            length,
            checksum,
        };
        file.seek(SeekFrom::Start(length)).map_err(written)?;
        file.write_all(&footer.to_bytes()).map_err(written)?;
        file.sync_all().map_err(written)?;
        Ok(checksum)
    }
}

/// An index that is on the disk and not under its name yet. Dropped, it is gone.
#[derive(Debug)]
pub struct Unpublished {
    partial: PathBuf,
    path: PathBuf,
    identity: u64,
    is_published: bool,
}

impl Unpublished {
    /// What tells this index from others: a checksum of it.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Puts the index under its name, in place of what is there, in one step.
    ///
    /// # Errors
    /// [`OperatorError::Data`] that names the file and the cause.
    pub fn publish(mut self) -> Result<()> {
        let written = |error: io::Error| cannot("written", &self.path, &error);
        fs::rename(&self.partial, &self.path).map_err(written)?;
        // The new name itself is on the disk once its folder is.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).map_err(written)?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if !self.is_published {
            // What was written is of no use; that it can't be removed is not the news.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// What is known of a file before usearch reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Footer {
    options: ApproximateOptions,
    dimension: u64,
    rows: u64,
    /// Bytes before the footer.
    length: u64,
    /// Of the bytes before the footer.
    checksum: u64,
}

impl Footer {
    /// Name, version, storage, dimension, rows, connectivity, expansion, length, checksum, and at
    /// the end a checksum of the footer itself. Little-endian.
    fn to_bytes(self) -> [u8; FOOTER_BYTES] {
        let storage =
            Storage::NAMES.iter().position(|(_, storage)| *storage == self.options.storage);
        let mut bytes = [0; FOOTER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(storage.unwrap_or_default() as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.dimension.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.rows.to_le_bytes());
        bytes[32..36].copy_from_slice(&(self.options.connectivity as u32).to_le_bytes());
        bytes[36..40].copy_from_slice(&(self.options.expansion as u32).to_le_bytes());
        bytes[40..48].copy_from_slice(&self.length.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.checksum.to_le_bytes());
        let own = Checksum::of(&bytes[..56]);
        bytes[56..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// `None` when these are not the bytes of a footer of this version.
    fn from_bytes(bytes: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let u32_at = |at: usize| bytes[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let u64_at = |at: usize| bytes[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let valid = bytes[..8] == MAGIC
            && u32_at(8)? == VERSION
            && u64_at(56)? == Checksum::of(&bytes[..56]);
        let storage = Storage::NAMES.get(u32_at(12)? as usize)?.1;
        let (connectivity, expansion) = (u32_at(32)? as usize, u32_at(36)? as usize);
        valid.then_some(Self {
            options: ApproximateOptions { storage, connectivity, expansion },
            dimension: u64_at(16)?,
            rows: u64_at(24)?,
            length: u64_at(40)?,
            checksum: u64_at(48)?,
        })
    }
}

fn read_footer(file: &mut File, path: &Path) -> Result<Footer> {
    let read = |error: io::Error| cannot("read", path, &error);
    let length = file.metadata().map_err(read)?.len();
    let Some(start) = length.checked_sub(FOOTER_BYTES as u64) else { return Err(foreign(path)) };
    let mut bytes = [0; FOOTER_BYTES];
    file.seek(SeekFrom::Start(start)).map_err(read)?;
    file.read_exact(&mut bytes).map_err(read)?;
    let footer = Footer::from_bytes(&bytes).ok_or_else(|| foreign(path))?;
    if footer.length == start { Ok(footer) } else { Err(damaged(path)) }
}

/// The checksum of the first bytes of a file.
fn checksum(file: &mut File, length: u64, host: &dyn Host, path: &Path) -> Result<u64> {
    let read = |error: io::Error| cannot("read", path, &error);
    file.seek(SeekFrom::Start(0)).map_err(read)?;
    let mut checksum = Checksum::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = length;
    while left > 0 {
        check(host)?;
        let part = &mut block[..left.min(BLOCK_BYTES as u64) as usize];
        file.read_exact(part).map_err(read)?;
        checksum.add(part);
        left -= part.len() as u64;
    }
    Ok(checksum.0)
}

/// FNV-1a over words of 8 bytes (the last one filled with zeros), with the high half folded in
/// after each. Blocks must be added at multiples of 8 bytes.
struct Checksum(u64);

impl Checksum {
    fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    fn of(bytes: &[u8]) -> u64 {
        let mut checksum = Self::new();
        checksum.add(bytes);
        checksum.0
    }

    fn add(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            let mixed = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01B3);
            self.0 = mixed ^ (mixed >> 32);
        }
    }
}

fn partial_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn name(path: &Path) -> Result<&str> {
    path.to_str().filter(|name| !name.contains('\0')).ok_or_else(|| {
        OperatorError::Data(format!("{}: the path of an index must be UTF-8", path.display()))
    })
}

fn foreign(path: &Path) -> OperatorError {
    OperatorError::Data(format!(
        "{} is truncated or not an index of this version; build it again",
        path.display()
    ))
}

fn damaged(path: &Path) -> OperatorError {
    OperatorError::Data(format!("the index {} is damaged; build it again", path.display()))
}

fn cannot(done: &str, path: &Path, error: &dyn std::fmt::Display) -> OperatorError {
    OperatorError::Data(format!("the index {} can't be {done}: {error}", path.display()))
}
