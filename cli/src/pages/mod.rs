//! The pages under `docs/` that are made from declarations: functions, table functions, options of
//! statements and connectors, and the command line.
//!
//! A page has no words about an option but those of its declaration, which `--help`, `SHOW
//! FUNCTIONS` and the error messages have too. `make docs` writes the pages; a test fails where one
//! is out of date.

mod commands;
mod markdown;
mod sql;

use std::fs;
use std::path::Path;

use sembla_sql::{Session, SessionOptions};

use crate::args::PagesArgs;
use crate::failure::{Failure, Result};

/// A generated page: its place below `docs/`, and its text.
struct Page {
    path: &'static str,
    text: String,
}

/// All generated pages.
fn pages() -> Result<Vec<Page>> {
    let session = Session::new(SessionOptions::default())?;
    Ok(vec![
        Page { path: "sql/functions.md", text: sql::functions(&session) },
        Page { path: "sql/findings.md", text: sql::table_functions() },
        Page { path: "sql/options.md", text: sql::statement_options(&session) },
        Page { path: "connectors.md", text: sql::connectors() },
        Page { path: "command-line.md", text: commands::page() },
    ])
}

/// Writes all pages below a folder.
///
/// # Errors
/// When a page can't be written.
pub(crate) fn run(args: &PagesArgs) -> Result<()> {
    write(&args.folder)
}

fn write(folder: &Path) -> Result<()> {
    for page in pages()? {
        let path = folder.join(page.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| Failure::file(parent, &error))?;
        }
        fs::write(&path, page.text).map_err(|error| Failure::file(&path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/` of the checkout. `UPDATE_DOCS=1` writes the pages there in place of comparing them.
    #[test]
    fn the_pages_of_the_documentation_are_current() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            write(&docs).expect("written");
        }
        for page in pages().expect("pages") {
            let written = fs::read_to_string(docs.join(page.path)).unwrap_or_default();
            let differs = written.lines().zip(page.text.lines()).find(|(old, new)| old != new);
            assert!(
                written == page.text,
                "docs/{} is out of date; 'make docs' writes it. First difference: {differs:?}",
                page.path
            );
        }
    }

    #[test]
    fn every_option_of_a_finding_is_on_its_page() {
        let page = sql::table_functions();
        for finding in sembla_sql::reference::findings() {
            assert!(page.contains(&format!("## {}\n", finding.name)), "{}", finding.name);
            for option in finding.options {
                assert!(page.contains(&format!("| `{}` |", option.name)), "{}", option.name);
            }
        }
    }
}
