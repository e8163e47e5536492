//! What a person sees while long work goes on, on standard error: on a terminal a line that is
//! redrawn four times a second, elsewhere a plain line every half minute.
//!
//! A thread of its own writes it, so that it moves while a query or a model is busy. It is told
//! stages by findings ([`sembla_sql::Progress`]), and between two of their reports it counts the
//! texts that models have done, by their cancel token.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sembla_jobs::numbers::{self, count};
use sembla_models::CancelToken;

use crate::terminal::{Line, stdout_width};

/// How often the line on a terminal is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(250);
/// How often a line is written elsewhere.
const WRITTEN_EVERY: Duration = Duration::from_secs(30);
/// The variable that says how often instead, in seconds; 0 writes none.
const WRITTEN_EVERY_VARIABLE: &str = "SEMBLA_PROGRESS_SECONDS";
/// How often it is looked at how far the work is, at least.
const SAMPLED_EVERY: Duration = Duration::from_secs(1);
/// The time over which a rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(15);
/// Letters of the bar.
const BAR_LETTERS: u64 = 24;

/// The stage in which each row is embedded once.
pub(crate) use sembla_jobs::embed::STAGE as EMBEDDING;
/// The stage of a query that reads and has reported no other.
const READING: &str = "reading";

/// Counts the rows that a query has read so far.
type RowsRead = Box<dyn Fn() -> u64 + Send>;

/// The progress of one piece of work. Dropped, it leaves nothing on the screen.
pub(crate) struct Stages {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    /// Counts the texts that models have done, since before this work began.
    token: CancelToken,
    /// Its count when this work began.
    texts_before: u64,
    /// Rows of all inputs.
    rows: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    stage: Option<Stage>,
    /// Counts rows where no stage is reported.
    rows_read: Option<RowsRead>,
    /// The line on the terminal, if there is one.
    line: Option<Line>,
    /// Whether the line makes room for other words until there is news.
    is_hidden: bool,
    has_ended: bool,
}

/// A stage of the work.
struct Stage {
    name: String,
    done: u64,
    total: Option<u64>,
    /// The texts that models had done when `done` was told.
    texts: u64,
    /// When it was how far, over the last seconds.
    samples: VecDeque<(Instant, u64)>,
}

/// How far a stage is.
#[derive(Clone, Debug, PartialEq)]
struct Shown<'a> {
    name: &'a str,
    done: u64,
    total: Option<u64>,
    per_second: Option<f64>,
}

impl Stages {
    /// The progress of work whose models look at `token`.
    pub(crate) fn new(token: &CancelToken) -> Self {
        let line = Line::open();
        let every = if line.is_some() { Some(DRAWN_EVERY) } else { written_every() };
        let shared = Arc::new(Shared {
            token: token.clone(),
            texts_before: token.texts(),
            rows: AtomicU64::new(0),
            state: Mutex::new(State { line, ..State::default() }),
            ended: Condvar::new(),
        });
        let ticking = Arc::clone(&shared);
        let tick = |every| {
            let thread = thread::Builder::new().name("progress".into());
            // Work without a line that moves is still work.
            thread.spawn(move || tick(&ticking, every)).ok()
        };
        Self { shared, ticker: every.and_then(tick) }
    }

    /// Tells that so many more rows will be read.
    pub(crate) fn expect_rows(&self, rows: u64) {
        self.shared.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Asks `rows_read` how far a query is, as long as no stage is reported.
    pub(crate) fn watch(&self, rows_read: impl Fn() -> u64 + Send + 'static) {
        self.shared.lock().rows_read = Some(Box::new(rows_read));
    }

    /// Takes the line away until there is news.
    pub(crate) fn clear(&self) {
        let mut state = self.shared.lock();
        state.is_hidden = true;
        state.erase();
    }

    /// Takes the line away if rows are about to be printed where it is.
    pub(crate) fn make_room(&self) {
        if stdout_width().is_some() {
            self.clear();
        }
    }
}

impl Shared {
    /// The texts that models have done for this work.
    fn texts(&self) -> u64 {
        self.token.texts().saturating_sub(self.texts_before)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.has_ended = true;
        state.erase();
        drop(state);
        self.shared.ended.notify_all();
        if let Some(ticker) = self.ticker.take() {
            // A line that could not be drawn to its end is no reason to fail.
            let _ = ticker.join();
        }
    }
}

impl sembla_sql::Progress for Stages {
    fn update(&self, stage: &str, done: u64, total: Option<u64>) {
        // Where another thread tells of the same work just now, its news will do.
        let Ok(mut state) = self.shared.state.try_lock() else { return };
        // A query does not know how many rows its inputs have.
        let rows = self.shared.rows.load(Ordering::Relaxed);
        let rows = (stage == EMBEDDING && rows > 0).then_some(rows);
        state.is_hidden = false;
        let texts = self.shared.texts();
        state.stage(stage).update(done, total.or(rows), texts);
    }
}

impl State {
    fn erase(&mut self) {
        if let Some(line) = &mut self.line {
            line.erase();
        }
    }

    /// The stage of that name, begun if it is another than before.
    fn stage(&mut self, name: &str) -> &mut Stage {
        let same = self.stage.take().filter(|stage| stage.name == name);
        self.stage.insert(same.unwrap_or_else(|| Stage {
            name: name.to_string(),
            done: 0,
            total: None,
            texts: 0,
            samples: VecDeque::new(),
        }))
    }

    /// How far the work is at `now`, when models have done `texts` texts.
    fn shown(&mut self, now: Instant, texts: u64, rows: u64) -> Option<Shown<'_>> {
        match (&self.stage, &self.rows_read) {
            (None, _) if texts > 0 => {
                self.stage(EMBEDDING).update(0, (rows > 0).then_some(rows), 0);
            }
            (None, Some(rows_read)) => {
                let read = rows_read();
                self.stage(READING).update(read, None, texts);
            }
            (Some(stage), Some(rows_read)) if stage.name == READING => {
                let read = rows_read();
                // A query that has begun to embed goes on at the pace of the model.
                match texts > stage.texts {
                    true => self.stage(EMBEDDING).update(0, None, 0),
                    false => self.stage(READING).update(read, None, texts),
                }
            }
            _ => {}
        }
        Some(self.stage.as_mut()?.shown(now, texts))
    }
}

impl Stage {
    fn update(&mut self, done: u64, total: Option<u64>, texts: u64) {
        (self.done, self.total, self.texts) = (done, total, texts);
    }

    fn shown(&mut self, now: Instant, texts: u64) -> Shown<'_> {
        let more = if self.name == EMBEDDING { texts.saturating_sub(self.texts) } else { 0 };
        let done = self.done.saturating_add(more).min(self.total.unwrap_or(u64::MAX));
        self.samples.push_back((now, done));
        let is_old = |sample: &(Instant, u64)| now.duration_since(sample.0) > RATE_WINDOW;
        while self.samples.len() > 2 && self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
        let per_second = self.samples.front().and_then(|(then, before)| {
            let seconds = now.duration_since(*then).as_secs_f64();
            (done > *before && seconds > 0.0).then(|| (done - before) as f64 / seconds)
        });
        Shown { name: &self.name, done, total: self.total, per_second }
    }
}

impl Shown<'_> {
    /// The line, with a bar if a person looks at it.
    fn line(&self, has_bar: bool) -> String {
        let mut line = self.name.to_string();
        match self.total {
            Some(total) if has_bar => {
                let full = (self.done * BAR_LETTERS).checked_div(total).unwrap_or(BAR_LETTERS);
                let full = usize::try_from(full).unwrap_or_default();
                let empty = (BAR_LETTERS as usize).saturating_sub(full);
                line += &format!("  {}{}", "█".repeat(full), "░".repeat(empty));
                line += &format!("  {} of {}", count(self.done), count(total));
            }
            Some(total) => line += &format!(": {} of {}", count(self.done), count(total)),
            None if has_bar => line += &format!("  {}", count(self.done)),
            None => line += &format!(": {}", count(self.done)),
        }
        let Some(per_second) = self.per_second else { return line };
        line += &format!(", {}/s", numbers::per_second(per_second));
        if let Some(total) = self.total.filter(|total| *total > self.done) {
            line += &format!(", {} left", time((total - self.done) as f64 / per_second));
        }
        line
    }
}

/// How often a line is written where there is no terminal; `None` where nobody wants it.
fn written_every() -> Option<Duration> {
    let asked = std::env::var(WRITTEN_EVERY_VARIABLE).ok();
    match asked.and_then(|seconds| seconds.trim().parse::<f64>().ok()) {
        None => Some(WRITTEN_EVERY),
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()),
    }
}

/// Shows how far the work is until it ends.
fn tick(shared: &Shared, every: Duration) {
    let mut written = Instant::now();
    let mut state = shared.lock();
    loop {
        let waited = shared.ended.wait_timeout(state, every.min(SAMPLED_EVERY));
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.has_ended {
            return;
        }
        let (now, is_hidden) = (Instant::now(), state.is_hidden);
        let has_line = state.line.is_some();
        let (texts, rows) = (shared.texts(), shared.rows.load(Ordering::Relaxed));
        let Some(shown) = state.shown(now, texts, rows).map(|shown| shown.line(has_line)) else {
            continue;
        };
        match &mut state.line {
            Some(line) if !is_hidden => line.draw(&shown),
            Some(_) => {}
            None if now.duration_since(written) >= every => {
                written = now;
                eprintln!("{shown}");
            }
            None => {}
        }
    }
}

/// A time for people: `40 s`, `3 min 40 s`, `2 h 5 min`.
fn time(seconds: f64) -> String {
    let seconds = seconds.ceil().max(0.0) as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{} h {minutes} min", count(hours)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn times_are_for_people() {
        for (seconds, text) in [(0.2, "1 s"), (220.0, "3 min 40 s"), (7500.0, "2 h 5 min")] {
            assert_eq!(time(seconds), text);
        }
    }

    #[test]
    fn texts_count_between_two_reports() {
        let begun = Instant::now();
        let mut state = State::default();
        state.stage(EMBEDDING).update(100, Some(1000), 40);
        assert_eq!(
            state.shown(begun, 40, 0).expect("a stage").line(false),
            "embedding: 100 of 1,000"
        );
        let later = begun + Duration::from_secs(2);
        let shown = state.shown(later, 60, 0).expect("a stage");
        assert_eq!(shown.line(false), "embedding: 120 of 1,000, 10/s, 1 min 28 s left");
        let bar = format!("embedding  ██{}  120 of 1,000, 10/s, 1 min 28 s left", "░".repeat(22));
        assert_eq!(shown.line(true), bar);
    }

    #[test]
    fn a_query_reads_until_its_model_works() {
        let begun = Instant::now();
        let mut state = State { rows_read: Some(Box::new(|| 5000)), ..State::default() };
        assert_eq!(state.shown(begun, 0, 0).expect("a stage").line(false), "reading: 5,000");
        let shown = state.shown(begun + Duration::from_secs(1), 30, 0).expect("a stage");
        assert_eq!(shown.line(false), "embedding: 30");
    }

    #[test]
    fn a_new_stage_has_a_rate_of_its_own() {
        let begun = Instant::now();
        let mut state = State::default();
        state.stage("comparing").update(7, Some(9), 0);
        state.shown(begun, 0, 0);
        state.stage("sorting").update(1, None, 0);
        let shown = state.shown(begun + Duration::from_secs(1), 0, 0).expect("a stage");
        assert_eq!(shown.line(true), "sorting  1");
    }
}
