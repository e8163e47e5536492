//! A failure at each operation in turn: the process dies, or the operation fails and may be tried
//! again, or its outcome is unknown.

use super::flows::assert_exact;
use super::oracle::{Case, KINDS};
use super::sim_source::passing_trouble;
use super::world::{Fate, Life, Random, Trouble, World, undisturbed};
use crate::{End, Error};

/// Lives until the pipeline is complete. `troubles` are those of the first lives.
async fn live_on(world: &std::sync::Arc<World>, troubles: Vec<Vec<(u64, Trouble)>>, told: &str) {
    let lives = troubles.len() as u64;
    let mut troubles = troubles.into_iter();
    for seed in 1..=lives + 2 {
        let (life, signal) = Life::new(world, seed, troubles.next().unwrap_or_default());
        match life.live(signal).await {
            Fate::Died => {}
            Fate::Ended(Ok(summary)) => {
                assert!(matches!(summary.end, End::Complete | End::AlreadyComplete), "{told}");
                return;
            }
            Fate::Ended(Err(error)) => panic!("{told}: {error}"),
        }
    }
    panic!("{told}: it never ended");
}

fn cases(rows: usize) -> impl Iterator<Item = Case> {
    let kinds = KINDS.into_iter().zip([(1, 1), (2, 1), (4, 1), (3, 2)]);
    kinds.map(move |(kind, (partitions, sources))| Case {
        sources,
        ..Case::new(kind, partitions, rows, 11)
    })
}

#[tokio::test]
async fn a_crash_at_any_operation_changes_nothing() {
    for case in cases(40) {
        let (_, log) = undisturbed(&case, 1).await;
        for at in 1..=log.len() as u64 {
            let world = World::new(case.clone());
            let told = format!("crash at operation {at}");
            live_on(&world, vec![vec![(at, Trouble::Crash)]], &told).await;
            assert_exact(&world, &told);
        }
    }
}

#[tokio::test]
async fn a_crash_after_a_crash_changes_nothing() {
    let mut random = Random::new(23);
    for case in cases(40) {
        let (_, log) = undisturbed(&case, 1).await;
        for _ in 0..40 {
            let mut crash = || vec![(1 + random.below(log.len() as u64), Trouble::Crash)];
            let crashes = vec![crash(), crash(), crash(), crash()];
            let told = format!("{crashes:?}");
            let world = World::new(case.clone());
            live_on(&world, crashes, &told).await;
            assert_exact(&world, &told);
        }
    }
}

/// The same with tasks that really run at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_crash_among_threads_changes_nothing() {
    let mut random = Random::new(5);
    for case in cases(40) {
        let (_, log) = undisturbed(&case, 1).await;
        for _ in 0..40 {
            let mut crash = || vec![(1 + random.below(log.len() as u64), Trouble::Crash)];
            let crashes = vec![crash(), crash()];
            let told = format!("{crashes:?}");
            let world = World::new(case.clone());
            live_on(&world, crashes, &told).await;
            assert_exact(&world, &told);
        }
    }
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again() {
    for case in cases(40) {
        let (_, log) = undisturbed(&case, 1).await;
        for at in 1..=log.len() as u64 {
            for error in [passing_trouble(), Error::Fenced("another instance took over".into())] {
                let world = World::new(case.clone());
                let told = format!("{error} at operation {at}");
                live_on(&world, vec![vec![(at, Trouble::Fail(error))]], &told).await;
                assert_exact(&world, &told);
            }
        }
    }
}

/// Two instances that nothing keeps apart would else take over from each other for ever.
#[tokio::test]
async fn an_instance_that_is_replaced_again_and_again_ends() {
    let replaced = || Trouble::Fail(Error::Replaced("there is a newer one".into()));
    for case in cases(40) {
        let world = World::new(case.clone());
        let (life, signal) = Life::new(&world, 3, [(8, replaced())]);
        let Fate::Ended(Ok(_)) = life.live(signal).await else { panic!("once is a failover") };
        let world = World::new(case);
        let (life, signal) = Life::new(&world, 3, [(8, replaced()), (16, replaced())]);
        let Fate::Ended(Err(Error::External(line))) = life.live(signal).await else {
            panic!("twice is another one that goes on")
        };
        assert!(line.contains("taken over by another instance 2 times"), "{line}");
        assert!(line.contains("there is a newer one"), "{line}");
    }
}

#[tokio::test]
async fn what_will_not_pass_ends_the_pipeline_with_its_own_words() {
    for case in cases(20) {
        let (_, log) = undisturbed(&case, 1).await;
        let error = Error::External("the disk is gone".into());
        for at in 1..=log.len() as u64 {
            let world = World::new(case.clone());
            let (life, signal) = Life::new(&world, 1, [(at, Trouble::Fail(error.clone()))]);
            match life.live(signal).await {
                Fate::Ended(Err(told)) => assert_eq!(told, error, "operation {at}"),
                // Old state that stays is no reason to stop.
                Fate::Ended(Ok(_)) => {
                    let log = life.log();
                    let name = log.get(at as usize - 1).unwrap_or(&"not reached");
                    let harmless = [
                        "store.list",
                        "store.delete",
                        "store.get",
                        "store.note",
                        "store.note.done",
                        "not reached",
                    ];
                    assert!(harmless.contains(name), "{name}");
                }
                Fate::Died => panic!("nobody crashed it"),
            }
            live_on(&world, Vec::new(), "after it").await;
            assert_exact(&world, &format!("operation {at}"));
        }
    }
}

#[tokio::test]
async fn failures_in_a_row_are_counted_and_end_it() {
    let case = Case::new(None, 1, 30, 4);
    let world = World::new(case);
    let troubles = (1..=100).map(|at| (at, Trouble::Fail(passing_trouble())));
    let (life, signal) = Life::new(&world, 4, troubles);
    match life.live(signal).await {
        Fate::Ended(Err(error)) => assert_eq!(error, passing_trouble()),
        fate => panic!("{fate:?}"),
    }
    let starts = life.log().iter().filter(|name| **name == "source.assigned").count();
    assert_eq!(starts, 4, "one start and as many more as the option retries says");
}
