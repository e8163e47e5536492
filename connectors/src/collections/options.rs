//! The options that stores of vectors share, and what they say.

use std::fmt;

use sembla_runtime::{Error, Result};
use url::Url;

use crate::keys::{chunks_of, names};
use crate::options::{Kind, OptionDef, Options, without_credentials};

const URL: &str = "url";
const COLLECTION: &str = "collection";
const KEY: &str = "key";
const CHUNKS_OF: &str = "chunks_of";
const PROGRESS: &str = "progress_collection";
/// The option that gives a place to records that can't be used.
pub(super) const REJECTED: &str = "dead_letter_collection";

/// The options of every sink of this kind.
pub(crate) const fn base_options() -> [OptionDef; 8] {
    [
        OptionDef::new(
            COLLECTION,
            Kind::Text,
            "collection to write; created if it does not exist",
        )
        .required(),
        OptionDef::new(
            KEY,
            Kind::Text,
            "columns, separated by commas, that identify a row and make its id: a later row with the same key replaces \
             the earlier one",
        )
        .required(),
        OptionDef::new("vector", Kind::Text, "column of the vectors")
            .or_else("the only column of vectors"),
        OptionDef::new(
            "delete",
            Kind::Text,
            "boolean column that is not written: where it is true, the row with this key is deleted",
        ),
        OptionDef::new(
            CHUNKS_OF,
            Kind::Text,
            "columns of the key, separated by commas, that identify the document whose chunks the rows are: chunks of \
             it behind the last one that is written (by the column chunk_index of the key) are deleted",
        ),
        OptionDef::new(PROGRESS, Kind::Text, "collection that keeps the progress of pipelines")
            .or("sembla_progress"),
        OptionDef::new(
            REJECTED,
            Kind::Text,
            "collection for dead letters (records that can't be used)",
        ),
        OptionDef::new(
            "retries",
            Kind::between(0, 20),
            "how often a call is made again after HTTP 408, 429, 5xx or a lost connection, before the pipeline restarts",
        )
        .or("4"),
    ]
}

/// What these options say.
#[derive(Clone, Debug)]
pub(crate) struct CollectionSettings {
    /// The address of the server, without a slash at its end.
    pub(crate) url: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) collection: String,
    pub(crate) key: Vec<String>,
    pub(crate) chunks_of: Vec<String>,
    pub(crate) vector: Option<String>,
    pub(crate) delete: Option<String>,
    /// The distance of a collection that is created, and the option that says it.
    pub(crate) distance: &'static str,
    pub(crate) distance_option: &'static str,
    pub(crate) progress: String,
    pub(crate) rejected: Option<String>,
    pub(crate) retries: u32,
}

/// A token or a key, which debug output does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl CollectionSettings {
    /// Reads the options. Two of them are called differently by each store.
    ///
    /// # Errors
    /// [`Error::Option`] for what can't be.
    pub(crate) fn new(
        options: &Options,
        secret: &'static str,
        distance_option: &'static str,
    ) -> Result<Self> {
        let url = options.text(URL)?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::Option(format!(
                "url must begin with http:// or https://, got '{}'",
                without_credentials(url)
            )));
        }
        if without_credentials(url) != url {
            return Err(Error::Option(format!(
                "url holds a user or a password; use the option {secret}"
            )));
        }
        if url.contains(['?', '#']) || Url::parse(url).is_err() {
            return Err(Error::Option(
                "url must be the address of a server, as in http://host:8000".into(),
            ));
        }
        let secret_text = options.find_text(secret);
        if secret_text.is_some_and(|text| !text.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Error::Option(format!(
                "{secret} has a character that no HTTP header can have, such as a space or a line break"
            )));
        }
        let key = names(options, KEY)?;
        let chunks_of = chunks_of(options, CHUNKS_OF, KEY, &key)?;
        let text = |option: &str| options.find_text(option).map(str::to_string);
        let collections = [COLLECTION, PROGRESS, REJECTED].map(|option| (option, text(option)));
        for (n, (option, name)) in collections.iter().enumerate() {
            let Some(name) = name else { continue };
            if name == "." || name == ".." {
                return Err(Error::Option(format!("{option} must be a name, got '{name}'")));
            }
            let same = collections.iter().take(n).find(|(_, other)| other.as_ref() == Some(name));
            if let Some((other, _)) = same {
                return Err(Error::Option(format!(
                    "{option} must be another collection than {other}"
                )));
            }
        }
        let [(_, collection), (_, progress), (_, rejected)] = collections;
        Ok(Self {
            url: url.trim_end_matches('/').into(),
            secret: secret_text.map(|text| Secret(text.into())),
            collection: collection.unwrap_or_default(),
            key,
            chunks_of,
            vector: text("vector"),
            delete: text("delete"),
            distance: options.choice(distance_option)?,
            distance_option,
            progress: progress.unwrap_or_default(),
            rejected,
            retries: u32::try_from(options.count("retries")?).unwrap_or_default(),
        })
    }
}

/// The options that an address stands for, if its scheme is one of these (each with what it stands
/// for): `chroma://host:8000?collection=docs&key=id`.
pub(crate) fn options_of_address(
    schemes: [(&str, &str); 2],
    address: &str,
) -> Option<Result<Vec<(String, String)>>> {
    let (scheme, plain) = schemes.into_iter().find(|(scheme, _)| address.starts_with(scheme))?;
    let rest = address.strip_prefix(scheme)?;
    let parsed = Url::parse(&format!("{plain}{rest}"));
    Some(parsed.map_err(|error| Error::Option(format!("the address can't be read ({error})"))).map(
        |url| {
            let given =
                url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned()));
            let base = format!("{plain}{}", rest.split(['?', '#']).next().unwrap_or_default());
            std::iter::once((URL.to_string(), base)).chain(given).collect()
        },
    ))
}
