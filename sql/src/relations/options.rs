//! Options of findings: `top_k => 10`. Each is declared once, with its type, bounds and default.
//!
//! A value is any expression without columns; it is computed when the query is planned. NULL stands
//! for the default.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use crate::SqlError;

/// What an option takes.
#[derive(Clone, Copy, Debug)]
pub enum OptionKind {
    /// A whole number.
    Count {
        /// The least that makes sense.
        least: u64,
        /// What it is when it is not given.
        default: Option<u64>,
    },
    /// A number.
    Number {
        /// The least that makes sense.
        least: f64,
        /// The greatest that makes sense.
        most: f64,
        /// What the number is, with its bounds, for messages.
        what: &'static str,
        /// What it is when it is not given.
        default: Option<f64>,
    },
    /// True or false.
    Flag {
        /// What it is when it is not given.
        default: bool,
    },
    /// One of some words.
    Choice {
        /// The words.
        of: &'static [&'static str],
        /// What it is when it is not given.
        default: Option<&'static str>,
    },
    /// A text.
    Text,
    /// Texts, or one text.
    Texts {
        /// What it is when it is not given.
        default: Option<&'static str>,
    },
    /// An interval of time.
    Interval,
    /// A column of the first input, or an expression of its columns.
    Column,
    /// A column of times, each taken as the start of its bin where an option says how wide bins
    /// are.
    Time {
        /// The option of the width, an interval.
        bin: &'static str,
    },
    /// One or several columns.
    Columns,
    /// A condition on the columns of the first input, as an expression or as its text.
    Condition,
}

/// A number that is a cosine.
pub(crate) const fn cosine(default: Option<f64>) -> OptionKind {
    OptionKind::Number { least: -1.0, most: 1.0, what: "a cosine between -1 and 1", default }
}

/// The declaration of an option.
#[derive(Clone, Copy, Debug)]
pub struct OptionDef {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// What it does, in sentences.
    pub about: &'static str,
}

impl OptionDef {
    /// What the option is when it is not given, as one would write it without quotes.
    pub fn default(&self) -> Option<String> {
        self.kind.default_value().map(|value| value.to_string())
    }

    /// The SQL literal of a value that a user typed outside of SQL; `None` for a kind that names
    /// columns or conditions of the input, which only SQL can say.
    ///
    /// # Errors
    /// What the option takes, for a message such as `x must be …`.
    pub fn literal(&self, typed: &str) -> Result<Option<String>, String> {
        let number = typed.replace('_', "");
        let value = match &self.kind {
            OptionKind::Count { .. } => number.parse().ok().map(|n| ScalarValue::UInt64(Some(n))),
            OptionKind::Number { .. } => number
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite())
                .map(|number| ScalarValue::Float64(Some(number))),
            OptionKind::Flag { .. } => {
                typed.parse().ok().map(|flag| ScalarValue::Boolean(Some(flag)))
            }
            OptionKind::Choice { .. } | OptionKind::Text | OptionKind::Texts { .. } => {
                Some(ScalarValue::from(typed))
            }
            OptionKind::Interval
            | OptionKind::Column
            | OptionKind::Time { .. }
            | OptionKind::Columns
            | OptionKind::Condition => return Ok(None),
        };
        match value.and_then(|value| self.kind.value(&value)) {
            Some(OptionValue::Text(_) | OptionValue::Texts(_)) => {
                Ok(Some(format!("'{}'", typed.replace('\'', "''"))))
            }
            Some(value) => Ok(Some(value.to_string())),
            None => Err(self.kind.wanted()),
        }
    }
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OptionValue {
    /// Of [`OptionKind::Count`].
    Count(u64),
    /// Of [`OptionKind::Number`].
    Number(f64),
    /// Of [`OptionKind::Flag`].
    Flag(bool),
    /// Of [`OptionKind::Choice`] and [`OptionKind::Text`].
    Text(String),
    /// Of [`OptionKind::Texts`].
    Texts(Vec<String>),
    /// Of [`OptionKind::Interval`].
    Interval(ScalarValue),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Flag(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Texts(values) => values.join("|").fmt(f),
            Self::Interval(value) => value.fmt(f),
        }
    }
}

/// The values of a finding's options, those that were not given at their defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OptionValues(BTreeMap<&'static str, OptionValue>);

/// No value is NaN: numbers are within bounds.
impl Eq for OptionValues {}

impl Hash for OptionValues {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (name, value) in &self.0 {
            name.hash(state);
            value.to_string().hash(state);
        }
    }
}

impl OptionValues {
    /// Sets an option to what was given.
    ///
    /// # Errors
    /// [`SqlError::Statement`] with the value and what the option takes.
    pub(crate) fn set(&mut self, option: &OptionDef, given: &ScalarValue) -> Result<(), SqlError> {
        if !given.is_null() {
            self.0.insert(option.name, option.kind.read(option.name, given)?);
        }
        Ok(())
    }

    /// Sets an option to its default, if it has one and was not given.
    pub(crate) fn complete(&mut self, option: &OptionDef) {
        if let Some(value) = option.kind.default_value() {
            self.0.entry(option.name).or_insert(value);
        }
    }

    /// The value of an option, if it was given or has a default.
    pub(crate) fn get(&self, name: &str) -> Option<&OptionValue> {
        self.0.get(name)
    }

    /// A whole number, if there is one.
    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        match self.get(name)? {
            OptionValue::Count(value) => Some(usize::try_from(*value).unwrap_or(usize::MAX)),
            _ => None,
        }
    }

    /// A number, if there is one.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            OptionValue::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name) == Some(&OptionValue::Flag(true))
    }

    /// A text or a choice, if there is one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            OptionValue::Text(value) => Some(value),
            _ => None,
        }
    }
}

impl OptionKind {
    /// What an option of this kind is when it is not given, if anything.
    pub(crate) fn default_value(&self) -> Option<OptionValue> {
        match self {
            Self::Count { default, .. } => default.map(OptionValue::Count),
            Self::Number { default, .. } => default.map(OptionValue::Number),
            Self::Flag { default } => Some(OptionValue::Flag(*default)),
            Self::Choice { default, .. } => default.map(|word| OptionValue::Text(word.into())),
            Self::Texts { default } => default.map(|word| OptionValue::Texts(vec![word.into()])),
            Self::Text
            | Self::Interval
            | Self::Column
            | Self::Time { .. }
            | Self::Columns
            | Self::Condition => None,
        }
    }

    /// What the option takes, for messages.
    pub fn wanted(&self) -> String {
        match self {
            Self::Count { least, .. } => format!("a whole number >= {least}"),
            Self::Number { what, .. } => (*what).to_string(),
            Self::Flag { .. } => "true or false".into(),
            Self::Choice { of, .. } => {
                let words: Vec<_> = of.iter().map(|word| format!("'{word}'")).collect();
                format!("one of {}", words.join(", "))
            }
            Self::Text => "a text".into(),
            Self::Texts { .. } => "a text or a list of texts".into(),
            Self::Interval => "an interval such as INTERVAL '1 day'".into(),
            Self::Column | Self::Time { .. } | Self::Columns => "a column".into(),
            Self::Condition => "a condition such as price > 10".into(),
        }
    }

    fn read(&self, name: &str, given: &ScalarValue) -> Result<OptionValue, SqlError> {
        self.value(given).ok_or_else(|| {
            let quote = if text(given).is_some() { "'" } else { "" };
            let wanted = self.wanted();
            SqlError::Statement(format!("{name} must be {wanted}, got {quote}{given}{quote}"))
        })
    }

    /// What was given as a value of this kind; `None` for what it can't be.
    fn value(&self, given: &ScalarValue) -> Option<OptionValue> {
        match self {
            Self::Count { least, .. } => {
                let count = whole_number(given).filter(|count| count >= least);
                count.map(OptionValue::Count)
            }
            Self::Number { least, most, .. } => {
                let number = number(given).filter(|number| (*least..=*most).contains(number));
                number.map(OptionValue::Number)
            }
            Self::Flag { .. } => match given {
                ScalarValue::Boolean(Some(flag)) => Some(OptionValue::Flag(*flag)),
                _ => None,
            },
            Self::Choice { of, .. } => {
                let given = text(given).map(str::to_lowercase);
                let known = given.filter(|given| of.contains(&given.as_str()));
                known.map(OptionValue::Text)
            }
            Self::Text => text(given).map(|text| OptionValue::Text(text.into())),
            Self::Texts { .. } => texts(given).map(OptionValue::Texts),
            Self::Interval => {
                let is_interval = matches!(given.data_type(), DataType::Interval(_));
                is_interval.then(|| OptionValue::Interval(given.clone()))
            }
            Self::Column | Self::Time { .. } | Self::Columns | Self::Condition => None,
        }
    }
}

fn whole_number(given: &ScalarValue) -> Option<u64> {
    if !given.data_type().is_integer() {
        return None;
    }
    match given.cast_to(&DataType::UInt64) {
        Ok(ScalarValue::UInt64(count)) => count,
        _ => None,
    }
}

fn number(given: &ScalarValue) -> Option<f64> {
    if !given.data_type().is_numeric() {
        return None;
    }
    match given.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(number)) => number,
        _ => None,
    }
}

fn text(given: &ScalarValue) -> Option<&str> {
    given.try_as_str().flatten()
}

fn texts(given: &ScalarValue) -> Option<Vec<String>> {
    if let Some(text) = text(given) {
        return Some(vec![text.to_string()]);
    }
    let ScalarValue::List(list) = given else { return None };
    let texts = cast(list.values(), &DataType::Utf8).ok()?;
    texts.as_string::<i32>().iter().map(|text| text.map(str::to_string)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: OptionKind, given: ScalarValue) -> String {
        let option = OptionDef { name: "x", kind, about: "" };
        OptionValues::default().set(&option, &given).expect_err("a mistake").to_string()
    }

    #[test]
    fn a_mistake_says_what_the_option_takes() {
        let count = OptionKind::Count { least: 1, default: Some(10) };
        let wanted = "x must be a whole number >= 1, got";
        assert_eq!(message(count, ScalarValue::Int64(Some(0))), format!("{wanted} 0"));
        assert_eq!(message(count, ScalarValue::Int64(Some(-3))), format!("{wanted} -3"));
        assert_eq!(message(count, ScalarValue::Float64(Some(1.5))), format!("{wanted} 1.5"));
        assert_eq!(message(count, ScalarValue::from("x")), format!("{wanted} 'x'"));
        let wanted = "x must be a cosine between -1 and 1, got";
        assert_eq!(message(cosine(None), ScalarValue::Int64(Some(7))), format!("{wanted} 7"));
        let choice = OptionKind::Choice { of: &["a", "b", "c"], default: None };
        let line = message(choice, ScalarValue::from("d"));
        assert_eq!(line, "x must be one of 'a', 'b', 'c', got 'd'");
    }

    #[test]
    fn what_is_typed_outside_of_sql_becomes_a_literal() {
        let literal = |kind, typed| OptionDef { name: "x", kind, about: "" }.literal(typed);
        let count = OptionKind::Count { least: 1, default: None };
        assert_eq!(literal(count, "1_000"), Ok(Some("1000".into())));
        assert_eq!(literal(count, "0"), Err("a whole number >= 1".into()));
        assert_eq!(literal(cosine(None), "-0.5"), Ok(Some("-0.5".into())));
        assert!(literal(cosine(None), "7").is_err() && literal(cosine(None), "nan").is_err());
        assert_eq!(literal(OptionKind::Text, "it's"), Ok(Some("'it''s'".into())));
        assert_eq!(literal(OptionKind::Column, "a"), Ok(None));
    }

    #[test]
    fn null_and_nothing_are_the_default() {
        let option = OptionDef {
            name: "x",
            kind: OptionKind::Count { least: 1, default: Some(10) },
            about: "",
        };
        let mut options = OptionValues::default();
        options.set(&option, &ScalarValue::Null).expect("the default");
        options.complete(&option);
        assert_eq!(options.count("x"), Some(10));
    }
}
