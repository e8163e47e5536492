//! `sembla completions` and `sembla man`: what is made from the declaration of the command line.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::failure::{Failure, Result};

/// Prints the completions of a shell.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sembla", &mut script);
    print(&script)
}

/// Prints the manual page, or writes the pages of all commands.
///
/// # Errors
/// When standard output is closed, or the folder can't be written.
pub(crate) fn man(args: &ManArgs) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    match &args.folder {
        None => print(&page(&command)?),
        Some(folder) => {
            fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
            let pages = write_pages(&command, folder)?;
            eprintln!("{pages} pages in {}", folder.display());
            Ok(())
        }
    }
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// The page of a command.
fn page(command: &Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    Man::new(command.clone())
        .title(page_name(command).to_uppercase())
        .source(format!("sembla {version}"))
        .render(&mut page)
        .map_err(|error| Failure::output(&error))?;
    Ok(page)
}

/// Writes the pages of a command and of those below it; says how many.
fn write_pages(command: &Command, folder: &Path) -> Result<usize> {
    let path = folder.join(format!("{}.1", page_name(command)));
    fs::write(&path, page(command)?).map_err(|error| Failure::file(&path, &error))?;
    let below = command.get_subcommands();
    let below = below.filter(|below| below.get_name() != "help" && !below.is_hide_set());
    below.map(|below| write_pages(below, folder)).try_fold(1, |sum, pages| Ok(sum + pages?))
}

/// `sembla-models-list`.
fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options() {
        let folder = tempfile::tempdir().expect("a folder");
        man(&ManArgs { folder: Some(folder.path().to_path_buf()) }).expect("pages");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
        assert!(read("sembla.1").contains(".TH SEMBLA 1"));
        assert!(read("sembla-embed.1").contains("output\\-column"));
        assert!(read("sembla-models-inspect.1").contains("precision"));
    }
}
