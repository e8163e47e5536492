//! Progress that can't be trusted is rejected by name, with windows and without.

use std::sync::Arc;

use super::oracle::{Case, KINDS};
use super::world::{Fate, Life, World};
use crate::{Error, Stop};

/// A world in which a pipeline that does not end has committed all of its rows.
async fn committed(mut case: Case, seed: u64) -> Arc<World> {
    case.is_bounded = false;
    let rows = case.partitions.iter().map(Vec::len).sum::<usize>() as i64;
    let world = World::new(case);
    let (life, signal) = Life::new(&world, seed, []);
    let is_read = || {
        let durable = world.durable();
        let last = durable.committed.last();
        let positions = last.and_then(|commit| commit.progress.positions.get("source 0").cloned());
        positions.is_some_and(|positions| positions.values().sum::<i64>() == rows)
    };
    let stop = async {
        while !is_read() {
            tokio::task::yield_now().await;
        }
        life.stop(Stop::Drain);
    };
    let (fate, ()) = tokio::join!(life.live(signal), stop);
    assert!(matches!(fate, Fate::Ended(Ok(_))), "{fate:?}");
    world
}

async fn refusal(world: &Arc<World>) -> String {
    let (life, signal) = Life::new(world, 5, []);
    match life.live(signal).await {
        Fate::Ended(Err(Error::State(line))) => line,
        fate => panic!("it was not refused: {fate:?}"),
    }
}

/// Runs the world's pipeline to the end of its rows with the state ignored.
async fn ignoring(world: &Arc<World>) -> Fate {
    let (life, signal) = Life::new(world, 6, []);
    life.live_with(signal, |pipeline| pipeline.ignore_state = true).await
}

#[tokio::test]
async fn lost_progress_is_no_first_start() {
    for kind in [None, KINDS[1]] {
        let case = Case::new(kind, 2, 60, 4);
        let world = committed(case.clone(), 4).await;
        world.durable().committed.clear();
        let line = refusal(&world.with_case(case.clone())).await;
        assert!(line.contains("pipeline 'sim' has committed progress in partition 'p/"), "{line}");
        assert!(line.contains("missing") && line.contains("--ignore-state"), "{line}");
    }
}

#[tokio::test]
async fn progress_that_is_lost_after_one_commit_is_missed_too() {
    for kind in [None, KINDS[1]] {
        let case = Case::new(kind, 1, 60, 4);
        let world = committed(case.clone(), 4).await;
        {
            let mut durable = world.durable();
            durable.committed.clear();
            // What a crash right after the first commit would have left.
            let is_first =
                |name: &str| name.contains("000000000001-") || name.starts_with("committed-");
            durable.files.retain(|name, _| is_first(name));
        }
        let world = world.with_case(case.clone());
        assert!(refusal(&world).await.contains("is missing"));
        let fate = ignoring(&world).await;
        assert!(matches!(fate, Fate::Ended(Ok(_))), "{fate:?}");
        let mut results = world.results();
        if kind.is_none() {
            results.sort();
        }
        assert_eq!(results, case.expected());
    }
}

/// The offsets of one partition can expire alone; those of a partition that is new have never been.
#[tokio::test]
async fn progress_is_missed_by_partition() {
    let mut case = Case::new(None, 2, 60, 4);
    let world = committed(case.clone(), 4).await;
    case.partitions.push(case.partitions[0].clone());
    let world = world.with_case(case.clone());
    let (life, signal) = Life::new(&world, 5, []);
    let fate = life.live(signal).await;
    assert!(matches!(fate, Fate::Ended(Ok(_))), "a new partition is read: {fate:?}");
    if let Some(last) = world.durable().committed.last_mut() {
        last.progress.is_complete = false;
        let positions = last.progress.positions.get_mut("source 0").expect("positions");
        positions.remove("p/1");
    }
    let line = refusal(&world).await;
    assert!(line.contains("committed progress in partition 'p/1'"), "{line}");
}

#[tokio::test]
async fn a_partition_that_another_has_replaced_is_refused() {
    for kind in [None, KINDS[1]] {
        let mut case = Case::new(kind, 2, 60, 4);
        case.identity = Some("the first");
        let world = committed(case.clone(), 4).await;
        case.identity = Some("the second");
        let line = refusal(&world.with_case(case.clone())).await;
        assert!(
            line.contains("of source 'source 0' is not the one that was read up to position"),
            "{line}"
        );
        assert!(
            line.contains("deleted and created again") && line.contains("--ignore-state"),
            "{line}"
        );
    }
}

/// With a topic its committed offsets go. Nothing of the new one has been read, so nothing is lost.
#[tokio::test]
async fn a_partition_that_is_new_under_an_old_name_is_read_from_its_beginning() {
    let mut case = Case::new(None, 2, 60, 4);
    case.identity = Some("the first");
    let world = committed(case.clone(), 4).await;
    world.durable().committed.clear();
    case.identity = Some("the second");
    let world = world.with_case(case.clone());
    let (life, signal) = Life::new(&world, 5, []);
    let fate = life.live(signal).await;
    assert!(matches!(fate, Fate::Ended(Ok(_))), "{fate:?}");
    let mut results = world.results();
    results.sort();
    assert_eq!(results, case.expected());
}

#[tokio::test]
async fn progress_that_is_in_doubt_is_refused_unless_it_is_ignored() {
    let case = Case::new(None, 1, 60, 4);
    let world = committed(case.clone(), 4).await;
    if let Some(last) = world.durable().committed.last_mut() {
        last.progress.doubt = Some("another consumer has committed".into());
    }
    let rows = world.results().len();
    let world = world.with_case(case.clone());
    assert_eq!(refusal(&world).await, "another consumer has committed");
    let fate = ignoring(&world).await;
    assert!(matches!(fate, Fate::Ended(Ok(_))), "{fate:?}");
    assert_eq!(world.results().len(), 2 * rows, "all is read again, as was asked for");
}

#[tokio::test]
async fn a_torn_note_is_refused_by_name() {
    let case = Case::new(None, 1, 60, 4);
    let world = committed(case.clone(), 4).await;
    let world = world.with_case(case);
    {
        let mut durable = world.durable();
        let note = durable.files.iter_mut().find(|(name, _)| name.starts_with("committed-"));
        let (_, bytes) = note.expect("a note");
        let mut torn = bytes.to_vec();
        torn[20] ^= 1;
        *bytes = torn.into();
    }
    let line = refusal(&world).await;
    assert!(line.contains("the note 'committed-") && line.contains("is damaged"), "{line}");
}

#[tokio::test]
async fn what_never_starts_is_given_up_by_name() {
    use super::sim_source::passing_trouble;
    use super::world::Trouble;
    let world = World::new(Case::new(None, 1, 30, 4));
    let troubles = (1..=1000).map(|at| (at, Trouble::Fail(passing_trouble())));
    let (life, signal) = Life::new(&world, 4, troubles);
    let fate = life.live_with(signal, |pipeline| {
        pipeline.options.set("retries", "1000").expect("an option");
        pipeline.options.set("start_timeout", "0").expect("an option");
    });
    let Fate::Ended(Err(Error::External(line))) = fate.await else { panic!("it goes on") };
    assert!(line.starts_with("the network is away; it could not start within 0 s"), "{line}");
    assert!(line.contains("start_timeout"), "{line}");
}
