//! `semantic_join(rows, corpus => …)`: each row together with what is nearest to it in a small
//! table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::{Host, Loan, Neighbours, host, neighbours};

use super::declaration::{Declaration, InputDef, Need, Planning, VECTORS};
use super::finding::{Emit, Finding, Found};
use super::hits::{self, Hit};
use super::options::{Kind, OptionDef, cosine};
use super::roles::{InputTypes, column};
use super::table::Table;
use crate::SqlError;

/// Rows that are compared together; their matches are given before the next are compared.
const ROWS_TOGETHER: usize = 4096;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "semantic_join",
    about: "Each row with the top_k rows of a corpus that mean most nearly the same: id, rank (from 1), match_id, match_text, score \
            (cosine), and the other columns of the row. A row without a match does not come. Exact.",
    example: "SELECT * FROM semantic_join('news.parquet', corpus => watch_list, threshold => 0.5)",
    inputs: &[
        InputDef { by_row: true, ..VECTORS },
        InputDef {
            name: "corpus",
            about: "A table, a file or a query of what rows are compared with.",
            texts: Need::IfThere,
            ..VECTORS
        },
    ],
    options: &[
        OptionDef {
            name: "top_k",
            kind: Kind::Count { least: 1, default: Some(1) },
            about: "Most matches of a row.",
        },
        OptionDef { name: "threshold", kind: cosine(None), about: "Least score of a match." },
    ],
    carries: true,
    plan,
};

#[derive(Debug)]
struct Join {
    top_k: usize,
    min_score: f32,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let top_k = planning.options.count("top_k").unwrap_or(1);
    let threshold = planning.options.number("threshold").unwrap_or(-1.0);
    Ok(Arc::new(Join { top_k, min_score: neighbours::check_threshold(threshold)? }))
}

impl Finding for Join {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let [Some(rows), Some(corpus)] = inputs else { return Vec::new() };
        let mut fields = vec![
            rows.id_field("id"),
            column("rank", DataType::UInt32),
            corpus.id_field("match_id"),
        ];
        if corpus.roles.text.is_some() {
            fields.push(Field::new("match_text", DataType::Utf8, true));
        }
        fields.push(column("score", DataType::Float32));
        fields
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn Host,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(rows), Some(corpus)] = tables else { return Ok(()) };
        for (start, some) in hits::chunks(rows, ROWS_TOGETHER) {
            host::check(host)?;
            let _loan = Loan::new(host, Neighbours::bytes(some.len(), self.top_k))?;
            let vectors = rows.vectors().select(&some);
            let found =
                neighbours::top_k(&vectors, corpus.vectors(), self.top_k, self.min_score, host)?;
            let matches: Vec<Hit> = (0..found.rows())
                .flat_map(|place| {
                    let nearest = found.of(place).iter().map(|hit| (hit.row, hit.score));
                    hits::ranked(start + place as u32, nearest.collect::<Vec<_>>())
                })
                .collect();
            give(rows, corpus, &matches, emit)?;
        }
        Ok(())
    }
}

/// Gives matches in their order: a hit's query is the row, and its row that of the corpus.
fn give(
    rows: &Table,
    corpus: &Table,
    matches: &[Hit],
    emit: &mut Emit<'_>,
) -> Result<(), SqlError> {
    let mut columns: Vec<ArrayRef> = vec![
        rows.ids(matches.iter().map(|hit| hit.query))?,
        Arc::new(UInt32Array::from_iter_values(matches.iter().map(|hit| hit.rank))),
        corpus.ids(matches.iter().map(|hit| hit.row))?,
    ];
    if corpus.roles.text.is_some() {
        let texts = matches.iter().map(|hit| corpus.text(hit.row as usize));
        columns.push(Arc::new(texts.collect::<StringArray>()));
    }
    columns.push(Arc::new(Float32Array::from_iter_values(matches.iter().map(|hit| hit.score))));
    emit(Found { columns, rows: matches.iter().map(|hit| hit.query).collect() })
}
