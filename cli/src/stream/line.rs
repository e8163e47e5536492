//! The status line: one line a pipeline on standard error, if that is a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use tokio::task::JoinHandle;

use sembla_jobs::pipelines::Watched;

/// How often the line is rewritten.
const EVERY: Duration = Duration::from_millis(500);

/// The lines of all pipelines.
pub(crate) struct StatusLine {
    bars: Arc<MultiProgress>,
    drawing: JoinHandle<()>,
}

impl StatusLine {
    /// Shows how pipelines are, until it is cleared.
    pub(crate) fn show(watched: Vec<Watched>) -> Self {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(4),
            false => ProgressDrawTarget::hidden(),
        };
        let bars = Arc::new(MultiProgress::with_draw_target(target));
        let plain = ProgressStyle::with_template("{wide_msg}");
        let shown: Vec<(ProgressBar, Watched)> = watched
            .into_iter()
            .map(|watched| {
                let bar = bars.add(ProgressBar::new_spinner());
                plain.iter().for_each(|style| bar.set_style(style.clone()));
                (bar, watched)
            })
            .collect();
        let drawing = tokio::spawn(async move {
            loop {
                shown.iter().for_each(|(bar, watched)| bar.set_message(watched.line()));
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { bars, drawing }
    }

    /// Says something above the lines, on standard error in any case.
    pub(crate) fn say(&self, words: &str) {
        self.bars.suspend(|| eprintln!("{words}"));
    }

    /// Takes the lines away.
    pub(crate) fn clear(&self) {
        self.drawing.abort();
        // Lines that stay for lack of a terminal do no harm.
        let _ = self.bars.clear();
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.drawing.abort();
    }
}
