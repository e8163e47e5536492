//! How long the search for neighbours takes as the rows grow, and how many operations a second that
//! is, counted on the triangle: each two rows once. `benches/findings_vs_peers.py growth` puts them
//! beside the rate of a dense f32 product.
//!
//! `cargo bench -p sembla-operators --bench neighbours -- [ROWS…]`; with `VECTORS=file.f32` (and
//! `DIMENSION`, 384 if not said) on real vectors instead of made ones.

#![expect(clippy::print_stdout, reason = "a benchmark speaks to a person")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sembla_operators::neighbours::{pairs_within, top_k_within};
use sembla_operators::{Unbounded, UnitVectors};

/// Finds per row.
const K: usize = 10;

fn main() {
    let mut rows: Vec<usize> =
        std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if rows.is_empty() {
        rows = vec![10_000, 25_000, 50_000];
    }
    let dimension =
        std::env::var("DIMENSION").ok().and_then(|text| text.parse().ok()).unwrap_or(384);
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "rows", "top 10 s", "Gop/s", "pairs s", "Gop/s", "pairs"
    );
    for rows in rows {
        let vectors = UnitVectors::new(dimension, values(rows, dimension)).expect("rows");
        let begun = Instant::now();
        black_box(top_k_within(&vectors, K, -1.0, &Unbounded).expect("found"));
        let top = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let found = AtomicU64::new(0);
        pairs_within(&vectors, 0.8, &Unbounded, &|pairs| {
            found.fetch_add(pairs.len() as u64, Ordering::Relaxed);
            Ok(())
        })
        .expect("found");
        let pairs = begun.elapsed().as_secs_f64();
        // Two operations a component.
        let operations = rows as f64 * rows as f64 * dimension as f64 / 1e9;
        println!(
            "{rows:>9} {top:>9.2} {:>9.0} {pairs:>9.2} {:>9.0} {:>10}",
            operations / top,
            operations / pairs,
            found.into_inner()
        );
    }
}

/// Vectors from a file, repeated with noise if there are too few; or made ones in 500 clusters.
fn values(rows: usize, dimension: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut noise = move || {
        let mut sum = 0.0;
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            sum += (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0;
        }
        sum / 2.0
    };
    let base: Vec<f32> = match std::env::var("VECTORS") {
        Ok(path) => {
            let bytes = std::fs::read(path).expect("the file of VECTORS");
            bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        }
        Err(_) => (0..500 * dimension).map(|_| noise() / (dimension as f32).sqrt()).collect(),
    };
    let known = base.len() / dimension;
    let scale = 0.6 / (dimension as f32).sqrt();
    let mut values = Vec::with_capacity(rows * dimension);
    for row in 0..rows {
        let base = &base[(row % known) * dimension..][..dimension];
        let far = if row < known && std::env::var("VECTORS").is_ok() { 0.0 } else { scale };
        values.extend(base.iter().map(|x| x + far * noise()));
    }
    values
}
