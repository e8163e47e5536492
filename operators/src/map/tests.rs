//! Maps of constructed vectors: neighbourhoods, sameness, and bounds.

use super::*;
use crate::host::Unbounded;
use crate::host::tests::Limited;
use crate::similarity::tests::random_vector;

/// Rows around three centres, one after another.
fn three_clusters(rows: usize) -> UnitVectors {
    let mut values = random_vector(rows * 8, 11);
    for (row, values) in values.chunks_mut(8).enumerate() {
        values.iter_mut().for_each(|x| *x *= 0.3);
        values[row % 3] += 1.0;
    }
    UnitVectors::new(8, values).expect("rows")
}

fn mapped(vectors: &UnitVectors, options: &MapOptions) -> Vec<Option<[f32; 2]>> {
    map(vectors, options, &Unbounded).expect("a map")
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt()
}

/// The share of rows whose nearest place is of a row of the same cluster.
fn kept_together(places: &[Option<[f32; 2]>]) -> f64 {
    let places: Vec<[f32; 2]> = places.iter().flatten().copied().collect();
    let same = (0..places.len()).filter(|row| {
        let others = (0..places.len()).filter(|other| other != row);
        let nearest = others.min_by(|a, b| {
            distance(places[*row], places[*a]).total_cmp(&distance(places[*row], places[*b]))
        });
        nearest.is_some_and(|nearest| nearest % 3 == row % 3)
    });
    same.count() as f64 / places.len() as f64
}

#[test]
fn neighbourhoods_stay_together() {
    let vectors = three_clusters(300);
    let places = mapped(&vectors, &MapOptions::default());
    assert!(kept_together(&places) > 0.99, "{}", kept_together(&places));
    let pca = mapped(&vectors, &MapOptions { method: Method::Pca, ..MapOptions::default() });
    assert!(kept_together(&pca) > 0.9, "{}", kept_together(&pca));
}

#[test]
fn a_map_depends_on_its_input_alone() {
    let vectors = three_clusters(120);
    let options = MapOptions { epochs: 300, ..MapOptions::default() };
    let first = mapped(&vectors, &options);
    for threads in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        assert_eq!(pool.install(|| mapped(&vectors, &options)), first);
    }
}

#[test]
fn many_rows_are_placed_among_a_sample() {
    let vectors = three_clusters(600);
    let options = MapOptions { rows_max: 150, epochs: 300, ..MapOptions::default() };
    let places = mapped(&vectors, &options);
    assert!(places.iter().all(Option::is_some));
    assert!(kept_together(&places) > 0.95, "{}", kept_together(&places));
    let pca = MapOptions { method: Method::Pca, ..options };
    let flat = mapped(&vectors, &pca);
    assert!(kept_together(&flat) > 0.9, "{}", kept_together(&flat));
    let distinct: std::collections::HashSet<[u32; 2]> =
        flat.iter().flatten().map(|place| place.map(f32::to_bits)).collect();
    assert_eq!(distinct.len(), 600, "every row has a place of its own on the plane");
    let other = mapped(&vectors, &MapOptions { seed: 1, ..options });
    assert_ne!(places, other);
}

#[test]
fn no_rows_few_rows_equal_rows_and_zeros() {
    for method in [Method::Tsne, Method::Pca] {
        let options = MapOptions { method, epochs: 50, ..MapOptions::default() };
        for rows in [0, 1, 2, 3, 4, 5, 6, 12] {
            let places = mapped(&three_clusters(rows), &options);
            assert_eq!(places.len(), rows);
            assert!(places.iter().flatten().flatten().all(|x| x.is_finite()), "{rows} rows");
        }
        let equal = UnitVectors::new(2, [0.6, 0.8].repeat(200)).expect("rows");
        assert!(mapped(&equal, &options).iter().flatten().flatten().all(|x| x.is_finite()));
        let mut halves = [0.6, 0.8].repeat(200);
        halves.extend(random_vector(400, 2));
        let halves = UnitVectors::new(2, halves).expect("rows");
        assert!(mapped(&halves, &options).iter().flatten().flatten().all(|x| x.is_finite()));
        let zeros = UnitVectors::new(2, vec![0.0, 0.0, 1.0, 0.0]).expect("rows");
        let places = mapped(&zeros, &options);
        assert_eq!(places[0], None);
        assert!(places[1].is_some());
    }
}

#[test]
fn the_host_stops_a_fit() {
    struct StopsLate(std::sync::atomic::AtomicU64);
    impl Host for StopsLate {
        fn is_cancelled(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed) >= 20
        }
        fn progress(&self, stage: &'static str, done: u64, _: u64) {
            if stage == "drawing the map" {
                self.0.store(done, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
    let host = StopsLate(std::sync::atomic::AtomicU64::new(0));
    let stopped = map(&three_clusters(100), &MapOptions::default(), &host);
    assert_eq!(stopped, Err(OperatorError::Cancelled));
    assert_eq!(host.0.into_inner(), 20);
    let host = Limited { limit: 100, ..Limited::default() };
    let refused = map(&three_clusters(100), &MapOptions::default(), &host);
    assert!(matches!(refused, Err(OperatorError::Memory(_))));
}

#[test]
fn bad_options_are_refused() {
    let refused = |options: MapOptions| {
        map(&three_clusters(9), &options, &Unbounded).expect_err("refused").to_string()
    };
    let default = MapOptions::default();
    let message = refused(MapOptions { perplexity: 0.0, ..default });
    assert_eq!(message, "perplexity must be a number of neighbours between 1 and 1000, got 0");
    assert!(refused(MapOptions { perplexity: f32::NAN, ..default }).starts_with("perplexity must"));
    assert!(refused(MapOptions { epochs: 0, ..default }).starts_with("epochs must"));
    assert!(
        refused(MapOptions { rows_max: 3, ..default }).starts_with("rows_max must be >= 10, got 3")
    );
    assert!(Method::parse("umap").is_err());
    assert_eq!(Method::parse("pca"), Ok(Method::Pca));
}
