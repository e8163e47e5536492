//! The tensors of a model directory, by name: `model.safetensors`, or the shards that
//! `model.safetensors.index.json` names.
//!
//! The files are untrusted: every lookup checks the type and the shape, and a wrong one is a
//! [`ModelError::BadModelFile`] that names the tensor. A matrix may be stored in 8 bits: `NAME` of
//! type I8 `[rows, columns]` with `NAME.scales` of type F32 `[rows, columns / block]`. Which
//! tensors a model needs is left to the graph builder.

mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use safetensors::Dtype;

use self::file::{Entry, TensorFile};
use crate::{ModelError, Result};

/// Bytes that the index of a sharded model may have.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// Suffix of the tensor that holds the scales of an 8-bit matrix.
pub(crate) const SCALES_SUFFIX: &str = ".scales";

/// A matrix, row after row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Matrix {
    /// 32-bit floats, `rows × columns`.
    F32(Vec<f32>),
    /// 8-bit whole numbers; each `block` consecutive values of a row share one scale.
    Q8 {
        /// `rows × columns`.
        values: Vec<i8>,
        /// `rows × columns / block`.
        scales: Vec<f32>,
        /// Values per scale; divides the columns.
        block: usize,
    },
}

/// A linear layer, `x · weightᵀ + bias`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    /// Name of the weight's tensor, for messages. Joined by `+` where several are fused.
    pub(crate) name: String,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// `outputs × inputs`.
    pub(crate) weight: Matrix,
    /// `outputs` values.
    pub(crate) bias: Option<Vec<f32>>,
}

/// A table of vectors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Embedding {
    /// Name of the tensor, for messages.
    pub(crate) name: String,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    /// `rows × width`.
    pub(crate) table: Matrix,
}

impl Matrix {
    /// The matrix as floats; 8-bit values are multiplied by their scales.
    pub(crate) fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(values) => values,
            Self::Q8 { values, scales, block } => values
                .chunks(block.max(1))
                .zip(&scales)
                .flat_map(|(chunk, scale)| chunk.iter().map(move |value| f32::from(*value) * scale))
                .collect(),
        }
    }
}

impl Linear {
    /// One linear layer that gives the outputs of all `parts`, one after another.
    ///
    /// Parts of mixed representation, or with different blocks, become floats. Parts without a bias
    /// get zeros where another has one.
    pub(crate) fn concat(parts: Vec<Self>) -> Result<Self> {
        let inputs = parts.first().map_or(0, |part| part.inputs);
        if parts.iter().any(|part| part.inputs != inputs) {
            return Err(ModelError::Bug("linear layers of different width can't be joined".into()));
        }
        let name = parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("+");
        let outputs = parts.iter().map(|part| part.outputs).sum();
        let bias = parts.iter().any(|part| part.bias.is_some()).then(|| {
            parts
                .iter()
                .flat_map(|part| part.bias.clone().unwrap_or_else(|| vec![0.0; part.outputs]))
                .collect()
        });
        let weight = concat_rows(parts.into_iter().map(|part| part.weight).collect());
        Ok(Self { name, outputs, inputs, weight, bias })
    }
}

/// Puts matrices of one width below each other.
fn concat_rows(parts: Vec<Matrix>) -> Matrix {
    let block_of = |part: &Matrix| match part {
        Matrix::Q8 { block, .. } => Some(*block),
        Matrix::F32(_) => None,
    };
    let first = parts.first().and_then(block_of);
    let Some(block) = first.filter(|_| parts.iter().all(|part| block_of(part) == first)) else {
        return Matrix::F32(parts.into_iter().flat_map(Matrix::into_f32).collect());
    };
    let (mut all_values, mut all_scales) = (Vec::new(), Vec::new());
    for part in parts {
        if let Matrix::Q8 { values, scales, .. } = part {
            all_values.extend(values);
            all_scales.extend(scales);
        }
    }
    Matrix::Q8 { values: all_values, scales: all_scales, block }
}

/// The tensors of one model.
#[derive(Debug)]
pub(crate) struct Weights {
    /// What [`Weights::open`] was given, or the file in it that was found.
    path: PathBuf,
    files: Vec<TensorFile>,
    /// Which file has a tensor.
    places: HashMap<String, usize>,
}

impl Weights {
    /// Opens a `.safetensors` file, its index, or the directory that has one of them.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = find(path)?;
        let files = if path.extension().is_some_and(|extension| extension == "json") {
            shards(&path)?.iter().map(|shard| TensorFile::open(shard)).collect::<Result<_>>()?
        } else {
            vec![TensorFile::open(&path)?]
        };
        let mut places = HashMap::new();
        for (index, file) in files.iter().enumerate() {
            for name in file.entries.keys() {
                if places.insert(name.clone(), index).is_some() {
                    return Err(ModelError::file(
                        &file.path,
                        format!("tensor '{name}' is in another shard too"),
                    ));
                }
            }
        }
        Ok(Self { path, files, places })
    }

    /// The file that errors name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all tensors, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.places.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Whether there is a tensor of that name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The shape of a tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.lookup(name).map(|(_, entry)| entry.shape.as_slice())
    }

    /// Whether a tensor is an 8-bit matrix with scales.
    pub(crate) fn is_quantised(&self, name: &str) -> bool {
        self.lookup(name).is_some_and(|(_, entry)| entry.dtype == Dtype::I8)
            && self.contains(&format!("{name}{SCALES_SUFFIX}"))
    }

    /// Whether a tensor is of type I8.
    pub(crate) fn is_bytes(&self, name: &str) -> bool {
        self.lookup(name).is_some_and(|(_, entry)| entry.dtype == Dtype::I8)
    }

    /// Number of values in all tensors, scales left out.
    pub(crate) fn parameters(&self) -> u64 {
        self.files
            .iter()
            .flat_map(|file| &file.entries)
            .filter(|(name, _)| !name.ends_with(SCALES_SUFFIX))
            .map(|(_, entry)| entry.shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// What comes before `anchor` in the one name that ends with it: `bert.` for
    /// `bert.embeddings.…`.
    ///
    /// The shortest such prefix is taken, so a wrapped second tower doesn't hide the model.
    pub(crate) fn prefix_of(&self, anchor: &str) -> Option<String> {
        self.places
            .keys()
            .filter_map(|name| name.strip_suffix(anchor))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            .min_by_key(|prefix| (prefix.len(), prefix.to_string()))
            .map(str::to_string)
    }

    /// A float tensor (F32, F16, BF16 or F64) as 32-bit floats.
    ///
    /// # Errors
    /// When it is missing, of another type, or of another shape than `expected`.
    pub(crate) fn floats(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
        let (file, entry) = self.checked(name, expected)?;
        let mut values = Vec::with_capacity(expected.iter().product());
        match entry.dtype {
            Dtype::F32 => file.read(entry, |bytes| extend_f32(&mut values, bytes))?,
            Dtype::F16 => file.read(entry, |bytes| {
                values.extend(pairs(bytes).map(|pair| half::f16::from_le_bytes(pair).to_f32()));
            })?,
            Dtype::BF16 => file.read(entry, |bytes| {
                values.extend(pairs(bytes).map(|pair| half::bf16::from_le_bytes(pair).to_f32()));
            })?,
            Dtype::F64 => file.read(entry, |bytes| {
                let chunks = bytes.as_chunks::<8>().0.iter();
                values.extend(chunks.map(|chunk| f64::from_le_bytes(*chunk) as f32));
            })?,
            other => return Err(wrong_type(file, name, other, "F32, F16, BF16 or F64")),
        }
        Ok(values)
    }

    /// An I8 tensor.
    pub(crate) fn bytes(&self, name: &str, expected: &[usize]) -> Result<Vec<i8>> {
        let (file, entry) = self.checked(name, expected)?;
        if entry.dtype != Dtype::I8 {
            return Err(wrong_type(file, name, entry.dtype, "I8"));
        }
        let mut values = Vec::with_capacity(expected.iter().product());
        file.read(entry, |bytes| values.extend(bytes.iter().map(|byte| *byte as i8)))?;
        Ok(values)
    }

    /// An I32 or I64 tensor.
    pub(crate) fn whole_numbers(&self, name: &str, expected: &[usize]) -> Result<Vec<i64>> {
        let (file, entry) = self.checked(name, expected)?;
        let mut values = Vec::with_capacity(expected.iter().product());
        match entry.dtype {
            Dtype::I32 => file.read(entry, |bytes| {
                let chunks = bytes.as_chunks::<4>().0.iter();
                values.extend(chunks.map(|chunk| i64::from(i32::from_le_bytes(*chunk))));
            })?,
            Dtype::I64 => file.read(entry, |bytes| {
                let chunks = bytes.as_chunks::<8>().0.iter();
                values.extend(chunks.map(|chunk| i64::from_le_bytes(*chunk)));
            })?,
            other => return Err(wrong_type(file, name, other, "I32 or I64")),
        }
        Ok(values)
    }

    /// A matrix in floats, or in 8 bits with its scales.
    pub(crate) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix> {
        let block = self.check_matrix(name, rows, columns)?;
        let Some(block) = block else {
            return Ok(Matrix::F32(self.floats(name, &self.stored(name, rows, columns))?));
        };
        Ok(Matrix::Q8 {
            values: self.bytes(name, &[rows, columns])?,
            scales: self.floats(&format!("{name}{SCALES_SUFFIX}"), &[rows, columns / block])?,
            block,
        })
    }

    /// Checks that a matrix is there with this shape, and gives its block where it is in 8 bits.
    /// Reads no values.
    pub(crate) fn check_matrix(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Option<usize>> {
        let (file, entry) = self.checked(name, &self.stored(name, rows, columns))?;
        match entry.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64 => return Ok(None),
            Dtype::I8 if entry.shape.len() == 2 => {}
            other => {
                return Err(wrong_type(file, name, other, "F32, F16, BF16, F64 or I8 with scales"));
            }
        }
        let scales = format!("{name}{SCALES_SUFFIX}");
        match *self.shape(&scales).ok_or_else(|| self.missing(&scales))? {
            [r, blocks] if r == rows && blocks > 0 && columns.is_multiple_of(blocks) => {
                Ok(Some(columns / blocks))
            }
            ref found => Err(ModelError::file(
                &file.path,
                format!(
                    "tensor '{scales}' has shape {found:?}; the scales of a {rows} × {columns} matrix have {rows} \
                     rows of a number of blocks that divides {columns}"
                ),
            )),
        }
    }

    /// The shape in which a matrix is stored: as such, or as the kernels of a convolution, one for
    /// each row.
    fn stored(&self, name: &str, rows: usize, columns: usize) -> Vec<usize> {
        match self.shape(name) {
            Some(shape @ [first, rest @ ..])
                if shape.len() == 4
                    && *first == rows
                    && rest.iter().try_fold(1, |all: usize, n| all.checked_mul(*n))
                        == Some(columns) =>
            {
                shape.to_vec()
            }
            _ => vec![rows, columns],
        }
    }

    /// Checks that a float tensor is there with this shape. Reads no values.
    pub(crate) fn check_floats(&self, name: &str, expected: &[usize]) -> Result<()> {
        let (file, entry) = self.checked(name, expected)?;
        match entry.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64 => Ok(()),
            other => Err(wrong_type(file, name, other, "F32, F16, BF16 or F64")),
        }
    }

    /// The error for a tensor that does not exist.
    pub(crate) fn missing(&self, name: &str) -> ModelError {
        ModelError::file(
            &self.path,
            format!("has no tensor '{name}'; config.json describes another model than the weights"),
        )
    }

    fn lookup(&self, name: &str) -> Option<(&TensorFile, &Entry)> {
        let file = self.files.get(*self.places.get(name)?)?;
        Some((file, file.entries.get(name)?))
    }

    fn checked(&self, name: &str, expected: &[usize]) -> Result<(&TensorFile, &Entry)> {
        let (file, entry) = self.lookup(name).ok_or_else(|| self.missing(name))?;
        if entry.shape != expected {
            return Err(ModelError::file(
                &file.path,
                format!(
                    "tensor '{name}' must have shape {expected:?} by the configuration, got {:?}",
                    entry.shape
                ),
            ));
        }
        Ok((file, entry))
    }
}

/// The file that holds, or names, the tensors of a directory.
fn find(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    ["model.safetensors", "model.safetensors.index.json"]
        .iter()
        .map(|name| path.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| ModelError::file(path, "has no model.safetensors"))
}

/// The files that an index names; each must be a plain name beside the index.
fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| ModelError::io(index, error);
    if std::fs::metadata(index).map_err(io)?.len() > INDEX_BYTES_MAX {
        return Err(ModelError::file(index, "is too large for an index of shards"));
    }
    let bad = || ModelError::file(index, "is not an index of shards with a weight_map");
    let value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(index).map_err(io)?).map_err(|_| bad())?;
    let map = value.get("weight_map").and_then(|map| map.as_object()).ok_or_else(bad)?;
    let names: BTreeSet<&str> =
        map.values().map(|name| name.as_str().ok_or_else(bad)).collect::<Result<_>>()?;
    let folder = index.parent().unwrap_or(Path::new(""));
    names
        .into_iter()
        .map(|name| {
            let mut parts = Path::new(name).components();
            match (parts.next(), parts.next()) {
                (Some(Component::Normal(_)), None) => Ok(folder.join(name)),
                _ => Err(ModelError::file(
                    index,
                    format!("names the shard '{name}'; a shard must be beside its index"),
                )),
            }
        })
        .collect()
}

fn wrong_type(file: &TensorFile, name: &str, found: Dtype, wanted: &str) -> ModelError {
    ModelError::file(&file.path, format!("tensor '{name}' must have type {wanted}, got {found}"))
}

fn extend_f32(values: &mut Vec<f32>, bytes: &[u8]) {
    let (quads, _) = bytes.as_chunks::<4>();
    values.extend(quads.iter().map(|quad| f32::from_le_bytes(*quad)));
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> {
    bytes.as_chunks::<2>().0.iter().copied()
}
