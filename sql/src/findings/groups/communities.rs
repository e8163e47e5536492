//! `communities(input)`: groups of rows around centres that they are all similar to.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::communities;

use crate::SqlError;
use crate::relations::declaration::{Declaration, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::options::{OptionDef, OptionKind, cosine};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "communities",
    about: "Groups of at least min_size rows that are similar to a centre: community_id (from 0, the largest first), rank (0 is \
            the centre), id, score (cosine with the centre), and the other columns. Rows of no community are left out.",
    example: "SELECT * FROM communities('questions.parquet', threshold => 0.8, min_size => 5)",
    inputs: &[VECTORS],
    options: &[
        OptionDef {
            name: "threshold",
            kind: cosine(Some(0.75)),
            about: "Smallest cosine of a row to the centre.",
        },
        OptionDef {
            name: "min_size",
            kind: OptionKind::Count { least: 1, default: Some(10) },
            about: "Smallest number of rows in a community, the centre included.",
        },
    ],
    carries: true,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Communities {
    options: communities::CommunityOptions,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let defaults = communities::CommunityOptions::default();
    let options = communities::CommunityOptions {
        threshold: planning.options.number("threshold").unwrap_or(defaults.threshold),
        min_size: planning.options.count("min_size").unwrap_or(defaults.min_size),
    };
    Ok(Arc::new(Communities { options }))
}

impl Finding for Communities {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(input)] = inputs else { return Vec::new() };
        vec![
            column("community_id", DataType::Int64),
            column("rank", DataType::UInt32),
            input.id_field("id"),
            column("score", DataType::Float32),
        ]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table)] = tables else { return Ok(()) };
        let found = communities::communities(table.vectors(), &self.options, host)?;
        for (number, members) in (0_i64..).zip(found) {
            let size = members.len();
            let rows: Vec<u32> = members.iter().map(|member| member.row).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_value(number, size)),
                Arc::new(UInt32Array::from_iter_values(0..size as u32)),
                table.ids(rows.iter().copied())?,
                Arc::new(Float32Array::from_iter_values(members.iter().map(|m| m.score))),
            ];
            emit(Found { columns, rows })?;
        }
        Ok(())
    }
}
