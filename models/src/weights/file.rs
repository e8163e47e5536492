//! One `.safetensors` file: its header, checked against the file's size, and the bytes of its
//! tensors.
//!
//! The file is untrusted. Everything is checked before a tensor is read: the header's length, the
//! JSON, each tensor's size against its shape, and that the tensors cover the file without holes.
//! Tensors are read, not mapped, so that a file that is cut off while it is used gives an error and
//! not a signal. What the tensors mean is left to the parent.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::error::one_line;
use crate::{ModelError, Result, lfs};

/// Bytes that one header may have, as in the reference implementation.
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// Bytes that are read at once while a tensor is converted.
const CHUNK_BYTES: usize = 1 << 20;

/// Where a tensor lies and what it is.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// First byte, from the start of the file.
    start: u64,
    /// Number of bytes.
    bytes: u64,
}

/// An open file with a checked header.
#[derive(Debug)]
pub(super) struct TensorFile {
    pub(super) path: PathBuf,
    pub(super) entries: HashMap<String, Entry>,
    /// Locked, because reading moves the file's cursor.
    file: Mutex<File>,
}

impl TensorFile {
    /// Opens a file and checks its header.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let io = |error| ModelError::io(path, error);
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let torn = |problem: String| {
            ModelError::file(path, format!("{problem}; the file is truncated or not safetensors"))
        };
        let mut length = [0; 8];
        if size < 8 {
            return Err(torn(format!("has only {size} bytes")));
        }
        file.read_exact(&mut length).map_err(io)?;
        lfs::refuse_pointer(path, &length)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_BYTES_MAX || length > size - 8 {
            return Err(torn(format!(
                "says that its header has {length} bytes, but the file has {size}"
            )));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&header)
            .map_err(|error| {
                torn(format!("has an unreadable header ({})", one_line(&error.to_string())))
            })?;
        let entries = read_header(header, 8 + length, size).map_err(torn)?;
        Ok(Self { path: path.to_path_buf(), entries, file: Mutex::new(file) })
    }

    /// Feeds the bytes of a tensor to `take`, in pieces whose length is a multiple of the element's
    /// size.
    pub(super) fn read(&self, entry: &Entry, mut take: impl FnMut(&[u8])) -> Result<()> {
        let io = |error| ModelError::io(&self.path, error);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(entry.start)).map_err(io)?;
        let mut left = entry.bytes as usize;
        let mut chunk = vec![0; CHUNK_BYTES.min(left)];
        while left > 0 {
            let piece = &mut chunk[..CHUNK_BYTES.min(left)];
            file.read_exact(piece).map_err(io)?;
            left -= piece.len();
            take(piece);
        }
        Ok(())
    }
}

/// Checks each tensor of a header, and that they fill the file exactly.
fn read_header(
    header: serde_json::Map<String, serde_json::Value>,
    data_start: u64,
    file_bytes: u64,
) -> Result<HashMap<String, Entry>, String> {
    let mut entries = HashMap::new();
    for (name, value) in header {
        if name == "__metadata__" {
            // Free-form notes.
            continue;
        }
        let info: TensorInfo = serde_json::from_value(value).map_err(|error| {
            format!("describes tensor '{name}' wrongly ({})", one_line(&error.to_string()))
        })?;
        let entry = read_entry(info, data_start, file_bytes)
            .ok_or_else(|| format!("gives tensor '{name}' an impossible place or size"))?;
        entries.insert(name, entry);
    }
    let mut order: Vec<&Entry> = entries.values().collect();
    order.sort_by_key(|entry| (entry.start, entry.bytes));
    let mut next = data_start;
    for entry in order {
        if entry.start != next {
            return Err("has tensors that overlap or leave holes".to_string());
        }
        next += entry.bytes;
    }
    if next != file_bytes {
        return Err(format!("has {file_bytes} bytes, but its header describes {next}"));
    }
    Ok(entries)
}

/// One tensor's place, if it lies within the file and has the size that its shape says.
fn read_entry(info: TensorInfo, data_start: u64, file_bytes: u64) -> Option<Entry> {
    let (start, end) = info.data_offsets;
    let elements = info.shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n))?;
    let bits = elements.checked_mul(info.dtype.bitsize())?;
    let bytes = end.checked_sub(start)?;
    let last = data_start.checked_add(end as u64)?;
    (bits % 8 == 0 && bits / 8 == bytes && last <= file_bytes).then(|| Entry {
        dtype: info.dtype,
        shape: info.shape,
        start: data_start + start as u64,
        bytes: bytes as u64,
    })
}
