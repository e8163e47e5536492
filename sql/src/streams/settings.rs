//! `SET stream.…`: how pipelines of a session run. The options are the runtime's, but for where
//! state is kept.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use sembla_runtime::PipelineOptions;

use crate::SqlError;

/// The key of the folder or address where state is kept.
const STATE: &str = "state";
const STATE_ABOUT: &str = "folder or s3:// address where state is kept between runs";
const STATE_DEFAULT: &str = ".sembla/state";

/// The key of whether windows are fed through a topic.
const EXCHANGE: &str = "exchange";
const EXCHANGE_ABOUT: &str = "whether instances share the work before windows, and hand rows on through a topic of one partition";

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
        if key == STATE {
            self.state = value.to_string();
            return Ok(());
        }
        if key == EXCHANGE {
            self.exchange = flag(value)?;
            return Ok(());
        }
        self.options.set(key, value).map_err(SqlError::from)?;
        self.given.retain(|(known, _)| known != key);
        self.given.push((key.to_string(), value.to_string()));
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |key: &str, value: &str, description| ConfigEntry {
            key: format!("{}.{key}", Self::PREFIX),
            value: Some(value.to_string()),
            description,
        };
        let options = PipelineOptions::OPTIONS.iter().map(|option| {
            let given = self.given.iter().find(|(key, _)| key == option.key);
            entry(option.key, given.map_or(option.default, |(_, value)| value), option.about)
        });
        let own = [
            entry(STATE, &self.state, STATE_ABOUT),
            entry(EXCHANGE, if self.exchange { "true" } else { "false" }, EXCHANGE_ABOUT),
        ];
        options.chain(own).collect()
    }
}

fn flag(value: &str) -> Result<bool> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => {
            Err(SqlError::Statement(format!("stream.{EXCHANGE} is '{value}'; it is true or false"))
                .into())
        }
    }
}
