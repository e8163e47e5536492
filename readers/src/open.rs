//! How the bytes of a file are reached, and how they are decompressed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file, on a disk or in an object store, that can be opened any number of times. Its content
/// must not change meanwhile.
pub trait Open: fmt::Debug + Send + Sync {
    /// The file as messages name it: the path or URL that the user would write.
    fn name(&self) -> &str;

    /// The bytes from `offset` on, as they are stored (not decompressed). Reads may block.
    ///
    /// # Errors
    /// What the disk or the store reports.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// A file of this machine.
#[derive(Clone, Debug)]
pub struct LocalFile {
    path: PathBuf,
    name: String,
}

impl LocalFile {
    /// The file at `path`, which messages call by that path.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        Self { name: path.display().to_string(), path }
    }
}

impl Open for LocalFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.path)?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(Box::new(file))
    }
}

/// How a file is compressed. It is recognised by its first bytes; concatenated members are read
/// one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all. Only such a file can be read in ranges.
    None,
    /// gzip, `.gz`
    Gzip,
    /// bzip2, `.bz2`
    Bzip2,
    /// xz, `.xz`
    Xz,
    /// Zstandard, `.zst`
    Zstd,
}
