//! The table for people. The widest cells of the first page set the widths; later rows are printed
//! as they come. On a terminal it fits: the widest columns are cut first, and columns for which
//! there is no room are left out and counted.

use std::borrow::Cow;
use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use unicode_width::UnicodeWidthStr;

use super::cells::{self, CHARACTERS_SHOWN};
use super::look::Look;
use crate::failure::{Failure, Result};
use crate::numbers::count;
use crate::printable::cut;

/// Rows that decide the widths.
const PAGE_ROWS: usize = 1000;
/// A column of text is not cut below this.
const COLUMN_WIDTH_MIN: usize = 8;
/// Characters of a value that has a line of its own.
const VALUE_CHARACTERS_SHOWN: usize = 10_000;
/// What stands between two columns.
const BETWEEN: &str = " │ ";

/// A table that is being printed.
pub struct TablePrinter<'a> {
    out: &'a mut dyn Write,
    look: Look,
    names: Vec<String>,
    /// Whether a column is aligned to the right, and never cut.
    right: Vec<bool>,
    /// Widths of the columns that are shown, once the first page is printed.
    widths: Option<Vec<usize>>,
    /// Rows of the first page.
    page: Vec<Vec<String>>,
    /// Rows that are printed.
    rows: usize,
    /// Rows that are not printed.
    left_out: usize,
    /// Whether there may be more of those than were counted.
    is_counted: bool,
}

impl<'a> TablePrinter<'a> {
    /// A table that looks like this.
    pub fn new(schema: &SchemaRef, look: Look, out: &'a mut dyn Write) -> Self {
        Self {
            out,
            look,
            names: schema.fields().iter().map(|field| cells::heading(field.name())).collect(),
            right: schema.fields().iter().map(|field| field.data_type().is_numeric()).collect(),
            widths: None,
            page: Vec::new(),
            rows: 0,
            left_out: 0,
            is_counted: true,
        }
    }

    /// Takes a batch; `false` when no more rows are wanted.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<bool> {
        let wanted = self.look.max_rows.unwrap_or(usize::MAX) - self.rows;
        let wanted = wanted.min(batch.num_rows());
        self.left_out += batch.num_rows() - wanted;
        let batch = batch.slice(0, wanted);
        let shown = if self.look.is_expanded { VALUE_CHARACTERS_SHOWN } else { CHARACTERS_SHOWN };
        let columns = batch.columns().iter().map(|column| cells::short(column, shown));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        for _ in 0..wanted {
            let row: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
            self.rows += 1;
            if self.look.is_expanded {
                self.block(&row)?;
            } else if self.widths.is_some() {
                self.line(&row)?;
            } else {
                self.page.push(row);
                if self.page.len() == PAGE_ROWS {
                    self.print_page()?;
                }
            }
        }
        Ok(self.left_out == 0)
    }

    /// Counts rows that are not printed; `None` when there may be any number of them.
    pub fn leave_out(&mut self, rows: Option<usize>) {
        self.left_out += rows.unwrap_or_default();
        self.is_counted &= rows.is_some();
    }

    /// Prints what is left, and how many rows there are.
    pub fn finish(mut self) -> Result<()> {
        if self.widths.is_none() && !self.look.is_expanded {
            self.print_page()?;
        }
        let rows = count_of(self.rows, "row");
        let mut words = match (self.left_out, self.is_counted) {
            (0, true) => rows,
            (left_out, true) => {
                format!("{} of {}", count(self.rows as u64), count_of(self.rows + left_out, "row"))
            }
            (_, false) => format!("the first {rows}; there are more"),
        };
        let hidden = self.names.len() - self.widths.as_ref().map_or(self.names.len(), Vec::len);
        if hidden > 0 {
            words += &format!("; {} did not fit", count_of(hidden, "column"));
        }
        writeln!(self.out, "({words})")
            .and_then(|()| self.out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Sets the widths and prints the heading and the first page.
    fn print_page(&mut self) -> Result<()> {
        let page = std::mem::take(&mut self.page);
        let wanted = self.names.iter().enumerate().map(|(column, name)| {
            let cells = page.iter().filter_map(|row| row.get(column));
            cells.chain([name]).map(|cell| cell.width()).max().unwrap_or_default()
        });
        let mut widths: Vec<_> = wanted.collect();
        if let Some(screen) = self.look.width {
            fit(&mut widths, &self.right, screen);
        }
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
            line.push_str(if index == 0 { " " } else { BETWEEN });
            let is_fitted = self.look.width.is_some();
            let cell = if is_fitted { cut(cell, *width) } else { Cow::Borrowed(cell.as_str()) };
            let gap = " ".repeat(width.saturating_sub(cell.width()));
            if self.right.get(index) == Some(&true) {
                line.extend([gap.as_str(), &cell]);
            } else {
                line.extend([&cell, gap.as_str()]);
            }
        }
        writeln!(self.out, "{}", line.trim_end()).map_err(|error| Failure::output(&error))
    }

    /// Prints a row with a line for each value.
    fn block(&mut self, row: &[String]) -> Result<()> {
        let width = self.names.iter().map(|name| name.width()).max().unwrap_or_default();
        let mut lines = format!("─[ row {} ]─\n", count(self.rows as u64));
        for (name, cell) in self.names.iter().zip(row) {
            let gap = " ".repeat(width.saturating_sub(name.width()));
            lines += &format!(" {name}{gap}{BETWEEN}{cell}\n");
        }
        self.out.write_all(lines.as_bytes()).map_err(|error| Failure::output(&error))
    }
}

/// Makes columns narrower until a line fits the screen: the widest column of text first. Columns at
/// the end for which even that is not enough are left out; one always stays.
fn fit(widths: &mut Vec<usize>, numbers: &[bool], screen: usize) {
    let between = BETWEEN.width();
    let line = |widths: &[usize]| {
        // A blank before the first column and one behind the last.
        widths.iter().sum::<usize>() + between * widths.len().saturating_sub(1) + 2
    };
    let least = |column: usize, width: usize| match numbers.get(column) {
        Some(true) => width,
        _ => width.min(COLUMN_WIDTH_MIN),
    };
    let mut narrowest: Vec<_> = widths.iter().enumerate().map(|(n, w)| least(n, *w)).collect();
    while narrowest.len() > 1 && line(&narrowest) > screen {
        narrowest.pop();
    }
    widths.truncate(narrowest.len());
    while line(widths) > screen {
        let can_shrink = |(column, width): &(usize, &usize)| Some(*width) > narrowest.get(*column);
        let widest = widths.iter().enumerate().filter(can_shrink).max_by_key(|(_, width)| **width);
        let Some(column) = widest.map(|(column, _)| column) else { break };
        if let Some(width) = widths.get_mut(column) {
            *width -= 1;
        }
    }
    if let [only] = widths.as_mut_slice() {
        *only = (*only).min(screen.saturating_sub(2).max(1));
    }
}

/// `1 row`, `2,060 rows`.
fn count_of(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number as u64))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(300)]));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "日本", "c"]));
        RecordBatch::try_from_iter([("n", numbers), ("word", words)]).expect("batch")
    }

    fn printed(batch: &RecordBatch, look: Look) -> String {
        let mut out = Vec::new();
        let mut table = TablePrinter::new(&batch.schema(), look, &mut out);
        assert_eq!(table.write(batch).expect("written"), look.max_rows.is_none());
        table.finish().expect("finished");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn columns_line_up() {
        let expected =
            "    n │ word\n──────┼──────\n    1 │ a\n NULL │ 日本\n  300 │ c\n(3 rows)\n";
        assert_eq!(printed(&batch(), Look::default()), expected);
    }

    #[test]
    fn a_bounded_table_says_how_many_rows_there_are() {
        let look = Look { max_rows: Some(2), ..Look::default() };
        assert!(printed(&batch(), look).ends_with("日本\n(2 of 3 rows)\n"));
        let mut out = Vec::new();
        let mut table = TablePrinter::new(&batch().schema(), look, &mut out);
        table.write(&batch()).expect("written");
        table.leave_out(None);
        table.finish().expect("finished");
        let out = String::from_utf8(out).expect("text");
        assert!(out.ends_with("(the first 2 rows; there are more)\n"), "{out}");
    }

    #[test]
    fn a_row_can_be_a_block() {
        let look = Look { is_expanded: true, max_rows: None, ..Look::default() };
        let expected = "─[ row 1 ]─\n n    │ 1\n word │ a\n─[ row 2 ]─\n n    │ NULL\n word │ 日本\n\
                        ─[ row 3 ]─\n n    │ 300\n word │ c\n(3 rows)\n";
        assert_eq!(printed(&batch(), look), expected);
    }

    fn wide(columns: usize) -> RecordBatch {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1_234_567_890]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["日本語のテキスト".repeat(9)]));
        let texts = (0..columns).map(|n| (format!("text{n}"), Arc::clone(&text)));
        RecordBatch::try_from_iter([("id".to_string(), id)].into_iter().chain(texts)).expect("rows")
    }

    #[test]
    fn every_line_fits_the_screen() {
        for screen in [5, 20, 40, 80, 133] {
            for columns in [1, 3, 40] {
                let look = Look { width: Some(screen), ..Look::default() };
                let out = printed(&wide(columns), look);
                let lines = out.lines().filter(|line| !line.starts_with('('));
                for line in lines {
                    assert!(line.width() <= screen.max(12), "{} > {screen}: {line}", line.width());
                }
            }
        }
        let out = printed(&wide(3), Look { width: Some(60), ..Look::default() });
        assert!(out.contains(" 1234567890 │ ") && out.contains('…'), "numbers stay whole: {out}");
        let out = printed(&wide(40), Look { width: Some(60), ..Look::default() });
        assert!(out.ends_with("(1 row; 36 columns did not fit)\n"), "{out}");
    }
}
