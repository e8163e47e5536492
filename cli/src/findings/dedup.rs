//! `sembla dedup`: exact and near duplicates, and which of them to keep.

use crate::args::DedupArgs;
use crate::failure::Result;
use crate::interrupt::Interrupt;

use super::INPUT;
use super::job::{Destination, Job, counted};
use super::statement::{Call, carried, select};
use super::tally::Duplicates;

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
    let table = job.register_input(finding, &args.carry.columns, &destination)?;
    if let Some(file) = &args.against {
        job.register(EARLIER, std::slice::from_ref(file), &finding.input, &[], &destination)?;
    }
    if args.pairs.is_none() && !table.has_vectors {
        job.load_model(&finding.resources)?;
    }
    let mut duplicates = Duplicates::default();
    job.guarded(async {
        let sql = statement(args, destination.shows_texts(&table)?)?;
        job.write(job.rows(&sql).await?, &destination, |batch| {
            let kept = duplicates.count(&batch)?;
            if args.only_kept { kept.of(&batch) } else { Ok(batch) }
        })
        .await
    })
    .await?;
    job.told(&format!("{}: {duplicates}", counted(table.rows, "row")), table.rows);
    Ok(())
}

/// The statement, with the texts if `texts`.
fn statement(args: &DedupArgs, texts: bool) -> Result<String> {
    let call = Call::new("dedup", INPUT)
        .number("threshold", args.threshold)
        .text("keep", args.keep.as_deref())
        .text("mode", args.mode.as_deref())
        .relation("against", args.against.as_ref().map(|_| EARLIER))
        .text("pairs", args.pairs.as_deref())
        .text("reranker", args.reranker.as_deref());
    let own = ["id", "cluster_id", "representative_id", "is_kept", "score", "reason"];
    Ok(select(&own, &[], &carried(&own, texts, &args.carry.columns)?, &call))
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
            "SELECT id, cluster_id, representative_id, is_kept, score, reason, text FROM dedup(input, threshold => 0.95, \
             keep => 'longest', mode => 'closure', against => earlier)"
        );
    }
}
