//! The text of statements: parsed, and planned where they are queries. Nothing is run.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_sql::{Session, SessionOptions};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _inside = runtime.enter();
    let session = Session::new(SessionOptions::default()).expect("a session");
    let Ok(statements) = session.parse(text) else { return };
    for statement in statements {
        let explained = format!("EXPLAIN {statement}");
        // Only what can be explained is planned, so that nothing is written.
        let Ok(explained) = session.parse(&explained) else { continue };
        for statement in explained {
            // Errors are right answers.
            let _ = runtime.block_on(session.execute(statement));
        }
    }
});
