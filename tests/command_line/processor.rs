//! `SEMBLA_CPU` chooses the instructions, and never the result.

use crate::place::{Place, Run};

fn run(place: &Place, level: &str, args: &[&str]) -> Run {
    let output = place.command(args).env("SEMBLA_CPU", level).output().expect("the binary runs");
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

#[test]
fn an_unknown_level_is_one_line() {
    let place = Place::new();
    let line = run(&place, "avx9", &["sql", "SELECT 1"]).fails(2);
    assert_eq!(line, "SEMBLA_CPU must be plain, avx2, avxvnni or avx512, got avx9");
}

#[test]
fn q8_vectors_are_the_same_at_every_level() {
    let place = Place::new();
    let query = "SELECT embed('the refund is late', 'minilm')";
    let vector = |level: &str| run(&place, level, &["sql", "--format", "json", query]);
    let plain = vector("plain").ok();
    assert!(plain.len() > 384 * 5, "{plain}");
    for level in ["avx2", "avxvnni", "avx512", ""] {
        let found = vector(level);
        // A processor without the instructions says so.
        if found.code == 2 && found.err.contains("this processor does not have it") {
            continue;
        }
        assert_eq!(found.ok(), plain, "{level}");
    }
}
