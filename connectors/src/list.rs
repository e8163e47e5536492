//! The list of all connectors, and what is asked of all of them together.

use sembla_runtime::{Error, Result};

use crate::chroma::Chroma;
use crate::connector::{Connector, SinkConnector};
use crate::files::Files;
use crate::kafka::Kafka;
use crate::options::{GivenOptions, OptionDef, nearest};
use crate::postgres::Postgres;
use crate::qdrant::Qdrant;
use crate::stored::TableConnector;

/// All connectors, in the order in which messages name them.
///
/// ```
/// use sembla_connectors::CONNECTORS;
///
/// for connector in CONNECTORS {
///     assert!(connector.source().is_some() || connector.sink().is_some());
/// }
/// ```
pub static CONNECTORS: &[&dyn Connector] = &[&Kafka, &Files, &Postgres, &Chroma, &Qdrant];

/// Which end of a stream a connector is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where rows come from.
    Source,
    /// Where rows go.
    Sink,
}

impl Side {
    /// `source` or `sink`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }

    /// The connectors that have this side.
    fn connectors(self) -> impl Iterator<Item = &'static dyn Connector> {
        CONNECTORS.iter().copied().filter(move |connector| match self {
            Self::Source => connector.source().is_some(),
            Self::Sink => connector.sink().is_some(),
        })
    }
}

/// The connector of a name, whether it has that side or not.
///
/// ```
/// use sembla_connectors::{Side, connector};
///
/// assert!(connector("kafka", Side::Source).is_ok());
/// let error = connector("kafak", Side::Source).err().expect("no such connector");
/// assert!(error.to_string().ends_with("got 'kafak'; did you mean 'kafka'?"));
/// ```
///
/// # Errors
/// [`Error::Option`] for a name that no connector has, with the names of those with that side.
pub fn connector(name: &str, side: Side) -> Result<&'static dyn Connector> {
    CONNECTORS.iter().copied().find(|connector| connector.name() == name).ok_or_else(|| {
        let meant = nearest(side.connectors().map(|connector| connector.name()), name);
        let meant = meant.map_or(String::new(), |meant| format!("; did you mean '{meant}'?"));
        Error::Option(format!("connector must be {}, got '{name}'{meant}", names(side)))
    })
}

/// The sink that an address stands for, with its options; `None` where it is no connector's.
///
/// `more` are options that stand beside the address.
///
/// # Errors
/// [`Error::Option`] for an address with options that can't be.
pub fn sink_of_address(
    address: &str,
    more: Vec<(String, String)>,
) -> Result<Option<(&'static dyn SinkConnector, GivenOptions)>> {
    for connector in CONNECTORS {
        let Some(sink) = connector.sink() else { continue };
        if let Some(options) = sink.of_address(address) {
            let owner = format!("a {} sink", connector.name());
            let all = options?.into_iter().chain(more).collect();
            return Ok(Some((sink, GivenOptions::new(&owner, sink.options(), all)?)));
        }
    }
    Ok(None)
}

/// The table of a store that an address stands for, with its options; `None` where it is no
/// connector's.
///
/// # Errors
/// [`Error::Option`] for an address with options that can't be.
pub fn table_of_address(
    address: &str,
) -> Result<Option<(&'static dyn TableConnector, GivenOptions)>> {
    for connector in CONNECTORS {
        let Some(table) = connector.table().filter(|table| table.is_address(address)) else {
            continue;
        };
        let owner = format!("a {} table", connector.name());
        let options = GivenOptions::new(&owner, table.options(), table.of_address(address)?)?;
        return Ok(Some((table, options)));
    }
    Ok(None)
}

/// The names of all connectors with that side, for messages: `'a', 'b' or 'c'`.
pub fn names(side: Side) -> String {
    let names: Vec<_> = side.connectors().map(|c| format!("'{}'", c.name())).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// Whether the option of that name is a secret of any connector.
///
/// ```
/// assert!(sembla_connectors::is_secret("sasl.password"));
/// assert!(!sembla_connectors::is_secret("topic"));
/// ```
pub fn is_secret(key: &str) -> bool {
    all_options().iter().any(|option| option.is_secret && option.covers(key))
}

/// The options of all connectors.
pub fn all_options() -> Vec<OptionDef> {
    let of_sources = CONNECTORS.iter().filter_map(|c| Some(c.source()?.options()));
    let of_sinks = CONNECTORS.iter().filter_map(|c| Some(c.sink()?.options()));
    of_sources.chain(of_sinks).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::SourceConnector;

    #[test]
    fn every_connector_declares_itself_once_and_in_full() {
        let mut names = Vec::new();
        for connector in CONNECTORS {
            let name = connector.name();
            assert!(!names.contains(&name), "two connectors are called '{name}'");
            names.push(name);
            let sides = [
                connector.source().map(SourceConnector::options),
                connector.sink().map(SinkConnector::options),
            ];
            assert!(sides.iter().any(Option::is_some), "'{name}' neither reads nor writes");
            for options in sides.into_iter().flatten() {
                for (n, option) in options.iter().enumerate() {
                    let again = options.iter().take(n).any(|other| other.key == option.key);
                    assert!(!again, "'{name}' declares '{}' twice", option.key);
                    assert!(!option.about.is_empty() && !option.about.ends_with('.'));
                    let default = option.default.map(|default| option.parse(default));
                    assert!(!matches!(default, Some(Err(_))), "the default of '{}'", option.key);
                }
            }
            if let Some(late) = connector.sink().and_then(SinkConnector::late_option) {
                let declared = connector.sink().map(SinkConnector::options).unwrap_or_default();
                assert!(declared.iter().any(|option| option.key == late), "'{late}'");
            }
        }
    }

    #[test]
    fn what_looks_like_a_secret_is_one() {
        let words = ["password", "secret", "token", "access_key", "pem", "jaas"];
        for option in all_options() {
            let is_public = option.key.starts_with("ssl.ca.") || option.key.contains("certificate");
            if words.iter().any(|word| option.key.contains(word)) && !is_public {
                assert!(option.is_secret, "'{}' must be declared a secret", option.key);
            }
        }
    }
}
