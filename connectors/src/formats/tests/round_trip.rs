//! Random rows out and back in, by every format.

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, FixedSizeListArray, Float32Array,
    Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Float32Type};

use super::*;

const PROTO: &str = "syntax = 'proto3'; import 'google/protobuf/timestamp.proto';
    message Row { optional int64 id = 1; optional string text = 2; optional bool flag = 3;
    optional double score = 4; google.protobuf.Timestamp ts = 5; repeated float vector = 6;
    optional int32 small = 7; optional bytes bytes = 8; optional int32 day = 9; }";

/// Rows of many types with NULLs in them.
fn rows(dice: &mut Dice, count: usize) -> RecordBatch {
    fn some<T>(dice: &mut Dice, make: impl Fn(&mut Dice) -> T) -> Option<T> {
        (dice.below(5) > 0).then(|| make(dice))
    }
    fn many<T>(dice: &mut Dice, n: usize, make: impl Fn(&mut Dice) -> T) -> Vec<Option<T>> {
        (0..n).map(|_| some(dice, &make)).collect()
    }
    let whole = |dice: &mut Dice| dice.below(1 << 31) as i64 - (1 << 30);
    let vectors = (0..count)
        .map(|_| Some((0..3).map(|_| Some(dice.below(1000) as f32 / 7.0)).collect::<Vec<_>>()));
    let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        vectors.collect::<Vec<_>>(),
        3,
    );
    let bytes = many(dice, count, |dice| dice.text().into_bytes());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(many(dice, count, |d| whole(d) << 20)))),
        ("text", Arc::new(StringArray::from(many(dice, count, Dice::text)))),
        ("flag", Arc::new(BooleanArray::from(many(dice, count, |d| d.below(2) == 0)))),
        ("score", Arc::new(Float64Array::from(many(dice, count, |d| whole(d) as f64 / 3.0)))),
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from(many(dice, count, |d| whole(d) * 999_983))),
        ),
        ("vector", Arc::new(vectors)),
        ("small", Arc::new(Int32Array::from(many(dice, count, |d| d.below(9) as i32)))),
        ("bytes", Arc::new(BinaryArray::from_iter(bytes))),
        ("day", Arc::new(Date32Array::from(many(dice, count, |d| d.below(30_000) as i32)))),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .expect("rows")
}

fn columns_of(schema: &Schema) -> Vec<Column> {
    let column = |field: &Arc<Field>| {
        Column::new(field.name(), field.data_type().clone(), field.is_nullable())
    };
    schema.fields().iter().map(column).collect()
}

async fn check(rows: &RecordBatch, given: &[(&str, &str)], read: &[(&str, &str)]) {
    let mut encoder =
        Encoder::new(&rows.schema(), &options(ENCODE_OPTIONS, given), "s").expect("an encoder");
    let payloads = encoder.encode(rows).await.expect("payloads");
    assert_eq!(payloads.len(), if encoder.is_row_wise() { rows.num_rows() } else { 1 });
    let mut decoder = decoder(&columns_of(&rows.schema()), read);
    let slices: Vec<&[u8]> = payloads.iter().map(AsRef::as_ref).collect();
    let decoded = decode(&mut decoder, &slices).await;
    assert_eq!(decoded.rejected, [], "{given:?}");
    assert_eq!(decoded.rows.num_rows(), rows.num_rows());
    for (found, expected) in decoded.rows.columns().iter().zip(rows.columns()) {
        assert_eq!(found, expected, "{given:?}");
    }
}

#[tokio::test]
async fn every_format() {
    let mut dice = Dice(3);
    for count in [1, 2, 100] {
        let rows = rows(&mut dice, count);
        for given in [&[("format", "json")][..], &[("format", "arrow")]] {
            check(&rows, given, given).await;
        }
        let given = [("format", "protobuf"), ("schema", PROTO)];
        check(&rows, &given, &given).await;
        let avro = [("format", "avro")];
        let mut encoder = super::super::avro::AvroWriter::new(
            &rows.schema(),
            &options(ENCODE_OPTIONS, &avro),
            String::new(),
        )
        .expect("a writer");
        encoder.write(&rows).await.expect("payloads");
        let schema = encoder.schema_json();
        check(&rows, &avro, &[("format", "avro"), ("schema", &schema)]).await;
    }
}

/// Messages in messages, lists, maps, names of enums and wrapped scalars.
#[tokio::test]
async fn nested_protobuf() {
    let proto = "syntax = 'proto3'; import 'google/protobuf/wrappers.proto';
        message Inner { int64 x = 1; repeated string tags = 2; }
        enum Color { NONE = 0; RED = 3; }
        message Row { map<string, int64> counts = 1; repeated Inner inners = 2; Inner inner = 3;
        optional Color color = 4; google.protobuf.StringValue note = 5; }";
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let tags = Field::new_list("tags", Field::new_list_field(DataType::Utf8, true), true);
    let inner = DataType::Struct(vec![Field::new("x", DataType::Int64, true), tags].into());
    let entries =
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)];
    let entries = Field::new("entries", DataType::Struct(entries.into()), false);
    let columns = columns_of(&Schema::new(vec![
        Field::new("counts", DataType::Map(Arc::new(entries), false), true),
        Field::new_list("inners", Field::new_list_field(inner.clone(), true), true),
        Field::new("inner", inner, true),
        text("color"),
        text("note"),
    ]));
    let payloads: [&[u8]; 3] = [
        br#"{"counts":{"a":1,"b":-2},"inners":[{"x":1,"tags":["t","u"]},{"x":2,"tags":[]}],
            "inner":{"x":0,"tags":["v"]},"color":"RED","note":""}"#,
        br#"{"counts":{},"inners":[]}"#,
        br#"{"counts":{"c":3},"inners":[],"color":"7","note":"n"}"#,
    ];
    let decoded = decode(&mut decoder(&columns, &[]), &payloads).await;
    assert_eq!(decoded.rejected, []);
    let given = [("format", "protobuf"), ("schema", proto), ("message", "Row")];
    check(&decoded.rows, &given, &given).await;
    let other: [&[u8]; 1] = [br#"{"counts":{},"inners":[],"color":"BLUE"}"#];
    let rows = decode(&mut decoder(&columns, &[]), &other).await.rows;
    let options = options(ENCODE_OPTIONS, &given);
    let mut encoder = Encoder::new(&rows.schema(), &options, "s").expect("an encoder");
    assert_eq!(
        encoder.encode(&rows).await.expect_err("an unknown color").to_string(),
        "column 'color': Color has no 'BLUE'; it has NONE, RED"
    );
}

#[test]
fn times_that_json_can_not_tell() {
    let first_and_last = [-62_167_219_200_000_000, 253_402_300_799_999_999];
    let rows = |times: &[i64]| {
        let times = Arc::new(TimestampMicrosecondArray::from(times.to_vec())) as ArrayRef;
        RecordBatch::try_from_iter([("ts", times)]).expect("rows")
    };
    assert_eq!(
        json_lines(&rows(&first_and_last)).expect("lines"),
        "{\"ts\":\"0000-01-01T00:00:00Z\"}\n{\"ts\":\"9999-12-31T23:59:59.999999Z\"}\n"
    );
    for time in [first_and_last[0] - 1, first_and_last[1] + 1, i64::MIN, i64::MAX] {
        let error = json_lines(&rows(&[0, time])).expect_err("no such year").to_string();
        assert!(error.contains("column 'ts'") && error.contains(&time.to_string()), "{error}");
    }
    let days = Arc::new(Date32Array::from(vec![i32::MAX])) as ArrayRef;
    let days = RecordBatch::try_from_iter([("day", days)]).expect("rows");
    assert!(json_lines(&days).expect_err("no such year").to_string().contains("column 'day'"));
}

#[tokio::test]
async fn one_value() {
    let mut dice = Dice(4);
    let texts: Vec<_> = (0..50).map(|_| dice.text()).collect();
    let texts = StringArray::from_iter_values(texts);
    let bytes = BinaryArray::from_iter_values(texts.iter().flatten().map(str::as_bytes));
    for (format, array) in [("text", Arc::new(texts) as ArrayRef), ("raw", Arc::new(bytes))] {
        let rows = RecordBatch::try_from_iter([("value", array)]).expect("rows");
        check(&rows, &[("format", format)], &[("format", format)]).await;
    }
}

#[tokio::test]
async fn json_is_what_people_expect() {
    let mut dice = Dice(5);
    let mut rows = rows(&mut dice, 1);
    let time = Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_123_000]));
    let vector = rows.column_by_name("vector").expect("vectors").as_fixed_size_list().value(0);
    assert_eq!(vector.len(), 3);
    let text = Arc::new(StringArray::from(vec!["two\nlines"]));
    let none = Arc::new(Int64Array::from(vec![None]));
    let floats = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [Some([Some(0.5), Some(-1.0), Some(3.0)])],
        3,
    );
    rows = RecordBatch::try_from_iter([
        ("text", text as ArrayRef),
        ("none", none),
        ("ts", time),
        ("vector", Arc::new(floats)),
    ])
    .expect("rows");
    let options = options(ENCODE_OPTIONS, &[]);
    let mut encoder = Encoder::new(&rows.schema(), &options, "s").expect("an encoder");
    let payloads = encoder.encode(&rows).await.expect("payloads");
    assert_eq!(
        std::str::from_utf8(&payloads[0]).expect("text"),
        r#"{"text":"two\nlines","ts":"2023-11-14T22:13:20.123Z","vector":[0.5,-1.0,3.0]}"#
    );
    let floats = Float32Array::from(vec![1.0]);
    let floats = RecordBatch::try_from_iter([("f", Arc::new(floats) as ArrayRef)]).expect("rows");
    let given = options_for_text();
    let refused = Encoder::new(&floats.schema(), &given, "s").err().expect("a refusal");
    assert_eq!(
        refused.to_string(),
        "format 'text' writes one column of type VARCHAR, but the rows have: f Float32"
    );
}

fn options_for_text() -> Options {
    options(ENCODE_OPTIONS, &[("format", "text")])
}
