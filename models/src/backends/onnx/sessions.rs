//! The sessions of one model: opened when they are needed, up to a limit, and lent to one worker at
//! a time.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use super::{cuda, plan, profile};
use crate::backends::OperatorTime;
use crate::error::one_line;
use crate::onnxruntime::{environment, one_session_at_a_time};
use crate::ops::{self, Shared};
use crate::{CancelToken, Device, ModelError, ModelSpec, Result};

/// How often a waiting worker looks at the cancel flag.
const PATIENCE: Duration = Duration::from_millis(100);

/// A graph and the operators that it names.
pub(crate) struct GraphSource {
    /// The ONNX model.
    pub(crate) bytes: Vec<u8>,
    /// The weights of Sembla's operators, for graphs that name them.
    pub(crate) shared: Option<Arc<Shared>>,
}

/// The sessions of one model.
pub(crate) struct Sessions {
    state: Mutex<State>,
    returned: Condvar,
    limit: usize,
    threads: usize,
    /// The numbers of the GPUs, or one `None` for the processor.
    places: Vec<Option<u32>>,
    /// Bound of a GPU's memory for each session, in MiB.
    device_memory_mib: Option<u64>,
    /// Where sessions write what their operators take, where that is asked for.
    profile: Option<PathBuf>,
    /// Name of the model, for messages.
    model: String,
}

struct State {
    /// Sessions that nobody has, with the place of each.
    idle: Vec<(usize, Session)>,
    /// Sessions that are lent, at each place.
    busy: Vec<usize>,
    opened: usize,
    /// Dropped when the last session is open.
    source: Option<Arc<GraphSource>>,
}

/// A session on loan; it goes back when this is dropped.
pub(crate) struct Lent<'a> {
    session: Option<Session>,
    place: usize,
    owner: &'a Sessions,
}

impl Sessions {
    /// Opens the first session.
    ///
    /// # Errors
    /// A device that does not exist, or a graph that ONNX Runtime rejects.
    pub(crate) fn open(
        source: GraphSource,
        spec: &ModelSpec,
        model: &str,
        profile: Option<&Path>,
    ) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let places: Vec<Option<u32>> = match spec.device {
            Device::Cpu => vec![None],
            Device::Cuda(gpus) => gpus.numbers().map(Some).collect(),
        };
        if spec.device != Device::Cpu {
            cuda::check(&spec.device.to_string())?;
        }
        let state =
            State { idle: Vec::new(), busy: vec![0; places.len()], opened: 0, source: None };
        let sessions = Self {
            state: Mutex::new(state),
            returned: Condvar::new(),
            limit: plan::sessions(spec, cores),
            threads: spec.threads,
            places,
            device_memory_mib: spec.device_memory_mib,
            profile: profile.map(Path::to_path_buf),
            model: model.to_string(),
        };
        // One for each GPU at once, so that a missing one is noticed before any text.
        let first = sessions.places.len().min(sessions.limit).max(1);
        for place in 0..first {
            let session = sessions.build(&source, place)?;
            let mut state = sessions.state();
            state.idle.push((place, session));
            state.opened += 1;
        }
        if sessions.limit > first {
            sessions.state().source = Some(Arc::new(source));
        }
        Ok(sessions)
    }

    /// How many can be lent at the same time.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Lends a session, opening one where the limit allows it, else waiting.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`] while waiting, or the failure to open.
    pub(crate) fn take(&self, cancel: &CancelToken) -> Result<Lent<'_>> {
        let mut state = self.state();
        loop {
            let places = state.idle.iter().map(|(place, _)| *place);
            if let Some(chosen) = plan::least_busy(places, &state.busy) {
                let (place, session) = state.idle.swap_remove(chosen);
                state.busy[place] += 1;
                return Ok(Lent { session: Some(session), place, owner: self });
            }
            if state.opened < self.limit
                && let Some(source) = state.source.clone()
            {
                let place = state.opened % self.places.len();
                state.opened += 1;
                state.busy[place] += 1;
                if state.opened == self.limit {
                    state.source = None;
                }
                drop(state);
                let session = self.build(&source, place).inspect_err(|_| {
                    let mut state = self.state();
                    state.opened -= 1;
                    state.busy[place] -= 1;
                    state.source = Some(source);
                })?;
                return Ok(Lent { session: Some(session), place, owner: self });
            }
            cancel.check()?;
            state = self
                .returned
                .wait_timeout(state, PATIENCE)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }

    /// What the operators of all sessions took, where that was asked for.
    pub(super) fn profile(&self) -> Result<Vec<OperatorTime>> {
        if self.profile.is_none() {
            return Ok(Vec::new());
        }
        let mut files = Vec::new();
        for (_, session) in &mut self.state().idle {
            let file = session.end_profiling().map_err(|error| ModelError::Inference {
                model: self.model.clone(),
                message: one_line(&error.to_string()),
            })?;
            files.push(PathBuf::from(file));
        }
        profile::read(&files)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session at a place.
    fn build(&self, source: &GraphSource, place: usize) -> Result<Session> {
        let fail = |message: &str| ModelError::Inference {
            model: self.model.clone(),
            message: one_line(message),
        };
        let environment = environment()?;
        let gpu = self.places.get(place).copied().flatten();
        let shared = source.shared.as_ref();
        let operators = shared.map(|shared| ops::domain(shared, &self.model)).transpose()?;
        let build = || -> ort::Result<Session> {
            let mut builder = Session::builder(environment)?
                .with_intra_threads(self.threads)?
                .with_inter_threads(1)?
                .with_memory_pattern(false)?
                .with_intra_op_spinning(false)?
                .with_optimization_level(GraphOptimizationLevel::Level1)?;
            if let Some(folder) = &self.profile {
                builder = builder.with_profiling(folder.join("session"))?;
            }
            if let Some(operators) = operators {
                builder = builder.with_operators(operators)?;
            }
            if let Some(number) = gpu {
                let provider = cuda::provider(number, self.device_memory_mib);
                builder = builder.with_execution_providers([provider])?;
            }
            let _one = one_session_at_a_time();
            builder.commit_from_memory(&source.bytes)
        };
        build().map_err(|error| match gpu {
            None => fail(&error.to_string()),
            Some(number) => cuda::explain(&format!("cuda:{number}"), &one_line(&error.to_string())),
        })
    }
}

impl Deref for Lent<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("a session is there until the loan ends")
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a session is there until the loan ends")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let mut state = self.owner.state();
            state.busy[self.place] -= 1;
            state.idle.push((self.place, session));
            drop(state);
            self.owner.returned.notify_one();
        }
    }
}
