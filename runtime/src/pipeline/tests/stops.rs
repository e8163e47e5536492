//! Stops in the middle, and partitions that are reassigned in the middle.

use std::sync::atomic::Ordering;

use super::flows::assert_exact;
use super::oracle::{Case, KINDS};
use super::world::{Fate, Life, Trouble, World, undisturbed};
use crate::{End, Error, Stop};

fn cases() -> impl Iterator<Item = Case> {
    let kinds = KINDS.into_iter().zip([(3, 2), (1, 1), (2, 1), (4, 3)]);
    kinds.map(move |(kind, (partitions, sources))| Case {
        sources,
        ..Case::new(kind, partitions, 40, 31)
    })
}

/// Runs to the end without trouble.
async fn finish(world: &std::sync::Arc<World>, told: &str) {
    let (life, signal) = Life::new(world, 77, []);
    match life.live(signal).await {
        Fate::Ended(Ok(summary)) => {
            assert!(matches!(summary.end, End::Complete | End::AlreadyComplete), "{told}");
        }
        fate => panic!("{told}: {fate:?}"),
    }
}

#[tokio::test]
async fn a_stop_at_any_operation_loses_nothing_and_repeats_nothing() {
    for case in cases() {
        let (_, log) = undisturbed(&case, 1).await;
        for at in 1..=log.len() as u64 {
            for stop in [Stop::Drain, Stop::Now] {
                let told = format!("{stop:?} at operation {at}");
                let world = World::new(case.clone());
                let (life, signal) = Life::new(&world, 1, [(at, Trouble::Stop(stop))]);
                let Fate::Ended(Ok(summary)) = life.live(signal).await else { panic!("{told}") };
                assert_eq!(summary.stop_failure, None, "{told}");
                if stop == Stop::Drain && summary.end == End::Drained {
                    let given = world.durable().rows_given;
                    let progress = world.durable().committed.last().map(|c| c.progress.clone());
                    let positions = progress.map(|p| p.positions).unwrap_or_default();
                    let read = positions.values().flat_map(|at| at.values()).sum::<i64>();
                    assert_eq!(read as u64, given, "{told}: all that was read is committed");
                }
                finish(&world, &told).await;
                assert_exact(&world, &told);
            }
        }
    }
}

#[tokio::test]
async fn a_last_checkpoint_that_fails_leaves_the_one_before() {
    for case in cases() {
        let (_, log) = undisturbed(&case, 1).await;
        let middle = log.len() as u64 / 2;
        for after in 1..=60 {
            let failure = Error::External("the disk is full".into());
            let troubles = [
                (middle, Trouble::Stop(Stop::Drain)),
                (middle + after, Trouble::Fail(failure.clone())),
            ];
            let told = format!("failure {after} operations after the stop");
            let world = World::new(case.clone());
            let (life, signal) = Life::new(&world, 1, troubles);
            match life.live(signal).await {
                Fate::Ended(Ok(summary)) => match summary.stop_failure {
                    None => {}
                    Some(error) => {
                        assert_eq!((error, summary.end), (failure, End::Stopped), "{told}")
                    }
                },
                fate => panic!("{told}: {fate:?}"),
            }
            finish(&world, &told).await;
            assert_exact(&world, &told);
        }
    }
}

#[tokio::test]
async fn partitions_dealt_anew_at_any_operation_change_nothing() {
    for case in cases() {
        let (_, log) = undisturbed(&case, 1).await;
        for at in 1..=log.len() as u64 {
            let told = format!("dealt anew at operation {at}");
            let world = World::new(case.clone());
            let (life, signal) = Life::new(&world, 1, [(at, Trouble::Reassign)]);
            match life.live(signal).await {
                Fate::Ended(Ok(summary)) => {
                    assert_eq!(summary.end, End::Complete, "{told}");
                    assert_eq!(summary.status.restarts, 0, "{told}: it is no failure");
                }
                fate => panic!("{told}: {fate:?}"),
            }
            let log = life.log();
            if log.len() as u64 >= at && !life.is_reassign_asked.load(Ordering::SeqCst) {
                let starts = log.iter().filter(|name| **name == "source.start").count();
                assert_eq!(starts, 2 * case.sources, "{told}");
            }
            assert_exact(&world, &told);
        }
    }
}

#[tokio::test]
async fn state_that_is_ignored_begins_anew_once() {
    let case = Case::new(KINDS[1], 2, 40, 5);
    let (world, log) = undisturbed(&case, 1).await;
    world.durable().committed.iter_mut().for_each(|commit| commit.rows.clear());
    let epoch = world.durable().committed.last().expect("a commit").progress.epoch;
    let trouble = Trouble::Fail(Error::Transient("once".into()));
    let (life, signal) = Life::new(&world, 2, [(log.len() as u64 / 2, trouble)]);
    match life.live_with(signal, |pipeline| pipeline.ignore_state = true).await {
        Fate::Ended(Ok(summary)) => {
            assert_eq!((summary.end, summary.status.restarts), (End::Complete, 1));
            assert!(summary.status.epoch > epoch, "epochs go on");
        }
        fate => panic!("{fate:?}"),
    }
    assert_exact(&world, "begun anew");
}

#[tokio::test]
async fn progress_of_a_query_with_windows_is_refused_without() {
    let case = Case::new(KINDS[1], 1, 40, 5);
    let world = World::new(case);
    let (life, signal) = Life::new(&world, 1, [(20, Trouble::Stop(Stop::Drain))]);
    let Fate::Ended(Ok(_)) = life.live(signal).await else { panic!("a stop") };
    let (life, signal) = Life::new(&world, 2, []);
    let fate = life.live_with(signal, |pipeline| pipeline.windows = None).await;
    let Fate::Ended(Err(Error::State(line))) = fate else { panic!("{fate:?}") };
    assert!(line.contains("had windows, but this one has none"), "{line}");
}
