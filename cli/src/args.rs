//! What the command line takes. The words of `--help` live here; nothing is done here.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::model_flags::ModelFlags;

/// SQL over what text means.
#[derive(Debug, Parser)]
#[command(
    name = "sembla",
    version,
    about = "SQL over what text means: embed, search, compare and re-rank text over Parquet, CSV and JSON.",
    after_help = "Without a command, a shell opens.\n\n\
        Examples:\n  \
        sembla\n  \
        sembla sql \"SELECT text FROM 'tickets.parquet' ORDER BY similarity(text, 'refund late') DESC LIMIT 5\"\n  \
        sembla embed tickets.parquet -o vectors.parquet --column text\n  \
        sembla models list\n\n\
        Exit codes: 0 success, 1 a failure of the outside world or of Sembla, 2 a mistake in the request or the\n\
        input, 130 Ctrl-C. Results go to standard output, all other words to standard error."
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
    /// Turn a text column of many files into vectors in Parquet; resumes after a kill
    Embed(Box<EmbedArgs>),
    /// List, inspect, export and quantise models
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Measure this machine
    #[command(subcommand)]
    Bench(BenchCommand),
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
    pub(crate) format: Format,

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

/// How rows are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// Comma-separated values with a header line
    Csv,
    /// One JSON array of objects per statement
    Json,
    /// One JSON object a line
    Ndjson,
}

/// `sembla embed`.
#[derive(Debug, Args)]
#[command(
    after_help = "Inputs are .parquet, .csv, .json, .jsonl and .ndjson files (the last four also with .gz), \
    folders of them,\nor globs. OUT is a .parquet file, or a folder that gets part files. NULL texts get NULL \
    vectors.\n\n\
    Finished parts are kept in OUT.partial until the end. Started again with the same arguments after a kill,\n\
    the run goes on where it was and gives the same rows.\n\n\
    Examples:\n  \
    sembla embed tickets.parquet -o vectors.parquet --column text\n  \
    sembla embed 'logs/*.jsonl.gz' -o vectors/ --column message --columns id,message -m potion\n  \
    sembla embed docs.csv -o docs.parquet --column body --precision q8 --cache ~/.cache/sembla"
)]
pub(crate) struct EmbedArgs {
    /// Files, folders or globs to read, in this order
    #[arg(required = true, value_name = "IN")]
    pub(crate) inputs: Vec<String>,

    /// The .parquet file or the folder to write
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Column that holds the text
    #[arg(short, long, value_name = "COLUMN")]
    pub(crate) column: String,

    /// Name of the new column of vectors
    #[arg(long, value_name = "NAME", default_value = "embedding")]
    pub(crate) output_column: String,

    /// Input columns to keep, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) columns: Option<Vec<String>>,

    /// Prompt of the model to put before each text: the name of one that its configuration has
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt: Option<String>,

    /// Replace OUT if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Throw away the parts of an unfinished run and start anew
    #[arg(long)]
    pub(crate) restart: bool,

    /// Rows that the model gets at a time
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 2048)]
    pub(crate) batch_rows: usize,

    /// Rows of a part: what a kill can lose at most; a part also ends after 30 s [default: 256 MiB
    /// of vectors]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) part_rows: Option<usize>,

    /// The model.
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}

/// `sembla models …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Show the models that come with Sembla and where they are
    List,
    /// Load a model and show what is known of it
    Inspect(InspectArgs),
    /// Write the ONNX graph that Sembla runs to a file
    Export(ExportArgs),
    /// Write an 8-bit copy of a model directory
    Quantize(QuantizeArgs),
}

/// `sembla models inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Built-in name, model directory, .onnx file or hub id
    #[arg(value_name = "NAME or PATH")]
    pub(crate) name: String,

    /// How to load it.
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}

/// `sembla models export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Built-in name, model directory or hub id
    #[arg(value_name = "NAME or PATH")]
    pub(crate) name: String,

    /// The .onnx file to write
    #[arg(value_name = "OUT.onnx")]
    pub(crate) output: PathBuf,

    /// How to build it.
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}

/// `sembla models quantize`.
#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// Model directory, built-in name or hub id with 32-bit weights
    #[arg(value_name = "IN")]
    pub(crate) input: String,

    /// The new directory
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
}

/// `sembla bench …`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Texts and tokens a second of a model on this machine, per precision
    Embed(BenchArgs),
}

/// `sembla bench embed`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sembla bench embed\n  \
    sembla bench embed -m sentence-transformers/all-MiniLM-L6-v2 --precision f32,q8 --rows 5000\n\n\
    --precision takes several here, separated by commas.")]
pub(crate) struct BenchArgs {
    /// Texts of a run
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 2000)]
    pub(crate) rows: usize,

    /// Measured runs, after one that warms up; the median counts
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 3)]
    pub(crate) runs: usize,

    /// Parquet, CSV or JSON lines file with texts [default: the customer questions of
    /// examples/data]
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<String>,

    /// Column of --input that holds the text
    #[arg(short, long, value_name = "COLUMN", default_value = "text")]
    pub(crate) column: String,

    /// The model.
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}

/// Reads a whole number of at least one.
fn positive(text: &str) -> Result<usize, String> {
    match text.replace('_', "").parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write a whole number of at least 1".to_string()),
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
