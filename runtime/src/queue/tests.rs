//! Bounds, order and endings of the queue.

use std::collections::VecDeque;

use futures::FutureExt;

use super::*;

fn queue<T>(rows_max: usize, bytes_max: usize) -> (Sender<T>, Receiver<T>) {
    bounded(Bounds { rows_max, bytes_max }, EdgeMeter::new("test", "test"))
}

fn weight(rows: usize, bytes: usize) -> Weight {
    Weight { rows, bytes }
}

#[tokio::test]
async fn a_full_queue_waits_by_rows_and_by_bytes() {
    for (first, second) in [(weight(8, 1), weight(3, 1)), (weight(1, 90), weight(1, 20))] {
        let (sender, mut receiver) = queue(10, 100);
        sender.send(1, first).await.expect("open");
        assert!(sender.send(2, second).now_or_never().is_none(), "it would be over the bound");
        assert_eq!(receiver.recv().await, Some(1));
        sender.send(2, second).now_or_never().expect("there is room").expect("open");
        assert_eq!(receiver.recv().await, Some(2));
    }
}

#[tokio::test]
async fn an_oversized_item_passes_alone() {
    let (sender, mut receiver) = queue(10, 100);
    sender.send(1, weight(1, 1)).await.expect("open");
    assert!(sender.send(2, weight(1, 1000)).now_or_never().is_none());
    assert_eq!(receiver.recv().await, Some(1));
    sender.send(2, weight(1, 1000)).await.expect("open");
    assert!(sender.send(3, weight(1, 1)).now_or_never().is_none(), "nothing joins it");
    assert_eq!(receiver.recv().await, Some(2));
}

#[tokio::test]
async fn items_without_weight_are_never_refused_and_keep_their_place() {
    let (sender, mut receiver) = queue(1, 1);
    sender.send("rows", weight(5, 5)).await.expect("open");
    sender.send("barrier", weight(0, 0)).now_or_never().expect("no wait").expect("open");
    assert_eq!(receiver.recv().await, Some("rows"));
    assert_eq!(receiver.recv().await, Some("barrier"));
}

#[tokio::test]
async fn it_ends_after_its_last_item_and_hands_back_without_a_receiver() {
    let (sender, mut receiver) = queue(10, 10);
    let other = sender.clone();
    sender.send(1, weight(1, 1)).await.expect("open");
    drop(sender);
    other.send(2, weight(1, 1)).await.expect("open");
    drop(other);
    assert_eq!(receiver.recv().await, Some(1));
    assert_eq!(receiver.recv().await, Some(2));
    assert_eq!(receiver.recv().await, None);

    let (sender, receiver) = queue(1, 1);
    sender.send(1, weight(1, 1)).await.expect("open");
    let waiting = tokio::spawn(async move { sender.send(2, weight(1, 1)).await });
    tokio::task::yield_now().await;
    drop(receiver);
    assert_eq!(waiting.await.expect("no panic"), Err(Closed(2)));
}

#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    let (sender, mut receiver) = queue(10, 10);
    assert!(receiver.recv().now_or_never().is_none());
    sender.send(1, weight(1, 1)).await.expect("open");
    assert_eq!(receiver.recv().now_or_never(), Some(Some(1)));
}

/// Several senders with random weights: all items come, those of one sender in their order, and the
/// queue is never over its bounds but for one oversized item.
#[tokio::test]
async fn many_senders_and_random_weights_keep_the_bounds() {
    const SENDERS: usize = 4;
    const ITEMS: usize = 500;
    let (sender, mut receiver) = queue(20, 200);
    let held = Arc::clone(&sender.0);
    for number in 0..SENDERS {
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(number as u64 + 1);
            for item in 0..ITEMS {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let weight = weight((random % 25) as usize, (random % 170) as usize);
                sender.send((number, item), weight).await.expect("open");
                if random.is_multiple_of(3) {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    drop(sender);
    let mut next: [VecDeque<usize>; SENDERS] = std::array::from_fn(|_| (0..ITEMS).collect());
    loop {
        {
            let state = held.lock();
            let weighty = state.items.iter().filter(|(_, w)| *w != Weight::default()).count();
            let fits = state.held.rows <= 20 && state.held.bytes <= 200;
            assert!(fits || weighty == 1, "{:?} in {weighty} items", state.held);
        }
        let Some((sender, item)) = receiver.recv().await else { break };
        assert_eq!(next[sender].pop_front(), Some(item));
    }
    assert!(next.iter().all(VecDeque::is_empty));
    assert_eq!(held.lock().held, Weight::default());
}
