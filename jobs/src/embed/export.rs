//! The parts of a run as one file that is not Parquet: rows in another format, or the vectors alone
//! as NumPy reads them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sembla_models::CancelToken;

use super::parts::damaged;
use super::work::Work;
use crate::failure::{Failure, Result, one_line};
use crate::output::{FileKind, RowFile};
use crate::whole_file::write_whole_in_work;

/// Bytes of a `.npy` header are a multiple of this, so that the numbers are aligned.
const NPY_ALIGNMENT: usize = 64;

/// Writes all rows as a file of that kind.
///
/// # Errors
/// When a part can't be read back, the format has no form for a column, the disk fails, or on
/// Ctrl-C.
pub(super) fn rows(work: &Work, kind: FileKind, cancel: &CancelToken) -> Result<()> {
    write_whole_in_work(&work.joined(), |file| {
        write_rows(work, kind, file, &work.joined(), cancel, |batch| Ok(Some(batch.clone())))
    })
}

/// Writes the vectors as an array `float32` of `rows × components` in the format of NumPy; a NULL
/// is a row of NaN. The other columns go to a CSV file beside it.
///
/// # Errors
/// As [`rows`].
pub(super) fn npy(work: &Work, vectors: &str, cancel: &CancelToken) -> Result<()> {
    let path = work.joined();
    let dimension = work.manifest.dimension();
    let mut others = false;
    write_whole_in_work(&path, |file| {
        let fail = |error: std::io::Error| Failure::file(&path, &error);
        let mut out = BufWriter::new(file);
        out.write_all(&npy_header(work.rows, dimension)).map_err(fail)?;
        for_each_batch(work, cancel, |batch| {
            others |= batch.num_columns() > 1;
            let bytes = components(&batch, vectors, dimension)?;
            out.write_all(&bytes).map_err(fail)
        })?;
        out.flush().map_err(fail)
    })?;
    if !others {
        return Ok(());
    }
    write_whole_in_work(&work.joined_ids(), |file| {
        write_rows(work, FileKind::Csv, file, &work.joined_ids(), cancel, |batch| {
            let kept = (0..batch.num_columns())
                .filter(|column| batch.schema().field(*column).name() != vectors)
                .collect::<Vec<_>>();
            batch.project(&kept).map(Some).map_err(internal)
        })
    })
}

/// Writes what `change` makes of the parts' batches.
fn write_rows(
    work: &Work,
    kind: FileKind,
    file: &mut File,
    path: &Path,
    cancel: &CancelToken,
    change: impl Fn(&RecordBatch) -> Result<Option<RecordBatch>>,
) -> Result<()> {
    let fail = |error: std::io::Error| Failure::file(path, &error);
    let mut out = BufWriter::new(file.try_clone().map_err(fail)?);
    let empty = RecordBatch::new_empty(schema(work)?);
    let schema = change(&empty)?.map_or_else(|| empty.schema(), |batch| batch.schema());
    let mut writer = RowFile::new(kind, path, &schema, &mut out)?;
    for_each_batch(work, cancel, |batch| match change(&batch)? {
        Some(batch) => writer.write(&batch),
        None => Ok(()),
    })?;
    writer.finish()?;
    out.flush().map_err(fail)
}

/// The columns of the parts.
fn schema(work: &Work) -> Result<SchemaRef> {
    let Some(path) = work.part_paths().next() else {
        return Err(Failure::other("internal error: there is no part to write"));
    };
    let schema = open(&path)?.schema().as_ref().clone();
    Ok(schema.with_metadata(Default::default()).into())
}

fn for_each_batch(
    work: &Work,
    cancel: &CancelToken,
    mut each: impl FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let schema = schema(work)?;
    for path in work.part_paths() {
        for batch in open(&path)?.build().map_err(|error| damaged(&path, error))? {
            cancel.check()?;
            let batch = batch.map_err(|error| damaged(&path, error))?;
            each(batch.with_schema(SchemaRef::clone(&schema)).map_err(internal)?)?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(path, error))
}

fn internal(error: arrow::error::ArrowError) -> Failure {
    Failure::other(format!("internal error: {}", one_line(error)))
}

/// The components of a batch's vectors, one row after the other, NaN where there is none.
fn components(batch: &RecordBatch, vectors: &str, dimension: usize) -> Result<Vec<u8>> {
    let lists = batch.column_by_name(vectors).and_then(|column| column.as_fixed_size_list_opt());
    let lists = lists.ok_or_else(|| Failure::other("internal error: a part has no vectors"))?;
    let mut bytes = Vec::with_capacity(batch.num_rows() * dimension * size_of::<f32>());
    for row in 0..lists.len() {
        if lists.is_null(row) {
            bytes.extend(std::iter::repeat_n(f32::NAN.to_le_bytes(), dimension).flatten());
        } else {
            let vector = lists.value(row);
            let vector = vector.as_primitive::<Float32Type>().values();
            bytes.extend(vector.iter().flat_map(|component| component.to_le_bytes()));
        }
    }
    Ok(bytes)
}

/// The header of an array `float32` of `rows × columns`, version 1 of the format.
fn npy_header(rows: u64, columns: usize) -> Vec<u8> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    let mut words =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let unpadded = MAGIC.len() + size_of::<u16>() + words.len() + 1;
    words += &" ".repeat(unpadded.next_multiple_of(NPY_ALIGNMENT) - unpadded);
    words.push('\n');
    let length = u16::try_from(words.len()).unwrap_or(u16::MAX);
    [MAGIC, &length.to_le_bytes(), words.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_numpy_writes() {
        let header = npy_header(3, 128);
        assert_eq!(header.len(), 128);
        assert!(header.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', "));
        assert!(header.ends_with(b" \n"));
        assert_eq!(npy_header(u64::MAX, usize::MAX).len() % NPY_ALIGNMENT, 0);
    }
}
