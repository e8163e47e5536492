//! Columns from what comes with a record, and tombstones.

use arrow::array::AsArray;
use arrow::datatypes::{Field, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType};

use super::*;

fn map_type() -> DataType {
    let entries = DataType::Struct(
        vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)]
            .into(),
    );
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

#[tokio::test]
async fn every_kind() {
    let columns = [
        Column::new("k", DataType::Utf8View, true).from_metadata(Metadata::Key),
        Column::new("kb", DataType::Binary, true).from_metadata(Metadata::Key),
        Column::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), false)
            .from_metadata(Metadata::Timestamp),
        Column::new("part", DataType::Int32, false).from_metadata(Metadata::Partition),
        Column::new("off", DataType::Int64, false).from_metadata(Metadata::Offset),
        Column::new("topic", DataType::Utf8, false).from_metadata(Metadata::Topic),
        Column::new("h", DataType::Utf8, false).from_metadata(Metadata::Headers),
        Column::new("hm", map_type(), false).from_metadata(Metadata::Headers),
        Column::new("text", DataType::Utf8, true),
    ];
    let mut decoder = decoder(&columns, &[("format", "text")]);
    assert!(decoder.wants_headers());
    let record = |offset, key: Option<&'static [u8]>, value| RawRecord {
        offset,
        timestamp_us: Some(5),
        key,
        value,
        headers: vec![("a", Some(&b"1"[..])), ("b", None)],
    };
    let mut bad_header = record(10, None, Some(&b"w"[..]));
    bad_header.headers[0].1 = Some(b"\xff");
    let mut no_time = record(11, None, Some(&b"v"[..]));
    no_time.timestamp_us = None;
    let records = [
        record(7, Some(b"key"), Some(&b"x"[..])),
        record(8, None, None),
        record(9, Some(b"\xff"), Some(&b"y"[..])),
        bad_header,
        no_time,
        record(12, None, Some(&b"z"[..])),
    ];
    let decoded = decoder.decode(&origin(), &records).await.expect("decoded");
    assert_eq!(decoded.sequences, [7, 8, 12]);
    let reasons: Vec<_> =
        decoded.rejected.iter().map(|r| (r.position, r.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (9, "column 'k': the key is not UTF-8: bad byte at 0"),
            (10, "column 'h': the header 'a' is not UTF-8: bad byte at 0"),
            (11, "column 'at' must not be NULL, but is"),
        ]
    );
    assert_eq!(decoded.rejected[0].key.as_deref(), Some(&b"\xff"[..]));
    let rows = &decoded.rows;
    let keys: Vec<_> = rows.column(0).as_string_view().iter().collect();
    assert_eq!(keys, [Some("key"), None, None]);
    assert_eq!(rows.column(1).as_binary::<i32>().value(0), b"key");
    assert_eq!(rows.column(2).as_primitive::<TimestampNanosecondType>().values(), &[5000; 3]);
    assert_eq!(rows.column(3).as_primitive::<Int32Type>().values(), &[3; 3]);
    assert_eq!(rows.column(4).as_primitive::<Int64Type>().values(), &[7, 8, 12]);
    assert_eq!(rows.column(5).as_string::<i32>().value(2), "messages");
    assert_eq!(rows.column(6).as_string::<i32>().value(0), r#"{"a":"1","b":null}"#);
    let headers = rows.column(7).as_map().value(1);
    assert_eq!(
        headers.column(0).as_string::<i32>().iter().collect::<Vec<_>>(),
        [Some("a"), Some("b")]
    );
    assert_eq!(headers.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("1"), None]);
    let texts: Vec<_> = rows.column(8).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("x"), None, Some("z")]);
}

#[tokio::test]
async fn tombstones_are_null_or_rejected() {
    let columns = |nullable| {
        vec![
            Column::new("off", DataType::Int64, false).from_metadata(Metadata::Offset),
            Column::new("text", DataType::Utf8, nullable),
        ]
    };
    let payloads = [None, Some(&br#"{"text":"a"}"#[..]), None, Some(b"bad"), Some(br#"{}"#), None];
    let records = records(&payloads);
    let mut lenient = decoder(&columns(true), &[]);
    let decoded = lenient.decode(&origin(), &records).await.expect("decoded");
    assert_eq!(decoded.sequences, [100, 101, 102, 104, 105]);
    let texts: Vec<_> = decoded.rows.column(1).as_string::<i32>().iter().collect();
    assert_eq!(texts, [None, Some("a"), None, None, None]);
    let mut strict = decoder(&columns(false), &[]);
    let decoded = strict.decode(&origin(), &records).await.expect("decoded");
    assert_eq!(decoded.sequences, [101]);
    assert_eq!(decoded.rejected.len(), 5);
    let only = records.get(..1).expect("a record");
    assert_eq!(strict.decode(&origin(), only).await.expect("decoded").rows.num_rows(), 0);
    assert_eq!(lenient.decode(&origin(), only).await.expect("decoded").rows.num_rows(), 1);
    assert_eq!(lenient.decode(&origin(), &[]).await.expect("decoded").rows.num_rows(), 0);
}

#[tokio::test]
async fn a_source_of_metadata_alone() {
    let columns = [Column::new("off", DataType::Int64, false).from_metadata(Metadata::Offset)];
    let mut decoder = decoder(&columns, &[]);
    let decoded = decode(&mut decoder, &[b"{}", b"bad", br#"{"a":1}"#]).await;
    assert_eq!(decoded.sequences, [100, 102]);
    assert_eq!(decoded.rows.num_rows(), 2);
}

#[test]
fn what_can_not_be_is_refused() {
    let metadata =
        |data_type, metadata| [Column::new("c", data_type, true).from_metadata(metadata)];
    assert_eq!(
        decoder_refusal(&metadata(DataType::Utf8, Metadata::Offset), &[]),
        "column 'c' is Utf8, but METADATA FROM 'offset' gives INT or BIGINT"
    );
    assert!(decoder_refusal(&metadata(DataType::Int64, Metadata::Headers), &[]).contains("MAP"));
    assert!(Metadata::parse("keys").expect_err("unknown").to_string().contains("key, timestamp"));
    for name in Metadata::NAMES {
        assert_eq!(Metadata::NAMES[Metadata::parse(name).expect(name) as usize], name);
    }
    let two = [Column::new("a", DataType::Utf8, true), Column::new("b", DataType::Utf8, true)];
    assert!(decoder_refusal(&two, &[("format", "text")]).contains("fills one column"));
    let number = [Column::new("a", DataType::Int64, true)];
    assert_eq!(
        decoder_refusal(&number, &[("format", "text")]),
        "column 'a' is Int64, but format 'text' yields VARCHAR"
    );
    assert!(decoder_refusal(&number, &[("format", "avro")]).contains("needs schema, schema_file"));
    let given = [("format", "avro"), ("schema", r#"{"type":"record","name":"R","fields":[]}"#)];
    assert!(decoder_refusal(&number, &given).contains("no field 'a'"));
    let given = [("format", "protobuf"), ("schema", "syntax='proto3'; message M { M a = 1; }")];
    assert!(decoder_refusal(&number, &given).contains("contains itself"));
}
