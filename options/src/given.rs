//! What a user wrote, matched with the declarations.

use std::fmt;

use crate::address::without_credentials;
use crate::declaration::OptionDef;
use crate::nearest::unknown;
use crate::{HIDDEN, OptionError, Options, Result};

/// Options as a user gave them: every key is declared and given once, and no value is read yet.
///
/// A value `env:NAME` stands for that environment variable. It is looked up here, except for
/// secrets, which stay references until [`GivenOptions::read`].
///
/// ```
/// use sembla_options::{GivenOptions, Kind, OptionDef};
///
/// let defs = vec![
///     OptionDef::new("topic", Kind::Text, "the topic").decides(),
///     OptionDef::new("password", Kind::Text, "the password").secret(),
/// ];
/// let pairs = [("topic", "news"), ("password", "hunter2")];
/// let pairs = pairs.map(|(key, value)| (key.to_string(), value.to_string()));
/// let given = GivenOptions::new("a source", defs, pairs.to_vec())?;
/// assert_eq!(given.to_string(), "topic = 'news', password = '***'");
/// assert_eq!(given.deciding().to_string(), "topic = 'news'");
/// # Ok::<(), sembla_options::OptionError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct GivenOptions {
    what: String,
    defs: Vec<OptionDef>,
    given: Vec<Given>,
}

/// One option.
#[derive(Clone, PartialEq, Eq)]
struct Given {
    key: String,
    text: String,
    def: OptionDef,
}

impl GivenOptions {
    /// Matches what was given with what is declared. `what` is the thing that has the options, as
    /// messages call it: `a kafka source`.
    ///
    /// # Errors
    /// [`OptionError::Mistake`] for a key that is unknown or given twice, and for an environment
    /// variable that isn't set.
    pub fn new(what: &str, defs: Vec<OptionDef>, pairs: Vec<(String, String)>) -> Result<Self> {
        let mut given: Vec<Given> = Vec::with_capacity(pairs.len());
        for (key, text) in pairs {
            let Some(def) = defs.iter().find(|def| def.covers(&key)).copied() else {
                let known = defs.iter().map(|def| def.key);
                return Err(OptionError::Mistake(unknown(what, known, &key)));
            };
            if given.iter().any(|other| other.key == key) {
                let line = format!("{what} has the option '{key}' twice; give it once");
                return Err(OptionError::Mistake(line));
            }
            let text = if def.is_secret { text } else { from_environment(&key, &text)? };
            given.push(Given { key, text, def });
        }
        Ok(Self { what: what.into(), defs, given })
    }

    /// Reads all values, with secrets from the environment, and puts defaults in place.
    ///
    /// # Errors
    /// [`OptionError::Mistake`] for a value that can't be, a required option that is missing, and a
    /// variable that isn't set.
    pub fn read(&self) -> Result<Options> {
        self.values(|given| from_environment(&given.key, &given.text))
    }

    /// The same for a check that connects to nothing: a secret whose variable isn't set here is no
    /// mistake, and has the reference, `env:NAME`, as its value.
    ///
    /// # Errors
    /// As [`GivenOptions::read`], but for variables of secrets.
    pub fn check(&self) -> Result<Options> {
        self.values(|given| {
            Ok(from_environment(&given.key, &given.text).unwrap_or_else(|_| given.text.clone()))
        })
    }

    fn values(&self, secret: impl Fn(&Given) -> Result<String>) -> Result<Options> {
        let mut options = Options::empty(&self.what);
        for given in &self.given {
            let text = if given.def.is_secret { secret(given)? } else { given.text.clone() };
            let value = given.def.parse_as(&given.key, &text)?;
            options.put(&given.key, value, given.def.is_secret);
        }
        for def in self.defs.iter().filter(|def| !def.key.ends_with('*') && !self.has(def.key)) {
            if let Some(default) = def.default {
                options.put(def.key, def.parse(default)?, def.is_secret);
            } else if def.is_required {
                return Err(OptionError::Mistake(format!(
                    "{} needs the option '{}': {}",
                    self.what, def.key, def.about
                )));
            }
        }
        Ok(options)
    }

    /// Whether an option was given.
    pub fn has(&self, key: &str) -> bool {
        self.given.iter().any(|given| given.key == key)
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The options as they were written, secrets and all, for who opens another connection.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|given| (given.key.as_str(), given.text.as_str()))
    }

    /// Those that decide whether saved state fits, in the order in which they were written.
    #[must_use]
    pub fn deciding(&self) -> Self {
        let given = self.given.iter().filter(|given| given.def.is_deciding).cloned().collect();
        Self { what: self.what.clone(), defs: self.defs.clone(), given }
    }
}

impl Options {
    /// Reads what a user gave against what is declared: [`GivenOptions::new`] and
    /// [`GivenOptions::read`] at once.
    ///
    /// # Errors
    /// As theirs.
    pub fn read(what: &str, defs: &[OptionDef], given: &[(String, String)]) -> Result<Self> {
        GivenOptions::new(what, defs.to_vec(), given.to_vec())?.read()
    }
}

impl fmt::Debug for GivenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self})", self.what)
    }
}

/// `key = 'value', …` as one would write it, without secrets, and without the passwords in
/// addresses.
impl fmt::Display for GivenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Given { key, text, def }) in self.given.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            let shown = match def.is_secret {
                true => HIDDEN.into(),
                false => without_credentials(text).replace('\'', "''"),
            };
            write!(f, "{comma}{key} = '{shown}'")?;
        }
        Ok(())
    }
}

/// The value of an option that may lie in the environment.
fn from_environment(key: &str, text: &str) -> Result<String> {
    match text.strip_prefix("env:") {
        Some(name) => std::env::var(name).map_err(|_| {
            OptionError::Mistake(format!(
                "{key} refers to the environment variable {name}, which isn't set"
            ))
        }),
        None => Ok(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn given(pairs: &[(&str, &str)]) -> Result<GivenOptions> {
        let defs = vec![
            OptionDef::new("topic", Kind::Text, "the topic").required().decides(),
            OptionDef::new("servers", Kind::Text, "where"),
            OptionDef::new("password", Kind::Text, "the password").secret(),
            OptionDef::new("kafka.*", Kind::Text, "more").secret(),
        ];
        let pairs = pairs.iter().map(|(key, text)| (key.to_string(), text.to_string()));
        GivenOptions::new("a source", defs, pairs.collect())
    }

    #[test]
    fn variables_are_looked_up_and_those_of_secrets_as_late_as_possible() {
        let path = std::env::var("PATH").expect("PATH");
        let options = given(&[("topic", "env:PATH"), ("password", "env:PATH")]).expect("options");
        let written = [("topic", path.as_str()), ("password", "env:PATH")];
        assert_eq!(options.pairs().collect::<Vec<_>>(), written);
        assert_eq!(options.read().expect("values").find_text("password"), Some(path.as_str()));

        let error = given(&[("topic", "env:SEMBLA_NOT_SET")]).expect_err("not set").to_string();
        assert_eq!(
            error,
            "topic refers to the environment variable SEMBLA_NOT_SET, which isn't set"
        );
        let secret = given(&[("topic", "a"), ("password", "env:SEMBLA_NOT_SET")]).expect("later");
        let unset = secret.check().expect("a check");
        assert_eq!(unset.find_text("password"), Some("env:SEMBLA_NOT_SET"));
        let error = secret.read().expect_err("not set").to_string();
        assert!(error.contains("SEMBLA_NOT_SET, which isn't set"), "{error}");
    }

    #[test]
    fn what_is_declared_a_secret_is_never_shown() {
        let options = given(&[
            ("topic", "it's"),
            ("servers", "me:hunter@a:9092"),
            ("password", "hunter2"),
            ("kafka.harmless", "hunter3"),
        ])
        .expect("options");
        let shown =
            "topic = 'it''s', servers = '***@a:9092', password = '***', kafka.harmless = '***'";
        assert_eq!(options.to_string(), shown);
        assert_eq!(format!("{options:?}"), format!("a source ({shown})"));
        assert_eq!(options.deciding().to_string(), "topic = 'it''s'");
    }

    #[test]
    fn a_key_is_declared_and_given_once() {
        let error = given(&[("tpoic", "a")]).expect_err("unknown").to_string();
        let line = "a source has no option 'tpoic'; did you mean 'topic'? It takes topic, servers";
        assert!(error.starts_with(line), "{error}");
        let error = given(&[("topic", "a"), ("topic", "b")]).expect_err("twice").to_string();
        assert_eq!(error, "a source has the option 'topic' twice; give it once");
        let error = given(&[]).expect("nothing").read().expect_err("required").to_string();
        assert_eq!(error, "a source needs the option 'topic': the topic");
    }
}
