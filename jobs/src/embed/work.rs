//! The work folder beside the output, `OUT.partial/`: a manifest, a lock and finished parts.
//!
//! Invariants:
//! * A file named `part-N.parquet` is whole and on disk: it was written under another name, synced,
//!   then renamed.
//! * The parts are a prefix of the output: part 0 begins at the first input row, and each begins
//!   where the one before ended. So their rows say how far the run is, and there is no other record
//!   of progress that could disagree.
//! * The output appears by one rename, after which the run is finished, whatever is left of the
//!   work folder. Parquet carries the run's name; for other formats a mark in the work folder says
//!   that the rename was next.
//! * Nothing in the folder is touched that is not ours by its name, nor is a folder without a
//!   manifest of ours.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::lock::{LOCK, lock};
use super::manifest::Manifest;
use super::output::{Output, OutputKind};
use super::parts::damaged;
use super::reached;
use crate::failure::{Failure, Result};
use crate::whole_file::{sync_parent, unfinished, write_whole_in_work};

/// The folder of an unfinished run, locked for this process.
pub(crate) struct Work {
    folder: PathBuf,
    /// The run.
    pub manifest: Manifest,
    /// Finished parts.
    pub parts: usize,
    /// Rows of the finished parts.
    pub rows: u64,
    /// Whether they are put behind others.
    pub grows: bool,
    _lock: File,
}

/// How a run begins.
pub(crate) enum Begin {
    /// With this work to do or go on with.
    Work(Box<Work>),
    /// An earlier start of the run was killed after its output was in place: nothing is left to do.
    Finished,
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
        let fresh = folder.symlink_metadata().is_err();
        if fresh {
            output.check()?;
            fs::create_dir(&folder).map_err(fail)?;
        } else {
            refuse_foreign(&folder)?;
        }
        let lock = lock(&folder)?;
        let before = match read_manifest(&folder) {
            // It is thrown away anyhow.
            Err(_) if restart => None,
            before => before?,
        };
        if let Some(before) = &before
            && is_published(output, &folder, before)
        {
            remove(&folder)?;
            return Ok(Begin::Finished);
        }
        output.check()?;
        if let Some(before) = before.filter(|_| !restart) {
            if let Some(difference) = before.difference(&manifest) {
                return Err(Failure::user(format!(
                    "{} has an unfinished run, but {difference}; --restart discards it",
                    folder.display()
                )));
            }
            let (parts, rows) = finished_parts(&folder)?;
            let grows = !output.earlier_files().is_empty();
            let work = Self { folder, manifest: before, parts, rows, grows, _lock: lock };
            return Ok(Begin::Work(Box::new(work)));
        }
        clear(&folder)?;
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Failure::other(format!("writing the manifest: {error}")))?;
        let path = folder.join(MANIFEST);
        write_whole_in_work(&path, |file| {
            file.write_all(&text).map_err(|error| Failure::file(&path, &error))
        })?;
        let grows = !output.earlier_files().is_empty();
        let work = Self { folder, manifest, parts: 0, rows: 0, grows, _lock: lock };
        Ok(Begin::Work(Box::new(work)))
    }

    /// Where part `number` is, or will be.
    pub(crate) fn part(&self, number: usize) -> PathBuf {
        self.parts_folder().join(part_name(number))
    }

    /// The parts, in order.
    pub(crate) fn part_paths(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.parts).map(|number| self.part(number))
    }

    /// The file that becomes the output.
    pub(crate) fn joined(&self) -> PathBuf {
        self.folder.join(JOINED)
    }

    /// The file that becomes the one beside the output.
    pub(crate) fn joined_ids(&self) -> PathBuf {
        self.folder.join(JOINED_IDS)
    }

    /// Puts the joined file or the folder of parts in its place, and removes the work folder.
    ///
    /// # Errors
    /// When the disk fails; a later start of the same run goes on from there.
    pub(crate) fn publish(self, output: &Output) -> Result<()> {
        let fail = |error: std::io::Error| Failure::file(&output.path, &error);
        if output.kind == OutputKind::Folder && output.grows && output.path.exists() {
            self.add_parts(&output.path)?;
        } else if output.kind == OutputKind::Folder {
            if output.path.exists() {
                let old = self.folder.join(OLD);
                fs::rename(&output.path, &old).map_err(fail)?;
            }
            fs::rename(self.parts_folder(), &output.path).map_err(fail)?;
        } else {
            let mark = self.folder.join(PUBLISHING);
            File::create(&mark)
                .and_then(|mark| mark.sync_all())
                .map_err(|error| Failure::file(&mark, &error))?;
            if let Some(ids) = output.ids().filter(|_| self.joined_ids().exists()) {
                fs::rename(self.joined_ids(), &ids).map_err(|e| Failure::file(&ids, &e))?;
            }
            reached("embed.publish.before")?;
            fs::rename(self.joined(), &output.path).map_err(fail)?;
        }
        reached("embed.publish.after")?;
        sync_parent(&output.path)?;
        remove(&self.folder)
    }

    /// Removes the work folder of a run that has nothing to add.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn give_up(self) -> Result<()> {
        remove(&self.folder)
    }

    /// Puts the parts beside those of a folder, under the numbers that follow. A kill in the middle
    /// leaves parts on both sides, and no row on two.
    fn add_parts(&self, folder: &Path) -> Result<()> {
        let mut number = 0;
        for part in self.part_paths() {
            while folder.join(part_name(number)).exists() {
                number += 1;
            }
            let path = folder.join(part_name(number));
            fs::rename(&part, &path).map_err(|error| Failure::file(&path, &error))?;
        }
        Ok(())
    }

    fn parts_folder(&self) -> PathBuf {
        self.folder.join(PARTS)
    }
}

const MANIFEST: &str = "manifest.json";
const PARTS: &str = "parts";
const JOINED: &str = "joined";
const JOINED_IDS: &str = "joined.ids";
/// The earlier output that a folder of parts replaces.
const OLD: &str = "old";
/// The mark that the output is whole and about to get its name.
const PUBLISHING: &str = "publishing";

/// The file name of a part.
pub(super) fn part_name(number: usize) -> String {
    format!("part-{number:06}.parquet")
}

/// Whether a file of that name is a part.
pub(super) fn is_part_name(name: &str) -> bool {
    let number = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".parquet"));
    number.is_some_and(|number| number.len() >= 6 && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The files of the folder that are ours, apart from parts and the lock.
fn own_files(folder: &Path) -> Vec<PathBuf> {
    let files = [MANIFEST, JOINED, JOINED_IDS, PUBLISHING].map(|name| folder.join(name));
    let unfinished: Vec<_> = files.iter().map(|path| unfinished(path)).collect();
    files.into_iter().chain(unfinished).collect()
}

/// The folders of ours that hold parts, and nothing else.
fn own_folders(folder: &Path) -> [PathBuf; 2] {
    [PARTS, OLD].map(|name| folder.join(name))
}

/// Rejects a work folder that is not ours, or that somebody has put other things into.
fn refuse_foreign(folder: &Path) -> Result<()> {
    let refused = |what: &str| {
        Err(Failure::user(format!(
            "{} {what}; the run keeps its parts there, so move it away or choose another output",
            folder.display()
        )))
    };
    let metadata = folder.symlink_metadata().map_err(|error| Failure::file(folder, &error))?;
    if !metadata.is_dir() {
        return refused("is not a folder of an unfinished run");
    }
    let files = own_files(folder);
    let folders = own_folders(folder);
    for path in entries(folder)? {
        let is_ours = path.file_name().is_some_and(|name| name == LOCK)
            || (files.contains(&path) && !path.is_dir())
            || (folders.contains(&path) && foreign_part(&path)?.is_none());
        if !is_ours {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return refused(&format!("contains '{name}', which is not from an unfinished run"));
        }
    }
    if files.iter().any(|path| path.ends_with(MANIFEST) && path.exists()) {
        return Ok(());
    }
    // A run that was killed before it had a manifest has left no more than this.
    let parts = folder.join(PARTS);
    let is_early = |path: &PathBuf| match path.file_name().and_then(|name| name.to_str()) {
        Some(LOCK) => true,
        Some(PARTS) => entries(&parts).is_ok_and(|parts| parts.is_empty()),
        _ => *path == unfinished(&folder.join(MANIFEST)),
    };
    match entries(folder)?.iter().all(is_early) {
        true => Ok(()),
        false => refused("has parts but no manifest"),
    }
}

/// What lies among parts and is none.
fn foreign_part(folder: &Path) -> Result<Option<PathBuf>> {
    if folder.is_symlink() || !folder.is_dir() {
        return Ok(Some(folder.to_path_buf()));
    }
    let is_foreign = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_suffix(".tmp").unwrap_or(&name);
        !is_part_name(name) || path.is_dir()
    };
    Ok(entries(folder)?.into_iter().find(is_foreign))
}

/// What lies in a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(|error| Failure::file(folder, &error))
}

/// Whether the run of this manifest has put its output in place.
fn is_published(output: &Output, folder: &Path, manifest: &Manifest) -> bool {
    let is_marked = folder.join(PUBLISHING).exists() && !folder.join(JOINED).exists();
    output.run().as_ref() == Some(&manifest.run) || (is_marked && output.path.exists())
}

/// Removes the folder and what is ours in it.
fn remove(folder: &Path) -> Result<()> {
    empty(folder)?;
    let lock = folder.join(LOCK);
    fs::remove_file(&lock).map_err(|error| Failure::file(&lock, &error))?;
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            tracing::warn!(
                "{} is kept, as it contains files that are not from this run",
                folder.display()
            );
            Ok(())
        }
        removed => removed.map_err(|error| Failure::file(folder, &error)),
    }
}

/// Removes what is ours in the folder, but for its lock.
fn empty(folder: &Path) -> Result<()> {
    // The manifest goes last, so that what is left after a kill is still known to be ours.
    for path in own_folders(folder).iter().filter(|path| path.is_dir()) {
        for part in entries(path)? {
            let name = part.file_name().unwrap_or_default().to_string_lossy();
            if is_part_name(name.strip_suffix(".tmp").unwrap_or(&name)) {
                fs::remove_file(&part).map_err(|error| Failure::file(&part, &error))?;
            }
        }
        fs::remove_dir(path).map_err(|error| Failure::file(path, &error))?;
    }
    for path in own_files(folder).iter().rev().filter(|path| path.exists()) {
        fs::remove_file(path).map_err(|error| Failure::file(path, &error))?;
    }
    Ok(())
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
            "{} is damaged or of another version ({error}); --restart discards the unfinished run",
            path.display()
        ))
    })
}

/// Removes what an earlier run left in the folder, but not its lock, and makes room for parts.
fn clear(folder: &Path) -> Result<()> {
    empty(folder)?;
    let parts = folder.join(PARTS);
    fs::create_dir(&parts).map_err(|error| Failure::file(&parts, &error))
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
        let reader = SerializedFileReader::new(file).map_err(|error| damaged(&path, error))?;
        rows += u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default();
        number += 1;
    }
}
