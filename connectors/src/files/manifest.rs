//! Manifests: the numbered commits of a data set, each of which says what it adds and how far the
//! pipeline has come.
//!
//! - *Invariant:* a number is taken once, by a put that fails where the file is there. Whoever
//!   finds its number taken has a successor.
//! - *Invariant:* every start takes a number too. So what an instance wrote without committing it
//!   can be removed once its successor has started.
//! - *Invariant:* a manifest carries a hash of itself; one that is torn is rejected by name.
//! - Every [`LIST_EVERY`]th commit writes the files of those before it into one list and removes
//!   them, so a start reads few files whatever the age of the data set.

use std::sync::Arc;

use bytes::Bytes;
use sembla_runtime::{Error, Progress, Result};
use serde::{Deserialize, Serialize};

use crate::store::Folder;

/// The folder of manifests.
const FOLDER: &str = "_sembla";
/// The file that says up to which commit all files have their names.
const PUBLISHED: &str = "_sembla/published";
/// The folder of lists.
const LISTS: &str = "_sembla/lists";
/// The version of what is written here.
const VERSION: u32 = 1;
/// Commits between two lists.
pub(super) const LIST_EVERY: u64 = 64;

/// Which of a sink's places a file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// The data set itself.
    Rows,
    /// Late rows.
    Late,
    /// Records that can't be used.
    Rejected,
}

/// A file that a commit adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DataFile {
    pub(super) place: Place,
    /// Its path in its place.
    pub(super) path: String,
    /// Its path before the commit.
    pub(super) pending: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// A hash of its content.
    pub(super) blake3: String,
}

/// What a data set holds; it can't change from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) format: String,
    pub(super) partition_by: Vec<String>,
    /// Each column as `name type`, with ` NOT NULL` where it is.
    pub(super) columns: Vec<String>,
}

/// One commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) version: u32,
    /// From 1.
    pub(super) number: u64,
    /// The start of a process that wrote it.
    pub(super) instance: String,
    /// The name of the pipeline that the data set belongs to.
    pub(super) pipeline: String,
    pub(super) shape: Shape,
    /// How far the pipeline has come; `None` before the first commit of rows.
    #[serde(default)]
    pub(super) progress: Option<Progress>,
    #[serde(default)]
    pub(super) files: Vec<DataFile>,
    /// A hash of all the above.
    blake3: String,
}

/// The files of a run of commits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct List {
    version: u32,
    /// The number of the first commit that is not in it.
    before: u64,
    files: Vec<DataFile>,
    blake3: String,
}

/// The manifests of a data set.
#[derive(Clone)]
pub(super) struct Manifests {
    folder: Arc<dyn Folder>,
}

impl Manifests {
    /// Those of the data set in a folder.
    pub(super) fn new(folder: Arc<dyn Folder>) -> Self {
        Self { folder }
    }

    /// Reads the chain: the last commits, which no list has taken in, in order.
    ///
    /// # Errors
    /// [`Error::State`] when one is torn, missing or of a later version.
    pub(super) async fn read(&self) -> Result<Vec<Manifest>> {
        let paths = self.commits().await?;
        let Some((last, _)) = paths.last() else {
            if self.folder.list(LISTS).await?.is_empty() {
                return Ok(Vec::new());
            }
            return Err(Error::State(format!(
                "the manifests in {} are missing, but lists of older ones exist; restore them, or write to another path",
                self.folder.shown(FOLDER)
            )));
        };
        let first = last - last % LIST_EVERY;
        let mut commits: Vec<Manifest> = Vec::new();
        for (number, path) in paths.iter().filter(|(number, _)| *number >= first) {
            let manifest: Manifest = self.parse(path, self.folder.get(path).await?)?;
            let expected = commits.last().map_or(first.max(1), |previous| previous.number + 1);
            if *number != expected || manifest.number != expected {
                return Err(Error::State(format!(
                    "the manifest {} is missing; restore it, or write to another path",
                    self.folder.shown(&commit_path(expected))
                )));
            }
            commits.push(manifest);
        }
        Ok(commits)
    }

    /// The number of the last commit all of whose files are known to have had their names. Who
    /// reads a data set may take such files away.
    ///
    /// # Errors
    /// When the outside world fails.
    pub(super) async fn published(&self) -> Result<u64> {
        let bytes = self.folder.get(PUBLISHED).await?;
        let text = bytes.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        // Without it more is looked at than needed.
        Ok(text.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }

    /// Notes that all files up to the commit of that number have their names.
    ///
    /// # Errors
    /// When the outside world fails.
    pub(super) async fn put_published(&self, number: u64) -> Result<()> {
        self.folder.put(PUBLISHED, Bytes::from(format!("{number}\n"))).await
    }

    /// The path of a commit as a person would write it.
    pub(super) fn shown(&self, number: u64) -> String {
        self.folder.shown(&commit_path(number))
    }

    /// Puts the next commit.
    ///
    /// # Errors
    /// [`Error::Replaced`] when its number, or a later one, is taken; [`Error::Fenced`] when the
    /// outcome is unknown.
    pub(super) async fn put(&self, manifest: &Manifest) -> Result<()> {
        let path = commit_path(manifest.number);
        let shown = self.folder.shown(&path);
        let put = self.folder.put_new(&path, sealed(manifest)?).await;
        let is_first = put.map_err(|error| {
            Error::Fenced(format!("it is unknown whether the commit was written: {error}"))
        })?;
        let taken =
            || Error::Replaced(format!("another instance has written {shown} or a later one"));
        if !is_first {
            return Err(taken());
        }
        // A number that is long past may be free again, because lists have taken it in.
        let is_last = self.commits().await.map_err(|error| {
            Error::Fenced(format!("it is unknown whether the commit counts: {error}"))
        })?;
        match is_last.last() {
            Some((last, _)) if *last == manifest.number => Ok(()),
            _ => Err(taken()),
        }
    }

    /// Moves the files of commits before `number` into a list, if it is time for one.
    ///
    /// # Errors
    /// When the outside world fails; it is made up for at the next start.
    pub(super) async fn compact(&self, number: u64) -> Result<()> {
        if !number.is_multiple_of(LIST_EVERY) {
            return Ok(());
        }
        let mut old = self.commits().await?;
        old.retain(|(other, _)| *other < number);
        // What an earlier list has taken in may still lie around, or lie there again.
        let listed_before = self.listed_before().await?;
        let mut files = Vec::new();
        for (_, path) in old.iter().filter(|(other, _)| *other >= listed_before) {
            let manifest: Manifest = self.parse(path, self.folder.get(path).await?)?;
            files.extend(manifest.files);
        }
        let list = List { version: VERSION, before: number, files, ..List::default() };
        let path = list_path(number);
        self.folder.put(&path, sealed(&list)?).await?;
        for (_, path) in &old {
            self.folder.delete(path).await?;
        }
        Ok(())
    }

    /// Every file of the data set, in the order of commits.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[cfg(test)]
    pub(super) async fn files(&self) -> Result<Vec<DataFile>> {
        let mut files = Vec::new();
        for path in self.folder.list(LISTS).await? {
            let list: List = self.parse(&path, self.folder.get(&path).await?)?;
            files.extend(list.files);
        }
        let listed_before = self.listed_before().await?;
        for (_, path) in self.commits().await?.iter().filter(|(n, _)| *n >= listed_before) {
            let manifest: Manifest = self.parse(path, self.folder.get(path).await?)?;
            files.extend(manifest.files);
        }
        Ok(files)
    }

    /// The first commit that is in no list.
    async fn listed_before(&self) -> Result<u64> {
        let lists = self.folder.list(LISTS).await?;
        Ok(lists.iter().filter_map(|path| list_number(path)).max().unwrap_or(0))
    }

    /// The numbers and paths of commits, in order.
    async fn commits(&self) -> Result<Vec<(u64, String)>> {
        let paths = self.folder.list(FOLDER).await?;
        let mut commits: Vec<_> =
            paths.into_iter().filter_map(|path| Some((number_of(&path)?, path))).collect();
        commits.sort_unstable();
        Ok(commits)
    }

    fn parse<T: Sealed>(&self, path: &str, bytes: Option<Bytes>) -> Result<T> {
        let shown = self.folder.shown(path);
        let torn = |what: &str| {
            Error::State(format!(
                "the manifest {shown} is damaged ({what}); restore it, or write to another path"
            ))
        };
        let bytes = bytes.ok_or_else(|| torn("it no longer exists"))?;
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| torn(&error.to_string()))?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version.is_some_and(|version| version > u64::from(VERSION)) {
            return Err(Error::State(format!(
                "the manifest {shown} was written by a later version of sembla"
            )));
        }
        let sealed: T = serde_json::from_value(value).map_err(|error| torn(&error.to_string()))?;
        match sealed.is_whole()? {
            true => Ok(sealed),
            false => Err(torn("its hash does not match")),
        }
    }
}

/// What carries a hash of itself.
trait Sealed: Clone + Serialize + for<'a> Deserialize<'a> {
    fn seal(&mut self) -> &mut String;

    /// The hash of all but the hash.
    fn hash(&self) -> Result<String> {
        let mut bare = self.clone();
        bare.seal().clear();
        let bytes = serde_json::to_vec(&bare)
            .map_err(|error| Error::Bug(format!("a manifest can't be written: {error}")))?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    }

    fn is_whole(&self) -> Result<bool> {
        Ok(*self.clone().seal() == self.hash()?)
    }
}

impl Sealed for Manifest {
    fn seal(&mut self) -> &mut String {
        &mut self.blake3
    }
}

impl Sealed for List {
    fn seal(&mut self) -> &mut String {
        &mut self.blake3
    }
}

/// It as bytes, with its hash.
fn sealed<T: Sealed>(bare: &T) -> Result<Bytes> {
    let mut whole = bare.clone();
    *whole.seal() = bare.hash()?;
    serde_json::to_vec_pretty(&whole)
        .map(Bytes::from)
        .map_err(|error| Error::Bug(format!("a manifest can't be written: {error}")))
}

impl Manifest {
    /// A commit without files.
    pub(super) fn new(number: u64, instance: &str, pipeline: &str, shape: &Shape) -> Self {
        Self {
            version: VERSION,
            number,
            instance: instance.into(),
            pipeline: pipeline.into(),
            shape: shape.clone(),
            ..Self::default()
        }
    }
}

/// The path of a commit.
pub(super) fn commit_path(number: u64) -> String {
    format!("{FOLDER}/commit-{number:012}.json")
}

fn number_of(path: &str) -> Option<u64> {
    path.strip_prefix(FOLDER)?.strip_prefix("/commit-")?.strip_suffix(".json")?.parse().ok()
}

/// The path of the list of commits before a number.
fn list_path(number: u64) -> String {
    format!("{LISTS}/before-{number:012}.json")
}

fn list_number(path: &str) -> Option<u64> {
    path.strip_prefix(LISTS)?.strip_prefix("/before-")?.strip_suffix(".json")?.parse().ok()
}
