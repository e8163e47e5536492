//! What the command line says of itself: version, completions, manual pages.

use std::fs;

use crate::place::Place;

#[test]
fn every_shell_gets_its_completions() {
    let place = Place::new();
    for (shell, word) in [
        ("bash", "_sembla()"),
        ("zsh", "#compdef sembla"),
        ("fish", "complete -c sembla"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = place.run(&["completions", shell]).ok();
        assert!(script.contains(word) && script.contains("only-kept"), "{shell}");
    }
    assert!(place.run(&["completions", "csh"]).fails(2).contains("csh"));
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let place = Place::new();
    let page = place.run(&["man"]).ok();
    assert!(page.contains(".TH SEMBLA 1") && page.contains("SEMBLA_MODELS"), "{page}");
    place.run(&["man", "pages"]).ok();
    for name in
        ["sembla", "sembla-sql", "sembla-embed", "sembla-models-inspect", "sembla-bench-embed"]
    {
        let page = fs::read_to_string(place.path(&format!("pages/{name}.1")));
        assert!(page.expect(name).contains(".SH NAME"), "{name}");
    }
}

#[test]
fn the_version_names_the_commit_where_there_is_one() {
    let place = Place::new();
    let version = place.run(&["--version"]).ok();
    let root = env!("CARGO_MANIFEST_DIR");
    let head = std::process::Command::new("git").args(["-C", root, "rev-parse", "HEAD"]).output();
    if head.is_ok_and(|head| head.status.success()) {
        let commit = version.split_once('(').and_then(|(_, rest)| rest.split(' ').next());
        let commit = commit.unwrap_or_else(|| panic!("{version}"));
        assert!(commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{version}");
    }
}

#[test]
fn no_line_of_the_help_breaks_off() {
    let place = Place::new();
    for args in [&["--help"][..], &["run", "--help"], &["embed", "--help"], &["dedup", "--help"]] {
        let help = place.run(args).ok();
        for line in help.lines() {
            // A paragraph whose line ends early was broken by hand.
            let is_short = !line.is_empty() && line.len() < 12 && !line.starts_with(' ');
            assert!(!is_short || line.ends_with([':', '.']), "{args:?}: '{line}'");
        }
    }
}
