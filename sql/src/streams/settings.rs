//! `SET stream.…`: how pipelines of a session run. The options are the runtime's, but for where
//! state is kept.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use sembla_options::{Kind, OptionDef, Value};
use sembla_runtime::{Error, PipelineOptions};

use crate::SqlError;

/// Where state is kept when nothing is said.
const STATE_DEFAULT: &str = ".sembla/state";
const STATE: OptionDef =
    OptionDef::new("state", Kind::Text, "folder or s3:// address for state between runs")
        .or(STATE_DEFAULT);
const EXCHANGE: OptionDef = OptionDef::new(
    "exchange",
    Kind::Flag,
    "share the work before windows between instances, which pass rows on through an exchange",
)
.or("false");

/// The settings of pipelines.
#[derive(Clone, Debug)]
pub(crate) struct StreamSettings {
    /// What the runtime takes.
    pub(super) options: PipelineOptions,
    /// What was set of them, by key.
    given: Vec<(String, String)>,
    /// Where state is kept.
    pub(super) state: String,
    /// Whether windows are fed through an exchange.
    pub(super) exchange: bool,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            options: PipelineOptions::default(),
            given: Vec::new(),
            state: STATE_DEFAULT.into(),
            exchange: false,
        }
    }
}

impl StreamSettings {
    /// Those of a session.
    pub(super) fn of(state: &SessionState) -> Self {
        let extensions = &state.config().options().extensions;
        extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

impl ConfigExtension for StreamSettings {
    const PREFIX: &'static str = "stream";
}

impl ExtensionOptions for StreamSettings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if let Some(option) = [STATE, EXCHANGE].iter().find(|option| option.key == key) {
            let value = option.parse(value).map_err(|error| SqlError::from(Error::from(error)))?;
            match value {
                Value::Flag(exchange) => self.exchange = exchange,
                state => self.state = state.to_string(),
            }
            return Ok(());
        }
        self.options.set(key, value).map_err(SqlError::from)?;
        self.given.retain(|(known, _)| known != key);
        self.given.push((key.to_string(), value.to_string()));
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |option: &OptionDef, value: Option<String>| ConfigEntry {
            key: format!("{}.{}", Self::PREFIX, option.key),
            value,
            description: option.about,
        };
        let options = PipelineOptions::OPTIONS.iter().map(|option| {
            let given = self.given.iter().find(|(key, _)| key == option.key);
            let value = given.map(|(_, value)| value.as_str()).or(option.default);
            entry(option, value.map(str::to_string))
        });
        let own = [
            entry(&STATE, Some(self.state.clone())),
            entry(&EXCHANGE, Some(self.exchange.to_string())),
        ];
        options.chain(own).collect()
    }
}
