//! The options of the connector, and what they say.

use sembla_runtime::{Error, Result};
use url::Url;

use crate::options::{Kind, OptionDef, Options, without_credentials};

/// What addresses of this connector begin with, and what they stand for.
const SCHEMES: [(&str, &str); 2] = [("chroma://", "http://"), ("chroma+https://", "https://")];

/// The options of a sink.
pub(super) const SINK_OPTIONS: &[OptionDef] = &[
    OptionDef::new("url", Kind::Text, "address of the server: http://host:8000 or https://…")
        .required(),
    OptionDef::new("token", Kind::Text, "token of the server, sent as x-chroma-token").secret(),
    OptionDef::new("tenant", Kind::Text, "tenant").or("default_tenant"),
    OptionDef::new("database", Kind::Text, "database").or("default_database"),
    OptionDef::new("collection", Kind::Text, "collection to write; created if it does not exist")
        .required(),
    OptionDef::new(
        "key",
        Kind::Text,
        "columns, separated by commas, that identify a row and make its id: a later row with the same key replaces \
         the earlier one",
    )
    .required(),
    OptionDef::new("vector", Kind::Text, "column of the vectors")
        .or_else("the only column of vectors"),
    OptionDef::new("document", Kind::Text, "column of the documents")
        .or_else("the column text, if there is one"),
    OptionDef::new(
        "delete",
        Kind::Text,
        "boolean column that is not written: where it is true, the row with this key is deleted",
    ),
    OptionDef::new(
        "space",
        Kind::Choice(&["cosine", "l2", "ip"]),
        "distance of a collection that is created",
    )
    .or("cosine"),
    OptionDef::new(
        "progress_collection",
        Kind::Text,
        "collection that keeps the progress of pipelines",
    )
    .or("sembla_progress"),
];

/// What the options of a sink say.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The address of the server, without a slash at its end.
    pub(super) url: String,
    pub(super) token: Option<Token>,
    pub(super) tenant: String,
    pub(super) database: String,
    pub(super) collection: String,
    pub(super) key: Vec<String>,
    pub(super) vector: Option<String>,
    pub(super) document: Option<String>,
    pub(super) delete: Option<String>,
    pub(super) space: &'static str,
    pub(super) progress: String,
}

/// A token, which debug output does not show.
#[derive(Clone)]
pub(super) struct Token(pub(super) String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Settings {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Error::Option`] for what can't be.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let url = options.text("url")?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::Option(format!(
                "url must begin with http:// or https://, got '{}'",
                without_credentials(url)
            )));
        }
        if without_credentials(url) != url {
            return Err(Error::Option(
                "url holds a user or a password; use the option token".into(),
            ));
        }
        let key: Vec<String> =
            options.text("key")?.split(',').map(|name| name.trim().to_string()).collect();
        if key.iter().any(String::is_empty) {
            return Err(Error::Option("key has an empty name; write it as 'a, b'".into()));
        }
        let text = |option: &str| options.find_text(option).map(str::to_string);
        let (collection, progress) =
            (options.text("collection")?, options.text("progress_collection")?);
        if collection == progress {
            return Err(Error::Option(
                "progress_collection must be another collection than collection".into(),
            ));
        }
        Ok(Self {
            url: url.trim_end_matches('/').into(),
            token: text("token").map(Token),
            tenant: options.text("tenant")?.into(),
            database: options.text("database")?.into(),
            collection: collection.into(),
            key,
            vector: text("vector"),
            document: text("document"),
            delete: text("delete"),
            space: options.choice("space")?,
            progress: progress.into(),
        })
    }
}

/// The options that an address stands for, if it is one of this connector:
/// `chroma://host:8000?collection=docs&key=id`.
pub(super) fn options_of_address(address: &str) -> Option<Result<Vec<(String, String)>>> {
    let (scheme, plain) = SCHEMES.iter().find(|(scheme, _)| address.starts_with(scheme))?;
    let rest = address.strip_prefix(scheme)?;
    let parsed = Url::parse(&format!("{plain}{rest}"));
    Some(parsed.map_err(|error| Error::Option(format!("the address can't be read ({error})"))).map(
        |url| {
            let given =
                url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned()));
            let base = format!("{plain}{}", rest.split(['?', '#']).next().unwrap_or_default());
            std::iter::once(("url".to_string(), base)).chain(given).collect()
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        let base = [("url", "http://h:8000/"), ("collection", "docs"), ("key", "id")];
        let mut all: Vec<_> =
            base.into_iter().filter(|(key, _)| pairs.iter().all(|(own, _)| own != key)).collect();
        all.extend(pairs);
        let given: Vec<_> =
            all.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Settings::new(&Options::read("a chroma sink", SINK_OPTIONS, &given)?)
    }

    #[test]
    fn options_that_can_not_be_are_refused_without_secrets() {
        assert_eq!(settings(&[]).expect("settings").url, "http://h:8000");
        let error = |pairs: &[(&str, &str)]| settings(pairs).expect_err("wrong").to_string();
        assert!(error(&[("url", "h:8000")]).contains("must begin with http://"));
        let told = error(&[("url", "http://me:hunter2@h")]);
        assert!(told.contains("use the option token") && !told.contains("hunter2"), "{told}");
        assert!(error(&[("key", "a,,b")]).contains("empty name"));
        assert!(error(&[("progress_collection", "docs")]).contains("another collection"));
        let shown = format!("{:?}", settings(&[("token", "hunter2")]).expect("settings"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn an_address_can_have_the_options_of_a_sink() {
        let options = options_of_address("chroma://h:1?collection=a%20b&key=id")
            .expect("ours")
            .expect("options");
        let pairs: Vec<_> =
            options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("url", "http://h:1"), ("collection", "a b"), ("key", "id")]);
        let options = options_of_address("chroma+https://h").expect("ours").expect("options");
        assert_eq!(options[0].1, "https://h");
        assert!(options_of_address("http://h").is_none());
    }
}
