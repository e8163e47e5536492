//! What the command line takes. The words of `--help` live here; nothing is done here.
//!
//! This file has the command itself, SQL and what commands share; `embed`, `models` and `findings`
//! have the rest.

mod embed;
mod findings;
mod models;
mod run;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use sembla_jobs::output::Format;

pub(crate) use embed::EmbedArgs;
pub(crate) use findings::{
    CarryArgs, ClusterArgs, ClusterOptions, DedupArgs, FindingArgs, InputArgs, MineArgs,
    OutputArgs, ReportArgs, RerankArgs, ResourceArgs, SearchArgs, TopicsArgs,
};
pub(crate) use models::{
    BenchArgs, BenchCommand, ExportArgs, InspectArgs, ModelsCommand, QuantizeArgs,
};
pub(crate) use run::RunArgs;

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
        SEMBLA_MODELS            folders of models that are known by name\n  \
        ORT_DYLIB_PATH           the library of ONNX Runtime, where it does not lie beside the program\n  \
        SEMBLA_PROGRESS_SECONDS  seconds between two lines of progress where standard error is no terminal [default: 30; 0: none]\n  \
        RUST_LOG                 what is logged, such as sembla_sql=debug"
)]
pub(crate) struct Cli {
    /// Say what happens, on standard error; twice says more. RUST_LOG has the last word.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open the interactive shell (what `sembla` alone does), with options
    Shell(SessionArgs),
    /// Run SQL from the command line, from files, or from standard input
    Sql(SqlArgs),
    /// Run pipelines: streams in, windows of meaning, results out, exactly once
    Run(RunArgs),
    /// Turn a text column of many files into vectors in Parquet; resumes after a kill
    Embed(Box<EmbedArgs>),
    /// Find the texts that are nearest in meaning to a query, or to each of many
    Search(Box<SearchArgs>),
    /// Find the pairs of texts that say the same
    Mine(Box<MineArgs>),
    /// Find exact and near duplicates, and which of them to keep
    Dedup(Box<DedupArgs>),
    /// Put texts that are alike into clusters
    Cluster(Box<ClusterArgs>),
    /// Find the topics of texts, with words and examples
    Topics(Box<TopicsArgs>),
    /// Order texts by how well they answer a query, with a cross-encoder
    Rerank(Box<RerankArgs>),
    /// List, inspect, export and quantise models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Measure this machine
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands to a folder
    Man(ManArgs),
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
    /// Folder that gets a page for each command; it is made if need be
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

/// Options of a SQL session.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SessionArgs {
    /// Model that embed(text) uses when it names none: a built-in name, directory or hub id
    /// [default: minilm]
    #[arg(short, long, value_name = "NAME or PATH")]
    pub(crate) model: Option<String>,

    /// Memory that queries may use, such as 512m or 4g [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) memory_limit: Option<usize>,

    /// Partitions that a query runs in [default: one per core]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) threads: Option<usize>,
}

/// `sembla sql`.
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Statements are separated by semicolons. The first one that fails ends the run.\n\n\
    Examples:\n  \
    sembla sql \"SELECT count(*) FROM 'logs/*.parquet'\"\n  \
    sembla sql --format csv -f report.sql > report.csv\n  \
    echo \"SELECT embed('hello')\" | sembla sql --format ndjson\n\n\
    Files, folders and globs of Parquet, CSV and JSON lines can stand in FROM, in quotes.\n\
    The table format shortens long texts and vectors; csv, json and ndjson print them whole."
)]
pub(crate) struct SqlArgs {
    /// SQL to run, after the files of -f; standard input when there is neither
    #[arg(value_name = "QUERY")]
    pub(crate) query: Option<String>,

    /// File of statements; can be given several times, `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,

    /// How rows are printed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatFlag,

    /// Stop each result of the table format after so many rows [default: no limit]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) max_rows: Option<usize>,

    /// Print the seconds that each statement took
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
    /// Columns for people
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
        _ => Err("write a whole number of at least 1".to_string()),
    }
}

/// Reads a number that is one: neither infinite nor NaN.
fn finite(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) => Ok(number),
        _ => Err("write a number such as 0.8".to_string()),
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
    let wrong = || "write a size such as 512m or 4g".to_string();
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let shift = match lower.strip_prefix(digits).unwrap_or_default() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        unit => return Err(format!("unit '{unit}' is not known; use k, m, g or t")),
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
