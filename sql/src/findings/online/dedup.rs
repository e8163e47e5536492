//! `online_dedup(windows)`: which rows say what was said before, in their window or in an earlier
//! one within a horizon.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, StringArray};
use arrow::datatypes::{DataType, Field};
use sembla_operators::Host;
use sembla_operators::dedup::{Side, Verdict};
use sembla_operators::online::{DedupOptions, DedupRows, Key, OnlineDedup, Window, WindowVerdicts};

use super::ids::IdBytes;
use super::options::{HORIZON, PRECISION, rows_max};
use super::{ids as online_ids, options as online_options};
use crate::SqlError;
use crate::findings::pairs::dedup::reason;
use crate::relations::declaration::{Declaration, InputDef, Need, Planning, WINDOWS};
use crate::relations::finding::{Emit, Finding, Found};
use crate::relations::online::{Online, OnlineState, Windowed};
use crate::relations::options::{OptionDef, cosine};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "online_dedup",
    about: "Which rows repeat an earlier one, in their window or in one before: \
            window_start, window_end, id, representative_id (the kept row of its cluster: itself, if it is kept), is_kept, score (cosine \
            with the representative), reason ('exact' or 'near'; NULL if it is kept), and the other columns. A row without text or \
            vector is kept.",
    example: "SELECT * FROM online_dedup((SELECT * FROM tumble(messages, ts, INTERVAL '1 minute')), horizon => INTERVAL '1 day') WHERE is_kept",
    inputs: &[InputDef { texts: Need::IfThere, ..WINDOWS }],
    options: &[
        OptionDef {
            name: "threshold",
            kind: cosine(Some(0.9)),
            about: "Similarity from which two rows are duplicates.",
        },
        HORIZON,
        rows_max(1_000_000),
        PRECISION,
    ],
    carries: true,
    takes_index: false,
    plan,
};

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let threshold = planning.options.number("threshold");
    let options = DedupOptions {
        threshold: threshold.unwrap_or(DedupOptions::default().threshold),
        horizon: online_options::horizon(planning.options)?,
    };
    OnlineDedup::new(options)?;
    let ids = online_ids::named(planning.inputs.first().and_then(Option::as_ref))?;
    Ok(Arc::new(Windowed(Dedup { options, ids })))
}

#[derive(Debug)]
struct Dedup {
    options: DedupOptions,
    ids: Arc<IdBytes>,
}

impl Online for Dedup {
    fn columns(&self, input: &InputTypes) -> Vec<Field> {
        vec![
            input.id_field("id"),
            input.id_field("representative_id"),
            column("is_kept", DataType::Boolean),
            Field::new("score", DataType::Float32, true),
            Field::new("reason", DataType::Utf8, true),
        ]
    }

    fn begin(&self) -> Result<Box<dyn OnlineState>, SqlError> {
        let dedup = OnlineDedup::new(self.options)?;
        Ok(Box::new(State { dedup, ids: Arc::clone(&self.ids) }))
    }

    fn restore(&self, bytes: &[u8]) -> Result<Box<dyn OnlineState>, SqlError> {
        let dedup = OnlineDedup::from_bytes(self.options, self.ids.without_type(bytes)?)?;
        Ok(Box::new(State { dedup, ids: Arc::clone(&self.ids) }))
    }
}

struct State {
    dedup: OnlineDedup,
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
        let keys: Vec<Option<Key>> =
            (0..table.rows()).map(|row| table.text(row).map(key)).collect();
        let ids = self.ids.of(table)?;
        let tags: Vec<&[u8]> = ids.iter().map(|id| id.data()).collect();
        let rows = DedupRows { vectors: table.vectors(), keys: &keys, tags: &tags };
        let found = self.dedup.step(window, &rows, host)?;
        let columns = self.columns(table, &found)?;
        emit(Found { columns, rows: (0..table.rows() as u32).collect() })
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.ids.with_type(&self.dedup.to_bytes())
    }

    fn fork(&self) -> Box<dyn OnlineState> {
        Box::new(Self { dedup: self.dedup.clone(), ids: Arc::clone(&self.ids) })
    }
}

impl State {
    fn columns(&self, table: &Table, found: &WindowVerdicts) -> Result<Vec<ArrayRef>, SqlError> {
        let verdicts = &found.verdicts;
        let here = table.ids(0..table.rows() as u32)?;
        let place = |verdict: &Verdict| {
            (usize::from(verdict.side == Side::Earlier), verdict.representative as usize)
        };
        let places: Vec<(usize, usize)> = verdicts.iter().map(place).collect();
        let earlier = found.earlier.iter().map(AsRef::as_ref);
        let representatives = self.ids.of_both(&here, earlier, &places)?;
        let kept = verdicts.iter().map(|verdict| Some(verdict.is_kept()));
        Ok(vec![
            here,
            representatives,
            Arc::new(kept.collect::<BooleanArray>()),
            Arc::new(verdicts.iter().map(|verdict| verdict.score).collect::<Float32Array>()),
            Arc::new(verdicts.iter().map(reason).collect::<StringArray>()),
        ])
    }
}

/// What equal texts have in common, and no others.
fn key(text: &str) -> Key {
    let mut key = Key::default();
    key.iter_mut().zip(blake3::hash(text.as_bytes()).as_bytes()).for_each(|(to, from)| *to = *from);
    key
}
