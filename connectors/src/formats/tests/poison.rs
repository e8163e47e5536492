//! Bad records of every kind: first, in the middle and last, alone and all at once. They are
//! rejected with a reason, in order, and no neighbour is lost.

use ::arrow_ipc::CompressionType;
use ::arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::array::{Int64Array, NullArray, RecordBatch};

use super::*;

const AVRO: &str = r#"{"type":"record","name":"Message","fields":[
    {"name":"id","type":["null","long"]},{"name":"text","type":["null","string"]},
    {"name":"ts","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}]}"#;
const PROTO: &str = "syntax = 'proto3'; import 'google/protobuf/timestamp.proto';
    message Message { int64 id = 1; string text = 2; google.protobuf.Timestamp ts = 3; }";

/// Puts each bad payload at each of three places among good ones.
async fn check(decoder: &mut Decoder, good: &[u8], bad: &[(&[u8], &str)]) {
    for (payload, reason) in bad {
        for place in [0, 2, 4] {
            let mut payloads = vec![good; 5];
            payloads[place] = payload;
            let decoded = decode(decoder, &payloads).await;
            let shown = String::from_utf8_lossy(&payload[..payload.len().min(60)]);
            assert_eq!(decoded.rejected.len(), 1, "{shown} at {place}");
            let rejected = &decoded.rejected[0];
            assert!(rejected.reason.contains(reason), "{shown}: {}", rejected.reason);
            assert!(!rejected.reason.contains('\n') && rejected.reason.chars().count() <= 401);
            assert_eq!(rejected.position, 100 + place as i64);
            assert_eq!(rejected.payload.as_deref(), Some(*payload));
            assert_eq!(&*rejected.partition, "messages/3");
            let others: Vec<i64> = (100..105).filter(|n| *n != 100 + place as i64).collect();
            assert_eq!(decoded.sequences, others, "{shown} at {place}");
            assert_eq!(decoded.rows.num_rows(), 4);
        }
    }
    let mut all: Vec<&[u8]> = bad.iter().map(|(payload, _)| *payload).collect();
    let decoded = decode(decoder, &all).await;
    assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (0, bad.len()));
    all.push(good);
    let decoded = decode(decoder, &all).await;
    assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (1, bad.len()));
    let positions: Vec<_> = decoded.rejected.iter().map(|rejected| rejected.position).collect();
    assert!(positions.is_sorted());
}

#[tokio::test]
async fn a_header_of_a_registry_in_front_of_json_is_recognised() {
    let mut framed = vec![0, 0, 0, 0, 7];
    framed.extend_from_slice(br#"{"id":1}"#);
    let columns = [Column::new("id", DataType::Int64, true)];
    let options = Options::read("a source", super::super::DECODE_OPTIONS, &[]).expect("options");
    let mut decoder = Decoder::new(&columns, &options).expect("a decoder");
    let origin = Origin { partition: "t/0".into(), topic: "t", number: 0 };
    let record = RawRecord { value: Some(&framed), ..RawRecord::default() };
    let decoded = decoder.decode(&origin, &[record]).await.expect("decoded");
    let reason = &decoded.rejected[0].reason;
    assert!(reason.contains("header of a schema registry (schema 7)"), "{reason}");
    assert!(reason.contains("framing = 'confluent'"), "{reason}");
}

#[tokio::test]
async fn json() {
    let large = format!(r#"{{"id":1,"text":"{}","ts":0}}"#, "x".repeat(10_000_000));
    let deep = "[".repeat(100_000);
    let mut decoder = decoder(&message_columns(), &[]);
    check(
        &mut decoder,
        br#"{"id":1,"text":"a","ts":1700000000000,"more":[1,{"x":null}]}"#,
        &[
            (b"\xff\xfe{}", "not UTF-8: bad byte at 0"),
            (b"{\"id\":1,\"text\":\"a\xffb\",\"ts\":0}", "not UTF-8: bad byte at 17"),
            (b"", "is empty"),
            (b"  \n ", "is empty"),
            (br#"{"id":1"#, "not JSON: EOF while parsing an object at line 1 column 7"),
            (
                br#"{"id":1,"text":"a","ts":0}}"#,
                "not JSON: trailing characters at line 1 column 27",
            ),
            (br#"{"id":1,"ts":0}{"id":2,"ts":0}"#, "not JSON: trailing characters"),
            (b"{\"id\":1,\"ts\":0}\n{\"id\":2,\"ts\":0}", "not JSON: trailing characters"),
            (br#","id":2}"#, "not JSON"),
            (b"nothing", "not JSON"),
            (b"42", "expected {"),
            (b"[1,2]", "expected {"),
            (b"\"text\"", "expected {"),
            (b"null", "expected {"),
            (deep.as_bytes(), "not JSON"),
            (br#"{"id":"abc","text":"a","ts":0}"#, "column 'id'"),
            (br#"{"id":[1],"text":"a","ts":0}"#, "column 'id'"),
            (br#"{"id":1.5,"text":"a","ts":0}"#, "column 'id'"),
            (br#"{"id":99999999999999999999,"text":"a","ts":0}"#, "column 'id'"),
            (br#"{"id":1,"text":{"a":1},"ts":0}"#, "column 'text'"),
            (br#"{"id":1,"text":7,"ts":0}"#, "column 'text'"),
            (
                br#"{"id":1,"text":"a","ts":"yesterday"}"#,
                "column 'ts': a time must be a number, an RFC 3339 text or 'YYYY",
            ),
            (br#"{"id":1,"text":"a","ts":true}"#, "got 'true'"),
            (br#"{"id":1,"text":"a","ts":9223372036854775807}"#, "a time must be"),
            (br#"{"id":1,"text":"a","ts":{}}"#, "column 'ts'"),
            (br#"{"id":1,"text":"a"}"#, "column 'ts' must not be NULL, but is"),
            (br#"{"id":1,"text":"a","ts":null}"#, "column 'ts' must not be NULL, but is"),
            (large.as_bytes(), "has 10000025 bytes, more than max_record_bytes = 8388608"),
        ],
    )
    .await;
}

#[tokio::test]
async fn text_and_bytes() {
    let mut text = decoder(&[Column::new("line", DataType::Utf8, false)], &[("format", "text")]);
    check(&mut text, "ä".as_bytes(), &[(b"a\xff", "not UTF-8: bad byte at 1")]).await;
    let given = [("format", "raw"), ("max_record_bytes", "4")];
    let mut raw = decoder(&[Column::new("bytes", DataType::BinaryView, false)], &given);
    check(&mut raw, b"\xff\xfe", &[(b"12345", "has 5 bytes, more than max_record_bytes = 4")])
        .await;
}

#[tokio::test]
async fn avro() {
    let mut decoder = decoder(&message_columns(), &[("format", "avro"), ("schema", AVRO)]);
    check(
        &mut decoder,
        &[2, 2, 2, 2, b'a', 2, 0],
        &[
            (b"", "ends in the middle"),
            (&[2], "can't be read as Avro"),
            (&[2, 2, 2, 200, b'a'], "Avro"),
            (&[2, 2, 2, 2, b'a', 2, 0, 9], "continues after its Avro record"),
            (&[2, 2, 2, 2, b'a', 2, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, b'a', 2, 0], "continues after"),
            (&[2, 2, 2, 2, 0xff, 2, 0], "Avro"),
            (&[2, 2, 2, 2, b'a', 0], "column 'ts' must not be NULL, but is"),
            (br#"{"id":1,"text":"a","ts":0}"#, "Avro"),
        ],
    )
    .await;
}

#[tokio::test]
async fn protobuf() {
    let mut decoder = decoder(&message_columns(), &[("format", "protobuf"), ("schema", PROTO)]);
    check(
        &mut decoder,
        &[8, 1, 18, 1, b'a', 26, 2, 8, 1],
        &[
            (&[8], "can't be read as Message"),
            (&[18, 200, 1, b'a'], "can't be read as Message"),
            (&[18, 1, 0xff, 26, 2, 8, 1], "can't be read as Message"),
            (&[10, 1, b'a'], "can't be read as Message"),
            (&[8, 1, 18, 1, b'a'], "column 'ts' must not be NULL, but is"),
            (b"", "column 'ts' must not be NULL, but is"),
        ],
    )
    .await;
}

#[tokio::test]
async fn arrow() {
    let columns = [Column::new("id", DataType::Int64, false)];
    let rows = numbers(&[1]);
    let text = Arc::new(arrow::array::StringArray::from(vec!["x"])) as ArrayRef;
    let other = RecordBatch::try_from_iter([("id", text)]).expect("rows");
    let write = async |rows: &RecordBatch| {
        let options = options(ENCODE_OPTIONS, &[("format", "arrow")]);
        let mut encoder = Encoder::new(&rows.schema(), &options, "").expect("an encoder");
        encoder.encode(rows).await.expect("payloads").remove(0)
    };
    let (good, bad_type) = (write(&rows).await, write(&other).await);
    let mut decoder = decoder(&columns, &[("format", "arrow")]);
    check(
        &mut decoder,
        &good,
        &[(b"nothing", "Arrow"), (&good[..good.len() / 2], "Arrow"), (&bad_type, "column 'id'")],
    )
    .await;
}

/// Payloads that are nearly right: no decoder may panic, and each record is a row or rejected.
#[tokio::test]
async fn mutations_never_panic() {
    let json = br#"{"id":1,"text":"a\u00e4\ud83d\ude00","ts":1.5e3}"#;
    let avro = [2, 2, 2, 2, b'a', 2, 0];
    let protobuf = [8, 1, 18, 1, b'a', 26, 2, 8, 1];
    let good = [
        (vec![("format", "json")], &json[..]),
        (vec![("format", "avro"), ("schema", AVRO)], &avro),
        (vec![("format", "protobuf"), ("schema", PROTO)], &protobuf),
    ];
    let mut dice = Dice(7);
    for (given, payload) in good {
        let mut decoder = decoder(&message_columns(), &given);
        for _ in 0..1500 {
            let mut payloads = Vec::new();
            for _ in 0..4 {
                let mut bytes = payload.to_vec();
                for _ in 0..=dice.below(3) {
                    let place = dice.below(bytes.len().max(1) as u64) as usize;
                    match dice.below(4) {
                        0 if place < bytes.len() => bytes[place] = dice.below(256) as u8,
                        1 if place < bytes.len() => bytes[place] ^= 1 << dice.below(8),
                        2 => bytes.truncate(place),
                        _ => bytes.insert(place.min(bytes.len()), dice.below(256) as u8),
                    }
                }
                payloads.push(bytes);
            }
            let slices: Vec<_> = payloads.iter().map(Vec::as_slice).collect();
            let decoded = decode(&mut decoder, &slices).await;
            let mut seen = decoded.sequences.clone();
            seen.extend(decoded.rejected.iter().map(|rejected| rejected.position));
            seen.sort_unstable();
            assert_eq!(seen, [100, 101, 102, 103], "{given:?}: {payloads:?}");
        }
    }
}

/// An Arrow stream of one batch.
fn stream(column: ArrayRef, options: IpcWriteOptions) -> Vec<u8> {
    let rows = RecordBatch::try_from_iter_with_nullable([("id", column, true)]).expect("rows");
    let mut bytes = Vec::new();
    let mut writer =
        StreamWriter::try_new_with_options(&mut bytes, &rows.schema(), options).expect("a writer");
    writer.write(&rows).expect("written");
    writer.finish().expect("finished");
    drop(writer);
    bytes
}

/// A few bytes that ask for gigabytes get none.
#[tokio::test]
async fn arrow_of_few_bytes_and_much_memory() {
    let plain = || IpcWriteOptions::default();
    let packed =
        plain().try_with_compression(Some(CompressionType::ZSTD)).expect("zstd is compiled in");
    let good = stream(Arc::new(Int64Array::from(vec![1])), plain());
    let nothing = stream(Arc::new(NullArray::new(1 << 40)), plain());
    let zeros = stream(Arc::new(Int64Array::from(vec![7; 4096])), packed);
    // The length in front of a compressed buffer is made that of a terabyte.
    let place = zeros.windows(8).position(|bytes| bytes == 32_768_i64.to_le_bytes());
    let mut bomb = zeros.clone();
    let place = place.expect("the length of the values");
    bomb[place..place + 8].copy_from_slice(&(1_i64 << 40).to_le_bytes());
    let mut reader = decoder(&[Column::new("id", DataType::Int64, true)], &[("format", "arrow")]);
    assert_eq!(decode(&mut reader, &[zeros.as_slice()]).await.rows.num_rows(), 4096);
    let bad: [(&[u8], &str); 6] = [
        (b"\0abc", "a message of 1667391744 bytes is longer than the rest of it"),
        (b"\xff\xff\xff\xff\0abc", "a message of 1667391744 bytes"),
        (&nothing, "it has 1099511627776 rows; a payload may have 1048576"),
        (&bomb, "decompressed, it has 1099511627776 bytes"),
        (&good[..good.len() - 20], "is longer than the rest of it"),
        (b"", "it has no schema"),
    ];
    check(&mut reader, &good, &bad).await;
}
