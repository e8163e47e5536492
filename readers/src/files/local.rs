//! Files of this machine.

use std::fs;
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::glob;
use super::hive::folders_of;
use super::listing::{DEPTH_MAX, DataFile, FILES_MAX, Place, is_hidden, part_fits};
use super::names::{Format, format_of, known_endings};
use crate::error::{Error, Result};

/// The files that a path, a folder or a pattern means, in any order.
pub(super) fn list(name: &str, format: Option<Format>) -> Result<Vec<DataFile>> {
    let path = Path::new(name);
    let mut found = Found { format, files: Vec::new(), passed: None };
    if path.is_dir() {
        found.walk(path, 0)?;
        return match found.passed {
            Some(other) if found.files.is_empty() => Err(Error::Option(format!(
                "no file in the folder '{name}' has a known file extension, '{}' hasn't either: {}",
                other.display(),
                known_endings()
            ))),
            _ => Ok(found.files),
        };
    }
    if path.exists() {
        found.add_named(path)?;
        return Ok(found.files);
    }
    if !glob::is_pattern(name) {
        return Err(match fs::symlink_metadata(path) {
            Ok(_) => Error::Missing(format!("'{name}' is a link to a file that does not exist")),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Error::Option(format!("'{name}' can't be read: permission denied"))
            }
            Err(_) => Error::Missing(format!("file '{name}' does not exist")),
        });
    }
    // Braces of a folder that is called so are meant literally.
    let mut matches = matched(name)?;
    if matches.is_empty() {
        for pattern in glob::expanded(name) {
            matches.extend(matched(&pattern)?);
        }
    }
    matches.sort();
    matches.dedup();
    if matches.is_empty() {
        return Err(Error::Option(format!("no file matches '{name}'")));
    }
    let mut has_folder = false;
    for path in &matches {
        if path.is_dir() {
            has_folder = true;
            found.walk(path, 0)?;
        } else if format.is_some() || format_of(&file_name(path)).is_some() {
            found.add(path)?;
        }
    }
    if found.files.is_empty() && !has_folder {
        return Err(Error::Option(format!(
            "'{name}' matches no file with a known file extension: {}",
            known_endings()
        )));
    }
    Ok(found.files)
}

/// The files that a path, a folder or a pattern means, whatever they hold, in the order of their
/// names; of a folder those whose name `is_wanted`. Names that begin with `.` or `_` are passed
/// over as in [`list`].
///
/// # Errors
/// [`Error::Option`] when nothing is there, [`Error::Io`] when the disk fails, and [`Error::Limit`]
/// for too many files.
pub(super) fn paths(name: &str, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let path = Path::new(name);
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    if path.is_dir() {
        all_folders(path, true, 0, &mut found)?;
    } else if glob::is_pattern(name) {
        for pattern in glob::expanded(name) {
            for path in matched(&pattern)? {
                match path.is_dir() {
                    true => all_folders(&path, true, 0, &mut found)?,
                    false => found.push(path),
                }
            }
        }
    }
    found.retain(|path| is_wanted(&file_name(path)));
    found.sort();
    found.dedup();
    match (found.is_empty(), path.exists(), glob::is_pattern(name)) {
        (true, false, true) => Err(Error::Option(format!("no file matches '{name}'"))),
        (true, false, false) => Err(Error::Option(format!("file '{name}' does not exist"))),
        _ => Ok(found),
    }
}

/// Files as they are found.
struct Found {
    /// What all of them hold, where the user says it.
    format: Option<Format>,
    files: Vec<DataFile>,
    /// A file that was passed over for its ending.
    passed: Option<PathBuf>,
}

impl Found {
    /// Adds the files below a folder.
    fn walk(&mut self, folder: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::Option(format!(
                "'{}' is more than {DEPTH_MAX} folders deep; does a link lead back up?",
                folder.display()
            )));
        }
        for path in entries(folder)? {
            let name = file_name(&path);
            if is_hidden(&name) {
                continue;
            }
            if path.is_dir() {
                self.walk(&path, depth + 1)?;
            } else if let Some(format) = format_of(&name)
                && self.format.is_none_or(|wanted| is_like(wanted, format))
            {
                self.add(&path)?;
            } else {
                self.passed.get_or_insert(path);
            }
        }
        Ok(())
    }

    /// Adds the file that the user named, whatever it is called.
    fn add_named(&mut self, path: &Path) -> Result<()> {
        if self.format.is_none() && format_of(&file_name(path)).is_none() {
            return Err(Error::Option(format!(
                "'{}' has no known file extension: {}; read_csv, read_json and read_parquet read any name",
                path.display(),
                known_endings()
            )));
        }
        self.add(path)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        if self.files.len() >= FILES_MAX {
            return Err(Error::Limit(format!(
                "more than {FILES_MAX} files; name fewer of them ('{}' is the next)",
                path.display()
            )));
        }
        let metadata = fs::metadata(path).map_err(|error| failed(path, &error))?;
        let modified = metadata.modified().ok();
        let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let known = format_of(&file_name(path));
        // A tab is the likelier delimiter of a `.tsv`, also where it is read as CSV.
        let format = match (self.format, known) {
            (Some(Format::Csv), Some(Format::Tsv)) => Some(Format::Tsv),
            (wanted, known) => wanted.or(known),
        };
        let Some(format) = format else { return Ok(()) };
        let name = path.display().to_string();
        self.files.push(DataFile {
            folders: folders_of(&name),
            name,
            place: Place::Local(path.to_path_buf()),
            format,
            bytes: metadata.len(),
            modified_ns: modified
                .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        });
        Ok(())
    }
}

/// Whether a file of a known format is one of those that are wanted.
pub(super) fn is_like(wanted: Format, format: Format) -> bool {
    wanted == format || (wanted == Format::Csv && format == Format::Tsv)
}

/// The paths that fit a pattern without braces.
fn matched(pattern: &str) -> Result<Vec<PathBuf>> {
    let (root, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (PathBuf::from("/"), rest),
        None => (PathBuf::new(), pattern),
    };
    let mut paths = vec![root];
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        let mut next = Vec::new();
        for path in &paths {
            step(path, part, is_last, &mut next)?;
        }
        paths = next;
    }
    Ok(paths)
}

/// Adds what one part of a pattern leads to from one folder.
fn step(folder: &Path, part: &str, is_last: bool, next: &mut Vec<PathBuf>) -> Result<()> {
    let literal = folder.join(part);
    if literal.exists() || fs::symlink_metadata(&literal).is_ok() {
        next.push(literal);
        return Ok(());
    }
    if !glob::is_pattern(part) || !(folder.as_os_str().is_empty() || folder.is_dir()) {
        return Ok(());
    }
    if part == "**" {
        return all_folders(folder, is_last, 0, next);
    }
    for path in entries(folder)? {
        if part_fits(part, &file_name(&path)) && (is_last || path.is_dir()) {
            next.push(path);
        }
    }
    limited(next, folder)
}

/// Adds a folder and all folders below it; with their files where nothing follows in the pattern.
fn all_folders(
    folder: &Path,
    with_files: bool,
    depth: usize,
    next: &mut Vec<PathBuf>,
) -> Result<()> {
    if !with_files {
        next.push(folder.to_path_buf());
    }
    if depth > DEPTH_MAX {
        return Ok(());
    }
    for path in entries(folder)? {
        if is_hidden(&file_name(&path)) {
            continue;
        }
        if path.is_dir() {
            all_folders(&path, with_files, depth + 1, next)?;
        } else if with_files {
            next.push(path);
        }
    }
    limited(next, folder)
}

fn limited(paths: &[PathBuf], folder: &Path) -> Result<()> {
    if paths.len() <= FILES_MAX {
        return Ok(());
    }
    Err(Error::Limit(format!(
        "the pattern matches more than {FILES_MAX} files and folders ('{}' is the last)",
        folder.display()
    )))
}

/// The paths of what is in a folder, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let here = Path::new(".");
    let opened = if folder.as_os_str().is_empty() { here } else { folder };
    let read = fs::read_dir(opened).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| folder.join(entry.file_name())))
            .collect::<std::io::Result<Vec<_>>>()
    });
    let mut paths = read.map_err(|error| failed(opened, &error))?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What the operating system says of a path.
pub(super) fn failed(path: &Path, error: &IoError) -> Error {
    let shown = path.display();
    let text = error.to_string();
    let text =
        text.find(" (os error").map_or(text.as_str(), |end| text.get(..end).unwrap_or_default());
    let message = format!("'{shown}' can't be read: {}", text.to_lowercase());
    match error.kind() {
        ErrorKind::NotFound => Error::Missing(format!("file '{shown}' does not exist")),
        ErrorKind::PermissionDenied => Error::Option(message),
        _ => Error::Io(message),
    }
}

#[cfg(test)]
mod tests {
    use super::super::list as listed;
    use super::*;

    /// A folder with these files in it, and a way to list names in it.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            for file in files {
                let path = folder.path().join(file);
                fs::create_dir_all(path.parent().expect("a parent")).expect("made");
                fs::write(path, "x").expect("written");
            }
            Self(folder)
        }

        fn list(&self, name: &str) -> Vec<String> {
            let root = self.0.path().display().to_string() + "/";
            let files = listed(&format!("{root}{name}"), None).expect(name);
            files.iter().map(|file| file.name.replacen(&root, "", 1)).collect()
        }

        fn fails(&self, name: &str) -> String {
            let path = self.0.path().join(name).display().to_string();
            listed(&path, None).expect_err(name).to_string()
        }
    }

    #[test]
    fn a_folder_is_all_below_it_by_path_but_for_hidden_names() {
        let tree = Tree::new(&[
            "b/2.csv",
            "b/1.csv",
            "b.csv",
            "a.parquet",
            "_x.csv",
            ".y.csv",
            "z.txt",
            "c.partial/p.csv",
            "_tmp/q.csv",
            "n/m/o.json.gz",
            "S.CSV",
        ]);
        let all = ["S.CSV", "a.parquet", "b.csv", "b/1.csv", "b/2.csv", "n/m/o.json.gz"];
        assert_eq!(tree.list(""), all);
        assert_eq!(tree.list("**"), all);
        assert_eq!(tree.list("_x.csv"), ["_x.csv"]);
        assert_eq!(tree.list("_*.csv"), ["_x.csv"]);
        assert_eq!(tree.list("*.csv"), ["b.csv"]);
        assert_eq!(tree.list("b*"), ["b.csv", "b/1.csv", "b/2.csv"]);
    }

    #[test]
    fn patterns_reach_into_folders() {
        let tree =
            Tree::new(&["h/y=1/m=1/a.csv", "h/y=1/m=2/a=b.csv", "h/y=2/m=1/c.json", "h/d.csv"]);
        assert_eq!(tree.list("h/*/*/*.csv"), ["h/y=1/m=1/a.csv", "h/y=1/m=2/a=b.csv"]);
        assert_eq!(tree.list("h/*/m=1/*"), ["h/y=1/m=1/a.csv", "h/y=2/m=1/c.json"]);
        assert_eq!(tree.list("h/**/*.csv"), ["h/d.csv", "h/y=1/m=1/a.csv", "h/y=1/m=2/a=b.csv"]);
        assert_eq!(tree.list("**/a*.csv"), ["h/y=1/m=1/a.csv", "h/y=1/m=2/a=b.csv"]);
        assert_eq!(tree.list("h/{d,y=2/m=1/c}.{csv,json}"), ["h/d.csv", "h/y=2/m=1/c.json"]);
        assert_eq!(tree.list("h/y=[2-9]"), ["h/y=2/m=1/c.json"]);
    }

    #[test]
    fn what_exists_is_meant_literally() {
        let odd = [
            "run [1]/a.csv",
            "run 1/b.csv",
            "st*r/c.csv",
            "qu?/d.csv",
            "50%/e.csv",
            "a#b/f.csv",
            "it's/g.csv",
            "{x,y}/h.csv",
            "tab\there/i.csv",
            "line\nbreak/j.csv",
            "%20/k.csv",
        ];
        let tree = Tree::new(&odd);
        for file in odd {
            assert_eq!(tree.list(file), [file]);
            let (folder, _) = file.rsplit_once('/').expect("a folder");
            assert_eq!(tree.list(folder), [file], "{folder}");
            assert_eq!(tree.list(&format!("{folder}/*.csv")), [file], "{folder}");
        }
        assert_eq!(tree.list("*/*.csv").len(), odd.len());
    }

    #[test]
    fn what_is_not_there_is_told_by_name() {
        let tree = Tree::new(&["a/x.txt"]);
        assert!(tree.fails("no.csv").ends_with("/no.csv' does not exist"));
        assert!(tree.fails("*.csv").contains("no file matches"));
        assert!(tree.fails("a/*").contains("matches no file with a known file extension"));
        assert!(tree.fails("a").contains("no file in the folder"));
        assert!(tree.fails("a/x.txt").contains("no known file extension"));
        fs::create_dir(tree.0.path().join("empty")).expect("made");
        assert_eq!(tree.list("empty"), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_back_up_ends() {
        let tree = Tree::new(&["a/x.csv"]);
        std::os::unix::fs::symlink(tree.0.path(), tree.0.path().join("a/up")).expect("linked");
        assert!(tree.fails("a").contains("does a link lead back up?"));
    }
}
