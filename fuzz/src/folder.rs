//! A copy of a fixture of `models/tests`, in which one file is what the fuzzer says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use sembla_models::{CancelToken, Model, ModelError, ModelSpec, Prompt};
use tempfile::TempDir;

/// How long a model may take for one text.
const PATIENCE: Duration = Duration::from_secs(2);

/// A folder with a model.
pub struct Folder {
    _keep: TempDir,
    path: PathBuf,
}

impl Folder {
    /// A copy of the fixture of that name.
    ///
    /// # Panics
    /// When the fixture is not there or the disk fails: then nothing can be fuzzed.
    pub fn of(fixture: &str) -> Self {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/fixtures").join(fixture);
        let keep = tempfile::tempdir().expect("a folder");
        let path = keep.path().join(fixture);
        copy(&source, &path);
        Self { _keep: keep, path }
    }

    /// Whether the model loads with that content of a file, and embeds a text. Errors are right
    /// answers; panics and what sanitizers find are not.
    pub fn try_with(&self, file: &str, content: &[u8]) -> bool {
        let path = self.path.join(file);
        let before = fs::read(&path).ok();
        fs::write(&path, content).expect("a file");
        let spec = ModelSpec::new(self.path.to_string_lossy());
        let embedded = Model::load(&spec).and_then(|model| embed(&model));
        match before {
            Some(before) => fs::write(&path, before).expect("a file"),
            None => fs::remove_file(&path).expect("a file"),
        }
        embedded.is_ok()
    }

    /// The same folder without a file.
    #[must_use]
    pub fn without(self, file: &str) -> Self {
        // It may not be there.
        let _ = fs::remove_file(self.path.join(file));
        self
    }
}

/// Embeds a text. A graph may hold a loop without an end: then it is stopped as a person would.
fn embed(model: &Model) -> Result<(), ModelError> {
    let cancel = CancelToken::new();
    let (done, waiting) = mpsc::channel::<()>();
    let watch = cancel.clone();
    let watchdog = thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            watch.cancel();
        }
    });
    let embedded = model.embed(&["a text"], Prompt::Default, &cancel).map(drop);
    drop(done);
    watchdog.join().expect("the watchdog ends");
    embedded
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a fixture").flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}
