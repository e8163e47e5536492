//! Typed, bounded access to the keys of a `config.json`. What the keys mean is left to the parent
//! and to the families.

use std::path::Path;

use serde_json::Value;

use super::{HiddenActivation, Size};
use crate::{ModelError, Result};

/// Typed access to the keys of the file. A key that is `null` counts as absent.
pub(crate) struct Keys<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: &'a Path,
}

impl<'a> Keys<'a> {
    pub(crate) fn bad(&self, problem: String) -> ModelError {
        ModelError::file(self.path, problem)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key)
            .map(|value| value.as_str().ok_or_else(|| self.bad(format!("{key} is not a text"))))
            .transpose()
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let bad = || self.bad(format!("{key} is not a list of texts"));
        value
            .as_array()
            .ok_or_else(bad)?
            .iter()
            .map(|item| item.as_str().map(str::to_string).ok_or_else(bad))
            .collect()
    }

    /// A whole number from 0 to `most`.
    pub(crate) fn number(&self, key: &str, default: usize, most: usize) -> Result<usize> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number <= most)
            .ok_or_else(|| {
                self.bad(format!("{key} must be a whole number up to {most}, got {value}"))
            })
    }

    /// A whole number from 1 to `most`.
    pub(crate) fn count(&self, key: &str, default: usize, most: usize) -> Result<usize> {
        match self.number(key, default, most)? {
            0 => Err(self.bad(format!("{key} must be >= 1, got 0"))),
            number => Ok(number),
        }
    }

    /// A size of at least 1 under the first of its keys that is there.
    pub(crate) fn size(&self, size: Size, most: usize) -> Result<usize> {
        let Size { keys, default } = size;
        match keys.iter().find(|key| self.get(key).is_some()) {
            Some(key) => self.count(key, default, most),
            None => Ok(default),
        }
    }

    /// A finite number above 0.
    pub(crate) fn positive(&self, key: &str, default: f32) -> Result<f32> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value
            .as_f64()
            .map(|number| number as f32)
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| self.bad(format!("{key} must be a positive number, got {value}")))
    }

    pub(crate) fn flag(&self, key: &str) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.bad(format!("{key} must be true or false, got {value}")))
    }

    pub(crate) fn activation(&self, key: &str, default: &str) -> Result<HiddenActivation> {
        let name = self.text(key)?.unwrap_or(default);
        HiddenActivation::parse(name).ok_or_else(|| {
            self.bad(format!(
                "{key} must be gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu or silu, got '{name}'"
            ))
        })
    }

    /// The base of rotary positions, in the nested or in the flat spelling.
    pub(crate) fn rope_theta(&self, kind: &str, flat: &str, default: f32) -> Result<f32> {
        let nested = self.get("rope_parameters").and_then(|all| all.get(kind));
        let Some(value) = nested.filter(|value| !value.is_null()) else {
            return self.positive(flat, default);
        };
        let inner = Keys { value, path: self.path };
        let scheme = inner.text("rope_type")?.unwrap_or("default");
        if scheme != "default" {
            return Err(
                self.bad(format!("rope_type '{scheme}' is not supported; only 'default' is"))
            );
        }
        if inner.positive("partial_rotary_factor", 1.0)? != 1.0 {
            return Err(self.bad("partial_rotary_factor is not supported".into()));
        }
        let fallback = self.positive(flat, default)?;
        inner.positive("rope_theta", fallback)
    }

    /// Settings that would make another model of the same tensors.
    pub(crate) fn refuse_what_changes_the_result(&self) -> Result<()> {
        let positions = self.text("position_embedding_type")?.unwrap_or("absolute");
        if positions != "absolute" {
            return Err(self.bad(format!(
                "position_embedding_type '{positions}' is not supported; only 'absolute' is"
            )));
        }
        for key in ["is_decoder", "add_cross_attention"] {
            if self.flag(key)? {
                return Err(
                    self.bad(format!("{key} must be false, as only encoders are supported"))
                );
            }
        }
        if self.get("rope_scaling").is_some() {
            return Err(self.bad("rope_scaling is not supported".into()));
        }
        Ok(())
    }
}
