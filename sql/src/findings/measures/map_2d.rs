//! `map_2d(input)`: a place on a plane for each row, near those that it is similar to.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::map::{self, MapOptions, Method};

use crate::SqlError;
use crate::relations::declaration::{Declaration, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::options::{OptionDef, OptionKind};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "map_2d",
    about: "A position in the plane for each row: id, x, y (Float32, NULL for a row without a vector), and the other columns.",
    example: "SELECT x, y, text FROM map_2d('questions.parquet')",
    inputs: &[VECTORS],
    options: &[
        OptionDef {
            name: "method",
            kind: OptionKind::Choice { of: &["tsne", "pca"], default: Some("tsne") },
            about: "'tsne' keeps neighbours together; 'pca' projects onto the two directions of greatest variance.",
        },
        OptionDef {
            name: "perplexity",
            kind: OptionKind::Number {
                least: 1.0,
                most: 1000.0,
                what: "a number of neighbours between 1 and 1000",
                default: None,
            },
            about: "For t-SNE: roughly how many neighbours of a row count.",
        },
        OptionDef {
            name: "seed",
            kind: OptionKind::Count { least: 0, default: Some(0) },
            about: "Seed of the random numbers; another seed gives another map.",
        },
    ],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Map {
    options: MapOptions,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let given = planning.options;
    let mut options = MapOptions::default();
    if let Some(method) = given.text("method") {
        options.method = Method::parse(method)?;
    }
    if let Some(perplexity) = given.number("perplexity") {
        options.perplexity = perplexity as f32;
    }
    options.seed = given.count("seed").unwrap_or_default() as u64;
    Ok(Arc::new(Map { options }))
}

impl Finding for Map {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        let place = |name| Field::new(name, DataType::Float32, true);
        vec![input.id_field("id"), place("x"), place("y")]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let places = map::map(table.vectors(), &self.options, host)?;
        let component = |which: usize| -> ArrayRef {
            let values = places.iter().map(|place| place.and_then(|xy| xy.get(which).copied()));
            Arc::new(values.collect::<Float32Array>())
        };
        emit(Found::all(table, [component(0), component(1)])?)
    }
}
