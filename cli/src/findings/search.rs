//! `sembla search`: the texts or images that are nearest in meaning to one query or to each of
//! many.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, UInt64Type};
use sembla_jobs::report;
use sembla_jobs::report::gallery::{self, Gallery, Query};

use crate::args::SearchArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::notice;
use sembla_jobs::input::{InputFiles, InputTable, register};

use super::INPUT;
use super::described::column;
use super::job::{Destination, Job, counted};
use super::statement::{Call, Text, carried, literal, select, values};

/// The table of queries.
const QUERIES: &str = "queries";

/// Runs the command.
///
/// # Errors
/// When the input, the options or the output are not as they should be, or on Ctrl-C.
pub(crate) async fn run(args: &SearchArgs, interrupt: &Interrupt) -> Result<()> {
    let finding = &args.finding;
    let destination = Destination::new(&finding.output)?;
    report::check(args.report.as_deref(), finding.output.overwrite)?;
    let job = Job::begin(&finding.resources, interrupt)?;
    let table = job.register_input(finding, &args.carry.columns, &destination).await?;
    if !table.has_images && (args.report.is_some() || !args.query_image.is_empty()) {
        return Err(Failure::user(
            "--report and --query-image need images to search: name a folder of images, or files of them",
        ));
    }
    let (queries, made) = register_queries(args, &job).await?;
    let mut tables = vec![&table];
    tables.extend(&made);
    match made {
        Some(_) => job.load_model_for(&finding.resources, &tables)?,
        // The model that made the vectors of images is loaded.
        None if table.has_images => {}
        None => {
            job.load_model(&finding.resources)?;
            job.check_dimensions(&tables)?;
        }
    }
    let (mut hits, mut found) = (0, Vec::new());
    job.guarded(async {
        let sql = statement(args, destination.shows_texts(&table)?)?;
        job.write(job.rows(&sql).await?, &destination, |batch| {
            hits += batch.num_rows() as u64;
            found.extend(args.report.as_ref().map(|_| batch.clone()));
            Ok(batch)
        })
        .await
    })
    .await?;
    if let Some(path) = &args.report {
        gallery::write(&page(args, &job, &table, &found)?, path)?;
        notice(&format!("wrote {}", path.display()));
    }
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
    if !args.query_image.is_empty() {
        job.execute(&format!("CREATE TABLE {QUERIES} AS {}", images(&args.query_image))).await?;
        return Ok((args.query_image.len() as u64, None));
    }
    job.execute(&format!("CREATE VIEW {QUERIES} AS {}", values(&args.query))).await?;
    Ok((args.query.len() as u64, None))
}

/// The query for images that are looked for, numbered from 0.
fn images(paths: &[String]) -> String {
    let row = |(number, path): (usize, &String)| {
        let path = literal(path);
        format!("SELECT CAST({number} AS BIGINT UNSIGNED) AS id, embed_image({path}) AS embedding")
    };
    paths.iter().enumerate().map(row).collect::<Vec<_>>().join(" UNION ALL ")
}

/// The page of what was found.
fn page(
    args: &SearchArgs,
    job: &Job<'_>,
    table: &InputTable,
    found: &[RecordBatch],
) -> Result<Gallery> {
    let is_image = !args.query_image.is_empty();
    let asked = if is_image { &args.query_image } else { &args.query };
    let mut queries: Vec<Query> = asked
        .iter()
        .map(|words| Query { words: words.clone(), is_image, hits: Vec::new() })
        .collect();
    for batch in found {
        let numbers = column(batch, "query_id", &DataType::UInt64)?;
        let paths = column(batch, "id", &DataType::Utf8)?;
        let scores = column(batch, "score", &DataType::Float32)?;
        let paths = paths.as_string::<i32>().iter();
        let scores = scores.as_primitive::<Float32Type>().values();
        for ((number, path), score) in
            numbers.as_primitive::<UInt64Type>().values().iter().zip(paths).zip(scores)
        {
            let query = usize::try_from(*number).ok().and_then(|number| queries.get_mut(number));
            if let (Some(query), Some(path)) = (query, path) {
                query.hits.push((path.to_string(), *score));
            }
        }
    }
    let facts = vec![
        ("searched", args.finding.input.inputs.join(", ")),
        ("model", job.model().unwrap_or_default()),
        ("made by", format!("sembla {}", env!("CARGO_PKG_VERSION"))),
    ];
    let title = match asked.as_slice() {
        [only] if !is_image => format!("Images for “{only}”"),
        [_] => "Images like one".to_string(),
        several => format!("Images for {} queries", several.len()),
    };
    Ok(Gallery { title, images: table.rows, queries, facts })
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
