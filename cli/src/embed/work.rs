//! The work folder beside the output, `OUT.partial/`: a manifest, a lock and finished parts.
//!
//! Invariants:
//! * A file named `part-N.parquet` is whole and on disk: it was written under another name, synced,
//!   then renamed.
//! * The parts are a prefix of the output: part 0 begins at the first input row, and each begins
//!   where the one before ended. So their rows say how far the run is, and there is no other record
//!   of progress that could disagree.
//! * The output appears by one rename, and carries the run's name. When it is there, the run is
//!   finished, whatever is left of the work folder.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::manifest::Manifest;
use crate::failure::{Failure, Result};
use crate::input::PARTIAL;
use crate::whole_file::{parent, sync_parent, unfinished, write_whole};

/// Where the rows go.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// The file or folder.
    pub(crate) path: PathBuf,
    /// Whether it is one `.parquet` file; else a folder of parts.
    pub(crate) single: bool,
    /// Whether one that exists is replaced.
    pub(crate) overwrite: bool,
}

/// The folder of an unfinished run, locked for this process.
pub(crate) struct Work {
    folder: PathBuf,
    /// The run.
    pub(crate) manifest: Manifest,
    /// Finished parts.
    pub(crate) parts: usize,
    /// Rows of the finished parts.
    pub(crate) rows: u64,
    _lock: File,
}

/// How a run begins.
pub(crate) enum Begin {
    /// With this work to do or go on with.
    Work(Box<Work>),
    /// An earlier start of the run was killed after its output was in place: nothing is left to do.
    Finished,
}

impl Output {
    /// An output at `path`.
    pub(crate) fn new(path: &Path, overwrite: bool) -> Self {
        let named_file = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"));
        Self { path: path.to_path_buf(), single: named_file, overwrite }
    }

    /// The work folder.
    pub(crate) fn folder(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(PARTIAL);
        self.path.with_file_name(name)
    }

    /// The run that wrote what is at the output now; `None` when there is nothing, or nothing of
    /// ours.
    fn run(&self) -> Option<String> {
        let file = if self.single { self.path.clone() } else { self.path.join(part_name(0)) };
        let reader = SerializedFileReader::new(File::open(file).ok()?).ok()?;
        let pairs = reader.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == "sembla.run")?.value.clone()
    }

    /// # Errors
    /// When something is at the output that may not be replaced.
    pub(crate) fn check(&self) -> Result<()> {
        let shown = self.path.display();
        if !parent(&self.path).is_dir() {
            return Err(Failure::user(format!("the folder of the output {shown} does not exist")));
        }
        if !self.path.exists() {
            return Ok(());
        }
        if !self.overwrite {
            return Err(Failure::user(format!(
                "the output {shown} exists; --overwrite replaces it"
            )));
        }
        if self.single && self.path.is_dir() {
            return Err(Failure::user(format!("the output {shown} is a folder, not a file")));
        }
        if !self.single && !is_earlier_output(&self.path) {
            return Err(Failure::user(format!(
                "the folder {shown} holds other things than an earlier output; it is not replaced"
            )));
        }
        Ok(())
    }
}

impl Work {
    /// Opens the work folder of an unfinished run that was asked the same as `manifest`, or makes a
    /// new one.
    ///
    /// # Errors
    /// When another process works in it, the unfinished run was asked something else (and `restart`
    /// is not set), the output exists, or the disk fails.
    pub(crate) fn begin(output: &Output, manifest: Manifest, restart: bool) -> Result<Begin> {
        let folder = output.folder();
        let fail = |error: std::io::Error| Failure::file(&folder, &error);
        let fresh = !folder.exists();
        if fresh {
            output.check()?;
            fs::create_dir(&folder).map_err(fail)?;
        }
        let lock = lock(&folder)?;
        let before = if fresh { None } else { read_manifest(&folder)? };
        if let Some(before) = &before
            && output.run().as_ref() == Some(&before.run)
        {
            fs::remove_dir_all(&folder).map_err(fail)?;
            return Ok(Begin::Finished);
        }
        output.check()?;
        if let Some(before) = before.filter(|_| !restart) {
            if let Some(difference) = before.difference(&manifest) {
                return Err(Failure::user(format!(
                    "an unfinished run lies in {}, but {difference}; --restart throws it away",
                    folder.display()
                )));
            }
            let (parts, rows) = finished_parts(&folder)?;
            let work = Self { folder, manifest: before, parts, rows, _lock: lock };
            return Ok(Begin::Work(Box::new(work)));
        }
        clear(&folder)?;
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Failure::other(format!("writing the manifest: {error}")))?;
        let path = folder.join(MANIFEST);
        write_whole(&path, |file| file.write_all(&text).map_err(|e| Failure::file(&path, &e)))?;
        Ok(Begin::Work(Box::new(Self { folder, manifest, parts: 0, rows: 0, _lock: lock })))
    }

    /// Where part `number` is, or will be.
    pub(crate) fn part(&self, number: usize) -> PathBuf {
        self.parts_folder().join(part_name(number))
    }

    /// The parts, in order.
    pub(crate) fn part_paths(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.parts).map(|number| self.part(number))
    }

    /// The name that the joined parts have until they are whole.
    pub(crate) fn joined(&self) -> PathBuf {
        self.folder.join("joined.parquet")
    }

    /// Puts the joined file or the folder of parts in its place, and removes the work folder.
    ///
    /// # Errors
    /// When the disk fails; a later start of the same run goes on from there.
    pub(crate) fn publish(self, output: &Output) -> Result<()> {
        let fail = |error: std::io::Error| Failure::file(&output.path, &error);
        if output.single {
            fs::rename(self.joined(), &output.path).map_err(fail)?;
        } else {
            if output.path.exists() {
                let old = self.folder.join("old");
                fs::rename(&output.path, &old).map_err(fail)?;
            }
            fs::rename(self.parts_folder(), &output.path).map_err(fail)?;
        }
        sync_parent(&output.path)?;
        fs::remove_dir_all(&self.folder).map_err(|error| Failure::file(&self.folder, &error))
    }

    fn parts_folder(&self) -> PathBuf {
        self.folder.join(PARTS)
    }
}

const MANIFEST: &str = "manifest.json";
const PARTS: &str = "parts";

/// The file name of a part.
fn part_name(number: usize) -> String {
    format!("part-{number:06}.parquet")
}

/// Takes the folder for this process.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|error| Failure::file(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(Failure::user(format!("another process works in {}", folder.display())))
        }
        Err(fs::TryLockError::Error(error)) => Err(Failure::file(&path, &error)),
    }
}

/// The manifest of the folder; `None` when the run was killed before it wrote one.
fn read_manifest(folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join(MANIFEST);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read(&path).map_err(|error| Failure::file(&path, &error))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        Failure::user(format!(
            "{} is not a manifest of this Sembla ({error}); remove the folder to start anew",
            path.display()
        ))
    })
}

/// Removes what an earlier run left in the folder, but not its lock.
fn clear(folder: &Path) -> Result<()> {
    let fail = |error: std::io::Error| Failure::file(folder, &error);
    let manifest = folder.join(MANIFEST);
    if manifest.exists() {
        fs::remove_file(&manifest).map_err(fail)?;
    }
    let parts = folder.join(PARTS);
    if parts.exists() {
        fs::remove_dir_all(&parts).map_err(fail)?;
    }
    fs::create_dir_all(&parts).map_err(fail)
}

/// Number and rows of the finished parts. Files of a part that was being written are removed.
fn finished_parts(folder: &Path) -> Result<(usize, u64)> {
    let parts = folder.join(PARTS);
    fs::create_dir_all(&parts).map_err(|error| Failure::file(&parts, &error))?;
    let (mut number, mut rows) = (0, 0);
    loop {
        let path = parts.join(part_name(number));
        let unfinished = unfinished(&path);
        if unfinished.exists() {
            fs::remove_file(&unfinished).map_err(|error| Failure::file(&unfinished, &error))?;
        }
        if !path.exists() {
            return Ok((number, rows));
        }
        let file = File::open(&path).map_err(|error| Failure::file(&path, &error))?;
        let reader = SerializedFileReader::new(file).map_err(|error| {
            Failure::other(format!(
                "the part {} is damaged ({error}); --restart starts anew",
                path.display()
            ))
        })?;
        rows += u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default();
        number += 1;
    }
}

/// Whether the folder holds parts and nothing else.
fn is_earlier_output(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| {
        entries.all(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.starts_with("part-") && name.ends_with(".parquet")
            })
        })
    })
}
