//! `job_runs('FOLDER')` in `FROM`: the past runs of jobs that keep their state in a folder, as
//! `sembla embed --state` writes them.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use serde_json::Value;

use crate::SqlError;
use crate::columns::{TIME_TYPE, constant};

/// The file of a state folder that has a line of JSON for each run.
pub const JOB_RUNS_FILE: &str = "runs.ndjson";

/// The name of the function.
const NAME: &str = "job_runs";

/// Bytes of the file that are read.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// The columns, and what they are called in the file.
const COLUMNS: &[(&str, &str, DataType)] = &[
    ("began", "began_us", TIME_TYPE),
    ("seconds", "seconds", DataType::Float64),
    ("status", "status", DataType::Utf8),
    ("output", "output", DataType::Utf8),
    ("rows", "rows", DataType::Int64),
    ("new", "new", DataType::Int64),
    ("changed", "changed", DataType::Int64),
    ("unchanged", "unchanged", DataType::Int64),
    ("gone", "gone", DataType::Int64),
    ("embedded", "embedded", DataType::Int64),
    ("from_cache", "from_cache", DataType::Int64),
    ("truncated", "truncated", DataType::Int64),
    ("tokens", "tokens", DataType::Int64),
    ("model", "model", DataType::Utf8),
    ("fingerprint", "fingerprint", DataType::Utf8),
    ("error", "error", DataType::Utf8),
];

/// Registers the function with a session.
pub(crate) fn register(context: &SessionContext) {
    context.register_udtf(NAME, Arc::new(JobRuns));
}

#[derive(Debug)]
struct JobRuns;

impl TableFunctionImpl for JobRuns {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let bad = || {
            SqlError::Statement(format!(
                "{NAME} takes one text in quotes: the state folder of a job, as in {NAME}('nightly.state')"
            ))
        };
        let [folder] = args.exprs() else { return Err(bad().into()) };
        let folder = constant(folder.clone())?.ok_or_else(bad)?;
        let folder = folder.try_as_str().flatten().ok_or_else(bad)?;
        let batch = table(&read(Path::new(folder))?)?;
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}

/// The runs of a folder, in their order. A line that a kill has cut short is no run.
fn read(folder: &Path) -> Result<Vec<Value>, SqlError> {
    let path = folder.join(JOB_RUNS_FILE);
    let failed = |error: std::io::Error| {
        let hint = match fs::exists(folder) {
            Ok(true) => "sembla embed --state writes it",
            _ => "check the name of the folder",
        };
        SqlError::Statement(format!("{NAME}: {}: {error}; {hint}", path.display()))
    };
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(LIST_BYTES_MAX).read_to_string(&mut text))
        .map_err(failed)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn table(runs: &[Value]) -> Result<RecordBatch, SqlError> {
    let columns = COLUMNS.iter().map(|(_, key, data_type)| -> ArrayRef {
        let values = runs.iter().map(|run| run.get(*key));
        let whole = values.clone().map(|value| value.and_then(Value::as_i64));
        match data_type {
            DataType::Float64 => {
                let values = values.map(|value| value.and_then(Value::as_f64));
                Arc::new(values.collect::<Float64Array>())
            }
            DataType::Int64 => Arc::new(whole.collect::<Int64Array>()),
            DataType::Utf8 => {
                let values = values.map(|value| value.and_then(Value::as_str));
                Arc::new(values.collect::<StringArray>())
            }
            _ => Arc::new(whole.collect::<TimestampMicrosecondArray>()),
        }
    });
    let fields =
        COLUMNS.iter().map(|(name, _, data_type)| Field::new(*name, data_type.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.collect())
        .map_err(|error| SqlError::Bug(error.to_string()))
}
