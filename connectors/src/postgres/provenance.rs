//! Where vectors come from, as the comment of their column: a sentence for people, which a reader
//! of the table takes apart again.

use std::collections::HashMap;

use arrow::datatypes::Field;

/// The keys of a field's metadata, and their words in the sentence, in its order.
const WORDS: [(&str, &str); 5] = [
    ("sembla.dimension", "dimension"),
    ("sembla.precision", "precision"),
    ("sembla.fingerprint", "fingerprint"),
    ("sembla.space", "space"),
    ("sembla.normalized", "normalized"),
];
const MODEL: &str = "sembla.model";
const SPACE: &str = "sembla.space";
const PROMPT: &str = "sembla.prompt";
const BEGINNING: &str = "vectors of model ";
const BEFORE_PROMPT: &str = ", prompt ";

/// What a field's metadata says of the model that made its vectors.
pub(super) fn comment_of(field: &Field) -> Option<String> {
    let metadata = field.metadata();
    let mut comment = format!("{BEGINNING}{}", metadata.get(MODEL)?);
    for (key, word) in WORDS {
        if let Some(value) = metadata.get(key) {
            comment += &format!(", {word} {value}");
        }
    }
    if let Some(prompt) = metadata.get(PROMPT) {
        comment += &format!("{BEFORE_PROMPT}{}", serde_json::Value::from(prompt.as_str()));
    }
    Some(comment)
}

/// The metadata that a comment stands for; nothing for a comment of somebody else.
pub(super) fn metadata_of(comment: &str) -> HashMap<String, String> {
    let Some(rest) = comment.strip_prefix(BEGINNING) else { return HashMap::new() };
    let mut metadata = HashMap::new();
    let (rest, prompt) = rest.split_once(BEFORE_PROMPT).unwrap_or((rest, ""));
    if let Ok(prompt) = serde_json::from_str::<String>(prompt) {
        metadata.insert(PROMPT.into(), prompt);
    }
    // A name can have a comma, so it ends where the first word that is known begins.
    let ends = WORDS.iter().filter_map(|(_, word)| rest.find(&format!(", {word} ")));
    let (model, words) = rest.split_at(ends.min().unwrap_or(rest.len()));
    metadata.insert(MODEL.into(), model.into());
    for part in words.split(", ") {
        let Some((word, value)) = part.split_once(' ') else { continue };
        if let Some((key, _)) = WORDS.iter().find(|(_, known)| *known == word) {
            metadata.insert((*key).into(), value.into());
        }
    }
    metadata
}

/// The models of two comments, if they say that they are different ones.
pub(super) fn different(one: &str, other: &str) -> Option<(String, String)> {
    let (one, other) = (metadata_of(one), metadata_of(other));
    let (space, other_space) = (one.get(SPACE)?, other.get(SPACE)?);
    let model = |metadata: &HashMap<String, String>| metadata.get(MODEL).cloned();
    (space != other_space).then(|| Some((model(&one)?, model(&other)?))).flatten()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn comment(pairs: &[(&str, &str)]) -> Option<String> {
        comment_of(&Field::new("v", DataType::Null, true).with_metadata(metadata(pairs)))
    }

    #[test]
    fn a_comment_is_read_as_it_was_written() {
        let all = [
            (MODEL, "odd, name, dimension"),
            ("sembla.dimension", "3"),
            ("sembla.precision", "q8"),
            ("sembla.fingerprint", "f0"),
            (SPACE, "a1"),
            ("sembla.normalized", "true"),
            (PROMPT, "query, it's \"so\": "),
        ];
        let written = comment(&all).expect("a model");
        assert!(written.contains("dimension 3, precision q8, fingerprint f0"), "{written}");
        assert_eq!(metadata_of(&written), metadata(&all));
        assert_eq!(metadata_of(&comment(&all[..1]).expect("a model")), metadata(&all[..1]));
        assert_eq!(comment(&all[1..]), None);
        assert!(metadata_of("the old vectors").is_empty());
    }

    #[test]
    fn models_differ_where_both_say_so() {
        let of = |model, space| comment(&[(MODEL, model), (SPACE, space)]).expect("a model");
        assert_eq!(different(&of("a", "1"), &of("b", "2")), Some(("a".into(), "b".into())));
        assert_eq!(different(&of("a", "1"), &of("b", "1")), None);
        assert_eq!(different(&of("a", "1"), "vectors of model c"), None);
    }
}
