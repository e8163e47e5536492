//! An embedding is a value: it depends on the text, the model and the precision, never on its
//! batch, the order of the rows or the number of workers.

mod support;

use sembla_models::{CancelToken, Model, Prompt};
use support::load;

/// Texts of one to a few hundred tokens, the same in every run.
fn texts() -> Vec<String> {
    let words =
        ["card", "Überweisung", "refund", "top-up", "why", "the", "猫", "payment", "42", "late"];
    let mut state = 7u64;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    (0..60)
        .map(|row| {
            let count = if row % 20 == 19 { 300 } else { next() % 40 };
            (0..count).map(|_| words[next() % words.len()]).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

fn embed(model: &Model, texts: &[&str]) -> Vec<Vec<u32>> {
    let rows = model.embed(texts, Prompt::Default, &CancelToken::new()).expect("embed");
    let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect();
    rows.values.chunks_exact(rows.dimension).map(bits).collect()
}

/// Bit for bit, in every way of asking.
fn check(source: &str, precision: &str) {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let model = load(source, &[("precision", precision)]);
    let together = embed(&model, &texts);
    for (text, want) in texts.iter().zip(&together) {
        assert_eq!(&embed(&model, &[text])[0], want, "{text:?} alone");
    }
    let mut backwards: Vec<&str> = texts.clone();
    backwards.reverse();
    let mut got = embed(&model, &backwards);
    got.reverse();
    assert_eq!(got, together, "in another order");
    for options in [("workers", "1"), ("workers", "3"), ("batch_tokens", "64"), ("threads", "2")] {
        let other = load(source, &[("precision", precision), options]);
        assert_eq!(embed(&other, &texts), together, "{options:?}");
    }
    let doubled: Vec<&str> = texts.iter().flat_map(|text| [*text, *text]).collect();
    let got = embed(&model, &doubled);
    assert!(
        got.chunks_exact(2).zip(&together).all(|(pair, want)| pair[0] == *want && pair[1] == *want)
    );
}

#[test]
fn at_q8_a_vector_is_the_same_bits_whatever_runs_beside_it() {
    check("minilm", "q8");
}

#[test]
fn at_f32_a_vector_is_the_same_bits_whatever_runs_beside_it() {
    // The 8-bit weights, multiplied out: what is tested is the arithmetic, not the weights.
    check("minilm", "f32");
}

#[test]
fn a_static_vector_is_the_same_bits_whatever_runs_beside_it() {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let model = load("potion", &[]);
    let together = embed(&model, &texts);
    for (text, want) in texts.iter().zip(&together) {
        assert_eq!(&embed(&model, &[text])[0], want);
    }
}

#[test]
fn remembered_vectors_are_the_computed_ones() {
    let folder = tempfile::tempdir().expect("folder");
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let cache = folder.path().to_string_lossy().into_owned();
    let first = load("minilm", &[("cache", &cache)]);
    let computed = embed(&first, &texts);
    let distinct: std::collections::HashSet<&str> = texts.iter().copied().collect();
    assert_eq!(first.stats().cache_hits, 0);
    let second = load("minilm", &[("cache", &cache)]);
    assert_eq!(embed(&second, &texts), computed);
    assert_eq!(second.stats().cache_hits, distinct.len() as u64);
    assert_eq!(second.stats().tokens, 0, "nothing ran");
    // Another prompt, another longest input: other vectors, so no hit.
    second.embed(&texts[..3], Prompt::Text("query: "), &CancelToken::new()).expect("embed");
    assert_eq!(second.stats().cache_hits, distinct.len() as u64);
    let shorter = load("minilm", &[("cache", &cache), ("max_length", "16")]);
    embed(&shorter, &texts);
    assert_eq!(shorter.stats().cache_hits, 0);
    assert!(shorter.stats().truncated > 0);
}

#[test]
fn a_set_flag_stops_the_work() {
    let model = load("minilm", &[]);
    let cancel = CancelToken::new();
    cancel.cancel();
    let error = model.embed(&["a", "b"], Prompt::Default, &cancel).expect_err("cancelled");
    assert_eq!(error.to_string(), "cancelled");
}

#[test]
fn every_text_is_counted_once() {
    let folder = tempfile::tempdir().expect("folder");
    let cache = folder.path().to_string_lossy().into_owned();
    let model = load("minilm", &[("cache", &cache)]);
    let cancel = CancelToken::new();
    for (texts, total) in [(&["a", "b", "a"][..], 3), (&["b", "c"], 5), (&[], 5)] {
        model.embed(texts, Prompt::Default, &cancel).expect("vectors");
        assert_eq!(cancel.texts(), total);
    }
}
