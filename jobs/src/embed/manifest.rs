//! What an unfinished run was asked to do, so that a later one goes on only with the same work.
//! Reading and writing it is `work.rs`'s job.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sembla_models::ModelInfo;
use serde::{Deserialize, Serialize};

use crate::input::DataFile;

/// The layout of the work folder; another number is another Sembla.
const VERSION: u32 = 3;

/// The request of a run. Options that do not change the rows (batch and part sizes) are not in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    /// Tells this run from every other, even of the same work.
    pub run: String,
    text: String,
    output_column: String,
    kept: Vec<String>,
    prompt: Option<String>,
    /// The column whose values tell which rows are new.
    only_new: Option<String>,
    /// How texts are cut, if they are.
    chunk: Option<String>,
    /// How rows are told apart and what of an earlier output stays, if only changes are embedded.
    incremental: Option<String>,
    /// The model's name.
    pub model: String,
    fingerprint: String,
    precision: String,
    dimension: usize,
    inputs: Vec<Input>,
}

/// An input file as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Input {
    path: PathBuf,
    bytes: u64,
    modified_ns: u64,
    /// Of its contents, see [`contents_of`].
    contents: String,
}

impl Input {
    /// A file of a table.
    pub(crate) fn of(file: &DataFile) -> Self {
        Self {
            path: fs::canonicalize(&file.name).unwrap_or_else(|_| PathBuf::from(&file.name)),
            bytes: file.bytes,
            modified_ns: file.modified_ns,
            contents: contents_of(Path::new(&file.name)),
        }
    }

    /// A picture, which is one of many: its size and time have to do, of one at an address its
    /// name.
    pub(crate) fn of_image(name: &str) -> Self {
        let metadata = fs::metadata(name).ok();
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ns = modified.map_or(0, |time| time.as_nanos());
        Self {
            path: fs::canonicalize(name).unwrap_or_else(|_| PathBuf::from(name)),
            bytes: metadata.map_or(0, |metadata| metadata.len()),
            modified_ns: u64::try_from(modified_ns).unwrap_or_default(),
            contents: String::new(),
        }
    }
}

/// The columns of a request.
pub(crate) struct Columns<'a> {
    /// The column of texts.
    pub text: &'a str,
    /// The new column.
    pub output: &'a str,
    /// The columns that are kept, in order.
    pub kept: Vec<String>,
    /// The prompt, as the user named it.
    pub prompt: Option<&'a str>,
    /// The column whose values tell which rows are new; `None` where all are.
    pub only_new: Option<&'a str>,
    /// How texts are cut, if they are.
    pub chunk: Option<String>,
    /// How rows are told apart and what of an earlier output stays, if only changes are embedded.
    pub incremental: Option<String>,
}

impl Manifest {
    /// The manifest of a run that starts now.
    pub(crate) fn new(columns: Columns<'_>, model: &ModelInfo, inputs: Vec<Input>) -> Self {
        Self {
            version: VERSION,
            run: run_id(),
            text: columns.text.to_string(),
            output_column: columns.output.to_string(),
            kept: columns.kept,
            prompt: columns.prompt.map(str::to_string),
            only_new: columns.only_new.map(str::to_string),
            chunk: columns.chunk,
            incremental: columns.incremental,
            model: model.name.clone(),
            fingerprint: model.fingerprint.clone(),
            precision: model.precision.to_string(),
            dimension: model.dimension,
            inputs,
        }
    }

    /// A name for the work that stays when its input, model or options change: which files go
    /// through which column.
    pub(crate) fn name(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let paths = self.inputs.iter().map(|input| input.path.to_string_lossy());
        for part in paths.chain([self.text.as_str().into(), self.output_column.as_str().into()]) {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        hasher.finalize().to_hex().chars().take(16).collect()
    }

    /// A name for the work as it is now: two runs that would write the same rows have the same.
    pub(crate) fn work(&self) -> String {
        let mut same = self.clone();
        same.run.clear();
        for input in &mut same.inputs {
            // Where nothing is known of the contents, the time has to do.
            if !input.contents.is_empty() {
                input.modified_ns = 0;
            }
        }
        let text = serde_json::to_vec(&same).unwrap_or_default();
        blake3::hash(&text).to_hex().to_string()
    }

    /// Components of a vector.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// What of this (an unfinished run) is different in `now`, in words; `None` when `now` may go
    /// on with it.
    pub(crate) fn difference(&self, now: &Self) -> Option<String> {
        if self.version != now.version {
            return Some("it was started by another version of Sembla".to_string());
        }
        let words = |name: &str, before: &str, after: &str| {
            (before != after).then(|| format!("{name} was '{before}' and is now '{after}'"))
        };
        let none = "";
        let prompt = |manifest: &Self| manifest.prompt.clone().unwrap_or_else(|| none.to_string());
        let key = |manifest: &Self| manifest.only_new.clone().unwrap_or_else(|| none.to_string());
        let chunk = |manifest: &Self| manifest.chunk.clone().unwrap_or_else(|| none.to_string());
        let changes =
            |manifest: &Self| manifest.incremental.clone().unwrap_or_else(|| none.to_string());
        words("the text column", &self.text, &now.text)
            .or_else(|| words("the output column", &self.output_column, &now.output_column))
            .or_else(|| {
                words("the list of kept columns", &self.kept.join(","), &now.kept.join(","))
            })
            .or_else(|| words("the prompt", &prompt(self), &prompt(now)))
            .or_else(|| words("the key of new rows", &key(self), &key(now)))
            .or_else(|| words("the key or the earlier output", &changes(self), &changes(now)))
            .or_else(|| words("the chunking", &chunk(self), &chunk(now)))
            .or_else(|| words("the model", &self.model, &now.model))
            .or_else(|| words("the precision", &self.precision, &now.precision))
            .or_else(|| {
                (self.fingerprint != now.fingerprint || self.dimension != now.dimension)
                    .then(|| format!("the files or options of model '{}' changed", self.model))
            })
            .or_else(|| self.input_difference(now))
    }

    /// What is different in the inputs.
    fn input_difference(&self, now: &Self) -> Option<String> {
        for (before, after) in self.inputs.iter().zip(&now.inputs) {
            if before.path != after.path {
                return Some(format!(
                    "the input {} replaced {}",
                    after.path.display(),
                    before.path.display()
                ));
            }
            // Where nothing is known of the contents, the time has to do.
            let time = |input: &Input| {
                let is_known = !input.contents.is_empty();
                (!is_known).then_some(input.modified_ns)
            };
            let seen = |input: &Input| (input.bytes, input.contents.clone(), time(input));
            if seen(before) != seen(after) {
                return Some(format!("the input {} changed", after.path.display()));
            }
        }
        let (before, after) = (self.inputs.len(), now.inputs.len());
        (before != after)
            .then(|| format!("there were {before} input files and now there are {after}"))
    }

    /// What the output's metadata says of where its vectors come from.
    pub(crate) fn metadata(&self) -> Vec<(String, String)> {
        let pairs = [
            ("sembla.version", env!("CARGO_PKG_VERSION")),
            ("sembla.run", &self.run),
            ("sembla.text_column", &self.text),
            ("sembla.vector_column", &self.output_column),
            ("sembla.prompt", self.prompt.as_deref().unwrap_or_default()),
            ("sembla.model", &self.model),
            ("sembla.fingerprint", &self.fingerprint),
            ("sembla.precision", &self.precision),
            ("sembla.chunk", self.chunk.as_deref().unwrap_or_default()),
        ];
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }
}

/// Bytes of a file that are looked at as a whole to notice a change.
const WHOLE_BYTES_MAX: u64 = 256 << 20;
/// Pieces that are looked at of a larger one, from its beginning to its end.
const PIECES: u64 = 256;
/// Bytes of a piece.
const PIECE_BYTES: u64 = 1 << 20;

/// A hash of what is in a file, to notice that it is another one even where its size and time are
/// the same. Of a large file that is of evenly spread pieces. A file that can't be read has an
/// empty one; whoever reads its rows says why.
fn contents_of(path: &Path) -> String {
    hashed(path).unwrap_or_default()
}

fn hashed(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    if size <= WHOLE_BYTES_MAX {
        hasher.update_reader(file)?;
    } else {
        for piece in 0..PIECES {
            let start = (size - PIECE_BYTES) / (PIECES - 1) * piece;
            file.seek(SeekFrom::Start(start))?;
            hasher.update_reader(Read::take(&mut file, PIECE_BYTES))?;
        }
        // The last bytes, which a division with a rest leaves out.
        file.seek(SeekFrom::Start(size - PIECE_BYTES))?;
        hasher.update_reader(file)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// A name that no other run has.
fn run_id() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_nanos());
    let seed = format!("{now} {}", std::process::id());
    blake3::hash(seed.as_bytes()).to_hex().chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            version: VERSION,
            run: run_id(),
            text: "text".into(),
            output_column: "embedding".into(),
            kept: vec!["id".into()],
            prompt: None,
            only_new: None,
            chunk: None,
            incremental: None,
            model: "m".into(),
            fingerprint: "f".into(),
            precision: "f32".into(),
            dimension: 3,
            inputs: vec![Input {
                path: "a.csv".into(),
                bytes: 1,
                modified_ns: 2,
                contents: "c".into(),
            }],
        }
    }

    #[test]
    fn the_same_work_goes_on() {
        let (before, now) = (manifest(), manifest());
        assert_ne!(before.run, now.run);
        assert_eq!(before.difference(&now), None);
    }

    #[test]
    fn a_file_that_was_only_touched_is_the_same() {
        let mut now = manifest();
        now.inputs[0].modified_ns = 3;
        assert_eq!(manifest().difference(&now), None);
        assert_eq!(manifest().work(), now.work());
        now.inputs[0].contents = "d".into();
        assert_ne!(manifest().work(), now.work());
        assert_eq!(manifest().name(), now.name());
    }

    #[test]
    fn one_other_byte_is_another_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("in.csv");
        let mut text = "text\n".repeat(1000).into_bytes();
        fs::write(&path, &text).expect("written");
        let before = contents_of(&path);
        text[2500] = b'x';
        fs::write(&path, &text).expect("written");
        assert_ne!(contents_of(&path), before);
    }

    #[test]
    fn every_change_is_named() {
        let check = |change: fn(&mut Manifest), word: &str| {
            let mut now = manifest();
            change(&mut now);
            let words = manifest().difference(&now).expect(word);
            assert!(words.contains(word), "{words}");
        };
        check(|m| m.text = "body".into(), "'body'");
        check(|m| m.output_column = "v".into(), "output column");
        check(|m| m.kept.push("x".into()), "'id,x'");
        check(|m| m.prompt = Some("query".into()), "prompt");
        check(|m| m.only_new = Some("id".into()), "key of new rows");
        check(|m| m.incremental = Some("by id".into()), "earlier output");
        check(|m| m.chunk = Some("tokens:9".into()), "the chunking");
        check(|m| m.model = "n".into(), "model");
        check(|m| m.precision = "q8".into(), "precision");
        check(|m| m.fingerprint = "g".into(), "files or options");
        check(|m| m.inputs[0].bytes = 9, "a.csv changed");
        check(|m| m.inputs[0].contents = "d".into(), "a.csv changed");
        check(|m| m.inputs[0].path = "b.csv".into(), "replaced a.csv");
        check(|m| m.inputs.push(m.inputs[0].clone()), "there were 1");
    }
}
