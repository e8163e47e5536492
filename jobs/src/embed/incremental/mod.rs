//! Runs that embed only what changed: rows are told apart by a key, and what of them is embedded by
//! a hash of it, which stands in the output beside the vector. Vectors of the output that is there
//! are taken over where the hash is the same.
//!
//! - *Invariant:* with `cleanup` full, the rows of the output are those of a run from nothing.
//! - *Invariant:* what decides the rows is in the manifest of the run, the earlier output among it,
//!   so that a run that was killed resumes with the same work.

mod counts;
mod previous;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};

use super::EmbedRequest;
use super::embedder::Pending;
use super::output::{Output, OutputKind};
use super::vectors::Texts;
use crate::failure::{Failure, Result};
use crate::output::FileKind;
pub use counts::Changes;
pub(super) use counts::Shared;
pub(super) use previous::Previous;

/// The column of hashes.
pub(super) const HASH: &str = "content_hash";

/// Bytes that are kept of a hash.
const HASH_BYTES: usize = 16;

/// A hash of a key or of a text.
type Hash = [u8; HASH_BYTES];

/// Keys with the hashes of their texts; `None` for NULL.
type Seen = HashMap<Hash, Option<Hash>>;

/// What becomes of rows of the output that the input does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing goes: rows whose key the input lacks stay, and so do earlier versions of rows that
    /// changed.
    None,
    /// Rows whose key the input lacks stay; of rows that changed the earlier version goes. For an
    /// input that has only what changed.
    Incremental,
    /// Rows whose key the input lacks go.
    #[default]
    Full,
}

impl std::str::FromStr for Cleanup {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "none" => Ok(Self::None),
            "incremental" => Ok(Self::Incremental),
            "full" => Ok(Self::Full),
            other => Err(format!("must be none, incremental or full, got '{other}'")),
        }
    }
}

impl std::fmt::Display for Cleanup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Incremental => "incremental",
            Self::Full => "full",
        })
    }
}

/// How rows are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incremental {
    /// The column whose values tell rows apart.
    pub key: String,
    /// What becomes of rows that the input does not have.
    pub cleanup: Cleanup,
}

/// Whether vectors can be taken over from an earlier output.
///
/// # Errors
/// An output that is no local Parquet file, which is replaced as a whole.
pub(super) fn has_previous(request: &EmbedRequest, output: &Output) -> Result<bool> {
    if request.incremental.is_none() {
        return Ok(false);
    }
    if output.kind != OutputKind::Rows(FileKind::Parquet) {
        return Err(Failure::user(format!(
            "--incremental needs a .parquet file as output, got {}",
            output.path.display()
        )));
    }
    Ok(output.path.is_file() && !request.overwrite)
}

/// Checks the key against the columns that are kept.
///
/// # Errors
/// A key that is not kept, and a column of hashes that is there already.
pub(super) fn check(request: &EmbedRequest, is_kept: impl Fn(&str) -> bool) -> Result<()> {
    let Some(how) = &request.incremental else { return Ok(()) };
    if is_kept(HASH) {
        return Err(Failure::user(format!(
            "the input has a column '{HASH}', and so has the output of --incremental; leave it out with --columns"
        )));
    }
    if !is_kept(&how.key) {
        return Err(Failure::user(format!(
            "--key {0}: the output would have no column '{0}'; add it to --columns",
            how.key
        )));
    }
    Ok(())
}

/// A run that embeds only what changed.
#[derive(Default)]
pub(super) struct Run {
    /// Whether vectors are taken over from an earlier output.
    pub(super) has_previous: bool,
    pub(super) changes: Shared,
}

impl Run {
    /// The rows with the hashes of their texts behind the other columns, but for the first `done`,
    /// and where vectors are taken over from. `errors` is the column that says why a row has none.
    ///
    /// # Errors
    /// An earlier output that can't be read.
    pub(super) fn rows<'a>(
        &self,
        rows: Pending<'a>,
        incremental: &Incremental,
        ((output, vectors, dimension), errors): ((&Path, &str, usize), Option<&str>),
        (text, kept): (usize, &[usize]),
        schema: SchemaRef,
        done: u64,
    ) -> Result<(Pending<'a>, Option<Arc<Previous>>)> {
        let previous = match self.has_previous {
            true => {
                let columns = (incremental.key.as_str(), vectors, errors);
                Some(Arc::new(Previous::read(output, columns, dimension)?))
            }
            false => None,
        };
        let noting = Noting {
            incremental: incremental.clone(),
            previous: previous.clone(),
            changes: self.changes.clone(),
            text,
            kept: kept.to_vec(),
            schema,
        };
        Ok((Box::new(noting.of(rows, done)), previous))
    }
}

/// The column of hashes.
pub(super) fn field() -> FieldRef {
    Arc::new(Field::new(HASH, DataType::Utf8, true))
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..HASH_BYTES]);
    hash
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; HASH_BYTES];
    if text.len() != 2 * HASH_BYTES {
        return None;
    }
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// The hashes of texts, or of the bytes of images; `None` for NULL.
fn contents(column: &ArrayRef) -> Result<Vec<Option<Hash>>> {
    if let Some(images) = column.as_binary_opt::<i32>() {
        return Ok(images.iter().map(|bytes| bytes.map(|bytes| hash(&[bytes]))).collect());
    }
    let texts = Texts::new(column)?;
    Ok(texts.all().map(|text| text.map(|text| hash(&[text.as_bytes()]))).collect())
}

/// The hashes of a column that this module has written.
pub(super) fn hashes(column: &ArrayRef) -> Vec<Option<Hash>> {
    let texts = column.as_string_opt::<i32>();
    let of = |texts: &StringArray| texts.iter().map(|text| text.and_then(from_hex)).collect();
    texts.map_or_else(|| vec![None; column.len()], of)
}

/// Keys of rows: of each row its key's hash, with the number of the chunk where rows are chunks.
///
/// # Errors
/// A column that can't be a key, and NULL.
fn keys(batch: &RecordBatch, key: &str) -> Result<Vec<Hash>> {
    let column = batch.column_by_name(key).ok_or_else(|| {
        Failure::user(format!("--key {key}: there is no column '{key}'; name one that is kept"))
    })?;
    let texts = cast(column, &DataType::LargeUtf8).map_err(|_| {
        Failure::user(format!(
            "--key {key}: the column holds {}, which can't be a key",
            column.data_type()
        ))
    })?;
    let texts = texts.as_string::<i64>();
    let chunks =
        batch.column_by_name("chunk_index").and_then(|c| c.as_primitive_opt::<Int64Type>());
    let of_row = |row: usize| {
        if texts.is_null(row) {
            return Err(Failure::user(format!(
                "--key {key}: a row has no '{key}' (NULL), so it can't be told from others; leave such rows out"
            )));
        }
        let chunk = chunks.map_or(0, |chunks| chunks.value(row));
        Ok(hash(&[texts.value(row).as_bytes(), &chunk.to_le_bytes()]))
    };
    (0..texts.len()).map(of_row).collect()
}

/// Adds hashes to batches of the input, and counts what changed.
pub(super) struct Noting {
    pub(super) incremental: Incremental,
    pub(super) previous: Option<Arc<Previous>>,
    pub(super) changes: Shared,
    /// The column of texts.
    pub(super) text: usize,
    /// The columns that are kept.
    pub(super) kept: Vec<usize>,
    /// Those of the input.
    pub(super) schema: SchemaRef,
}

impl Noting {
    /// The columns of the input and the one of hashes.
    fn with_hash(&self) -> SchemaRef {
        // Rows of the earlier output lack what is not kept.
        let nullable = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
        let fields = self.schema.fields().iter().map(nullable).chain([field()]);
        Arc::new(Schema::new(fields.collect::<Vec<FieldRef>>()))
    }

    /// The rows of batches with hashes, then the rows of the earlier output that stay, but for the
    /// first `skip` of all.
    pub(super) fn of<'a>(
        self,
        batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'a,
        mut skip: u64,
    ) -> impl Iterator<Item = Result<RecordBatch>> + Send + 'a {
        let schema = self.with_hash();
        let mut noted =
            Noted { noting: self, schema, seen: HashMap::new(), input: Some(batches), rest: None };
        std::iter::from_fn(move || noted.next()).map(move |batch| {
            let batch = batch?;
            let gone = usize::try_from(skip).unwrap_or(usize::MAX).min(batch.num_rows());
            skip -= gone as u64;
            Ok(batch.slice(gone, batch.num_rows() - gone))
        })
    }
}

/// Rows of the earlier output that stay.
type Rest = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

struct Noted<I> {
    noting: Noting,
    schema: SchemaRef,
    /// Keys of the input, with the hashes of their texts.
    seen: Seen,
    input: Option<I>,
    rest: Option<Rest>,
}

impl<I: Iterator<Item = Result<RecordBatch>>> Noted<I> {
    fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(input) = &mut self.input {
            match input.next() {
                Some(batch) => return Some(batch.and_then(|batch| self.note(&batch))),
                None => self.input = None,
            }
            match self.rest() {
                Ok(rest) => self.rest = rest,
                Err(failure) => return Some(Err(failure)),
            }
        }
        self.rest.as_mut()?.next()
    }

    fn note(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let contents = contents(batch.column(self.noting.text))?;
        let keys = keys(batch, &self.noting.incremental.key)?;
        let mut column = Vec::with_capacity(keys.len());
        for (row, (key, content)) in keys.iter().zip(contents).enumerate() {
            if self.seen.insert(*key, content).is_some() {
                let shown = &self.noting.incremental.key;
                let values = batch.column_by_name(shown).map(|column| column.slice(row, 1));
                let value = values.and_then(|value| cast(&value, &DataType::Utf8).ok());
                let value = value.as_ref().map_or("", |value| value.as_string::<i32>().value(0));
                return Err(Failure::user(format!(
                    "--key {shown}: '{value}' is in the input twice; name a column whose values differ"
                )));
            }
            let before = self.noting.previous.as_ref().and_then(|previous| previous.content(key));
            self.noting.changes.note(before, content);
            column.push(content.as_ref().map(hex));
        }
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(StringArray::from(column)));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Failure::other(format!("internal error: {error}")))
    }

    /// The rows of the earlier output that stay, once all of the input is known.
    fn rest(&mut self) -> Result<Option<Rest>> {
        let Some(previous) = &self.noting.previous else { return Ok(None) };
        self.noting
            .changes
            .gone(previous.keys().filter(|key| !self.seen.contains_key(*key)).count());
        if self.noting.incremental.cleanup == Cleanup::Full {
            return Ok(None);
        }
        let kept: Vec<bool> = (0..self.schema.fields().len())
            .map(|n| self.noting.kept.contains(&n) || n + 1 == self.schema.fields().len())
            .collect();
        let rest = previous.rows_but(
            std::mem::take(&mut self.seen),
            self.noting.incremental.cleanup == Cleanup::None,
            &self.noting.incremental.key,
            Arc::clone(&self.schema),
            kept,
        )?;
        Ok(Some(Box::new(rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_was_written() {
        let one = hash(&[b"a", b"b"]);
        assert_eq!(from_hex(&hex(&one)), Some(one));
        assert_ne!(one, hash(&[b"ab", b""]));
        assert_eq!(from_hex("00"), None);
        assert_eq!(from_hex(&"zz".repeat(16)), None);
    }

    #[test]
    fn cleanup_is_one_of_three_words() {
        assert_eq!("full".parse(), Ok(Cleanup::Full));
        assert_eq!(Cleanup::None.to_string().parse(), Ok(Cleanup::None));
        let line = "all".parse::<Cleanup>().expect_err("no such word");
        assert_eq!(line, "must be none, incremental or full, got 'all'");
    }
}
