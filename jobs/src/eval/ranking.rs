//! The ranking: a line for each model, the best mean score first. As a table for people, as
//! Markdown, and as rows for files.
//!
//! People read scores in hundredths, as leaderboards print them; files have them as they are.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use unicode_width::UnicodeWidthStr;

use super::kinds::Kind;
use super::measure::Measured;
use super::suite::Task;
use crate::failure::{Failure, Result, one_line};
use crate::numbers::{count, per_second};
use crate::printable::printable;

/// What stands between two columns of a table.
const BETWEEN: &str = " │ ";

/// What stands where there is nothing to say.
const NOTHING: &str = "–";

/// Models, measured on the same tasks.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// Names and kinds of the tasks.
    pub tasks: Vec<(String, Kind)>,
    /// The models, the best first.
    pub models: Vec<Measured>,
}

/// A column for people.
pub(super) struct Column {
    pub(super) name: String,
    /// What its numbers are.
    pub(super) unit: &'static str,
    pub(super) cells: Vec<String>,
    /// The row with the best cell, if one is better than others.
    pub(super) best: Option<usize>,
}

impl Ranking {
    /// Sorts models by their mean scores; those without one come last, and equal ones stay in
    /// order.
    pub fn new(tasks: &[Task], mut models: Vec<Measured>) -> Self {
        let key = |measured: &Measured| measured.average().unwrap_or(f64::NEG_INFINITY);
        models.sort_by(|a, b| key(b).total_cmp(&key(a)));
        let tasks = tasks.iter().map(|task| (task.name.clone(), task.kind)).collect();
        Self { tasks, models }
    }

    /// The columns of tables for people.
    pub(super) fn columns(&self) -> Vec<Column> {
        let column = |name: &str, unit, cell: &dyn Fn(&Measured) -> String| Column {
            name: printable(name).into_owned(),
            unit,
            cells: self.models.iter().map(cell).collect(),
            best: None,
        };
        let scored = |name: &str, unit, score: &dyn Fn(&Measured) -> Option<f64>| Column {
            best: best(&self.models.iter().map(score).collect::<Vec<_>>()),
            ..column(name, unit, &|model| hundredths(score(model)))
        };
        let mut columns = vec![column("model", "", &|model| printable(&model.model).into_owned())];
        if self.tasks.len() > 1 {
            columns.push(scored("average", "", &Measured::average));
        }
        for (place, (name, kind)) in self.tasks.iter().enumerate() {
            let score = |model: &Measured| model.scores.get(place).copied().flatten();
            columns.push(scored(name, kind.def().measure, &score));
        }
        let number = |value: Option<u64>| value.map_or(NOTHING.to_string(), count);
        columns.extend([
            column("dimensions", "", &|model| number(model.dimension)),
            column("max length", "tokens", &|model| number(model.max_length)),
            column("parameters", "millions", &|model| millions(model.parameters)),
            column("texts/s", "", &|model| per_second(model.texts_per_second())),
            column("peak memory", "MiB", &|model| {
                number(model.peak_memory_bytes.map(|bytes| bytes >> 20))
            }),
        ]);
        columns
    }

    /// A table that fits a screen of so many columns: a line for each model, or, where that is too
    /// wide, a column for each.
    pub fn table(&self, width: Option<usize>) -> String {
        let columns = self.columns();
        let named = |column: &Column| match column.unit {
            "" => column.name.clone(),
            unit => format!("{} ({unit})", column.name),
        };
        let across: Vec<Vec<String>> = columns
            .iter()
            .map(|column| [vec![named(column)], column.cells.clone()].concat())
            .collect();
        let table = aligned(&across);
        let is_wide =
            |table: &str| table.lines().next().is_some_and(|line| Some(line.width()) > width);
        if width.is_none() || !is_wide(&table) {
            return table;
        }
        let line = |row: usize| across.iter().map(|column| column[row].clone()).collect();
        aligned(&(0..=self.models.len()).map(line).collect::<Vec<Vec<String>>>())
    }

    /// A Markdown table; the best score of each column is bold.
    pub fn markdown(&self) -> String {
        let columns = self.columns();
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let heading: Vec<String> = columns
            .iter()
            .map(|column| match column.unit {
                "" => literal(&column.name),
                unit => format!("{}<br>{unit}", literal(&column.name)),
            })
            .collect();
        let mut text = line(&heading);
        text += &format!("|---|{}\n", "---:|".repeat(columns.len() - 1));
        for row in 0..self.models.len() {
            let cell = |column: &Column| match column.best == Some(row) {
                true => format!("**{}**", literal(&column.cells[row])),
                false => literal(&column.cells[row]),
            };
            text += &line(&columns.iter().map(cell).collect::<Vec<_>>());
        }
        text
    }

    /// The ranking as rows, with scores from 0 to 1.
    ///
    /// # Errors
    /// A task that has the name of another column.
    pub fn rows(&self) -> Result<RecordBatch> {
        let words = |get: &dyn Fn(&Measured) -> String| -> ArrayRef {
            Arc::new(self.models.iter().map(|model| Some(get(model))).collect::<StringArray>())
        };
        let numbers = |get: &dyn Fn(&Measured) -> Option<f64>| -> ArrayRef {
            Arc::new(self.models.iter().map(get).collect::<Float64Array>())
        };
        let counts = |get: &dyn Fn(&Measured) -> Option<u64>| -> ArrayRef {
            Arc::new(self.models.iter().map(get).collect::<UInt64Array>())
        };
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("model".into(), words(&|model| model.model.clone())),
            ("average".into(), numbers(&Measured::average)),
        ];
        for (place, (name, _)) in self.tasks.iter().enumerate() {
            let score = |model: &Measured| model.scores.get(place).copied().flatten();
            columns.push((name.clone(), numbers(&score)));
        }
        columns.extend([
            ("dimensions".to_string(), counts(&|model| model.dimension)),
            ("max_length".to_string(), counts(&|model| model.max_length)),
            ("parameters".to_string(), counts(&|model| Some(model.parameters))),
            ("texts_per_second".to_string(), numbers(&|model| Some(model.texts_per_second()))),
            ("peak_memory_bytes".to_string(), counts(&|model| model.peak_memory_bytes)),
        ]);
        for (place, (name, _)) in columns.iter().enumerate() {
            if columns[..place].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return Err(Failure::user(format!(
                    "a task can't be called '{name}', which is another column of the result; name it otherwise"
                )));
            }
        }
        let field = |(name, column): &(String, ArrayRef)| {
            Field::new(name, column.data_type().clone(), *column.data_type() != DataType::Utf8)
        };
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        RecordBatch::try_new(Arc::new(schema), columns)
            .map_err(|error| Failure::other(one_line(error)))
    }
}

/// A score as leaderboards print it.
pub(super) fn hundredths(score: Option<f64>) -> String {
    score.map_or(NOTHING.to_string(), |score| format!("{:.2}", 100.0 * score))
}

fn millions(parameters: u64) -> String {
    format!("{:.1}", parameters as f64 / 1e6)
}

/// The row of the best score, if one is better than another.
fn best(scores: &[Option<f64>]) -> Option<usize> {
    let known = || scores.iter().enumerate().filter_map(|(row, score)| Some((row, (*score)?)));
    let (row, best) = known().reduce(|a, b| if b.1 > a.1 { b } else { a })?;
    known().any(|(_, score)| score < best).then_some(row)
}

/// Columns of cells, the first of each its heading; the first column is aligned to the left.
fn aligned(columns: &[Vec<String>]) -> String {
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| column.iter().map(|cell| cell.width()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in 0..columns.first().map_or(0, Vec::len) {
        let cell = |(place, column): (usize, &Vec<String>)| {
            let gap = " ".repeat(widths[place] - column[row].width());
            if place == 0 { column[row].clone() + &gap } else { gap + &column[row] }
        };
        let cells: Vec<String> = columns.iter().enumerate().map(cell).collect();
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, " {} ", cells.join(BETWEEN));
        if row == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            let _ = writeln!(text, "─{}─", rule.join("─┼─"));
        }
    }
    text
}

/// A text that Markdown takes for no markup.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if matches!(letter, '|' | '*' | '_' | '`' | '<' | '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::eval) fn ranking() -> Ranking {
        let measured = |model: &str, scores: &[Option<f64>], seconds| Measured {
            model: model.into(),
            dimension: Some(384),
            max_length: None,
            parameters: 22_700_000,
            scores: scores.to_vec(),
            texts: 3000,
            seconds,
            peak_memory_bytes: Some(210 << 20),
        };
        let task = |name: &str, kind| Task { name: name.into(), kind, queries: Vec::new() };
        Ranking::new(
            &[task("STS-B", Kind::Sts), task("a|b", Kind::Rerank)],
            vec![
                measured("pairs", &[None, Some(0.9)], 100.0),
                measured("small", &[Some(0.5), Some(0.75)], 0.1),
                measured("large", &[Some(0.8203), Some(0.7)], 10.0),
            ],
        )
    }

    #[test]
    fn the_best_mean_comes_first_and_models_without_one_last() {
        let ranking = ranking();
        let names: Vec<&str> = ranking.models.iter().map(|model| model.model.as_str()).collect();
        assert_eq!(names, ["large", "small", "pairs"]);
        let table = ranking.table(None);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[0],
            " model │ average │ STS-B (Spearman) │ a|b (MAP) │ dimensions │ max length (tokens) │ \
             parameters (millions) │ texts/s │ peak memory (MiB) "
        );
        assert!(
            lines[2].starts_with(" large │   76.02 │            82.03 │     70.00 │"),
            "{table}"
        );
        assert!(
            lines[4].starts_with(" pairs │       – │                – │     90.00 │"),
            "{table}"
        );
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn a_narrow_screen_gets_a_column_for_each_model() {
        let table = ranking().table(Some(60));
        assert!(table.starts_with(" model                 │ large │  small │ pairs \n"), "{table}");
        assert!(table.lines().all(|line| line.width() <= 60));
    }

    #[test]
    fn markdown_is_escaped_and_the_best_is_bold() {
        let text = ranking().markdown();
        assert!(text.contains("| a\\|b<br>MAP |"), "{text}");
        assert!(
            text.contains("| large | **76.02** | **82.03** | 70.00 | 384 | – | 22.7 | 300 | 210 |")
        );
        assert!(text.contains("|---|---:|---:|"), "{text}");
    }

    #[test]
    fn rows_hold_scores_as_they_are() {
        let rows = ranking().rows().expect("rows");
        assert_eq!(rows.num_columns(), 9);
        let scores = rows.column_by_name("STS-B").expect("a column");
        assert_eq!((scores.len(), scores.null_count()), (3, 1));
        let twice = Ranking { tasks: vec![("Model".into(), Kind::Sts)], models: Vec::new() };
        let message = twice.rows().expect_err("refused").message().expect("words");
        assert!(message.contains("can't be called 'Model'"), "{message}");
    }
}
