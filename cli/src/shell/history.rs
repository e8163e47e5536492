//! The shell's history: a file that only its owner can read, without statements that hold secrets.

use std::fs;
use std::path::PathBuf;

use rustyline::Editor;
use rustyline::history::FileHistory;
use sembla_sql::is_secret_option;

use super::complete::ShellHelper;

/// Words in names that may be those of secrets, whoever declares them: options of files' stores, a
/// misspelt one. They decide only what the history leaves out; what is a secret is declared.
const SECRET_WORDS: [&str; 9] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "credential",
    "access_key",
    "account_key",
    "private_key",
    "sas_",
];

/// Lines that the history keeps.
pub(super) const LINES_MAX: usize = 10_000;

/// Keeps what was typed, unless it holds a secret. It is a convenience: when the disk fails, the
/// shell goes on.
pub(super) fn keep(
    editor: &mut Editor<ShellHelper, FileHistory>,
    file: Option<&PathBuf>,
    line: &str,
) {
    let line = line.trim();
    if line.is_empty() {
        return;
    }
    if holds_secret(line) {
        eprintln!(
            "not saved in the history, as it contains a secret; use 'env:NAME' to keep secrets out of statements"
        );
        return;
    }
    if editor.add_history_entry(line).is_ok()
        && let Some(path) = file
        && let Err(error) = editor.append_history(path)
    {
        tracing::debug!(%error, "the history is not saved");
    }
}

/// The history file in the user's data folder, made for the user's eyes only.
pub(super) fn file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_DATA_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?
        .join("sembla");
    fs::create_dir_all(&folder).ok()?;
    let path = folder.join("history");
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).ok()?;
    Some(path)
}

/// Whether a statement has the value of a secret option, or an address with a password. A reference
/// to a variable (`'env:NAME'`) is none. In doubt it is one: a slip in the syntax leaves the value
/// where it is.
fn holds_secret(line: &str) -> bool {
    let (mut rest, mut last) = (line, "");
    while let Some(start) = rest.find('\'') {
        let (before, from) = rest.split_at(start);
        let from = from.get(1..).unwrap_or_default();
        let end = from.find('\'').unwrap_or(from.len());
        let value = from.get(..end).unwrap_or_default();
        if has_password(value) || (names_secret(before, last) && !value.starts_with("env:")) {
            return true;
        }
        last = value;
        rest = from.get(end + 1..).unwrap_or_default();
    }
    has_password(line)
}

/// Whether what stands before a literal is the name of a secret option, bare, in double quotes, or
/// as the literal before it, `last`.
fn names_secret(before: &str, last: &str) -> bool {
    let is_between = |letter: char| letter.is_whitespace() || "=>:".contains(letter);
    let before = before.trim_end_matches(is_between).trim_end_matches('"');
    let is_name = |letter: char| letter.is_alphanumeric() || "_.-".contains(letter);
    let start = before.rfind(|letter| !is_name(letter));
    let bare = before.get(start.map_or(0, |at| at + 1)..).unwrap_or_default();
    let name = if before.is_empty() { last } else { bare };
    let name = name.to_lowercase();
    let alike = name.replace(['.', '-'], "_");
    is_secret_option(&name) || SECRET_WORDS.iter().any(|word| alike.contains(word))
}

/// Whether an address in the text has a user and a password before its host.
fn has_password(text: &str) -> bool {
    text.match_indices('@').any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let is_end = |letter: char| letter.is_whitespace() || ",/'\"(".contains(letter);
        let user = before.rsplit(is_end).next().unwrap_or_default();
        user.split_once(':')
            .is_some_and(|(name, password)| !name.is_empty() && !password.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_the_history() {
        for secret in [
            "CREATE SOURCE s (id INT) WITH (connector = 'kafka', \"sasl.password\" = 'hunter2')",
            "CREATE SOURCE s WITH (\"sasl.password\" 'hunter2')",
            "create sink s with (secret_access_key='x', session_token = 'y')",
            "CREATE SINK s WITH (bootstrap_servers = 'user:pass@broker:9092')",
            "SELECT * FROM 's3://AK:SECRET@bucket/x.parquet'",
            "CREATE SINK s WITH ('kafka.sasl.oauthbearer.config' = 'x'",
            "CREATE SINK s WITH (schema_registry = 'https://me:pw@registry')",
        ] {
            assert!(holds_secret(secret), "{secret}");
        }
        for plain in [
            "SELECT token_count('a text'), embed('password forgotten')",
            "CREATE SOURCE s WITH (\"sasl.password\" = 'env:KAFKA_PASSWORD')",
            "SELECT 'mail me: a@b.de', 'it''s'",
            "SELECT * FROM 'a@b.parquet' WHERE x = '12:30'",
            "SELECT * FROM 'https://host:443/x.parquet'",
        ] {
            assert!(!holds_secret(plain), "{plain}");
        }
    }
}
