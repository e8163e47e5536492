//! The pages of SQL: functions, table functions, options of statements, and connectors.

use sembla_models::ModelSpec;
use sembla_sql::Session;
use sembla_sql::reference::{self, Argument};

use super::markdown::{GENERATED, anchor, block, cell, code, code_or_nothing, table};

/// The first sentence of a text.
fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

/// A list that leads to the sections of a page.
fn index<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    table(
        &["function", "gives"],
        entries.into_iter().map(|(name, about)| {
            vec![format!("[`{name}`](#{})", anchor(name)), cell(first_sentence(about))]
        }),
    )
}

/// The page of functions in expressions.
pub(super) fn functions(session: &Session) -> String {
    let functions = reference::functions(session);
    let mut text = format!(
        "# Functions\n\n{GENERATED}What Sembla adds to DataFusion's functions, or runs on kernels of its own. \
         Arguments can be given by name: `name => value`.\n\n"
    );
    for (title, is_aggregate) in [("Scalar functions", false), ("Aggregates", true)] {
        let some = functions.iter().filter(|function| function.is_aggregate == is_aggregate);
        text += &format!("## {title}\n\n");
        text += &index(some.clone().map(|one| (one.name.as_str(), one.about.as_str())));
        for function in some {
            text += &format!("### {}\n\n", function.name);
            text += &block("sql", &function.usage);
            text += &format!("{}\n\n", prose(&function.about));
            if !function.aliases.is_empty() {
                let aliases: Vec<_> = function.aliases.iter().map(|name| code(name)).collect();
                text += &format!("Also called {}.\n\n", aliases.join(", "));
            }
            text += &arguments(&function.arguments);
            text += &function.example.as_deref().map(|sql| block("sql", sql)).unwrap_or_default();
        }
    }
    text.trim_end().to_string() + "\n"
}

/// The page of functions in `FROM`.
pub(super) fn table_functions() -> String {
    let findings = reference::findings();
    let windows = reference::windows();
    let mut text = format!(
        "# Table functions\n\n{GENERATED}These stand in `FROM`. The first input is a table, a view, a file in quotes, or \
         a query in parentheses; everything else is given by name. [SQL](README.md#table-functions) says what they \
         have in common.\n\n"
    );
    text += &index(findings.iter().map(|finding| (finding.name, finding.about)));
    text += "Windows of event time, over streams and static tables alike:\n\n";
    text += &index(windows.iter().map(|window| (window.name, window.about)));
    for finding in &findings {
        text += &format!("## {}\n\n{}\n\n", finding.name, prose(finding.about));
        text += &block("sql", finding.example);
        text += &arguments(&finding.inputs);
        text += &table(
            &["option", "default", "takes", "does"],
            finding.options.iter().map(|option| {
                vec![
                    code(option.name),
                    code_or_nothing(option.default().as_deref()),
                    cell(&option.kind.wanted()),
                    cell(option.about),
                ]
            }),
        );
    }
    for window in &windows {
        text += &format!("## {}\n\n{}\n\n", window.name, prose(window.about));
        text += &block("sql", &window.usage);
        text += &block("sql", window.example);
        text += &arguments(&window.arguments);
    }
    text.trim_end().to_string() + "\n"
}

/// What a function is called with.
fn arguments(arguments: &[Argument]) -> String {
    table(
        &["argument", "", "is"],
        arguments.iter().map(|argument| {
            let required = if argument.is_required { "required" } else { "" };
            vec![code(&argument.name), required.to_string(), cell(&argument.about)]
        }),
    )
}

/// A text outside of tables.
fn prose(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('<', "&lt;")
}

/// The page of options that statements take.
pub(super) fn statement_options(session: &Session) -> String {
    let mut text = format!(
        "# Options of statements\n\n{GENERATED}## CREATE MODEL\n\n`CREATE MODEL name WITH (path = '…', …)`. Commands \
         have the same options as flags: `--max-length 128`.\n\n"
    );
    text += &table(
        &["option", "takes", "default", "is"],
        ModelSpec::OPTIONS.iter().map(|option| {
            let (takes, default) = (option.describe_value(), option.describe_default());
            vec![code(option.key), code(takes), cell(default), cell(option.about)]
        }),
    );
    text += "## CREATE MODEL … AS SELECT\n\n`CREATE MODEL name WITH (base = '…', …) AS SELECT …` trains a model on the rows of the query, as \
             `sembla train` does ([Training](../training.md)), writes its directory and gives it the name. With OR REPLACE a directory \
             that is there is replaced. Ctrl-C stops it; the same statement resumes fine-tuning. `sembla run` does not train.\n\n";
    text += &table(
        &["option", "takes", "default", "is"],
        sembla_jobs::train::OPTIONS.iter().map(|option| {
            let (takes, default) = (option.describe_value(), option.describe_default());
            vec![code(option.key), code(takes), cell(default), cell(option.about)]
        }),
    );
    text += "## SET stream\n\nHow pipelines of a session run: `SET stream.linger = '10 ms'`, or `sembla run --set linger='10 ms'`.\n\n";
    let state = session.context().state();
    let settings = state.config_options().entries();
    text += &table(
        &["setting", "default", "is"],
        settings.into_iter().filter(|entry| entry.key.starts_with("stream.")).map(|entry| {
            vec![code(&entry.key), code_or_nothing(entry.value.as_deref()), cell(entry.description)]
        }),
    );
    text.trim_end().to_string() + "\n"
}

/// The page of connectors.
pub(super) fn connectors() -> String {
    let mut text = format!(
        "# Connectors\n\n{GENERATED}What `CREATE SOURCE` and `CREATE SINK` take in `WITH (connector = '…', …)`. Any value may \
         be `'env:NAME'`, an environment variable. Secrets are never shown. [Streams](streams.md) says what sources \
         and sinks do.\n\n"
    );
    for connector in reference::connectors() {
        let roles = [("source", connector.source), ("sink", connector.sink)];
        for (role, settings) in roles.into_iter().filter(|(_, settings)| !settings.is_empty()) {
            text += &format!("## {}: {role}\n\n", connector.name);
            text += &table(
                &["option", "default", "takes", "is"],
                settings.iter().map(|setting| {
                    let required = if setting.is_required { "required: " } else { "" };
                    let secret = if setting.is_secret { " (secret)" } else { "" };
                    vec![
                        code(setting.key),
                        code_or_nothing(setting.default),
                        cell(&setting.takes),
                        format!("{required}{}{secret}", cell(setting.about)),
                    ]
                }),
            );
        }
    }
    text.trim_end().to_string() + "\n"
}
