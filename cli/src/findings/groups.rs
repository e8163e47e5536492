//! `sembla cluster` and `sembla topics`: texts in groups, the groups' words and examples, and the
//! report that shows both.
//!
//! Texts are embedded once, into a table of the session; groups, words and the map are findings
//! over that table. Before that, the finding is planned over the input, so that a wrong option is
//! told at once.

use std::path::Path;

use crate::args::{CarryArgs, ClusterArgs, FindingArgs, ReportArgs, TopicsArgs};
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use sembla_jobs::input::InputTable;
use sembla_jobs::output::{Format, ResultFile};
use sembla_jobs::report::{self, Page};

use super::INPUT;
use super::described::{read_groups, read_points};
use super::job::{Destination, Job, counted};
use super::statement::{Call, carried, identifiers, partition, select};
use super::tally::Groups;

/// The table of texts with their vectors.
const TEXTS: &str = "texts";
/// The table of texts with their vectors and groups.
const GROUPED: &str = "grouped";
/// The table of the groups themselves.
const DESCRIBED: &str = "described";

/// How clusters and topics differ.
#[derive(Clone, Copy, Debug)]
struct GroupKind {
    /// The finding.
    function: &'static str,
    /// The column that says which group a row is in.
    id: &'static str,
    /// What a group is called.
    name: &'static str,
}

const CLUSTERS: GroupKind = GroupKind { function: "clusters", id: "cluster_id", name: "cluster" };
const TOPICS: GroupKind = GroupKind { function: "topics", id: "topic_id", name: "topic" };

/// `sembla cluster`.
///
/// # Errors
/// When the input, the options or the output are not as they should be, or on Ctrl-C.
pub(crate) async fn cluster(args: &ClusterArgs, interrupt: &Interrupt) -> Result<()> {
    let asked = Asked {
        kind: CLUSTERS,
        finding: &args.finding,
        options: &|call: Call| call.options(args.options.given()),
        carry: &args.carry,
        partition_by: &args.partition.partition_by,
        report: &args.report,
    };
    let destination = Destination::new(&args.finding.output)?;
    let mut work = Grouping::begin(asked, destination, interrupt).await?;
    let has_report = args.report.report.is_some();
    if has_report {
        work.need_texts("a report needs")?;
    }
    let job = work.job.clone();
    job.guarded(async {
        let carried = work.carried(work.destination.shows_texts(&work.table)?)?;
        if !has_report {
            return work.write_rows(&select(&work.own(), &[], &carried, &work.call(INPUT))).await;
        }
        work.group().await?;
        work.write_rows(&work.rows_of(&carried)).await?;
        work.describe(|call| call).await?;
        work.write_report().await
    })
    .await?;
    work.report();
    Ok(())
}

/// `sembla topics`.
///
/// # Errors
/// As [`cluster`].
pub(crate) async fn topics(args: &TopicsArgs, interrupt: &Interrupt) -> Result<()> {
    let output = &args.finding.output;
    let topic_file = args.topics.as_deref();
    let topic_file = topic_file.map(|path| ResultFile::new(path, output.overwrite)).transpose()?;
    if topic_file.is_some() && args.topics == output.output {
        return Err(Failure::user("--output and --topics must be different files"));
    }
    let destination = Destination::new(output)?.and(topic_file.as_ref());
    let asked = Asked {
        kind: TOPICS,
        finding: &args.finding,
        options: &|call: Call| call.options(args.options.given()),
        carry: &args.carry,
        partition_by: &args.partition.partition_by,
        report: &args.report,
    };
    let mut work = Grouping::begin(asked, destination, interrupt).await?;
    work.need_texts("topics need")?;
    let job = work.job.clone();
    job.guarded(async {
        work.group().await?;
        let to_file = work.destination.file.is_some();
        let format = Format::from(output.format);
        if to_file || format != Format::Table {
            let carried = work.carried(output.text)?;
            work.write_rows(&work.rows_of(&carried)).await?;
        } else {
            work.count_rows().await?;
        }
        let of_words = args.options.given().iter();
        let of_words = of_words.filter(|(name, _)| WORD_OPTIONS.contains(name));
        work.describe(|call| call.options(of_words)).await?;
        if let Some(file) = topic_file {
            job.write(job.rows(TOPIC_ROWS).await?, &Destination::to(file), Ok).await?;
        }
        let printed = match format {
            Format::Table => Some(work.topics_for_people()),
            _ if to_file => Some(TOPIC_ROWS.to_string()),
            _ => None,
        };
        if let Some(sql) = printed {
            let stdout = Destination::stdout(format);
            job.write(job.rows(&sql).await?, &stdout, Ok).await?;
        }
        work.write_report().await
    })
    .await?;
    work.report();
    Ok(())
}

/// What the user asked for, as far as clusters and topics have it alike.
#[derive(Clone, Copy)]
struct Asked<'a> {
    kind: GroupKind,
    finding: &'a FindingArgs,
    /// Adds the options that were given to a call of the finding.
    options: &'a dyn Fn(Call) -> Call,
    carry: &'a CarryArgs,
    partition_by: &'a [String],
    report: &'a ReportArgs,
}

/// The work of one command.
struct Grouping<'a> {
    asked: Asked<'a>,
    job: Job<'a>,
    destination: Destination,
    table: InputTable,
    groups: Groups,
}

impl<'a> Grouping<'a> {
    /// Opens the session and the input, and loads the model if one is needed.
    async fn begin(
        asked: Asked<'a>,
        destination: Destination,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let finding = asked.finding;
        report::check(asked.report.report.as_deref(), finding.output.overwrite)?;
        let job = Job::begin(&finding.resources, interrupt)?;
        let others = [asked.partition_by, &asked.carry.columns].concat();
        let table = job.register_input(finding, &others, &destination).await?;
        job.load_model_for(&finding.resources, &[&table])?;
        let groups = Groups::new(asked.kind.name, asked.partition_by);
        Ok(Self { asked, job, destination, table, groups })
    }

    /// The finding over a table.
    fn call(&self, input: &str) -> Call {
        let call = Call::new(self.asked.kind.function, input)
            .relation("partition_by", partition(self.asked.partition_by).as_deref());
        (self.asked.options)(call)
    }

    /// # Errors
    /// When there is no column of text; `what` says what needs one.
    fn need_texts(&self, what: &str) -> Result<()> {
        if self.table.has_text {
            return Ok(());
        }
        Err(Failure::user(format!("{what} texts; name their column with --column")))
    }

    /// The columns that the finding gives, those of groups first.
    fn own(&self) -> Vec<String> {
        let own = ["id", self.asked.kind.id].map(str::to_string);
        identifiers(self.asked.partition_by).into_iter().chain(own).collect()
    }

    /// The columns that go along with the rows.
    fn carried(&self, texts: bool) -> Result<Vec<String>> {
        let others = self.asked.carry.columns.iter();
        let others: Vec<_> =
            others.filter(|name| !self.asked.partition_by.contains(name)).cloned().collect();
        carried(&["id", self.asked.kind.id], texts, &others)
    }

    /// The groups as a person reads them.
    fn topics_for_people(&self) -> String {
        let by: String =
            identifiers(self.asked.partition_by).iter().map(|name| format!("{name}, ")).collect();
        format!("SELECT {by}{TOPICS_FOR_PEOPLE}")
    }

    /// Embeds the input and groups it, into the table [`GROUPED`].
    async fn group(&self) -> Result<()> {
        // Planned and thrown away: it tells what is wrong with the options before texts are
        // embedded.
        self.job.rows(&select(&self.own(), &[], &self.carried(false)?, &self.call(INPUT))).await?;
        let mut carried = self.carried(true)?;
        let vectors = if self.table.has_vectors { "embedding" } else { "embed(text) AS embedding" };
        let groups = identifiers(self.asked.partition_by);
        let read: Vec<_> = groups.iter().chain(&carried).map(String::as_str).collect();
        let texts = format!("SELECT id, {vectors}, {} FROM {INPUT}", read.join(", "));
        carried.push("embedding".to_string());
        let grouped = select(&self.own(), &[], &carried, &self.call(TEXTS));
        self.job.embed_into(TEXTS, &texts).await?;
        self.job.execute(&format!("CREATE TABLE {GROUPED} AS {grouped}")).await?;
        self.job.execute(&format!("DROP TABLE {TEXTS}")).await
    }

    /// The query for the rows and their groups.
    fn rows_of(&self, carried: &[String]) -> String {
        let columns: Vec<_> = self.own().into_iter().chain(carried.iter().cloned()).collect();
        format!("SELECT {} FROM {GROUPED}", columns.join(", "))
    }

    /// Writes the rows of a query, and counts their groups.
    async fn write_rows(&mut self, sql: &str) -> Result<()> {
        let groups = &mut self.groups;
        let id = self.asked.kind.id;
        let rows = self.job.rows(sql).await?;
        self.job
            .write(rows, &self.destination, |batch| {
                groups.count(&batch, id)?;
                Ok(batch)
            })
            .await
    }

    /// Counts the groups of the rows.
    async fn count_rows(&mut self) -> Result<()> {
        let id = self.asked.kind.id;
        for batch in self.job.collect(&self.rows_of(&[])).await? {
            self.groups.count(&batch, id)?;
        }
        Ok(())
    }

    /// Describes the groups by words and examples, into the table [`DESCRIBED`].
    async fn describe(&self, options: impl FnOnce(Call) -> Call) -> Result<()> {
        let call = Call::new("topic_table", GROUPED)
            .relation("topic", Some(self.asked.kind.id))
            .relation("partition_by", partition(self.asked.partition_by).as_deref());
        let columns: Vec<_> = identifiers(self.asked.partition_by)
            .into_iter()
            .chain(TOPIC_COLUMNS.map(str::to_string))
            .collect();
        let sql = select(&columns, &[], &[], &options(call));
        self.job.execute(&format!("CREATE TABLE {DESCRIBED} AS {sql}")).await
    }

    /// Writes the report, if one is wanted.
    async fn write_report(&self) -> Result<()> {
        let Asked { kind, finding, report: args, .. } = self.asked;
        let Some(path) = &args.report else {
            return Ok(());
        };
        let inputs = finding.input.inputs.join(", ");
        let title = match &args.title {
            Some(title) => title.clone(),
            None => format!("{}s of {}", capitalised(kind.name), names(&finding.input.inputs)),
        };
        let mut facts = vec![("Texts", inputs)];
        facts.extend(self.job.model().map(|model| ("Model", model)));
        facts.push(("Finding", self.call(INPUT).sql()));
        facts.push(("Program", format!("sembla {}", env!("CARGO_PKG_VERSION"))));
        let points = self.job.collect(&map_query(kind, args.map_points)).await?;
        let page = Page {
            title,
            group_name: kind.name,
            rows: self.groups.rows(),
            ungrouped: self.groups.none(),
            groups: read_groups(&self.job.collect(TOPIC_ROWS).await?)?,
            points: read_points(&points, kind.id)?,
            facts,
        };
        report::write(&page, path)?;
        eprintln!("the report is {}", path.display());
        Ok(())
    }

    /// Ends with a line on what was found.
    fn report(&self) {
        let words = format!("{}: {}", counted(self.table.rows, "row"), self.groups);
        self.job.report(&words, self.table.rows);
    }
}

/// The groups as a program reads them.
const TOPIC_ROWS: &str = "SELECT * FROM described";
/// What a person reads of the groups.
const TOPICS_FOR_PEOPLE: &str = "topic_id, size, array_to_string(words, ', ') AS words, \
    round(coherence, 3) AS coherence, representatives[1] AS example FROM described";

/// The columns of `topic_table` that are used.
const TOPIC_COLUMNS: [&str; 7] =
    ["topic_id", "size", "label", "words", "coherence", "representative_ids", "representatives"];

/// The options of `topics` that say how its topics are described, which `topic_table` has too.
const WORD_OPTIONS: [&str; 4] = ["words", "ngrams", "stop_words", "reduce_frequent_words"];

/// The query for the map: at most `points` texts, evenly picked.
fn map_query(kind: GroupKind, points: usize) -> String {
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

/// The names of the inputs without their folders, the first few.
fn names(inputs: &[String]) -> String {
    const NAMES: usize = 3;
    let name = |input: &String| {
        let name = Path::new(input).file_name();
        name.map_or_else(|| input.clone(), |name| name.to_string_lossy().into_owned())
    };
    let named: Vec<_> = inputs.iter().take(NAMES).map(name).collect();
    match inputs.len().saturating_sub(NAMES) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The word with a capital first letter.
fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
