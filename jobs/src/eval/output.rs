//! Where a ranking goes: files, by the endings of their names.

use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;

use super::page;
use super::ranking::Ranking;
use crate::failure::{Failure, Result};
use crate::output::{FileKind, Format, Look, ResultFile, RowPrinter};
use crate::whole_file::{self, write_whole};

/// A file that a ranking is to be written to.
#[derive(Clone, Debug)]
pub struct Output {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Markdown,
    Html,
    Json,
    Rows(ResultFile),
}

impl Output {
    /// The file at `path`, looked at before any work is done.
    ///
    /// # Errors
    /// When its ending is not known, its folder is not there, or it exists and `overwrite` is not
    /// set.
    pub fn new(path: &Path, overwrite: bool) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let kind = match ending.as_str() {
            "md" | "markdown" => Kind::Markdown,
            "html" => Kind::Html,
            "json" => Kind::Json,
            _ if FileKind::of(path).is_some() => Kind::Rows(ResultFile::new(path, overwrite)?),
            _ => {
                return Err(Failure::user(format!(
                    "the output {} does not end in .md, .html, .json, {}",
                    path.display(),
                    FileKind::ENDINGS
                )));
            }
        };
        whole_file::check(path, overwrite)?;
        Ok(Self { path: path.to_path_buf(), kind })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a ranking; `facts` say on a page how it was made.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&self, ranking: &Ranking, facts: &[(&str, String)]) -> Result<()> {
        let text = match &self.kind {
            Kind::Markdown => ranking.markdown(),
            Kind::Html => page::render(ranking, facts),
            Kind::Json => return write_whole(&self.path, |file| json(&ranking.rows()?, file)),
            Kind::Rows(file) => {
                let rows = ranking.rows()?;
                let mut unfinished = file.create()?;
                let mut writer = unfinished.rows(&rows.schema())?;
                writer.write(&rows)?;
                writer.finish()?;
                return unfinished.publish();
            }
        };
        write_whole(&self.path, |file| {
            file.write_all(text.as_bytes()).map_err(|error| Failure::file(&self.path, &error))
        })
    }
}

fn json(rows: &RecordBatch, out: &mut dyn Write) -> Result<()> {
    let mut printer = RowPrinter::new(Format::Json, Look::default(), &rows.schema(), out)?;
    printer.write(rows)?;
    printer.finish()
}
