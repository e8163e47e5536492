//! Where the subject of a text changes: between two sentences where what is before is less like
//! what follows than on either side of it.
//!
//! This is Hearst's TextTiling (1997) over vectors of sentences in place of counts of words: of
//! each gap the cosine of the sums of the sentences before and behind, and how deep that is below
//! the peaks on both sides.

use super::Measure;
use super::units::{Units, strength};
use crate::error::{OperatorError, Result};

/// Sentences on each side of a gap.
const WINDOW: usize = 3;

/// A valley that is no deeper than this is none.
const DEPTH_LEAST: f32 = 0.1;

/// Marks the gaps of a text where its subject changes.
pub(super) fn mark(units: &mut Units, text: &str, measure: &dyn Measure) -> Result<()> {
    let inner = (1..units.len()).filter(|gap| is_sentence(units.strength(*gap)));
    let gaps: Vec<usize> = std::iter::once(0).chain(inner).chain([units.len()]).collect();
    let sentences: Vec<&str> = gaps
        .windows(2)
        .map(|gaps| text.get(units.byte(gaps[0])..units.byte(gaps[1])).unwrap_or_default().trim())
        .collect();
    if sentences.len() < 2 {
        return Ok(());
    }
    let (dimension, vectors) = measure.vectors(&sentences)?;
    if vectors.len() != sentences.len() * dimension {
        return Err(OperatorError::Bug("a sentence has no vector".into()));
    }
    for change in changes(&vectors, dimension) {
        if let Some(gap) = gaps.get(change) {
            units.rate(*gap, |_| strength::FORCED);
        }
    }
    Ok(())
}

/// Whether a sentence ends at a break of that strength.
pub(super) fn is_sentence(strength: u8) -> bool {
    strength <= strength::SENTENCE
}

/// The sentences, by their number, before which the subject changes.
fn changes(vectors: &[f32], dimension: usize) -> Vec<usize> {
    let rows: Vec<&[f32]> = vectors.chunks_exact(dimension.max(1)).collect();
    let alike: Vec<f32> = (1..rows.len())
        .map(|gap| {
            let before = &rows[gap.saturating_sub(WINDOW)..gap];
            let after = &rows[gap..rows.len().min(gap + WINDOW)];
            cosine(&sum(before, dimension), &sum(after, dimension))
        })
        .collect();
    let depths: Vec<f32> = (0..alike.len())
        .map(|gap| {
            let peak = |others: &mut dyn Iterator<Item = &f32>| {
                let mut peak = alike[gap];
                for other in others {
                    if *other < peak {
                        break;
                    }
                    peak = *other;
                }
                peak - alike[gap]
            };
            peak(&mut alike[..gap].iter().rev()) + peak(&mut alike[gap + 1..].iter())
        })
        .collect();
    let count = depths.len().max(1) as f32;
    let mean = depths.iter().sum::<f32>() / count;
    let variance = depths.iter().map(|depth| (depth - mean).powi(2)).sum::<f32>() / count;
    let least = (mean + variance.sqrt()).max(DEPTH_LEAST);
    let deep = depths.iter().enumerate().filter(|(_, depth)| **depth >= least);
    deep.map(|(gap, _)| gap + 1).collect()
}

fn sum(rows: &[&[f32]], dimension: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dimension];
    for row in rows {
        sum.iter_mut().zip(*row).for_each(|(sum, x)| *sum += x);
    }
    sum
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let length = (dot(a, a) * dot(b, b)).sqrt();
    if length > 0.0 { dot(a, b) / length } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_changes_where_vectors_turn() {
        let sentence = |subject: usize, noise: f32| {
            let mut row = [noise, noise / 2.0, 0.0, 0.1];
            row[subject] += 1.0;
            row
        };
        let rows = [sentence(0, 0.1), sentence(0, 0.2), sentence(0, 0.0), sentence(0, 0.1)];
        let others = [sentence(2, 0.1), sentence(2, 0.0), sentence(2, 0.2)];
        let vectors: Vec<f32> = rows.iter().chain(&others).flatten().copied().collect();
        assert_eq!(changes(&vectors, 4), [4]);
        let same: Vec<f32> = rows.iter().flatten().copied().collect();
        assert_eq!(changes(&same, 4), [0; 0]);
    }
}
