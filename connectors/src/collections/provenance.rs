//! Which model made vectors: what a column says, and whether a collection says the same.

use arrow::datatypes::Field;
use serde_json::{Map, Value};

const PREFIX: &str = "sembla.";
const MODEL: &str = "sembla.model";
const SPACE: &str = "sembla.space";
const FINGERPRINT: &str = "sembla.fingerprint";
/// Letters of a fingerprint that tell two models of one name apart.
const FINGERPRINT_LETTERS: usize = 12;

/// What a field's metadata says of the model that made its vectors.
pub(super) fn provenance_of(field: &Field) -> Map<String, Value> {
    let known = field.metadata().iter().filter(|(key, _)| key.starts_with(PREFIX));
    known.map(|(key, value)| (key.clone(), value.clone().into())).collect()
}

/// The models of two such notes for a message, if both say which, and not the same.
pub(super) fn different(
    one: &Map<String, Value>,
    other: &Map<String, Value>,
) -> Option<(String, String)> {
    if text(one, SPACE)? == text(other, SPACE)? {
        return None;
    }
    let (name, other_name) = (text(one, MODEL)?, text(other, MODEL)?);
    let shown = |name: &str, about: &Map<String, Value>| match text(about, FINGERPRINT) {
        Some(print) if text(one, MODEL) == text(other, MODEL) => {
            let print: String = print.chars().take(FINGERPRINT_LETTERS).collect();
            format!("'{name}' (fingerprint {print})")
        }
        _ => format!("'{name}'"),
    };
    Some((shown(name, one), shown(other_name, other)))
}

fn text<'a>(about: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    about.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(pairs: &[(&str, &str)]) -> Map<String, Value> {
        pairs.iter().map(|(key, value)| (key.to_string(), Value::from(*value))).collect()
    }

    #[test]
    fn models_are_compared_where_both_are_known() {
        let one = about(&[(MODEL, "a"), (SPACE, "1"), (FINGERPRINT, "f0123456789abcdef")]);
        let other = about(&[(MODEL, "b"), (SPACE, "2")]);
        assert_eq!(different(&one, &other), Some(("'a'".into(), "'b'".into())));
        assert_eq!(different(&one, &about(&[(MODEL, "q"), (SPACE, "1")])), None);
        assert_eq!(different(&one, &about(&[])), None);
        let again = about(&[(MODEL, "a"), (SPACE, "2"), (FINGERPRINT, "e")]);
        let (old, new) = different(&one, &again).expect("two models");
        assert_eq!(
            (old.as_str(), new.as_str()),
            ("'a' (fingerprint f0123456789a)", "'a' (fingerprint e)")
        );
    }
}
