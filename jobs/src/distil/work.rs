//! The folder of a run that is not finished: students that are whole, the one in training, the
//! teacher's vectors, and which run all that belongs to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sembla_models::Model;
use sembla_training::work;

use super::{DistilRequest, work_folder};
use crate::failure::{Failure, Result};
use crate::train::failure;

/// The file that says which run the folder belongs to.
const RUN: &str = "run";

/// The folder of the teacher's vectors.
const VECTORS: &str = "teacher-vectors";

/// The folder of a run, taken for this process.
pub(super) struct Work {
    folder: PathBuf,
    /// Held until the end.
    _lock: File,
}

impl Work {
    /// Takes the folder; what an earlier run left in it stays, unless `restart` is set.
    ///
    /// # Errors
    /// Another process that has it, and those of the disk.
    pub(super) fn open(request: &DistilRequest) -> Result<Self> {
        let folder = work_folder(&request.output);
        let lock = work::open(&folder, request.restart).map_err(failure)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where a student of this name is written to.
    pub(super) fn student(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the teacher's vectors are.
    pub(super) fn vectors(&self) -> PathBuf {
        self.folder.join(VECTORS)
    }

    /// Checks that finished students in the folder are of this run. One in training says itself
    /// which run it is of.
    ///
    /// # Errors
    /// Students of another run, and those of the disk.
    pub(super) fn check(
        &self,
        request: &DistilRequest,
        teacher: &Model,
        columns: &[Vec<String>],
    ) -> Result<()> {
        let path = self.folder.join(RUN);
        let run = fingerprint(request, teacher, columns);
        match fs::read_to_string(&path) {
            Ok(found) if found == run => return Ok(()),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::file(&path, &error));
            }
            _ => {}
        }
        let is_finished = |folder: &PathBuf| folder.extension().is_none_or(|e| e != "partial");
        if self.students().iter().any(is_finished) {
            return Err(Failure::user(format!(
                "{} has students of a run with other texts, options or teacher; repeat that command, or start over with --restart",
                self.folder.display()
            )));
        }
        fs::write(&path, run).map_err(|error| Failure::file(&path, &error))
    }

    /// The folders of students, finished ones and the one in training.
    fn students(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.is_dir() && *path != self.vectors()).collect()
    }

    /// After a failure: takes the folder away, unless it has what a next run can use.
    pub(super) fn leave(self, failure: &Failure) {
        if !matches!(failure, Failure::Interrupted(_)) && self.students().is_empty() {
            // What stays is looked at again by the next run.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    /// Puts the folder in the place of the output, without what no model needs.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn finish(self, request: &DistilRequest) -> Result<()> {
        let remove = |path: &Path, outcome: std::io::Result<()>| match outcome {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::file(path, &error))
            }
            _ => Ok(()),
        };
        let path = self.vectors();
        remove(&path, fs::remove_dir_all(&path))?;
        for name in [RUN, work::LOCK] {
            let path = self.folder.join(name);
            remove(&path, fs::remove_file(&path))?;
        }
        work::replace(&self.folder, &request.output).map_err(failure)
    }
}

/// A hash of everything that decides which students there are and their weights.
fn fingerprint(request: &DistilRequest, teacher: &Model, columns: &[Vec<String>]) -> String {
    let mut hasher = blake3::Hasher::new();
    let DistilRequest { student, layers, dimensions, with_static, multilingual, options, .. } =
        request;
    let options = sembla_training::Options {
        checkpoint_every: sembla_training::CheckpointEvery::Steps(1),
        ..options.clone()
    };
    let student = student.as_ref().map(|student| (&student.source, student.max_length));
    let words = format!(
        "{} {:?} {student:?} {layers:?} {dimensions:?} {with_static} {multilingual} {options:?}",
        teacher.info().fingerprint,
        request.teacher.max_length
    );
    hasher.update(words.as_bytes());
    for text in columns.iter().flatten() {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    format!("{}\n", hasher.finalize().to_hex())
}
