//! What can be called in SQL, as data: for the pages under `docs/`, and for a program that offers
//! the options of a table function as flags.
//!
//! Everything here is read from the declarations that the planner itself uses, so it can't differ
//! from what SQL does. Layout and words around it belong to the caller.

use datafusion::logical_expr::Documentation;
use sembla_connectors::CONNECTORS;
use sembla_options::OptionDef as ConnectorOption;

pub use crate::relations::options::{OptionDef, OptionKind};

use crate::{Session, findings, windows};

/// A function that stands in `FROM`.
#[derive(Clone, Debug)]
pub struct TableFunction {
    /// Its name.
    pub name: &'static str,
    /// What it gives, in sentences.
    pub about: &'static str,
    /// A query that shows it.
    pub example: &'static str,
    /// How it is called, with the defaults of its options.
    pub usage: String,
    /// Its inputs; the first is given without a name.
    pub inputs: Vec<Argument>,
    /// Its options, which are given by name.
    pub options: Vec<OptionDef>,
}

/// Something that a function is called with.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Its name, as in `name => value`.
    pub name: String,
    /// What it is, in sentences.
    pub about: String,
    /// Whether it must be given.
    pub is_required: bool,
}

/// A function that stands in an expression.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Whether it makes one value of many rows.
    pub is_aggregate: bool,
    /// How it is called.
    pub usage: String,
    /// What it gives, in sentences.
    pub about: String,
    /// Its arguments, in their order.
    pub arguments: Vec<Argument>,
    /// A query that shows it, if there is one.
    pub example: Option<String>,
}

/// The findings, in the order of the list that declares them.
pub fn findings() -> Vec<TableFunction> {
    findings::declarations()
        .map(|finding| TableFunction {
            name: finding.name,
            about: finding.about,
            example: finding.example,
            usage: finding.usage(),
            inputs: finding
                .inputs
                .iter()
                .map(|input| argument(input.name, input.about, input.required))
                .collect(),
            options: finding.all_options(),
        })
        .collect()
}

/// The finding of that name.
pub fn finding(name: &str) -> Option<TableFunction> {
    findings().into_iter().find(|finding| finding.name == name)
}

/// A kind of window.
#[derive(Clone, Debug)]
pub struct Window {
    /// Its name.
    pub name: &'static str,
    /// What it gives, in sentences.
    pub about: &'static str,
    /// A query that shows it.
    pub example: &'static str,
    /// How it is called.
    pub usage: String,
    /// What it is called with, after its input.
    pub arguments: Vec<Argument>,
}

/// The kinds of windows.
pub fn windows() -> Vec<Window> {
    windows::functions()
        .iter()
        .map(|window| Window {
            name: window.name,
            about: window.about,
            example: window.example,
            usage: window.usage(),
            arguments: window
                .parameters()
                .map(|parameter| {
                    let is_required = window.lengths.iter().any(|own| own.name == parameter.name);
                    argument(parameter.name, parameter.about, is_required)
                })
                .collect(),
        })
        .collect()
}

fn argument(name: &str, about: &str, is_required: bool) -> Argument {
    Argument { name: name.to_string(), about: about.to_string(), is_required }
}

/// A kind of place that rows of streams come from and go to.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Its name, as `connector = '…'` has it.
    pub name: &'static str,
    /// The options of its sources.
    pub source: Vec<Setting>,
    /// The options of its sinks.
    pub sink: Vec<Setting>,
}

/// An option of a source or a sink.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// What it takes, to follow "must be".
    pub takes: String,
    /// The value where none is given.
    pub default: Option<&'static str>,
    /// What it is for.
    pub about: &'static str,
    /// Whether it must be given.
    pub is_required: bool,
    /// Whether its value is never shown.
    pub is_secret: bool,
}

/// All connectors.
pub fn connectors() -> Vec<Connector> {
    let settings = |options: Vec<ConnectorOption>| options.iter().map(setting).collect();
    CONNECTORS
        .iter()
        .map(|connector| Connector {
            name: connector.name(),
            source: connector.source().map(|source| settings(source.options())).unwrap_or_default(),
            sink: connector.sink().map(|sink| settings(sink.options())).unwrap_or_default(),
        })
        .collect()
}

fn setting(option: &ConnectorOption) -> Setting {
    Setting {
        key: option.key,
        takes: option.kind.wanted(),
        default: option.default,
        about: option.about,
        is_required: option.is_required,
        is_secret: option.is_secret,
    }
}

/// The functions that Sembla adds to a session, or runs in place of DataFusion's, by name.
pub fn functions(session: &Session) -> Vec<Function> {
    let state = session.context().state();
    let scalars = state.scalar_functions().values().filter_map(|function| {
        made(function.name(), function.aliases(), false, function.documentation())
    });
    let aggregates = state.aggregate_functions().values().filter_map(|function| {
        made(function.name(), function.aliases(), true, function.documentation())
    });
    let own = |function: &Function| session.is_own_function(&function.name);
    let mut all: Vec<_> = scalars.chain(aggregates).filter(own).collect();
    all.sort_by(|one, two| (one.is_aggregate, &one.name).cmp(&(two.is_aggregate, &two.name)));
    all.dedup_by(|one, two| one.name == two.name);
    all
}

/// A function as its documentation has it.
fn made(
    name: &str,
    aliases: &[String],
    is_aggregate: bool,
    documentation: Option<&Documentation>,
) -> Option<Function> {
    let documentation = documentation?;
    // Arguments that can be left out stand in brackets.
    let usage = documentation.syntax_example.clone();
    let optional = usage.find('[').unwrap_or(usage.len());
    let arguments = documentation.arguments.iter().flatten().map(|(name, about)| {
        let is_required = usage.find(name.as_str()).is_some_and(|place| place < optional);
        argument(name, about, is_required)
    });
    let example = documentation.sql_example.as_ref().map(|example| {
        let lines = example.lines().filter(|line| !line.starts_with("```"));
        lines.collect::<Vec<_>>().join("\n").trim().to_string()
    });
    Some(Function {
        name: name.to_string(),
        aliases: aliases.to_vec(),
        is_aggregate,
        about: documentation.description.trim().to_string(),
        arguments: arguments.collect(),
        usage,
        example,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionOptions;

    #[test]
    fn options_and_their_defaults_are_those_of_the_declaration() {
        let dedup = finding("dedup").expect("a finding");
        let threshold = dedup.options.iter().find(|option| option.name == "threshold");
        assert_eq!(threshold.and_then(OptionDef::default).as_deref(), Some("0.9"));
        assert!(dedup.inputs.first().is_some_and(|input| input.is_required));
        assert!(finding("deduplicate").is_none());
    }

    #[test]
    fn a_session_names_its_own_functions_only() {
        let session = Session::new(SessionOptions::default()).expect("a session");
        let functions = functions(&session);
        let embed = functions.iter().find(|function| function.name == "embed").expect("embed");
        let required: Vec<_> = embed.arguments.iter().map(|given| given.is_required).collect();
        assert_eq!(required, [true, false, false]);
        assert!(functions.iter().any(|one| one.is_aggregate && one.name == "vector_avg"));
        assert!(functions.iter().all(|function| function.name != "substr"));
    }
}
