//! `sembla rerank`: texts in the order in which they answer a query, by a cross-encoder.

use crate::args::RerankArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

use super::INPUT;
use super::job::{Destination, Job, counted};
use super::statement::{carried, literal};

/// Runs the command.
///
/// # Errors
/// When the input, the options or the output are not as they should be, or on Ctrl-C.
pub(crate) async fn run(args: &RerankArgs, interrupt: &Interrupt) -> Result<()> {
    let finding = &args.finding;
    if finding.input.vectors.is_some() {
        return Err(Failure::user("rerank needs texts, so leave out --vectors"));
    }
    if !finding.resources.model.is_named() {
        return Err(Failure::user(
            "rerank needs a cross-encoder; name one with --model: a directory, an .onnx file or a hub id",
        ));
    }
    let destination = Destination::new(&finding.output)?;
    let job = Job::begin(&finding.resources, interrupt)?;
    let table = job.register_input(finding, &args.carry.columns, &destination).await?;
    job.load_model(&finding.resources)?;
    job.guarded(async {
        let sql = statement(args, destination.shows_texts(&table)?)?;
        job.write(job.rows(&sql).await?, &destination, Ok).await
    })
    .await?;
    job.report(&format!("{} scored", counted(table.rows, "row")), table.rows);
    Ok(())
}

/// The statement, with the texts if `texts`. Rows with equal scores keep their order; those without
/// a text come last.
fn statement(args: &RerankArgs, texts: bool) -> Result<String> {
    let own = ["id", "rank", "score"];
    let mut columns = own.map(str::to_string).to_vec();
    columns.extend(carried(&own, texts, &args.carry.columns)?);
    let limit = args.top_k.map(|rows| format!(" LIMIT {rows}")).unwrap_or_default();
    Ok(format!(
        "WITH scored AS (SELECT *, row_number() OVER () AS place, rerank({}, text) AS score FROM {INPUT}), \
         ranked AS (SELECT *, CAST(row_number() OVER (ORDER BY score DESC NULLS LAST, place) AS INT UNSIGNED) AS rank \
         FROM scored) SELECT {} FROM ranked ORDER BY rank{limit}",
        literal(&args.query),
        columns.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn a_query_stays_in_its_quotes() {
        let line = ["sembla", "rerank", "in.csv", "--query", "it's late", "-k", "3"];
        let cli = Cli::try_parse_from(line).expect("arguments");
        let Some(Command::Rerank(args)) = cli.command else { panic!("it re-ranks") };
        let sql = statement(&args, true).expect("a statement");
        assert!(sql.contains("rerank('it''s late', text)"), "{sql}");
        assert!(
            sql.ends_with("SELECT id, rank, score, text FROM ranked ORDER BY rank LIMIT 3"),
            "{sql}"
        );
    }
}
