//! Rows as records of a collection: an id, a vector, a document and metadata.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, SchemaRef};
use sembla_runtime::{Error, Result};
use serde_json::{Map, Value};

use super::client::Upsert;
use super::options::Settings;
use crate::formats::json_lines;

/// The column of documents where none is named.
const DOCUMENT: &str = "text";

/// Which column is what.
#[derive(Clone, Debug)]
pub(super) struct Roles {
    key: Vec<String>,
    vector: usize,
    /// Components of the vectors.
    pub(super) dimension: usize,
    document: Option<String>,
    delete: Option<usize>,
    /// The columns of the metadata, and those of key and document, by their places.
    others: Vec<usize>,
    /// What is known of where the vectors come from.
    pub(super) provenance: Map<String, Value>,
}

/// What is to be done with a collection. No id is in both, or twice in one.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) upsert: Upsert,
    pub(super) delete: Vec<String>,
}

impl Roles {
    /// The roles of the columns of a schema.
    ///
    /// # Errors
    /// [`Error::Option`] for columns that are missing, or of another type.
    pub(super) fn new(schema: &SchemaRef, settings: &Settings) -> Result<Self> {
        let place = |option: &str, name: &str| place_of(schema, option, name);
        for key in &settings.key {
            place("key", key)?;
        }
        let vector = match &settings.vector {
            Some(name) => place("vector", name)?,
            None => only_vectors(schema)?,
        };
        let field = schema.field(vector);
        let dimension = dimension_of(field.data_type()).ok_or_else(|| {
            Error::Option(format!(
                "vector: column '{}' is {}, not vectors of one dimension",
                field.name(),
                field.data_type()
            ))
        })?;
        let document = match &settings.document {
            Some(name) => Some(place("document", name).map(|_| name.clone())?),
            None => schema.index_of(DOCUMENT).ok().map(|_| DOCUMENT.to_string()),
        };
        let delete = settings.delete.as_ref().map(|name| place("delete", name)).transpose()?;
        if let Some(delete) =
            delete.filter(|place| *schema.field(*place).data_type() != DataType::Boolean)
        {
            return Err(Error::Option(format!(
                "delete: column '{}' must be BOOLEAN, and is {}",
                schema.field(delete).name(),
                schema.field(delete).data_type()
            )));
        }
        let others =
            (0..schema.fields().len()).filter(|place| *place != vector && Some(*place) != delete);
        Ok(Self {
            key: settings.key.clone(),
            vector,
            dimension,
            document,
            delete,
            others: others.collect(),
            provenance: provenance_of(field),
        })
    }

    /// What rows mean for the collection; of rows with one key the last counts.
    ///
    /// # Errors
    /// [`Error::Data`] for a row without a key or a vector.
    pub(super) fn changes(&self, rows: &RecordBatch) -> Result<Changes> {
        let vectors = Vectors::of(rows.column(self.vector))?;
        let deleted: Option<&BooleanArray> =
            self.delete.and_then(|place| rows.column(place).as_boolean_opt());
        let others = rows.project(&self.others)?;
        let lines = json_lines(&others)?;
        let names: Vec<String> =
            others.schema().fields().iter().map(|field| field.name().clone()).collect();
        let mut last: HashMap<String, usize> = HashMap::new();
        let mut records: Vec<Option<(String, Map<String, Value>)>> =
            Vec::with_capacity(rows.num_rows());
        for (row, line) in lines.split(|byte| *byte == b'\n').take(rows.num_rows()).enumerate() {
            let object: Map<String, Value> = serde_json::from_slice(line)
                .map_err(|error| Error::Bug(format!("a row is no JSON object: {error}")))?;
            let id = self.id_of(&object)?;
            if let Some(before) =
                last.insert(id.clone(), row).and_then(|before| records.get_mut(before))
            {
                *before = None;
            }
            records.push(Some((id, object)));
        }
        let mut changes = Changes::default();
        for (row, record) in records.into_iter().enumerate() {
            let Some((id, object)) = record else { continue };
            if deleted.is_some_and(|deleted| deleted.is_valid(row) && deleted.value(row)) {
                changes.delete.push(id);
                continue;
            }
            let vector = vectors.get(row).ok_or_else(|| {
                Error::Data(format!("row '{id}' has no vector, which a collection needs; leave such rows out with WHERE"))
            })?;
            let (document, metadata) = self.record(object, &names);
            changes.upsert.ids.push(id);
            changes.upsert.embeddings.push(vector);
            changes.upsert.documents.push(document);
            changes.upsert.metadatas.push(metadata);
        }
        Ok(changes)
    }

    /// The id of a row: its key as text, or a list of it in JSON where it has several columns.
    fn id_of(&self, object: &Map<String, Value>) -> Result<String> {
        let values = self.key.iter().map(|key| match object.get(key) {
            None | Some(Value::Null) => {
                Err(Error::Data(format!("column '{key}' of the key is NULL")))
            }
            Some(value) => Ok(value.clone()),
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        Ok(match values.as_slice() {
            [Value::String(text)] => text.clone(),
            [value] => value.to_string(),
            _ => Value::Array(values).to_string(),
        })
    }

    /// The document and the metadata of a row. A NULL is written, so that it replaces an earlier
    /// value; a list or an object is text.
    fn record(
        &self,
        mut object: Map<String, Value>,
        names: &[String],
    ) -> (Option<String>, Option<Map<String, Value>>) {
        let document = self.document.as_ref().map(|name| match object.remove(name) {
            Some(Value::String(text)) => text,
            Some(Value::Null) | None => String::new(),
            Some(value) => value.to_string(),
        });
        let columns = names.iter().filter(|name| self.document.as_ref() != Some(*name));
        let metadata: Map<String, Value> = columns
            .map(|name| {
                let value = match object.remove(name) {
                    Some(value @ (Value::Array(_) | Value::Object(_))) => value.to_string().into(),
                    Some(value) => value,
                    None => Value::Null,
                };
                (name.clone(), value)
            })
            .collect();
        (document, (!metadata.is_empty()).then_some(metadata))
    }
}

/// The place of the column of a name, which an option names.
fn place_of(schema: &SchemaRef, option: &str, name: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Error::Option(format!(
            "{option}: the rows have no column '{name}'; they have {}",
            names.join(", ")
        ))
    })
}

/// The place of the only column of vectors.
fn only_vectors(schema: &SchemaRef) -> Result<usize> {
    let fields = schema.fields().iter().enumerate();
    let all: Vec<_> =
        fields.filter(|(_, field)| dimension_of(field.data_type()).is_some()).collect();
    match all.as_slice() {
        [(place, _)] => Ok(*place),
        [] => Err(Error::Option(
            "a collection needs vectors, and the rows have none; add embed(text)".into(),
        )),
        [(_, one), (_, other), ..] => Err(Error::Option(format!(
            "columns '{}' and '{}' have vectors; name one as vector = '…'",
            one.name(),
            other.name()
        ))),
    }
}

/// Vectors of a column.
struct Vectors {
    lists: ArrayRef,
    values: Float32Array,
}

impl Vectors {
    fn of(array: &ArrayRef) -> Result<Self> {
        let Some(lists) = array.as_fixed_size_list_opt() else {
            return Err(Error::Bug("a column of vectors has none".into()));
        };
        let values = cast(lists.values(), &DataType::Float32)?;
        Ok(Self { values: values.as_primitive::<Float32Type>().clone(), lists: Arc::clone(array) })
    }

    /// The vector of a row; `None` where it or a component is NULL.
    fn get(&self, row: usize) -> Option<Vec<f32>> {
        if self.lists.is_null(row) {
            return None;
        }
        let size = usize::try_from(self.lists.as_fixed_size_list().value_length()).ok()?;
        let values = self.values.slice(row * size, size);
        (values.null_count() == 0).then(|| values.values().to_vec())
    }
}

/// Components of vectors of a type.
fn dimension_of(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeList(item, size) if item.data_type().is_floating() => {
            usize::try_from(*size).ok().filter(|size| *size > 0)
        }
        _ => None,
    }
}

/// What a field's metadata says of the model that made its vectors.
fn provenance_of(field: &Field) -> Map<String, Value> {
    let known = field.metadata().iter().filter(|(key, _)| key.starts_with("sembla."));
    known.map(|(key, value)| (key.clone(), value.clone().into())).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{FixedSizeListArray, Int64Array, StringArray};
    use arrow::datatypes::Schema;

    use super::*;
    use crate::chroma::options::SINK_OPTIONS;
    use crate::options::Options;

    fn rows(ids: Vec<Option<i64>>, gone: Vec<bool>) -> RecordBatch {
        let count = ids.len();
        let vectors = ids.iter().map(|id| Some(vec![id.map(|id| id as f32), Some(0.5)]));
        let texts = ids.iter().map(|id| id.filter(|id| *id != 2).map(|id| format!("text {id}")));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new(texts.collect::<StringArray>())),
            (
                "v",
                Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2)),
            ),
            ("gone", Arc::new(BooleanArray::from(gone))),
            ("lang", Arc::new(StringArray::from(vec![Some("en"); count]))),
            ("id", Arc::new(Int64Array::from(ids))),
        ];
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .expect("rows")
    }

    fn roles(schema: &SchemaRef, pairs: &[(&str, &str)]) -> Result<Roles> {
        let mut all = vec![("url", "http://h"), ("collection", "c")];
        all.extend(pairs);
        let given: Vec<_> =
            all.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let options = Options::read("a chroma sink", SINK_OPTIONS, &given)?;
        Roles::new(schema, &Settings::new(&options)?)
    }

    #[test]
    fn the_last_row_of_an_id_counts_and_marked_ones_go_away() {
        let rows = rows(vec![Some(1), Some(2), Some(1), Some(3)], vec![false, false, false, true]);
        let roles = roles(&rows.schema(), &[("key", "id"), ("delete", "gone")]).expect("roles");
        let changes = roles.changes(&rows).expect("changes");
        assert_eq!(changes.upsert.ids, ["2", "1"]);
        assert_eq!(changes.upsert.embeddings, [[2.0, 0.5], [1.0, 0.5]]);
        assert_eq!(changes.upsert.documents, [Some(String::new()), Some("text 1".into())]);
        assert_eq!(changes.delete, ["3"]);
        let metadata = changes.upsert.metadatas[1].clone().expect("metadata");
        assert_eq!(Value::from(metadata).to_string(), r#"{"id":1,"lang":"en"}"#);
    }

    #[test]
    fn keys_of_several_columns_are_lists_and_none_is_null() {
        let batch = rows(vec![Some(7)], vec![false]);
        let both = roles(&batch.schema(), &[("key", "id, lang")]).expect("roles");
        assert_eq!(both.changes(&batch).expect("changes").upsert.ids, [r#"[7,"en"]"#]);
        let null = rows(vec![None], vec![false]);
        let error = both.changes(&null).expect_err("no key").to_string();
        assert_eq!(error, "column 'id' of the key is NULL");
    }

    #[test]
    fn columns_that_are_missing_are_named() {
        let schema = rows(vec![Some(1)], vec![false]).schema();
        let error = |pairs: &[(&str, &str)]| roles(&schema, pairs).expect_err("wrong").to_string();
        assert!(error(&[("key", "url")]).contains("no column 'url'; they have text, v"));
        assert!(
            error(&[("key", "id"), ("vector", "text")]).contains("not vectors of one dimension")
        );
        assert!(error(&[("key", "id"), ("delete", "id")]).contains("must be BOOLEAN"));
        let bare = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let error = roles(&bare, &[("key", "id")]).expect_err("no vectors").to_string();
        assert!(error.contains("add embed(text)"), "{error}");
    }
}
