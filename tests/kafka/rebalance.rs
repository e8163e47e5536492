//! Instances that join and leave: partitions move with their progress, and no row is lost or
//! doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sembla_runtime::{Result, SourceEvent};
use sembla_testing::{Broker, Record};

use crate::support::{Copier, numbered, results, sink, source};

fn copier(broker: &Broker, input: &str, output: &str, more: &[(&str, &str)]) -> Copier {
    let source = source(broker, input, input, more);
    let sink = sink(broker, output, &source, &[]);
    Copier::new(input, source, sink)
}

/// Copies until told to stop; commits every few batches, when there are no more, and before
/// partitions are given back.
async fn copy_until(mut copier: Copier, stop: Arc<AtomicBool>) -> Result<usize> {
    let mut attempts = 0;
    while !stop.load(Ordering::Relaxed) {
        attempts += 1;
        match attempt(&mut copier, &stop).await {
            Ok(()) => {}
            Err(error) if error.is_fenced() || error.is_transient() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(attempts)
}

async fn attempt(copier: &mut Copier, stop: &AtomicBool) -> Result<()> {
    copier.begin().await?;
    let mut batches = 0;
    while !stop.load(Ordering::Relaxed) {
        let wait = tokio::time::timeout(Duration::from_millis(50), copier.event());
        let Ok(event) = wait.await else {
            copier.commit().await?;
            continue;
        };
        match event? {
            Some(SourceEvent::Batch(batch)) => {
                copier.write(&batch).await?;
                batches += 1;
                if batches % 3 == 0 {
                    copier.commit().await?;
                }
            }
            Some(SourceEvent::Reassign(answer)) => {
                copier.commit().await?;
                // Who asked may be gone.
                let _ = answer.send(());
                return Ok(());
            }
            Some(SourceEvent::End(_)) | None => {}
        }
    }
    copier.commit().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_join_and_leave_copy_each_row_once() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 4), broker.topic("out", 2));
    let sent = numbered(0..6_000);
    let stops: Vec<_> = (0..3).map(|_| Arc::new(AtomicBool::new(false))).collect();
    let start = |instance: usize| {
        let copier = copier(broker, &input, &output, &[]);
        tokio::spawn(copy_until(copier, Arc::clone(&stops[instance])))
    };
    let mut tasks = vec![start(0)];
    for (turn, texts) in sent.chunks(1_000).enumerate() {
        let records: Vec<_> = texts
            .iter()
            .zip((0..4).cycle())
            .map(|(text, partition)| Record::new(text).partition(partition))
            .collect();
        let topic = input.clone();
        let write = move || Broker::shared().produce(&topic, &records);
        tokio::task::spawn_blocking(write).await.expect("written");
        match turn {
            1 => tasks.push(start(1)),
            2 => tasks.push(start(2)),
            3 => stops[0].store(true, Ordering::Relaxed),
            4 => stops[2].store(true, Ordering::Relaxed),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    // The instance that is left has all partitions and copies the rest.
    for _ in 0..60 {
        if broker.read_committed(&output).len() >= sent.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stops[1].store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await.expect("ran").expect("copied") >= 1);
    }
    assert_eq!(results(broker, &output), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_share_the_partitions() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 4), broker.topic("out", 1));
    let mut first = copier(broker, &input, &output, &[]);
    first.begin().await.expect("begun");
    assert!(first.assignment.is_whole());
    let mut second = copier(broker, &input, &output, &[]);
    let (of_first, of_second) = tokio::join!(
        async {
            loop {
                if let Some(SourceEvent::Reassign(answer)) = first.event().await.expect("event") {
                    answer.send(()).expect("asked for");
                    break;
                }
            }
            first.begin().await.expect("begun");
            first.assignment.clone()
        },
        async {
            second.begin().await.expect("begun");
            second.assignment.clone()
        }
    );
    assert_eq!((of_first.partitions.len(), of_second.partitions.len()), (2, 2));
    assert!(!of_first.is_whole() && !of_second.is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instance_that_does_not_answer_in_time_is_fenced() {
    let broker = Broker::shared();
    let (input, output) = (broker.topic("in", 1), broker.topic("out", 1));
    broker.produce(&input, &[Record::new("m000000")]);
    let hurry = [("rebalance_timeout", "2 s")];
    let mut zombie = copier(broker, &input, &output, &hurry);
    zombie.begin().await.expect("begun");
    let batch = loop {
        match zombie.event().await.expect("event").expect("not the end") {
            SourceEvent::Batch(batch) if batch.rows.num_rows() > 0 => break batch,
            _ => {}
        }
    };
    zombie.write(&batch).await.expect("written");
    // Another instance joins and waits; the zombie hears nothing of it, until the group goes on
    // without it.
    let mut next = copier(broker, &input, &output, &hurry);
    let joining = tokio::spawn(async move {
        // One partition for two instances: this one has it when the other leaves.
        next.begin().await.expect("begun");
        next
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let error = zombie.commit().await.expect_err("fenced");
    assert!(error.is_fenced(), "{error:?}");
    drop(zombie);
    let mut next = joining.await.expect("joined");
    loop {
        match next.event().await.expect("event") {
            Some(SourceEvent::Batch(batch)) => {
                next.write(&batch).await.expect("written");
                next.commit().await.expect("committed");
                if batch.rows.num_rows() > 0 {
                    break;
                }
            }
            // The zombie came back to the group before it was dropped.
            Some(SourceEvent::Reassign(answer)) => {
                drop(answer);
                next.begin().await.expect("begun again");
            }
            _ => {}
        }
    }
    assert_eq!(results(broker, &output), ["m000000"]);
}
