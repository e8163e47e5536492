//! `online_paraphrases(windows)`: pairs of a row of the window and another one, of the window or of
//! an earlier one within a horizon.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::Host;
use sembla_operators::online::{OnlineParaphrases, ParaphraseOptions, Place, Window, WindowPairs};

use super::ids::IdBytes;
use super::options::{HORIZON, PRECISION, rows_max};
use super::{ids as online_ids, options as online_options};
use crate::SqlError;
use crate::relations::declaration::{Declaration, Planning, WINDOWS};
use crate::relations::finding::{Emit, Finding, Found};
use crate::relations::online::{Online, OnlineState, Windowed};
use crate::relations::options::{OptionDef, OptionKind, cosine};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "online_paraphrases",
    about: "Pairs of rows that mean the same, one of them in the window and the other in it or in an earlier one: window_start, \
            window_end, score (cosine), id_a (the row that was there first), id_b, the best of each window first. Each row looks at \
            its top_k most similar ones.",
    example: "SELECT * FROM online_paraphrases((SELECT * FROM tumble(messages, ts, INTERVAL '1 minute')), horizon => INTERVAL '1 hour')",
    inputs: &[WINDOWS],
    options: &[
        OptionDef {
            name: "threshold",
            kind: cosine(Some(0.8)),
            about: "Leave out pairs with a lower score.",
        },
        OptionDef {
            name: "top_k",
            kind: OptionKind::Count { least: 1, default: Some(10) },
            about: "Nearest rows to consider for each row of a window.",
        },
        OptionDef {
            name: "max_pairs",
            kind: OptionKind::Count { least: 0, default: Some(500_000) },
            about: "Pairs to return per window at most.",
        },
        HORIZON,
        rows_max(100_000),
        PRECISION,
    ],
    carries: false,
    takes_index: false,
    plan,
};

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let given = planning.options;
    let defaults = ParaphraseOptions::default();
    let options = ParaphraseOptions {
        threshold: given.number("threshold").unwrap_or(defaults.threshold),
        top_k: given.count("top_k").unwrap_or(defaults.top_k),
        max_pairs: given.count("max_pairs").unwrap_or(defaults.max_pairs),
        horizon: online_options::horizon(given)?,
    };
    OnlineParaphrases::new(options)?;
    let ids = online_ids::named(planning.inputs.first().and_then(Option::as_ref))?;
    Ok(Arc::new(Windowed(Paraphrases { options, ids })))
}

#[derive(Debug)]
struct Paraphrases {
    options: ParaphraseOptions,
    ids: Arc<IdBytes>,
}

impl Online for Paraphrases {
    fn columns(&self, input: &InputTypes) -> Vec<Field> {
        vec![column("score", DataType::Float32), input.id_field("id_a"), input.id_field("id_b")]
    }

    fn begin(&self) -> Result<Box<dyn OnlineState>, SqlError> {
        let paraphrases = OnlineParaphrases::new(self.options)?;
        Ok(Box::new(State { paraphrases, ids: Arc::clone(&self.ids) }))
    }

    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn OnlineState>, SqlError> {
        let bytes = self.ids.without_type(bytes)?;
        let paraphrases = OnlineParaphrases::from_bytes(self.options, bytes)?;
        Ok(Box::new(State { paraphrases, ids: Arc::clone(&self.ids) }))
    }
}

struct State {
    paraphrases: OnlineParaphrases,
    ids: Arc<IdBytes>,
}

impl OnlineState for State {
    fn step(
        &mut self,
        window: Window,
        table: &Table,
        host: &dyn Host,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let ids = self.ids.of(table)?;
        let tags: Vec<&[u8]> = ids.iter().map(|id| id.data()).collect();
        let found = self.paraphrases.step(window, table.vectors(), &tags, host)?;
        emit(Found { columns: self.columns(table, &found)?, rows: Vec::new() })
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.ids.with_type(&self.paraphrases.to_bytes())
    }

    fn fork(&self) -> Box<dyn OnlineState> {
        Box::new(Self { paraphrases: self.paraphrases.clone(), ids: Arc::clone(&self.ids) })
    }
}

impl State {
    fn columns(&self, table: &Table, found: &WindowPairs) -> Result<Vec<ArrayRef>, SqlError> {
        let pairs = &found.pairs;
        let here = table.ids(0..table.rows() as u32)?;
        let places = pairs.iter().map(|pair| match pair.a {
            Place::Here(row) => (0, row as usize),
            Place::Earlier(place) => (1, place as usize),
        });
        let earlier = found.earlier.iter().map(AsRef::as_ref);
        let first = self.ids.of_both(&here, earlier, &places.collect::<Vec<_>>())?;
        Ok(vec![
            Arc::new(Float32Array::from_iter_values(pairs.iter().map(|pair| pair.score))),
            first,
            table.ids(pairs.iter().map(|pair| pair.b))?,
        ])
    }
}
