//! Topics as a whole: what is reported about constructed texts, and bounds.

use super::*;
use crate::host::Unbounded;
use crate::host::tests::Limited;

const TEXTS: [&str; 8] = [
    "My card was stolen",
    "I lost my card",
    "I lost my card",
    "Cards lost and stolen",
    "What is the exchange rate?",
    "The rate of exchange is wrong",
    "Which exchange rates apply?",
    "Hello",
];
const TOPICS: [Option<u32>; 8] =
    [Some(3), Some(3), Some(3), Some(3), Some(5), Some(5), Some(5), None];

fn described(vectors: Option<&UnitVectors>) -> Vec<Topic> {
    describe(&TEXTS, &TOPICS, vectors, &TopicOptions::default(), &Unbounded).expect("topics")
}

#[test]
fn a_topic_has_size_words_label_and_texts() {
    let topics = described(None);
    assert_eq!(topics.iter().map(|topic| topic.topic).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(topics.iter().map(|topic| topic.size).collect::<Vec<_>>(), [4, 3]);
    assert_eq!(topics[0].label, "card, lost, stolen");
    assert_eq!(topics[1].words[0].word, "exchange");
    assert!(topics[0].coherence.is_some_and(|found| found > -1.0 && found < 1.0));
    // The same text twice stands for the topic once.
    assert_eq!(topics[0].representatives.len(), 3);
    assert_eq!(topics[0].representatives[0], 1);
    assert!(!topics[0].representatives.contains(&2));
}

#[test]
fn with_vectors_the_nearest_to_the_centre_stand_for_it() {
    let mut rows = vec![0.0; 16];
    for (row, angle) in [0.0f32, 0.5, 0.5, 0.6, 2.0, 2.5, 2.1, 0.0].iter().enumerate() {
        rows[2 * row] = angle.cos();
        rows[2 * row + 1] = angle.sin();
    }
    rows[14] = 0.0;
    let vectors = UnitVectors::new(2, rows).expect("rows");
    let topics = described(Some(&vectors));
    assert_eq!(topics[0].representatives, [1, 3, 0]);
    assert_eq!(topics[1].representatives, [6, 4, 5]);
    let few = vectors.select(&[0, 1]);
    let uneven = describe(&TEXTS, &TOPICS, Some(&few), &TopicOptions::default(), &Unbounded);
    let message = uneven.expect_err("uneven").to_string();
    assert_eq!(message, "8 texts don't match 2 vectors");
}

#[test]
fn labels_do_not_repeat_themselves() {
    let words = |words: &[&str]| -> Vec<ScoredWord> {
        words.iter().map(|word| ScoredWord { word: (*word).to_string(), score: 1.0 }).collect()
    };
    assert_eq!(
        label(&words(&["card", "cards", "lost card", "lost", "pin", "atm"])),
        "card, lost, pin, atm"
    );
    assert_eq!(label(&words(&["exchange rate", "rate", "euro"])), "exchange rate, euro");
    assert_eq!(label(&words(&["aa", "bb", "cc", "dd", "ee"])), "aa, bb, cc, dd");
    let endings = ["exchange", "exchanging", "currency", "currencies", "internet", "interest"];
    assert_eq!(label(&words(&endings)), "exchange, currency, internet, interest");
    assert_eq!(label(&[]), "");
}

#[test]
fn no_rows_no_words_and_one_row() {
    let options = TopicOptions::default();
    assert_eq!(describe(&[], &[], None, &options, &Unbounded), Ok(Vec::new()));
    assert_eq!(describe(&["x"], &[None], None, &options, &Unbounded), Ok(Vec::new()));
    let found = describe(&["?!"], &[Some(0)], None, &options, &Unbounded).expect("one topic");
    assert_eq!(found[0].label, "");
    assert_eq!((found[0].size, found[0].coherence), (1, None));
    assert_eq!(found[0].representatives, [0]);
}

#[test]
fn the_host_bounds_and_stops() {
    let limited = Limited { limit: 10, ..Limited::default() };
    let refused = describe(&TEXTS, &TOPICS, None, &TopicOptions::default(), &limited);
    assert!(matches!(refused, Err(OperatorError::Memory(_))));
    let cancelled = Limited { limit: 1 << 20, cancelled: true, ..Limited::default() };
    let stopped = describe(&TEXTS, &TOPICS, None, &TopicOptions::default(), &cancelled);
    assert_eq!(stopped, Err(OperatorError::Cancelled));
}
