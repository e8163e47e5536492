//! Commands over folders of images: the images become rows whose ids are their paths, with a vector
//! each, and every finding runs over those.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{filter_record_batch, is_not_null};
use datafusion::error::DataFusionError;
use sembla_jobs::input::InputTable;
use sembla_jobs::printable::printable;
use sembla_models::images::decode;

use super::INPUT;
use super::job::Job;
use super::statement::literal;
use crate::args::{FindingArgs, InputArgs};
use crate::failure::{Failure, Result};
use crate::notice;

/// Images that are left out and named one by one.
const NAMED_MAX: u64 = 10;

/// Makes the images of a command the table [`INPUT`]. Those that can't be used are left out, and
/// named on standard error.
///
/// # Errors
/// Options that are for tables, a model that takes no images, and what reading says.
pub(super) async fn register(
    job: &Job<'_>,
    args: &FindingArgs,
    others: &[String],
) -> Result<InputTable> {
    check_options(&args.input, others)?;
    job.load_model(&args.resources)?;
    let queries: Vec<String> = args
        .input
        .inputs
        .iter()
        .map(|input| {
            format!(
                "SELECT path AS id, embed_image(bytes, NULL, 'null') AS embedding, error FROM read_images({})",
                literal(input)
            )
        })
        .collect();
    let mut unusable = Unusable::default();
    let rows = job
        .guarded(job.embed_each_into(INPUT, &queries, |batch| {
            Ok(unusable.left_out(&batch)?.project(&[0, 1]).map_err(DataFusionError::from)?)
        }))
        .await?;
    unusable.report();
    if rows == 0 {
        return Err(Failure::user("none of the images can be used"));
    }
    Ok(InputTable::of_images(rows, job.dimension()))
}

/// Refuses what only tables have.
fn check_options(input: &InputArgs, others: &[String]) -> Result<()> {
    let named = [
        ("--column", input.column.is_some()),
        ("--id", input.id.is_some()),
        ("--vectors", input.vectors.is_some()),
        ("--where", input.condition.is_some()),
        ("columns by name", !others.is_empty()),
    ];
    match named.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::user(format!(
            "{name} can't be used with images, whose only columns are their path and vector; use sembla sql with read_images"
        ))),
    }
}

/// Counts and names images that can't be used.
#[derive(Default)]
struct Unusable {
    count: u64,
}

impl Unusable {
    /// The rows of a batch of `id, embedding, error` that have a vector.
    fn left_out(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let vectors = batch.column(1);
        let (paths, errors) = (batch.column(0), batch.column(2).as_string_opt::<i32>());
        for row in (0..batch.num_rows()).filter(|row| vectors.is_null(*row)) {
            self.count += 1;
            if self.count > NAMED_MAX {
                continue;
            }
            let path = paths.as_string_opt::<i32>().map_or("", |paths| paths.value(row));
            let error =
                errors.filter(|errors| errors.is_valid(row)).map(|errors| errors.value(row));
            let why = error.map_or_else(|| problem(path), str::to_string);
            notice(&format!("left out: '{}' {why}", printable(path)));
        }
        let valid = is_not_null(vectors).map_err(DataFusionError::from)?;
        Ok(filter_record_batch(batch, &valid).map_err(DataFusionError::from)?)
    }

    /// Says how many more images were left out than were named.
    fn report(&self) {
        if self.count > NAMED_MAX {
            notice(&format!("{} more images are left out", self.count - NAMED_MAX));
        }
    }
}

/// What is wrong with an image whose header is sound.
fn problem(path: &str) -> String {
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"));
    let decoded = bytes.and_then(|bytes| decode(&bytes, true).map_err(|error| error.to_string()));
    decoded.err().unwrap_or_else(|| "could not be read at first".to_string())
}
