//! When batches leave, what is in them, and that nothing is lost or turned round.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;

const LINGER: Duration = Duration::from_millis(5);

fn batcher(rows_max: usize, bytes_max: usize, sources: usize) -> Batcher {
    Batcher::new(Limits { rows_max, bytes_max, linger: LINGER }, sources)
}

/// Rows `from..from + rows` of partition `0`.
fn piece(from: i64, rows: usize, bytes: usize, rejected: usize) -> Piece {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let column = Arc::new(Int64Array::from_iter_values(from..from + rows as i64));
    let record = |n: usize| Rejected {
        partition: "0".into(),
        position: from + n as i64,
        timestamp_us: None,
        key: None,
        payload: None,
        reason: "bad".into(),
    };
    Piece {
        partition: "0".into(),
        rows: RecordBatch::try_new(schema, vec![column]).expect("one column"),
        rejected: (0..rejected).map(record).collect(),
        marks: Vec::new(),
        bytes,
    }
}

fn numbers(batch: &MicroBatch) -> Vec<i64> {
    let columns = batch.rows().map(|rows| rows.column(0).as_primitive::<Int64Type>().clone());
    columns.flat_map(|column| column.values().to_vec()).collect()
}

#[test]
fn a_trickle_leaves_when_its_oldest_row_has_waited_for_the_linger() {
    let began = Instant::now();
    let mut batcher = batcher(100, 1 << 20, 1);
    assert_eq!(batcher.deadline(), None);
    batcher.push(0, piece(0, 1, 10, 0), began);
    batcher.push(0, piece(1, 1, 10, 0), began + LINGER / 2);
    assert_eq!(batcher.deadline(), Some(began + LINGER), "the oldest row decides");
    assert_eq!(batcher.due(began + LINGER - Duration::from_nanos(1)), None);
    assert_eq!(batcher.due(began + LINGER), Some(0));
    assert_eq!(numbers(&batcher.take(0)), [0, 1]);
    assert_eq!((batcher.deadline(), batcher.due(began + LINGER * 9)), (None, None));
}

#[test]
fn a_full_batch_leaves_at_once_by_rows_or_by_bytes() {
    let now = Instant::now();
    for (rows, bytes) in [(10, 2), (2, 100)] {
        let mut batcher = batcher(10, 100, 2);
        batcher.push(1, piece(0, rows - 1, bytes - 1, 0), now);
        assert!(!batcher.is_full() && batcher.due(now).is_none());
        batcher.push(1, piece(0, 1, 1, 0), now);
        assert!(batcher.is_full());
        assert_eq!(batcher.due(now), Some(1));
    }
}

#[test]
fn a_batch_grows_while_nobody_takes_it_and_the_rest_keeps_its_age() {
    let began = Instant::now();
    let mut batcher = batcher(4, 1 << 20, 1);
    batcher.push(0, piece(0, 3, 3, 0), began);
    batcher.push(0, piece(3, 3, 3, 1), began + LINGER);
    let first = batcher.take(0);
    assert_eq!(numbers(&first), [0, 1, 2, 3]);
    assert!(first.pieces.iter().all(|piece| piece.rejected.is_empty()), "they follow their rows");
    assert_eq!(batcher.deadline(), Some(began + LINGER * 2));
    let mut second = batcher.take(0);
    assert_eq!(numbers(&second), [4, 5]);
    assert_eq!(second.take_rejected().len(), 1);
}

#[test]
fn what_has_no_rows_leaves_only_with_rejected_records() {
    let now = Instant::now();
    let mut batcher = batcher(4, 100, 1);
    batcher.push(0, piece(0, 0, 0, 0), now);
    assert_eq!(batcher.deadline(), None);
    batcher.push(0, piece(0, 0, 50, 2), now);
    assert_eq!(batcher.due(now + LINGER), Some(0));
    assert_eq!(batcher.take(0).take_rejected().len(), 2);
    assert!(batcher.oldest().is_none());
}

#[test]
fn an_oversized_row_leaves_alone() {
    let now = Instant::now();
    let mut batcher = batcher(10, 100, 1);
    batcher.push(0, piece(0, 3, 3000, 0), now);
    for n in 0..3 {
        assert_eq!(numbers(&batcher.take(0)), [n]);
    }
    assert!(!batcher.is_full());
}

/// Random pieces over two sources: every row leaves once, in its order, in batches within the
/// limits.
#[test]
fn rows_leave_once_in_their_order_and_within_limits() {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut roll = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let now = Instant::now();
    let mut batcher = batcher(16, 300, 2);
    let (mut came, mut left, mut refused) = ([0_i64; 2], [0_i64; 2], [0_usize; 2]);
    for round in 0..2000 {
        let source = roll(2) as usize;
        if roll(2) == 0 {
            let rows = roll(40) as usize;
            let rejected = roll(3) as usize;
            refused[source] += rejected;
            batcher.push(source, piece(came[source], rows, rows * 7, rejected), now);
            came[source] += rows as i64;
        }
        let drain = round == 1999;
        while let Some(source) = if drain { batcher.oldest() } else { batcher.due(now) } {
            let mut batch = batcher.take(source);
            assert!(batch.row_count <= 16 && batch.bytes <= 300, "{batch:?}");
            for number in numbers(&batch) {
                assert_eq!(number, left[source]);
                left[source] += 1;
            }
            refused[source] -= batch.take_rejected().len();
        }
    }
    assert_eq!((came, refused), (left, [0, 0]));
    assert!(batcher.sources.iter().all(|pending| pending.rows == 0 && pending.bytes == 0));
}
