//! Micro-clusters against the plain loop that defines them, and whole streams.

use super::micro::{MicroCluster, MicroClusters, Taken};
use super::*;
use crate::error::OperatorError;
use crate::host::Unbounded;
use crate::host::tests::Limited;
use crate::online::bytes::tests::every_damage_is_refused;
use crate::test_rows::{random_rows, random_topics};
use crate::unit::{cosine, normalize};

fn window(number: i64) -> Window {
    Window { start: number * 100, end: (number + 1) * 100 }
}

fn centre(sum: &[f32]) -> Vec<f32> {
    let mut centre = sum.to_vec();
    normalize(&mut centre);
    centre
}

/// The most similar of some centres, if one is within the threshold; of equal ones the first.
fn nearest(row: &[f32], centres: &[Vec<f32>], threshold: f32) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (place, centre) in centres.iter().enumerate() {
        let score = cosine(row, centre);
        let is_near = centre.iter().any(|x| *x != 0.0) && score >= threshold;
        if is_near && best.is_none_or(|best| score > best.1) {
            best = Some((place, score));
        }
    }
    best.map(|best| best.0)
}

/// [`MicroClusters::take_in`], row by row. Gives the id of each row's micro-cluster.
fn slow(
    micro: &mut MicroClusters,
    vectors: &UnitVectors,
    factor: f64,
    options: &ClusterOptions,
) -> Vec<Option<u64>> {
    let threshold = options.threshold as f32;
    let centres: Vec<Vec<f32>> = micro.list.iter().map(|micro| centre(&micro.sum)).collect();
    let mut founders: Vec<Vec<f32>> = Vec::new();
    let mut sums: Vec<(Vec<f64>, f64)> = Vec::new();
    for micro in &micro.list {
        let sum = micro.sum.iter().map(|x| f64::from(*x) * factor).collect();
        sums.push((sum, micro.weight * factor));
    }
    let mut places = Vec::new();
    for row in 0..vectors.rows() {
        let values = vectors.row(row);
        if !vectors.has_direction(row) {
            places.push(None);
            continue;
        }
        let earlier = nearest(values, &centres, threshold);
        let founder = || nearest(values, &founders, threshold).map(|at| at + centres.len());
        let place = earlier.or_else(founder).unwrap_or_else(|| {
            founders.push(values.to_vec());
            sums.push((vec![0.0; values.len()], 0.0));
            sums.len() - 1
        });
        sums[place].0.iter_mut().zip(values).for_each(|(sum, x)| *sum += f64::from(*x));
        sums[place].1 += 1.0;
        places.push(Some(place));
    }
    let mut kept: Vec<usize> = (0..sums.len()).filter(|place| sums[*place].1 >= 0.25).collect();
    while kept.len() > options.micro_clusters_max {
        let lightest =
            (0..kept.len()).rev().min_by(|a, b| sums[kept[*a]].1.total_cmp(&sums[kept[*b]].1));
        kept.remove(lightest.expect("one"));
    }
    let mut list: Vec<MicroCluster> = Vec::new();
    for place in &kept {
        let (sum, weight) = &sums[*place];
        let before = micro.list.get(*place);
        micro.next_id += u64::from(before.is_none());
        list.push(MicroCluster {
            id: before.map_or(micro.next_id - 1, |before| before.id),
            weight: *weight,
            sum: sum.iter().map(|x| *x as f32).collect(),
            is_potential: before.is_some_and(|before| before.is_potential),
            cluster: before.and_then(|before| before.cluster),
        });
    }
    let mut ids: Vec<Option<u64>> = (0..sums.len()).map(|_| None).collect();
    kept.iter().zip(&list).for_each(|(place, micro)| ids[*place] = Some(micro.id));
    merge(&mut list, options, &mut ids);
    for micro in &mut list {
        let bar = options.min_weight * if micro.is_potential { 0.5 } else { 1.0 };
        micro.is_potential = micro.weight >= bar;
    }
    micro.list = list;
    if places.iter().any(Option::is_some) {
        micro.dimension = vectors.dimension();
    }
    places.into_iter().map(|place| place.and_then(|place| ids[place])).collect()
}

/// Merges close micro-clusters, the closest two first.
fn merge(list: &mut Vec<MicroCluster>, options: &ClusterOptions, ids: &mut [Option<u64>]) {
    let threshold = ((1.0 + options.threshold) / 2.0) as f32;
    let centres: Vec<Vec<f32>> = list.iter().map(|micro| centre(&micro.sum)).collect();
    let mut pairs = Vec::new();
    for a in 0..list.len() {
        for b in a + 1..list.len() {
            let score = cosine(&centres[a], &centres[b]);
            let directed = |at: usize| centres[at].iter().any(|x| *x != 0.0);
            if score >= threshold && directed(a) && directed(b) {
                pairs.push((score, a, b));
            }
        }
    }
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
    let mut gone = vec![false; list.len()];
    for (_, a, b) in pairs {
        if gone[a] || gone[b] {
            continue;
        }
        let (stays, goes) = if list[b].weight > list[a].weight { (b, a) } else { (a, b) };
        gone[goes] = true;
        let MicroCluster { id, weight, sum, .. } = list[goes].clone();
        list[stays].weight += weight;
        list[stays].sum.iter_mut().zip(sum).for_each(|(sum, x)| *sum += x);
        let new = list[stays].id;
        ids.iter_mut().filter(|known| **known == Some(id)).for_each(|known| *known = Some(new));
    }
    let mut gone = gone.into_iter();
    list.retain(|_| gone.next() == Some(false));
}

fn compare(streams: &[UnitVectors], options: &ClusterOptions, factor: f64) {
    let (mut fast, mut plain) = (MicroClusters::default(), MicroClusters::default());
    for (number, vectors) in streams.iter().enumerate() {
        let ids_before: Vec<u64> = fast.list.iter().map(|micro| micro.id).collect();
        let taken = fast.take_in(vectors, factor, options, &Unbounded).expect("taken in");
        let wanted = slow(&mut plain, vectors, factor, options);
        let id = |place: &Option<u32>| place.map(|place| fast.list[place as usize].id);
        assert_eq!(taken.of_row.iter().map(id).collect::<Vec<_>>(), wanted, "window {number}");
        assert_eq!(fast, plain, "window {number}");
        let ids: Vec<u64> = fast.list.iter().map(|micro| micro.id).collect();
        assert!(ids.is_sorted());
        for (before, now) in ids_before.iter().zip(&taken.moved) {
            let same = ids.binary_search(before).ok().map(|place| place as u32);
            assert!(same.is_none() || same == *now);
        }
    }
}

#[test]
fn a_window_at_once_is_as_row_by_row() {
    for (seed, (rows, dimension, threshold, most)) in
        [(40, 3, 0.8, 1000), (300, 8, 0.5, 1000), (300, 8, 0.5, 7), (200, 5, 0.95, 60)]
            .into_iter()
            .enumerate()
    {
        let options =
            ClusterOptions { threshold, micro_clusters_max: most, ..ClusterOptions::default() };
        let seed = seed as u64 * 10;
        let streams: Vec<UnitVectors> =
            (0..6).map(|number| random_rows(rows, dimension, seed + number)).collect();
        compare(&streams, &options, 0.7);
        let topics: Vec<UnitVectors> = (0..6)
            .map(|number| random_topics(rows, 9, dimension, 0.4, seed + number % 2))
            .collect();
        compare(&topics, &options, 0.9);
    }
}

#[test]
fn one_row_and_none_are_taken_in() {
    let none = UnitVectors::new(3, Vec::new()).expect("no rows");
    let one = UnitVectors::new(3, vec![1.0, 0.0, 0.0]).expect("one row");
    let zero = UnitVectors::new(3, vec![0.0; 6]).expect("two rows");
    let streams = [none.clone(), one.clone(), zero, none, one];
    compare(&streams, &ClusterOptions::default(), 0.5);
}

fn stream(
    options: &ClusterOptions,
    windows: &[UnitVectors],
) -> (OnlineClusters, Vec<WindowClusters>) {
    let mut clusters = OnlineClusters::new(options.clone()).expect("options");
    let step = |(number, vectors): (usize, &UnitVectors)| {
        clusters.step(window(number as i64), vectors, &Unbounded).expect("a window")
    };
    let found = windows.iter().enumerate().map(step).collect();
    (clusters, found)
}

fn rows(angles: &[f32]) -> UnitVectors {
    let values = angles.iter().flat_map(|angle| {
        let angle = angle.to_radians();
        [angle.cos(), angle.sin()]
    });
    UnitVectors::new(2, values.collect()).expect("rows of two")
}

fn told(found: &WindowClusters) -> Vec<(u64, Event, Option<u64>, u64)> {
    found.clusters.iter().map(|c| (c.id, c.event, c.related, c.size)).collect()
}

/// Two subjects, of which one goes and another comes.
#[test]
fn ids_go_on_while_subjects_come_and_go() {
    let options = ClusterOptions {
        threshold: 0.95,
        half_life: Some(100),
        min_weight: 2.0,
        grouping: Grouping::Distance(0.1),
        ..ClusterOptions::default()
    };
    let windows = [
        rows(&[0.0, 2.0, 1.0, 90.0, 92.0, 200.0]),
        rows(&[91.0, 90.0, 1.0]),
        rows(&[180.0, 181.0, 90.0, 93.0]),
        rows(&[180.0, 181.0, 90.0]),
    ];
    let (_, found) = stream(&options, &windows);
    // 200 degrees is a row alone: an outlier.
    let (a, b, c) = (Some(0), Some(1), Some(2));
    assert_eq!(found[0].cluster_of, [a, a, a, b, b, None]);
    assert_eq!(told(&found[0]), [(0, Event::New, None, 3), (1, Event::New, None, 2)]);
    assert_eq!(found[1].cluster_of, [b, b, a]);
    assert_eq!(told(&found[1]), [(1, Event::Grown, None, 2), (0, Event::Stable, None, 1)]);
    // 0 still weighs 1.25, more than half of what made it a cluster.
    assert_eq!(found[2].cluster_of, [c, c, b, b]);
    let ids: Vec<u64> = found[2].clusters.iter().map(|cluster| cluster.id).collect();
    assert_eq!(ids, [1, 2, 0]);
    assert_eq!(found[2].clusters[2].last_seen, 200);
    assert_eq!(told(&found[3])[2], (0, Event::Died, None, 0));
    let dead = &found[3].clusters[2];
    assert_eq!((dead.first_seen, dead.last_seen, dead.weight), (0, 200, 0.0));
}

/// Rows between two clusters draw them together; one id is over and says where it went.
#[test]
fn clusters_merge_and_split() {
    let options = ClusterOptions {
        threshold: 0.99,
        half_life: Some(1_000_000),
        min_weight: 1.0,
        grouping: Grouping::Distance(0.12),
        ..ClusterOptions::default()
    };
    let windows = [rows(&[0.0, 0.0, 0.0, 40.0, 40.0]), rows(&[20.0; 9]), rows(&[20.0])];
    let (_, found) = stream(&options, &windows);
    assert_eq!(told(&found[0]), [(0, Event::New, None, 3), (1, Event::New, None, 2)]);
    assert_eq!(told(&found[1]), [(0, Event::Grown, None, 9), (1, Event::Merged, Some(0), 0)]);
    assert_eq!(found[1].cluster_of, vec![Some(0); 9]);

    // The rows between fade away, and both ends grow: the lighter one is a new cluster again.
    let options = ClusterOptions { half_life: Some(100), ..options };
    let heavy = |number: usize| [vec![0.0; number], vec![40.0; number * 2 / 3]].concat();
    let windows = [
        rows(&[vec![20.0; 60], heavy(30)].concat()),
        rows(&heavy(30)),
        rows(&heavy(30)),
        rows(&heavy(30)),
        rows(&heavy(30)),
    ];
    let (_, found) = stream(&options, &windows);
    assert_eq!(told(&found[0]).len(), 1);
    let split = found.iter().flat_map(told).find(|told| told.1 == Event::Split);
    let split = split.expect("a split");
    assert_eq!((split.0, split.2), (1, Some(0)));
}

#[test]
fn a_fixed_number_of_clusters_keeps_its_ids() {
    let grouping = Grouping::Count { k: 3, seed: 0 };
    let options = ClusterOptions { half_life: Some(100), grouping, ..ClusterOptions::default() };
    let windows = [
        rows(&[0.0, 90.0]),
        rows(&[0.0, 2.0, 1.0, 90.0, 92.0, 180.0]),
        rows(&[181.0, 92.0]),
        rows(&[]),
        rows(&[1.0, 3.0, 90.0, 179.0]),
    ];
    let (mut clusters, found) = stream(&options, &windows);
    assert_eq!(found[0].cluster_of, [None, None]);
    assert!(found[0].clusters.is_empty());
    let (a, b, c) = (Some(0), Some(1), Some(2));
    assert_eq!(found[1].cluster_of, [a, a, a, b, b, c]);
    assert_eq!(found[2].cluster_of, [c, b]);
    assert_eq!(found[4].cluster_of, [a, a, b, c]);
    assert!(found[2..].iter().flat_map(told).all(|told| told.1 != Event::New && told.0 < 3));
    // However long nothing comes, they are there.
    let late = Window { start: 1 << 50, end: (1 << 50) + 100 };
    let found = clusters.step(late, &rows(&[0.0, 91.0]), &Unbounded).expect("a window");
    assert_eq!(found.cluster_of, [a, b]);
}

#[test]
fn a_state_goes_on_from_its_bytes_at_any_window() {
    for grouping in [Grouping::Distance(0.4), Grouping::Count { k: 5, seed: 1 }] {
        let options = ClusterOptions { grouping, min_weight: 2.0, ..ClusterOptions::default() };
        let windows: Vec<UnitVectors> =
            (0..6).map(|number| random_topics(120, 6, 8, 0.4, number)).collect();
        let (whole, wanted) = stream(&options, &windows);
        let mut clusters = OnlineClusters::new(options.clone()).expect("options");
        for (number, vectors) in windows.iter().enumerate() {
            let early = clusters.clone().step(window(number as i64), vectors, &Unbounded);
            let bytes = clusters.to_bytes();
            clusters = OnlineClusters::from_bytes(options.clone(), &bytes).expect("a state");
            assert_eq!(clusters.to_bytes(), bytes);
            let found = clusters.step(window(number as i64), vectors, &Unbounded).expect("found");
            assert_eq!(found, wanted[number]);
            assert_eq!(Ok(found), early);
        }
        assert_eq!(clusters, whole);
    }
}

#[test]
fn damaged_states_are_refused() {
    let options = ClusterOptions { min_weight: 1.0, ..ClusterOptions::default() };
    let (clusters, _) = stream(&options, &[rows(&[0.0, 1.0, 90.0])]);
    every_damage_is_refused(&clusters.to_bytes(), |bytes| {
        OnlineClusters::from_bytes(options.clone(), bytes)
    });
}

#[test]
fn a_window_that_fails_changes_nothing() {
    let (mut clusters, _) = stream(&ClusterOptions::default(), &[rows(&[0.0, 1.0, 90.0])]);
    let before = clusters.clone();
    let other = random_rows(5, 3, 1);
    let refused = clusters.step(window(1), &other, &Unbounded).expect_err("other vectors");
    assert!(refused.to_string().contains("3 components, but earlier windows had 2"), "{refused}");
    let cancelled = Limited { limit: usize::MAX, cancelled: true, ..Limited::default() };
    let refused = clusters.step(window(1), &rows(&[0.0; 9]), &cancelled);
    assert_eq!(refused, Err(OperatorError::Cancelled));
    let poor = Limited { limit: 40, ..Limited::default() };
    let refused = clusters.step(window(1), &rows(&[0.0; 9]), &poor);
    assert!(matches!(refused, Err(OperatorError::Memory(_))));
    assert_eq!(clusters, before);
    let zeros = UnitVectors::new(1, vec![0.0; 4]).expect("rows without a direction");
    let found = clusters.step(window(1), &zeros, &Unbounded).expect("no directions, no dimension");
    assert_eq!(found.cluster_of, [None; 4]);
    assert_eq!(Taken::default().of_row, []);
}
