//! The values of options, read and checked.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::{HIDDEN, OptionError, Result};

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`crate::Kind::Text`] and [`crate::Kind::AnyText`].
    Text(String),
    /// Of [`crate::Kind::Flag`].
    Flag(bool),
    /// Of [`crate::Kind::Count`].
    Count(u64),
    /// Of [`crate::Kind::Bytes`].
    Bytes(u64),
    /// Of [`crate::Kind::Duration`].
    Duration(Duration),
    /// Of [`crate::Kind::Choice`]: the word as it is declared.
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
    /// By key the value, and whether it is a secret.
    values: BTreeMap<String, (Value, bool)>,
}

impl Options {
    /// None yet.
    pub(crate) fn empty(what: &str) -> Self {
        Self { what: what.into(), values: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, key: &str, value: Value, is_secret: bool) {
        self.values.insert(key.into(), (value, is_secret));
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
    /// [`OptionError`] where it is missing, as for all that follow.
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

    fn missing(&self, key: &str) -> OptionError {
        match self.values.contains_key(key) {
            true => OptionError::Bug(format!(
                "the option '{key}' is read as another kind than declared"
            )),
            false => OptionError::Mistake(format!("{} needs the option '{key}'", self.what)),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, (value, is_secret)) in &self.values {
            match is_secret {
                true => map.entry(key, &HIDDEN),
                false => map.entry(key, &value.to_string()),
            };
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, OptionDef};

    const DEFS: &[OptionDef] = &[
        OptionDef::new("topic", Kind::Text, "the topic to read").required(),
        OptionDef::new("password", Kind::Text, "the password").secret(),
        OptionDef::new("format", Kind::Choice(&["json", "text"]), "how records are read")
            .or("json"),
        OptionDef::new("roll_bytes", Kind::BYTES, "the size of a file").or("128 MiB"),
        OptionDef::new("linger", Kind::Duration, "how long to wait").or("5 ms"),
        OptionDef::new("partitions", Kind::COUNT, "how many").or("1"),
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
        assert!(matches!(options.count("topic"), Err(OptionError::Bug(_))));
        assert!(matches!(options.text("password"), Err(OptionError::Mistake(_))));
    }

    #[test]
    fn errors_name_the_option_and_what_it_takes() {
        assert_eq!(refusal(&[]), "a kafka source needs the option 'topic': the topic to read");
        let unknown = refusal(&[("topc", "a")]);
        assert!(unknown.starts_with(
            "a kafka source has no option 'topc'; did you mean 'topic'? It takes topic, password"
        ));
        assert!(refusal(&[("zzzzzzzz", "a")]).contains("no option 'zzzzzzzz'; it takes topic"));
        assert!(refusal(&[("topic", "a"), ("topic", "b")]).contains("twice"));
        assert_eq!(refusal(&[("format", "xml")]), "format must be one of: json, text, got 'xml'");
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
            assert!(line.starts_with(&format!("{key} must be ")), "{line}");
            assert!(line.ends_with(&format!(", got '{value}'")), "{line}");
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
