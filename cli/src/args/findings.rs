//! What the commands on findings take: `search`, `mine`, `dedup`, `cluster`, `topics`, `rerank`.
//!
//! The options of the finding itself come from its declaration ([`FindingFlags`]); here is what a
//! command adds to it: files, columns, output, reports.

use std::path::PathBuf;

use clap::Args;

use super::{FormatFlag, bytes, positive};
use crate::finding_flags::{Finding, FindingFlags};
use crate::model_flags::ModelFlags;

const FILES_HELP: &str = "IN: .parquet, .csv, .tsv, .json, .jsonl and .ndjson files (all but .parquet also with \
    .gz, .bz2, .xz or .zst), folders of them, globs, or addresses (s3://, gs://, az://, https://). key=value \
    folders become columns. OUT: a .parquet, .csv, .ndjson, .jsonl or .arrow file.";

/// Which rows a command reads.
#[derive(Clone, Debug, Args)]
pub(crate) struct InputArgs {
    /// Files, folders or globs to read, in this order
    #[arg(required = true, value_name = "IN")]
    pub(crate) inputs: Vec<String>,

    /// Column with the text, or a field of one such as doc.body [default: text, or the only text
    /// column]
    #[arg(short, long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,

    /// Column with the id of a row [default: id, else the row number, from 0]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id: Option<String>,

    /// Column with existing vectors, so that no text is embedded [default: embedding or vector, or
    /// the only column of lists of floats]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) vectors: Option<String>,

    /// Work only on the rows that meet a condition in SQL over the columns of IN, such as "price >
    /// 10"
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) condition: Option<String>,
}

/// Columns that go along with the rows.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CarryArgs {
    /// Input columns to add to the result, separated by commas; '*' is all
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
}

/// Groups of rows that have nothing to do with each other.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PartitionArgs {
    /// Columns, separated by commas: each group of equal values is processed separately, and rows
    /// come group by group, with these columns first
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) partition_by: Vec<String>,
}

/// Where the rows of a result go.
#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write the result to this .parquet, .csv, .ndjson, .jsonl or .arrow file
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Format of standard output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatFlag,

    /// Add the texts to csv, json, ndjson and OUT too; the table format always has them
    #[arg(long)]
    pub(crate) text: bool,
}

/// What a command may use.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResourceArgs {
    /// Memory limit, such as 512m or 4g [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) memory_limit: Option<usize>,

    /// The model.
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}

/// What every command on findings takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct FindingArgs {
    /// The rows.
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// The result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Memory and model.
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
}

/// What `sembla search` runs.
#[derive(Clone, Debug)]
pub(crate) struct Search;

impl Finding for Search {
    const NAME: &'static str = "semantic_search";
    const LETTERS: &'static [(&'static str, char)] = &[("top_k", 'k')];
}

/// What `sembla mine` runs.
#[derive(Clone, Debug)]
pub(crate) struct Mine;

impl Finding for Mine {
    const NAME: &'static str = "paraphrase_mining";
    const LETTERS: &'static [(&'static str, char)] = &[("top_k", 'k')];
}

/// What `sembla dedup` runs.
#[derive(Clone, Debug)]
pub(crate) struct Dedup;

impl Finding for Dedup {
    const NAME: &'static str = "dedup";
}

/// What `sembla cluster` runs.
#[derive(Clone, Debug)]
pub(crate) struct Clusters;

impl Finding for Clusters {
    const NAME: &'static str = "clusters";
    const LETTERS: &'static [(&'static str, char)] = &[("algorithm", 'a'), ("k", 'k')];
}

/// What `sembla topics` runs.
#[derive(Clone, Debug)]
pub(crate) struct Topics;

impl Finding for Topics {
    const NAME: &'static str = "topics";
    const LETTERS: &'static [(&'static str, char)] = Clusters::LETTERS;
}

/// `sembla search`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILES_HELP}\n\n\
    Columns: query_id, rank, id, score. query_id is what --queries-id names, else the id of the query, \
    else its row number, from 0. IN may be images (JPEG, PNG, WebP, GIF, BMP, TIFF) with a model that takes them; their \
    id is their path.\n\n\
    Examples:\n  \
    sembla search tickets.parquet --query 'the refund is late' --top-k 5\n  \
    sembla search 'docs/*.csv' --column body --queries questions.csv -o hits.parquet\n  \
    sembla search vectors.parquet --vectors embedding --query 'lost card' --format ndjson --text\n  \
    sembla search photos/ -m ./clip-vit-base-patch32 --query 'two dogs in the snow' --report found.html"))]
pub(crate) struct SearchArgs {
    /// What to look for; can be repeated
    #[arg(short, long, value_name = "TEXT", required_unless_present_any = ["queries", "query_image"])]
    pub(crate) query: Vec<String>,

    /// Image to look for among images; can be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query", "queries"])]
    pub(crate) query_image: Vec<String>,

    /// Write a page with the images that were found, in one file that needs no network
    #[arg(long, value_name = "PAGE.html", conflicts_with = "queries")]
    pub(crate) report: Option<PathBuf>,

    /// File, folder or glob with queries
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    pub(crate) queries: Option<String>,

    /// Column with the texts of the queries [default: text, or the only text column]
    #[arg(long, value_name = "COLUMN", requires = "queries")]
    pub(crate) queries_column: Option<String>,

    /// Column with the id of a query [default: id, else the row number, from 0]
    #[arg(long, value_name = "COLUMN", requires = "queries")]
    pub(crate) queries_id: Option<String>,

    /// Column with the vectors of the queries
    #[arg(long, value_name = "COLUMN", requires = "queries")]
    pub(crate) queries_vectors: Option<String>,

    /// The options of the finding.
    #[command(flatten)]
    pub(crate) options: FindingFlags<Search>,

    /// Columns that go along.
    #[command(flatten)]
    pub(crate) carry: CarryArgs,

    /// What all commands take.
    #[command(flatten)]
    pub(crate) finding: FindingArgs,
}

/// `sembla mine`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILES_HELP}\n\n\
    Columns: score, id_a, id_b, best first.\n\n\
    Examples:\n  \
    sembla mine questions.parquet --threshold 0.9\n  \
    sembla mine new.csv --with old.csv --top-k 1 -o pairs.csv --text"))]
pub(crate) struct MineArgs {
    /// Find pairs of a row of IN and a row of this file, instead of pairs within IN; its columns
    /// have the same names
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Option<String>,

    /// The options of the finding.
    #[command(flatten)]
    pub(crate) options: FindingFlags<Mine>,

    /// What all commands take.
    #[command(flatten)]
    pub(crate) finding: FindingArgs,
}

/// `sembla dedup`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILES_HELP}\n\n\
    Columns: id, cluster_id, representative_id, is_kept, score, reason (exact or near). With --only-kept, \
    just the rows to keep; with -o too, OUT is the clean corpus: the input's rows with all their columns, or those \
    of --columns.\n\n\
    Examples:\n  \
    sembla dedup corpus.parquet --id id -o duplicates.parquet\n  \
    sembla dedup corpus.parquet --only-kept -o clean.parquet\n  \
    sembla dedup today.csv --against yesterday.csv --threshold 0.95 --keep longest\n  \
    sembla mine corpus.parquet --threshold 0.8 --all-pairs -o pairs.parquet\n  \
    sembla dedup corpus.parquet --pairs pairs.parquet --threshold 0.85 --format csv"))]
pub(crate) struct DedupArgs {
    /// Earlier corpus: rows that it already contains are dropped; its columns have the same names
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<String>,

    /// Pairs that `mine --all-pairs` saved, so that another threshold costs nothing
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    pub(crate) pairs: Option<String>,

    /// Return only the rows to keep; in OUT, with all columns of the input
    #[arg(long)]
    pub(crate) only_kept: bool,

    /// The options of the finding.
    #[command(flatten)]
    pub(crate) options: FindingFlags<Dedup>,

    /// Groups that are looked at one by one.
    #[command(flatten)]
    pub(crate) partition: PartitionArgs,

    /// Columns that go along.
    #[command(flatten)]
    pub(crate) carry: CarryArgs,

    /// What all commands take.
    #[command(flatten)]
    pub(crate) finding: FindingArgs,
}

/// The page for people.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// Write a self-contained page with a map of the texts to this .html file
    #[arg(long, value_name = "OUT.html", conflicts_with = "partition_by")]
    pub(crate) report: Option<PathBuf>,

    /// Title of the page
    #[arg(long, value_name = "TEXT", requires = "report")]
    pub(crate) title: Option<String>,

    /// Texts on the map at most, evenly sampled
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 10_000, requires = "report")]
    pub(crate) map_points: usize,
}

/// `sembla cluster`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILES_HELP}\n\n\
    Columns: id, cluster_id (NULL for a row in no cluster).\n\n\
    Examples:\n  \
    sembla cluster questions.parquet --k 20\n  \
    sembla cluster questions.parquet --algorithm agglomerative --threshold 0.4 -o clusters.parquet \\\n    \
    --report clusters.html"))]
pub(crate) struct ClusterArgs {
    /// The options of the finding.
    #[command(flatten)]
    pub(crate) options: FindingFlags<Clusters>,

    /// Groups that are looked at one by one.
    #[command(flatten)]
    pub(crate) partition: PartitionArgs,

    /// The page.
    #[command(flatten)]
    pub(crate) report: ReportArgs,

    /// Columns that go along.
    #[command(flatten)]
    pub(crate) carry: CarryArgs,

    /// What all commands take.
    #[command(flatten)]
    pub(crate) finding: FindingArgs,
}

/// `sembla topics`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILES_HELP}\n\n\
    The result is two tables. The topic of each text (id, topic_id; NULL for a text in no topic) goes to OUT, or is \
    printed as csv, json or ndjson. The topics themselves (topic_id, size, label, words, coherence, representatives) \
    are printed as a table, or in --format where OUT is given, and go to --topics FILE.\n\n\
    Examples:\n  \
    sembla topics questions.parquet --report topics.html\n  \
    sembla topics questions.parquet --k 20 --words 5 -o topic_of_text.parquet --topics topics.csv"))]
pub(crate) struct TopicsArgs {
    /// The options of the finding.
    #[command(flatten)]
    pub(crate) options: FindingFlags<Topics>,

    /// Write the table of topics to this .parquet, .csv, .ndjson, .jsonl or .arrow file
    #[arg(long, value_name = "FILE")]
    pub(crate) topics: Option<PathBuf>,

    /// Groups that are looked at one by one.
    #[command(flatten)]
    pub(crate) partition: PartitionArgs,

    /// The page.
    #[command(flatten)]
    pub(crate) report: ReportArgs,

    /// Columns that go along.
    #[command(flatten)]
    pub(crate) carry: CarryArgs,

    /// What all commands take.
    #[command(flatten)]
    pub(crate) finding: FindingArgs,
}

/// `sembla rerank`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILES_HELP}\n\n\
    Columns: id, rank, score, best first. --model names a cross-encoder: a directory, an .onnx file or a hub id.\n\n\
    Examples:\n  \
    sembla rerank found.csv --query 'how do I change my PIN?' -m cross-encoder/ms-marco-MiniLM-L6-v2"))]
pub(crate) struct RerankArgs {
    /// The query that the texts should answer
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) query: String,

    /// Rows to return, the best ones [default: all]
    #[arg(short = 'k', long, value_name = "N", value_parser = positive)]
    pub(crate) top_k: Option<usize>,

    /// Columns that go along.
    #[command(flatten)]
    pub(crate) carry: CarryArgs,

    /// What all commands take.
    #[command(flatten)]
    pub(crate) finding: FindingArgs,
}
