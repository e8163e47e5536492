//! Runs the pipelines of a file of SQL from a program, as `sembla run` does, and shows their state.
//!
//! ```text
//! cargo run --release -p sembla-jobs --example run_pipeline -- examples/streams/topics.sql
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use std::path::Path;

use sembla_jobs::pipelines::{Running, describe};
use sembla_jobs::{Failure, Result};
use sembla_sql::{Outcome, Session, SessionOptions};

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1);
    let file = Path::new(file.as_deref().unwrap_or("examples/streams/topics.sql"));
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file(file, &error))?;

    // Statements run one after another; an INSERT INTO a sink is planned, and not started.
    let session = Session::new(SessionOptions::default())?;
    session.set_default_model("potion")?;
    let mut pipelines = Vec::new();
    for statement in session.parse(&text)? {
        match session.execute(statement).await? {
            // Opening connects to the sources, the sink and the state of earlier runs.
            Outcome::Stream(plan) => pipelines.extend(plan.open(false).await?),
            Outcome::Rows(rows) => rows.show().await?,
            Outcome::Done(message) => println!("{message}"),
        }
    }

    // They run side by side. `Running::stop` ends them early; their next run resumes.
    let mut running = Running::start(pipelines);
    for pipeline in running.watched() {
        println!("{}", pipeline.line());
    }
    while let Some(ended) = running.ended().await {
        let (name, summary) = ended?;
        println!("{}", describe(&name, &summary));
    }
    Ok(())
}
