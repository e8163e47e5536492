//! The sink: rows, late rows and rejected records into files; one manifest makes them count.
//!
//! 1. `write` adds to open files in memory; full ones are put under `_pending/`.
//! 2. `commit` puts the rest, then the manifest with the next number, then renames the files.
//! 3. `recover` takes the next number for itself, which ends every earlier instance; what the chain
//!    names under `_pending/` it renames, what it doesn't it removes.
//!
//! - *Invariant:* a file has its final name only if a manifest names it.
//! - *Invariant:* a start without anything to tell, and an epoch without rows, write no data file.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sembla_runtime::{Assignment, Delivery, Error, Output, Progress, Result, Sink, failpoint};

use super::area::{Area, PENDING, publish, publish_checked};
use super::manifest::{DataFile, Manifest, Manifests, Place, Shape};
use super::partition::Partitioning;
use super::writer::{FileFormat, FileWriter};
use super::{LATE, REJECTED};
use crate::connector::shared_source;
use crate::options::Options;
use crate::rejected::rejected_rows;
use crate::store::{Folder, open_folder};

/// How often a start tries to be the last; each try is lost to another instance's commit.
const START_TRIES_MAX: usize = 20;

/// A data set of files as a sink.
pub struct FilesSink {
    pub(super) areas: Vec<Area>,
    manifests: Manifests,
    shown: String,
    partitioning: Partitioning,
    shape: Shape,
    /// Bytes of open files, and as many again of closed ones that could not be put yet.
    buffer_bytes: usize,
    /// A name for this start, so that no two write the same pending path.
    instance: String,
    /// Files that this start has put.
    put_count: u64,
    pipeline: String,
    /// The number of the last commit.
    number: u64,
}

impl FilesSink {
    /// A sink for rows of a schema by the options of [`super::sink_options`]. Open files take up to
    /// `buffer_bytes`, and closed ones that could not be put yet as much again.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use arrow::datatypes::{DataType, Field, Schema};
    /// use sembla_connectors::files::{FilesSink, sink_options};
    /// use sembla_connectors::options::Options;
    /// use sembla_runtime::{Delivery, Sink};
    ///
    /// let given = [("path".to_string(), "out/".to_string())];
    /// let options = Options::read("a files sink", &sink_options(), &given)?;
    /// let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    /// let sink = FilesSink::new(&schema, &options)?;
    /// assert_eq!(sink.promise(), Delivery::ExactlyOnce);
    /// # Ok::<(), sembla_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Option`] for options that can't be, and for rows that the format can't hold.
    pub fn new(schema: &SchemaRef, options: &Options) -> Result<Self> {
        let folder = |key: &str| {
            let location = options.find_text(key)?;
            Some(open_folder(location, options))
        };
        check_places(options)?;
        let rows = open_folder(options.text("path")?, options)?;
        Self::over(schema, options, rows, folder(LATE).transpose()?, folder(REJECTED).transpose()?)
    }

    /// A sink over folders.
    pub(super) fn over(
        schema: &SchemaRef,
        options: &Options,
        rows: Arc<dyn Folder>,
        late: Option<Arc<dyn Folder>>,
        rejected: Option<Arc<dyn Folder>>,
    ) -> Result<Self> {
        let roll_bytes = usize::try_from(options.bytes("roll_bytes")?).unwrap_or(usize::MAX).max(1);
        let buffer_bytes = usize::try_from(options.bytes("buffer_bytes")?).unwrap_or(usize::MAX);
        let format = match options.choice("format")? {
            "json" => FileFormat::JsonLines,
            _ => FileFormat::Parquet,
        };
        let by: Vec<String> = options
            .find_text("partition_by")
            .map(|names| names.split(',').map(|name| name.trim().to_string()).collect())
            .unwrap_or_default();
        let partitioning = Partitioning::new(schema, &by)?;
        // Says now what would otherwise be said at the first row.
        FileWriter::new(format, &partitioning.schema)?;
        let columns = schema.fields().iter().map(|field| {
            let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
            format!("{} {}{not_null}", field.name(), field.data_type())
        });
        let shape = Shape {
            format: options.choice("format")?.into(),
            partition_by: by,
            columns: columns.collect(),
        };
        let places = [
            (Place::Rows, Some(Arc::clone(&rows)), format),
            (Place::Late, late, FileFormat::JsonLines),
            (Place::Rejected, rejected, FileFormat::JsonLines),
        ];
        let areas = places.into_iter().filter_map(|(place, folder, format)| {
            Some(Area::new(place, folder?, format, roll_bytes))
        });
        Ok(Self {
            areas: areas.collect(),
            shown: rows.shown(""),
            manifests: Manifests::new(rows),
            partitioning,
            shape,
            buffer_bytes,
            instance: String::new(),
            put_count: 0,
            pipeline: String::new(),
            number: 0,
        })
    }

    fn area(&mut self, place: Place) -> Result<&mut Area> {
        self.areas
            .iter_mut()
            .find(|area| area.place == place)
            .ok_or_else(|| Error::Bug(format!("there is no place for {place:?}")))
    }

    /// Rejects a data set of another pipeline, or of other rows.
    fn check(&self, last: &Manifest) -> Result<()> {
        if last.pipeline != self.pipeline {
            return Err(Error::Option(format!(
                "the data set {} belongs to the pipeline '{}', not to '{}'; write to another path",
                self.shown, last.pipeline, self.pipeline
            )));
        }
        let (then, now) = (&last.shape, &self.shape);
        let differs = |what: &str, then: &str, now: &str| {
            Err(Error::Option(format!(
                "the data set {} has {what} {then}, but this pipeline writes {now}; write to another path",
                self.shown
            )))
        };
        if then.columns != now.columns {
            return differs("the columns", &then.columns.join(", "), &now.columns.join(", "));
        }
        if then.format != now.format {
            return differs("the format", &then.format, &now.format);
        }
        if then.partition_by != now.partition_by {
            let shown = |by: &[String]| if by.is_empty() { "none".into() } else { by.join(", ") };
            return differs(
                "partition columns",
                &shown(&then.partition_by),
                &shown(&now.partition_by),
            );
        }
        Ok(())
    }

    /// Takes the next number, so that no earlier instance can commit any more.
    async fn start(&mut self) -> Result<Vec<Manifest>> {
        let mut refusal = None;
        for _ in 0..START_TRIES_MAX {
            let mut commits = self.manifests.read().await?;
            let mut progress = None;
            if let Some(last) = commits.last() {
                self.check(last)?;
                progress.clone_from(&last.progress);
            }
            let newest = commits.last().map_or(0, |last| last.number);
            self.refuse_lost_commit(newest).await?;
            let number = newest + 1;
            let mut start = Manifest::new(number, &self.instance, &self.pipeline, &self.shape);
            start.progress = progress;
            match self.manifests.put(&start).await {
                Ok(()) => {
                    self.number = number;
                    commits.push(start);
                    return Ok(commits);
                }
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::Bug("a start without a try".into())))
    }

    /// Rejects a data set that has files of a commit whose manifest is gone: its rows would come a
    /// second time.
    async fn refuse_lost_commit(&mut self, newest: u64) -> Result<()> {
        for area in &mut self.areas {
            let paths = area.folder.list("").await?;
            let number = |path: &String| part_number(path).filter(|number| *number > newest);
            let lost = paths.iter().filter_map(|path| Some((number(path)?, path))).min();
            if let Some((number, path)) = lost {
                return Err(Error::State(format!(
                    "the manifest {} is missing, although the file {} of its commit exists; restore it, or write to another path",
                    self.manifests.shown(number),
                    area.folder.shown(path)
                )));
            }
        }
        Ok(())
    }

    /// Renames what commits name and is still pending; removes what is pending otherwise. What is
    /// not known to be published must be there, and whole.
    async fn settle(&mut self, commits: &[Manifest]) -> Result<()> {
        let published = self.manifests.published().await?;
        let open = commits.iter().filter(|commit| commit.number > published);
        for file in open.flat_map(|commit| &commit.files) {
            let area = |area: &Area| (area.place == file.place).then(|| Arc::clone(&area.folder));
            let folder = self.areas.iter().find_map(area);
            match folder {
                Some(folder) => publish_checked(folder.as_ref(), file).await?,
                None => tracing::warn!(
                    "the data set {} has committed files in a place that the sink no longer has",
                    self.shown
                ),
            }
        }
        let committed: BTreeMap<(Place, &str), &DataFile> = commits
            .iter()
            .flat_map(|commit| &commit.files)
            .map(|file| ((file.place, file.pending.as_str()), file))
            .collect();
        for area in &mut self.areas {
            for pending in area.folder.list(PENDING).await? {
                match committed.get(&(area.place, pending.as_str())) {
                    Some(file) => publish_checked(area.folder.as_ref(), file).await?,
                    None => area.folder.delete(&pending).await?,
                }
            }
        }
        Ok(())
    }

    /// Puts closed files, and closes some where open ones take too much memory.
    async fn make_room(&mut self) -> Result<()> {
        while self.areas.iter().map(Area::open_bytes).sum::<usize>() > self.buffer_bytes {
            let largest = self.areas.iter_mut().max_by_key(|area| area.open_bytes());
            match largest {
                Some(area) => area.close_largest()?,
                None => break,
            }
        }
        let Err(error) = self.put_closed().await else { return Ok(()) };
        let waiting: usize = self.areas.iter().map(Area::closed_bytes).sum();
        if waiting > self.buffer_bytes {
            return Err(Error::Fenced(format!(
                "files can't be written, and {waiting} bytes are waiting: {error}"
            )));
        }
        tracing::warn!("a file could not be written and will be retried: {error}");
        Ok(())
    }

    pub(super) async fn put_closed(&mut self) -> Result<()> {
        for area in &mut self.areas {
            let (instance, count) = (&self.instance, &mut self.put_count);
            let name = || {
                *count += 1;
                format!("{instance}-{count:08}")
            };
            area.put_closed(name).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for FilesSink {
    async fn recover(
        &mut self,
        pipeline: &str,
        assignment: &BTreeMap<String, Assignment>,
    ) -> Result<Option<Progress>> {
        if let Some(source) = shared_source(assignment) {
            return Err(Error::Option(format!(
                "another instance reads part of the source '{source}', but the data set {} can have \
                 one writer; stop the other, or give each its own path",
                self.shown
            )));
        }
        self.pipeline = pipeline.into();
        self.instance = new_instance();
        self.put_count = 0;
        for area in &mut self.areas {
            area.give_up();
        }
        let commits = self.start().await?;
        self.settle(&commits).await?;
        self.manifests.put_published(self.number).await?;
        self.manifests.compact(self.number).await?;
        Ok(commits.last().and_then(|last| last.progress.clone()))
    }

    async fn write(&mut self, output: Output<'_>) -> Result<()> {
        failpoint::hit("sink.write")?;
        match output {
            Output::Rows(rows) => {
                let folders = self.partitioning.split(rows)?;
                let schema = SchemaRef::clone(&self.partitioning.schema);
                self.area(Place::Rows)?.add(&schema, folders)?;
            }
            Output::Late(rows) => {
                let folders = vec![(String::new(), rows.clone())];
                self.area(Place::Late)?.add(&rows.schema(), folders)?;
            }
            Output::Rejected(records) => {
                let rows = rejected_rows(records)?;
                let schema = rows.schema();
                self.area(Place::Rejected)?.add(&schema, vec![(String::new(), rows)])?;
            }
            Output::Marks(_) => return Err(Error::Bug("marks come to a folder".into())),
        }
        self.make_room().await
    }

    async fn commit(&mut self, progress: &Progress) -> Result<()> {
        for area in &mut self.areas {
            area.close_all()?;
        }
        self.put_closed().await?;
        failpoint::hit("files.manifest.before")?;
        let number = self.number + 1;
        let mut manifest = Manifest::new(number, &self.instance, &self.pipeline, &self.shape);
        manifest.progress = Some(progress.clone());
        manifest.files = self.areas.iter().flat_map(|area| area.files_of(number)).collect();
        self.manifests.put(&manifest).await?;
        self.number = number;
        self.areas.iter_mut().for_each(Area::committed);
        // From here on it has happened; what can't be finished now is finished by the next start.
        let unfinished = |error: Error| {
            Error::Fenced(format!("commit {number} is valid, but was not finished: {error}"))
        };
        failpoint::hit("files.manifest.after").map_err(unfinished)?;
        for area in &mut self.areas {
            for file in manifest.files.iter().filter(|file| file.place == area.place) {
                publish(area.folder.as_ref(), file).await.map_err(unfinished)?;
            }
        }
        self.manifests.put_published(number).await.map_err(unfinished)?;
        self.manifests.compact(number).await.map_err(unfinished)
    }

    async fn abort(&mut self) -> Result<()> {
        for area in &mut self.areas {
            for pending in area.give_up() {
                area.folder.delete(&pending).await?;
            }
        }
        Ok(())
    }

    fn takes_rejected(&self) -> bool {
        self.areas.iter().any(|area| area.place == Place::Rejected)
    }

    fn takes_late(&self) -> bool {
        self.areas.iter().any(|area| area.place == Place::Late)
    }

    fn rejected_option(&self) -> Option<&'static str> {
        Some(REJECTED)
    }

    fn promise(&self) -> Delivery {
        Delivery::ExactlyOnce
    }
}

/// Rejects side outputs that would lie among the rows, or in each other's way.
pub(super) fn check_places(options: &Options) -> Result<()> {
    let place = |key| options.find_text(key).map(|path: &str| path.trim_end_matches('/'));
    let rows = place("path").unwrap_or_default();
    for key in [LATE, REJECTED] {
        let Some(below) = place(key).and_then(|path| path.strip_prefix(rows)) else { continue };
        let is_seen = below.is_empty()
            || below.strip_prefix('/').is_some_and(|inside| !inside.starts_with(['_', '.']));
        if is_seen || ["/_pending", "/_sembla"].iter().any(|own| below.starts_with(own)) {
            return Err(Error::Option(format!(
                "{key} is inside path '{rows}', where readers would mistake it for rows; choose a folder beside it"
            )));
        }
    }
    match (place(LATE), place(REJECTED)) {
        (Some(late), Some(dead)) if late == dead => Err(Error::Option(format!(
            "{LATE} and {REJECTED} must be different folders, got '{late}' for both"
        ))),
        _ => Ok(()),
    }
}

/// The number of the commit that a published file is of.
fn part_number(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?;
    let is_own = path.starts_with(['_', '.']);
    let (number, _) = name.strip_prefix("part-")?.split_once('-')?;
    number.parse().ok().filter(|_| !is_own && number.len() == 12)
}

/// A name that no other start has.
fn new_instance() -> String {
    // The standard library seeds each of these from the system's randomness.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
