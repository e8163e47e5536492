//! What `sembla models` and `sembla bench` take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::positive;
use crate::model_flags::ModelFlags;

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
    /// Operations a second of the innermost loops, per instruction level, beside one core's peak
    Kernels,
}

/// `sembla bench embed`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sembla bench embed\n  \
    sembla bench embed -m sentence-transformers/all-MiniLM-L6-v2 --precision f32,q8 --rows 5000\n\n\
    sembla bench embed --profile --precision f32,q8\n\n\
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

    /// Show where the time goes, by operator, on one core and over 2,000 texts at most
    #[arg(long)]
    pub(crate) profile: bool,

    /// The model.
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}
