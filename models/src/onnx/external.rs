//! Data that a tensor keeps in another file: which references are allowed, and reading them into
//! the tensor.
//!
//! A reference names a regular file in the model's folder or below it, by plain folder and file
//! names. Absolute paths, `..`, symbolic links, other kinds of files, and places that don't lie in
//! the file or don't fit the tensor's shape are rejected. All of that is checked before memory for
//! the data is taken.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use prost::bytes::Bytes;

use super::proto::{LOCATION_EXTERNAL, TensorProto};
use super::writer::MODEL_BYTES_MAX;

/// The folder of a model, and how much data has come from it.
pub(super) struct Folder {
    path: PathBuf,
    /// Bytes of the model so far, with all data that was read into it.
    total: usize,
    changed: bool,
}

impl Folder {
    /// The folder of a model file of `model_bytes`.
    pub(super) fn new(path: &Path, model_bytes: usize) -> Self {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Self { path: path.to_path_buf(), total: model_bytes, changed: false }
    }

    /// Whether any data was read into the model.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Reads a tensor's external data into it. `what` names the tensor.
    pub(super) fn inline(&mut self, what: &str, tensor: &mut TensorProto) -> Result<(), String> {
        let external = tensor.data_location() == LOCATION_EXTERNAL;
        if !external && tensor.external_data.is_empty() {
            return Ok(());
        }
        let entry = |key: &str| {
            let found = tensor.external_data.iter().rev().find(|entry| entry.key() == key);
            found.map(|entry| entry.value())
        };
        let location = entry("location").unwrap_or_default().to_string();
        let refuse =
            |why: String| Err(format!("{what} refers to external data '{location}', which {why}"));
        let place = match self.resolve(&location) {
            Ok(place) => place,
            Err(why) => return refuse(why),
        };
        if !external || tensor.raw_data.is_some() {
            return refuse("contradicts the data that the file itself has".into());
        }
        let Some(bytes) = bytes_of(tensor) else {
            return refuse("has no size that can be known from the tensor's type and shape".into());
        };
        let (offset, length) = (entry("offset").map(str::parse), entry("length").map(str::parse));
        let (Ok(offset), Ok(length)) =
            (offset.unwrap_or(Ok(0)), length.unwrap_or(Ok(bytes as u64)))
        else {
            return refuse("has an offset or a length that is not a number".into());
        };
        if length != bytes as u64 {
            return refuse(format!("has {length} bytes where the tensor's shape needs {bytes}"));
        }
        if self.total.saturating_add(bytes) > MODEL_BYTES_MAX {
            return refuse("makes the model larger than the supported 2 GiB".into());
        }
        match read(&place, offset, bytes) {
            Ok(data) => tensor.raw_data = Some(Bytes::from(data)),
            Err(why) => return refuse(why),
        }
        tensor.external_data.clear();
        tensor.data_location = None;
        self.total += bytes;
        self.changed = true;
        Ok(())
    }

    /// The file that a location names, or why it is rejected.
    fn resolve(&self, location: &str) -> Result<PathBuf, String> {
        if location.is_empty() {
            return Err("names no file".into());
        }
        if location.contains(['\\', '\0', ':']) {
            return Err("has a character that a plain file name doesn't have".into());
        }
        let mut place = self.path.clone();
        for part in Path::new(location).components() {
            match part {
                Component::CurDir => continue,
                Component::Normal(name) => place.push(name),
                Component::ParentDir => return Err("leaves the model's folder by '..'".into()),
                Component::RootDir | Component::Prefix(_) => {
                    return Err("is an absolute path; data must be beside the model".into());
                }
            }
            let found = std::fs::symlink_metadata(&place)
                .map_err(|error| format!("can't be read: {error}"))?;
            if found.is_symlink() {
                return Err("is or goes through a symbolic link; put the file itself there".into());
            }
        }
        if !place.is_file() {
            return Err("is not a regular file".into());
        }
        Ok(place)
    }
}

/// Reads a part of a file.
fn read(place: &Path, offset: u64, bytes: usize) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("can't be read: {error}");
    let mut file = File::open(place).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if offset.checked_add(bytes as u64).is_none_or(|end| end > size) {
        return Err(format!(
            "has only {size} bytes, but {bytes} bytes from byte {offset} on are needed"
        ));
    }
    let mut data = vec![0; bytes];
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    file.read_exact(&mut data).map_err(failed)?;
    Ok(data)
}

/// The bytes that a tensor's data has, from its type and shape.
fn bytes_of(tensor: &TensorProto) -> Option<usize> {
    // By ONNX's numbers; strings (8), 6-bit floats and unknown types have no size here.
    let bits: usize = match tensor.data_type() {
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        _ => return None,
    };
    let mut elements = 1usize;
    for dim in &tensor.dims {
        elements = elements.checked_mul(usize::try_from(*dim).ok()?)?;
    }
    Some(elements.checked_mul(bits)?.div_ceil(8))
}
