//! The options of the connector, and what they say.

use sembla_runtime::{Error, Result};

use crate::collections::{CollectionSettings, base_options};
use crate::options::{Kind, OptionDef, Options};

/// What addresses of this connector begin with, and what they stand for.
pub(super) const SCHEMES: [(&str, &str); 2] =
    [("chroma://", "http://"), ("chroma+https://", "https://")];

/// The option that is the secret.
pub(super) const TOKEN: &str = "token";
const SPACE: &str = "space";

/// The options of a sink.
pub(super) fn sink_options() -> Vec<OptionDef> {
    let own = [
        OptionDef::new("url", Kind::Text, "address of the server: http://host:8000 or https://…")
            .required(),
        OptionDef::new(TOKEN, Kind::Text, "token of the server, sent as x-chroma-token").secret(),
        OptionDef::new("tenant", Kind::Text, "tenant").or("default_tenant"),
        OptionDef::new("database", Kind::Text, "database").or("default_database"),
        OptionDef::new("document", Kind::Text, "column of the documents")
            .or_else("the column text or chunk, if there is one"),
        OptionDef::new(
            SPACE,
            Kind::Choice(&["cosine", "l2", "ip"]),
            "distance of a collection that is created",
        )
        .or("cosine"),
    ];
    own.into_iter().chain(base_options()).collect()
}

/// What the options of a sink say.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) base: CollectionSettings,
    pub(super) tenant: String,
    pub(super) database: String,
    pub(super) document: Option<String>,
}

impl Settings {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Error::Option`] for what can't be.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let base = CollectionSettings::new(options, TOKEN, SPACE)?;
        let document = options.find_text("document").map(str::to_string);
        if document.as_ref().is_some_and(|name| base.chunks_of.contains(name)) {
            return Err(Error::Option(
                "chunks_of can't have the column of the documents, which is no metadata".into(),
            ));
        }
        let (tenant, database) = (options.text("tenant")?.into(), options.text("database")?.into());
        Ok(Self { base, tenant, database, document })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::options_of_address;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        let base = [("url", "http://h:8000/"), ("collection", "docs"), ("key", "id")];
        let mut all: Vec<_> =
            base.into_iter().filter(|(key, _)| pairs.iter().all(|(own, _)| own != key)).collect();
        all.extend(pairs);
        let given: Vec<_> =
            all.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Settings::new(&Options::read("a chroma sink", &sink_options(), &given)?)
    }

    #[test]
    fn options_that_can_not_be_are_refused_without_secrets() {
        assert_eq!(settings(&[]).expect("settings").base.url, "http://h:8000");
        let error = |pairs: &[(&str, &str)]| settings(pairs).expect_err("wrong").to_string();
        assert!(error(&[("url", "h:8000")]).contains("must begin with http://"));
        assert!(error(&[("url", "http://h/?a=b")]).contains("must be the address of a server"));
        let told = error(&[("url", "http://me:hunter2@h")]);
        assert!(told.contains("use the option token") && !told.contains("hunter2"), "{told}");
        assert!(error(&[("key", "a,,b")]).contains("empty name"));
        assert!(error(&[("progress_collection", "docs")]).contains("another collection"));
        assert!(error(&[("dead_letter_collection", "docs")]).contains("another collection"));
        assert!(error(&[("collection", "..")]).contains("collection must be a name"));
        let told = error(&[("token", "hunter2\nx: y")]);
        assert!(told.contains("no HTTP header") && !told.contains("hunter2"), "{told}");
        let shown = format!("{:?}", settings(&[("token", "hunter2")]).expect("settings"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn an_address_can_have_the_options_of_a_sink() {
        let options = options_of_address(SCHEMES, "chroma://h:1?collection=a%20b&key=id")
            .expect("ours")
            .expect("options");
        let pairs: Vec<_> =
            options.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("url", "http://h:1"), ("collection", "a b"), ("key", "id")]);
        let options =
            options_of_address(SCHEMES, "chroma+https://h").expect("ours").expect("options");
        assert_eq!(options[0].1, "https://h");
        assert!(options_of_address(SCHEMES, "http://h").is_none());
    }
}
