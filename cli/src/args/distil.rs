//! What `sembla distil` takes.

use std::path::PathBuf;

use clap::Args;

use super::train::HowArgs;
use super::{SessionArgs, positive};

/// `sembla distil`.
#[derive(Clone, Debug, Args)]
#[command(
    mut_arg("batch", |arg| arg.default_value("64")),
    mut_arg("learning_rate", |arg| arg.help("The highest learning rate [default: 1e-4; 1e-3 for a static student]")),
    after_help = "Each student is trained to give the teacher's vectors (mean squared error) and written to OUT, in a folder layers-N. \
    A static student comes from the teacher's vocabulary, as model2vec makes it. \
    With --eval the best state of each is what is written. At the end teacher and students are measured side by side.\n\n\
    Progress is kept in OUT.partial until the end. If the run is killed, run the same command again: it resumes.\n\n\
    Examples:\n  \
    sembla distil --layers 3,2,1 --data \"SELECT text FROM 'texts.parquet'\" \\\n    \
    --eval \"SELECT sentence1, sentence2, score FROM 'dev.csv'\" -o students\n  \
    sembla distil --layers 6 --dimensions 128 --data \"SELECT text FROM 'texts.parquet'\" -o small\n  \
    sembla distil --static --eval \"SELECT sentence1, sentence2, score FROM 'dev.csv'\" -o fast\n  \
    sembla distil --student intfloat/multilingual-e5-small --multilingual \\\n    \
    --data \"SELECT english AS text, french AS translation FROM 'pairs.parquet'\" -o bilingual\n  \
    sembla sql \"SELECT embed('hello', './students/layers-3')\""
)]
pub(crate) struct DistilArgs {
    /// The model that students learn from: a bundled name, a model directory or a hub id
    #[arg(long, value_name = "NAME or PATH", default_value = "minilm")]
    pub(crate) teacher: String,

    /// The model that students begin with [default: the teacher]
    #[arg(long, value_name = "NAME or PATH")]
    pub(crate) student: Option<String>,

    /// Layers that each student keeps, evenly spaced: a student for each number [default: one
    /// student with all layers]
    #[arg(long, value_name = "N,M", value_delimiter = ',', value_parser = positive)]
    pub(crate) layers: Vec<usize>,

    /// Cut vectors to N components: the teacher's principal components, as a dense layer
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) dimensions: Option<usize>,

    /// Make a static student too: a table of the teacher's tokens, shortened to 256 components (or
    /// --dimensions) and weighted; needs no --data
    #[arg(long = "static")]
    pub(crate) with_static: bool,

    /// Teach that a translation has the vector of the original: --data has columns text and
    /// translation
    #[arg(long)]
    pub(crate) multilingual: bool,

    /// Query whose texts to learn from: one column, text; only a static student needs none
    #[arg(long, value_name = "QUERY")]
    pub(crate) data: Option<String>,

    /// Query whose rows to measure on, as for `sembla train`: sentence1, sentence2, score
    #[arg(long, value_name = "QUERY")]
    pub(crate) eval: Option<String>,

    /// Folder for the students, each a model directory
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,

    /// How they are trained.
    #[command(flatten)]
    pub(crate) how: HowArgs,

    /// The session of the queries.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}
