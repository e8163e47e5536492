//! Finds all pairs of vectors above a threshold, and the nearest rows of each row. Both are exact.
//!
//! ```text
//! cargo run --release -p sembla-operators --example near_duplicates
//! ```

#![expect(clippy::print_stdout, reason = "an example prints what it finds")]

use sembla_operators::neighbours::{pairs_within, top_k_within};
use sembla_operators::{OperatorError, Unbounded, UnitVectors};

fn main() -> Result<(), OperatorError> {
    // Four vectors of three components, one after another. They are scaled to length one.
    let values = vec![1.0, 0.0, 0.0, 0.9, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let vectors = UnitVectors::new(3, values)?;

    // A host lends memory, hears of progress and can stop the work; this one does none of it.
    pairs_within(&vectors, 0.9, &Unbounded, &|pairs| {
        for pair in pairs {
            println!("rows {} and {}: cosine {:.3}", pair.a, pair.b, pair.score);
        }
        Ok(())
    })?;

    let nearest = top_k_within(&vectors, 1, 0.5, &Unbounded)?;
    for row in 0..nearest.rows() {
        for neighbour in nearest.of(row) {
            println!("nearest to row {row}: row {} ({:.3})", neighbour.row, neighbour.score);
        }
    }
    Ok(())
}
