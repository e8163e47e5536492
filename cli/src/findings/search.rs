//! `sembla search`: the texts that are nearest in meaning to one query or to each of many.

use crate::args::SearchArgs;
use crate::failure::Result;
use crate::interrupt::Interrupt;
use crate::notice;
use sembla_jobs::input::{InputFiles, InputTable, register};

use super::INPUT;
use super::job::{Destination, Job, counted};
use super::statement::{Call, Text, carried, select, values};

/// The table of queries.
const QUERIES: &str = "queries";

/// Runs the command.
///
/// # Errors
/// When the input, the options or the output are not as they should be, or on Ctrl-C.
pub(crate) async fn run(args: &SearchArgs, interrupt: &Interrupt) -> Result<()> {
    let finding = &args.finding;
    let destination = Destination::new(&finding.output)?;
    let job = Job::begin(&finding.resources, interrupt)?;
    let table = job.register_input(finding, &args.carry.columns, &destination)?;
    let (queries, made) = register_queries(args, &job).await?;
    let mut tables = vec![&table];
    tables.extend(&made);
    match made {
        Some(_) => job.load_model_for(&finding.resources, &tables)?,
        None => {
            job.load_model(&finding.resources)?;
            job.check_dimensions(&tables)?;
        }
    }
    let mut hits = 0;
    job.guarded(async {
        let sql = statement(args, destination.shows_texts(&table)?)?;
        job.write(job.rows(&sql).await?, &destination, |batch| {
            hits += batch.num_rows() as u64;
            Ok(batch)
        })
        .await
    })
    .await?;
    let words = format!(
        "{} over {}: {}",
        counted(queries, "query"),
        counted(table.rows, "row"),
        counted(hits, "hit")
    );
    job.report(&words, table.rows);
    Ok(())
}

/// Makes the queries a table, and counts them. Those of a file are given back as one.
async fn register_queries(args: &SearchArgs, job: &Job<'_>) -> Result<(u64, Option<InputTable>)> {
    if let Some(file) = &args.queries {
        let source = InputFiles {
            inputs: std::slice::from_ref(file),
            text: args.queries_column.as_deref(),
            id: args.queries_id.as_deref(),
            vectors: args.queries_vectors.as_deref(),
            others: &[],
            outputs: &[],
            condition: None,
        };
        let table = register(job.session(), QUERIES, source, &notice)?;
        return Ok((table.rows, Some(table)));
    }
    job.execute(&format!("CREATE VIEW {QUERIES} AS {}", values(&args.query))).await?;
    Ok((args.query.len() as u64, None))
}

/// The statement, with the texts of queries and hits if `texts`.
fn statement(args: &SearchArgs, texts: bool) -> Result<String> {
    let call = Call::new("semantic_search", INPUT).relation("queries", Some(QUERIES));
    let call = call.options(args.options.given());
    let own = ["query_id", "rank", "id", "score"];
    let carried = carried(&own, texts, &args.carry.columns)?;
    let query = Text { name: "query", table: QUERIES, id: "query_id" };
    let several = args.queries.is_some() || args.query.len() > 1;
    let shown: &[Text<'_>] = if texts && several { &[query] } else { &[] };
    Ok(select(&own, shown, &carried, &call))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn sql(line: &[&str]) -> String {
        let cli = Cli::try_parse_from([&["sembla", "search", "in.csv"], line].concat());
        let Some(Command::Search(args)) = cli.expect("arguments").command else {
            panic!("it is a search")
        };
        statement(&args, false).expect("a statement")
    }

    #[test]
    fn options_go_into_the_statement() {
        assert_eq!(
            sql(&["--query", "lost card"]),
            "SELECT query_id, rank, id, score FROM semantic_search(input, queries => queries)"
        );
        assert_eq!(
            sql(&["--queries", "q.csv", "-k", "3", "--threshold", "-0.5", "--candidates", "int8"]),
            "SELECT query_id, rank, id, score FROM semantic_search(input, queries => queries, top_k => 3, \
             threshold => -0.5, candidates => 'int8')"
        );
    }
}
