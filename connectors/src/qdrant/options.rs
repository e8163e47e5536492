//! The options of the connector, and what they say.

use sembla_runtime::Result;

use crate::collections::{CollectionSettings, base_options};
use crate::options::{Kind, OptionDef, Options};

/// What addresses of this connector begin with, and what they stand for.
pub(super) const SCHEMES: [(&str, &str); 2] =
    [("qdrant://", "http://"), ("qdrant+https://", "https://")];

/// The option that is the secret.
pub(super) const API_KEY: &str = "api_key";
const DISTANCE: &str = "distance";

/// The options of a sink.
pub(super) fn sink_options() -> Vec<OptionDef> {
    let own = [
        OptionDef::new(
            "url",
            Kind::Text,
            "address of the REST interface: http://host:6333 or https://…",
        )
        .required(),
        OptionDef::new(API_KEY, Kind::Text, "key of the server, sent as api-key").secret(),
        OptionDef::new(
            DISTANCE,
            Kind::Choice(&["cosine", "dot", "euclid", "manhattan"]),
            "distance of a collection that is created, which one that exists must have",
        )
        .or("cosine"),
        OptionDef::new(
            "vector_name",
            Kind::Text,
            "name of the vector in a collection of named vectors; one that is created has a vector without a name",
        ),
    ];
    own.into_iter().chain(base_options()).collect()
}

/// What the options of a sink say.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) base: CollectionSettings,
    pub(super) vector_name: Option<String>,
}

impl Settings {
    /// Reads the options.
    ///
    /// # Errors
    /// [`Error::Option`](sembla_runtime::Error::Option) for what can't be.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let base = CollectionSettings::new(options, API_KEY, DISTANCE)?;
        Ok(Self { base, vector_name: options.find_text("vector_name").map(str::to_string) })
    }
}
