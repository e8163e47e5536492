//! What is taken from a `config.json`, and what is rejected.

use serde_json::{Value, json};

use super::*;
use crate::config::HiddenActivation;

fn parse(value: Value) -> Result<TransformerConfig> {
    let transformer = Transformer::parse(&value, Path::new("model/config.json"))?;
    Ok(transformer.config)
}

/// `base` with some keys replaced.
fn with(base: Value, more: Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more) else {
        panic!("two objects")
    };
    base.extend(more);
    Value::Object(base)
}

fn bert() -> Value {
    json!({
        "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
        "intermediate_size": 1536, "vocab_size": 30522, "max_position_embeddings": 512,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu", "type_vocab_size": 2,
    })
}

#[test]
fn bert_has_its_sizes() {
    let config = parse(bert()).expect("sound");
    assert_eq!(
        (config.hidden, config.layers, config.heads, config.intermediate),
        (384, 6, 12, 1536)
    );
    assert_eq!((config.max_tokens(), config.position_offset(), config.head_width()), (512, 0, 32));
    assert_eq!(config.labels, ["LABEL_0", "LABEL_1"], "the library's default");
    let mut positions = vec![9];
    config.push_positions(&[5, 0, 0], &mut positions);
    assert_eq!(positions, [9, 0, 1, 2]);
}

#[test]
fn roberta_counts_positions_from_the_padding_id() {
    let base = with(bert(), json!({"max_position_embeddings": 514, "pad_token_id": 1}));
    for model_type in ["roberta", "xlm-roberta", "camembert", "mpnet"] {
        let config =
            parse(with(base.clone(), json!({"model_type": model_type}))).expect(model_type);
        assert_eq!((config.max_tokens(), config.position_offset()), (512, 2), "{model_type}");
        let mut positions = Vec::new();
        config.push_positions(&[0, 7, 1, 8, 2], &mut positions);
        assert_eq!(positions, [2, 3, 1, 4, 5], "{model_type}");
    }
}

#[test]
fn distilbert_takes_both_spellings() {
    let own = json!({"model_type": "distilbert", "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128});
    let config = parse(with(own, json!({"activation": "relu"}))).expect("sound");
    assert_eq!((config.hidden, config.layers, config.heads, config.intermediate), (64, 2, 4, 128));
    assert_eq!(config.activation, HiddenActivation::Relu);
    let usual = json!({"model_type": "distilbert", "hidden_size": 64, "num_attention_heads": 4});
    assert_eq!(parse(usual).expect("sound").hidden, 64);
}

#[test]
fn labels_come_in_order_of_their_ids() {
    let named = json!({"id2label": {"1": "yes", "0": "no"}, "architectures": ["BertForSequenceClassification"]});
    let config = parse(with(bert(), named)).expect("sound");
    assert_eq!(config.labels, ["no", "yes"]);
    assert_eq!(config.architectures, ["BertForSequenceClassification"]);
    assert_eq!(parse(with(bert(), json!({"num_labels": 3}))).expect("sound").labels.len(), 3);
    for bad in [json!({}), json!({"0": "a", "2": "b"}), json!({"0": 1})] {
        assert!(parse(with(bert(), json!({"id2label": bad}))).is_err());
    }
}

#[test]
fn what_cannot_be_computed_is_refused_in_one_line() {
    for (more, why) in [
        (
            json!({"model_type": "t5"}),
            "'t5', for which no graph can be built; supported: bert, roberta",
        ),
        (json!({"model_type": null}), "has no model_type"),
        (json!({"model_type": 7}), "model_type is not a text"),
        (json!({"hidden_act": "mish"}), "got 'mish'"),
        (json!({"position_embedding_type": "relative_key"}), "'relative_key'"),
        (json!({"is_decoder": true}), "is_decoder"),
        (json!({"num_attention_heads": 7}), "width of 384 can't be split into 7"),
        (json!({"num_attention_heads": 0}), "num_attention_heads must be"),
        (json!({"hidden_size": -1}), "hidden_size must be"),
        (json!({"hidden_size": 1u64 << 40}), "hidden_size must be"),
        (json!({"num_hidden_layers": 1.5}), "num_hidden_layers must be"),
        (json!({"vocab_size": "many"}), "vocab_size must be"),
        (json!({"layer_norm_eps": 0}), "layer_norm_eps must be"),
        (json!({"model_type": "roberta", "pad_token_id": 600}), "leaves no position"),
        (json!({"model_type": "mpnet", "relative_attention_num_buckets": 8}), "must be >= 32"),
        (json!({"architectures": "BertModel"}), "architectures is not a list"),
    ] {
        let error = parse(with(bert(), more)).expect_err(why);
        let message = error.to_string();
        assert!(matches!(error, ModelError::BadModelFile { .. }), "{message}");
        assert!(message.contains(why) && !message.contains('\n'), "{message}");
        assert!(message.contains("config.json"), "{message}");
    }
    for whole in [json!([]), json!(1), json!(null)] {
        assert!(parse(whole).is_err());
    }
}
