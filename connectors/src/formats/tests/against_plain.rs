//! JSON against a slow and obvious reading of it by `serde_json`, record by record; and times in
//! every spelling.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimeUnit, TimestampMicrosecondType};
use serde_json::Value;

use super::*;

/// A row as the obvious reader sees it; `None` where it must be rejected.
fn plain(payload: &[u8]) -> Option<(Option<i64>, Option<String>, i64)> {
    let Value::Object(object) = serde_json::from_slice(payload).ok()? else { return None };
    let get = |name: &str| object.get(name).filter(|value| !value.is_null());
    let id = match get("id") {
        None => None,
        Some(Value::Number(number)) => Some(number.as_i64()?),
        Some(_) => return None,
    };
    let text = match get("text") {
        None => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return None,
    };
    let ms = get("ts")?.as_i64()?;
    Some((id, text, ms.checked_mul(1000)?))
}

#[tokio::test]
async fn random_records() {
    let mut dice = Dice(1);
    let mut decoder = decoder(&message_columns(), &[]);
    for round in 0..300 {
        let mut payloads = Vec::new();
        for _ in 0..dice.below(40) {
            let mut object = serde_json::Map::new();
            for name in ["id", "text", "ts", "other"] {
                let value = match (name, dice.below(40)) {
                    (_, 0) => continue,
                    (_, 1) => Value::Null,
                    ("id" | "ts" | "other", 2) => Value::Array(vec![]),
                    ("text", 2) => 5.into(),
                    ("text", _) => dice.text().into(),
                    _ => (dice.below(1 << 30) as i64 - (1 << 29)).into(),
                };
                object.insert(name.into(), value);
            }
            let mut bytes = Value::Object(object).to_string().into_bytes();
            if dice.below(50) == 0 {
                bytes.truncate(dice.below(bytes.len() as u64) as usize);
            }
            payloads.push(bytes);
        }
        let slices: Vec<_> = payloads.iter().map(Vec::as_slice).collect();
        let decoded = decode(&mut decoder, &slices).await;
        let expected: Vec<_> =
            slices.iter().zip(100..).filter_map(|(bytes, at)| Some((at, plain(bytes)?))).collect();
        let at: Vec<i64> = expected.iter().map(|(at, _)| *at).collect();
        assert_eq!(decoded.sequences, at, "round {round}");
        assert_eq!(decoded.rejected.len(), slices.len() - at.len());
        let ids = decoded.rows.column(0).as_primitive::<Int64Type>();
        let texts = decoded.rows.column(1).as_string_view();
        let times = decoded.rows.column(2).as_primitive::<TimestampMicrosecondType>();
        for (row, (_, (id, text, time))) in expected.iter().enumerate() {
            assert_eq!(ids.is_valid(row).then(|| ids.value(row)), *id);
            assert_eq!(texts.is_valid(row).then(|| texts.value(row)), text.as_deref());
            assert_eq!(times.value(row), *time);
        }
    }
}

#[tokio::test]
async fn times_in_every_spelling() {
    let time = |unit| vec![Column::new("ts", DataType::Timestamp(unit, None), false)];
    for (unit, value, us) in [
        ("ms", "1700000000123", 1_700_000_000_123_000),
        ("s", "1700000000", 1_700_000_000_000_000),
        ("s", "1700000000.25", 1_700_000_000_250_000),
        ("s", "1700000000.1", 1_700_000_000_100_000),
        ("s", "-0.5", -500_000),
        ("s", "1.7e9", 1_700_000_000_000_000),
        ("us", "1700000000123456", 1_700_000_000_123_456),
        ("ms", "\"1700000000123\"", 1_700_000_000_123_000),
        ("ms", "-1", -1_000),
        ("ms", "\"2023-11-14T22:13:20.123456Z\"", 1_700_000_000_123_456),
        ("s", "\"2023-11-14T23:13:20.5+01:00\"", 1_700_000_000_500_000),
        ("ms", "\"2023-11-14 22:13:20\"", 1_700_000_000_000_000),
        ("ms", "\"2023-11-14 22:13:20.000001\"", 1_700_000_000_000_001),
        ("ms", "\"2023-11-14\"", 1_699_920_000_000_000),
        ("ms", "\"1969-12-31T23:59:59.999999Z\"", -1),
    ] {
        let payload = format!("{{\"ts\":{value}}}");
        for (target, per_us) in [(TimeUnit::Microsecond, 1), (TimeUnit::Nanosecond, 1000)] {
            let mut decoder = decoder(&time(target), &[("timestamp_unit", unit)]);
            let decoded = decode(&mut decoder, &[payload.as_bytes()]).await;
            assert_eq!(decoded.rejected, [], "{payload}");
            let data = decoded.rows.column(0).to_data();
            assert_eq!(data.buffers()[0].typed_data::<i64>(), [us * per_us], "{payload} in {unit}");
        }
        let mut decoder = decoder(&time(TimeUnit::Second), &[("timestamp_unit", unit)]);
        let decoded = decode(&mut decoder, &[payload.as_bytes()]).await;
        let data = decoded.rows.column(0).to_data();
        assert_eq!(data.buffers()[0].typed_data::<i64>(), [i64::div_euclid(us, 1_000_000)]);
    }
}
