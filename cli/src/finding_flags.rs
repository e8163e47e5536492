//! The flags of a command that are options of a finding, made from its declaration in SQL: a new
//! option of a finding is a new flag here without a change, with SQL's default and bounds.
//!
//! Left to the command: its input and output, the model, and whatever names columns, because a
//! command reads the columns that it needs before SQL sees a row.

use std::marker::PhantomData;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use sembla_sql::reference::{self, OptionDef, OptionKind};

/// A finding that a command runs.
pub(crate) trait Finding: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Its name in SQL.
    const NAME: &'static str;
    /// Which of its options have a letter too.
    const LETTERS: &'static [(&'static str, char)] = &[];
}

/// The options of a finding that were given, as SQL literals, in the order of the declaration.
#[derive(Clone, Debug)]
pub(crate) struct FindingFlags<F> {
    given: Vec<(&'static str, String)>,
    finding: PhantomData<F>,
}

impl<F: Finding> FindingFlags<F> {
    /// The options that are flags.
    fn options() -> impl Iterator<Item = OptionDef> {
        // These come with the flags of the model, which every command has.
        const OF_THE_MODEL: [&str; 2] = ["model", "prompt"];
        let options = reference::finding(F::NAME).map(|finding| finding.options);
        options.unwrap_or_default().into_iter().filter(|option| {
            !OF_THE_MODEL.contains(&option.name)
                && !matches!(
                    option.kind,
                    OptionKind::Column
                        | OptionKind::Columns
                        | OptionKind::Condition
                        | OptionKind::Interval
                        | OptionKind::Time { .. }
                )
        })
    }

    /// Whether an option was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The options that were given, with their values as SQL.
    pub(crate) fn given(&self) -> &[(&'static str, String)] {
        &self.given
    }
}

/// The flag of an option.
fn flag<F: Finding>(option: OptionDef) -> Arg {
    let arg = Arg::new(option.name).long(option.name.replace('_', "-")).help(help(&option));
    let letter = F::LETTERS.iter().find(|(name, _)| *name == option.name);
    let arg = letter.map_or(arg.clone(), |(_, letter)| arg.short(*letter));
    let literal = move |typed: &str| {
        let literal = option.literal(typed).map_err(|wanted| format!("must be {wanted}"));
        literal.map(Option::unwrap_or_default)
    };
    match option.kind {
        OptionKind::Flag { .. } => arg.action(ArgAction::SetTrue),
        OptionKind::Choice { of, .. } => {
            arg.value_name("WHICH").value_parser(PossibleValuesParser::new(of))
        }
        OptionKind::Count { .. } => arg.value_name("N").value_parser(literal),
        OptionKind::Number { .. } => {
            arg.value_name("NUMBER").value_parser(literal).allow_negative_numbers(true)
        }
        _ => arg.value_name("TEXT").value_parser(literal),
    }
}

/// What the option does, with its default.
fn help(option: &OptionDef) -> String {
    let about = option.about.strip_suffix('.').filter(|about| !about.contains(". "));
    let about = about.unwrap_or(option.about);
    match option.default().filter(|_| !matches!(option.kind, OptionKind::Flag { .. })) {
        Some(default) => format!("{about} [default: {default}]"),
        None => about.to_string(),
    }
}

impl<F: Finding> Args for FindingFlags<F> {
    fn augment_args(command: Command) -> Command {
        Self::options().fold(command, |command, option| command.arg(flag::<F>(option)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<F: Finding> FromArgMatches for FindingFlags<F> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self { given: Vec::new(), finding: PhantomData };
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for option in Self::options() {
            let value = match option.kind {
                OptionKind::Flag { .. } => {
                    matches.get_flag(option.name).then(|| "true".to_string())
                }
                OptionKind::Choice { .. } => {
                    matches.get_one::<String>(option.name).map(|word| format!("'{word}'"))
                }
                _ => matches.get_one::<String>(option.name).cloned(),
            };
            self.given.extend(value.map(|value| (option.name, value)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug)]
    struct Search;
    impl Finding for Search {
        const NAME: &'static str = "semantic_search";
        const LETTERS: &'static [(&'static str, char)] = &[("top_k", 'k')];
    }

    fn sql(args: &[&str]) -> Result<String, String> {
        let command = FindingFlags::<Search>::augment_args(Command::new("x"));
        let matches = command.try_get_matches_from([&["x"], args].concat());
        let matches = matches.map_err(|error| error.to_string())?;
        let flags = FindingFlags::<Search>::from_arg_matches(&matches).expect("flags");
        let given = flags.given().iter().map(|(name, value)| format!("{name} => {value}"));
        Ok(given.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn options_are_flags_with_the_types_of_the_declaration() {
        assert_eq!(
            sql(&["--candidates", "int8", "-k", "1_0", "--threshold", "-0.5"]).expect("flags"),
            "top_k => 10, threshold => -0.5, candidates => 'int8'"
        );
        let line = sql(&["--top-k", "0"]).expect_err("too few");
        assert!(line.contains("--top-k") && line.contains("must be a whole number >= 1"), "{line}");
        assert!(sql(&["--candidates", "int4"]).is_err() && sql(&["--threshold", "7"]).is_err());
    }

    #[test]
    fn columns_and_models_are_not_among_them() {
        let names: Vec<_> = FindingFlags::<Search>::options().map(|option| option.name).collect();
        assert!(names.contains(&"query_prompt") && names.contains(&"oversample"), "{names:?}");
        for name in ["id", "text", "vector", "model", "partition_by", "filter"] {
            assert!(!names.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_help_has_the_default_of_the_declaration() {
        let options: Vec<_> = FindingFlags::<Search>::options().collect();
        let top_k = options.iter().find(|option| option.name == "top_k").expect("top_k");
        assert!(help(top_k).ends_with(" [default: 10]"), "{}", help(top_k));
    }
}
