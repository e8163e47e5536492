//! One row that can't be used stops no pipeline that has a place for it: neither in a window, nor
//! on its way into one, nor in the sink.

use super::oracle::{Case, KINDS, Row};
use super::sim_source::passing_trouble;
use super::world::{Fate, Life, Random, Trouble, World, undisturbed};
use crate::Error;
use crate::window::{TIMES_US, WindowKind};

fn rejected(world: &World) -> Vec<String> {
    let durable = world.durable();
    let mut all: Vec<_> = durable.committed.iter().flat_map(|c| c.rejected.clone()).collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_window_rejects_a_row_and_keeps_the_others() {
    for kind in KINDS.into_iter().flatten() {
        for seed in 1..=6 {
            let mut case = Case::new(Some(kind), 2, 50, seed);
            let offset = case.partitions[1].len() / 2;
            let row = case.partitions[1][offset].clone();
            case.window_rejects = vec![row.id];
            let (world, _) = undisturbed(&case, seed).await;
            let told =
                format!("p/1 {offset} {} id {}: the window part rejects", row.time_us, row.id);
            let rejected = rejected(&world);
            assert!(!rejected.is_empty(), "{kind:?}");
            for letter in &rejected {
                assert!(letter.starts_with(&told), "{letter}");
                assert!(letter.contains("(in the window 1970-01-01T00:00:00"), "{letter}");
            }
            let mut without = case.clone();
            without.partitions[1][offset].is_poison = true;
            let ids = |lines: Vec<String>| -> Vec<String> {
                let words = lines.iter().filter_map(|line| line.rsplit_once(": "));
                let mut ids: Vec<_> =
                    words.flat_map(|(_, ids)| ids.split(' ').map(String::from)).collect();
                ids.retain(|id| !id.is_empty());
                ids.sort();
                ids
            };
            assert_eq!(ids(world.results()), ids(without.expected()), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn without_dead_letters_a_row_that_a_window_rejects_stops_it_by_name() {
    let mut case = Case::new(KINDS[1], 1, 30, 3);
    case.has_dead_letters = false;
    case.window_rejects = vec![7];
    let world = World::new(case);
    let (life, signal) = Life::new(&world, 3, []);
    let Fate::Ended(Err(Error::Data(line))) = life.live(signal).await else { panic!("it stops") };
    assert!(line.starts_with("partition 'p/0', position 7: the window part rejects 7"), "{line}");
    assert!(line.contains("a place for such records (letters_to)"), "{line}");
}

/// `9999-12-31` stands for "never" in many databases. Such a row has a time, but no window that
/// ends.
#[tokio::test]
async fn a_row_whose_window_would_end_after_the_last_year_is_rejected_alone() {
    let last_us = *TIMES_US.end();
    for kind in [
        WindowKind::Tumble { size_us: 20, offset_us: 3 },
        WindowKind::Hop { slide_us: 10, size_us: 25, offset_us: 0 },
        WindowKind::Session { gap_us: 6 },
    ] {
        let exact = Case::new(Some(kind), 1, 50, 8);
        let mut case = exact.clone();
        let never = Row { id: 1000, key: 0, time_us: last_us, is_poison: false };
        case.partitions[0].insert(20, never);
        let (world, _) = undisturbed(&case, 8).await;
        assert_eq!(world.results(), exact.expected(), "none is late by it: {kind:?}");
        let rejected = rejected(&world);
        assert_eq!(rejected.len(), 1);
        let told = format!("p/0 20 {last_us} id 1000: the event time 9999-12-31T23:59:59.999999Z");
        assert!(rejected[0].starts_with(&told), "{rejected:?}");
        assert!(kind.check_row(last_us - 100).is_ok());
    }
}

#[tokio::test]
async fn rows_that_the_sink_can_not_write_are_dead_letters() {
    for seed in 1..=8 {
        let mut case = Case::new(None, 2, 50, seed);
        case.sink_refuses = vec![0, 23, 24, 49];
        let (world, _) = undisturbed(&case, seed).await;
        let mut results = world.results();
        results.sort();
        let refused: Vec<_> = case.sink_refuses.iter().map(i64::to_string).collect();
        let expected = case.expected().into_iter().filter(|line| !refused.contains(line));
        assert_eq!(results, expected.collect::<Vec<_>>(), "seed {seed}");
        let rejected = rejected(&world);
        assert_eq!(rejected.len(), refused.len(), "{rejected:?}");
        assert!(rejected[1].starts_with("a row of the result -1 0"), "{rejected:?}");
    }
    let mut case = Case::new(None, 1, 50, 1);
    case.has_dead_letters = false;
    case.sink_refuses = vec![7];
    let world = World::new(case);
    let (life, signal) = Life::new(&world, 1, []);
    let Fate::Ended(Err(Error::Data(line))) = life.live(signal).await else { panic!("it stops") };
    assert!(
        line.starts_with("a row of the result: the sink can't write 7; give the sink"),
        "{line}"
    );
}

/// What an attempt counted and did not commit comes again, and is counted once.
#[tokio::test]
async fn attempts_that_fail_add_nothing_to_the_counts() {
    let mut random = Random::new(17);
    for kind in [None, KINDS[1]] {
        let mut case = Case::new(kind, 2, 60, 5);
        case.partitions[0][3].is_poison = true;
        let (_, log) = undisturbed(&case, 5).await;
        for _ in 0..20 {
            let mut fail =
                || (10 + random.below(log.len() as u64), Trouble::Fail(passing_trouble()));
            let world = World::new(case.clone());
            let (life, signal) = Life::new(&world, 5, [fail(), fail(), fail()]);
            let Fate::Ended(Ok(summary)) = life.live(signal).await else { panic!("it ends") };
            let status = summary.status;
            assert_eq!((status.rows_in, status.rows_rejected), (60, 1), "{kind:?}");
            assert_eq!(status.rows_out as usize, world.results().len(), "{kind:?}");
        }
    }
}
