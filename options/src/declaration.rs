//! The declaration of an option, and how a value of each kind is read.

use crate::quantity::{parse_flag, parse_size, parse_time};
use crate::{HIDDEN, OptionError, Result, Value};

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text that isn't empty.
    Text,
    /// Any text, the empty one too.
    AnyText,
    /// `true` or `false`; `on` and `off` are the same.
    Flag,
    /// A whole number within bounds. [`Kind::COUNT`] has none but 0.
    Count {
        /// The least that makes sense.
        least: u64,
        /// The most that makes sense.
        most: u64,
    },
    /// A size from this on: `1048576`, `64 MiB`, `1 GB`.
    Bytes {
        /// The least that makes sense.
        least: u64,
    },
    /// A length of time: `10s`, `500 ms`, `2 min`, `1 h`, `1 day`.
    Duration,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// A whole number, 0 or more.
    pub const COUNT: Self = Self::Count { least: 0, most: u64::MAX };

    /// A size, 0 or more.
    pub const BYTES: Self = Self::Bytes { least: 0 };

    /// A whole number from this on.
    pub const fn at_least(least: u64) -> Self {
        Self::Count { least, most: u64::MAX }
    }

    /// A whole number between these two, both included.
    pub const fn between(least: u64, most: u64) -> Self {
        Self::Count { least, most }
    }

    /// What a value must be, to follow "must be" in a message.
    ///
    /// ```
    /// use sembla_options::Kind;
    ///
    /// assert_eq!(Kind::between(1, 9).wanted(), "a whole number between 1 and 9");
    /// ```
    pub fn wanted(&self) -> String {
        match *self {
            Self::Text => "a text that isn't empty".into(),
            Self::AnyText => "a text".into(),
            Self::Flag => "true or false".into(),
            Self::Count { least, most: u64::MAX } => format!("a whole number >= {least}"),
            Self::Count { least, most } => format!("a whole number between {least} and {most}"),
            Self::Bytes { least: 0 } => {
                "a number of bytes such as 1048576, '64 MiB' or '1 GB'".into()
            }
            Self::Bytes { least } => {
                format!("a number of bytes >= {least}, such as '64 MiB' or '1 GB'")
            }
            Self::Duration => "a time such as '500 ms', '10s', '2 min', '1 h' or '1 day'".into(),
            Self::Choice(words) => format!("one of: {}", words.join(", ")),
        }
    }

    /// The value that a text stands for; `None` where it stands for none.
    fn parse(&self, text: &str) -> Option<Value> {
        let trimmed = text.trim();
        match *self {
            Self::Text => (!text.is_empty()).then(|| Value::Text(text.to_string())),
            Self::AnyText => Some(Value::Text(text.to_string())),
            Self::Flag => parse_flag(trimmed).map(Value::Flag),
            Self::Count { least, most } => {
                let count = trimmed.parse().ok().filter(|count| (least..=most).contains(count));
                count.map(Value::Count)
            }
            Self::Bytes { least } => {
                parse_size(trimmed).filter(|bytes| *bytes >= least).map(Value::Bytes)
            }
            Self::Duration => parse_time(trimmed).map(Value::Duration),
            Self::Choice(words) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(trimmed));
                word.map(|word| Value::Choice(word))
            }
        }
    }
}

/// The declaration of one option.
///
/// # Examples
/// ```
/// use sembla_options::{Kind, OptionDef, Value};
///
/// let days = OptionDef::new("days", Kind::between(1, 14), "days to forecast").or("7");
/// assert_eq!(days.parse("3"), Ok(Value::Count(3)));
/// let error = days.parse("30").unwrap_err();
/// assert_eq!(error.to_string(), "days must be a whole number between 1 and 14, got '30'");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionDef {
    /// Its name. A name that ends in `.*` stands for all keys that begin so: `kafka.*`.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is for, in one sentence without a full stop.
    pub about: &'static str,
    /// How help calls a value, where its kind does not say enough: `DIR`.
    pub value_name: Option<&'static str>,
    /// The value where none is given, as a user would write it.
    pub default: Option<&'static str>,
    /// What it is without a value and a default, in words: `the model's own`.
    pub unset: Option<&'static str>,
    /// Whether it must be given.
    pub is_required: bool,
    /// Whether its value must not be shown.
    pub is_secret: bool,
    /// Whether saved state fits only as long as its value stays.
    pub is_deciding: bool,
}

impl OptionDef {
    /// An option that may be left out.
    pub const fn new(key: &'static str, kind: Kind, about: &'static str) -> Self {
        Self {
            key,
            kind,
            about,
            value_name: None,
            default: None,
            unset: None,
            is_required: false,
            is_secret: false,
            is_deciding: false,
        }
    }

    /// With a name for its value in help.
    #[must_use]
    pub const fn value_name(mut self, name: &'static str) -> Self {
        self.value_name = Some(name);
        self
    }

    /// With a value for when none is given.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// With words for what it is when none is given.
    #[must_use]
    pub const fn or_else(mut self, unset: &'static str) -> Self {
        self.unset = Some(unset);
        self
    }

    /// Must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Never shown. Its value may be `env:NAME`, which is looked up as late as possible.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// Decides which rows there are, so that saved state of another value does not fit.
    #[must_use]
    pub const fn decides(mut self) -> Self {
        self.is_deciding = true;
        self
    }

    /// What a value looks like, for help.
    ///
    /// ```
    /// use sembla_options::{Kind, OptionDef};
    ///
    /// let cache = OptionDef::new("cache", Kind::Text, "folder of the cache");
    /// assert_eq!(cache.value_name("DIR").describe_value(), "DIR");
    /// let level = OptionDef::new("level", Kind::Choice(&["low", "high"]), "how much");
    /// assert_eq!(level.describe_value(), "WORD");
    /// ```
    pub fn describe_value(&self) -> &'static str {
        match (self.value_name, self.kind) {
            (Some(name), _) => name,
            (None, Kind::Choice(_)) => "WORD",
            (None, Kind::Text | Kind::AnyText) => "TEXT",
            (None, Kind::Flag) => "true|false",
            (None, Kind::Count { .. }) => "N",
            (None, Kind::Bytes { .. }) => "SIZE",
            (None, Kind::Duration) => "TIME",
        }
    }

    /// What it is when none is given, in words.
    ///
    /// ```
    /// use sembla_options::{Kind, OptionDef};
    ///
    /// let threads = OptionDef::new("threads", Kind::at_least(1), "threads of a session");
    /// assert_eq!(threads.or("1").describe_default(), "1");
    /// assert_eq!(threads.or_else("one per core").describe_default(), "one per core");
    /// assert_eq!(threads.describe_default(), "none");
    /// ```
    pub fn describe_default(&self) -> &'static str {
        if self.is_required { "required" } else { self.default.or(self.unset).unwrap_or("none") }
    }

    /// Whether a key as a user gave it is this option.
    pub fn covers(&self, key: &str) -> bool {
        match self.key.strip_suffix('*') {
            Some(prefix) => key.len() > prefix.len() && key.starts_with(prefix),
            None => key == self.key,
        }
    }

    /// The value that a text stands for.
    ///
    /// # Errors
    /// [`OptionError::Mistake`] with the key, what it takes and, unless it is a secret, the text.
    pub fn parse(&self, text: &str) -> Result<Value> {
        self.parse_as(self.key, text)
    }

    /// The same under the key that a user gave, which may be one of many.
    pub(crate) fn parse_as(&self, key: &str, text: &str) -> Result<Value> {
        self.kind.parse(text).ok_or_else(|| {
            let shown = if self.is_secret { HIDDEN } else { text };
            OptionError::Mistake(format!("{key} must be {}, got '{shown}'", self.kind.wanted()))
        })
    }
}
