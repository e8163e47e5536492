//! The report of `sembla cluster` and `sembla topics`: one page for people, with a map of the texts
//! and a list of their groups. [`gallery`] is that of a search among images.
//!
//! Invariants:
//! * The page is whole: styles, scripts and the chart library are in it, and its content security
//!   policy forbids every request.
//! * A text stays a text: whatever comes from the data is escaped for the place where it stands,
//!   HTML, the chart library's own markup, or JSON in a script.
//!
//! This file has what a page says; `page` makes HTML of it, `map` the chart, `colours` the colours.
//! Pages without a script share `plain`.

mod colours;
pub mod gallery;
mod map;
mod page;
pub(crate) mod plain;

use std::io::Write;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::whole_file::{self, write_whole};
pub(crate) use page::escape;

/// What a page says.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The heading.
    pub title: String,
    /// What a group is called: `topic` or `cluster`.
    pub group_name: &'static str,
    /// Texts that were grouped.
    pub rows: u64,
    /// Texts of no group.
    pub ungrouped: u64,
    /// The groups, largest first.
    pub groups: Vec<Group>,
    /// The texts of the map.
    pub points: Vec<Point>,
    /// How the page was made: names and values.
    pub facts: Vec<(&'static str, String)>,
}

/// A cluster or a topic.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The id, as in the rows.
    pub id: i64,
    /// Texts.
    pub size: u64,
    /// The words that stand for it, the weightiest first.
    pub words: Vec<String>,
    /// How often its words stand together, from -1 to 1.
    pub coherence: Option<f64>,
    /// Texts that show what it is about.
    pub examples: Vec<String>,
}

/// A text on the map.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Upwards.
    pub y: f32,
    /// The id of its group.
    pub group: Option<i64>,
    /// The text.
    pub text: String,
}

/// Looks whether a report can be written where it is asked for.
///
/// # Errors
/// When its name does not end in `.html`, its folder is not there, or it exists and `overwrite` is
/// not set.
pub fn check(path: Option<&Path>, overwrite: bool) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    if !path.extension().is_some_and(|end| end.eq_ignore_ascii_case("html")) {
        return Err(Failure::user(format!("the report {} does not end in .html", path.display())));
    }
    whole_file::check(path, overwrite)
}

/// Writes the page.
///
/// # Errors
/// Those of the disk.
pub fn write(page: &Page, path: &Path) -> Result<()> {
    let html = page::render(page)?;
    write_whole(path, |file| {
        file.write_all(html.as_bytes()).map_err(|error| Failure::file(path, &error))
    })
}
