//! `bitext_mining(source, target => …)`: sentences that are translations of each other, and
//! `match_one_to_one(input, other => …)`: rows of two lists that mean the same.

use std::sync::Arc;

use arrow::datatypes::Field;
use sembla_operators::bitext::{self, Margin};

use super::columns as pairs;
use crate::SqlError;
use crate::relations::declaration::{Declaration, InputDef, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost};
use crate::relations::options::{OptionDef, OptionKind};
use crate::relations::roles::InputTypes;
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "bitext_mining",
    about: "Translations: score (margin), id_a, id_b, best first; each row is in at most one pair. The margin compares a \
            pair's cosine with those of the k nearest rows of both its rows.",
    example: "SELECT * FROM bitext_mining('english.csv', target => 'german.csv', threshold => 1.2)",
    inputs: &[
        InputDef { name: "source", ..VECTORS },
        InputDef {
            name: "target",
            about: "A table, file or query in the other language.",
            ..VECTORS
        },
    ],
    options: &[
        OptionDef { kind: OptionKind::Choice { of: MARGINS, default: Some("ratio") }, ..MARGIN },
        OptionDef { kind: OptionKind::Count { least: 1, default: Some(4) }, ..K },
        OptionDef {
            about: "Leave out pairs with a lower score. By default 1 for 'ratio', 0 for the other margins.",
            ..THRESHOLD
        },
    ],
    carries: false,
    takes_index: false,
    plan,
};

/// The same with what suits lists of names, products or questions: the cosine is the score, and
/// two rows are a pair from 0.5 on.
pub(crate) static ONE_TO_ONE: Declaration = Declaration {
    name: "match_one_to_one",
    about: "Rows of two lists that mean the same: score (cosine), id_a, id_b, best first; each row is in at most one pair. Rows \
            without a partner above the threshold are left out.",
    example: "SELECT * FROM match_one_to_one('ours.csv', other => 'theirs.csv', threshold => 0.6)",
    inputs: &[
        VECTORS,
        InputDef { name: "other", about: "A table, file or query with the other list.", ..VECTORS },
    ],
    options: &[
        OptionDef { kind: OptionKind::Choice { of: MARGINS, default: Some("absolute") }, ..MARGIN },
        OptionDef { kind: OptionKind::Count { least: 1, default: Some(10) }, ..K },
        OptionDef {
            kind: OptionKind::Number {
                least: f64::MIN,
                most: f64::MAX,
                what: MARGIN_NUMBER,
                default: Some(0.5),
            },
            ..THRESHOLD
        },
    ],
    carries: false,
    takes_index: false,
    plan,
};

const MARGINS: &[&str] = &["ratio", "distance", "absolute"];

const MARGIN: OptionDef = OptionDef {
    name: "margin",
    kind: OptionKind::Choice { of: MARGINS, default: None },
    about: "'ratio' divides the cosine by the mean cosine of the neighbours, 'distance' subtracts that mean, 'absolute' is the cosine itself.",
};

const K: OptionDef = OptionDef {
    name: "k",
    kind: OptionKind::Count { least: 1, default: None },
    about: "Nearest rows to consider for each row.",
};

const MARGIN_NUMBER: &str = "a number, the least margin of a pair";

const THRESHOLD: OptionDef = OptionDef {
    name: "threshold",
    kind: OptionKind::Number {
        least: f64::MIN,
        most: f64::MAX,
        what: MARGIN_NUMBER,
        default: None,
    },
    about: "Leave out pairs with a lower score.",
};

#[derive(Debug)]
struct Translations {
    options: bitext::BitextOptions,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let options = planning.options;
    let defaults = bitext::BitextOptions::default();
    let margin = match options.text("margin") {
        Some("distance") => Margin::Distance,
        Some("absolute") => Margin::Absolute,
        _ => Margin::Ratio,
    };
    let options = bitext::BitextOptions {
        margin,
        k: options.count("k").unwrap_or(defaults.k),
        threshold: options.number("threshold"),
    };
    Ok(Arc::new(Translations { options }))
}

impl Finding for Translations {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        pairs::columns(inputs)
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(source), Some(target)] = tables else { return Ok(()) };
        let found = bitext::mine(source.vectors(), target.vectors(), &self.options, host)?;
        pairs::emit_pairs(source, target, &found, emit)
    }
}
