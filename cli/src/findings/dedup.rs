//! `sembla dedup`: exact and near duplicates, and which of them to keep.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, UInt64Type};
use futures::StreamExt;

use crate::args::DedupArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::notice;
use sembla_jobs::input::{Plan, Rows, Wanted, resolve};
use sembla_jobs::output::ResultFile;

use super::INPUT;
use super::described::column;
use super::job::{Destination, Job, counted};
use super::statement::{Call, carried, identifiers, partition, select};
use super::tally::{Duplicates, Kept};

/// The table of earlier rows.
const EARLIER: &str = "earlier";

/// Runs the command.
///
/// # Errors
/// When the input, the options or the output are not as they should be, or on Ctrl-C.
pub(crate) async fn run(args: &DedupArgs, interrupt: &Interrupt) -> Result<()> {
    let finding = &args.finding;
    let destination = Destination::new(&finding.output)?;
    let job = Job::begin(&finding.resources, interrupt)?;
    let others = [args.partition.partition_by.as_slice(), &args.carry.columns].concat();
    let table = job.register_input(finding, &others, &destination).await?;
    let earlier = args.against.as_ref().map(|file| {
        job.register(EARLIER, std::slice::from_ref(file), &finding.input, &[], &destination)
    });
    let earlier = earlier.transpose()?;
    if args.pairs.is_none() {
        let tables: Vec<_> = [&table].into_iter().chain(&earlier).collect();
        job.load_model_for(&finding.resources, &tables)?;
    }
    let mut duplicates = Duplicates::default();
    job.guarded(async {
        // Of images there is no corpus to copy: the rows are their paths.
        if let (true, Some(file), false) = (args.only_kept, &destination.file, table.has_images) {
            return write_corpus(args, &job, file, &mut duplicates).await;
        }
        let sql = statement(args, destination.shows_texts(&table)?)?;
        job.write(job.rows(&sql).await?, &destination, |batch| {
            let kept = duplicates.count(&batch)?;
            if args.only_kept { kept.of(&batch) } else { Ok(batch) }
        })
        .await
    })
    .await?;
    job.report(&format!("{}: {duplicates}", counted(table.rows, "row")), table.rows);
    Ok(())
}

/// Writes the rows to keep as the input has them: all its columns, or those that are named.
async fn write_corpus(
    args: &DedupArgs,
    job: &Job<'_>,
    file: &ResultFile,
    duplicates: &mut Duplicates,
) -> Result<()> {
    let columns = (!args.carry.columns.is_empty()).then_some(args.carry.columns.as_slice());
    let wanted = Wanted { text: None, columns, output_column: None };
    let plan = Plan::new(resolve(&args.finding.input.inputs, &[file.path()])?, &wanted, &notice)?;
    let mut kept: Vec<bool> = Vec::new();
    let sql = select(&VERDICT, &[], &[], &call(args, NUMBERED));
    let mut verdicts = sembla_sql::planning::stream(job.rows(&sql).await?).await?;
    while let Some(batch) = verdicts.next().await {
        let batch = batch?;
        let rows = column(&batch, ROW, &DataType::UInt64)?;
        let rows = rows.as_primitive::<UInt64Type>().values();
        for (row, is_kept) in rows.iter().zip(duplicates.count(&batch)?.iter()) {
            let row = usize::try_from(*row).unwrap_or(usize::MAX);
            if kept.len() <= row {
                kept.resize(row + 1, true);
            }
            if let Some(kept) = kept.get_mut(row) {
                *kept = is_kept;
            }
        }
    }
    let mut unfinished = file.create()?;
    let mut writer = unfinished.rows(&plan.schema)?;
    let mut row = 0;
    for batch in Rows::new(&plan, 0, BATCH_ROWS) {
        job.check()?;
        let batch = batch?;
        let verdicts = kept
            .get(row..row + batch.num_rows())
            .ok_or_else(|| Failure::user("the input changed while it was read"))?;
        row += batch.num_rows();
        writer.write(&Kept::new(verdicts).of(&batch)?)?;
    }
    writer.finish()?;
    unfinished.publish()
}

/// The column that numbers the input's rows, whatever names them.
const ROW: &str = "__sembla_row";

/// The input with that column.
const NUMBERED: &str = "(SELECT *, row_number() OVER () - 1 AS __sembla_row FROM input)";

/// The columns that say whether a row stays, and why not.
const VERDICT: [&str; 3] = [ROW, "is_kept", "reason"];

/// Rows that are read at a time.
const BATCH_ROWS: usize = 4096;

/// The finding over a table or a sub-query.
fn call(args: &DedupArgs, input: &str) -> Call {
    let call = Call::new("dedup", input)
        .relation("partition_by", partition(&args.partition.partition_by).as_deref())
        .relation("against", args.against.as_ref().map(|_| EARLIER))
        .text("pairs", args.pairs.as_deref());
    call.options(args.options.given())
}

/// The statement, with the texts if `texts`.
fn statement(args: &DedupArgs, texts: bool) -> Result<String> {
    let own = ["id", "cluster_id", "representative_id", "is_kept", "score", "reason"];
    let groups = &args.partition.partition_by;
    let others: Vec<_> =
        args.carry.columns.iter().filter(|name| !groups.contains(name)).cloned().collect();
    let carried = carried(&own, texts, &others)?;
    let own: Vec<_> = identifiers(groups).into_iter().chain(own.map(str::to_string)).collect();
    Ok(select(&own, &[], &carried, &call(args, INPUT)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn options_go_into_the_statement() {
        let line =
            "sembla dedup in.csv --threshold 0.95 --keep longest --mode closure --against old.csv";
        let cli = Cli::try_parse_from(line.split(' ')).expect("arguments");
        let Some(Command::Dedup(args)) = cli.command else { panic!("it deduplicates") };
        assert_eq!(
            statement(&args, true).expect("a statement"),
            "SELECT id, cluster_id, representative_id, is_kept, score, reason, text FROM dedup(input, against => earlier, \
             threshold => 0.95, mode => 'closure', keep => 'longest')"
        );
        let line = "sembla dedup in.csv --partition-by customer,lang --columns lang,url";
        let cli = Cli::try_parse_from(line.split(' ')).expect("arguments");
        let Some(Command::Dedup(args)) = cli.command else { panic!("it deduplicates") };
        assert_eq!(
            statement(&args, false).expect("a statement"),
            "SELECT \"customer\", \"lang\", id, cluster_id, representative_id, is_kept, score, reason, \"url\" \
             FROM dedup(input, partition_by => (\"customer\", \"lang\"))"
        );
    }
}
