//! Hidden columns, times of other units, and rows whose time can't be.

use arrow::array::{StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimeUnit};

use super::*;
use crate::window::TIMES_US;

fn schema(time: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("at", time, true),
    ]))
}

fn batch(schema: &SchemaRef, times: ArrayRef) -> SourceBatch {
    let count = times.len();
    let text = StringArray::from_iter_values((0..count).map(|row| format!("row {row}")));
    SourceBatch {
        partition: "messages/3".into(),
        rows: RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(text), times]).expect("rows"),
        sequences: (100..100 + count as i64).collect(),
        rejected: Vec::new(),
        next: 100 + count as i64,
        token: None,
        marks: Vec::new(),
        bytes: 10 * count,
    }
}

fn column<T: arrow::datatypes::ArrowPrimitiveType>(piece: &Piece, name: &str) -> Vec<T::Native> {
    let column = piece.rows.column_by_name(name).expect("a column");
    column.as_primitive::<T>().values().to_vec()
}

#[test]
fn hidden_columns_follow_those_of_the_source() {
    let schema = schema(DataType::Timestamp(TimeUnit::Millisecond, None));
    let intake = Intake::new("s", &schema, Some(1)).expect("an intake");
    let times = Arc::new(TimestampMillisecondArray::from(vec![5, -7]));
    let piece = intake.accept(batch(&schema, times), 42).expect("rows");
    assert_eq!(piece.rows.schema(), with_hidden_columns(&schema));
    assert_eq!(column::<TimestampMicrosecondType>(&piece, HIDDEN_COLUMNS[0]), [5000, -7000]);
    assert_eq!(column::<Int64Type>(&piece, HIDDEN_COLUMNS[1]), [100, 101]);
    assert_eq!(column::<Int32Type>(&piece, HIDDEN_COLUMNS[2]), [42, 42]);
    assert!(piece.rejected.is_empty());
}

#[test]
fn without_an_event_time_the_time_is_zero() {
    let schema = schema(TIME_TYPE);
    let intake = Intake::new("s", &schema, None).expect("an intake");
    let times = Arc::new(TimestampMicrosecondArray::from(vec![None, Some(i64::MAX)]));
    let piece = intake.accept(batch(&schema, times), 0).expect("rows");
    assert_eq!(column::<TimestampMicrosecondType>(&piece, HIDDEN_COLUMNS[0]), [0, 0]);
    assert!(piece.rejected.is_empty());
}

#[test]
fn rows_whose_time_cannot_be_are_rejected_and_the_others_stay() {
    let schema = schema(TIME_TYPE);
    let intake = Intake::new("s", &schema, Some(1)).expect("an intake");
    let last = *TIMES_US.end();
    let times = vec![None, Some(1), Some(last + 1), Some(last), Some(i64::MIN)];
    let piece = intake.accept(batch(&schema, Arc::new(TimestampMicrosecondArray::from(times))), 0);
    let piece = piece.expect("rows");
    assert_eq!(column::<Int64Type>(&piece, HIDDEN_COLUMNS[1]), [101, 103]);
    let positions: Vec<_> = piece.rejected.iter().map(|record| record.position).collect();
    assert_eq!(positions, [100, 102, 104]);
    let first = &piece.rejected[0];
    assert_eq!(first.reason, "it has no event time");
    assert_eq!(first.payload.as_deref(), Some(&br#"{"text":"row 0","at":null}"#[..]));
    assert_eq!(piece.rejected[1].timestamp_us, Some(last + 1));
}

#[test]
fn what_a_source_may_not_be_is_told() {
    let plain = schema(TIME_TYPE);
    assert!(Intake::new("s", &plain, Some(2)).is_err(), "no such column");
    let taken = with_hidden_columns(&plain);
    let Err(Error::Option(line)) = Intake::new("s", &taken, None) else { panic!("reserved") };
    assert!(line.contains("'__sembla_time'"), "{line}");
    let text = Intake::new("s", &schema(TIME_TYPE), Some(0)).expect("known when rows come");
    let times = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    let mut short = batch(&plain, times);
    short.sequences.clear();
    let told = text.accept(short, 0).expect_err("no sequences").to_string();
    assert!(told.contains("1 rows with 0 sequences"), "{told}");
}
