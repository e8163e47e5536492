//! Tests of all formats: what goes out comes back, and what is bad is rejected alone.

mod against_plain;
mod metadata;
mod poison;
mod registry;
mod round_trip;

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::*;
use crate::options::Options;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn text(&mut self) -> String {
        let letters: Vec<char> = "ab \"\\\n\t{}[]:,ß漢😀\u{0}é/'0".chars().collect();
        (0..self.below(12)).map(|_| letters[self.below(letters.len() as u64) as usize]).collect()
    }
}

fn options(defs: &[OptionDef], given: &[(&str, &str)]) -> Options {
    let given: Vec<_> = given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Options::read("a source", defs, &given).expect("options")
}

fn decoder(columns: &[Column], given: &[(&str, &str)]) -> Decoder {
    Decoder::new(columns, &options(DECODE_OPTIONS, given)).expect("a decoder")
}

fn decoder_refusal(columns: &[Column], given: &[(&str, &str)]) -> String {
    let refused = Decoder::new(columns, &options(DECODE_OPTIONS, given));
    refused.err().expect("a refusal").to_string()
}

fn origin() -> Origin<'static> {
    Origin { partition: Arc::from("messages/3"), topic: "messages", number: 3 }
}

/// Records with these payloads at offsets from 100 on.
fn records<'a>(payloads: &[Option<&'a [u8]>]) -> Vec<RawRecord<'a>> {
    payloads
        .iter()
        .zip(100..)
        .map(|(value, offset)| RawRecord { offset, value: *value, ..RawRecord::default() })
        .collect()
}

async fn decode(decoder: &mut Decoder, payloads: &[&[u8]]) -> Decoded {
    let payloads: Vec<_> = payloads.iter().map(|payload| Some(*payload)).collect();
    decoder.decode(&origin(), &records(&payloads)).await.expect("decoded")
}

/// Rows with one column of numbers, `id`.
fn numbers(ids: &[i64]) -> RecordBatch {
    let ids = Arc::new(arrow::array::Int64Array::from(ids.to_vec())) as ArrayRef;
    RecordBatch::try_from_iter([("id", ids)]).expect("rows")
}

/// The id, the text and the time that the tests of poison declare.
fn message_columns() -> Vec<Column> {
    vec![
        Column::new("id", DataType::Int64, true),
        Column::new("text", DataType::Utf8View, true),
        Column::new(
            "ts",
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
            false,
        ),
    ]
}
