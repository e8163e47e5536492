//! Where the vectors of a column come from: what the metadata of its field says of their model.
//!
//! Vectors of models whose files differ can't be compared, and whoever compares columns asks here.
//! Of vectors that say nothing, all may be.

use std::collections::HashMap;

use sembla_models::provenance::{FINGERPRINT, KEYS, MODEL, SPACE};

/// The metadata of a field.
pub(crate) type Metadata = HashMap<String, String>;

/// Characters of a fingerprint in messages.
const SHOWN: usize = 12;

/// The metadata that pairs of keys and values make.
pub(crate) fn metadata(pairs: Vec<(&'static str, String)>) -> Metadata {
    pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// What metadata says of vectors, and nothing else.
pub(crate) fn said(metadata: &Metadata) -> Metadata {
    let known = metadata.iter().filter(|(key, _)| KEYS.contains(&key.as_str()));
    known.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The models of two columns of vectors in words, if they are different ones.
pub(crate) fn different(one: &Metadata, other: &Metadata) -> Option<(String, String)> {
    let (space, other_space) = (one.get(SPACE)?, other.get(SPACE)?);
    (space != other_space).then(|| (model(one), model(other)))
}

/// `model 'minilm' (fingerprint 1f0c…)`.
fn model(metadata: &Metadata) -> String {
    let text = |key: &str| metadata.get(key).map(String::as_str).unwrap_or_default();
    let fingerprint: String = text(FINGERPRINT).chars().take(SHOWN).collect();
    format!("model '{}' (fingerprint {fingerprint})", text(MODEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(model: &str, space: &str) -> Metadata {
        let pairs = [(MODEL, model), (SPACE, space), (FINGERPRINT, "0123456789abcdef")];
        metadata(pairs.map(|(key, value)| (key, value.to_string())).to_vec())
    }

    #[test]
    fn only_what_is_known_to_differ_differs() {
        let (one, other) = (of("a", "1"), of("b", "2"));
        let words = different(&one, &other).expect("they differ");
        assert_eq!(words.0, "model 'a' (fingerprint 0123456789ab)");
        assert!(words.1.starts_with("model 'b'"));
        assert_eq!(different(&one, &of("renamed", "1")), None);
        assert_eq!(different(&one, &Metadata::new()), None);
        let half = of("b", "2").into_iter().filter(|(key, _)| key != SPACE).collect();
        assert_eq!(different(&one, &half), None);
    }

    #[test]
    fn other_metadata_is_not_about_vectors() {
        let mut all = of("a", "1");
        all.insert("PARQUET:field_id".into(), "7".into());
        all.insert("sembla.change".into(), "3".into());
        assert_eq!(said(&all), of("a", "1"));
    }
}
