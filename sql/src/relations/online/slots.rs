//! Where the states of online findings lie between the windows of a stream.
//!
//! A window of a stream is one run of a plan. The session's configuration carries [`OnlineSlots`];
//! a finding takes its state from there when it runs and puts it back. Without slots, as over a
//! static table, a finding begins with nothing and forgets at the end.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::{Online, OnlineState};
use crate::SqlError;
use crate::relations::exec::FindingExec;

/// The states of a pipeline's online findings between windows, by the finding and its words.
///
/// Set it with `SessionConfig::with_extension`. Windows are run one after another, in the order of
/// their ends; [`OnlineSlots::snapshot`] between two of them is a checkpoint.
#[derive(Default)]
pub struct OnlineSlots {
    states: Mutex<BTreeMap<String, State>>,
    /// Tells of each state that comes back.
    back: Condvar,
    is_early: AtomicBool,
    steps: AtomicU64,
}

/// A state.
enum State {
    /// As bytes, which nobody has read yet.
    Bytes(Vec<u8>),
    Here(Box<dyn OnlineState>),
    /// A finding works on it.
    Away,
}

impl OnlineSlots {
    /// No states.
    pub fn new() -> Self {
        Self::default()
    }

    /// All states by name. Waits for findings that work on theirs.
    pub fn snapshot(&self) -> Vec<(String, Vec<u8>)> {
        let mut states = self.states();
        while states.values().any(|state| matches!(state, State::Away)) {
            states = self.back.wait(states).unwrap_or_else(PoisonError::into_inner);
        }
        let bytes = |state: &State| match state {
            State::Bytes(bytes) => bytes.clone(),
            State::Here(state) => state.to_bytes(),
            State::Away => Vec::new(),
        };
        states.iter().map(|(name, state)| (name.clone(), bytes(state))).collect()
    }

    /// Replaces all states by those of a snapshot. Each is read when its finding runs next, which
    /// is rejected if it is damaged.
    pub fn restore(&self, snapshot: &[(String, Vec<u8>)]) {
        let states =
            snapshot.iter().map(|(name, bytes)| (name.clone(), State::Bytes(bytes.clone())));
        *self.states() = states.collect();
    }

    /// Whether the windows that follow are early, or come again late: they are known by what is
    /// known, and leave the states alone.
    pub fn set_early(&self, is_early: bool) {
        self.is_early.store(is_early, Ordering::Relaxed);
    }

    /// How often a state has taken a window in. Waits for findings that work on theirs. While it
    /// stays the same, a window that failed has changed nothing and may be run again.
    pub(crate) fn steps(&self) -> u64 {
        let mut states = self.states();
        while states.values().any(|state| matches!(state, State::Away)) {
            states = self.back.wait(states).unwrap_or_else(PoisonError::into_inner);
        }
        self.steps.load(Ordering::Relaxed)
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of that name, to work on; for an early window a copy of it.
    fn take(
        &self,
        name: &str,
        online: &dyn Online,
        is_early: bool,
    ) -> Result<Box<dyn OnlineState>, SqlError> {
        let mut states = self.states();
        while matches!(states.get(name), Some(State::Away)) {
            states = self.back.wait(states).unwrap_or_else(PoisonError::into_inner);
        }
        if is_early {
            return match states.get(name) {
                Some(State::Bytes(bytes)) => online.restore(bytes),
                Some(State::Here(state)) => Ok(state.fork()),
                Some(State::Away) | None => online.begin(),
            };
        }
        let state = match states.remove(name) {
            Some(State::Here(state)) => state,
            Some(State::Bytes(bytes)) => match online.restore(&bytes) {
                Ok(state) => state,
                Err(error) => {
                    states.insert(name.to_string(), State::Bytes(bytes));
                    return Err(error);
                }
            },
            Some(State::Away) | None => online.begin()?,
        };
        states.insert(name.to_string(), State::Away);
        Ok(state)
    }

    fn put_back(&self, name: &str, state: Box<dyn OnlineState>) {
        self.states().insert(name.to_string(), State::Here(state));
        self.back.notify_all();
    }
}

impl fmt::Debug for OnlineSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.states().keys()).finish()
    }
}

/// Where one finding of a plan has its state.
pub(crate) struct Slot {
    pub(crate) slots: Option<Arc<OnlineSlots>>,
    pub(crate) name: String,
}

impl Slot {
    /// The state, which goes back when it is dropped.
    ///
    /// # Errors
    /// A state that can't be read.
    pub(crate) fn take(&self, online: &dyn Online) -> Result<Taken<'_>, SqlError> {
        let Some(slots) = &self.slots else {
            return Ok(Taken { state: Some(online.begin()?), back: None });
        };
        let is_early = slots.is_early.load(Ordering::Relaxed);
        let state = Some(slots.take(&self.name, online, is_early)?);
        Ok(Taken { state, back: (!is_early).then_some((slots.as_ref(), self.name.as_str())) })
    }
}

/// A state that a finding works on.
pub(crate) struct Taken<'a> {
    state: Option<Box<dyn OnlineState>>,
    /// Where it belongs.
    back: Option<(&'a OnlineSlots, &'a str)>,
}

impl Taken<'_> {
    /// The state.
    ///
    /// # Errors
    /// Never; a state is there until it is dropped.
    pub(crate) fn state(&mut self) -> Result<&mut dyn OnlineState, SqlError> {
        match &mut self.state {
            Some(state) => Ok(state.as_mut()),
            None => Err(SqlError::Bug("a state is gone".into())),
        }
    }
}

impl Taken<'_> {
    /// The state has taken a window in.
    pub(crate) fn stepped(&self) {
        if let Some((slots, _)) = self.back {
            slots.steps.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let (Some(state), Some((slots, name))) = (self.state.take(), self.back) {
            slots.put_back(name, state);
        }
    }
}

/// Gives each online finding of a plan a state of its own, even if another has the same words: a
/// query that is read twice takes each window in twice, once into each.
#[derive(Debug)]
pub(crate) struct SlotForEach;

impl PhysicalOptimizerRule for SlotForEach {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let numbered = plan.transform_down(|node| {
            let finding = node.downcast_ref::<FindingExec>();
            let Some((finding, slot)) = finding.and_then(|f| Some((f, f.slot()?))) else {
                return Ok(Transformed::no(node));
            };
            let count = seen.entry(slot.to_string()).or_default();
            *count += 1;
            if *count == 1 {
                return Ok(Transformed::no(node));
            }
            let finding = finding.with_slot(format!("{slot} ({count})"));
            Ok(Transformed::yes(Arc::new(finding) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(numbered.data)
    }

    fn name(&self) -> &str {
        "slot_for_each_online_finding"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
