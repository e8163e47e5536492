//! What vectors say of where they come from, as keys and values beside a column of them: in a
//! field of Arrow, in a file, in a store.

use crate::{Model, ModelInfo, Prompt, Result};

/// The model's short name.
pub const MODEL: &str = "sembla.model";
/// The hash of everything that decides a vector ([`ModelInfo::fingerprint`]).
pub const FINGERPRINT: &str = "sembla.fingerprint";
/// The hash of the model's files ([`ModelInfo::space`]): vectors of one space can be compared.
pub const SPACE: &str = "sembla.space";
/// Components of a vector.
pub const DIMENSION: &str = "sembla.dimension";
/// The precision that ran: `f32` or `q8`.
pub const PRECISION: &str = "sembla.precision";
/// Whether vectors have the length 1: `true` or `false`.
pub const NORMALIZED: &str = "sembla.normalized";
/// What was put before each text; not there where that is nothing.
pub const PROMPT: &str = "sembla.prompt";

/// Every key.
pub const KEYS: &[&str] = &[MODEL, FINGERPRINT, SPACE, DIMENSION, PRECISION, NORMALIZED, PROMPT];

impl Model {
    /// What vectors of texts say of where they come from, by the keys of [`KEYS`].
    ///
    /// # Errors
    /// [`ModelError::BadOption`](crate::ModelError::BadOption) for a prompt that the model does not
    /// have.
    pub fn provenance(&self, prompt: Prompt<'_>) -> Result<Vec<(&'static str, String)>> {
        let prompt = self.prompt(prompt)?;
        let mut pairs = self.info().provenance();
        if !prompt.is_empty() {
            pairs.push((PROMPT, prompt.to_string()));
        }
        Ok(pairs)
    }
}

impl ModelInfo {
    /// The same of vectors before which no prompt stood, such as those of images.
    pub fn provenance(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            (MODEL, self.name.clone()),
            (FINGERPRINT, self.fingerprint.clone()),
            (DIMENSION, self.dimension.to_string()),
            (PRECISION, self.precision.to_string()),
            (NORMALIZED, self.normalized.to_string()),
        ];
        pairs.extend(self.space.iter().map(|space| (SPACE, space.clone())));
        pairs
    }
}
