//! `semantic_join(rows, corpus => …)`: each row together with what is nearest to it in a small
//! table.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::{Loan, Neighbours, host, neighbours};

use super::hits::{self, Hit};
use crate::SqlError;
use crate::columns::keys::Keys;
use crate::relations::declaration::{Declaration, InputDef, Need, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::options::{OptionDef, OptionKind, cosine};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

/// Rows that are compared together; their matches are given before the next are compared.
const ROWS_TOGETHER: usize = 4096;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "semantic_join",
    about: "Each row with the top_k rows of a corpus that are nearest in meaning: id, rank (from 1), match_id, match_text, score \
            (cosine), the other columns of the match as match_…, and those of the row. Rows without a match are left out. Exact.",
    example: "SELECT * FROM semantic_join('news.parquet', corpus => watch_list, threshold => 0.5)",
    inputs: &[
        InputDef { by_row: true, ..VECTORS },
        InputDef {
            name: "corpus",
            about: "A table, file or query to compare the rows with.",
            texts: Need::IfThere,
            carried_as: Some(MATCH),
            ..VECTORS
        },
    ],
    options: &[
        OptionDef {
            name: "top_k",
            kind: OptionKind::Count { least: 1, default: Some(1) },
            about: "Matches per row.",
        },
        OptionDef {
            name: "threshold",
            kind: cosine(None),
            about: "Leave out matches with a lower score.",
        },
        OptionDef {
            name: "exclude_self",
            kind: OptionKind::Flag { default: false },
            about: "Leave out the match with the row's own id, for a table joined with itself.",
        },
    ],
    carries: true,
    takes_index: false,
    plan,
};

/// What the names of the corpus's columns begin with.
const MATCH: &str = "match_";

#[derive(Debug)]
struct Join {
    top_k: usize,
    min_score: f32,
    excludes_self: bool,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let top_k = planning.options.count("top_k").unwrap_or(1);
    let threshold = planning.options.number("threshold").unwrap_or(-1.0);
    let excludes_self = planning.options.flag("exclude_self");
    Ok(Arc::new(Join { top_k, min_score: neighbours::check_threshold(threshold)?, excludes_self }))
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
        let carried = corpus.carried.iter();
        fields.extend(
            carried
                .map(|field| field.as_ref().clone().with_name(format!("{MATCH}{}", field.name()))),
        );
        fields
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(rows), Some(corpus)] = tables else { return Ok(()) };
        let own = if self.excludes_self { own_rows(rows, corpus)? } else { Vec::new() };
        // One more, in the place of the row itself.
        let asked = self.top_k.saturating_add(usize::from(self.excludes_self));
        for (start, some) in hits::chunks(rows, ROWS_TOGETHER) {
            host::check(host)?;
            let _loan = Loan::new(host, Neighbours::bytes(some.len(), asked))?;
            let vectors = rows.vectors().select(&some);
            let found = neighbours::top_k(&vectors, corpus.vectors(), asked, self.min_score, host)?;
            let matches: Vec<Hit> = (0..found.rows())
                .flat_map(|place| {
                    let row = start + place as u32;
                    let own = own.get(row as usize).copied().flatten();
                    let others = found.of(place).iter().filter(|hit| Some(hit.row) != own);
                    let nearest = others.take(self.top_k).map(|hit| (hit.row, hit.score));
                    hits::ranked(row, nearest.collect::<Vec<_>>())
                })
                .collect();
            give(rows, corpus, &matches, emit)?;
        }
        Ok(())
    }
}

/// Of each row, the row of the corpus that has its id.
fn own_rows(rows: &Table, corpus: &Table) -> Result<Vec<Option<u32>>, SqlError> {
    let ids = |table: &Table| table.ids(0..table.rows() as u32);
    let (own, others) = (ids(rows)?, ids(corpus)?);
    if own.data_type() != others.data_type() {
        return Ok(vec![None; rows.rows()]);
    }
    // Ids differ within a table, so the number of an id is the number of its row.
    let mut keys = Keys::default();
    keys.of(&others)?;
    keys.find(&own)
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
    for carried in &corpus.carried {
        columns.push(corpus.gather(carried, matches.iter().map(|hit| hit.row))?);
    }
    emit(Found { columns, rows: matches.iter().map(|hit| hit.query).collect() })
}
