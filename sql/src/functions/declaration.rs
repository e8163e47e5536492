//! What is declared about a function once: its names, its parameters and its documentation.
//!
//! The check of the number of arguments, named arguments, `information_schema` and the error
//! messages all read it here.

use std::hash::{Hash, Hasher};

use datafusion::logical_expr::{DocSection, Documentation, Signature, Volatility};

use crate::SqlError;

/// A parameter of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    /// Its name, as in `name => value`.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) about: &'static str,
}

/// A function's name, parameters and documentation. Two declarations are equal if their names are.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) name: &'static str,
    pub(crate) aliases: Vec<String>,
    pub(crate) parameters: &'static [Parameter],
    /// How many of the parameters must be given.
    pub(crate) required: usize,
    pub(crate) signature: Signature,
    pub(crate) documentation: Documentation,
}

/// Where the functions stand in the documentation.
const SECTION: DocSection =
    DocSection { include: true, label: "Meaning and Vector Functions", description: None };

impl Declaration {
    /// Declares a function. `about` says what comes out, in which type, and what NULLs and mistakes
    /// do.
    pub(crate) fn new(
        name: &'static str,
        parameters: &'static [Parameter],
        required: usize,
        about: &str,
        example: &str,
    ) -> Self {
        let mut documentation =
            Documentation::builder(SECTION, about, usage(name, parameters, required))
                .with_sql_example(format!("```sql\n{example}\n```"));
        for parameter in parameters {
            documentation = documentation.with_argument(parameter.name, parameter.about);
        }
        Self {
            name,
            aliases: Vec::new(),
            parameters,
            required,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: documentation.build(),
        }
    }

    /// Adds another name.
    pub(crate) fn also(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_string());
        self
    }

    /// Checks the number of arguments.
    ///
    /// # Errors
    /// [`SqlError::Statement`] that shows how the function is called.
    pub(crate) fn check_count(&self, given: usize) -> Result<(), SqlError> {
        if (self.required..=self.parameters.len()).contains(&given) {
            return Ok(());
        }
        Err(SqlError::Statement(format!(
            "{} was given {given} argument{}; it is called as {}",
            self.name,
            if given == 1 { "" } else { "s" },
            usage(self.name, self.parameters, self.required)
        )))
    }
}

impl PartialEq for Declaration {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Declaration {}

impl Hash for Declaration {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// `name(a, b [, c])`.
fn usage(name: &str, parameters: &[Parameter], required: usize) -> String {
    let mut text = format!("{name}(");
    for (position, parameter) in parameters.iter().enumerate() {
        let comma = if position == 0 { "" } else { ", " };
        if position < required {
            text.extend([comma, parameter.name]);
        } else {
            text.extend([" [", comma.trim_end(), " ", parameter.name, "]"]);
        }
    }
    text + ")"
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: &[Parameter] = &[
        Parameter { name: "text", about: "a text" },
        Parameter { name: "model", about: "a model" },
    ];

    #[test]
    fn a_wrong_count_shows_the_call() {
        let declaration = Declaration::new("embed", PARAMETERS, 1, "about", "example");
        assert!(declaration.check_count(1).is_ok() && declaration.check_count(2).is_ok());
        let message = declaration.check_count(3).expect_err("too many").to_string();
        assert_eq!(message, "embed was given 3 arguments; it is called as embed(text [, model])");
    }
}
