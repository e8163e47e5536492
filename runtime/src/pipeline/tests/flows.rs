//! What comes out when nothing fails, when rows can't be used, and when the sink is slow.

use std::sync::Arc;
use std::time::Duration;

use super::oracle::{Case, KINDS, Row, Slowness};
use super::sim_source::name;
use super::world::{Fate, Life, World, undisturbed};
use crate::window::WindowKind;
use crate::{End, Error, EventTime, Pipeline, Stop, Summary};

/// The committed results in a form that can be compared with `Case::expected`.
fn results(world: &World) -> Vec<String> {
    let mut results = world.results();
    if world.case.windows.is_none() {
        results.sort();
    }
    results
}

/// All rows are in one committed result each, as a batch query computes them, and nothing was late.
pub(super) fn assert_exact(world: &World, told: &str) {
    assert_eq!(results(world), world.case.expected(), "{} {told}", world.case.describe());
    let durable = world.durable();
    let mut rejected: Vec<_> = durable.committed.iter().flat_map(|c| c.rejected.clone()).collect();
    rejected.sort();
    assert_eq!(rejected, world.case.rejected(), "{} {told}", world.case.describe());
    assert_eq!(durable.committed.iter().map(|commit| commit.late).sum::<usize>(), 0, "{told}");
}

#[tokio::test]
async fn results_are_those_of_static_rows() {
    for kind in KINDS {
        for (partitions, sources) in [(1, 1), (2, 1), (4, 1), (4, 3)] {
            for seed in 1..=20 {
                let rows = [0, 1, 2, 60][seed as usize % 4];
                let mut case = Case::new(kind, partitions, rows, seed);
                case.sources = sources;
                let (world, _) = undisturbed(&case, seed).await;
                assert_exact(&world, &format!("seed {seed}"));
                let last = world.durable().committed.last().map(|commit| commit.progress.clone());
                assert!(last.is_some_and(|progress| progress.is_complete), "the end is committed");
            }
        }
    }
}

#[tokio::test]
async fn a_complete_pipeline_ends_at_once() {
    let (world, _) = undisturbed(&Case::new(KINDS[1], 2, 30, 7), 1).await;
    let commits = world.durable().committed.len();
    let (life, signal) = Life::new(&world, 2, []);
    match life.live(signal).await {
        Fate::Ended(Ok(summary)) => assert_eq!(summary.end, End::AlreadyComplete),
        fate => panic!("{fate:?}"),
    }
    assert_eq!(world.durable().committed.len(), commits);
    assert!(!life.log().contains(&"source.start"), "nothing is read");
}

/// Poison first, in the middle and last in a partition, alone and in company.
#[tokio::test]
async fn poison_is_rejected_with_its_origin_and_the_rest_goes_through() {
    for kind in KINDS {
        for seed in 1..=8 {
            let mut case = Case::new(kind, 2, 50, seed);
            let mut poison = vec![0, case.partitions[0].len() / 2, case.partitions[0].len() - 1];
            poison.extend(if seed % 2 == 0 { 4..9 } else { 0..0 });
            for offset in poison {
                case.partitions[0][offset].is_poison = true;
            }
            let (world, _) = undisturbed(&case, seed).await;
            assert_exact(&world, &format!("seed {seed}"));
        }
    }
}

#[tokio::test]
async fn poison_alone_is_rejected_too() {
    let mut case = Case::new(KINDS[1], 1, 20, 3);
    case.partitions[0].iter_mut().for_each(|row| row.is_poison = true);
    let (world, _) = undisturbed(&case, 3).await;
    assert_exact(&world, "all poison");
    assert_eq!(world.case.rejected().len(), 20);
}

#[tokio::test]
async fn without_dead_letters_nothing_is_committed_past_a_rejected_record() {
    for (seed, at) in [(1, 0), (2, 17), (3, 29)] {
        let mut case = Case::new(None, 1, 30, seed);
        case.has_dead_letters = false;
        case.partitions[0][at].is_poison = true;
        let (id, world) = (case.partitions[0][at].id, World::new(case));
        let (life, signal) = Life::new(&world, seed, []);
        let Fate::Ended(Err(error)) = life.live(signal).await else { panic!("it must stop") };
        assert!(matches!(error, Error::Data(_)), "{error:?}");
        let said = format!("partition 'p/0', position {at}: id {id} is poison; give the sink");
        assert!(error.to_string().starts_with(&said), "{error}");
        let durable = world.durable();
        let positions = durable.committed.iter().flat_map(|c| &c.progress.positions["source 0"]);
        assert!(positions.into_iter().all(|(_, position)| *position <= at as i64));
    }
}

#[tokio::test]
async fn windows_over_a_part_of_a_source_are_refused() {
    for (kind, is_refused) in [(KINDS[1], true), (None, false)] {
        let mut case = Case::new(kind, 2, 10, 1);
        case.is_whole = false;
        let world = World::new(case);
        let (life, signal) = Life::new(&world, 1, []);
        match life.live(signal).await {
            Fate::Ended(Err(Error::Option(line))) if is_refused => {
                assert!(line.contains("'source 0'") && line.contains("must see all"), "{line}");
            }
            Fate::Ended(Ok(_)) if !is_refused => {}
            fate => panic!("{fate:?}"),
        }
    }
}

#[tokio::test]
async fn windows_need_an_event_time() {
    let world = World::new(Case::new(KINDS[1], 1, 10, 1));
    let (life, signal) = Life::new(&world, 1, []);
    let fate =
        life.live_with(signal, |pipeline| pipeline.sources[0].event_time = EventTime::None).await;
    let Fate::Ended(Err(Error::Option(line))) = fate else { panic!("{fate:?}") };
    assert!(line.contains("WATERMARK FOR"), "{line}");
}

/// The bounds: three queues of 20 rows, what lingers, the batches in the row part and those that
/// tasks hold in their hands. A source that is always ready can't get further ahead of the sink.
#[tokio::test]
async fn a_slow_sink_holds_the_source_back() {
    let rows = 2000;
    let mut case = Case::new(None, 4, rows, 5);
    case.slowness = Slowness::Yields(60);
    let (world, _) = undisturbed(&case, 5).await;
    assert_exact(&world, "slow sink");
    let ahead = world.durable().rows_under_way_max;
    assert!(ahead > 3 * 20 - 7, "{ahead}: the queues were not full");
    assert!(ahead <= 3 * 20 + 2 * 7 + 3 * 7 + 3 * 7, "{ahead} rows were under way");
}

/// Only time in which ingest listens makes a partition idle, so nothing becomes late by a sink that
/// takes longer than the timeout.
#[tokio::test]
async fn a_slow_sink_makes_no_partition_idle() {
    let mut case = Case::new(KINDS[1], 2, 200, 6);
    case.slowness = Slowness::FirstWrite(Duration::from_millis(600));
    let world = World::new(case);
    let (life, signal) = Life::new(&world, 6, []);
    let fate = life.live_with(signal, |pipeline| {
        pipeline.options.set("idle_timeout", "200 ms").expect("an option");
    });
    assert!(matches!(fate.await, Fate::Ended(Ok(_))));
    assert_exact(&world, "slow first write");
}

/// A row that comes long after its window has closed goes to the side output, and nowhere else.
#[tokio::test]
async fn late_rows_are_counted_and_given_to_the_sink() {
    let mut case = Case::new(KINDS[1], 1, 80, 8);
    let late = Row { id: 1000, key: 0, time_us: 5, is_poison: false };
    let exact = case.clone();
    case.partitions[0].insert(60, late);
    let world = World::new(case);
    let (life, signal) = Life::new(&world, 8, []);
    let Fate::Ended(Ok(summary)) = life.live(signal).await else { panic!("it must end") };
    assert_eq!(summary.status.rows_late, 1);
    assert_eq!(world.results(), exact.expected());
    let durable = world.durable();
    assert_eq!(durable.committed.iter().map(|commit| commit.late).sum::<usize>(), 1);
}

/// Early panes show a window that is still open, and change nothing of what comes at its end.
#[tokio::test]
async fn early_results_come_before_the_end_and_change_nothing() {
    let mut case = Case::new(Some(WindowKind::Tumble { size_us: 1000, offset_us: 0 }), 2, 300, 2);
    case.is_bounded = false;
    let world = World::new(case.clone());
    let (life, signal) = Life::new(&world, 2, []);
    let early = |pipeline: &mut Pipeline| {
        pipeline.windows.as_mut().expect("windows").early_us = Some(1000);
    };
    let is_early = |line: &String| line.starts_with("early ");
    tokio::join!(
        async {
            while !world.results().iter().any(is_early) {
                tokio::task::yield_now().await;
            }
            life.stop(Stop::Drain);
        },
        async {
            let Fate::Ended(Ok(_)) = life.live_with(signal, early).await else { panic!("a stop") };
        }
    );
    case.is_bounded = true;
    let world = world.with_case(case);
    let (life, signal) = Life::new(&world, 3, []);
    let Fate::Ended(Ok(_)) = life.live_with(signal, early).await else { panic!("it must end") };
    let on_time: Vec<_> = world.results().into_iter().filter(|line| !is_early(line)).collect();
    assert_eq!(on_time, world.case.expected());
}

/// The windows that are closed when every partition has given its rows and none has ended.
fn closed_so_far(case: &Case) -> Vec<String> {
    let latest = |rows: &Vec<Row>| rows.iter().map(|row| row.time_us).max();
    let least = case.partitions.iter().filter_map(latest).min().unwrap_or_default();
    let end = |line: &String| {
        let end = line.split([',', ')']).nth(1).expect("an end");
        end.trim().parse::<i64>().expect("a number")
    };
    case.expected().into_iter().filter(|line| end(line) <= least - case.delay_us).collect()
}

/// Runs a source that doesn't end until that many results are committed, and then stops.
async fn live_until(
    world: &Arc<World>,
    results: usize,
    change: impl FnOnce(&mut Pipeline),
) -> Summary {
    let (life, signal) = Life::new(world, 9, []);
    let stop = async {
        while world.results().len() < results {
            tokio::task::yield_now().await;
        }
        life.stop(Stop::Drain);
    };
    match tokio::join!(life.live_with(signal, change), stop).0 {
        Fate::Ended(Ok(summary)) => summary,
        fate => panic!("{fate:?}"),
    }
}

/// A partition that gives nothing, of a source that doesn't end, holds windows until it is idle.
#[tokio::test]
async fn an_idle_partition_does_not_hold_windows() {
    let mut case = Case::new(KINDS[1], 1, 60, 9);
    case.partitions.push(Vec::new());
    case.is_bounded = false;
    let closed = closed_so_far(&case);
    assert!(closed.len() > 3, "the case closes windows");
    let world = World::new(case);
    let summary = live_until(&world, closed.len(), |pipeline| {
        pipeline.options.set("idle_timeout", "20 ms").expect("an option");
    });
    let summary = summary.await;
    assert_eq!(world.results(), closed);
    assert_eq!((summary.end, summary.status.rows_in), (End::Drained, 60));
    let positions = world.durable().committed.last().expect("a commit").progress.positions.clone();
    assert_eq!(positions["source 0"].get(&name(0)), Some(&60));
}

/// The watermark of a partition that says nothing after a start is the one it had before.
#[tokio::test]
async fn a_partition_that_stays_silent_keeps_its_watermark() {
    let mut whole = Case::new(KINDS[1], 2, 80, 4);
    whole.is_bounded = false;
    let mut half = whole.clone();
    let count = half.partitions[0].len();
    half.partitions[0].truncate(count / 2);
    let (before, after) = (closed_so_far(&half), closed_so_far(&whole));
    assert!(after.len() > before.len() + 1, "the second half closes windows");
    let world = World::new(half);
    live_until(&world, before.len(), |_| {}).await;
    let world = world.with_case(whole);
    live_until(&world, after.len(), |_| {}).await;
    assert_eq!(world.results(), after);
}

#[tokio::test]
async fn state_without_progress_is_no_first_start() {
    let case = Case::new(KINDS[1], 2, 60, 4);
    let world = World::new(case.clone());
    world.durable().files.insert("epoch-000000000007-0123.state".into(), "any".into());
    let (life, signal) = Life::new(&world, 5, []);
    let Fate::Ended(Err(Error::State(line))) = life.live(signal).await else {
        panic!("it begins anew")
    };
    assert!(line.contains("its progress is missing") && line.contains("--ignore-state"), "{line}");
    let (life, signal) = Life::new(&world, 6, []);
    let fate = life.live_with(signal, |pipeline| pipeline.ignore_state = true).await;
    assert!(matches!(fate, Fate::Ended(Ok(_))), "{fate:?}");
    assert_eq!(world.results(), case.expected());
}
