//! What `sembla models` and `sembla bench` take.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{SessionArgs, positive};
use crate::model_flags::ModelFlags;

/// `sembla models …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the bundled models and where they are
    List,
    /// Load a model and show its properties
    Inspect(InspectArgs),
    /// Write the ONNX graph that Sembla runs to a file
    Export(ExportArgs),
    /// Make a model from modules: layers, pooling, dense layers; copied or random weights
    New(NewArgs),
    /// Write an 8-bit copy of a model directory
    Quantize(QuantizeArgs),
    /// Write a copy of a model directory with fewer layers or tokens
    Prune(Box<PruneArgs>),
    /// Write a copy of a model directory with shorter vectors (principal components)
    Pca(Box<PcaArgs>),
}

/// `sembla models new`.
#[derive(Debug, Args)]
#[command(after_help = "FILE is TOML:\n  \
    base = \"minilm\"            # its tokenizer, and its weights where they are copied\n  \
    pooling = [\"cls\", \"mean\"]  # also max, mean_sqrt_len_tokens, weightedmean, lasttoken [default: mean]\n  \
    normalize = true           # vectors of length 1 [default: false]\n  \
    seed = 42                  # what random weights follow from\n\n  \
    [transformer]\n  \
    weights = \"copied\"         # or \"random\", with width, heads, feed_forward, max_length\n  \
    layers = 3                 # evenly spaced ones of the base [default: all]\n\n  \
    [[dense]]                  # dense layers with random weights, first to last\n  \
    outputs = 128\n  \
    activation = \"tanh\"        # or identity, relu, gelu, sigmoid, silu [default: identity]\n  \
    bias = true\n\n\
    Random weights know nothing: train the model, with sembla train or as the student of sembla distil.\n\n\
    Examples:\n  \
    sembla models new small.toml small\n  \
    sembla train --base ./small --data \"SELECT anchor, positive FROM 'pairs.parquet'\" -o mymodel")]
pub(crate) struct NewArgs {
    /// Description of the model
    #[arg(value_name = "FILE")]
    pub(crate) description: PathBuf,

    /// The new directory
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
}

/// `sembla models inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Bundled name, model directory, .onnx file or hub id
    #[arg(value_name = "NAME or PATH")]
    pub(crate) name: String,

    /// How to load it.
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}

/// `sembla models export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Bundled name, model directory or hub id
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
    /// Model directory, bundled name or hub id, with 32-bit weights
    #[arg(value_name = "IN")]
    pub(crate) input: String,

    /// The new directory
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
}

/// `sembla models prune`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("kept").required(true).multiple(true)), after_help = "Without training a model with \
    fewer layers is faster and worse; sembla distil trains it to give the vectors of the whole one. With fewer \
    tokens it is smaller, and as good for texts like those of --data.\n\n\
    Examples:\n  \
    sembla models prune intfloat/multilingual-e5-small small --layers 6\n  \
    sembla models prune ./reranker ./fast --keep 0,1,2,3\n  \
    sembla models prune intfloat/multilingual-e5-small european --vocabulary 60000 --data \"SELECT text FROM 'texts.parquet'\"")]
pub(crate) struct PruneArgs {
    /// Model directory, bundled name or hub id
    #[arg(value_name = "IN")]
    pub(crate) input: String,

    /// The new directory
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Keep N layers, evenly spaced
    #[arg(long, value_name = "N", value_parser = positive, group = "kept", conflicts_with = "keep")]
    pub(crate) layers: Option<usize>,

    /// Keep these layers, numbered from 0
    #[arg(long, value_name = "A,B", value_delimiter = ',', group = "kept")]
    pub(crate) keep: Vec<usize>,

    /// Keep N tokens at most: special ones, letters, and the most frequent ones of --data
    #[arg(long, value_name = "N", value_parser = positive, group = "kept", requires = "data")]
    pub(crate) vocabulary: Option<usize>,

    /// Query whose texts decide which tokens stay: one column, text
    #[arg(long, value_name = "QUERY", requires = "vocabulary")]
    pub(crate) data: Option<String>,

    /// The session of the query.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// `sembla models pca`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sembla models pca sentence-transformers/all-mpnet-base-v2 short --dimensions 128 --data \"SELECT text FROM 'texts.parquet'\"\n  \
    sembla sql \"SELECT embed('hello', './short')\"")]
pub(crate) struct PcaArgs {
    /// Model directory, bundled name or hub id of a transformer that gives vectors
    #[arg(value_name = "IN")]
    pub(crate) input: String,

    /// The new directory
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Components of the new vectors
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) dimensions: usize,

    /// Query whose texts the components are found on: one column, text; some thousands are enough
    #[arg(long, value_name = "QUERY")]
    pub(crate) data: String,

    /// The session of the query.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

/// `sembla bench …`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Texts and tokens per second of a model, by precision
    Embed(BenchArgs),
    /// Operations per second of the inner loops, by instruction level, with the peak of one core
    Kernels,
}

/// `sembla bench embed`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  sembla bench embed\n  \
    sembla bench embed -m sentence-transformers/all-MiniLM-L6-v2 --precision f32,q8 --rows 5000\n\n\
    sembla bench embed --profile --precision f32,q8\n\n\
    --precision takes several here, separated by commas.")]
pub(crate) struct BenchArgs {
    /// Texts per run
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 2000)]
    pub(crate) rows: usize,

    /// Measured runs, after one warm-up; the median is reported
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 3)]
    pub(crate) runs: usize,

    /// Parquet, CSV or JSON lines file with texts [default: the customer questions in
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
