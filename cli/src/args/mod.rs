//! What the command line takes. The words of `--help` live here; nothing is done here.
//!
//! This file has the command itself, SQL and what commands share; `embed`, `models` and `findings`
//! have the rest.

mod distil;
mod embed;
mod eval;
mod findings;
mod models;
mod run;
mod train;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use sembla_jobs::output::Format;

pub(crate) use distil::DistilArgs;
pub(crate) use embed::EmbedArgs;
pub(crate) use eval::EvalArgs;
pub(crate) use findings::{
    CarryArgs, ClusterArgs, DedupArgs, FindingArgs, InputArgs, MineArgs, OutputArgs, ReportArgs,
    RerankArgs, ResourceArgs, SearchArgs, TopicsArgs,
};
pub(crate) use models::{
    BenchArgs, BenchCommand, ExportArgs, InspectArgs, ModelsCommand, NewArgs, PcaArgs, PruneArgs,
    QuantizeArgs,
};
pub(crate) use run::RunArgs;
pub(crate) use train::TrainArgs;

/// The version, with the commit that it was built from where that is known.
pub(crate) const VERSION: &str = env!("SEMBLA_VERSION");

/// SQL and streams over what text means.
#[derive(Debug, Parser)]
#[command(
    name = "sembla",
    version = VERSION,
    about = "SQL and streams over what text means: embed, search, compare and re-rank text over Parquet, CSV, JSON and Kafka.",
    after_help = "Without a command, a shell opens.\n\n\
        Examples:\n  \
        sembla\n  \
        sembla sql \"SELECT text FROM 'tickets.parquet' ORDER BY similarity(text, 'refund late') DESC LIMIT 5\"\n  \
        sembla embed tickets.parquet -o vectors.parquet --column text\n  \
        sembla search tickets.parquet --query 'the refund is late'\n  \
        sembla topics tickets.parquet --report topics.html\n  \
        sembla run pipeline.sql\n  \
        sembla models list\n\n\
        Exit codes: 0 success, 1 runtime or internal error, 2 invalid request or input, 130 Ctrl-C, 143 SIGTERM. \
        Results go to standard output, everything else to standard error.\n\n\
        Environment:\n  \
        SEMBLA_MODELS            folder of the bundled models\n  \
        ORT_DYLIB_PATH           path of the ONNX Runtime library, if it is not beside the program\n  \
        SEMBLA_PROGRESS_SECONDS  seconds between progress lines if standard error is not a terminal [default: 30; 0: none]\n  \
        RUST_LOG                 log filter, such as sembla_sql=debug"
)]
pub(crate) struct Cli {
    /// Log to standard error what happens; repeat for more. RUST_LOG overrides it.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open the interactive shell, as `sembla` alone does, with options
    Shell(SessionArgs),
    /// Run SQL from the command line, from files, or from standard input
    Sql(SqlArgs),
    /// Run streaming pipelines, with exactly-once delivery
    Run(RunArgs),
    /// Embed a text column of files, into Parquet, CSV, JSON lines, Arrow or .npy; resumes after a
    /// kill
    Embed(Box<EmbedArgs>),
    /// Find the texts nearest in meaning to one query, or to each of many
    Search(Box<SearchArgs>),
    /// Find pairs of texts that mean the same (paraphrases)
    Mine(Box<MineArgs>),
    /// Find exact and near duplicates, and which rows to keep
    Dedup(Box<DedupArgs>),
    /// Cluster texts by meaning
    Cluster(Box<ClusterArgs>),
    /// Find the topics of texts, with their words and examples
    Topics(Box<TopicsArgs>),
    /// Re-rank texts by how well they answer a query, with a cross-encoder
    Rerank(Box<RerankArgs>),
    /// Fine-tune a model on the rows of a query; resumes after a kill
    Train(Box<TrainArgs>),
    /// Make smaller students of a model, which learn to give its vectors; resumes after a kill
    Distil(Box<DistilArgs>),
    /// Rank models by what they score on your own tasks, by speed and by memory
    Eval(Box<EvalArgs>),
    /// Measure one model for `sembla eval`
    #[command(hide = true)]
    EvalModel,
    /// List, inspect, export, quantise and shrink models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Benchmark models and kernels on this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print shell completions
    Completions(CompletionsArgs),
    /// Print the manual page, or write the pages of all commands to a folder
    Man(ManArgs),
    /// Write the pages of the documentation that are made from declarations
    #[command(hide = true)]
    Pages(PagesArgs),
}

/// `sembla completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sembla completions bash > ~/.local/share/bash-completion/completions/sembla\n  \
    sembla completions zsh > \"${fpath[1]}/_sembla\"\n  \
    sembla completions fish > ~/.config/fish/completions/sembla.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `sembla man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sembla man | man -l -\n  sembla man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder for the pages of all commands; created if missing
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

/// `sembla pages`, which `make docs` runs.
#[derive(Debug, Args)]
pub(crate) struct PagesArgs {
    /// Folder that gets the pages
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// Options of a SQL session.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SessionArgs {
    /// Model for calls that name none: a bundled name, a model directory or a hub id
    /// [default: minilm]
    #[arg(short, long, value_name = "NAME or PATH")]
    pub(crate) model: Option<String>,

    /// Memory limit of queries, such as 512m or 4g [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) memory_limit: Option<usize>,

    /// Partitions, and so threads, of a query [default: one per core]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) threads: Option<usize>,
}

/// `sembla sql`.
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Statements are separated by semicolons. The first failing statement ends the run.\n\n\
    Examples:\n  \
    sembla sql \"SELECT count(*) FROM 'logs/*.parquet'\"\n  \
    sembla sql --format csv -f report.sql > report.csv\n  \
    echo \"SELECT embed('hello')\" | sembla sql --format ndjson\n\n\
    FROM takes files, folders and globs of Parquet, CSV and JSON, in quotes.\n\
    The table format shortens long texts and vectors; the other formats print them in full."
)]
pub(crate) struct SqlArgs {
    /// SQL to run, after the files of -f; standard input if there is neither
    #[arg(value_name = "QUERY")]
    pub(crate) query: Option<String>,

    /// File of statements, or `-` for standard input; can be repeated
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,

    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatFlag,

    /// Print at most N rows of each result in table format [default: no limit]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) max_rows: Option<usize>,

    /// Print how long each statement took
    #[arg(long)]
    pub(crate) timing: bool,

    /// Print each statement, with the comments above it, before its result
    #[arg(long)]
    pub(crate) echo: bool,

    /// The session.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// The values of `--format`; [`Format`] says what each is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatFlag {
    /// Aligned columns, for reading
    #[default]
    Table,
    /// Comma-separated values with a header line
    Csv,
    /// One JSON array of objects per statement
    Json,
    /// One JSON object a line
    Ndjson,
    /// The stream format of Arrow IPC, one stream per statement
    Arrow,
}

impl From<FormatFlag> for Format {
    fn from(flag: FormatFlag) -> Self {
        match flag {
            FormatFlag::Table => Self::Table,
            FormatFlag::Csv => Self::Csv,
            FormatFlag::Json => Self::Json,
            FormatFlag::Ndjson => Self::Ndjson,
            FormatFlag::Arrow => Self::Arrow,
        }
    }
}

/// Reads a whole number of at least one.
fn positive(text: &str) -> Result<usize, String> {
    match text.replace('_', "").parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("must be a whole number >= 1".to_string()),
    }
}

/// Reads a size such as `512m` or `4g` (binary multiples) as bytes.
///
/// # Errors
/// When the text is not a number with an optional unit, or is zero.
fn bytes(text: &str) -> Result<usize, String> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let wrong = || "must be a size such as 512m or 4g".to_string();
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let shift = match lower.strip_prefix(digits).unwrap_or_default() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        unit => return Err(format!("unknown unit '{unit}'; use k, m, g or t")),
    };
    let size = number * (1_u64 << shift) as f64;
    if size >= 1.0 && size <= usize::MAX as f64 { Ok(size as usize) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("4g"), Ok(4 << 30));
        assert_eq!(bytes("1.5 MiB"), Ok(3 << 19));
        for wrong in ["", "g", "-1", "4x", "0", "nan"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
