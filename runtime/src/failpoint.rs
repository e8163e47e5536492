//! Places where a test can make the process die, fail or wait.
//!
//! `SEMBLA_FAIL_AT=name[:n][=abort|error|sleep(ms)]` does it at the n-th hit (the first unless
//! told, `abort` unless told). `SEMBLA_FAIL_LOG=path` appends each name to a file when it is first
//! hit, so that a test suite can check that every name of [`ALL`] was reached. Without these
//! variables a hit costs one atomic load.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::{Error, Result};

/// The names of all places.
pub const ALL: &[&str] = &[
    "state.put.before",
    "state.put.renamed",
    "state.put.done",
    "sink.write",
    "kafka.produce",
    "kafka.begin",
    "kafka.offsets",
    "kafka.commit.before",
    "kafka.commit.after",
    "kafka.rebalance",
    "files.data.put",
    "files.manifest.before",
    "files.manifest.after",
    "files.publish",
    "postgres.staged",
    "postgres.commit.before",
    "postgres.commit.after",
    "embed.part",
    "embed.joined",
    "embed.publish.before",
    "embed.publish.after",
    "collection.written",
    "collection.commit.before",
    "collection.commit.after",
    "pipeline.barrier",
    "pipeline.drain",
    "pipeline.window.close",
];

/// Says that the place `name` is reached.
///
/// # Errors
/// [`Error::Transient`] where the environment asks for it, [`Error::Option`] when what it asks for
/// can't be read, and [`Error::Bug`] for a name that isn't in [`ALL`] (while a variable is set).
pub fn hit(name: &str) -> Result<()> {
    static PLAN: OnceLock<Result<Option<Plan>>> = OnceLock::new();
    match PLAN.get_or_init(Plan::of_environment) {
        Ok(None) => Ok(()),
        Ok(Some(plan)) => plan.hit(name),
        Err(error) => Err(error.clone()),
    }
}

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Abort,
    Error,
    Sleep(Duration),
}

/// Which hit of which place does what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trigger {
    name: String,
    nth: u64,
    action: Action,
}

/// What the environment asks for.
#[derive(Debug, Default)]
struct Plan {
    trigger: Option<Trigger>,
    log: Option<PathBuf>,
    /// How often each place was hit.
    hits: Mutex<HashMap<String, u64>>,
}

impl Plan {
    fn of_environment() -> Result<Option<Self>> {
        let at = std::env::var("SEMBLA_FAIL_AT").ok().filter(|at| !at.is_empty());
        let log = std::env::var_os("SEMBLA_FAIL_LOG").filter(|path| !path.is_empty());
        if at.is_none() && log.is_none() {
            return Ok(None);
        }
        let trigger = at.as_deref().map(Trigger::parse).transpose()?;
        Ok(Some(Self { trigger, log: log.map(PathBuf::from), ..Self::default() }))
    }

    fn hit(&self, name: &str) -> Result<()> {
        if !ALL.contains(&name) {
            return Err(Error::Bug(format!("failpoint '{name}' is not in the list of all")));
        }
        let hits = {
            let mut hits = self.hits.lock().unwrap_or_else(PoisonError::into_inner);
            let count = hits.entry(name.to_string()).or_default();
            *count += 1;
            *count
        };
        if hits == 1 {
            self.note(name)?;
        }
        match &self.trigger {
            Some(trigger) if trigger.name == name && trigger.nth == hits => trigger.act(),
            _ => Ok(()),
        }
    }

    /// One write per line, so that several processes may share the file.
    fn note(&self, name: &str) -> Result<()> {
        let Some(path) = &self.log else { return Ok(()) };
        let mut options = std::fs::OpenOptions::new();
        let opened = options.create(true).append(true).open(path);
        opened.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes())).map_err(
            |error| Error::Option(format!("SEMBLA_FAIL_LOG is '{}': {error}", path.display())),
        )
    }
}

impl Trigger {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::Option(format!(
                "SEMBLA_FAIL_AT must be name[:n][=abort|error|sleep(ms)], got '{text}': {what}"
            ))
        };
        let (place, action) = text.split_once('=').unwrap_or((text, "abort"));
        let (name, nth) = place.split_once(':').unwrap_or((place, "1"));
        if !ALL.contains(&name) {
            return Err(wrong(&format!("'{name}' must be one of {}", ALL.join(", "))));
        }
        let nth = nth.parse().ok().filter(|nth| *nth > 0);
        let nth = nth.ok_or_else(|| wrong("n must be a number >= 1"))?;
        let milliseconds = action.strip_prefix("sleep(").and_then(|rest| rest.strip_suffix(')'));
        let action = match (action, milliseconds.map(str::parse)) {
            ("abort", _) => Action::Abort,
            ("error", _) => Action::Error,
            (_, Some(Ok(ms))) => Action::Sleep(Duration::from_millis(ms)),
            _ => return Err(wrong(&format!("'{action}' is not an action"))),
        };
        Ok(Self { name: name.to_string(), nth, action })
    }

    fn act(&self) -> Result<()> {
        match self.action {
            Action::Abort => std::process::abort(),
            Action::Error => Err(Error::Transient(format!("failpoint {}", self.name))),
            Action::Sleep(time) => {
                std::thread::sleep(time);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    fn plan(at: &str) -> Plan {
        Plan { trigger: Some(Trigger::parse(at).unwrap()), ..Plan::default() }
    }

    #[test]
    fn only_the_nth_hit_of_the_named_place_fails() {
        let plan = plan("sink.write:3=error");
        for hit in 1..=5 {
            plan.hit("pipeline.barrier").unwrap();
            assert_eq!(plan.hit("sink.write").is_err(), hit == 3, "hit {hit}");
        }
    }

    #[test]
    fn what_is_left_out_is_the_first_hit_and_an_abort() {
        let whole = |name: &str, nth, action| Trigger { name: name.into(), nth, action };
        let parsed = Trigger::parse("state.put.done").unwrap();
        assert_eq!(parsed, whole("state.put.done", 1, Action::Abort));
        let parsed = Trigger::parse("sink.write:2=sleep(150)").unwrap();
        assert_eq!(parsed, whole("sink.write", 2, Action::Sleep(Duration::from_millis(150))));
    }

    #[test]
    fn what_can_not_be_read_is_refused() {
        for wrong in
            ["", "sink", "sink.write:0", "sink.write:x", "sink.write=stop", "sink.write=sleep(x)"]
        {
            let message = Trigger::parse(wrong).unwrap_err().to_string();
            assert!(message.contains(&format!("'{wrong}'")) && message.contains("name[:n]"));
        }
        assert!(matches!(plan("sink.write").hit("no.such.place"), Err(Error::Bug(_))));
    }

    #[test]
    fn each_place_is_noted_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let plan = Plan { log: Some(log.clone()), ..Plan::default() };
        for name in ["sink.write", "state.put.done", "sink.write"] {
            plan.hit(name).unwrap();
        }
        assert_eq!(std::fs::read_to_string(log).unwrap(), "sink.write\nstate.put.done\n");
    }

    #[test]
    fn names_are_unique() {
        assert_eq!(ALL.iter().collect::<std::collections::HashSet<_>>().len(), ALL.len());
    }
}
