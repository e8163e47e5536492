//! The page of the command line, from clap's declaration.

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::markdown::{GENERATED, anchor, block, cell, code, table};
use crate::args::Cli;

/// The page.
pub(super) fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = format!("# Command line\n\n{GENERATED}");
    let mut commands = Vec::new();
    collect(&command, &mut commands);
    let rows = commands.iter().filter(|command| command.get_subcommands().next().is_none());
    text += &table(
        &["command", "does"],
        rows.map(|command| {
            let name = name(command);
            vec![format!("[`{name}`](#{})", anchor(&name)), cell(&about(command))]
        }),
    );
    text += "## All commands\n\n";
    text += &arguments(&command);
    text += &paragraphs(&command.get_after_help().map(ToString::to_string).unwrap_or_default());
    for command in commands {
        text += &section(command);
    }
    text.trim_end().to_string() + "\n"
}

/// The commands below one, with those below them.
fn collect<'a>(command: &'a Command, into: &mut Vec<&'a Command>) {
    for below in command.get_subcommands() {
        if !below.is_hide_set() && below.get_name() != "help" {
            into.push(below);
            collect(below, into);
        }
    }
}

/// `sembla models list`.
fn name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).to_string()
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn section(command: &Command) -> String {
    let mut text = format!("## {}\n\n{}.\n\n", name(command), about(command));
    if command.get_subcommands().next().is_some() {
        return text;
    }
    let usage = command.clone().render_usage().to_string();
    text += &block("", usage.trim_start_matches("Usage: "));
    text += &arguments(command);
    text += &paragraphs(&command.get_after_help().map(ToString::to_string).unwrap_or_default());
    text
}

/// The arguments of a command, then its flags under their headings.
fn arguments(command: &Command) -> String {
    let is_shown = |arg: &&Arg| {
        !arg.is_hide_set()
            && !matches!(
                arg.get_action(),
                ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
            )
            // A flag of all commands stands with the first.
            && (!arg.is_global_set() || command.get_name() == "sembla")
    };
    let shown: Vec<&Arg> = command.get_arguments().filter(is_shown).collect();
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in &shown {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    let mut text = String::new();
    for heading in headings {
        if let Some(heading) = heading {
            text += &format!("{heading}:\n\n");
        }
        let of_heading = shown.iter().filter(|arg| arg.get_help_heading() == heading);
        text += &table(&["flag", "does"], of_heading.map(|arg| vec![spelling(arg), help(arg)]));
    }
    text
}

/// How an argument is written: `-k, --top-k <N>`.
fn spelling(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string);
    let value = value.filter(|_| arg.get_action().takes_values());
    if arg.is_positional() {
        return code(&value.unwrap_or_else(|| arg.get_id().to_string()));
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    code(&value.map_or(names.clone(), |value| format!("{names} <{value}>")))
}

/// What an argument does, with its default and the words that it takes.
fn help(arg: &Arg) -> String {
    let mut text = cell(&arg.get_help().map(ToString::to_string).unwrap_or_default());
    let words: Vec<_> = arg.get_possible_values();
    let words: Vec<_> = words.iter().filter(|word| !word.is_hide_set()).collect();
    if arg.get_action().takes_values() && !words.is_empty() {
        let names: Vec<_> = words.iter().map(|word| code(word.get_name())).collect();
        text += &format!(" (one of {})", names.join(", "));
    }
    let defaults: Vec<_> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        text += &format!(" [default: {}]", defaults.join(", "));
    }
    text
}

/// The text below a command's help: paragraphs, and lists of examples as code.
fn paragraphs(text: &str) -> String {
    let mut page = String::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        match paragraph.split_once(":\n  ") {
            Some((title, lines)) => {
                page += &format!("{}:\n\n", title.trim());
                let lines: Vec<_> =
                    lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
                page += &block("", &lines.join("\n"));
            }
            None => {
                page += &format!("{}\n\n", paragraph.trim().replace('<', "&lt;"));
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_section_and_its_flags() {
        let page = page();
        for part in ["## sembla search\n", "## sembla models quantize\n", "`-k, --top-k <N>`"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("## sembla help"));
    }

    #[test]
    fn examples_are_code() {
        let page = paragraphs("Words.\n\nExamples:\n  sembla one\n  sembla two");
        assert_eq!(page, "Words.\n\nExamples:\n\n```\nsembla one\nsembla two\n```\n\n");
    }
}
