//! What the commands on findings take: `search`, `mine`, `dedup`, `cluster`, `topics`, `rerank`.
//!
//! An option that is left out is left to SQL, whose defaults the help repeats. Whether a number
//! makes sense is SQL's to say too; here only words that must be one of a few are checked.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::{FormatFlag, bytes, finite, positive};
use crate::model_flags::ModelFlags;

const FILES_HELP: &str = "Inputs are .parquet, .csv, .tsv, .json, .jsonl and .ndjson files (all but .parquet also with \
    .gz, .bz2, .xz or .zst), folders of them, globs, or addresses (s3://, gs://, az://, https://). Folders named \
    key=value are columns. OUT is a .parquet, .csv, .ndjson, .jsonl or .arrow file.";

/// Which rows a command reads.
#[derive(Clone, Debug, Args)]
pub(crate) struct InputArgs {
    /// Files, folders or globs to read, in this order
    #[arg(required = true, value_name = "IN")]
    pub(crate) inputs: Vec<String>,

    /// Column that holds the text; doc.body is a field of a column [default: text, or the only
    /// column of text]
    #[arg(short, long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,

    /// Column whose values name the rows [default: id, else the row number, from 0]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id: Option<String>,

    /// Column of vectors that are there already, so that no text is embedded [default: embedding or
    /// vector, or the only column of lists of floats]
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
    /// Input columns to put after those of the result, separated by commas; '*' is all
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
}

/// Groups of rows that have nothing to do with each other.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PartitionArgs {
    /// Columns, separated by commas: the work is done for each group of equal values by itself, and
    /// the rows come group by group, with these columns first
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) partition_by: Vec<String>,
}

/// Where the rows of a result go.
#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write the rows to this .parquet, .csv, .ndjson, .jsonl or .arrow file
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// How rows are printed on standard output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: FormatFlag,

    /// Put the texts beside the ids also in csv, json, ndjson and OUT, as the table format does
    #[arg(long)]
    pub(crate) text: bool,
}

/// What a command may use.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResourceArgs {
    /// Memory that the work may use, such as 512m or 4g [default: no limit]
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

/// `sembla search`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILES_HELP}\n\n\
    Columns: query_id, rank, id, score. A query_id is the id of the query, else its row number, from 0, or what \
    --queries-id names.\n\n\
    Examples:\n  \
    sembla search tickets.parquet --query 'the refund is late' --top-k 5\n  \
    sembla search 'docs/*.csv' --column body --queries questions.csv -o hits.parquet\n  \
    sembla search vectors.parquet --vectors embedding --query 'lost card' --format ndjson --text"))]
pub(crate) struct SearchArgs {
    /// What to look for; can be given several times
    #[arg(short, long, value_name = "TEXT", required_unless_present = "queries")]
    pub(crate) query: Vec<String>,

    /// File, folder or glob of queries
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    pub(crate) queries: Option<String>,

    /// Column of the queries' texts [default: text, or the only column of text]
    #[arg(long, value_name = "COLUMN", requires = "queries")]
    pub(crate) queries_column: Option<String>,

    /// Column whose values name the queries [default: id, else the row number, from 0]
    #[arg(long, value_name = "COLUMN", requires = "queries")]
    pub(crate) queries_id: Option<String>,

    /// Column of the queries' vectors
    #[arg(long, value_name = "COLUMN", requires = "queries")]
    pub(crate) queries_vectors: Option<String>,

    /// Hits per query [default: 10]
    #[arg(short = 'k', long, value_name = "N", value_parser = positive)]
    pub(crate) top_k: Option<usize>,

    /// Leave out hits with a lower score
    #[arg(long, value_name = "COSINE", value_parser = finite, allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,

    /// Find candidates on smaller vectors, then score them exactly [default: exact]
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(["exact", "int8", "binary"]))]
    pub(crate) candidates: Option<String>,

    /// Candidates per hit [default: 4]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) oversample: Option<usize>,

    /// Prompt of the model before each query [default: query, if the model has it]
    #[arg(long, value_name = "NAME")]
    pub(crate) query_prompt: Option<String>,

    /// Prompt of the model before each text [default: document, if the model has it]
    #[arg(long, value_name = "NAME")]
    pub(crate) document_prompt: Option<String>,

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
    /// Pairs of a row here with a row there, instead of pairs within the input; its columns have
    /// the same names
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Option<String>,

    /// Partners that are looked at per row [default: 100]
    #[arg(short = 'k', long, value_name = "N", value_parser = positive)]
    pub(crate) top_k: Option<usize>,

    /// Pairs to keep, the best ones [default: 500000]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) max_pairs: Option<usize>,

    /// Leave out pairs with a lower score
    #[arg(long, value_name = "COSINE", value_parser = finite, allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,

    /// Every pair at or above the threshold, whatever their number
    #[arg(long, requires = "threshold", conflicts_with_all = ["top_k", "max_pairs"])]
    pub(crate) all_pairs: bool,

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
    /// From which similarity on two texts are duplicates [default: 0.9]
    #[arg(long, value_name = "COSINE", value_parser = finite, allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,

    /// Which row of a cluster is kept [default: first]
    #[arg(long, value_name = "WHICH", value_parser = PossibleValuesParser::new(["first", "longest", "centroid"]))]
    pub(crate) keep: Option<String>,

    /// star: each dropped row is within the threshold of a kept one; closure: duplicates of
    /// duplicates go too [default: star]
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(["star", "closure"]))]
    pub(crate) mode: Option<String>,

    /// Earlier rows: what they have already is dropped here; its columns have the same names
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<String>,

    /// Pairs that `mine --all-pairs` saved: another threshold then costs nothing
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    pub(crate) pairs: Option<String>,

    /// Cross-encoder that confirms the pairs near the threshold
    #[arg(long, value_name = "NAME or PATH")]
    pub(crate) reranker: Option<String>,

    /// Give only the rows to keep; into OUT, as the input has them
    #[arg(long)]
    pub(crate) only_kept: bool,

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

/// How texts are put into clusters.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterOptions {
    /// How clusters are found [default: kmeans]
    #[arg(
        short,
        long,
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(["kmeans", "minibatch", "agglomerative", "dbscan", "hdbscan"])
    )]
    pub(crate) algorithm: Option<String>,

    /// Number of clusters [default for kmeans: the square root of half the rows, at most 100]
    #[arg(short, long, value_name = "N", value_parser = positive)]
    pub(crate) k: Option<usize>,

    /// Distance at which clusters stay apart: 1 - cosine, or Euclidean for ward
    #[arg(long, value_name = "DISTANCE", value_parser = finite, allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,

    /// Distance of two clusters of agglomerative [default: average]
    #[arg(
        long,
        value_name = "NAME",
        value_parser = PossibleValuesParser::new(["average", "complete", "single", "ward"])
    )]
    pub(crate) linkage: Option<String>,

    /// Rows that make a cluster of dbscan and hdbscan [default: 5]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) min_size: Option<usize>,

    /// Where the random numbers of kmeans begin [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

/// The page for people.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArgs {
    /// Write a page with a map of the texts to this .html file; it opens without a network
    #[arg(long, value_name = "OUT.html", conflicts_with = "partition_by")]
    pub(crate) report: Option<PathBuf>,

    /// Title of the page
    #[arg(long, value_name = "TEXT", requires = "report")]
    pub(crate) title: Option<String>,

    /// Texts that the map shows at most, picked evenly
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 10_000, requires = "report")]
    pub(crate) map_points: usize,
}

/// `sembla cluster`.
#[derive(Debug, Args)]
#[command(after_help = format!("{FILES_HELP}\n\n\
    Columns: id, cluster_id, which is NULL for a row of no cluster.\n\n\
    Examples:\n  \
    sembla cluster questions.parquet --k 20\n  \
    sembla cluster questions.parquet --algorithm agglomerative --threshold 0.4 -o clusters.parquet \\\n    \
    --report clusters.html"))]
pub(crate) struct ClusterArgs {
    /// The clusters.
    #[command(flatten)]
    pub(crate) options: ClusterOptions,

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
    Two tables come of it. The topic of each text (columns id, topic_id, which is NULL for a text of no topic) goes \
    to OUT, or is printed as csv, json or ndjson. The topics themselves (topic_id, size, label, words, coherence, \
    representatives) are printed as a table, or as --format says where OUT is given, and go to --topics FILE.\n\n\
    Examples:\n  \
    sembla topics questions.parquet --report topics.html\n  \
    sembla topics questions.parquet --k 20 --words 5 -o topic_of_text.parquet --topics topics.csv"))]
pub(crate) struct TopicsArgs {
    /// The clusters that become topics.
    #[command(flatten)]
    pub(crate) options: ClusterOptions,

    /// Words that describe a topic [default: 10]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) words: Option<usize>,

    /// Words that can stand together as one [default: 1]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) ngrams: Option<usize>,

    /// auto, none, or a language: words that describe nothing are left out [default: auto]
    #[arg(long, value_name = "WHICH")]
    pub(crate) stop_words: Option<String>,

    /// Merge the most similar topics until so many are left
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) reduce_to: Option<usize>,

    /// Merge topics that are at least so similar
    #[arg(long, value_name = "COSINE", value_parser = finite, allow_negative_numbers = true)]
    pub(crate) merge_threshold: Option<f64>,

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
    /// What the texts should answer
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) query: String,

    /// Rows to give, the best ones [default: all]
    #[arg(short = 'k', long, value_name = "N", value_parser = positive)]
    pub(crate) top_k: Option<usize>,

    /// Columns that go along.
    #[command(flatten)]
    pub(crate) carry: CarryArgs,

    /// What all commands take.
    #[command(flatten)]
    pub(crate) finding: FindingArgs,
}
