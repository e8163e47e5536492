//! Rows by the values of their partition columns, each in a folder of Hive's form:
//! `day=2026-01-31/`.
//!
//! - *Invariant:* a folder is one that its value alone decides, and no value can name a folder
//!   outside of the data set or one that readers skip.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sembla_runtime::{Error, Result};

/// The folder of NULL, as Hive names it.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";
/// Bytes of a folder's name; file systems allow little more.
const SEGMENT_BYTES_MAX: usize = 240;

/// How rows are dealt to folders.
pub(super) struct Partitioning {
    /// The places of the partition columns.
    columns: Vec<usize>,
    /// The places of the others, which the files hold.
    rest: Vec<usize>,
    /// The schema of the files.
    pub(super) schema: SchemaRef,
}

impl Partitioning {
    /// By columns of a schema.
    ///
    /// # Errors
    /// [`Error::Option`] for an unknown column, and when none is left for the files.
    pub(super) fn new(schema: &SchemaRef, by: &[String]) -> Result<Self> {
        let mut columns = Vec::new();
        for name in by {
            let place = schema.index_of(name).map_err(|_| {
                let known: Vec<_> =
                    schema.fields().iter().map(|field| field.name().as_str()).collect();
                Error::Option(format!(
                    "partition_by names the column '{name}', which does not exist; columns: {}",
                    known.join(", ")
                ))
            })?;
            if schema.field(place).data_type().is_nested() {
                return Err(Error::Option(format!(
                    "partition_by must name columns of single values, but '{name}' is {}",
                    schema.field(place).data_type()
                )));
            }
            columns.push(place);
        }
        let rest: Vec<_> =
            (0..schema.fields().len()).filter(|place| !columns.contains(place)).collect();
        if rest.is_empty() {
            return Err(Error::Option(
                "partition_by names every column; leave at least one for the files".into(),
            ));
        }
        let fields: Vec<_> = rest.iter().map(|place| schema.field(*place).clone()).collect();
        Ok(Self { columns, rest, schema: Schema::new(fields).into() })
    }

    /// The rows of each folder, in the order of folders; a folder ends with `/`, or is empty where
    /// there are no partition columns.
    ///
    /// # Errors
    /// [`Error::Data`] for a value that is too long for a folder's name.
    pub(super) fn split(&self, rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        let files = rows.project(&self.rest)?;
        if self.columns.is_empty() {
            return Ok(vec![(String::new(), files)]);
        }
        let schema = rows.schema();
        let options = FormatOptions::default();
        let columns = self
            .columns
            .iter()
            .map(|place| {
                let array = rows.column(*place);
                let format = ArrayFormatter::try_new(array.as_ref(), &options)?;
                Ok((escaped(schema.field(*place).name()), array, format))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut folders: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for row in 0..rows.num_rows() {
            let mut folder = String::new();
            for (name, array, format) in &columns {
                let value = match array.is_null(row) {
                    true => NULL_FOLDER.to_string(),
                    false => escaped(&format.value(row).to_string()),
                };
                let segment = format!("{name}={value}");
                if segment.len() > SEGMENT_BYTES_MAX {
                    return Err(Error::Data(format!(
                        "the partition column '{name}' has a value whose folder would have a name of \
                         {} bytes; at most {SEGMENT_BYTES_MAX} are possible",
                        segment.len()
                    )));
                }
                folder.push_str(&segment);
                folder.push('/');
            }
            folders.entry(folder).or_default().push(u32::try_from(row).unwrap_or(u32::MAX));
        }
        folders
            .into_iter()
            .map(|(folder, places)| match places.len() == rows.num_rows() {
                true => Ok((folder, files.clone())),
                false => Ok((folder, take_record_batch(&files, &UInt32Array::from(places))?)),
            })
            .collect()
    }
}

/// A name or value as part of a folder's name: what isn't a letter, a digit, `-`, `_` or `.` is
/// `%XX`, and so is what would begin a hidden name or be mistaken for NULL's.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric()
            || byte == b'-'
            || (matches!(byte, b'_' | b'.') && place > 0);
        if is_plain {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn rows(texts: &[Option<&str>]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("text", DataType::Utf8, true),
            Field::new("id", DataType::Int64, false),
            Field::new("day", DataType::Date32, true),
        ]);
        let ids = Int64Array::from_iter_values(0..texts.len() as i64);
        let days = Date32Array::from(vec![Some(20_000); texts.len()]);
        let texts = StringArray::from(texts.to_vec());
        RecordBatch::try_new(schema.into(), vec![Arc::new(texts), Arc::new(ids), Arc::new(days)])
            .expect("rows")
    }

    fn folders(texts: &[Option<&str>]) -> Vec<(String, RecordBatch)> {
        let rows = rows(texts);
        let by = ["day".to_string(), "text".to_string()];
        Partitioning::new(&rows.schema(), &by).expect("columns").split(&rows).expect("folders")
    }

    #[test]
    fn each_value_has_its_folder() {
        let found = folders(&[Some("b"), None, Some("a b"), Some("b")]);
        let names: Vec<_> =
            found.iter().map(|(folder, rows)| (folder.as_str(), rows.num_rows())).collect();
        assert_eq!(
            names,
            [
                ("day=2024-10-04/text=__HIVE_DEFAULT_PARTITION__/", 1),
                ("day=2024-10-04/text=a%20b/", 1),
                ("day=2024-10-04/text=b/", 2),
            ]
        );
        assert_eq!(found[0].1.schema().fields().len(), 1);
        let of_b = found[2].1.column(0).as_any().downcast_ref::<Int64Array>().expect("ids");
        assert_eq!(of_b.values(), &[0, 3]);
    }

    #[test]
    fn hostile_values_stay_inside_and_apart() {
        let hostile = [
            "",
            ".",
            "..",
            "../../etc",
            "/etc",
            "a/../../b",
            "a\\b",
            "_x",
            ".x",
            "%2E",
            "%",
            "=",
            "a=b",
            "__HIVE_DEFAULT_PARTITION__",
            "a\0b",
            "a\nb",
            "ü",
            "a:b",
            "CON",
            "*",
            "a b",
        ];
        let mut values: Vec<_> = hostile.iter().map(|value| Some(*value)).collect();
        values.push(None);
        let found = folders(&values);
        let names: BTreeSet<_> = found.iter().map(|(folder, _)| folder.clone()).collect();
        assert_eq!(names.len(), values.len(), "every value has a folder of its own: {names:?}");
        for name in names {
            let segments: Vec<_> = name.trim_end_matches('/').split('/').collect();
            assert_eq!(segments.len(), 2, "{name}");
            assert!(segments[1].starts_with("text="), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{name}");
        }
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let rows = rows(&[Some(&"x".repeat(300))]);
        let by = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let split =
            Partitioning::new(&rows.schema(), &by(&["text"])).expect("columns").split(&rows);
        assert!(matches!(split, Err(Error::Data(_))));
        let unknown = Partitioning::new(&rows.schema(), &by(&["dya"])).err().expect("unknown");
        assert_eq!(
            unknown.to_string(),
            "partition_by names the column 'dya', which does not exist; columns: text, id, day"
        );
        assert!(Partitioning::new(&rows.schema(), &by(&["text", "id", "day"])).is_err());
    }
}
