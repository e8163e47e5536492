//! What the columns of a query are to training: texts with a role, and a label. Their names say so.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float32Type, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use sembla_models::CancelToken;
use sembla_training::losses::{self, LabelKind};
use sembla_training::{Dataset, Labels, LossDef, Network};

use super::{failure, fitting, label_words};
use crate::failure::{Failure, Result};
use crate::input::Notice;
use crate::numbers::count;

/// Most rows that are held in memory for training.
pub const ROWS_MAX: usize = 50_000_000;

/// Names of columns of texts, by their place in a row. Negatives are any that begin so.
pub(crate) const TEXTS: [&[&str]; 2] = [
    &["anchor", "query", "question", "sentence1", "sentence_1", "text1", "text", "premise"],
    &[
        "positive",
        "document",
        "passage",
        "answer",
        "translation",
        "sentence2",
        "sentence_2",
        "text2",
        "hypothesis",
    ],
];
const NEGATIVE: &str = "negative";

/// Names of the column that says something of each row.
const LABELS: [&str; 9] = [
    "label",
    "labels",
    "score",
    "scores",
    "similarity",
    "margin",
    "margins",
    "vector",
    "embedding",
];

/// What the labels of some rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    None,
    Score,
    Binary,
    /// Several numbers a row.
    Scores,
    /// A text or a whole number, with one text a row.
    Class,
    Vector,
}

impl Found {
    /// Whether a loss that asks for `kind` can take them.
    pub(crate) fn serves(self, kind: LabelKind) -> bool {
        match kind {
            LabelKind::None => self == Self::None,
            LabelKind::Score => matches!(self, Self::Score | Self::Binary),
            LabelKind::Binary => self == Self::Binary,
            LabelKind::Class => self == Self::Class,
            LabelKind::Margins => matches!(self, Self::Score | Self::Binary | Self::Scores),
            LabelKind::Vector => self == Self::Vector,
        }
    }
}

/// Rows to train or measure on.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Names and texts of each column, in the order of their roles.
    texts: Vec<(String, Vec<String>)>,
    /// The name of the label's column.
    label: Option<String>,
    labels: Labels,
    found: Found,
    /// What the rows are called in messages.
    what: &'static str,
}

impl Rows {
    /// Reads the rows of a query. Rows with a NULL are left out, which is told.
    ///
    /// # Errors
    /// Columns whose names or types mean nothing here.
    pub(crate) fn read(
        batches: &[RecordBatch],
        what: &'static str,
        notice: Notice<'_>,
    ) -> Result<Self> {
        let mut label = None;
        let mut texts = Vec::new();
        let (all, kept) = gathered(batches, what, |schema| {
            (texts, label) = roles(schema, what)?;
            Ok(texts.iter().copied().chain(label).collect())
        })?;
        tell_left_out(all.num_rows(), kept.len(), notice);
        let schema = all.schema();
        let name = |column: usize| schema.field(column).name().clone();
        let text = |column: &usize| Ok((name(*column), strings(&all, *column, &kept)?));
        let texts: Vec<(String, Vec<String>)> = texts.iter().map(text).collect::<Result<_>>()?;
        let (labels, found) = match label {
            Some(column) => labels(&all, column, &kept, texts.len())?,
            None => (Labels::None, Found::None),
        };
        Ok(Self { texts, label: label.map(name), labels, found, what })
    }

    /// The loss that such rows are usually trained with.
    ///
    /// # Errors
    /// Rows that no loss takes.
    pub(crate) fn usual_loss(&self, is_pair: bool) -> Result<&'static LossDef> {
        let is_label = self.label.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("label"));
        let name = match (self.texts.len(), self.found) {
            (2, Found::Score | Found::Binary) if is_pair => "bce",
            (2, Found::Binary) if is_label => "contrastive",
            (2, Found::Score | Found::Binary) => "cosent",
            (2.., Found::None) => "mnrl",
            (1, Found::Class) => "batch_all_triplet",
            (1, Found::Vector) => "mse",
            (3.., Found::Scores | Found::Score | Found::Binary) => "margin_mse",
            _ => return Err(self.unfit("no loss takes them", is_pair)),
        };
        losses::find(name).map_err(failure)
    }

    /// The texts of each column, of rows that are texts alone.
    ///
    /// # Errors
    /// Rows with other columns than `wanted` (in words) of texts.
    pub(crate) fn into_texts(self, columns: usize, wanted: &str) -> Result<Vec<Vec<String>>> {
        if self.texts.len() == columns && self.found == Found::None {
            return Ok(self.texts.into_iter().map(|(_, texts)| texts).collect());
        }
        let mut names: Vec<&str> = self.texts.iter().map(|(name, _)| name.as_str()).collect();
        names.extend(self.label.as_deref());
        Err(Failure::user(format!(
            "{} have {}, but must have {wanted} and nothing else",
            self.what,
            names.join(", ")
        )))
    }

    /// The texts of each column.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &[String]> {
        self.texts.iter().map(|(_, texts)| &texts[..])
    }

    /// Checks the rows against a loss.
    ///
    /// # Errors
    /// A mismatch, with the losses that would fit.
    pub(crate) fn check(&self, loss: &LossDef, is_pair: bool) -> Result<()> {
        let shape = &loss.shape;
        let texts = self.texts.len();
        let takes_texts = (shape.texts_min..=shape.texts_max).contains(&texts);
        if takes_texts && self.found.serves(shape.label) && shape.scores_pairs == is_pair {
            return Ok(());
        }
        let takes = match shape.label {
            LabelKind::None => shape.words.to_string(),
            kind => format!("{} ({} for each row)", shape.words, label_words(kind)),
        };
        let why = match shape.scores_pairs == is_pair {
            true => format!("loss {} takes {takes}", loss.name),
            false if is_pair => format!(
                "loss {} is for models that give vectors, and the base scores pairs",
                loss.name
            ),
            false => format!(
                "loss {} is for models that score pairs, and the base gives vectors",
                loss.name
            ),
        };
        Err(self.unfit(&why, is_pair))
    }

    /// The refusal of rows.
    fn unfit(&self, why: &str, is_pair: bool) -> Failure {
        let mut names: Vec<&str> = self.texts.iter().map(|(name, _)| name.as_str()).collect();
        names.extend(self.label.as_deref());
        let fitting = fitting(self.texts.len(), self.found, is_pair);
        let fix = match fitting.is_empty() {
            true => "columns may be anchor, positive, negative…, sentence1, sentence2, score, label, vector".into(),
            false => format!("losses that fit: {}", fitting.join(", ")),
        };
        Failure::user(format!("{} have {}, but {why}; {fix}", self.what, names.join(", ")))
    }

    /// The rows as tokens.
    pub(crate) fn dataset(
        &self,
        network: &Network,
        loss: &LossDef,
        cancel: &CancelToken,
    ) -> Result<Dataset> {
        let texts: Vec<Vec<String>> = self.texts.iter().map(|(_, texts)| texts.clone()).collect();
        Dataset::read(network, loss, &texts, self.labels.clone(), cancel).map_err(failure)
    }
}

/// Batches as one, and its rows that have no NULL in the columns that `used` names.
///
/// # Errors
/// No row, too many, and what `used` says of the columns.
pub(super) fn gathered(
    batches: &[RecordBatch],
    what: &str,
    used: impl FnOnce(&SchemaRef) -> Result<Vec<usize>>,
) -> Result<(RecordBatch, Vec<usize>)> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let Some(first) = batches.first().filter(|_| rows > 0) else {
        let query = what.trim_start_matches("the rows of ");
        return Err(Failure::user(format!(
            "the query of {query} gives no rows; loosen its WHERE, or check that its files have rows"
        )));
    };
    if rows > ROWS_MAX {
        return Err(Failure::user(format!(
            "{what} are {}; at most {} fit: sample them or add LIMIT",
            count(rows as u64),
            count(ROWS_MAX as u64)
        )));
    }
    let schema = first.schema();
    let used = used(&schema)?;
    let all = concat_batches(&schema, batches).map_err(of_arrow)?;
    let is_whole = |row: &usize| used.iter().all(|column| all.column(*column).is_valid(*row));
    let kept = (0..rows).filter(is_whole).collect();
    Ok((all, kept))
}

/// Tells of rows that are left out.
pub(super) fn tell_left_out(rows: usize, kept: usize, notice: Notice<'_>) {
    if kept < rows {
        notice(&format!(
            "{} of {} rows have a NULL and are left out",
            count((rows - kept) as u64),
            count(rows as u64)
        ));
    }
}

/// The columns of texts in the order of their roles, and that of the label.
fn roles(schema: &SchemaRef, what: &str) -> Result<(Vec<usize>, Option<usize>)> {
    let (mut texts, mut label) = (Vec::new(), None);
    for (column, field) in schema.fields().iter().enumerate() {
        let name = field.name().to_ascii_lowercase();
        if LABELS.contains(&name.as_str()) {
            if let Some(other) = label.replace(column) {
                return Err(Failure::user(format!(
                    "{what} have two columns that could be the label, '{}' and '{}'; select one",
                    schema.field(other).name(),
                    field.name()
                )));
            }
            continue;
        }
        let role = TEXTS.iter().position(|names| names.contains(&name.as_str()));
        let role = role.or_else(|| name.starts_with(NEGATIVE).then_some(TEXTS.len()));
        let Some(role) = role else {
            return Err(Failure::user(format!(
                "column '{}' of {what} has no meaning in training; name it (… AS anchor) one of anchor, positive, negative…, \
                 query, document, sentence1, sentence2, text, score, label, vector",
                field.name()
            )));
        };
        texts.push((role, column));
    }
    texts.sort_unstable();
    let twice = texts.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair[0].0 < TEXTS.len());
    if let Some(pair) = twice {
        return Err(Failure::user(format!(
            "columns '{}' and '{}' of {what} have the same role; select one",
            schema.field(pair[0].1).name(),
            schema.field(pair[1].1).name()
        )));
    }
    if texts.first().is_none_or(|(role, _)| *role != 0) {
        return Err(Failure::user(format!(
            "{what} need a column named anchor, query, sentence1 or text"
        )));
    }
    if texts.len() > 1 && texts[1].0 > 1 {
        return Err(Failure::user(format!("{what} have negatives but no column named positive")));
    }
    Ok((texts.into_iter().map(|(_, column)| column).collect(), label))
}

/// What Arrow says of values, such as numbers that don't fit.
pub(super) fn of_arrow(error: ArrowError) -> Failure {
    DataFusionError::from(error).into()
}

/// A column of texts.
pub(super) fn strings(rows: &RecordBatch, column: usize, kept: &[usize]) -> Result<Vec<String>> {
    let (schema, values) = (rows.schema(), rows.column(column));
    let kind = values.data_type();
    let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        || matches!(kind, DataType::Dictionary(_, of) if **of == DataType::Utf8);
    if !is_text {
        return Err(Failure::user(format!(
            "column '{}' must be a text, got {kind}; a label or score must have one of the names {}",
            schema.field(column).name(),
            LABELS.join(", ")
        )));
    }
    let values = cast(values, &DataType::LargeUtf8).map_err(of_arrow)?;
    let values = values.as_string::<i64>();
    Ok(kept.iter().map(|row| values.value(*row).to_string()).collect())
}

/// The column of labels of rows with `texts` texts each.
fn labels(
    rows: &RecordBatch,
    column: usize,
    kept: &[usize],
    texts: usize,
) -> Result<(Labels, Found)> {
    let (schema, values) = (rows.schema(), rows.column(column));
    let (name, kind) = (schema.field(column).name(), values.data_type());
    if matches!(kind, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _)) {
        return lists(rows, column, kept);
    }
    let is_text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_number = kind.is_numeric() || *kind == DataType::Boolean;
    if texts == 1 && (is_text || kind.is_integer()) {
        let values = cast(values, &DataType::LargeUtf8).map_err(of_arrow)?;
        let values = values.as_string::<i64>();
        let mut classes = std::collections::HashMap::new();
        let mut class = |row: &usize| {
            let next = classes.len() as u32;
            *classes.entry(values.value(*row)).or_insert(next)
        };
        return Ok((Labels::Classes(kept.iter().map(&mut class).collect()), Found::Class));
    }
    if !is_number {
        return Err(Failure::user(format!(
            "column '{name}' must be a number beside pairs of texts, got {kind}; turn it into one, as with \
             CASE WHEN {name} = '…' THEN 1 ELSE 0 END AS label"
        )));
    }
    let values = cast(values, &DataType::Float32).map_err(of_arrow)?;
    let values = values.as_primitive::<Float32Type>();
    let values: Vec<f32> = kept.iter().map(|row| values.value(*row)).collect();
    let is_binary = values.iter().all(|value| *value == 0.0 || *value == 1.0);
    let found = if is_binary { Found::Binary } else { Found::Score };
    Ok((Labels::Scores { values, per_row: 1 }, found))
}

/// A column of vectors, or of several scores a row.
fn lists(rows: &RecordBatch, column: usize, kept: &[usize]) -> Result<(Labels, Found)> {
    let schema = rows.schema();
    let name = schema.field(column).name();
    let item =
        std::sync::Arc::new(arrow::datatypes::Field::new_list_field(DataType::Float32, true));
    let values = cast(rows.column(column), &DataType::LargeList(item)).map_err(of_arrow)?;
    let values = values.as_list::<i64>();
    let (mut all, mut width) = (Vec::new(), None);
    for row in kept {
        let list = values.value(*row);
        let list = list.as_primitive::<Float32Type>();
        if *width.get_or_insert(list.len()) != list.len() || list.null_count() > 0 {
            return Err(Failure::user(format!(
                "the lists of column '{name}' must have one length and no NULL inside"
            )));
        }
        all.extend_from_slice(list.values());
    }
    let width = width.unwrap_or(0);
    let is_vector = matches!(name.to_ascii_lowercase().as_str(), "vector" | "embedding");
    Ok(match is_vector {
        true => (Labels::Vectors { values: all, width }, Found::Vector),
        false => (Labels::Scores { values: all, per_row: width }, Found::Scores),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> Vec<RecordBatch> {
        vec![RecordBatch::try_from_iter(columns).expect("a batch")]
    }

    fn words(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn pair() -> [ArrayRef; 2] {
        [words(&[Some("a"), Some("b"), None]), words(&[Some("c"), Some("d"), Some("e")])]
    }

    fn read(columns: Vec<(&str, ArrayRef)>) -> Result<Rows> {
        Rows::read(&batch(columns), "the rows of --data", &|_| {})
    }

    fn refused(columns: Vec<(&str, ArrayRef)>) -> String {
        read(columns).expect_err("refused").message().expect("words")
    }

    #[test]
    fn columns_have_roles_by_their_names_and_rows_with_null_are_left_out() {
        let [a, b] = pair();
        let scores: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.25, 1.0]));
        let told = std::cell::RefCell::new(String::new());
        let columns = batch(vec![("score", scores), ("sentence2", b), ("sentence1", a)]);
        let notice = |words: &str| told.borrow_mut().push_str(words);
        let rows = Rows::read(&columns, "the rows of --data", &notice).expect("rows");
        assert!(told.borrow().contains("1 of 3 rows have a NULL"));
        assert_eq!(rows.texts[0], ("sentence1".into(), vec!["a".into(), "b".into()]));
        assert_eq!(rows.labels, Labels::Scores { values: vec![0.5, 0.25], per_row: 1 });
        assert_eq!(rows.usual_loss(false).expect("a loss").name, "cosent");
        assert_eq!(rows.usual_loss(true).expect("a loss").name, "bce");
    }

    #[test]
    fn a_mismatch_names_the_losses_that_fit() {
        let [a, b] = pair();
        let rows = read(vec![("anchor", a), ("positive", b)]).expect("rows");
        assert_eq!(rows.usual_loss(false).expect("a loss").name, "mnrl");
        let loss = losses::find("cosent").expect("a loss");
        let message = rows.check(loss, false).expect_err("refused").message().expect("words");
        assert!(
            message.contains("have anchor, positive, but loss cosent takes")
                && message.contains("losses that fit: mnrl"),
            "{message}"
        );
        let message = rows.check(losses::find("mnrl").expect("a loss"), true);
        assert!(message.expect_err("refused").message().expect("words").contains("scores pairs"));
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_way_to_say_it() {
        let [a, b] = pair();
        let message = refused(vec![("anchor", a.clone()), ("other", b.clone())]);
        assert!(message.contains("'other'") && message.contains("AS anchor"), "{message}");
        let label = words(&[Some("yes"), Some("no"), Some("no")]);
        let message =
            refused(vec![("anchor", a.clone()), ("positive", b.clone()), ("label", label)]);
        assert!(message.contains("CASE WHEN label"), "{message}");
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let message = refused(vec![("anchor", number.clone()), ("positive", b.clone())]);
        assert!(message.contains("must be a text"), "{message}");
        let message = refused(vec![("anchor", a.clone()), ("query", b.clone())]);
        assert!(message.contains("same role"), "{message}");
        assert!(refused(vec![("positive", b.clone())]).contains("anchor, query"));
        let message = refused(vec![("anchor", a.clone()), ("negative", b.clone())]);
        assert!(message.contains("no column named positive"), "{message}");
        let message = refused(vec![("text", a), ("label", number.clone()), ("score", number)]);
        assert!(message.contains("could be the label"), "{message}");
        let none = Rows::read(&[], "the rows of --data", &|_| {}).expect_err("refused").message();
        assert!(none.expect("words").contains("the query of --data gives no rows; loosen"));
    }

    #[test]
    fn one_text_with_a_label_has_classes() {
        let texts = words(&[Some("a"), Some("b"), Some("c")]);
        let label = words(&[Some("x"), Some("y"), Some("x")]);
        let rows = read(vec![("text", texts), ("label", label)]).expect("rows");
        assert_eq!(rows.labels, Labels::Classes(vec![0, 1, 0]));
        assert_eq!(rows.usual_loss(false).expect("a loss").name, "batch_all_triplet");
    }
}
