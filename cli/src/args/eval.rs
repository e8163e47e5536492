//! What `sembla eval` takes.

use std::path::PathBuf;

use clap::Args;

use super::{FormatFlag, SessionArgs};

/// `sembla eval`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A task is KIND=SOURCE or KIND:NAME=SOURCE. A source is a file or a query, and its columns are known by their \
    names (write … AS score):\n  \
    sts         sentence1, sentence2, score   Spearman's correlation of similarities with scores\n  \
    pairs       sentence1, sentence2, label   average precision; labels are 0 and 1\n  \
    clustering  text, label                   V-measure of mini-batch k-means\n  \
    classify    text, label                   accuracy of a linear classifier shown 8 texts of each label; split may tell rows apart\n  \
    bitext      sentence1, sentence2          F1 of taking the nearest for the translation\n  \
    retrieval   query, document               nDCG@10; or a folder with queries, corpus and relevant (or qrels)\n  \
    rerank      query, document, label        mean average precision of each query's candidates\n\n\
    A suite is a folder with a suite.toml, which has a [[task]] with name, kind and data for each task (for retrieval also \
    queries, corpus, relevant); {suite} in its queries is the folder.\n\n\
    Scores are those of MTEB, with the models' own prompts. Each model runs in a process of its own, whose peak memory is that \
    of the model, the texts and the query engine.\n\n\
    Examples:\n  \
    sembla eval --models minilm,potion --suite sts=stsb.csv,retrieval=faq.parquet\n  \
    sembla eval --models minilm,./mymodel --suite support/ -o ranking.html -o ranking.parquet\n  \
    sembla eval --models minilm --suite \"clustering:tickets=SELECT text, topic AS label FROM 'tickets/*.parquet'\""
)]
pub(crate) struct EvalArgs {
    /// The models: bundled names, model directories or hub ids
    #[arg(long, value_name = "A,B", value_delimiter = ',', required = true)]
    pub(crate) models: Vec<String>,

    /// Tasks, and folders of them; can be repeated
    #[arg(long, value_name = "KIND=SOURCE,… or DIR", required = true)]
    pub(crate) suite: Vec<String>,

    /// Write the ranking to this .md, .html, .json, .parquet, .csv, .ndjson, .jsonl or .arrow file;
    /// can be repeated
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Vec<PathBuf>,

    /// Replace files that exist
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Format of standard output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatFlag,

    /// Memory limit of queries, such as 512m or 4g [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = super::bytes)]
    pub(crate) memory_limit: Option<usize>,

    /// Partitions, and so threads, of a query [default: one per core]
    #[arg(long, value_name = "N", value_parser = super::positive)]
    pub(crate) threads: Option<usize>,
}

impl EvalArgs {
    /// The session of the queries.
    pub(crate) fn session(&self) -> SessionArgs {
        SessionArgs { model: None, memory_limit: self.memory_limit, threads: self.threads }
    }
}
