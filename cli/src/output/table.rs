//! The table for people. The widest cells of the first page set the widths; later rows are printed
//! as they come and may stick out.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use unicode_width::UnicodeWidthStr;

use super::cells;
use crate::failure::{Failure, Result};

/// Rows that decide the widths.
const PAGE_ROWS: usize = 1000;

/// A table that is being printed.
pub(crate) struct Table<'a> {
    out: &'a mut dyn Write,
    names: Vec<String>,
    /// Whether a column is aligned to the right.
    right: Vec<bool>,
    /// Widths, once the first page is printed.
    widths: Option<Vec<usize>>,
    /// Rows of the first page.
    page: Vec<Vec<String>>,
    rows: usize,
    max_rows: usize,
    /// Whether rows were left out.
    cut: bool,
}

impl<'a> Table<'a> {
    /// A table of at most `max_rows` rows.
    pub(crate) fn new(schema: &SchemaRef, max_rows: Option<usize>, out: &'a mut dyn Write) -> Self {
        Self {
            out,
            names: schema.fields().iter().map(|field| cells::heading(field.name())).collect(),
            right: schema.fields().iter().map(|field| field.data_type().is_numeric()).collect(),
            widths: None,
            page: Vec::new(),
            rows: 0,
            max_rows: max_rows.unwrap_or(usize::MAX),
            cut: false,
        }
    }

    /// Takes a batch; `false` when no more rows are wanted.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<bool> {
        let wanted = (self.max_rows - self.rows).min(batch.num_rows());
        self.cut |= wanted < batch.num_rows();
        let batch = batch.slice(0, wanted);
        let columns = batch.columns().iter().map(cells::short).collect::<Result<Vec<_>>>()?;
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        for _ in 0..wanted {
            let row: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
            self.rows += 1;
            if self.widths.is_some() {
                self.line(&row)?;
            } else {
                self.page.push(row);
                if self.page.len() == PAGE_ROWS {
                    self.print_page()?;
                }
            }
        }
        Ok(!self.cut)
    }

    /// Prints what is left, and how many rows there are.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.widths.is_none() {
            self.print_page()?;
        }
        let plural = if self.rows == 1 { "" } else { "s" };
        let more = if self.cut { "first " } else { "" };
        writeln!(self.out, "({more}{} row{plural})", self.rows)
            .and_then(|()| self.out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Sets the widths and prints the heading and the first page.
    fn print_page(&mut self) -> Result<()> {
        let page = std::mem::take(&mut self.page);
        let widths: Vec<_> = self
            .names
            .iter()
            .enumerate()
            .map(|(column, name)| {
                let cells = page.iter().filter_map(|row| row.get(column));
                cells.chain([name]).map(|cell| cell.width()).max().unwrap_or_default()
            })
            .collect();
        let rule: Vec<_> = widths.iter().map(|width| "─".repeat(*width)).collect();
        self.widths = Some(widths);
        let names = self.names.clone();
        self.line(&names)?;
        writeln!(self.out, "─{}─", rule.join("─┼─")).map_err(|error| Failure::output(&error))?;
        page.iter().try_for_each(|row| self.line(row))
    }

    /// Prints one line.
    fn line(&mut self, cells: &[String]) -> Result<()> {
        let widths = self.widths.as_deref().unwrap_or_default();
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            line.push_str(if index == 0 { " " } else { " │ " });
            let gap = " ".repeat(width.saturating_sub(cell.width()));
            if self.right.get(index) == Some(&true) {
                line.push_str(&gap);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&gap);
            }
        }
        writeln!(self.out, "{}", line.trim_end()).map_err(|error| Failure::output(&error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn printed(max_rows: Option<usize>) -> String {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(300)]));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "日本", "c"]));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("word", words)]).expect("batch");
        let mut out = Vec::new();
        let mut table = Table::new(&batch.schema(), max_rows, &mut out);
        assert_eq!(table.write(&batch).expect("written"), max_rows.is_none());
        table.finish().expect("finished");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn columns_line_up() {
        let expected =
            "    n │ word\n──────┼──────\n    1 │ a\n NULL │ 日本\n  300 │ c\n(3 rows)\n";
        assert_eq!(printed(None), expected);
    }

    #[test]
    fn a_bounded_table_says_so() {
        assert!(printed(Some(2)).ends_with("日本\n(first 2 rows)\n"));
    }
}
