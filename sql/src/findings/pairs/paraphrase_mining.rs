//! `paraphrase_mining(input [, other])`: the most similar pairs of rows, within one input or
//! between two.

use std::sync::Arc;

use arrow::datatypes::Field;
use sembla_operators::approximate::{self, ApproximateOptions, SEARCH_EXPANSION};
use sembla_operators::{Host, Loan, Neighbours, Pair, UnitVectors, mining, neighbours};

use super::columns as pairs;
use crate::SqlError;
use crate::relations::declaration::{Declaration, InputDef, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost};
use crate::relations::options::{OptionDef, OptionKind, cosine};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "paraphrase_mining",
    about: "Pairs of rows that mean the same: score (cosine), id_a, id_b, best first. For each row the top_k nearest \
            rows are considered, and the max_pairs best of all pairs are returned. With all_pairs, every pair with at least the threshold, \
            in no order.",
    example: "SELECT * FROM paraphrase_mining('questions.parquet', threshold => 0.8)",
    inputs: &[
        VECTORS,
        InputDef {
            name: "other",
            about: "A table, file or query; pairs are then between the two inputs.",
            required: false,
            ..VECTORS
        },
    ],
    options: &[
        OptionDef {
            name: "top_k",
            kind: OptionKind::Count { least: 1, default: Some(100) },
            about: "Nearest rows to consider for each row.",
        },
        OptionDef {
            name: "max_pairs",
            kind: OptionKind::Count { least: 0, default: Some(500_000) },
            about: "Pairs to return at most, the best ones.",
        },
        OptionDef {
            name: "threshold",
            kind: cosine(None),
            about: "Leave out pairs with a lower score.",
        },
        OptionDef {
            name: "all_pairs",
            kind: OptionKind::Flag { default: false },
            about: "Return every pair at or above the threshold, in no order; needs a threshold.",
        },
        OptionDef {
            name: "approximate",
            kind: OptionKind::Flag { default: false },
            about: "Find nearest rows with an approximate index: some pairs are missed, and a million rows take minutes instead of hours.",
        },
    ],
    carries: false,
    takes_index: false,
    plan,
};

#[derive(Debug)]
struct Paraphrases {
    options: mining::MiningOptions,
    /// The threshold of all pairs, if those are wanted.
    every_pair: Option<f64>,
    approximate: bool,
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
    let approximate = options.flag("approximate");
    if approximate && (every_pair.is_some() || matches!(planning.inputs, [_, Some(_)])) {
        return Err(SqlError::Statement(
            "approximate needs one input and can't be combined with all_pairs; leave it out".into(),
        ));
    }
    let defaults = mining::MiningOptions::default();
    let options = mining::MiningOptions {
        top_k: options.count("top_k").unwrap_or(defaults.top_k),
        max_pairs: options.count("max_pairs").unwrap_or(defaults.max_pairs),
        threshold,
    };
    Ok(Arc::new(Paraphrases { options, every_pair, approximate }))
}

impl Finding for Paraphrases {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        pairs::columns(inputs)
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(a), other] = tables else { return Ok(()) };
        match (other, self.every_pair) {
            (None, None) if self.approximate => {
                let found = self.approximately(a.vectors(), host)?;
                pairs::emit_pairs(a, a, &found, emit)
            }
            (None, None) => {
                let found = mining::mine(a.vectors(), &self.options, host)?;
                pairs::emit_pairs(a, a, &found, emit)
            }
            (Some(b), None) => {
                let found = mining::mine_between(a.vectors(), b.vectors(), &self.options, host)?;
                pairs::emit_pairs(a, b, &found, emit)
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

impl Paraphrases {
    /// The best pairs by an approximate index that is built for them.
    fn approximately(&self, vectors: &UnitVectors, host: &dyn Host) -> Result<Vec<Pair>, SqlError> {
        let min_score = neighbours::check_threshold(self.options.threshold.unwrap_or(-1.0))?;
        let (top_k, index) = (self.options.top_k, ApproximateOptions::default());
        let expansion = SEARCH_EXPANSION.max(top_k);
        let found = approximate::top_k_within(vectors, top_k, min_score, &index, expansion, host)?;
        let _loan = Loan::new(host, Neighbours::bytes(found.rows(), top_k))?;
        Ok(mining::mine_neighbours(&found, &self.options, host)?)
    }
}
