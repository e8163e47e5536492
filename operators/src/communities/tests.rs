//! Communities against the definition, with and without room for the pairs.

use super::*;
use crate::host::Unbounded;
use crate::host::tests::Limited;
use crate::test_rows::{random_rows, random_topics};

/// The definition, word by word: all lists first, then one candidate after the other.
fn slow_communities(vectors: &UnitVectors, options: &CommunityOptions) -> Vec<Vec<u32>> {
    let rows = vectors.rows();
    let mut candidates = Vec::new();
    for row in (0..rows).filter(|row| vectors.has_direction(*row)) {
        let mut similar: Vec<(f32, usize)> = (0..rows)
            .filter(|other| vectors.has_direction(*other) && *other != row)
            .map(|other| (vectors.cosine(row, vectors, other), other))
            .filter(|(cosine, _)| *cosine >= options.threshold as f32)
            .collect();
        similar.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
        similar.insert(0, (1.0, row));
        if similar.len() >= options.min_size {
            candidates.push(similar);
        }
    }
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.len()));
    let mut used = vec![false; rows];
    let mut communities: Vec<Vec<u32>> = Vec::new();
    for candidate in candidates {
        let free: Vec<u32> =
            candidate.iter().filter(|(_, row)| !used[*row]).map(|(_, row)| *row as u32).collect();
        if !used[candidate[0].1] && free.len() >= options.min_size {
            free.iter().for_each(|row| used[*row as usize] = true);
            communities.push(free);
        }
    }
    communities.sort_by_key(|community| std::cmp::Reverse(community.len()));
    communities
}

fn rows_of(communities: &[Vec<Neighbour>]) -> Vec<Vec<u32>> {
    communities.iter().map(|found| found.iter().map(|member| member.row).collect()).collect()
}

fn agree(vectors: &UnitVectors, options: &CommunityOptions) -> usize {
    let wanted = slow_communities(vectors, options);
    for kept_bytes_max in [KEPT_BYTES_MAX, 0] {
        let got = communities_within(vectors, options, kept_bytes_max, &Unbounded).expect("found");
        assert_eq!(rows_of(&got), wanted, "{} rows, {options:?}", vectors.rows());
        for member in got.iter().flat_map(|community| &community[1..]) {
            assert!(member.score >= options.threshold as f32);
        }
    }
    wanted.len()
}

#[test]
fn communities_are_what_the_definition_says() {
    for rows in [0, 1, 2, 60, 300] {
        let vectors = random_rows(rows, 5, 21);
        for (threshold, min_size) in [(0.75, 1), (0.75, 4), (0.9, 2), (0.5, 10), (1.0, 2)] {
            agree(&vectors, &CommunityOptions { threshold, min_size });
        }
    }
}

/// More candidates than a block of the second pass has, and rows that become few.
#[test]
fn topics_are_found_block_by_block() {
    let vectors = random_topics(1500, 40, 16, 0.6, 3);
    let found = agree(&vectors, &CommunityOptions { threshold: 0.8, min_size: 5 });
    assert!(found >= 30, "{found}");
    agree(&vectors, &CommunityOptions { threshold: 0.6, min_size: 3 });
    agree(&vectors, &CommunityOptions { threshold: 0.95, min_size: 2 });
}

#[test]
fn pairs_are_kept_only_as_far_as_the_host_lends() {
    let vectors = random_topics(2400, 4, 16, 0.3, 5);
    let options = CommunityOptions { threshold: 0.5, min_size: 3 };
    let wanted = slow_communities(&vectors, &options);
    let rich = Limited { limit: usize::MAX, ..Limited::default() };
    let poor = Limited { limit: 6 << 20, ..Limited::default() };
    // What each thread borrows should not decide.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    threads.install(|| {
        for host in [rich, poor] {
            let got = communities(&vectors, &options, &host).expect("with or without the pairs");
            assert_eq!(rows_of(&got), wanted);
            assert_eq!(host.lent.into_inner(), 0);
        }
    });
}

#[test]
fn what_cannot_be_is_refused() {
    let vectors = random_rows(10, 4, 1);
    let refused = |threshold, min_size| {
        let options = CommunityOptions { threshold, min_size };
        communities(&vectors, &options, &Unbounded).expect_err("refused").to_string()
    };
    assert_eq!(refused(7.0, 10), "threshold must be a cosine between -1 and 1, got 7");
    assert_eq!(refused(0.5, 0), "min_size must be >= 1, got 0");
}
