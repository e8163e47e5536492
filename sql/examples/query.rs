//! Runs SQL from a program and prints what it gives.
//!
//! ```text
//! cargo run --release -p sembla-sql --example query
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use sembla_sql::{Outcome, Session, SessionOptions};

const QUERY: &str = "
    SELECT rank, round(score, 3) AS score, text
    FROM semantic_search('examples/data/banking77.parquet', query => 'my card was stolen',
                         top_k => 3, model => 'potion')";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = Session::new(SessionOptions::default())?;
    for statement in session.parse(QUERY)? {
        match session.execute(statement).await? {
            // A DataFusion data frame: collect it, stream it, or build on it.
            Outcome::Rows(rows) => rows.show().await?,
            Outcome::Done(message) => println!("{message}"),
            // `sembla run` shows how a pipeline is run.
            Outcome::Stream(_) => println!("a pipeline"),
        }
    }
    Ok(())
}
