//! The options of connectors: declared once, read once, and shown to people from the declaration.
//!
//! - *Invariant:* an option that isn't declared is refused, and every value is checked when it is
//!   read; what comes after can rely on it.
//! - *Invariant:* the value of a secret appears in no message and in no debug output.
//! - *Absent:* what options mean, and how two of them agree. That is the connector's.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sembla_runtime::quantity::{parse_size, parse_time};
use sembla_runtime::{Error, Result};

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text that isn't empty.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count,
    /// A size: `1048576`, `64 MiB`, `1 GB`.
    Bytes,
    /// A length of time: `10s`, `500 ms`, `2 min`, `1 h`, `1 day`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// The declaration of one option.
#[derive(Clone, Copy, Debug)]
pub struct OptionDef {
    /// Its name. A name that ends in `.*` stands for all keys that begin so: `kafka.*`.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is for, in one sentence without a full stop.
    pub about: &'static str,
    /// The value where none is given, as a user would write it.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub is_required: bool,
    /// Whether its value must not be shown.
    pub is_secret: bool,
}

impl OptionDef {
    /// An option that may be left out.
    pub const fn new(key: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { key, kind, about, default: None, is_required: false, is_secret: false }
    }

    /// With a value for when none is given.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// Must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Never shown. Its value may be `env:NAME`, which stands for that environment variable.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// Whether a given key is this option.
    fn covers(&self, key: &str) -> bool {
        match self.key.strip_suffix('*') {
            Some(prefix) => key.len() > prefix.len() && key.starts_with(prefix),
            None => key == self.key,
        }
    }
}

/// How far ahead a single row may be and still move the watermark; sources have it.
pub(crate) const MAX_AHEAD: OptionDef = OptionDef::new(
    "max_ahead",
    Kind::Text,
    "how far ahead of the rows before it, and of the clock where a stream is live, the event time of one row may \
     be and still move the watermark: a time, or none for no bound",
)
.or("1 day");

/// The value of [`MAX_AHEAD`] in microseconds; `None` for no bound.
///
/// # Errors
/// [`Error::Option`] for what is neither a time nor `none`.
pub(crate) fn max_ahead_us(options: &Options) -> Result<Option<i64>> {
    let text = options.text(MAX_AHEAD.key)?.trim();
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let time = parse_time(text).and_then(|time| i64::try_from(time.as_micros()).ok());
    let time = time.filter(|time| *time > 0);
    time.map(Some).ok_or_else(|| {
        Error::Option(format!(
            "{} is '{text}'; it must be a time such as '1 h' or '1 day', or 'none'",
            MAX_AHEAD.key
        ))
    })
}

/// A value of an option without the credentials in the addresses that it has, for messages: what
/// stands before the `@` of `scheme://user:password@host`, and of `user:password@host` in a list.
pub fn without_credentials(value: &str) -> String {
    const HIDDEN: &str = "***";
    let mut shown = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find("://").map(|found| found + 3) {
        let (before, address) = rest.split_at(start);
        shown.push_str(before);
        let end = address.find(['/', '?', '#', ',', ' ']).unwrap_or(address.len());
        let (host, after) = address.split_at(end);
        match host.rfind('@') {
            Some(at) => {
                shown.push_str(HIDDEN);
                shown.push_str(host.get(at..).unwrap_or_default());
            }
            None => shown.push_str(host),
        }
        rest = after;
    }
    shown += rest;
    let servers = shown.split(',').map(|server| match server.rsplit_once('@') {
        Some((user, host)) if user.contains(':') && !server.contains(['/', ' ']) => {
            format!("{HIDDEN}@{host}")
        }
        _ => server.to_string(),
    });
    servers.collect::<Vec<_>>().join(",")
}

/// A checked value.
#[derive(Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Flag(bool),
    Count(u64),
    Bytes(u64),
    Duration(Duration),
    Choice(&'static str),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Count(count) | Self::Bytes(count) => write!(f, "{count}"),
            Self::Duration(duration) => write!(f, "{duration:?}"),
            Self::Choice(word) => f.write_str(word),
        }
    }
}

/// Checked options: every default is in place, every required one is there.
#[derive(Clone)]
pub struct Options {
    what: String,
    values: BTreeMap<String, (Value, bool)>,
}

impl Options {
    /// Reads what a user gave against what is declared. `what` is the thing that has the options,
    /// as messages call it: `a kafka source`.
    ///
    /// # Errors
    /// [`Error::Option`] for a key that is unknown or given twice, a value that can't be, or a
    /// required option that is missing.
    pub fn read(what: &str, defs: &[OptionDef], given: &[(String, String)]) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (key, text) in given {
            let def = defs
                .iter()
                .find(|def| def.covers(key))
                .ok_or_else(|| Error::Option(unknown(what, defs, key)))?;
            let value = match def.is_secret {
                true => parse(key, def, &from_environment(key, text)?)?,
                false => parse(key, def, text)?,
            };
            if values.insert(key.clone(), (value, def.is_secret)).is_some() {
                return Err(Error::Option(format!("{what} is given '{key}' twice; give it once")));
            }
        }
        for def in defs.iter().filter(|def| !def.key.ends_with('*')) {
            if values.contains_key(def.key) {
                continue;
            }
            if let Some(default) = def.default {
                values.insert(def.key.into(), (parse(def.key, def, default)?, def.is_secret));
            } else if def.is_required {
                return Err(Error::Option(format!(
                    "{what} needs the option '{}': {}",
                    def.key, def.about
                )));
            }
        }
        Ok(Self { what: what.into(), values })
    }

    /// What has these options: `a kafka source`.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether there is a value, given or by default.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// A text that may be missing. Choices are texts too.
    pub fn find_text(&self, key: &str) -> Option<&str> {
        match &self.values.get(key)?.0 {
            Value::Text(text) => Some(text),
            Value::Choice(word) => Some(word),
            _ => None,
        }
    }

    /// A text.
    ///
    /// # Errors
    /// [`Error::Option`] where it is missing, as for all that follow.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.find_text(key).ok_or_else(|| self.missing(key))
    }

    /// True or false.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn flag(&self, key: &str) -> Result<bool> {
        match self.values.get(key) {
            Some((Value::Flag(flag), _)) => Ok(*flag),
            _ => Err(self.missing(key)),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn count(&self, key: &str) -> Result<u64> {
        match self.values.get(key) {
            Some((Value::Count(count), _)) => Ok(*count),
            _ => Err(self.missing(key)),
        }
    }

    /// A size in bytes.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn bytes(&self, key: &str) -> Result<u64> {
        match self.values.get(key) {
            Some((Value::Bytes(bytes), _)) => Ok(*bytes),
            _ => Err(self.missing(key)),
        }
    }

    /// A length of time.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn duration(&self, key: &str) -> Result<Duration> {
        match self.values.get(key) {
            Some((Value::Duration(duration), _)) => Ok(*duration),
            _ => Err(self.missing(key)),
        }
    }

    /// One of the declared words.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn choice(&self, key: &str) -> Result<&'static str> {
        match self.values.get(key) {
            Some((Value::Choice(word), _)) => Ok(word),
            _ => Err(self.missing(key)),
        }
    }

    /// What was given under a declaration `prefix*`, without the prefix, by name.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        self.values.iter().filter_map(move |(key, (value, _))| match value {
            Value::Text(text) => Some((key.strip_prefix(prefix)?, text.as_str())),
            _ => None,
        })
    }

    fn missing(&self, key: &str) -> Error {
        match self.values.contains_key(key) {
            true => Error::Bug(format!("the option '{key}' is read as another kind than declared")),
            false => Error::Option(format!("{} needs the option '{key}'", self.what)),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, (value, is_secret)) in &self.values {
            match is_secret {
                true => map.entry(key, &"***"),
                false => map.entry(key, &value.to_string()),
            };
        }
        map.finish()
    }
}

/// The line for a key that nobody declared.
fn unknown(what: &str, defs: &[OptionDef], key: &str) -> String {
    let known: Vec<&str> = defs.iter().map(|def| def.key).collect();
    let nearest = known
        .iter()
        .map(|other| (strsim::damerau_levenshtein(&key.to_lowercase(), other), other))
        .min()
        .filter(|(distance, other)| *distance * 3 <= other.len().max(3));
    let meant = match nearest {
        Some((_, other)) => format!("; did you mean '{other}'?"),
        None => String::from(";"),
    };
    format!("{what} has no option '{key}'{meant} options: {}", known.join(", "))
}

/// The value of an option that may lie in the environment: `env:NAME` stands for that variable.
///
/// # Errors
/// [`Error::Option`] for a variable that isn't set, or is no text.
pub fn from_environment(key: &str, text: &str) -> Result<String> {
    match text.strip_prefix("env:") {
        Some(name) => std::env::var(name).map_err(|_| {
            Error::Option(format!(
                "{key} refers to the environment variable {name}, which isn't set"
            ))
        }),
        None => Ok(text.to_string()),
    }
}

/// The value that a text stands for.
fn parse(key: &str, def: &OptionDef, text: &str) -> Result<Value> {
    let trimmed = text.trim();
    let refused = |allowed: &str| {
        let shown = if def.is_secret { "***" } else { text };
        Error::Option(format!("{key} is '{shown}'; it is {allowed}"))
    };
    match def.kind {
        Kind::Text if text.is_empty() => Err(refused("a text that isn't empty")),
        Kind::Text => Ok(Value::Text(text.to_string())),
        Kind::Flag => match trimmed.to_ascii_lowercase().as_str() {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => Err(refused("true or false")),
        },
        Kind::Count => {
            trimmed.parse().map(Value::Count).map_err(|_| refused("a whole number, 0 or more"))
        }
        Kind::Bytes => parse_size(trimmed)
            .map(Value::Bytes)
            .ok_or_else(|| refused("a number of bytes such as 1048576, '64 MiB' or '1 GB'")),
        Kind::Duration => parse_time(trimmed)
            .map(Value::Duration)
            .ok_or_else(|| refused("a time such as '500 ms', '10s', '2 min', '1 h' or '1 day'")),
        Kind::Choice(words) => words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(trimmed))
            .map(|word| Value::Choice(word))
            .ok_or_else(|| refused(&format!("one of: {}", words.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFS: &[OptionDef] = &[
        OptionDef::new("topic", Kind::Text, "the topic to read").required(),
        OptionDef::new("password", Kind::Text, "the password").secret(),
        OptionDef::new("format", Kind::Choice(&["json", "text"]), "how records are read")
            .or("json"),
        OptionDef::new("roll_bytes", Kind::Bytes, "the size of a file").or("128 MiB"),
        OptionDef::new("linger", Kind::Duration, "how long to wait").or("5 ms"),
        OptionDef::new("partitions", Kind::Count, "how many").or("1"),
        OptionDef::new("tombstones", Kind::Flag, "whether to keep them").or("true"),
        OptionDef::new("kafka.*", Kind::Text, "an option of the client library").secret(),
    ];

    fn read(given: &[(&str, &str)]) -> Result<Options> {
        let given: Vec<_> = given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Options::read("a kafka source", DEFS, &given)
    }

    fn refusal(given: &[(&str, &str)]) -> String {
        read(given).expect_err("refused").to_string()
    }

    #[test]
    fn defaults_and_kinds() {
        let options = read(&[("topic", "a"), ("roll_bytes", "1.5 MB"), ("linger", "2 min")])
            .expect("options");
        assert_eq!(options.text("topic").expect("topic"), "a");
        assert_eq!(options.choice("format").expect("format"), "json");
        assert_eq!(options.bytes("roll_bytes").expect("bytes"), 1_500_000);
        assert_eq!(options.duration("linger").expect("linger"), Duration::from_secs(120));
        assert_eq!(options.count("partitions").expect("count"), 1);
        assert!(options.flag("tombstones").expect("flag"));
        assert_eq!(options.find_text("password"), None);
        assert!(!options.has("password"));
        assert!(matches!(options.count("topic"), Err(Error::Bug(_))));
        assert!(matches!(options.text("password"), Err(Error::Option(_))));
    }

    #[test]
    fn refusals_name_the_option_and_the_mend() {
        assert_eq!(refusal(&[]), "a kafka source needs the option 'topic': the topic to read");
        let unknown = refusal(&[("topc", "a")]);
        assert!(unknown.starts_with(
            "a kafka source has no option 'topc'; did you mean 'topic'? options: topic, password"
        ));
        assert!(refusal(&[("zzzzzzzz", "a")]).contains("no option 'zzzzzzzz'; options: topic"));
        assert!(refusal(&[("topic", "a"), ("topic", "b")]).contains("twice"));
        assert_eq!(refusal(&[("format", "xml")]), "format is 'xml'; it is one of: json, text");
        for (key, value) in [
            ("partitions", "-1"),
            ("partitions", "many"),
            ("linger", "5"),
            ("linger", "5 parsecs"),
            ("linger", ""),
            ("roll_bytes", "64 potatoes"),
            ("roll_bytes", "1e9"),
            ("roll_bytes", "99999999999 GB"),
            ("tombstones", "yes"),
            ("topic", ""),
        ] {
            let line = refusal(&[(key, value)]);
            assert!(line.starts_with(&format!("{key} is '{value}'; it is ")), "{line}");
        }
    }

    #[test]
    fn credentials_in_addresses_are_not_shown() {
        for (address, shown) in [
            ("s3://AK:SECRET@bucket/a/b", "s3://***@bucket/a/b"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("s3://AK:SE@CRET@bucket", "s3://***@bucket"),
            ("out/me@home", "out/me@home"),
            ("me:SECRET@a:9092,b:9092", "***@a:9092,b:9092"),
            ("a:1,http://u:p@b/x@y", "a:1,http://***@b/x@y"),
            ("me@home, at 9:00", "me@home, at 9:00"),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }

    #[test]
    fn the_bound_of_event_times_is_a_time_or_none() {
        let read = |text: &str| {
            let given = [("max_ahead".to_string(), text.to_string())];
            max_ahead_us(&Options::read("a source", &[MAX_AHEAD], &given)?)
        };
        assert_eq!(read("2 h"), Ok(Some(7_200_000_000)));
        assert_eq!(read("None"), Ok(None));
        let none_given = Options::read("a source", &[MAX_AHEAD], &[]).expect("options");
        assert_eq!(max_ahead_us(&none_given), Ok(Some(86_400_000_000)));
        for bad in ["0 s", "soon", "1", "-1 h"] {
            let line = read(bad).expect_err(bad).to_string();
            assert!(line.contains("'1 day', or 'none'"), "{line}");
        }
    }

    #[test]
    fn secrets_stay_secret() {
        let options = read(&[("topic", "a"), ("password", "hunter2"), ("kafka.x", "hunter3")])
            .expect("options");
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(shown.contains("***"), "{shown}");
        assert_eq!(options.text("password").expect("password"), "hunter2");
        assert_eq!(options.below("kafka.").collect::<Vec<_>>(), [("x", "hunter3")]);
        let from_environment = read(&[("topic", "a"), ("password", "env:PATH")]).expect("options");
        assert_eq!(
            from_environment.text("password").expect("password"),
            std::env::var("PATH").expect("PATH")
        );
        let line = refusal(&[("topic", "a"), ("password", "env:NOT_SET_ANYWHERE")]);
        assert!(line.contains("NOT_SET_ANYWHERE, which isn't set"), "{line}");
    }
}
