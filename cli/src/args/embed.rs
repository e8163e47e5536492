//! What `sembla embed` takes.

use std::path::PathBuf;

use clap::Args;
use sembla_jobs::embed::Cleanup;
use sembla_sql::ChunkSpec;

use super::positive;
use crate::model_flags::ModelFlags;

/// `sembla embed`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "IN: .parquet, .csv, .tsv, .json, .jsonl and .ndjson files (all but .parquet also with .gz, \
    .bz2, .xz or .zst), folders of them, globs, or addresses (s3://, gs://, az://, https://). key=value folders become \
    columns. IN may be a table of PostgreSQL too: postgres://user@host/database?table=articles, read as of one moment. \
    OUT: a .parquet, .csv, .ndjson, .arrow or .npy file, a folder for Parquet \
    files, a table of PostgreSQL with pgvector, or a collection of Chroma or Qdrant. NULL texts get NULL vectors. With --chunk, \
    each chunk is a row, with chunk_index, chunk_start, chunk_end, token_count, heading_path and chunk in place of the \
    text. A .npy file holds only the vectors, as float32 (NaN for NULL); the column id, or those of --columns, go to \
    OUT.ids.csv beside it, row for row.\n\n\
    IN may be images too (JPEG, PNG, WebP, GIF, BMP, TIFF), with a model that takes them: the rows are path, width, height, \
    format, error and the vector, which is NULL where error says why. --incremental --key path embeds only what is new or \
    changed.\n\n\
    Finished parts are kept in OUT.partial until the end. If the run is killed, run the same command again: it \
    resumes and gives the same rows. A table has the rows and the progress in one transaction: \
    postgres://user@host/database?table=docs&key=id, with the options of the connector and of \
    the connection (sslmode, …) behind the '?'. Rows with a key that is there already are replaced; without key=, all \
    are added. The password can be in PGPASSWORD.\n\n\
    A collection of Chroma is chroma://host:8000?collection=docs&key=id, one of Qdrant \
    qdrant://host:6333?collection=docs&key=id&api_key=env:QDRANT_KEY (chroma+https:// and qdrant+https:// with TLS).\n\n\
    Examples:\n  \
    sembla embed tickets.parquet -o vectors.parquet --column text\n  \
    sembla embed 'logs/*.jsonl.gz' -o vectors/ --column message --columns id,message -m potion\n  \
    sembla embed docs.csv -o vectors.npy --column body --columns url\n  \
    sembla embed tickets.parquet -o vectors.parquet --column text --only-new id\n  \
    sembla embed tickets.parquet -o vectors.parquet --column text --incremental --key id\n  \
    sembla embed tickets.parquet -o vectors.parquet --column text --incremental --key id --dry-run\n  \
    sembla embed manuals.parquet -o chunks.parquet --chunk markdown:256:32\n  \
    sembla embed docs.csv -o 'postgres://app@db/shop?table=docs&key=id&index=hnsw' --column body\n  \
    sembla embed docs.csv -o docs.parquet --column body --precision q8 --cache ~/.cache/sembla"
)]
pub(crate) struct EmbedArgs {
    /// Files, folders or globs to read, in this order
    #[arg(required = true, value_name = "IN")]
    pub(crate) inputs: Vec<String>,

    /// The file to write (.parquet, .csv, .ndjson, .arrow or .npy), or a folder of Parquet files;
    /// an address (s3://, gs://, az://, https://) is uploaded to at the end; postgres://…?table=T
    /// writes a table
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// Column with the text, or a field of one such as doc.body [default: text, or the only text
    /// column]
    #[arg(short, long, value_name = "COLUMN")]
    pub(crate) column: Option<String>,

    /// Name of the new vector column
    #[arg(long, value_name = "NAME", default_value = "embedding")]
    pub(crate) output_column: String,

    /// Input columns to keep, separated by commas [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub(crate) columns: Option<Vec<String>>,

    /// Cut texts into chunks, and embed each: recursive, sentence, markdown, tokens or semantic,
    /// with the most tokens of a chunk, and how many of them repeat the end of the one before
    #[arg(long, value_name = "METHOD[:SIZE[:OVERLAP]]", conflicts_with = "only_new")]
    pub(crate) chunk: Option<ChunkSpec>,

    /// Prompt of the model to put before each text, by its name in the model's configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt: Option<String>,

    /// Replace OUT if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Embed only rows with a value of COLUMN that OUT does not have yet, and add them to OUT, a
    /// .parquet file or a folder
    #[arg(long, value_name = "COLUMN", conflicts_with = "overwrite")]
    pub(crate) only_new: Option<String>,

    /// Embed only rows that are new or whose text changed since the last run, told apart by --key;
    /// OUT, a .parquet file, is replaced as a whole and gets a column content_hash. With
    /// --overwrite all are embedded again
    #[arg(long, requires = "key", conflicts_with = "only_new")]
    pub(crate) incremental: bool,

    /// Column whose values tell rows apart, for --incremental
    #[arg(long, value_name = "COLUMN", requires = "incremental")]
    pub(crate) key: Option<String>,

    /// What goes from OUT, for --incremental: rows whose key IN lacks (full), only earlier versions
    /// of rows that changed (incremental), or nothing (none)
    #[arg(
        long,
        value_name = "full|incremental|none",
        requires = "incremental",
        default_value = "full"
    )]
    pub(crate) cleanup: Cleanup,

    /// Write the figures of the run to standard output, as a JSON object in one line
    #[arg(long)]
    pub(crate) json: bool,

    /// Count rows and changes, embed a sample, and say how many texts and tokens there are and how
    /// long the run would take; nothing is written
    #[arg(long, conflicts_with_all = ["restart", "only_new"])]
    pub(crate) dry_run: bool,

    /// Folder that gets a list of all runs, well ended or not, for SELECT * FROM job_runs('DIR')
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Discard the parts of an unfinished run and start over
    #[arg(long)]
    pub(crate) restart: bool,

    /// Rows per call of the model
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 2048)]
    pub(crate) batch_rows: usize,

    /// Rows per part, the most that a kill can lose; a part also ends after 30 s [default: 256 MiB
    /// of vectors]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) part_rows: Option<usize>,

    /// The model.
    #[command(flatten)]
    pub(crate) model: ModelFlags,
}
