//! Pipelines killed at every place where a kill could lose or repeat something: what is committed
//! in the end equals what an undisturbed run commits. Against folders and against a real Kafka
//! broker.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::place::Place;

mod dry_run;
mod files;
mod images;
mod instances;
mod kafka;
mod panes;
#[cfg(unix)]
mod serve;
mod static_tables;
mod topics;

/// Rows of the stream.
const ROWS: usize = 600;

/// Records that are no rows, among the others.
const POISON: [&[u8]; 4] = [
    b"{",
    b"{\"id\": \"one\", \"text\": \"x\", \"ts\": 0}",
    b"\xff\xfe",
    b"{\"id\": 1, \"text\": null, \"ts\": 0}",
];

/// What a person would ask of windows: counts, and rows that say nothing new.
const QUERY: &str = "SELECT window_start, id, text FROM online_dedup(tumble(messages, INTERVAL '1 minute'), \
                     horizon => INTERVAL '10 minutes', threshold => 0.95) WHERE is_kept";

/// How long a run may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The rows as JSON, one every second.
fn messages() -> Vec<String> {
    let words = ["card", "refund", "fee", "transfer", "top up", "exchange", "cash", "account"];
    (0..ROWS)
        .map(|n| {
            let text = format!("{} {}", words[n % 8], words[n * n % 7 + n % 2]);
            let at = 1_767_225_600_000 + n as u64 * 1000;
            format!("{{\"id\": {n}, \"text\": \"{text}\", \"ts\": {at}}}")
        })
        .collect()
}

/// Runs a pipeline, killed at a failpoint if one is named. Tells whether it ended well.
fn run(place: &Place, file: &Path, fail_at: Option<&str>) -> bool {
    waited_for(&mut start(place, file, fail_at))
}

/// Waits for a process. Tells whether it ended well.
fn waited_for(child: &mut Child) -> bool {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.success();
        }
        if begun.elapsed() > PATIENCE {
            killed(child);
            panic!("a pipeline does not end");
        }
        sleep(Duration::from_millis(20));
    }
}

/// Kills a process as a power cut would.
fn killed(child: &mut Child) {
    child.kill().expect("killed");
    child.wait().expect("a child");
}

fn start(place: &Place, file: &Path, fail_at: Option<&str>) -> Child {
    start_as(place, file, fail_at, "stderr")
}

/// Starts a pipeline whose words go to a file of that name.
fn start_as(place: &Place, file: &Path, fail_at: Option<&str>, log: &str) -> Child {
    let file = file.to_str().expect("a path");
    let options = ["checkpoint_interval=1 ms", "batch_rows=37"];
    let mut command = place.command(&["run", file, "-m", "potion"]);
    command
        .args(options.iter().flat_map(|option| ["--set", option]))
        .env("SEMBLA_FAIL_LOG", place.path("reached"))
        .env("SEMBLA_FAIL_AT", fail_at.unwrap_or(""));
    command.stderr(fs::File::create(place.path(log)).expect("a file"));
    command.spawn().expect("the binary runs")
}

/// The words of a process.
fn log_of(place: &Place, log: &str) -> String {
    fs::read_to_string(place.path(log)).unwrap_or_default()
}

/// The failpoints that runs in this place have reached.
fn reached(place: &Place) -> BTreeSet<String> {
    let text = fs::read_to_string(place.path("reached")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

fn stderr(place: &Place) -> String {
    log_of(place, "stderr")
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill").success());
}
