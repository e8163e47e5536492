//! An output in an object store or on the web: the run works in a folder of this machine, and what
//! it has written is uploaded at its end.
//!
//! - *Invariant:* the folder depends on the address alone, so that the same command resumes after a
//!   kill.
//! - *Invariant:* an object that exists is replaced only with `--overwrite`.

use std::fs;
use std::path::{Path, PathBuf};

use sembla_readers::files::store::{self, Located, holds, store_of, upload};

use super::EmbedRequest;
use crate::failure::{Failure, Result};

/// An output as messages show it: an address without credentials, or a path.
pub fn shown(output: &Path) -> String {
    let output = output.to_string_lossy();
    if output.contains("://") { store::shown(&output) } else { output.into_owned() }
}

/// Where the rows go in the end.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The address, as messages show it.
    pub(crate) shown: String,
    located: Located,
    /// The folder of this machine.
    folder: PathBuf,
    /// What the run writes there.
    pub(crate) local: PathBuf,
}

impl Stored {
    /// The place of an output that is an address; `None` for a path.
    ///
    /// # Errors
    /// An address that can't be, or one without a name.
    pub(crate) fn of(output: &Path) -> Result<Option<Self>> {
        let address = output.to_string_lossy();
        if !address.contains("://") {
            return Ok(None);
        }
        let located = store_of(&address, &|_| None)?;
        let shown = shown(output);
        let name = located.key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if name.is_empty() {
            return Err(Failure::user(format!(
                "the output {shown} is not a file; write to {shown}vectors.parquet or a folder in it"
            )));
        }
        let folder = std::env::temp_dir().join(format!("sembla-upload-{}", key_of(&address)));
        let mut local = folder.join(name);
        if address.ends_with('/') {
            local.push("");
        }
        Ok(Some(Self { shown, local, folder, located }))
    }

    /// Makes the folder of this machine.
    ///
    /// # Errors
    /// A request to add rows, something that is at the address already, and a disk that fails.
    pub(crate) fn begin(&self, request: &EmbedRequest) -> Result<()> {
        let local_only = [
            (request.only_new.is_some(), "--only-new"),
            (request.incremental.is_some(), "--incremental"),
        ];
        if let Some((_, flag)) = local_only.into_iter().find(|(given, _)| *given) {
            return Err(Failure::user(format!(
                "{flag} needs a local output, but {} is an address",
                self.shown
            )));
        }
        if !request.overwrite && holds(&self.located)? {
            return Err(Failure::user(format!(
                "the output {} already exists; --overwrite replaces it",
                self.shown
            )));
        }
        fs::create_dir_all(&self.folder).map_err(|error| Failure::file(&self.folder, &error))
    }

    /// Uploads what was written, and removes it from this machine.
    ///
    /// # Errors
    /// Those of the store; then everything stays, and the next run uploads it.
    pub(crate) fn finish(&self) -> Result<()> {
        let base = self.located.key.trim_end_matches('/');
        let parent =
            base.rsplit_once('/').map_or(String::new(), |(parent, _)| format!("{parent}/"));
        for path in files_below(&self.folder)? {
            let Ok(name) = path.strip_prefix(&self.folder) else { continue };
            let key = format!("{parent}{}", name.to_string_lossy().replace('\\', "/"));
            upload(&self.located, &key, &path)?;
        }
        fs::remove_dir_all(&self.folder).map_err(|error| Failure::file(&self.folder, &error))
    }
}

/// Sixteen letters for an address.
fn key_of(address: &str) -> String {
    blake3::hash(address.as_bytes()).to_hex().chars().take(16).collect()
}

/// The files in a folder and below it, by their paths.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let failed = |error: std::io::Error| Failure::file(folder, &error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_address() {
        assert!(Stored::of(Path::new("out/x.parquet")).expect("a path").is_none());
    }

    #[test]
    fn an_address_has_a_folder_of_its_own() {
        let of =
            |address: &str| Stored::of(Path::new(address)).expect("an address").expect("stored");
        let (one, other) = (of("https://h/a/x.parquet"), of("https://h/b/x.parquet"));
        assert_ne!(one.folder, other.folder);
        assert!(one.local.ends_with("x.parquet"));
        assert!(of("https://h/a/vectors/").local.to_string_lossy().ends_with('/'));
        let nameless = Stored::of(Path::new("https://h/")).expect_err("no name");
        assert!(nameless.message().expect("words").contains("is not a file"));
    }
}
