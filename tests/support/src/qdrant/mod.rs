//! A stand-in for a Qdrant server: the calls of its REST interface that a sink makes, checked
//! against the published description of the interface, and points in memory.
//!
//! - *Invariant:* a call that the description does not have (its method, path, query, or a field of
//!   its body) is answered with an error and fails the test, however the caller takes it.
//! - It can be told to fail, to hang up before or after it has done what was asked, and to be slow.
//! - *Absent:* search, and everything else that a sink does not call.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

mod body;
mod calls;
mod http;

use http::{Request, Response};

/// A point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its vector.
    pub vector: Vec<f64>,
    /// The name of its vector, if it has one.
    pub vector_name: Option<String>,
    /// Its payload.
    pub payload: Map<String, Value>,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It is answered with that status and that text, and nothing is done.
    Status(u16, String),
    /// The connection ends before anything is done.
    HangUp,
    /// It is done, and the connection ends before the answer.
    HangUpAfter,
    /// It is done after that time.
    Slow(Duration),
}

/// Faults of calls whose path ends in a text.
struct Trouble {
    method: &'static str,
    path_end: String,
    /// Calls that go well before.
    after: usize,
    times: usize,
    fault: Fault,
}

/// A collection.
#[derive(Default)]
pub(crate) struct Stored {
    /// What it was created with.
    config: Value,
    /// By id, which is a number or a text in JSON.
    points: BTreeMap<String, Point>,
    /// The fields of payloads that are indexed, and how.
    indexes: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    collections: BTreeMap<String, Stored>,
    key: Option<String>,
    /// Points whose payload has this text are refused.
    refused: Option<String>,
    troubles: Vec<Trouble>,
    calls: Vec<String>,
    violations: Vec<String>,
}

/// A server on a free port of loopback. It ends with the process.
pub struct Qdrant {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Qdrant {
    /// Starts a server that asks for no key.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { port, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks for a key from now on.
    pub fn ask_for_key(&self, key: &str) {
        self.state().key = Some(key.into());
    }

    /// Refuses points whose payload has a text from now on.
    pub fn refuse(&self, text: &str) {
        self.state().refused = Some(text.into());
    }

    /// Lets some calls of that method whose path ends so go well, and then so many go wrong.
    pub fn trouble(
        &self,
        method: &'static str,
        path_end: &str,
        after: usize,
        times: usize,
        fault: Fault,
    ) {
        let path_end = path_end.to_string();
        self.state().troubles.push(Trouble { method, path_end, after, times, fault });
    }

    /// Faults that have not happened yet.
    pub fn troubles_left(&self) -> usize {
        self.state().troubles.iter().map(|trouble| trouble.times).sum()
    }

    /// Makes a collection as somebody else would.
    pub fn create(&self, name: &str, config: Value) {
        let stored = Stored { config, ..Stored::default() };
        self.state().collections.insert(name.into(), stored);
    }

    /// Drops a collection.
    pub fn delete(&self, name: &str) {
        self.state().collections.remove(name);
    }

    /// What a collection was created with; `None` where there is none of that name.
    pub fn config(&self, name: &str) -> Option<Value> {
        self.state().collections.get(name).map(|stored| stored.config.clone())
    }

    /// The indexes of a collection over fields of its payloads.
    pub fn indexes(&self, name: &str) -> BTreeMap<String, String> {
        self.state().collections.get(name).map(|stored| stored.indexes.clone()).unwrap_or_default()
    }

    /// The points of a collection by their ids in JSON; none where there is no such collection.
    pub fn points(&self, name: &str) -> BTreeMap<String, Point> {
        self.state().collections.get(name).map(|stored| stored.points.clone()).unwrap_or_default()
    }

    /// All calls so far, as `PUT /collections/docs/points?wait=true`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Calls that the description of the interface does not have.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }
}

impl Drop for Qdrant {
    fn drop(&mut self) {
        let violations = self.violations();
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "calls that Qdrant does not have: {violations:#?}");
        }
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the calls of a connection until it ends.
fn serve(stream: TcpStream, state: &Mutex<State>) {
    let Ok(reading) = stream.try_clone() else { return };
    let (mut reader, mut writer) = (BufReader::new(reading), stream);
    while let Some(request) = Request::read(&mut reader) {
        let fault = locked(state).fault_of(&request);
        match &fault {
            Some(Fault::HangUp) => return,
            Some(Fault::Slow(time)) => std::thread::sleep(*time),
            _ => {}
        }
        let response = match &fault {
            Some(Fault::Status(status, text)) => Response::error(*status, text),
            _ => locked(state).answer(&request),
        };
        if fault == Some(Fault::HangUpAfter) || response.write(&mut writer).is_err() {
            return;
        }
    }
}

impl State {
    fn fault_of(&mut self, request: &Request) -> Option<Fault> {
        let fits = |trouble: &&mut Trouble| {
            trouble.method == request.method
                && request.path.ends_with(&trouble.path_end)
                && trouble.times > 0
        };
        let trouble = self.troubles.iter_mut().find(fits)?;
        if trouble.after > 0 {
            trouble.after -= 1;
            return None;
        }
        trouble.times -= 1;
        Some(trouble.fault.clone())
    }

    fn answer(&mut self, request: &Request) -> Response {
        self.calls.push(request.line.clone());
        if let Some(key) = &self.key
            && request.key.as_ref() != Some(key)
        {
            let given = request.key.as_deref().unwrap_or("none");
            return Response::error(401, &format!("Invalid API key or JWT: {given}"));
        }
        calls::answer(self, request)
    }
}
