//! The flags that describe a model, made from [`ModelSpec::OPTIONS`]: a new option of a model is a
//! new flag here without a change.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use sembla_models::{ModelSpec, builtin};

use crate::failure::Result;

/// The options of a model as the user gave them, in the order of [`ModelSpec::OPTIONS`], then
/// `--model-option`s.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelFlags {
    /// `--model`.
    model: Option<String>,
    /// Keys and values.
    options: Vec<(String, String)>,
}

impl ModelFlags {
    /// The model that the flags describe; the first built-in one when none is named.
    ///
    /// # Errors
    /// When a key is unknown or a value can't be read.
    pub(crate) fn spec(&self) -> Result<ModelSpec> {
        let default = builtin::BUILTINS.first().map_or("minilm", |builtin| builtin.name);
        let mut spec = ModelSpec::new(self.model.as_deref().unwrap_or(default));
        for (key, value) in &self.options {
            spec.set(key, value)?;
        }
        Ok(spec)
    }

    /// Whether `--model` was given.
    pub(crate) fn is_named(&self) -> bool {
        self.model.is_some()
    }

    /// The model's name or path, instead of `--model`.
    pub(crate) fn named(mut self, model: &str) -> Self {
        self.model = Some(model.to_string());
        self
    }

    /// Takes the last value of an option out of the flags.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        let value = self.options.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        self.options.retain(|(k, _)| k != key);
        value
    }

    /// The flag of an option: `max_length` is `--max-length`.
    fn flag(key: &str) -> String {
        key.replace('_', "-")
    }

    /// Reads `key=value`.
    fn pair(text: &str) -> Result<(String, String), String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
            _ => Err("must be KEY=VALUE".to_string()),
        }
    }
}

impl Args for ModelFlags {
    fn augment_args(command: Command) -> Command {
        const HEADING: &str = "Model";
        let command = command.arg(
            Arg::new("model")
                .long("model")
                .short('m')
                .value_name("NAME or PATH")
                .help_heading(HEADING)
                .help("Bundled name, model directory, .onnx file or hub id [default: minilm]"),
        );
        let command = ModelSpec::OPTIONS.iter().filter(|option| option.key != "path").fold(
            command,
            |command, option| {
                command.arg(
                    Arg::new(option.key)
                        .long(Self::flag(option.key))
                        .value_name(option.describe_value())
                        .help_heading(HEADING)
                        .help(format!(
                            "{} [default: {}]",
                            capitalised(option.about),
                            option.describe_default()
                        )),
                )
            },
        );
        command.arg(
            Arg::new("model-option")
                .long("model-option")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .value_parser(Self::pair)
                .help_heading(HEADING)
                .help("Any of the options above, as CREATE MODEL spells it"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ModelFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        if let Some(model) = matches.get_one::<String>("model") {
            self.model = Some(model.clone());
        }
        for option in ModelSpec::OPTIONS.iter().filter(|option| option.key != "path") {
            if let Some(value) = matches.get_one::<String>(option.key) {
                self.options.push((option.key.to_string(), value.clone()));
            }
        }
        if let Some(pairs) = matches.get_many::<(String, String)>("model-option") {
            self.options.extend(pairs.cloned());
        }
        Ok(())
    }
}

/// The text with a capital first letter.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_a_model_is_a_flag() {
        let command = ModelFlags::augment_args(Command::new("x"));
        let matches = command
            .try_get_matches_from([
                "x",
                "-m",
                "potion",
                "--max-length",
                "9",
                "--model-option",
                "normalize=true",
            ])
            .expect("known flags");
        let spec =
            ModelFlags::from_arg_matches(&matches).expect("flags").spec().expect("valid options");
        assert_eq!(
            (spec.source.as_str(), spec.max_length, spec.normalize),
            ("potion", Some(9), true)
        );
    }
}
