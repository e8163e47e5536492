//! Runs the real binary, and makes and reads the files of the end-to-end tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::Float32Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

/// What a run left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The output of a run that went well.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out
    }

    /// The one line of a run that failed with `code`.
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "not one line: {}", self.err);
        assert!(self.err.starts_with("error: "), "{}", self.err);
        self.err.trim_end().trim_start_matches("error: ").to_string()
    }
}

/// A folder of a test, and the binary that runs in it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sembla"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null()).env_remove("RUST_LOG");
        bundled(&mut command);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let output = self.command(args).output().expect("the binary runs");
        Run {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary runs")
    }
}

/// Names the checkout's models and ONNX Runtime where the environment names none: the target folder
/// of the binary can lie anywhere.
pub(crate) fn bundled(command: &mut Command) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = root.join(".sembla/onnxruntime/libonnxruntime.so");
    for (name, path) in
        [("SEMBLA_MODELS", root.join("models/builtin")), ("ORT_DYLIB_PATH", library)]
    {
        if std::env::var_os(name).is_none() && path.exists() {
            command.env(name, path);
        }
    }
}

/// Rows of `id` and `text`; every 17th text is NULL.
pub(crate) fn rows(count: usize) -> RecordBatch {
    let words = ["card", "money", "late", "transfer", "refund", "account", "open", "lost", "fee"];
    let text = |row: usize| {
        let pick = |step: usize| words[(row / step) % words.len()];
        (row % 17 != 16).then(|| format!("{} {} {} {row}", pick(1), pick(9), pick(81)))
    };
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count as i64));
    let texts: ArrayRef = Arc::new((0..count).map(text).collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("text", texts, true)])
        .expect("a batch")
}

/// Writes Parquet with small row groups.
pub(crate) fn write_parquet(path: &Path, batch: &RecordBatch) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(700)).build();
    let file = File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
}

/// All rows of a Parquet file.
pub(crate) fn read_parquet(path: &Path) -> RecordBatch {
    let file = File::open(path).expect("a file");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> =
        builder.build().expect("a reader").map(|batch| batch.expect("a batch")).collect();
    let schema = Arc::new(schema.as_ref().clone().with_metadata(Default::default()));
    let batches: Vec<_> = batches
        .into_iter()
        .map(|batch| batch.with_schema(Arc::clone(&schema)).expect("the same fields"))
        .collect();
    concat_batches(&schema, &batches).expect("one batch")
}

/// The vector of a row.
pub(crate) fn vector(batch: &RecordBatch, column: &str, row: usize) -> Option<Vec<f32>> {
    let lists = batch.column_by_name(column).expect("the column").as_fixed_size_list();
    lists.is_valid(row).then(|| lists.value(row).as_primitive::<Float32Type>().values().to_vec())
}
