//! Tells the binary which commit it is built from, for `--version`. Without git, or outside of a
//! checkout, the version stands alone; `SEMBLA_COMMIT` says it in their place. And leaves symbols
//! out of the binary.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=SEMBLA_COMMIT");
    // The log of HEAD grows with every commit and every checkout.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file]).unwrap_or_default();
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let given = std::env::var("SEMBLA_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let known = given.or_else(|| git(&["show", "-s", "--format=%h %cs", "HEAD"]));
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let shown = match known {
        Some(commit) => format!("{version} ({})", commit.trim()),
        None => version,
    };
    println!("cargo:rustc-env=SEMBLA_VERSION={shown}");
    // Cargo forgets the profile's `strip` for a package that has options of its own there.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-link-arg-bin=sembla=-Wl,--strip-all");
    }
}

/// What git answers, if there is one and it knows.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_string())
}
