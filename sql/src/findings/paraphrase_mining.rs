//! `paraphrase_mining(input [, other])`: the most similar pairs of rows, within one input or between
//! two.

use std::sync::Arc;

use arrow::datatypes::Field;
use sembla_operators::{Host, mining};

use super::declaration::{Declaration, InputDef, Planning, VECTORS};
use super::finding::{Emit, Finding};
use super::options::{Kind, OptionDef, cosine};
use super::pairs;
use super::roles::InputTypes;
use super::table::Table;
use crate::SqlError;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "paraphrase_mining",
    about: "Pairs of rows that mean the same: score (cosine), id_a, id_b, best first. Of each row the top_k nearest are \
            looked at, and the max_pairs best of all pairs are given. With all_pairs, every pair with at least the threshold, \
            in no order.",
    example: "SELECT * FROM paraphrase_mining('questions.parquet', threshold => 0.8)",
    inputs: &[
        VECTORS,
        InputDef {
            name: "other",
            about: "A table, a file or a query; pairs are then between the two inputs.",
            required: false,
            ..VECTORS
        },
    ],
    options: &[
        OptionDef {
            name: "top_k",
            kind: Kind::Count { least: 1, default: Some(100) },
            about: "Nearest rows of each row that are looked at.",
        },
        OptionDef {
            name: "max_pairs",
            kind: Kind::Count { least: 0, default: Some(500_000) },
            about: "Most pairs that are given.",
        },
        OptionDef { name: "threshold", kind: cosine(None), about: "Least score of a pair." },
        OptionDef {
            name: "all_pairs",
            kind: Kind::Flag { default: false },
            about: "Every pair with at least the threshold, as it is found.",
        },
    ],
    carries: false,
    plan,
};

#[derive(Debug)]
struct Paraphrases {
    options: mining::Options,
    /// The threshold of all pairs, if those are wanted.
    every_pair: Option<f64>,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let options = planning.options;
    let threshold = options.number("threshold");
    let every_pair = match (options.flag("all_pairs"), threshold) {
        (true, None) => {
            return Err(SqlError::Statement("all_pairs needs a threshold => …".into()));
        }
        (true, threshold) => threshold,
        (false, _) => None,
    };
    let defaults = mining::Options::default();
    let options = mining::Options {
        top_k: options.count("top_k").unwrap_or(defaults.top_k),
        max_pairs: options.count("max_pairs").unwrap_or(defaults.max_pairs),
        threshold,
    };
    Ok(Arc::new(Paraphrases { options, every_pair }))
}

impl Finding for Paraphrases {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        pairs::columns(inputs)
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn Host,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(a), other] = tables else { return Ok(()) };
        match (other, self.every_pair) {
            (None, None) => {
                let found = mining::mine(a.vectors(), &self.options, host)?;
                pairs::give(a, a, &found, emit)
            }
            (Some(b), None) => {
                let found = mining::mine_between(a.vectors(), b.vectors(), &self.options, host)?;
                pairs::give(a, b, &found, emit)
            }
            (None, Some(threshold)) => pairs::stream(a, a, emit, |sink| {
                mining::every_pair(a.vectors(), threshold, host, sink)
            }),
            (Some(b), Some(threshold)) => pairs::stream(a, b, emit, |sink| {
                mining::every_pair_between(a.vectors(), b.vectors(), threshold, host, sink)
            }),
        }
    }
}
