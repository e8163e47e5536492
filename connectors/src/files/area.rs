//! A place that a sink writes to: its open files, and those that are closed and not yet put.
//!
//! - *Invariant:* adding rows never waits for the outside world and never fails because of it, so a
//!   write that is repeated can't add them twice. Files are put apart from that, and what could not
//!   be put is kept for the next try.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use sembla_runtime::{Error, Result, failpoint};

use super::manifest::{DataFile, Place};
use super::writer::{FileFormat, FileWriter, Piece};
use crate::store::Folder;

/// The folder of files that no commit names yet.
pub(super) const PENDING: &str = "_pending";

/// One place.
pub(super) struct Area {
    pub(super) place: Place,
    pub(super) folder: Arc<dyn Folder>,
    format: FileFormat,
    roll_bytes: usize,
    /// By folder within the place.
    open: BTreeMap<String, FileWriter>,
    /// Closed, not yet put.
    closed: Vec<Closed>,
    /// Put, not yet committed.
    put: Vec<Put>,
}

/// A file that is written but not put.
struct Closed {
    folder: String,
    /// Where it is put, or may be: the answer of the last try can be lost.
    pending: Option<String>,
    bytes: Bytes,
    rows: u64,
}

/// A file that is put under its pending path.
struct Put {
    folder: String,
    file: DataFile,
}

impl Area {
    /// An empty place.
    pub(super) fn new(
        place: Place,
        folder: Arc<dyn Folder>,
        format: FileFormat,
        roll_bytes: usize,
    ) -> Self {
        let (open, closed, put) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { place, folder, format, roll_bytes, open, closed, put }
    }

    /// Adds rows of a schema to the open files of their folders, all of them or none; a file that
    /// is large enough is closed.
    ///
    /// # Errors
    /// [`Error::Data`] for rows that the format can't hold.
    pub(super) fn add(
        &mut self,
        schema: &SchemaRef,
        folders: Vec<(String, RecordBatch)>,
    ) -> Result<()> {
        let pieces = folders
            .into_iter()
            .filter(|(_, rows)| rows.num_rows() > 0)
            .map(|(folder, rows)| Ok((folder, Piece::new(self.format, rows)?)))
            .collect::<Result<Vec<_>>>()?;
        for (folder, piece) in pieces {
            let mut writer = match self.open.remove(&folder) {
                Some(writer) => writer,
                None => FileWriter::new(self.format, schema)?,
            };
            writer.write(&piece)?;
            let is_full = writer.file_bytes() >= self.roll_bytes;
            self.open.insert(folder.clone(), writer);
            if is_full {
                self.close(&folder)?;
            }
        }
        Ok(())
    }

    /// Bytes that open files take.
    pub(super) fn open_bytes(&self) -> usize {
        self.open.values().map(FileWriter::memory_bytes).sum()
    }

    /// Bytes that wait to be put.
    pub(super) fn closed_bytes(&self) -> usize {
        self.closed.iter().map(|closed| closed.bytes.len()).sum()
    }

    /// Closes the largest open file.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn close_largest(&mut self) -> Result<()> {
        let largest = self.open.iter().max_by_key(|(_, writer)| writer.memory_bytes());
        match largest.map(|(folder, _)| folder.clone()) {
            Some(folder) => self.close(&folder),
            None => Ok(()),
        }
    }

    /// Closes all open files.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub(super) fn close_all(&mut self) -> Result<()> {
        while let Some(folder) = self.open.keys().next().cloned() {
            self.close(&folder)?;
        }
        Ok(())
    }

    fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(writer) = self.open.remove(folder) {
            let (bytes, rows) = writer.close()?;
            self.closed.push(Closed { folder: folder.into(), pending: None, bytes, rows });
        }
        Ok(())
    }

    /// Puts what is closed. `name` gives each file a name that no other has.
    ///
    /// # Errors
    /// When the outside world fails; what is left is put by the next call.
    pub(super) async fn put_closed(&mut self, mut name: impl FnMut() -> String) -> Result<()> {
        while let Some(closed) = self.closed.first_mut() {
            failpoint::hit("files.data.put")?;
            let ending = self.format.ending();
            let new = || format!("{PENDING}/{}.{ending}", name());
            let pending = closed.pending.get_or_insert_with(new).clone();
            self.folder.put(&pending, closed.bytes.clone()).await?;
            let closed = self.closed.remove(0);
            let file = DataFile {
                place: self.place,
                path: String::new(),
                pending,
                rows: closed.rows,
                bytes: closed.bytes.len() as u64,
                blake3: blake3::hash(&closed.bytes).to_hex().to_string(),
            };
            self.put.push(Put { folder: closed.folder, file });
        }
        Ok(())
    }

    /// What is put, under the names that the commit of that number gives it.
    pub(super) fn files_of(&self, number: u64) -> Vec<DataFile> {
        let ending = self.format.ending();
        let named = self.put.iter().enumerate().map(|(index, put)| DataFile {
            path: format!("{}part-{number:012}-{index:05}.{ending}", put.folder),
            ..put.file.clone()
        });
        named.collect()
    }

    /// Forgets what is put, because a commit has taken it over.
    pub(super) fn committed(&mut self) {
        self.put.clear();
    }

    /// Forgets everything, and says what was put, or may be.
    pub(super) fn give_up(&mut self) -> Vec<String> {
        self.open.clear();
        let closed = self.closed.drain(..).filter_map(|closed| closed.pending);
        closed.chain(self.put.drain(..).map(|put| put.file.pending)).collect()
    }
}

/// Gives a file that an earlier instance has committed its name, if its content is what was
/// committed. It may have the name already.
///
/// # Errors
/// [`Error::State`] when the content is another, or the file is nowhere.
pub(super) async fn publish_checked(folder: &dyn Folder, file: &DataFile) -> Result<()> {
    let Some(bytes) = folder.get(&file.pending).await? else {
        return publish(folder, file).await;
    };
    let is_whole =
        bytes.len() as u64 == file.bytes && blake3::hash(&bytes).to_hex().as_str() == file.blake3;
    if !is_whole {
        return Err(Error::State(format!(
            "the file {} was changed after it was committed ({} bytes of {}); restore it, or write to another path",
            folder.shown(&file.pending),
            bytes.len(),
            file.bytes
        )));
    }
    publish(folder, file).await
}

/// Gives a committed file its name. It may have it already.
///
/// # Errors
/// When the outside world fails, or the file is nowhere.
pub(super) async fn publish(folder: &dyn Folder, file: &DataFile) -> Result<()> {
    failpoint::hit("files.publish")?;
    if folder.has(&file.pending).await? {
        return folder.rename(&file.pending, &file.path).await;
    }
    match folder.has(&file.path).await? {
        true => Ok(()),
        false => Err(Error::State(format!(
            "the committed file {} is missing, and it is not at {} either; restore it, or write to another path",
            folder.shown(&file.path),
            folder.shown(&file.pending)
        ))),
    }
}
