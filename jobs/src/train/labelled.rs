//! Rows with a label: a text or an image each, and the class it belongs to.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use sembla_models::classifier::{LABEL_BYTES_MAX, LABELS_MAX};

use super::rows::{TEXTS, gathered, of_arrow, strings, tell_left_out};
use crate::failure::{Failure, Result};
use crate::input::Notice;
use crate::numbers::count;

/// The column of images.
const IMAGE: &str = "image";

/// The column of labels.
const LABEL: &str = "label";

/// What the labels are of.
#[derive(Debug, PartialEq)]
pub(super) enum Inputs {
    /// Texts.
    Texts(Vec<String>),
    /// The bytes of image files.
    Images(Vec<Vec<u8>>),
}

/// Rows and their labels.
#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) inputs: Inputs,
    /// The label of each row.
    labels: Vec<String>,
    /// Whether labels are numbers, which are sorted as such.
    are_numbers: bool,
    /// What the rows are called in messages.
    what: &'static str,
}

/// The labels in order, and the place of each row's among them.
#[derive(Debug, PartialEq)]
pub(super) struct Classes {
    pub(super) labels: Vec<String>,
    pub(super) of_rows: Vec<u32>,
}

impl Labelled {
    /// Reads the rows of a query. Rows with a NULL are left out, which is told.
    ///
    /// # Errors
    /// Columns that are missing or of other types, too many rows, and labels that can't be.
    pub(super) fn read(
        batches: &[RecordBatch],
        what: &'static str,
        notice: Notice<'_>,
    ) -> Result<Self> {
        let (mut input, mut label) = (0, 0);
        let (all, kept) = gathered(batches, what, |schema| {
            (input, label) = columns(schema, what)?;
            Ok(vec![input, label])
        })?;
        if kept.is_empty() {
            return Err(Failure::user(format!("{what} all have a NULL; there is nothing left")));
        }
        tell_left_out(all.num_rows(), kept.len(), notice);
        let schema = all.schema();
        let is_image = schema.field(input).name().eq_ignore_ascii_case(IMAGE);
        let inputs = match is_image {
            true => Inputs::Images(images(&all, input, &kept, what)?),
            false => Inputs::Texts(strings(&all, input, &kept)?),
        };
        let (labels, are_numbers) = labels(&all, label, &kept, what)?;
        Ok(Self { inputs, labels, are_numbers, what })
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The labels that rows to train on have, sorted: numbers by value, texts by their bytes.
    ///
    /// # Errors
    /// Fewer than two, or too many.
    pub(super) fn classes(&self) -> Result<Classes> {
        let mut labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        labels.sort_unstable();
        labels.dedup();
        if self.are_numbers {
            labels.sort_by_key(|label| label.parse::<i128>().unwrap_or_default());
        }
        match labels.as_slice() {
            [only] => Err(Failure::user(match self.rows() {
                1 => format!(
                    "{} are one row; a classifier needs rows of at least two labels",
                    self.what
                ),
                rows => format!(
                    "all {} of {} have the label '{only}'; a classifier needs at least two labels",
                    count(rows as u64),
                    self.what
                ),
            })),
            many if many.len() > LABELS_MAX => Err(Failure::user(format!(
                "{} have {} labels; a classifier takes at most {}: is '{LABEL}' the right column?",
                self.what,
                count(many.len() as u64),
                count(LABELS_MAX as u64)
            ))),
            _ => {
                let labels: Vec<String> = labels.into_iter().map(str::to_string).collect();
                let of_rows = self.places(&labels);
                Ok(Classes { labels, of_rows })
            }
        }
    }

    /// The place of each row's label among `labels`; labels that are not there come after them.
    pub(super) fn places(&self, labels: &[String]) -> Vec<u32> {
        let known = labels.iter().enumerate();
        let mut places: HashMap<&str, u32> =
            known.map(|(place, label)| (label.as_str(), place as u32)).collect();
        let mut of_rows = Vec::with_capacity(self.rows());
        for label in &self.labels {
            let next = places.len() as u32;
            of_rows.push(*places.entry(label.as_str()).or_insert(next));
        }
        of_rows
    }
}

/// The columns of the input and of the label.
fn columns(schema: &SchemaRef, what: &str) -> Result<(usize, usize)> {
    let (mut input, mut label) = (None, None);
    for (column, field) in schema.fields().iter().enumerate() {
        let name = field.name().to_ascii_lowercase();
        let place = match name.as_str() {
            LABEL | "labels" | "class" => &mut label,
            IMAGE => &mut input,
            text if TEXTS[0].contains(&text) => &mut input,
            _ => {
                return Err(Failure::user(format!(
                    "column '{}' of {what} has no meaning for a classifier; it takes text (or image) and label: \
                     SELECT … AS text, … AS label",
                    field.name()
                )));
            }
        };
        if let Some(other) = place.replace(column) {
            return Err(Failure::user(format!(
                "columns '{}' and '{}' of {what} have the same role; select one",
                schema.field(other).name(),
                field.name()
            )));
        }
    }
    match (input, label) {
        (Some(input), Some(label)) => Ok((input, label)),
        (None, _) => Err(Failure::user(format!("{what} need a column named text or image"))),
        (_, None) => Err(Failure::user(format!("{what} need a column named label"))),
    }
}

/// A column of bytes.
fn images(rows: &RecordBatch, column: usize, kept: &[usize], what: &str) -> Result<Vec<Vec<u8>>> {
    let values = rows.column(column);
    let kind = values.data_type();
    let is_bytes = matches!(
        kind,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    );
    if !is_bytes {
        return Err(Failure::user(format!(
            "column '{IMAGE}' of {what} must have the bytes of image files, got {kind}; read_images() gives them"
        )));
    }
    let values = cast(values, &DataType::LargeBinary).map_err(of_arrow)?;
    let values = values.as_binary::<i64>();
    Ok(kept.iter().map(|row| values.value(*row).to_vec()).collect())
}

/// The column of labels as texts, and whether they are numbers.
fn labels(
    rows: &RecordBatch,
    column: usize,
    kept: &[usize],
    what: &str,
) -> Result<(Vec<String>, bool)> {
    let values = rows.column(column);
    let kind = match values.data_type() {
        DataType::Dictionary(_, of) => of.as_ref(),
        kind => kind,
    };
    let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if !is_text && !kind.is_integer() && *kind != DataType::Boolean {
        return Err(Failure::user(format!(
            "column '{LABEL}' of {what} must be a text or a whole number, got {kind}; cast it, as with CAST({LABEL} AS BIGINT)"
        )));
    }
    let texts = cast(values, &DataType::LargeUtf8).map_err(of_arrow)?;
    let texts = texts.as_string::<i64>();
    let labels: Vec<String> = kept.iter().map(|row| texts.value(*row).to_string()).collect();
    if let Some(place) = labels.iter().position(|label| label.trim().is_empty()) {
        return Err(Failure::user(format!(
            "row {} of {what} has an empty label; filter such rows out, as with WHERE {LABEL} <> ''",
            count(kept[place] as u64 + 1)
        )));
    }
    if let Some(long) = labels.iter().find(|label| label.len() > LABEL_BYTES_MAX) {
        return Err(Failure::user(format!(
            "a label of {what} has {} bytes; at most {} fit: is '{LABEL}' the right column?",
            count(long.len() as u64),
            count(LABEL_BYTES_MAX as u64)
        )));
    }
    Ok((labels, kind.is_integer()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, StringArray};

    use super::*;

    fn read(columns: Vec<(&str, ArrayRef)>) -> Result<Labelled> {
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        Labelled::read(&[batch], "the rows of --data", &|_| {})
    }

    fn words(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn numbers(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn refused(columns: Vec<(&str, ArrayRef)>) -> String {
        let rows = read(columns).and_then(|rows| rows.classes().map(|_| ()));
        rows.expect_err("refused").message().expect("words")
    }

    #[test]
    fn labels_are_sorted_and_rows_with_null_are_left_out() {
        let texts = words(&[Some("a"), None, Some("c"), Some("d"), Some("e")]);
        let labels = words(&[Some("two"), Some("x"), Some("one"), None, Some("two")]);
        let rows = read(vec![("label", labels), ("question", texts)]).expect("rows");
        let classes = rows.classes().expect("classes");
        assert_eq!(classes.labels, ["one", "two"]);
        assert_eq!(classes.of_rows, [1, 0, 1]);
        assert_eq!(rows.inputs, Inputs::Texts(vec!["a".into(), "c".into(), "e".into()]));
        // What is new comes after what is known, each new label with a place of its own.
        assert_eq!(rows.places(&["zero".into(), "one".into()]), [2, 1, 2]);
    }

    #[test]
    fn whole_numbers_are_labels_in_their_order() {
        let image: ArrayRef = Arc::new(BinaryArray::from(vec![b"a".as_slice(), b"b", b"c"]));
        let rows = read(vec![("image", image), ("label", numbers(&[10, -1, 9]))]).expect("rows");
        assert_eq!(rows.classes().expect("classes").labels, ["-1", "9", "10"]);
        assert!(matches!(&rows.inputs, Inputs::Images(images) if images[2] == b"c"));
    }

    #[test]
    fn what_makes_no_classifier_is_refused_with_the_fix() {
        let text = || words(&[Some("a"), Some("b")]);
        let message = refused(vec![("text", text())]);
        assert!(message.contains("need a column named label"), "{message}");
        let message = refused(vec![("label", text())]);
        assert!(message.contains("need a column named text or image"), "{message}");
        let message = refused(vec![("text", text()), ("label", words(&[Some("x"), Some("x")]))]);
        assert!(message.contains("all 2 of the rows of --data have the label 'x'"), "{message}");
        let message = refused(vec![("text", text()), ("label", words(&[Some("x"), Some(" ")]))]);
        assert!(message.contains("row 2 of the rows of --data has an empty label"), "{message}");
        let one = refused(vec![("text", words(&[Some("a")])), ("label", numbers(&[1]))]);
        assert!(one.contains("are one row"), "{one}");
        let none = refused(vec![("text", words(&[None])), ("label", numbers(&[1]))]);
        assert!(none.contains("all have a NULL"), "{none}");
        let share: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.0]));
        let message = refused(vec![("text", text()), ("label", share)]);
        assert!(message.contains("must be a text or a whole number, got Float64"), "{message}");
        let message = refused(vec![("text", text()), ("label", text()), ("other", text())]);
        assert!(message.contains("'other'") && message.contains("AS label"), "{message}");
        let message = refused(vec![("text", text()), ("anchor", text()), ("label", text())]);
        assert!(message.contains("same role"), "{message}");
        let message = refused(vec![("image", text()), ("label", text())]);
        assert!(message.contains("read_images()"), "{message}");
        assert!(Labelled::read(&[], "the rows of --data", &|_| {}).is_err());
    }
}
