//! What `\h NAME` says: the whole of what a function declares about itself, as wide as the screen.

use std::fmt::Write;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::logical_expr::Documentation;
use sembla_sql::{Outcome, Session};
use unicode_width::UnicodeWidthStr;

use crate::failure::{Failure, Result, one_line};

/// Columns of a screen that does not say how many it has.
const WIDTH_UNKNOWN: usize = 100;
/// How like two names must be for one to be offered in place of the other.
const LIKENESS_MIN: f64 = 0.75;

/// A function as `SHOW FUNCTIONS` lists it.
struct Listed {
    name: String,
    kind: String,
    usage: String,
    about: String,
}

/// The help of the function of that name.
///
/// # Errors
/// When there is none; the nearest name is offered.
pub(super) async fn explain(session: &Session, name: &str, width: Option<usize>) -> Result<String> {
    let wanted = name.trim().trim_end_matches("()").to_lowercase();
    let all = listed(session).await?;
    let width = width.unwrap_or(WIDTH_UNKNOWN).max(20);
    let found: Vec<_> = all.iter().filter(|function| function.name == wanted).collect();
    if found.is_empty() {
        return Err(unknown(&wanted, &all));
    }
    let mut text = String::new();
    let mut shown: Vec<&str> = Vec::new();
    for function in found {
        // One name can be listed for each of its types.
        if !shown.contains(&function.usage.as_str()) {
            shown.push(&function.usage);
            let kind = function.kind.to_lowercase();
            text += &wrapped(&format!("{}  ({kind} function)", function.usage), "", width);
            text += &wrapped(&sentence(&function.about), "", width);
        }
    }
    if let Some(documentation) = documentation(session, &wanted) {
        parameters(&mut text, &documentation, width);
    }
    Ok(text)
}

/// All functions.
async fn listed(session: &Session) -> Result<Vec<Listed>> {
    let mut found = Vec::new();
    for statement in session.parse("SHOW FUNCTIONS")? {
        if let Outcome::Rows(rows) = session.execute(statement).await? {
            for batch in rows.collect().await? {
                found.extend(rows_of(&batch)?);
            }
        }
    }
    Ok(found)
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Listed>> {
    let column = |name: &str| {
        let column = batch.column_by_name(name).ok_or_else(|| {
            Failure::other(format!("internal error: functions are listed without '{name}'"))
        })?;
        cast(column, &DataType::Utf8).map_err(|error| Failure::other(one_line(error)))
    };
    let names = column("function_name")?;
    let (kinds, usages, abouts) =
        (column("function_type")?, column("syntax_example")?, column("description")?);
    let text =
        |column: &arrow::array::ArrayRef, row| column.as_string::<i32>().value(row).to_string();
    Ok((0..batch.num_rows())
        .map(|row| Listed {
            name: text(&names, row),
            kind: text(&kinds, row),
            usage: text(&usages, row),
            about: text(&abouts, row),
        })
        .collect())
}

/// What DataFusion's registry has on a function, which `SHOW FUNCTIONS` leaves out.
fn documentation(session: &Session, name: &str) -> Option<Documentation> {
    let state = session.context().state();
    let scalar = state.scalar_functions().get(name).and_then(|f| f.documentation().cloned());
    let aggregate =
        || state.aggregate_functions().get(name).and_then(|f| f.documentation().cloned());
    let window = || state.window_functions().get(name).and_then(|f| f.documentation().cloned());
    scalar.or_else(aggregate).or_else(window)
}

fn parameters(text: &mut String, documentation: &Documentation, width: usize) {
    let arguments = documentation.arguments.as_deref().unwrap_or_default();
    if !arguments.is_empty() {
        text.push('\n');
    }
    for (name, about) in arguments {
        *text += &wrapped(&format!("  {name}: {about}"), "    ", width);
    }
    if let Some(example) = &documentation.sql_example {
        text.push('\n');
        for line in example.lines().filter(|line| !line.starts_with("```")) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {line}");
        }
    }
}

/// The parts of a description that names its parameters in running text, each on a line.
fn sentence(about: &str) -> String {
    about.replace(" Example: ", "\nExample: ")
}

/// A text in lines of at most so many columns; those after the first begin with `indent`.
fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        let start = paragraph.len() - paragraph.trim_start().len();
        let mut line = paragraph.get(..start).unwrap_or_default().to_string();
        let mut is_empty = true;
        for word in paragraph.split_whitespace() {
            if !is_empty && line.width() + 1 + word.width() > width {
                lines += line.trim_end();
                lines.push('\n');
                line = indent.to_string();
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line += word;
            is_empty = false;
        }
        lines += &line;
        lines.push('\n');
    }
    lines
}

/// The failure for a name that is not known.
fn unknown(name: &str, all: &[Listed]) -> Failure {
    let likeness = |other: &&Listed| strsim::jaro_winkler(&other.name, name);
    let nearest = all.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let offer = match nearest.filter(|other| likeness(other) >= LIKENESS_MIN) {
        Some(other) => format!("did you mean '{}'?", other.name),
        None => "\\df lists them".to_string(),
    };
    Failure::user(format!("function '{name}' does not exist; {offer}"))
}

#[cfg(test)]
mod tests {
    use sembla_sql::SessionOptions;

    use super::*;

    #[tokio::test]
    async fn help_is_whole_and_fits_the_screen() {
        let session = Session::new(SessionOptions::default()).expect("a session");
        for (name, word) in [
            ("dedup", "threshold"),
            ("embed", "prompt"),
            ("upper", "str"),
            ("tumble", "window_start"),
        ] {
            let text = explain(&session, name, Some(60)).await.expect(name);
            assert!(text.contains(word), "{name}: {text}");
            let is_long = |line: &&str| line.width() > 60 && line.split_whitespace().count() > 1;
            let long = text.lines().find(|line| is_long(line) && !line.starts_with("  "));
            assert_eq!(long, None, "{name}");
        }
        let failure = explain(&session, "dedupe", None).await.expect_err("no such function");
        assert_eq!(
            failure.message().as_deref(),
            Some("error: function 'dedupe' does not exist; did you mean 'dedup'?")
        );
    }
}
