//! What the README and the pages under `docs/` show is what the program prints.
//!
//! Blocks of `console` are run: each line after `$ ` is a command, and the lines below it must come
//! in its output, in that order. Times and rates are left out of the comparison.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::place::{Place, bundled};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A command of a page, and the lines that the page shows below it.
struct Shown {
    command: String,
    lines: Vec<String>,
}

/// The commands in the blocks of `console` of a page.
fn shown(page: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            all.push(Shown { command: command.to_string(), lines: Vec::new() });
        } else if let (true, Some(last)) = (inside, all.last_mut()) {
            last.lines.push(line.to_string());
        }
    }
    all
}

/// A line without what differs from run to run: times and rates at its end.
fn steady(line: &str) -> &str {
    if !line.contains(" rows/s") {
        return line.trim_end();
    }
    let ends = [line.rfind("; "), line.rfind(" in ")];
    let end = ends.into_iter().flatten().min().unwrap_or(line.len());
    line.get(..end).unwrap_or(line)
}

/// Runs a command of a page as a shell would, with the program on the path.
fn output_of(command: &str, place: &Place) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_sembla"));
    let folder = program.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(place.path(""));
    shell.env("PATH", format!("{folder}:{path}")).env_remove("RUST_LOG").stdin(Stdio::null());
    bundled(&mut shell);
    String::from_utf8(shell.output().expect("a shell").stdout).expect("text")
}

/// Runs all commands of a page in one folder, which has the examples. Gives how many there were.
fn check(page: &Path) -> usize {
    let place = Place::new();
    std::os::unix::fs::symlink(root().join("examples"), place.path("examples")).expect("a link");
    let all = shown(&fs::read_to_string(page).expect("a page"));
    for Shown { command, lines } in &all {
        let output = output_of(command, &place);
        let mut printed = output.lines().map(steady);
        for line in lines {
            assert!(
                printed.any(|printed| printed == steady(line)),
                "{}: '{command}' does not print\n{line}\nin this place, but\n{output}",
                page.display()
            );
        }
    }
    all.len()
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    assert!(check(&root().join("README.md")) >= 5, "the examples are gone");
}

#[test]
fn the_first_steps_show_what_the_program_prints() {
    assert!(check(&root().join("docs/start.md")) >= 7, "the examples are gone");
}

#[test]
fn a_line_that_is_not_printed_is_seen() {
    assert_eq!(steady("9 rows: 3 kept; 0.4 s, 3 rows/s"), "9 rows: 3 kept");
    let page = "```console\n$ echo one; echo two\none\ntwo\n```\n```\n$ no\n```\n";
    let all = shown(page);
    let lines: Vec<_> = all.iter().map(|shown| shown.lines.join(" ")).collect();
    assert_eq!(lines, ["one two"]);
}

/// The pages of the documentation, and what stands beside the code.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![root().join("docs"), root().join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|end| end == "md") => pages.push(path),
                false => {}
            }
        }
    }
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    pages.extend(top.map(|name| root().join(name)));
    pages
}

/// The place of a heading in its page, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
}

#[test]
fn no_link_between_pages_is_broken() {
    let mut links = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            // Addresses, and what only looks like a link: `[0.1, …](128)`.
            let is_number = link.bytes().all(|byte| byte.is_ascii_digit());
            if link.contains("://") || link.contains(' ') || (is_number && !link.is_empty()) {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().expect("a folder").join(path),
            };
            assert!(target.exists(), "{} links to '{link}', which is not there", page.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).expect("a page");
                let found = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                let known = found.into_iter().any(|known| known == heading);
                assert!(known, "{} links to '{link}', which has no such heading", page.display());
            }
            links += 1;
        }
    }
    assert!(links > 100, "only {links} links were found");
}
