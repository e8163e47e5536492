//! Topics of real texts: banking77 with its intents as topics. The texts and their vectors lie
//! outside the project; without them these tests say so and pass.

use std::path::{Path, PathBuf};

use sembla_operators::map::{MapOptions, map};
use sembla_operators::topics::{
    Likeness, MergeOptions, Topic, TopicOptions, WordOptions, describe, merge,
};
use sembla_operators::{Unbounded, UnitVectors};

/// Components of the vectors.
const DIMENSION: usize = 384;

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// The texts and their intents. No text holds a quote; the intent is after the last comma.
fn texts() -> Option<(Vec<String>, Vec<String>)> {
    let csv = std::fs::read_to_string(shared("data/banking77/test.csv")?).expect("csv");
    let (mut texts, mut intents, mut record) = (Vec::new(), Vec::new(), String::new());
    for line in csv.lines().skip(1) {
        record.push_str(line);
        // A text with a line break goes on until its quote is closed.
        if record.matches('"').count() % 2 == 0 {
            let (text, intent) = record.rsplit_once(',').expect("two fields");
            texts.push(text.trim_matches('"').replace("\"\"", "\""));
            intents.push(intent.to_string());
            record.clear();
        }
    }
    Some((texts, intents))
}

fn vectors() -> Option<UnitVectors> {
    let bytes = std::fs::read(shared("goldens/banking77_test.f32")?).expect("vectors");
    let values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Some(UnitVectors::new(DIMENSION, values).expect("rows"))
}

/// The intents by name, and the intent of each text as a topic.
fn numbered(intents: &[String]) -> (Vec<String>, Vec<Option<u32>>) {
    let mut names = intents.to_vec();
    names.sort_unstable();
    names.dedup();
    let number = |intent| names.binary_search(intent).ok().map(|number| number as u32);
    let topics = intents.iter().map(number).collect();
    (names, topics)
}

fn has(topic: &Topic, words: &[&str]) -> bool {
    words.iter().all(|wanted| topic.words.iter().any(|word| word.word == *wanted))
}

#[test]
fn words_are_those_that_a_reader_expects() {
    let (Some((texts, intents)), Some(vectors)) = (texts(), vectors()) else { return };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (names, topics) = numbered(&intents);
    let found = describe(&texts, &topics, Some(&vectors), &TopicOptions::default(), &Unbounded)
        .expect("topics");
    assert_eq!(found.len(), 77);
    for topic in &found {
        let name = &names[topic.topic as usize];
        let coherence = topic.coherence.expect("words");
        eprintln!("{name} ({}, {coherence:.2}): {}", topic.size, topic.label);
        assert!(topic.representatives.iter().all(|row| intents[*row as usize] == *name));
        assert_eq!(topic.size, 40);
    }
    let of = |name: &str| &found[names.iter().position(|other| other == name).expect("an intent")];
    for (intent, words) in [
        ("lost_or_stolen_card", vec!["stolen", "card"]),
        ("exchange_rate", vec!["exchange", "rates"]),
        ("age_limit", vec!["age", "children"]),
        ("apple_pay_or_google_pay", vec!["apple", "google", "pay"]),
        ("change_pin", vec!["pin", "change"]),
        ("country_support", vec!["countries"]),
        ("passcode_forgotten", vec!["passcode", "forgot"]),
        ("terminate_account", vec!["account", "delete"]),
        ("getting_virtual_card", vec!["virtual", "card"]),
        ("cash_withdrawal_charge", vec!["fee", "cash"]),
    ] {
        assert!(has(of(intent), &words), "{intent}: {:?}", of(intent).words);
    }
}

#[test]
fn vectors_merge_intents_that_are_alike() {
    let (Some((_, intents)), Some(vectors)) = (texts(), vectors()) else { return };
    let (names, topics) = numbered(&intents);
    let options = MergeOptions { threshold: None, reduce_to: Some(40) };
    let merged =
        merge(&topics, &Likeness::Vectors(&vectors), &options, &Unbounded).expect("merged");
    let of = |name: &str| merged[intents.iter().position(|other| other == name).expect("intent")];
    assert_eq!(merged.iter().max(), Some(&Some(39)));
    assert_eq!(of("card_arrival"), of("card_delivery_estimate"));
    assert_ne!(of("card_arrival"), of("exchange_rate"));
    assert_eq!(names.len(), 77);
}

#[test]
fn pairs_of_words_can_be_topic_words() {
    let Some((texts, intents)) = texts() else { return };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (names, topics) = numbered(&intents);
    let words = WordOptions { ngrams_max: 2, ..WordOptions::default() };
    let options = TopicOptions { words, ..TopicOptions::default() };
    let found = describe(&texts, &topics, None, &options, &Unbounded).expect("topics");
    let virtual_card = names.binary_search(&"getting_virtual_card".to_string()).expect("intent");
    assert!(has(&found[virtual_card], &["virtual card"]), "{:?}", found[virtual_card].words);
}

/// On the map, the nearest rows of a row are mostly of its intent.
#[test]
fn the_map_keeps_intents_together() {
    let (Some((_, intents)), Some(vectors)) = (texts(), vectors()) else { return };
    let start = std::time::Instant::now();
    let places = map(&vectors, &MapOptions::default(), &Unbounded).expect("a map");
    eprintln!("map of {} rows: {:?}", vectors.rows(), start.elapsed());
    let places: Vec<[f32; 2]> = places.into_iter().flatten().collect();
    assert_eq!(places.len(), intents.len());
    let distance = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    let same = (0..places.len()).filter(|row| {
        let others = (0..places.len()).filter(|other| other != row);
        let nearest = others.min_by(|a, b| {
            distance(places[*row], places[*a]).total_cmp(&distance(places[*row], places[*b]))
        });
        nearest.is_some_and(|nearest| intents[nearest] == intents[*row])
    });
    let share = same.count() as f64 / places.len() as f64;
    eprintln!("nearest on the map is of the same intent: {share:.3}");
    assert!(share > 0.6, "{share}");
}
