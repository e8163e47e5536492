//! Rows as what a collection takes: a key, a vector, and the other columns as JSON.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, SchemaRef};
use sembla_runtime::{Error, Result};
use serde_json::{Map, Value};

use super::options::CollectionSettings;
use super::provenance::provenance_of;
use crate::formats::json_lines;
use crate::keys::CHUNK;

/// Bytes of a component of a vector as JSON, about.
const COMPONENT_BYTES: usize = 13;

/// Which column is what.
#[derive(Clone, Debug)]
pub(super) struct Roles {
    key: Vec<String>,
    chunks_of: Vec<String>,
    vector: usize,
    /// Components of the vectors.
    pub(super) dimension: usize,
    delete: Option<usize>,
    /// The places of all columns but those two.
    others: Vec<usize>,
    /// What is known of where the vectors come from.
    pub(super) provenance: Map<String, Value>,
}

/// The values of a row's key, none of which is NULL.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key(pub(crate) Vec<Value>);

impl Key {
    /// As text, or as a list in JSON where it has several columns.
    pub(crate) fn text(&self) -> String {
        match self.0.as_slice() {
            [Value::String(text)] => text.clone(),
            [value] => value.to_string(),
            values => Value::Array(values.to_vec()).to_string(),
        }
    }
}

/// A row to write.
#[derive(Clone, Debug)]
pub(crate) struct VectorRecord {
    pub(crate) key: Key,
    pub(crate) vector: Vec<f32>,
    /// All columns but those of the vector and of what is deleted, NULLs too.
    pub(crate) columns: Map<String, Value>,
    /// Bytes of it as JSON, about.
    pub(crate) bytes: usize,
}

/// The last chunk of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DocumentEnd {
    /// The columns that identify the document, with their values.
    pub(crate) document: Vec<(String, Value)>,
    pub(crate) last: i64,
}

/// What is to be done with a collection. No key is in both, or twice in one.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) upsert: Vec<VectorRecord>,
    pub(super) delete: Vec<Key>,
    /// Documents of which later chunks are to go.
    pub(super) ends: Vec<DocumentEnd>,
}

/// A row whose columns were read.
struct Row {
    key: Key,
    columns: Map<String, Value>,
    bytes: usize,
    is_deleted: bool,
}

/// A document of which chunks have come: where they are, and the last one.
struct Document {
    end: DocumentEnd,
    rows: Vec<usize>,
}

impl Roles {
    /// The roles of the columns of a schema.
    ///
    /// # Errors
    /// [`Error::Option`] for columns that are missing, or of another type.
    pub(super) fn new(schema: &SchemaRef, settings: &CollectionSettings) -> Result<Self> {
        for key in &settings.key {
            place_of(schema, "key", key)?;
        }
        let vector = match &settings.vector {
            Some(name) => place_of(schema, "vector", name)?,
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
        let delete = settings.delete.as_ref().map(|name| place_of(schema, "delete", name));
        let delete = delete.transpose()?;
        if let Some(delete) =
            delete.filter(|place| *schema.field(*place).data_type() != DataType::Boolean)
        {
            return Err(Error::Option(format!(
                "delete: column '{}' must be BOOLEAN, and is {}",
                schema.field(delete).name(),
                schema.field(delete).data_type()
            )));
        }
        let is_ours = |place: &usize| *place != vector && Some(*place) != delete;
        Ok(Self {
            key: settings.key.clone(),
            chunks_of: settings.chunks_of.clone(),
            vector,
            dimension,
            delete,
            others: (0..schema.fields().len()).filter(is_ours).collect(),
            provenance: provenance_of(field),
        })
    }

    /// What rows mean for the collection; of rows with one key the last counts.
    ///
    /// # Errors
    /// [`Error::Data`] for a row without a key or a vector.
    pub(super) fn changes(&self, rows: &RecordBatch) -> Result<Changes> {
        let vectors = Vectors::of(rows.column(self.vector))?;
        let mut changes = Changes::default();
        let mut documents: HashMap<String, Document> = HashMap::new();
        let mut last: HashMap<String, usize> = HashMap::new();
        let mut read: Vec<Option<Row>> = Vec::with_capacity(rows.num_rows());
        for (at, row) in self.read(rows)?.into_iter().enumerate() {
            let before = last.insert(row.key.text(), at);
            if let Some(before) = before.and_then(|before| read.get_mut(before)) {
                *before = None;
            }
            if !self.chunks_of.is_empty() && !row.is_deleted {
                self.extend(&mut documents, &row, at, &mut read)?;
            }
            read.push(Some(row));
        }
        for (at, row) in read.into_iter().enumerate() {
            let Some(Row { key, columns, bytes, is_deleted }) = row else { continue };
            if is_deleted {
                changes.delete.push(key);
                continue;
            }
            let vector = vectors.get(at).map_err(|why| {
                Error::Data(format!(
                    "row '{}' {why}, which a collection needs; leave such rows out with WHERE",
                    key.text()
                ))
            })?;
            changes.upsert.push(VectorRecord { key, vector, columns, bytes });
        }
        changes.ends = documents.into_values().map(|document| document.end).collect();
        Ok(changes)
    }

    /// The columns of all rows.
    fn read(&self, rows: &RecordBatch) -> Result<Vec<Row>> {
        let others = rows.project(&self.others)?;
        let lines = json_lines(&others)?;
        let names: Vec<String> =
            others.schema().fields().iter().map(|field| field.name().clone()).collect();
        let deleted: Option<&BooleanArray> =
            self.delete.and_then(|place| rows.column(place).as_boolean_opt());
        let lines = lines.split(|byte| *byte == b'\n').take(rows.num_rows()).enumerate();
        lines
            .map(|(row, line)| {
                let mut columns: Map<String, Value> = serde_json::from_slice(line)
                    .map_err(|error| Error::Bug(format!("a row is no JSON object: {error}")))?;
                // A NULL is written too, so that it replaces an earlier value.
                for name in &names {
                    columns.entry(name).or_insert(Value::Null);
                }
                Ok(Row {
                    key: self.key_of(&columns)?,
                    columns,
                    bytes: line.len() + self.dimension * COMPONENT_BYTES,
                    is_deleted: deleted.is_some_and(|d| d.is_valid(row) && d.value(row)),
                })
            })
            .collect()
    }

    fn key_of(&self, columns: &Map<String, Value>) -> Result<Key> {
        let values = self.key.iter().map(|key| match columns.get(key) {
            None | Some(Value::Null) => {
                Err(Error::Data(format!("column '{key}' of the key is NULL")))
            }
            Some(value) => Ok(value.clone()),
        });
        values.collect::<Result<_>>().map(Key)
    }

    /// Notes that a chunk of a document has come, at that place. The first chunk begins the
    /// document anew: what came of it before is of an earlier version.
    fn extend(
        &self,
        documents: &mut HashMap<String, Document>,
        row: &Row,
        at: usize,
        read: &mut [Option<Row>],
    ) -> Result<()> {
        let chunk = row.columns.get(CHUNK).and_then(Value::as_i64).ok_or_else(|| {
            Error::Data(format!("column '{CHUNK}' of row '{}' is no whole number", row.key.text()))
        })?;
        let document = self
            .chunks_of
            .iter()
            .filter_map(|name| row.columns.get(name).map(|value| (name.clone(), value.clone())));
        let document: Vec<_> = document.collect();
        let name = Value::Array(document.iter().map(|(_, value)| value.clone()).collect());
        let known = documents.entry(name.to_string()).or_insert_with(|| Document {
            end: DocumentEnd { document, last: chunk },
            rows: Vec::new(),
        });
        if chunk == 0 {
            for place in known.rows.drain(..) {
                if let Some(earlier) = read.get_mut(place) {
                    *earlier = None;
                }
            }
            known.end.last = 0;
        }
        known.end.last = known.end.last.max(chunk);
        known.rows.push(at);
        Ok(())
    }
}

/// The place of the column of a name, which an option names.
///
/// # Errors
/// [`Error::Option`] where there is none.
pub(crate) fn place_of(schema: &SchemaRef, option: &str, name: &str) -> Result<usize> {
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

    /// The vector of a row, or why it has none.
    fn get(&self, row: usize) -> std::result::Result<Vec<f32>, &'static str> {
        let none = "has no vector";
        if self.lists.is_null(row) {
            return Err(none);
        }
        let lists = self.lists.as_fixed_size_list();
        let start = usize::try_from(lists.value_offset(row)).map_err(|_| none)?;
        let size = usize::try_from(lists.value_length()).map_err(|_| none)?;
        let values = self.values.slice(start, size);
        match values.values().iter().all(|value| value.is_finite()) {
            _ if values.null_count() > 0 => Err(none),
            true => Ok(values.values().to_vec()),
            false => Err("has no finite vector"),
        }
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

#[cfg(test)]
mod tests;
