//! What is declared about a function once: its names, its parameters and its documentation.
//!
//! The check of the number of arguments and of their types, named arguments, `information_schema`
//! and the error messages all read it here.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{DocSection, Documentation};

use super::packed;
use crate::SqlError;
use crate::columns::images::{check_image, is_bytes};
use crate::columns::texts::check_text;
use crate::columns::vectors::Shape;

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A text, in whatever string type.
    Text,
    /// A vector: a list of numbers.
    Vector,
    /// Bytes that stand for the bits of a vector, as `quantize` packs them.
    Packed,
    /// A number.
    Number,
    /// An image: the bytes of a file, or a text that is the path of one.
    Image,
    /// A text, or the bytes of an image.
    TextOrImage,
    /// A literal, which the function looks at when the query is planned.
    Literal,
    /// A value of any type.
    Any,
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    /// Its name, as in `name => value`.
    pub(crate) name: &'static str,
    /// The type of its values.
    pub(crate) takes: Takes,
    /// What it is.
    pub(crate) about: &'static str,
}

/// A function's names, parameters and documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Declaration {
    /// Its name.
    pub(crate) name: &'static str,
    /// Other names that it is called by.
    pub(crate) aliases: &'static [&'static str],
    /// What it takes, in order.
    pub(crate) parameters: &'static [Parameter],
    /// How many of the parameters must be given.
    pub(crate) required: usize,
    /// What comes out, in which type, and what NULLs and mistakes do.
    pub(crate) about: &'static str,
    /// A query that shows it, and what it gives.
    pub(crate) example: &'static str,
}

/// Where the functions stand in the documentation.
const SECTION: DocSection =
    DocSection { include: true, label: "Meaning and Vector Functions", description: None };

impl Declaration {
    /// The declaration in DataFusion's form.
    pub(crate) fn documentation(&self) -> Documentation {
        let mut documentation = Documentation::builder(SECTION, self.about, self.usage())
            .with_sql_example(format!("```sql\n{}\n```", self.example));
        for parameter in self.parameters {
            documentation = documentation.with_argument(parameter.name, parameter.about);
        }
        documentation.build()
    }

    /// Its other names.
    pub(crate) fn aliases(&self) -> Vec<String> {
        self.aliases.iter().map(ToString::to_string).collect()
    }

    /// Checks the number of arguments and their types.
    ///
    /// # Errors
    /// [`SqlError::Statement`] that shows how the function is called, or names the type that does
    /// not fit.
    pub(crate) fn check(&self, types: &[&DataType]) -> Result<(), SqlError> {
        self.check_count(types.len())?;
        for (place, (parameter, given)) in self.parameters.iter().zip(types).enumerate() {
            let checked = parameter.takes.check(self.name, given);
            // Of several vectors the one that is left out as a rule has to be named.
            if let (true, Takes::Vector, Err(_)) =
                (place >= self.required, parameter.takes, &checked)
            {
                return Err(SqlError::Statement(format!(
                    "{}: {} must be a vector with one number for each component, got {given}",
                    self.name, parameter.name
                )));
            }
            checked?;
        }
        Ok(())
    }

    /// The types that arguments are cast to before they reach the function. Those that it doesn't
    /// take stay as they are, for [`Declaration::check`] to reject: DataFusion would put words of
    /// its own around an error here.
    pub(crate) fn coerced(&self, types: &[DataType]) -> Vec<DataType> {
        let takes = self.parameters.iter().map(|parameter| parameter.takes);
        let takes = takes.chain(std::iter::repeat(Takes::Any));
        types.iter().zip(takes).map(|(data_type, takes)| takes.coerced(data_type)).collect()
    }

    fn check_count(&self, given: usize) -> Result<(), SqlError> {
        if (self.required..=self.parameters.len()).contains(&given) {
            return Ok(());
        }
        Err(SqlError::Statement(format!(
            "{} got {given} argument{}; call it as {}",
            self.name,
            if given == 1 { "" } else { "s" },
            self.usage()
        )))
    }

    /// `name(a, b [, c])`.
    fn usage(&self) -> String {
        let mut text = format!("{}(", self.name);
        for (position, parameter) in self.parameters.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            if position < self.required {
                text.extend([comma, parameter.name]);
            } else {
                text.extend([" [", comma.trim_end(), " ", parameter.name, "]"]);
            }
        }
        text + ")"
    }
}

impl Takes {
    fn check(self, function: &str, data_type: &DataType) -> Result<(), SqlError> {
        match self {
            Self::Text => check_text(function, data_type),
            Self::Image => check_image(function, data_type),
            Self::TextOrImage if is_bytes(data_type) => Ok(()),
            Self::TextOrImage => check_text(function, data_type),
            Self::Vector => Shape::of(function, data_type).map(|_| ()),
            Self::Packed => packed::item(function, data_type).map(|_| ()),
            Self::Number if data_type.is_numeric() || data_type.is_null() => Ok(()),
            Self::Number => {
                Err(SqlError::Statement(format!("{function} takes numbers, not {data_type}")))
            }
            Self::Literal | Self::Any => Ok(()),
        }
    }

    fn coerced(self, data_type: &DataType) -> DataType {
        match (self, data_type) {
            (Self::Text | Self::Image | Self::TextOrImage, DataType::Dictionary(_, values)) => {
                self.coerced(values)
            }
            (Self::Text | Self::Image | Self::TextOrImage, DataType::Null) => DataType::Utf8,
            (Self::Number, number) if number.is_numeric() || number.is_null() => DataType::Float64,
            (_, same) => same.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARATION: Declaration = Declaration {
        name: "embed",
        aliases: &[],
        parameters: &[
            Parameter { name: "text", takes: Takes::Text, about: "a text" },
            Parameter { name: "model", takes: Takes::Literal, about: "a model" },
        ],
        required: 1,
        about: "about",
        example: "example",
    };

    #[test]
    fn a_wrong_count_shows_the_call() {
        let text = DataType::Utf8;
        assert!(DECLARATION.check(&[&text]).is_ok() && DECLARATION.check(&[&text; 2]).is_ok());
        let message = DECLARATION.check(&[&text; 3]).expect_err("too many").to_string();
        assert_eq!(message, "embed got 3 arguments; call it as embed(text [, model])");
    }

    #[test]
    fn texts_come_as_plain_strings_and_nothing_else_does() {
        let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::LargeUtf8));
        assert_eq!(DECLARATION.coerced(&[words]), [DataType::LargeUtf8]);
        assert_eq!(DECLARATION.coerced(&[DataType::Null]), [DataType::Utf8]);
        assert_eq!(DECLARATION.coerced(&[DataType::Int64]), [DataType::Int64]);
        let message = DECLARATION.check(&[&DataType::Int64]).expect_err("no text").to_string();
        assert!(message.starts_with("embed takes a text, not Int64"), "{message}");
    }
}
