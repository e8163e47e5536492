//! `index_rows(input)`: what `CREATE INDEX` and `INSERT INTO` an index read: ids, vectors, and the
//! other columns. It is not listed; statements of indexes are planned with it, so that columns,
//! models and mistakes are those of every finding.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field};

use crate::SqlError;
use crate::columns::VECTORS_COLUMN;
use crate::columns::vectors::{item_field, vector_type};
use crate::error::arrow_error;
use crate::relations::declaration::{Declaration, InputDef, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "index_rows",
    about: "What an index is made of.",
    example: "CREATE INDEX questions WITH (path = 'questions.index') AS SELECT id, text FROM 'questions.parquet'",
    inputs: &[InputDef { default_prompt: Some("document"), ..VECTORS }],
    options: &[],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct IndexRows {
    dimension: usize,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let input = planning.inputs.first().and_then(Option::as_ref);
    match input.and_then(|input| input.roles.vector.as_ref()) {
        Some(DataType::FixedSizeList(_, size)) => {
            Ok(Arc::new(IndexRows { dimension: usize::try_from(*size).unwrap_or_default() }))
        }
        _ => Err(SqlError::Statement(
            "an index needs vectors of one size; cast them with arrow_cast(…, 'FixedSizeList(D, Float32)')".into(),
        )),
    }
}

impl Finding for IndexRows {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        let vectors = vector_type(self.dimension).unwrap_or(DataType::Null);
        let vectors = Field::new(VECTORS_COLUMN, vectors, false);
        vec![input.id_field("id"), vectors.with_metadata(input.provenance.clone())]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        _host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let values = table.vectors().values().iter().copied();
        let mut values: Vec<f32> = values.collect();
        // Without any vector, the collected ones have no dimension.
        values.resize(table.rows() * self.dimension, 0.0);
        let vectors = FixedSizeListArray::try_new_with_length(
            item_field(DataType::Float32),
            i32::try_from(self.dimension).unwrap_or_default(),
            Arc::new(Float32Array::from(values)),
            None,
            table.rows(),
        );
        let vectors: ArrayRef = Arc::new(vectors.map_err(|error| arrow_error(&error))?);
        emit(Found::all(table, [vectors])?)
    }
}

/// The statement that reads a query for an index.
pub(crate) fn statement(query: &str, options: &[(String, String)]) -> String {
    let options: Vec<String> = options
        .iter()
        .map(|(name, value)| format!(", {name} => '{}'", value.replace('\'', "''")))
        .collect();
    format!("SELECT * FROM index_rows(({query}){})", options.concat())
}
