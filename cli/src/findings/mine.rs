//! `sembla mine`: the pairs of texts that say the same.

use crate::args::MineArgs;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

use super::INPUT;
use super::job::{Destination, Job, counted};
use super::statement::{Call, Text, select};

/// The table of the other side.
const OTHER: &str = "other";

/// Runs the command.
///
/// # Errors
/// When the input, the options or the output are not as they should be, or on Ctrl-C.
pub(crate) async fn run(args: &MineArgs, interrupt: &Interrupt) -> Result<()> {
    let finding = &args.finding;
    if args.options.has("all_pairs") && (args.options.has("top_k") || args.options.has("max_pairs"))
    {
        return Err(Failure::user(
            "--all-pairs can't be combined with --top-k or --max-pairs, as it returns every pair",
        ));
    }
    let destination = Destination::new(&finding.output)?;
    let job = Job::begin(&finding.resources, interrupt)?;
    let table = job.register_input(finding, &[], &destination).await?;
    let other = match &args.with {
        Some(file) => Some(job.register(
            OTHER,
            std::slice::from_ref(file),
            &finding.input,
            &[],
            &destination,
        )?),
        None => None,
    };
    let tables: Vec<_> = [&table].into_iter().chain(&other).collect();
    job.load_model_for(&finding.resources, &tables)?;
    let mut pairs = 0;
    job.guarded(async {
        let sql = statement(args, destination.shows_texts(&table)?);
        job.write(job.rows(&sql).await?, &destination, |batch| {
            pairs += batch.num_rows() as u64;
            Ok(batch)
        })
        .await
    })
    .await?;
    let rows = table.rows + other.map_or(0, |other| other.rows);
    job.report(&format!("{}: {}", counted(rows, "row"), counted(pairs, "pair")), rows);
    Ok(())
}

/// The statement, with both texts if `texts`.
fn statement(args: &MineArgs, texts: bool) -> String {
    let other = args.with.as_ref().map(|_| OTHER);
    let call = Call::new("paraphrase_mining", INPUT).relation("other", other);
    let call = call.options(args.options.given());
    let text_a = Text { name: "text_a", table: INPUT, id: "id_a" };
    let text_b = Text { name: "text_b", table: other.unwrap_or(INPUT), id: "id_b" };
    let shown: &[Text<'_>] = if texts { &[text_a, text_b] } else { &[] };
    select(&["score", "id_a", "id_b"], shown, &[], &call)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn sql(line: &[&str], texts: bool) -> String {
        let cli = Cli::try_parse_from([&["sembla", "mine", "in.csv"], line].concat());
        let Some(Command::Mine(args)) = cli.expect("arguments").command else { panic!("it mines") };
        statement(&args, texts)
    }

    #[test]
    fn options_go_into_the_statement() {
        assert_eq!(
            sql(&["--threshold", "0.9", "--all-pairs"], false),
            "SELECT score, id_a, id_b FROM paraphrase_mining(input, threshold => 0.9, all_pairs => true)"
        );
        let with = sql(&["--with", "b.csv", "--top-k", "1", "--max-pairs", "9"], true);
        assert!(
            with.contains("paraphrase_mining(input, other => other, top_k => 1, max_pairs => 9)"),
            "{with}"
        );
        assert!(with.contains("JOIN other AS text_b ON text_b.id = found.id_b"), "{with}");
    }
}
