//! The address of a database, as libpq and every other client write it:
//! `postgres://user:password@host:5432/database?sslmode=require`.
//!
//! - *Invariant:* no message has the password, nor an address that could not be read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sembla_runtime::{Error, Result};
use url::Url;

use super::wire::{Endpoint, Login, TlsMode};

/// The port of a server that names none.
const PORT: u16 = 5432;
/// How long a server may take to answer and to log one in.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How sessions are called in the server's views.
const APPLICATION: &str = "sembla";
/// The settings that an address can have behind its `?`.
const SETTINGS: [&str; 8] = [
    "sslmode",
    "sslrootcert",
    "host",
    "port",
    "user",
    "dbname",
    "application_name",
    "connect_timeout",
];

/// Where a database is, and who logs in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    endpoint: Endpoint,
    user: String,
    password: Option<String>,
    database: String,
    application: String,
    tls: TlsMode,
    roots: Option<PathBuf>,
    within: Duration,
}

impl Address {
    /// Whether a text is an address of this kind.
    pub(super) fn is_one(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads an address. `password` is used where it has none; then `PGPASSWORD`.
    ///
    /// # Errors
    /// [`Error::Option`] for one that can't be, without showing it.
    pub(super) fn parse(text: &str, password: Option<&str>) -> Result<Self> {
        let (address, others) = Self::parse_with_others(text, password)?;
        match others.first() {
            None => Ok(address),
            Some((key, _)) => Err(Error::Option(format!(
                "url has the setting '{}', which is none of {}",
                key.escape_debug(),
                SETTINGS.join(", ")
            ))),
        }
    }

    /// The same, with the settings that are not the connection's own.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(super) fn parse_with_others(
        text: &str,
        password: Option<&str>,
    ) -> Result<(Self, Vec<(String, String)>)> {
        if !Self::is_one(text) {
            return Err(Error::Option(
                "url must begin with postgres:// or postgresql://, as in postgres://user@host:5432/database".into(),
            ));
        }
        let url = Url::parse(&with_host(text)).map_err(|error| {
            Error::Option(format!(
                "url can't be read ({error}); write special characters of the password as %23 for '#', %2F for '/', \
                 %40 for '@', or set PGPASSWORD"
            ))
        })?;
        if url.fragment().is_some() {
            return Err(Error::Option("url has a '#'; in a password it is written %23".into()));
        }
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for (key, value) in url.query_pairs() {
            match SETTINGS.contains(&key.as_ref()) {
                true => own.push((key.into_owned(), value.into_owned())),
                false => others.push((key.into_owned(), value.into_owned())),
            }
        }
        if others.iter().any(|(key, _)| key == "password") {
            return Err(Error::Option(
                "url has the setting 'password', which logs would show; put it before the '@' or in PGPASSWORD"
                    .into(),
            ));
        }
        Ok((Self::of(&url, &own, password)?, others))
    }

    fn of(url: &Url, settings: &[(String, String)], password: Option<&str>) -> Result<Self> {
        let setting = |name: &str| {
            let found = settings.iter().rev().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let decoded = |what: &str, text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(std::borrow::Cow::into_owned)
                .map_err(|_| Error::Option(format!("url has a {what} that is no text")))
        };
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let given = Some(url.username()).filter(|user| !user.is_empty());
        let user = match (given, setting("user")) {
            (Some(user), _) => decoded("user", user)?,
            (None, Some(user)) => user.to_string(),
            (None, None) => variable("PGUSER").or_else(|| variable("USER")).ok_or_else(|| {
                Error::Option("url names no user, as in postgres://user@host/database".into())
            })?,
        };
        let own = url.password().map(|password| decoded("password", password)).transpose()?;
        let path = decoded("database", url.path().trim_start_matches('/'))?;
        let database = Some(path).filter(|path| !path.is_empty());
        let database = database.or_else(|| setting("dbname").map(str::to_string));
        let host = match setting("host") {
            Some(host) => host.to_string(),
            None => decoded("host", url.host_str().unwrap_or_default())?,
        };
        let port = match setting("port") {
            Some(port) => Some(port.parse().map_err(|_| wrong("port", "a number up to 65535"))?),
            None => url.port(),
        };
        Ok(Self {
            endpoint: endpoint(host, port.unwrap_or(PORT)),
            password: own
                .or_else(|| password.map(str::to_string))
                .or_else(|| variable("PGPASSWORD")),
            database: database.unwrap_or_else(|| user.clone()),
            user,
            application: setting("application_name").unwrap_or(APPLICATION).into(),
            tls: tls_mode(setting("sslmode"))?,
            roots: setting("sslrootcert").map(PathBuf::from),
            within: connect_time(setting("connect_timeout"))?,
        })
    }

    /// What is needed to log in.
    pub(super) fn login(&self) -> Login<'_> {
        Login {
            endpoint: &self.endpoint,
            user: &self.user,
            password: self.password.as_deref(),
            database: &self.database,
            application: &self.application,
            tls: self.tls,
            roots: self.roots.as_ref(),
            within: self.within,
        }
    }

    /// The user.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The database.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// The text without the password, should it have come into it.
    pub(super) fn redact(&self, text: &str) -> String {
        match &self.password {
            Some(password) if password.len() > 3 => text.replace(password.as_str(), "***"),
            _ => text.to_string(),
        }
    }
}

/// The server, for messages: `127.0.0.1:5432`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp(host, port) => write!(f, "{host}:{port}"),
            Endpoint::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{self}/{}", self.user, self.database)
    }
}

/// The address with a host where it has none, which URLs of other kinds must have.
fn with_host(text: &str) -> String {
    let start = text.find("://").map_or(0, |found| found + 3);
    let (scheme, rest) = text.split_at(start);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.is_empty() || authority.ends_with('@') {
        true => format!("{scheme}{authority}localhost{path}"),
        false => text.to_string(),
    }
}

fn endpoint(host: String, port: u16) -> Endpoint {
    match host.starts_with('/') {
        true => Endpoint::Socket(PathBuf::from(host).join(format!(".s.PGSQL.{port}"))),
        false if host.is_empty() => Endpoint::Tcp("localhost".into(), port),
        // Brackets are how an address of IPv6 stands in a URL.
        false => Endpoint::Tcp(host.trim_matches(['[', ']']).to_string(), port),
    }
}

fn tls_mode(given: Option<&str>) -> Result<TlsMode> {
    let Some(given) = given else { return Ok(TlsMode::Prefer) };
    let known = TlsMode::WORDS.iter().find(|(word, _)| *word == given);
    let words: Vec<_> = TlsMode::WORDS.iter().map(|(word, _)| *word).collect();
    known
        .map(|(_, mode)| *mode)
        .ok_or_else(|| wrong("sslmode", &format!("one of {}", words.join(", "))))
}

fn connect_time(given: Option<&str>) -> Result<Duration> {
    let Some(given) = given else { return Ok(CONNECT_TIME) };
    let seconds = given.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| wrong("connect_timeout", "a number of seconds between 1 and 3600"))
}

fn wrong(setting: &str, wanted: &str) -> Error {
    Error::Option(format!("{setting} of url must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, None).expect("an address")
    }

    #[test]
    fn all_parts_are_read() {
        let full = address(
            "postgres://me:s%40cret@db.example:6000/news?sslmode=verify-full&sslrootcert=ca.pem&connect_timeout=3",
        );
        assert_eq!(full.endpoint, Endpoint::Tcp("db.example".into(), 6000));
        assert_eq!((full.user.as_str(), full.password.as_deref()), ("me", Some("s@cret")));
        assert_eq!((full.database.as_str(), full.tls), ("news", TlsMode::VerifyFull));
        assert_eq!(full.roots, Some("ca.pem".into()));
        assert_eq!(full.within, Duration::from_secs(3));
        assert_eq!(full.to_string(), "db.example:6000");
        assert_eq!(format!("{full:?}"), "me@db.example:6000/news");
        assert_eq!(full.redact("password s@cret"), "password ***");
    }

    #[test]
    fn what_is_left_out_is_as_libpq_has_it() {
        let least = address("postgresql://me@");
        assert_eq!(least.endpoint, Endpoint::Tcp("localhost".into(), 5432));
        assert_eq!((least.database.as_str(), least.tls), ("me", TlsMode::Prefer));
        let socket = address("postgres://me@/db?host=/run/pg&port=6");
        assert_eq!(socket.to_string(), "/run/pg/.s.PGSQL.6");
        assert_eq!(address("postgres://me@[::1]:7/db").to_string(), "[::1]:7");
        let password = Address::parse("postgres://me@h/db", Some("given")).expect("an address");
        assert_eq!(password.password.as_deref(), Some("given"));
    }

    #[test]
    fn mistakes_are_named_without_the_address() {
        for (text, said) in [
            ("mysql://me:hunter2@h/db", "must begin with postgres://"),
            ("postgres://me:hun#ter2@h/db", "special characters of the password"),
            ("postgres://me@h/db?password=hunter2", "which logs would show"),
            (
                "postgres://me:hunter2@h/db?sslmode=on",
                "sslmode of url must be one of disable, prefer",
            ),
            ("postgres://me:hunter2@h/db?tabel=x", "the setting 'tabel'"),
            ("postgres://me:hunter2@h/db?connect_timeout=0", "connect_timeout of url"),
            ("postgres://me:hunter2@h:99999/db", "can't be read"),
        ] {
            let error = Address::parse(text, None).expect_err(text).to_string();
            assert!(error.contains(said) && !error.contains("hun"), "{error}");
        }
    }
}
