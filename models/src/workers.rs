//! The threads that tokenise, and that compute static models.
//!
//! They are apart from those of everything else: a query that compares vectors while others embed,
//! as a stream does, would else find its short steps queued behind whole batches of texts.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Runs something that works in parallel. Where the system has no threads to give, it runs on those
/// of whoever calls.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let named = || ThreadPoolBuilder::new().thread_name(|number| format!("sembla-text-{number}"));
    match POOL.get_or_init(|| named().build().ok()) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    #[test]
    fn work_runs_on_threads_of_its_own() {
        let name = |_| std::thread::current().name().map(String::from);
        let names: Vec<Option<String>> = super::run(|| (0..64).into_par_iter().map(name).collect());
        let is_own = |name: &Option<String>| {
            name.as_ref().is_some_and(|name| name.starts_with("sembla-text-"))
        };
        assert!(names.iter().all(is_own), "{names:?}");
    }
}
