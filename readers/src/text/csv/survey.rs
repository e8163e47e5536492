//! The columns of a CSV file, from all of its rows.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::text::buffer::Buffer;
use crate::text::dialect::{CsvDialect, TextOptions};
use crate::text::guess::{Guess, Seen};
use crate::text::records::{Records, Step};
use crate::text::survey::{Column, Splits, Surveyed};

use super::records::CsvRecords;

/// Reads a whole file.
pub(crate) fn survey(
    buffer: Buffer,
    dialect: &CsvDialect,
    options: &TextOptions,
    limits: &Limits,
) -> Result<Surveyed> {
    let file = buffer.name().to_string();
    let declared: Vec<_> = dialect
        .names
        .iter()
        .map(|name| options.types.iter().find(|(column, _)| column == name).map(|(_, to)| to))
        .collect();
    let mut seen = vec![Seen::NOTHING; declared.len()];
    // The columns whose types aren't known yet: once one has a text, it is text.
    let mut open: Vec<usize> =
        declared.iter().enumerate().filter(|(_, to)| to.is_none()).map(|(at, _)| at).collect();
    let mut records = CsvRecords::over(buffer, dialect, limits);
    let mut splits = Splits::new(dialect.compression);
    let mut rows = 0;
    loop {
        match records.next()? {
            Step::Record => {}
            Step::Bad(fault) => return Err(fault.into_error(&file)),
            Step::End => break,
        }
        let text = records.text().map_err(|fault| fault.into_error(&file))?;
        if text.len() > limits.value_bytes_max {
            check_values(&records, text, &file, limits)?;
        }
        let fields = records.fields();
        let mut is_any_text = false;
        for place in &open {
            let field = fields.get(*place);
            let value = field.and_then(|field| text.get(field.start..field.end));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let found = Seen::in_text(value);
                seen[*place] |= found;
                is_any_text |= found == Seen::TEXT;
            }
        }
        if is_any_text {
            open.retain(|place| !seen[*place].has(Seen::TEXT));
        }
        splits.offer(records.place());
        rows += 1;
    }
    let columns = dialect.names.iter().zip(seen).zip(declared).map(|((name, seen), declared)| {
        let guess = Guess { seen, ..Guess::default() };
        Column { name: name.clone(), guess, declared: declared.cloned() }
    });
    Ok(Surveyed { columns: columns.collect(), rows, splits, bytes: records.bytes_read() })
}

fn check_values(records: &CsvRecords, text: &str, file: &str, limits: &Limits) -> Result<()> {
    let is_long = |length: usize| length > limits.value_bytes_max;
    if text.is_empty() || !records.fields().iter().any(|field| is_long(field.end - field.start)) {
        return Ok(());
    }
    let (record, limit) = (records.describe(records.place()), limits.value_bytes_max);
    let what = format!("{record} has a value that exceeds value_bytes_max ({limit} bytes)");
    Err(Error::Limit(format!("file '{file}': {what}")))
}
