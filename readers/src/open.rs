//! How the bytes of a file are reached, and how they are decompressed.
//!
//! A compression is recognised by the first bytes of a file. A name that ends like that of a
//! compressed file is believed where the bytes say nothing, so that a damaged file isn't read as
//! text.

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use crate::error::{Error, Result};

/// Memory that decompressing xz may take; it is what `xz -9` needs, twice.
const XZ_MEMORY_BYTES_MAX: u64 = 128 << 20;
/// Bytes that tell a compression.
const HEAD_BYTES: u64 = 16;

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

/// How a file is compressed. Concatenated members are read one after another.
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

impl Compression {
    /// What the first bytes of a file say.
    fn of_head(head: &[u8]) -> Option<Self> {
        const BZIP2_BLOCKS: [&[u8]; 2] =
            [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];
        if head.starts_with(&[0x1f, 0x8b]) {
            Some(Self::Gzip)
        } else if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Some(Self::Xz)
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Self::Zstd)
        } else {
            let block = head.strip_prefix(b"BZh").and_then(|rest| rest.get(1..));
            let is_bzip2 =
                block.is_some_and(|rest| BZIP2_BLOCKS.iter().any(|magic| rest.starts_with(magic)));
            is_bzip2.then_some(Self::Bzip2)
        }
    }

    /// What the end of a name says.
    fn of_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let ends =
            [(".gz", Self::Gzip), (".bz2", Self::Bzip2), (".xz", Self::Xz), (".zst", Self::Zstd)];
        ends.iter().find(|(end, _)| name.ends_with(end)).map_or(Self::None, |(_, found)| *found)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// The text of a file from its beginning, decompressed.
pub(crate) fn open_text(file: &dyn Open) -> Result<(Compression, Box<dyn Read + Send>)> {
    let fail = |error| failure(file.name(), Compression::None, &error);
    let mut raw = Stored(file.open(0).map_err(fail)?);
    let mut head = Vec::new();
    raw.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(fail)?;
    let compression = match Compression::of_head(&head) {
        Some(found) => found,
        None if head.is_empty() => Compression::None,
        None => Compression::of_name(file.name()),
    };
    let whole = Cursor::new(head).chain(raw);
    let read: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Compression::Bzip2 => Box::new(MultiBzDecoder::new(whole)),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES_MAX, CONCATENATED);
            let stream = stream.map_err(|error| fail(io::Error::other(error)))?;
            Box::new(XzDecoder::new_stream(whole, stream))
        }
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(whole).map_err(fail)?),
    };
    Ok((compression, read))
}

/// The text of an uncompressed file from `offset` on.
pub(crate) fn open_at(file: &dyn Open, offset: u64) -> Result<Box<dyn Read + Send>> {
    match file.open(offset) {
        Ok(read) => Ok(Box::new(Stored(read))),
        Err(error) => Err(failure(file.name(), Compression::None, &error)),
    }
}

/// The error of a file whose bytes could not be read or decompressed.
pub(crate) fn failure(name: &str, compression: Compression, error: &io::Error) -> Error {
    let of_store = error.get_ref().and_then(|inner| inner.downcast_ref::<StoreFailure>());
    let error = match of_store {
        Some(StoreFailure(inner)) => inner,
        None => error,
    };
    match error.kind() {
        io::ErrorKind::NotFound => Error::Missing(format!("file '{name}' does not exist")),
        _ if of_store.is_some() || compression == Compression::None => {
            Error::Io(format!("file '{name}' can't be read: {error}"))
        }
        io::ErrorKind::UnexpectedEof => Error::Data(format!(
            "file '{name}' can't be decompressed: its {compression} data is cut off"
        )),
        _ => Error::Data(format!(
            "file '{name}' can't be decompressed: its {compression} data is damaged ({error})"
        )),
    }
}

/// Bytes as they are stored, with failures told apart from those of decompression.
struct Stored(Box<dyn Read + Send>);

impl Read for Stored {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, StoreFailure(error)),
        })
    }
}

/// A failure of the disk or the store.
#[derive(Debug)]
struct StoreFailure(io::Error);

impl fmt::Display for StoreFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl StdError for StoreFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
