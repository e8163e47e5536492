//! Texts that stand for a topic.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;

use super::ctfidf::{WordWeights, cosine};
use super::words::Words;
use crate::error::Result;
use crate::host::{Host, check};
use crate::lanes;
use crate::unit::UnitVectors;

/// Texts of a topic that are compared with it by words, in equal steps over its rows.
const SAMPLE_ROWS_MAX: usize = 500;

/// Of each topic the rows nearest to its centroid.
pub(crate) fn by_vectors(
    texts: &[&str],
    members: &BTreeMap<u32, Vec<u32>>,
    vectors: &UnitVectors,
    wanted: usize,
    host: &dyn Host,
) -> Result<Vec<Vec<u32>>> {
    each_topic(members, |_, rows| {
        let mut centroid = vec![0f64; vectors.dimension()];
        for row in rows {
            check(host)?;
            let values = vectors.row(*row as usize);
            centroid.iter_mut().zip(values).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let centroid: Vec<f32> = centroid.into_iter().map(|sum| sum as f32).collect();
        let nearness = |row: u32| lanes::dot(&centroid, vectors.row(row as usize));
        let scored = rows.iter().map(|row| (nearness(*row), *row)).collect();
        Ok(best_texts(texts, scored, wanted))
    })
}

/// Of each topic the rows whose words are weighted most like its own.
pub(super) fn by_words(
    texts: &[&str],
    members: &BTreeMap<u32, Vec<u32>>,
    weights: &WordWeights<'_>,
    words: &Words,
    wanted: usize,
    host: &dyn Host,
) -> Result<Vec<Vec<u32>>> {
    each_topic(members, |topic, rows| {
        let mut scored = Vec::new();
        for row in rows.iter().step_by(rows.len().div_ceil(SAMPLE_ROWS_MAX).max(1)) {
            check(host)?;
            let text = weights.text(texts[*row as usize], words);
            scored.push((cosine(&text, weights.row(topic)), *row));
        }
        Ok(best_texts(texts, scored, wanted))
    })
}

/// Works on all topics at once.
fn each_topic(
    members: &BTreeMap<u32, Vec<u32>>,
    work: impl Fn(u32, &[u32]) -> Result<Vec<u32>> + Sync,
) -> Result<Vec<Vec<u32>>> {
    let topics: Vec<(&u32, &Vec<u32>)> = members.iter().collect();
    topics.into_par_iter().map(|(topic, rows)| work(*topic, rows)).collect()
}

/// The rows with the highest scores, then the lowest rows, each text once.
fn best_texts(texts: &[&str], mut scored: Vec<(f64, u32)>, wanted: usize) -> Vec<u32> {
    let best_first =
        |a: &(f64, u32), b: &(f64, u32)| -> Ordering { b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)) };
    scored.sort_unstable_by(best_first);
    let mut told = HashSet::new();
    let different = scored.into_iter().filter(|(_, row)| told.insert(texts[*row as usize]));
    different.map(|(_, row)| row).take(wanted).collect()
}
