//! `sembla cluster` and `sembla topics`: texts in groups, the groups' words and examples, and the
//! report that shows both.
//!
//! Texts are embedded once, into a table of the session; groups, words and the map are findings
//! over that table. Before that, the finding is planned over the input, so that a wrong option is
//! told at once.

use crate::args::{ClusterArgs, ClusterOptions, Format, ReportArgs, TopicsArgs};
use crate::failure::{Failure, Result};
use crate::input::InputTable;
use crate::interrupt::Interrupt;
use crate::output::ResultFile;
use crate::report::{self, Page};

use super::INPUT;
use super::job::{Destination, Job, counted};
use super::statement::{Call, select};
use super::described::{read_groups, read_points};
use super::tally::Groups;

/// The table of texts with their vectors.
const TEXTS: &str = "texts";
/// The table of texts with their vectors and groups.
const GROUPED: &str = "grouped";
/// The table of the groups themselves.
const DESCRIBED: &str = "described";

/// How clusters and topics differ.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// The finding.
    function: &'static str,
    /// The column that says which group a row is in.
    id: &'static str,
    /// What a group is called.
    name: &'static str,
}

const CLUSTERS: Kind = Kind { function: "clusters", id: "cluster_id", name: "cluster" };
const TOPICS: Kind = Kind { function: "topics", id: "topic_id", name: "topic" };

/// `sembla cluster`.
///
/// # Errors
/// When the input, the options or the output are not as they should be, or on Ctrl-C.
pub(crate) async fn cluster(args: &ClusterArgs, interrupt: &Interrupt) -> Result<()> {
    let finding = &args.finding;
    let destination = Destination::new(&finding.output)?;
    report::check(&args.report, finding.output.overwrite)?;
    let job = Job::begin(&finding.resources, interrupt)?;
    let table = job.register(INPUT, &finding.input.inputs, &finding.input, &destination)?;
    let has_report = args.report.report.is_some();
    if has_report || !table.has_vectors {
        need_texts(&table, has_report)?;
    }
    if !table.has_vectors {
        job.load_model(&finding.resources)?;
    }
    let call = |input| with_options(Call::new(CLUSTERS.function, input), &args.options);
    let mut groups = Groups::new(CLUSTERS.name);
    job.guarded(async {
        let texts = destination.shows_texts(&table)?;
        let sql = if has_report {
            group(&job, CLUSTERS, &table, &call).await?;
            rows_of(CLUSTERS, texts)
        } else {
            let columns: &[&str] = if texts { &["id", "cluster_id", "text"] } else { &["id", "cluster_id"] };
            select(columns, &call(INPUT), &[])
        };
        write_groups(&job, &sql, CLUSTERS, &destination, &mut groups).await?;
        if has_report {
            let words = Call::new("topic_table", GROUPED).relation("topic", Some(CLUSTERS.id));
            describe(&job, &words).await?;
            let made = Made { call: call(INPUT).sql(), inputs: &finding.input.inputs };
            write_report(&job, CLUSTERS, &args.report, &groups, made).await?;
        }
        Ok(())
    })
    .await?;
    job.told(&format!("{}: {groups}", counted(table.rows, "row")), table.rows);
    Ok(())
}

/// `sembla topics`.
///
/// # Errors
/// As [`cluster`].
pub(crate) async fn topics(args: &TopicsArgs, interrupt: &Interrupt) -> Result<()> {
    let finding = &args.finding;
    let destination = Destination::new(&finding.output)?;
    report::check(&args.report, finding.output.overwrite)?;
    let topic_file = args.topics.as_deref();
    let topic_file = topic_file.map(|path| ResultFile::new(path, finding.output.overwrite));
    let topic_file = topic_file.transpose()?;
    let job = Job::begin(&finding.resources, interrupt)?;
    let table = job.register(INPUT, &finding.input.inputs, &finding.input, &destination)?;
    need_texts(&table, false)?;
    if !table.has_vectors {
        job.load_model(&finding.resources)?;
    }
    let call = |input| topics_call(args, input);
    let mut groups = Groups::new(TOPICS.name);
    job.guarded(async {
        group(&job, TOPICS, &table, &call).await?;
        let format = finding.output.format;
        if destination.file.is_some() || format != Format::Table {
            let sql = rows_of(TOPICS, finding.output.text);
            write_groups(&job, &sql, TOPICS, &destination, &mut groups).await?;
        } else {
            for batch in job.collect(&rows_of(TOPICS, false)).await? {
                groups.count(&batch, TOPICS.id)?;
            }
        }
        let words = Call::new("topic_table", GROUPED).relation("topic", Some(TOPICS.id));
        describe(&job, &with_words(words, args)).await?;
        if let Some(file) = topic_file {
            job.write(job.rows(TOPIC_ROWS).await?, &Destination::file(file), Ok).await?;
        }
        if format == Format::Table {
            job.write(job.rows(TOPICS_FOR_PEOPLE).await?, &Destination::stdout(format), Ok).await?;
        } else if destination.file.is_some() {
            job.write(job.rows(TOPIC_ROWS).await?, &Destination::stdout(format), Ok).await?;
        }
        let made = Made { call: call(INPUT).sql(), inputs: &finding.input.inputs };
        write_report(&job, TOPICS, &args.report, &groups, made).await
    })
    .await?;
    job.told(&format!("{}: {groups}", counted(table.rows, "row")), table.rows);
    Ok(())
}

/// The groups as a program reads them.
const TOPIC_ROWS: &str = "SELECT * FROM described";
/// The groups as a person reads them.
const TOPICS_FOR_PEOPLE: &str = "SELECT topic_id, size, array_to_string(words, ', ') AS words, \
    round(coherence, 3) AS coherence, representatives[1] AS example FROM described";

/// Topics and reports are about texts.
fn need_texts(table: &InputTable, report: bool) -> Result<()> {
    let what = if report { "a report shows" } else { "topics are made of" };
    if table.has_text {
        return Ok(());
    }
    Err(Failure::user(format!("{what} texts; --column names their column")))
}

/// The call with the options of clusters.
fn with_options(call: Call, options: &ClusterOptions) -> Call {
    call.text("algorithm", options.algorithm.as_deref())
        .number("k", options.k)
        .number("threshold", options.threshold)
        .text("linkage", options.linkage.as_deref())
        .number("min_size", options.min_size)
        .number("seed", options.seed)
}

/// The call with the options of words.
fn with_words(call: Call, args: &TopicsArgs) -> Call {
    call.number("words", args.words)
        .number("ngrams", args.ngrams)
        .text("stop_words", args.stop_words.as_deref())
}

/// The finding of the command `topics`.
fn topics_call(args: &TopicsArgs, input: &str) -> Call {
    with_words(with_options(Call::new(TOPICS.function, input), &args.options), args)
        .number("reduce_to", args.reduce_to)
        .number("merge_threshold", args.merge_threshold)
}

/// The query for the groups of the rows.
fn rows_of(kind: Kind, texts: bool) -> String {
    format!("SELECT id, {}{} FROM {GROUPED}", kind.id, if texts { ", text" } else { "" })
}

/// Embeds the input and groups it, into the table [`GROUPED`].
async fn group(
    job: &Job<'_>,
    kind: Kind,
    table: &InputTable,
    call: &impl Fn(&'static str) -> Call,
) -> Result<()> {
    // Planned and thrown away: it tells what is wrong with the options.
    job.rows(&select(&["id", kind.id], &call(INPUT), &[])).await?;
    let vectors = if table.has_vectors { "embedding" } else { "embed(text) AS embedding" };
    job.execute(&format!("CREATE TABLE {TEXTS} AS SELECT id, text, {vectors} FROM {INPUT}")).await?;
    let columns = ["id", kind.id, "text", "embedding"];
    let sql = select(&columns, &call(TEXTS), &[]);
    job.execute(&format!("CREATE TABLE {GROUPED} AS {sql}")).await?;
    job.execute(&format!("DROP TABLE {TEXTS}")).await
}

/// Describes the groups by words and examples, into the table [`DESCRIBED`].
async fn describe(job: &Job<'_>, call: &Call) -> Result<()> {
    let columns = ["topic_id", "size", "label", "words", "coherence", "representative_ids", "representatives"];
    job.execute(&format!("CREATE TABLE {DESCRIBED} AS {}", select(&columns, call, &[]))).await
}

/// Writes the group of each row, and counts them.
async fn write_groups(
    job: &Job<'_>,
    sql: &str,
    kind: Kind,
    destination: &Destination,
    groups: &mut Groups,
) -> Result<()> {
    job.write(job.rows(sql).await?, destination, |batch| {
        groups.count(&batch, kind.id)?;
        Ok(batch)
    })
    .await
}

/// How groups were made, for the report.
struct Made<'a> {
    /// The finding as SQL.
    call: String,
    inputs: &'a [String],
}

/// Writes the report, if one is wanted.
async fn write_report(
    job: &Job<'_>,
    kind: Kind,
    args: &ReportArgs,
    groups: &Groups,
    made: Made<'_>,
) -> Result<()> {
    let Some(path) = &args.report else {
        return Ok(());
    };
    let title = match &args.title {
        Some(title) => title.clone(),
        None => format!("{}s of {}", capitalised(kind.name), made.inputs.join(", ")),
    };
    let mut facts = vec![("Texts", made.inputs.join(", "))];
    if let Some(model) = job.model() {
        facts.push(("Model", model));
    }
    facts.push(("Finding", made.call));
    facts.push(("Program", format!("sembla {}", env!("CARGO_PKG_VERSION"))));
    let page = Page {
        title,
        group_name: kind.name,
        rows: groups.rows(),
        ungrouped: groups.none(),
        groups: read_groups(&job.collect(TOPIC_ROWS).await?)?,
        points: read_points(&job.collect(&map_query(kind, args.map_points)).await?, kind.id)?,
        facts,
    };
    report::write(&page, path)?;
    eprintln!("the report is {}", path.display());
    Ok(())
}

/// The query for the map: at most `points` texts, evenly picked.
fn map_query(kind: Kind, points: usize) -> String {
    let columns = format!("{}, text, embedding", kind.id);
    let numbered = format!(
        "SELECT {columns}, row_number() OVER () - 1 AS place, count(*) OVER () AS total FROM {GROUPED} \
         WHERE embedding IS NOT NULL"
    );
    // Of `total` places those where the share of `points` that lies before reaches a new whole.
    let picked = format!(
        "SELECT {columns} FROM ({numbered}) WHERE total <= {points} OR place * {points} % total < {points}"
    );
    format!("SELECT x, y, {}, text FROM map_2d(({picked}))", kind.id)
}

/// The word with a capital first letter.
fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
