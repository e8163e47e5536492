//! The first texts of a file, for whoever wants to see some before all are embedded.

use super::vectors;
use crate::failure::Result;
use crate::input::{Notice, Plan, Rows, Wanted, resolve};

/// The first `limit` texts of a file that are not NULL.
///
/// # Errors
/// When the file or its column can't be read.
pub fn texts_of(
    input: &str,
    column: &str,
    limit: usize,
    notice: Notice<'_>,
) -> Result<Vec<String>> {
    const BATCH_ROWS: usize = 4096;
    let files = resolve(&[input.to_string()], &[])?;
    let wanted = Wanted { text: Some(column), columns: Some(&[]), output_column: None };
    let plan = Plan::new(files, &wanted, notice)?;
    let text = plan.column(column)?;
    let mut texts = Vec::new();
    for batch in Rows::new(&plan, 0, BATCH_ROWS) {
        let batch = vectors::Texts::new(batch?.column(text))?;
        texts.extend(batch.present().into_iter().map(str::to_string));
        if texts.len() >= limit {
            break;
        }
    }
    texts.truncate(limit);
    Ok(texts)
}
