//! Words for the user that are no error: what was found in a file and can't be taken for granted.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Notices that are remembered, so that each is said once.
const REMEMBERED_MAX: usize = 10_000;

/// Who is told.
type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// Tells each notice of a session once, to a listener or else to the log.
#[derive(Default)]
pub struct Notices(Mutex<State>);

#[derive(Default)]
struct State {
    listener: Option<Listener>,
    said: HashSet<String>,
}

impl fmt::Debug for Notices {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Notices")
    }
}

impl Notices {
    /// Tells notices to `listener` from now on.
    pub fn listen(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        self.lock().listener = Some(Arc::new(listener));
    }

    /// Tells a notice, unless it was told before.
    pub(crate) fn say(&self, notice: &str) {
        let listener = {
            let mut state = self.lock();
            if state.said.len() >= REMEMBERED_MAX || !state.said.insert(notice.to_string()) {
                return;
            }
            state.listener.clone()
        };
        match listener {
            Some(listener) => listener(notice),
            None => tracing::info!("{notice}"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_told_once() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notices = Notices::default();
        let hears = Arc::clone(&heard);
        notices.listen(move |notice| hears.lock().expect("a lock").push(notice.to_string()));
        for notice in ["one", "two", "one"] {
            notices.say(notice);
        }
        assert_eq!(*heard.lock().expect("a lock"), ["one", "two"]);
    }
}
