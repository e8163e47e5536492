//! What a server says, as errors that say what is wrong and how to fix it.
//!
//! - *Invariant:* no message has a password.

use std::io;

use sembla_runtime::Error;

use super::address::Address;
use super::wire::{ServerError, WireError};

/// The error for something that failed at the server of an address. `what` says what was tried:
/// `writing table docs`.
pub(super) fn explain(address: &Address, what: &str, error: &WireError) -> Error {
    let error = match error {
        WireError::Io(error) => unreachable_server(address, what, error),
        WireError::Tls(why) => Error::External(format!(
            "TLS with postgres at {address} failed: {why}; check sslmode and sslrootcert of url"
        )),
        WireError::Login(why) => refused_login(address, why),
        WireError::Protocol(why) => {
            Error::Transient(format!("{what}: postgres at {address} sent {why}"))
        }
        WireError::Server(error) => refused(address, what, error),
    };
    redacted(address, error)
}

/// The same for a commit, whose outcome is unknown where the connection ends.
pub(super) fn explain_commit(address: &Address, what: &str, error: &WireError) -> Error {
    match explain(address, what, error) {
        Error::Transient(why) => Error::Fenced(why),
        // The rows were checked one by one when they came; what is wrong now is no row's fault.
        Error::Data(why) => Error::External(why),
        other => other,
    }
}

fn redacted(address: &Address, error: Error) -> Error {
    match error {
        Error::Transient(text) => Error::Transient(address.redact(&text)),
        Error::External(text) => Error::External(address.redact(&text)),
        Error::Data(text) => Error::Data(address.redact(&text)),
        Error::Option(text) => Error::Option(address.redact(&text)),
        other => other,
    }
}

fn unreachable_server(address: &Address, what: &str, error: &io::Error) -> Error {
    let line = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "postgres at {address} refuses connections; check that it runs and that url has the right host and port"
        ),
        io::ErrorKind::NotFound => format!(
            "postgres at {address} does not exist: no such socket; check that it runs and the host of url"
        ),
        io::ErrorKind::TimedOut => format!(
            "postgres at {address} does not answer ({error}); check the host and port of url, and firewalls"
        ),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => {
            format!("{what}: postgres at {address} closed the connection")
        }
        _ => format!("postgres at {address} can't be reached: {error}; check the host of url"),
    };
    Error::Transient(line)
}

fn refused_login(address: &Address, why: &str) -> Error {
    Error::External(format!(
        "postgres at {address} refuses the login of user '{}': {why}; check user and password (in url, the option \
         password, or PGPASSWORD)",
        address.user()
    ))
}

fn refused(address: &Address, what: &str, error: &ServerError) -> Error {
    let ServerError { code, message, detail, hint } = error;
    let more =
        |text: &Option<String>| text.as_ref().map_or(String::new(), |text| format!(" ({text})"));
    let said = format!("{message}{}", more(detail));
    let class = code.get(..2).unwrap_or_default();
    match (class, code.as_str()) {
        ("28", _) => refused_login(address, message),
        ("22" | "23", _) => Error::Data(format!("{what}: {said}")),
        ("08", _) | (_, "57P01" | "57P02" | "57P03" | "53300" | "25P03") => {
            Error::Transient(format!("{what}: postgres at {address} is not available: {said}"))
        }
        ("40", _) => Error::Transient(format!("{what}: {said}")),
        (_, "55P03") => Error::Transient(format!(
            "{what}: another process holds the lock; end it, or wait ({said})"
        )),
        ("53", "53100") => Error::Transient(format!(
            "{what}: the disk of postgres at {address} is full ({message}); free some space"
        )),
        ("53", _) => {
            Error::Transient(format!("{what}: postgres at {address} lacks resources: {said}"))
        }
        (_, "42501") => Error::External(format!(
            "{what}: user '{}' of database '{}' lacks the right ({said}); GRANT it",
            address.user(),
            address.database()
        )),
        (_, "25006") => Error::External(format!(
            "{what}: postgres at {address} takes no writes ({said}); url must name the primary, not a replica"
        )),
        (_, "3D000") => Error::External(format!(
            "postgres at {address} has no database '{}'; create it, or correct url",
            address.database()
        )),
        (_, "3F000") => Error::External(format!("{what}: {said}; CREATE SCHEMA creates it")),
        _ => Error::External(format!("{what}: {said}{}", more(hint))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address::parse("postgres://me:hunter2@h:1/db", None).expect("an address")
    }

    fn said(code: &str, message: &str) -> Error {
        let (code, message) = (code.to_string(), message.to_string());
        let error = ServerError { code, message, ..ServerError::default() };
        explain(&address(), "writing table docs", &WireError::Server(Box::new(error)))
    }

    #[test]
    fn each_kind_of_refusal_has_its_kind_of_error() {
        assert!(matches!(said("22P02", "bad"), Error::Data(_)));
        assert!(matches!(said("23502", "null"), Error::Data(_)));
        assert!(said("57P01", "shut down").is_transient());
        assert!(said("53100", "no space").to_string().contains("is full (no space)"));
        assert!(matches!(said("42501", "permission denied"), Error::External(_)));
        let line = said("28P01", "password authentication failed").to_string();
        assert!(line.contains("refuses the login of user 'me': password"), "{line}");
        assert!(said("3D000", "x").to_string().contains("has no database 'db'"));
    }

    #[test]
    fn a_commit_without_an_answer_is_started_over_and_blames_no_row() {
        let gone = WireError::Io(io::ErrorKind::ConnectionReset.into());
        let error = explain_commit(&address(), "the commit", &gone);
        assert_eq!(
            error,
            Error::Fenced("the commit: postgres at h:1 closed the connection".into())
        );
        let unique = ServerError { code: "23505".into(), ..ServerError::default() };
        let error = explain_commit(&address(), "the commit", &WireError::Server(Box::new(unique)));
        assert!(matches!(error, Error::External(_)));
    }

    #[test]
    fn no_message_has_the_password() {
        let line = said("XX000", "me hunter2").to_string();
        assert_eq!(line, "writing table docs: me ***");
    }
}
