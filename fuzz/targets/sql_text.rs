//! The text of statements: parsed, and planned where they are queries. Nothing is run.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_fuzz::only_uncaught_panics;
use sembla_sql::{Session, SessionOptions};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static STATE: (Runtime, Session) = {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let session = {
            let _inside = runtime.enter();
            Session::new(SessionOptions::default()).expect("a session")
        };
        (runtime, session)
    };
}

fuzz_target!(|data: &[u8]| {
    only_uncaught_panics();
    let Ok(text) = std::str::from_utf8(data) else { return };
    STATE.with(|(runtime, session)| {
        let Ok(statements) = session.parse(text) else { return };
        for statement in statements {
            // Only what can be explained is planned, so that nothing is written.
            let Ok(explained) = session.parse(&format!("EXPLAIN {statement}")) else { continue };
            for statement in explained {
                // Errors are right answers.
                let _ = runtime.block_on(session.execute(statement));
            }
        }
    });
});
