//! The approximate index against exact neighbours, and files that are not what they should be.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::host::Unbounded;
use crate::host::tests::Limited;
use crate::neighbours::{self, Neighbours};
use crate::similarity::tests::random_vector;

/// Random rows; with `centres`, each near one of them.
fn rows(count: usize, dimension: usize, centres: usize, seed: u64) -> UnitVectors {
    let mut values = random_vector(count * dimension, seed);
    if centres > 0 {
        let middle = random_vector(centres * dimension, 99);
        for (row, values) in values.chunks_mut(dimension).enumerate() {
            let centre = &middle[row % centres * dimension..][..dimension];
            values.iter_mut().zip(centre).for_each(|(x, c)| *x = *x * 0.4 + c);
        }
    }
    UnitVectors::new(dimension, values).expect("rows")
}

fn index_of(vectors: &UnitVectors, options: &ApproximateOptions) -> ApproximateIndex {
    let mut index = ApproximateIndex::new(vectors.dimension(), options).expect("an index");
    let keys: Vec<u64> = (0..vectors.rows() as u64).map(|row| row * 10).collect();
    index.add(&keys, vectors, &Unbounded).expect("added");
    index
}

fn recall(index: &ApproximateIndex, queries: &UnitVectors, corpus: &UnitVectors) -> f64 {
    let exact = neighbours::top_k(queries, corpus, 10, -1.0, &Unbounded).expect("exact");
    let found = index.search(queries, 10, SEARCH_EXPANSION, &Unbounded).expect("found");
    let mut hits = 0;
    for (query, found) in found.iter().enumerate() {
        assert_eq!(found.len(), 10);
        let wanted: Vec<u64> = exact.of(query).iter().map(|n| u64::from(n.row) * 10).collect();
        hits += found.iter().filter(|hit| wanted.contains(&hit.key)).count();
    }
    hits as f64 / (queries.rows() * 10) as f64
}

#[test]
fn most_of_the_exact_neighbours_are_found() {
    for (centres, storage, least) in [
        (0, Storage::F32, 0.9),
        (50, Storage::F32, 0.97),
        (50, Storage::F16, 0.97),
        (50, Storage::I8, 0.8),
    ] {
        let corpus = rows(5000, 48, centres, 1);
        let queries = rows(200, 48, centres, 2);
        let index = index_of(&corpus, &ApproximateOptions { storage, ..Default::default() });
        let estimate = ApproximateIndex::bytes_for(5000, 48, index.options());

        let share = index.bytes() as f64 / estimate as f64;
        eprintln!("{} bytes, {estimate} expected", index.bytes());
        assert!((0.7..1.3).contains(&share), "{share}");
        let recall = recall(&index, &queries, &corpus);
        eprintln!("recall@10, {centres} centres, {storage:?}: {recall:.4}");
        assert!(recall >= least, "{centres} centres, {storage:?}: {recall}");
    }
}

#[test]
fn scores_are_cosines_and_sorted() {
    let corpus = rows(500, 32, 5, 3);
    let index = index_of(&corpus, &ApproximateOptions::default());
    for (row, hits) in index.search(&corpus, 7, 64, &Unbounded).expect("hits").iter().enumerate() {
        for hit in hits {
            assert_eq!(hit.score, corpus.cosine(row, &corpus, (hit.key / 10) as usize));
        }
        assert!(
            hits.is_sorted_by(|a, b| {
                a.score > b.score || (a.score == b.score && a.key < b.key)
            })
        );
    }
}

#[test]
fn mining_finds_what_exact_mining_finds() {
    let vectors = rows(2000, 24, 40, 4);
    let options = ApproximateOptions::default();
    let found = top_k_within(&vectors, 5, 0.5, &options, 64, &Unbounded).expect("found");
    let exact = neighbours::top_k_within(&vectors, 5, 0.5, &Unbounded).expect("exact");
    let mut same = 0;
    let mut all = 0;
    for row in 0..vectors.rows() {
        let found = found.of(row);
        all += exact.of(row).len();
        same += exact.of(row).iter().filter(|neighbour| found.contains(neighbour)).count();
        assert!(found.iter().all(|n| n.row as usize != row && n.score >= 0.5));
        assert!(found.len() <= 5);
    }
    assert!(same as f64 / all as f64 > 0.97, "{same} of {all}");
    let none = UnitVectors::new(3, vec![]).expect("no rows");
    let found = top_k_within(&none, 5, 0.5, &options, 64, &Unbounded).expect("none");
    assert_eq!(found, Neighbours::from_rows(vec![]));
}

#[test]
fn rows_without_direction_few_rows_and_more_threads() {
    let options = ApproximateOptions::default();
    let vectors = UnitVectors::new(2, vec![0.0, 0.0, 1.0, 0.0, 1.0, 0.0]).expect("rows");
    let index = index_of(&vectors, &options);
    assert_eq!(index.rows(), 2);
    let found = index.search(&vectors, 5, 64, &Unbounded).expect("found");
    assert!(found[0].is_empty());
    let keys: Vec<u64> = found[1].iter().map(|hit| hit.key).collect();
    assert_eq!(keys, [10, 20]);
    let empty = ApproximateIndex::new(2, &options).expect("an index");
    assert!(empty.search(&vectors, 5, 64, &Unbounded).expect("found").iter().all(Vec::is_empty));
    // More threads than the machine has cores.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(9).build().expect("a pool");
    let many = rows(3000, 16, 0, 5);
    let found =
        pool.install(|| index_of(&many, &options).search(&many, 1, 64, &Unbounded).expect("found"));
    let itself = found.iter().zip(0u64..).filter(|(hits, row)| hits[0].key == row * 10).count();
    assert!(itself >= 2995, "{itself}");
    // An index that few threads built is searched by many.
    let index = index_of(&many, &options);
    assert_eq!(pool.install(|| index.search(&many, 1, 64, &Unbounded)).expect("found").len(), 3000);
}

#[test]
fn rows_can_be_added_later() {
    let vectors = rows(900, 16, 0, 6);
    let mut index = ApproximateIndex::new(16, &ApproximateOptions::default()).expect("an index");
    for part in [0..1u32, 1..400, 400..900] {
        let positions: Vec<u32> = part.collect();
        let keys: Vec<u64> = positions.iter().map(|row| u64::from(*row) * 10).collect();
        index.add(&keys, &vectors.select(&positions), &Unbounded).expect("added");
    }
    assert!(recall(&index, &vectors, &vectors) > 0.95);
    let again = index.add(&[50], &vectors.select(&[0]), &Unbounded).expect_err("there");
    assert_eq!(again.to_string(), "key 50 already exists in the index");
    let twice = index.add(&[7, 7], &vectors.select(&[0, 1]), &Unbounded).expect_err("twice");
    assert_eq!(twice.to_string(), "key 7 comes twice");
}

#[test]
fn bad_input_is_refused() {
    let mut index = index_of(&rows(10, 4, 0, 7), &ApproximateOptions::default());
    let other = rows(2, 5, 0, 7);
    let message = "the vectors of the index have 4 components, but these have 5";
    let error = index.search(&other, 1, 64, &Unbounded).expect_err("another dimension");
    assert_eq!(error.to_string(), message);
    let error = index.add(&[1, 2], &other, &Unbounded).expect_err("another dimension");
    assert_eq!(error.to_string(), message);
    let error = index.add(&[1], &other, &Unbounded).expect_err("too few keys");
    assert_eq!(error.to_string(), "1 keys don't match 2 vectors");
    assert!(index.add(&[u64::MAX], &rows(1, 4, 0, 7), &Unbounded).is_err());
    assert!(index.search(&rows(1, 4, 0, 7), 1, 0, &Unbounded).is_err());
    let options = ApproximateOptions { connectivity: 1, ..Default::default() };
    assert!(ApproximateIndex::new(4, &options).is_err());
    assert!(ApproximateIndex::new(0, &ApproximateOptions::default()).is_err());
    assert!(Storage::parse("f64").is_err());
    let limited = Limited { limit: 100, ..Limited::default() };
    let refused = index.add(&[77], &rows(1, 4, 0, 8), &limited);
    assert!(matches!(refused, Err(OperatorError::Memory(_))));
    let cancelled = Limited { limit: 1 << 40, cancelled: true, ..Limited::default() };
    let stopped = index.add(&[77], &rows(1, 4, 0, 8), &cancelled);
    assert_eq!(stopped, Err(OperatorError::Cancelled));
}

/// A file that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("sembla-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_saved_index_finds_the_same() {
    let vectors = rows(700, 20, 7, 9);
    for storage in [Storage::F32, Storage::F16, Storage::I8] {
        let options = ApproximateOptions { storage, connectivity: 12, expansion: 100 };
        let mut index = index_of(&vectors, &options);
        // What is done to a row that a parallel build lost.
        index.index.remove(10).expect("removed");
        index.index.add(10, vectors.row(1)).expect("added again");
        let file = Scratch::new(&format!("same-{storage:?}"));
        index.save(&file.0, &Unbounded).expect("saved");
        index.save(&file.0, &Unbounded).expect("saved in place of itself");
        let mut opened = ApproximateIndex::open(&file.0, &Unbounded).expect("opened");
        assert_eq!((opened.rows(), opened.dimension()), (700, 20));
        assert_eq!(opened.options(), &options);
        let search = |index: &ApproximateIndex| index.search(&vectors, 5, 64, &Unbounded);
        assert_eq!(search(&opened), search(&index));
        let more = rows(50, 20, 7, 10);
        let keys: Vec<u64> = (100_000..100_050).collect();
        opened.add(&keys, &more, &Unbounded).expect("added");
        index.add(&keys, &more, &Unbounded).expect("added");
        assert_eq!(opened.rows(), 750);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(9).build().expect("a pool");
        let found = pool.install(|| opened.search(&more, 1, 64, &Unbounded)).expect("found");
        let itself = found.iter().zip(&keys).filter(|(hits, key)| hits[0].key == **key).count();
        assert!(itself >= 45, "{itself}");
    }
}

#[test]
fn torn_flipped_and_foreign_files_are_refused() {
    let index = index_of(&rows(100, 8, 0, 11), &ApproximateOptions::default());
    let file = Scratch::new("torn");
    index.save(&file.0, &Unbounded).expect("saved");
    let whole = fs::read(&file.0).expect("read");
    let refused = |bytes: &[u8]| {
        fs::write(&file.0, bytes).expect("written");
        let error = ApproximateIndex::open(&file.0, &Unbounded).err().expect("refused");
        assert!(matches!(error, OperatorError::Data(_)), "{error}");
        assert!(error.to_string().ends_with("build it again"), "{error}");
    };
    for cut in [0, 1, 7, 63, 64, 65, 100, whole.len() / 2, whole.len() - 64, whole.len() - 1] {
        refused(&whole[..cut]);
    }
    for flipped in (0..whole.len()).step_by(13).chain(whole.len() - 64..whole.len()) {
        let mut bytes = whole.clone();
        bytes[flipped] ^= 0x40;
        refused(&bytes);
    }
    let mut shifted = whole.clone();
    shifted.extend_from_slice(&whole[whole.len() - 64..]);
    refused(&shifted);
    refused(&whole[1..]);
    refused(&b"PAR1 is another format. ".repeat(50));
    fs::write(&file.0, &whole).expect("written");
    assert!(ApproximateIndex::open(&file.0, &Unbounded).is_ok());
    let missing = ApproximateIndex::open(&file.0.with_extension("missing"), &Unbounded).err();
    assert!(missing.is_some_and(|error| error.to_string().contains("can't be read: ")));
    let nowhere = index.save(&file.0.join("below/a/file"), &Unbounded).expect_err("no folder");
    assert!(nowhere.to_string().contains("can't be written: "), "{nowhere}");
}
