//! `dedup(input [, against])`: which rows say the same, and which one of them is kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, StringArray};
use arrow::compute::{SortOptions, cast, interleave, rank};
use arrow::datatypes::{DataType, Field, Float32Type};
use sembla_operators::dedup::{
    self, Confirmation, Distinct, Input, Keep, Mode, Near, Reason, Side, Verdict,
};
use sembla_operators::{Host, Loan, OperatorError, Pair, UnitVectors};

use crate::SqlError;
use crate::columns::keys::Keys;
use crate::error::arrow_error;
use crate::findings::search::reranker::{RERANKER, Reranker};
use crate::relations::declaration::{Declaration, InputDef, Need, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost, Found};
use crate::relations::options::{OptionDef, OptionKind, cosine};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

/// Pairs that a cross-encoder is asked about at a time.
const CONFIRMED_TOGETHER: usize = 4096;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "dedup",
    about: "Which rows are duplicates, and which one of each cluster is kept: id, cluster_id (the id of the first row of \
            its cluster), representative_id (the kept row of its cluster: itself, if it is kept), is_kept, score (cosine with the \
            representative), reason ('exact' or 'near'; NULL if it is kept), and the other columns. A row without text or vector \
            is kept.",
    example: "SELECT * FROM dedup('questions.parquet', threshold => 0.9) WHERE is_kept",
    inputs: &[
        InputDef { texts: Need::IfThere, vectors: Need::MustUnless("pairs"), ..VECTORS },
        InputDef {
            name: "against",
            about: "An earlier corpus: rows that it already contains are dropped.",
            required: false,
            texts: Need::IfThere,
            vectors: Need::MustUnless("pairs"),
            ..VECTORS
        },
        InputDef {
            name: "pairs",
            about: "Saved pairs (score, id_a, id_b) at this threshold or a lower one; nothing is embedded or compared then.",
            required: false,
            vectors: Need::No,
            columns: &["id_a", "id_b", "score"],
            ..VECTORS
        },
    ],
    options: &[
        OptionDef {
            name: "threshold",
            kind: cosine(Some(0.9)),
            about: "Similarity from which two rows are duplicates.",
        },
        OptionDef {
            name: "mode",
            kind: OptionKind::Choice { of: &["star", "closure"], default: Some("star") },
            about: "'star': each dropped row is within the threshold of a kept one. 'closure': duplicates of duplicates are one cluster.",
        },
        OptionDef {
            name: "keep",
            kind: OptionKind::Choice { of: &["first", "longest", "centroid"], default: None },
            about: "Which row of a cluster is kept: the first (the default), the one with the longest text, or the one nearest to the centre.",
        },
        OptionDef {
            name: "keep_by",
            kind: OptionKind::Column,
            about: "Instead of keep: a column or an expression; the row with the greatest value is kept.",
        },
        RERANKER,
        OptionDef {
            name: "confirm_margin",
            kind: OptionKind::Number {
                least: 0.0,
                most: 2.0,
                what: "a difference of cosines between 0 and 2",
                default: None,
            },
            about: "With a reranker: it decides pairs within this distance of the threshold; 0.05 by default.",
        },
        OptionDef {
            name: "confirm_score",
            kind: OptionKind::Number {
                least: f64::MIN,
                most: f64::MAX,
                what: "a number",
                default: None,
            },
            about: "With a reranker: score from which two texts are duplicates; 0.5 by default.",
        },
    ],
    carries: true,
    takes_index: false,
    plan,
};

/// Which row is kept.
#[derive(Clone, Copy, Debug)]
enum Preference {
    First,
    Longest,
    Centroid,
    Greatest,
}

#[derive(Debug)]
struct Dedup {
    threshold: f64,
    mode: Mode,
    preference: Preference,
    confirm: Option<Confirm>,
}

/// A cross-encoder, and when it is asked.
#[derive(Debug)]
struct Confirm {
    reranker: Reranker,
    margin: f64,
    score: f64,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let options = planning.options;
    let wrong = |message: &str| Err(SqlError::Statement(message.into()));
    let [Some(input), against, pairs] = planning.inputs else {
        return Err(SqlError::Bug("dedup has three inputs".into()));
    };
    if let Some(pairs) = pairs {
        check_pairs(pairs, against.is_some())?;
    }
    let keep_by = input.extra("keep_by").is_some();
    let preference = match (options.text("keep"), keep_by) {
        (Some(_), true) => return wrong("keep and keep_by can't be combined; leave one out"),
        (_, true) => Preference::Greatest,
        (Some("longest"), _) if input.roles.text.is_none() => {
            return wrong("keep => 'longest' needs texts; name their column with text => …");
        }
        (Some("longest"), _) => Preference::Longest,
        (Some("centroid"), _) => Preference::Centroid,
        _ => Preference::First,
    };
    if let Some(against) = against.as_ref().filter(|against| against.id() != input.id()) {
        return Err(SqlError::Statement(format!(
            "ids of the input are {}, but those of against are {}; cast one of them",
            input.id(),
            against.id()
        )));
    }
    let confirm = Reranker::given(planning)?;
    if confirm.is_none()
        && ["confirm_margin", "confirm_score"].iter().any(|name| options.get(name).is_some())
    {
        return wrong("confirm_margin and confirm_score need reranker => 'model'");
    }
    if pairs.is_some() && matches!(preference, Preference::Centroid) {
        return wrong("keep => 'centroid' needs vectors; pairs have no centre");
    }
    let with_texts =
        |types: &Option<InputTypes>| types.as_ref().is_none_or(|t| t.roles.text.is_some());
    if confirm.is_some() && !planning.inputs.iter().take(2).all(with_texts) {
        return wrong("a reranker needs texts; name their column with text => …");
    }
    Ok(Arc::new(Dedup {
        threshold: options.number("threshold").unwrap_or(0.9),
        mode: if options.text("mode") == Some("closure") { Mode::Closure } else { Mode::Star },
        preference,
        confirm: confirm.map(|reranker| Confirm {
            reranker,
            margin: options.number("confirm_margin").unwrap_or(0.05),
            score: options.number("confirm_score").unwrap_or(0.5),
        }),
    }))
}

fn check_pairs(pairs: &InputTypes, against: bool) -> Result<(), SqlError> {
    let missing = ["id_a", "id_b", "score"].into_iter().find(|name| pairs.extra(name).is_none());
    match missing {
        Some(name) => Err(SqlError::Statement(format!("pairs have no column '{name}'"))),
        None if against => Err(SqlError::Statement(
            "pairs and against can't be combined, as pairs are of rows of the input; leave one out"
                .into(),
        )),
        None => Ok(()),
    }
}

/// What makes rows equal: their text; a row without one equals no other.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Text(&'a str),
    Row(bool, u32),
}

fn keys(table: &Table, is_earlier: bool) -> impl Iterator<Item = Key<'_>> {
    (0..table.rows() as u32).map(move |row| match table.text(row as usize) {
        Some(text) => Key::Text(text),
        None => Key::Row(is_earlier, row),
    })
}

impl Finding for Dedup {
    fn columns(&self, inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let Some(Some(input)) = inputs.first() else { return Vec::new() };
        vec![
            input.id_field("id"),
            input.id_field("cluster_id"),
            input.id_field("representative_id"),
            column("is_kept", DataType::Boolean),
            Field::new("score", DataType::Float32, true),
            Field::new("reason", DataType::Utf8, true),
        ]
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(table), against, pairs] = tables else { return Ok(()) };
        let keep = self.keep(table)?;
        let distinct = Distinct::of(keys(table, false), &keep)?;
        let selected: UnitVectors;
        let vectors = if pairs.is_some() || distinct.standing().len() == table.rows() {
            table.vectors()
        } else {
            selected = table.vectors().select(distinct.standing());
            &selected
        };
        let equal_earlier = match against {
            Some(earlier) => dedup::equal_rows(keys(table, false), keys(earlier, true)),
            None => Vec::new(),
        };
        let saved = pairs.as_ref().map(|pairs| saved_pairs(table, pairs, host)).transpose()?;
        let near = match &saved {
            Some((pairs, _)) => Near::Pairs { within: pairs, earlier: &[] },
            None => Near::Vectors { rows: vectors, earlier: against.as_ref().map(Table::vectors) },
        };
        let input = Input { distinct: &distinct, near, equal_earlier: &equal_earlier };
        let judge = |side: Side, pairs: &[Pair]| {
            let earlier = against.as_ref().filter(|_| side == Side::Earlier).unwrap_or(table);
            self.judge(table, earlier, pairs, host)
        };
        let confirmation = self.confirm.as_ref().map(|confirm| Confirmation {
            margin: confirm.margin,
            batch: CONFIRMED_TOGETHER,
            judge: &judge,
        });
        let options =
            dedup::DedupOptions { threshold: self.threshold, mode: self.mode, keep, confirmation };
        let verdicts = dedup::dedup(&input, &options, host)?;
        emit(found(table, against.as_ref(), &verdicts)?)
    }
}

impl Dedup {
    fn keep(&self, table: &Table) -> Result<Keep, SqlError> {
        Ok(match self.preference {
            Preference::First => Keep::First,
            Preference::Centroid => Keep::Centroid,
            Preference::Longest => Keep::longest(table.texts()),
            Preference::Greatest => match table.extra("keep_by", 0..table.rows() as u32)? {
                Some(values) => {
                    let greatest_first = SortOptions { descending: true, nulls_first: false };
                    let ranks = rank(values.as_ref(), Some(greatest_first));
                    Keep::Ranked(ranks.map_err(|error| arrow_error(&error))?)
                }
                None => Keep::First,
            },
        })
    }

    /// Asks the cross-encoder about pairs of a row and another, here or in the earlier corpus.
    fn judge(
        &self,
        table: &Table,
        others: &Table,
        pairs: &[Pair],
        host: &dyn FindingHost,
    ) -> Result<Vec<bool>, OperatorError> {
        let Some(confirm) = &self.confirm else { return Ok(vec![true; pairs.len()]) };
        let text =
            |table: &Table, row: u32| table.text(row as usize).unwrap_or_default().to_owned();
        let texts: Vec<(String, String)> =
            pairs.iter().map(|pair| (text(table, pair.a), text(others, pair.b))).collect();
        let texts: Vec<(&str, &str)> =
            texts.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let scores = confirm.reranker.score(&texts, host).map_err(|error| match error {
            SqlError::Cancelled => OperatorError::Cancelled,
            error => OperatorError::Caller(error.to_string()),
        })?;
        Ok(scores.iter().map(|score| f64::from(*score) >= confirm.score).collect())
    }
}

/// Pairs that were saved, by row. Those of ids that the table does not have are left out.
fn saved_pairs<'h>(
    table: &Table,
    pairs: &Table,
    host: &'h dyn Host,
) -> Result<(Vec<Pair>, Loan<'h>), SqlError> {
    let loan = Loan::new(host, pairs.rows() * size_of::<Pair>())?;
    let ids = table.ids(0..table.rows() as u32)?;
    let as_id = |column: ArrayRef| cast(&column, ids.data_type()).map_err(|e| arrow_error(&e));
    let mut rows = Keys::default();
    // Ids differ, so each one's number is its row.
    rows.of(&ids)?;
    let a = rows.find(&as_id(pairs.whole("id_a")?)?)?;
    let b = rows.find(&as_id(pairs.whole("id_b")?)?)?;
    let scores =
        cast(&pairs.whole("score")?, &DataType::Float32).map_err(|error| arrow_error(&error))?;
    let scores = scores.as_primitive::<Float32Type>().iter();
    let pair = |((a, b), score): ((&Option<u32>, &Option<u32>), Option<f32>)| {
        Some(Pair { a: (*a)?, b: (*b)?, score: score? })
    };
    Ok((a.iter().zip(&b).zip(scores).filter_map(pair).collect(), loan))
}

/// The columns of the verdicts.
fn found(table: &Table, earlier: Option<&Table>, verdicts: &[Verdict]) -> Result<Found, SqlError> {
    let own: [ArrayRef; 5] = [
        table.ids(verdicts.iter().map(|verdict| verdict.cluster))?,
        representatives(table, earlier, verdicts)?,
        Arc::new(verdicts.iter().map(|verdict| Some(verdict.is_kept())).collect::<BooleanArray>()),
        Arc::new(verdicts.iter().map(|verdict| verdict.score).collect::<Float32Array>()),
        Arc::new(verdicts.iter().map(reason).collect::<StringArray>()),
    ];
    Found::all(table, own)
}

/// Why a row is dropped, in a word.
pub(crate) fn reason(verdict: &Verdict) -> Option<&'static str> {
    verdict.reason.map(|reason| match reason {
        Reason::Exact => "exact",
        Reason::Near => "near",
    })
}

/// The ids of the representatives, some of which are in the earlier corpus.
fn representatives(
    table: &Table,
    earlier: Option<&Table>,
    verdicts: &[Verdict],
) -> Result<ArrayRef, SqlError> {
    let of = |side: Side| {
        verdicts.iter().filter(move |verdict| verdict.side == side).map(|v| v.representative)
    };
    let here = table.ids(of(Side::Here))?;
    let Some(earlier) = earlier else { return Ok(here) };
    let there = earlier.ids(of(Side::Earlier))?;
    let mut next = [0, 0];
    let places: Vec<(usize, usize)> = verdicts
        .iter()
        .map(|verdict| {
            let side = usize::from(verdict.side == Side::Earlier);
            let place = next.get(side).copied().unwrap_or_default();
            next.iter_mut().skip(side).take(1).for_each(|next| *next += 1);
            (side, place)
        })
        .collect();
    let sides: [&dyn Array; 2] = [here.as_ref(), there.as_ref()];
    interleave(&sides, &places).map_err(|error| arrow_error(&error))
}
