//! Where the rows of a run go: one file, or a folder of parts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use sembla_models::ModelInfo;

use super::manifest::Manifest;
use super::work::{is_part_name, part_name};
use crate::failure::{Failure, Result};
use crate::input::PARTIAL;
use crate::output::FileKind;
use crate::whole_file::parent;

/// Where the rows go.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// The file or folder.
    pub path: PathBuf,
    /// What is written there.
    pub kind: OutputKind,
    /// Whether one that exists is replaced.
    pub overwrite: bool,
    /// Whether rows are added to one that exists.
    pub grows: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// A folder of Parquet files.
    Folder,
    /// One file of all columns.
    Rows(FileKind),
    /// The vectors alone, as NumPy reads them, and the other columns beside them.
    Npy,
}

impl Output {
    /// An output at `path`. A name without an ending, or with a `/` behind it, is a folder.
    ///
    /// # Errors
    /// When the ending is of no format that can be written.
    pub(crate) fn new(path: &Path, overwrite: bool) -> Result<Self> {
        let ending = path.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
        let says_folder = path.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR]);
        let kind = match (FileKind::of(path), ending.as_deref()) {
            _ if says_folder => OutputKind::Folder,
            (Some(kind), _) => OutputKind::Rows(kind),
            (None, None) => OutputKind::Folder,
            (None, Some("npy")) => OutputKind::Npy,
            (None, Some(_)) if path.is_dir() => OutputKind::Folder,
            (None, Some(ending)) => {
                return Err(Failure::user(format!(
                    "the output {} ends in .{ending}, which is not supported; use {}, .npy, or a folder ({0}/)",
                    path.display(),
                    FileKind::ENDINGS.replace(" or ", ", ")
                )));
            }
        };
        // The name without what may be behind it: `parts/` and `parts` are one folder.
        let path: PathBuf = path.components().collect();
        Ok(Self { path, kind, overwrite, grows: false })
    }

    /// The output, to which rows are added if `grows`.
    ///
    /// # Errors
    /// When its format can't take more rows.
    pub(crate) fn growing(self, grows: bool) -> Result<Self> {
        match self.kind {
            OutputKind::Folder | OutputKind::Rows(FileKind::Parquet) => Ok(Self { grows, ..self }),
            _ if !grows => Ok(self),
            _ => Err(Failure::user(format!(
                "--only-new needs a .parquet file or a folder of them as output, got {}",
                self.path.display()
            ))),
        }
    }

    /// The files that rows are added to, in their order.
    pub(crate) fn earlier_files(&self) -> Vec<PathBuf> {
        if !self.grows || !self.path.exists() {
            return Vec::new();
        }
        if self.kind != OutputKind::Folder {
            return vec![self.path.clone()];
        }
        let mut files: Vec<_> = fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
            .collect();
        files.sort();
        files
    }

    /// The work folder.
    pub(crate) fn folder(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push(PARTIAL);
        self.path.with_file_name(name)
    }

    /// The file of the columns beside an array of vectors.
    pub(crate) fn ids(&self) -> Option<PathBuf> {
        (self.kind == OutputKind::Npy).then(|| self.path.with_extension("ids.csv"))
    }

    /// The run that wrote what is at the output now; `None` when there is nothing, or nothing that
    /// says so.
    pub(crate) fn run(&self) -> Option<String> {
        self.noted("sembla.run")
    }

    /// Rejects to add vectors to those of another model.
    ///
    /// # Errors
    /// When the output says that another model, or the same with other options, made it.
    pub(crate) fn check_model(&self, model: &ModelInfo) -> Result<()> {
        match self.noted("sembla.fingerprint").filter(|_| self.grows) {
            Some(before) if before != model.fingerprint => Err(Failure::user(format!(
                "{} was embedded with model '{}' ({}), but the model is now '{}' ({}); --only-new needs the same model and options",
                self.path.display(),
                self.noted("sembla.model").unwrap_or_default(),
                self.noted("sembla.precision").unwrap_or_default(),
                model.name,
                model.precision
            ))),
            _ => Ok(()),
        }
    }

    /// Rejects to take over vectors that were made otherwise.
    ///
    /// # Errors
    /// When another model, prompt or chunking made the output.
    pub(crate) fn check_same(&self, manifest: &Manifest) -> Result<()> {
        let shown = self.path.display();
        for (key, now) in manifest.metadata() {
            let what = match key.as_str() {
                "sembla.model" => "model",
                "sembla.precision" => "precision",
                "sembla.fingerprint" => "files or options of the model",
                "sembla.prompt" => "prompt",
                "sembla.chunk" => "chunking",
                "sembla.text_column" => "text column",
                _ => continue,
            };
            let before = self.noted(&key).unwrap_or_default();
            if before != now {
                // A hash says nothing to anybody.
                let difference = match key.as_str() {
                    "sembla.fingerprint" => format!("the {what} changed"),
                    _ => format!("the {what} was '{before}' and is '{now}'"),
                };
                return Err(Failure::user(format!(
                    "{shown} was embedded otherwise ({difference}); --overwrite embeds all rows again"
                )));
            }
        }
        Ok(())
    }

    /// What a run has noted in the output.
    fn noted(&self, key: &str) -> Option<String> {
        let file = match self.kind {
            OutputKind::Folder => self.path.join(part_name(0)),
            OutputKind::Rows(FileKind::Parquet) => self.path.clone(),
            OutputKind::Rows(_) | OutputKind::Npy => return None,
        };
        let reader = SerializedFileReader::new(File::open(file).ok()?).ok()?;
        let pairs = reader.metadata().file_metadata().key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.clone()
    }

    /// # Errors
    /// When something is at the output that may not be replaced.
    pub(crate) fn check(&self) -> Result<()> {
        let shown = self.path.display();
        if !parent(&self.path).is_dir() {
            return Err(Failure::user(format!("the folder of the output {shown} does not exist")));
        }
        if let Some(ids) = self.ids().filter(|ids| ids.exists() && !self.overwrite) {
            let ids = ids.display();
            return Err(Failure::user(format!(
                "the output {ids} already exists; --overwrite replaces it"
            )));
        }
        if !self.path.exists() {
            return Ok(());
        }
        if self.grows && self.path.is_dir() == (self.kind == OutputKind::Folder) {
            return Ok(());
        }
        if !self.overwrite {
            let what = match self.run() {
                Some(_) => {
                    " (an earlier run embedded it); --overwrite replaces it, --only-new id adds the missing rows"
                }
                None => "; --overwrite replaces it",
            };
            return Err(Failure::user(format!("the output {shown} already exists{what}")));
        }
        if self.kind != OutputKind::Folder && self.path.is_dir() {
            return Err(Failure::user(format!("the output {shown} is a folder, not a file")));
        }
        if self.kind == OutputKind::Folder && !is_earlier_output(&self.path) {
            return Err(Failure::user(format!(
                "the folder {shown} is not replaced, as it contains files that are not from an earlier output"
            )));
        }
        Ok(())
    }
}

/// Whether the folder holds parts and nothing else.
fn is_earlier_output(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| {
        entries.all(|entry| {
            entry.is_ok_and(|entry| is_part_name(&entry.file_name().to_string_lossy()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str) -> Result<OutputKind> {
        Output::new(Path::new(path), false).map(|output| output.kind)
    }

    #[test]
    fn the_ending_tells_what_is_written() {
        assert_eq!(kind("a.parquet").ok(), Some(OutputKind::Rows(FileKind::Parquet)));
        assert_eq!(kind("a.CSV").ok(), Some(OutputKind::Rows(FileKind::Csv)));
        assert_eq!(kind("a.npy").ok(), Some(OutputKind::Npy));
        assert_eq!(kind("vectors").ok(), Some(OutputKind::Folder));
        assert_eq!(kind("vectors.v2/").ok(), Some(OutputKind::Folder));
        let line = kind("a.xlsx").expect_err("no format").message().expect("words");
        assert!(line.contains("a.xlsx ends in .xlsx") && line.contains("(a.xlsx/)"), "{line}");
        let output = Output::new(Path::new("in/vectors.v2/"), false).expect("a folder");
        assert_eq!(output.folder(), Path::new("in/vectors.v2.partial"));
    }
}
