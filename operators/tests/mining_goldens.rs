//! Mining, communities and two-stage search on real sentence vectors, against what
//! sentence-transformers 6.2.0 gives. The vectors and its results lie outside the project; without
//! them these tests say so and pass.

use std::path::PathBuf;

use flate2::read::GzDecoder;
use sembla_operators::communities::{self, communities};
use sembla_operators::search::{self, CodedCorpus, Coding};
use sembla_operators::{Neighbour, Unbounded, UnitVectors, mining, neighbours};
use serde_json::Value;

const DIMENSION: usize = 384;

fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/goldens").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn golden(name: &str) -> Option<Value> {
    let file = std::fs::File::open(shared(&format!("{name}.json.gz"))?).expect("readable");
    Some(serde_json::from_reader(GzDecoder::new(file)).expect("json"))
}

/// The vectors of banking77's test set, 3 080 texts.
fn banking77() -> Option<UnitVectors> {
    let bytes = std::fs::read(shared("banking77_test.f32")?).expect("readable");
    let values = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Some(UnitVectors::new(DIMENSION, values).expect("whole rows"))
}

#[test]
fn paraphrases_are_those_of_sentence_transformers() {
    let (Some(vectors), Some(golden)) = (banking77(), golden("paraphrase_mining")) else { return };
    let number = |name: &str| golden[name].as_u64().expect("a number") as usize;
    let options = mining::MiningOptions {
        top_k: number("top_k"),
        max_pairs: number("max_pairs"),
        threshold: None,
    };
    let mut wanted: Vec<(u64, u64, f64)> = golden["pairs"]
        .as_array()
        .expect("pairs")
        .iter()
        .map(|pair| {
            let row = |at: usize| pair[at].as_u64().expect("a row");
            (row(1), row(2), pair[0].as_f64().expect("a score"))
        })
        .collect();
    let found = mining::mine(&vectors, &options, &Unbounded).expect("mined");
    let worst = f64::from(found.last().expect("pairs").score);
    let mut found: Vec<(u64, u64, f64)> = found
        .iter()
        .map(|pair| (u64::from(pair.a), u64::from(pair.b), f64::from(pair.score)))
        .collect();
    assert_eq!(found.len(), wanted.len());
    // Where the last scores are equal to within rounding, either may have others.
    for pairs in [&mut wanted, &mut found] {
        pairs.retain(|pair| pair.2 > worst + 1e-5);
        pairs.sort_by_key(|pair| (pair.0, pair.1));
    }
    assert!(wanted.len() > 1_990, "{}", wanted.len());
    for (wanted, found) in wanted.iter().zip(&found) {
        assert_eq!((wanted.0, wanted.1), (found.0, found.1));
        assert!((wanted.2 - found.2).abs() <= 1e-5, "{wanted:?} and {found:?}");
    }
    assert_eq!(wanted.len(), found.len());
}

#[test]
fn communities_are_those_of_sentence_transformers() {
    let (Some(vectors), Some(golden)) = (banking77(), golden("community_detection")) else {
        return;
    };
    for setting in golden.as_array().expect("settings") {
        let options = communities::CommunityOptions {
            threshold: setting["threshold"].as_f64().expect("a cosine"),
            min_size: setting["min_community_size"].as_u64().expect("a number") as usize,
        };
        let wanted: Vec<Vec<u64>> = setting["communities"]
            .as_array()
            .expect("communities")
            .iter()
            .map(|rows| rows.as_array().expect("rows").iter().filter_map(Value::as_u64).collect())
            .collect();
        let found = communities(&vectors, &options, &Unbounded).expect("found");
        assert_eq!(found.len(), wanted.len(), "{options:?}");
        for (wanted, found) in wanted.iter().zip(&found) {
            assert_same_order(&vectors, wanted, found);
        }
        eprintln!("{options:?}: {} communities are the same", found.len());
    }
}

/// The same rows, centre first, in the same order where scores differ by more than rounding.
fn assert_same_order(vectors: &UnitVectors, wanted: &[u64], found: &[Neighbour]) {
    assert_eq!(wanted[0], u64::from(found[0].row), "the centre");
    let mut rows: Vec<u64> = found.iter().map(|member| u64::from(member.row)).collect();
    for (wanted, found) in wanted.iter().zip(found).skip(1) {
        let score = vectors.cosine(rows[0] as usize, vectors, *wanted as usize);
        assert!((score - found.score).abs() <= 1e-6, "row {wanted}");
    }
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    rows.sort_unstable();
    assert_eq!(wanted, rows);
}

#[test]
fn candidates_by_codes_hold_nearly_all_nearest_rows() {
    let Some(vectors) = banking77() else { return };
    let queries = vectors.select(&(0..500).collect::<Vec<_>>());
    let exact = neighbours::top_k(&queries, &vectors, 10, -1.0, &Unbounded).expect("found");
    for (coding, recall_min) in [(Coding::Int8, 0.9999), (Coding::Binary, 0.95)] {
        let coded = CodedCorpus::new(vectors.clone(), coding, &Unbounded).expect("coded");
        let found =
            coded.search(&queries, &search::SearchOptions::default(), &Unbounded).expect("found");
        let common =
            |row: usize| found.of(row).iter().filter(|found| exact.of(row).contains(found)).count();
        let recall = (0..500).map(common).sum::<usize>() as f64 / 5_000.0;
        eprintln!("{coding:?}: recall of the 10 nearest {recall}");
        assert!(recall >= recall_min, "{coding:?}: {recall}");
    }
}
