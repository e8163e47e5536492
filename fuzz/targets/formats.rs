//! Records of a topic. The first byte says the format and its framing; what follows are the
//! payloads of up to four records. Each becomes a row or is rejected, in order.

#![no_main]

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use libfuzzer_sys::fuzz_target;
use sembla_connectors::formats::{Column, DECODE_OPTIONS, Decoder, Origin, RawRecord};
use sembla_connectors::options::Options;

const AVRO: &str = r#"{"type":"record","name":"M","fields":[{"name":"id","type":["null","long"]},
    {"name":"text","type":["null","string"]},{"name":"ts","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}]}"#;
const PROTO: &str = "syntax = 'proto3'; message M { int64 id = 1; string text = 2; }";

fn options(kind: u8) -> Vec<(String, String)> {
    let given: &[(&str, &str)] = match kind % 6 {
        0 => &[("format", "json")],
        1 => &[("format", "avro"), ("schema", AVRO)],
        2 => &[("format", "protobuf"), ("schema", PROTO)],
        3 => &[("format", "json"), ("framing", "confluent")],
        4 => &[("format", "avro"), ("schema", AVRO), ("framing", "confluent")],
        _ => &[("format", "arrow")],
    };
    given.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, content)) = data.split_first() else { return };
    let mut columns = vec![
        Column::new("id", DataType::Int64, true),
        Column::new("text", DataType::Utf8View, true),
    ];
    if kind % 6 != 2 {
        columns.push(Column::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true));
    }
    let options = Options::read("a source", DECODE_OPTIONS, &options(*kind)).expect("options");
    let mut decoder = Decoder::new(&columns, &options).expect("a decoder");
    let payloads: Vec<&[u8]> = content.split(|byte| *byte == 0xfe).take(4).collect();
    let mut records = Vec::with_capacity(payloads.len());
    for (offset, payload) in payloads.iter().enumerate() {
        records.push(RawRecord {
            offset: offset as i64,
            value: Some(*payload),
            ..RawRecord::default()
        });
    }
    let origin = Origin { partition: Arc::from("t/0"), topic: "t", number: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let decoded =
        runtime.block_on(decoder.decode(&origin, &records)).expect("no registry is asked");
    let mut seen = decoded.sequences.clone();
    seen.extend(decoded.rejected.iter().map(|rejected| rejected.position));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), records.len(), "each record is a row, or rejected");
});
