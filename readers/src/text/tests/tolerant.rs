//! Bad rows handed out beside the good ones.

use std::io::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Memory, shown};
use crate::{Dialect, Limits, RowsRequest, TextOptions, TolerantBatch, sniff, tolerant_rows};

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("ts", time, false),
        Field::new("price", DataType::Decimal128(6, 2), true),
    ]))
}

/// The good rows, and each bad row as `row, line, offset: bytes: reason`.
fn read(name: &str, bytes: impl Into<Vec<u8>>, limits: Limits) -> (Vec<String>, Vec<String>) {
    let file = Memory::new(name, bytes);
    let options = if name.contains("csv") { TextOptions::csv() } else { TextOptions::json() };
    let dialect = sniff(&file, &options, &limits).expect("sniffed");
    let request = RowsRequest { limits, batch_rows: 3, ..RowsRequest::new(dialect, schema()) };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for batch in tolerant_rows(Arc::new(file), request).expect("opened") {
        let TolerantBatch { rows, places, bad: rejected } = batch.expect("read");
        assert_eq!(places.len(), rows.num_rows());
        let lines = shown(&rows).into_iter().skip(1).zip(places);
        good.extend(lines.map(|(line, (row, at))| format!("{row}@{at}: {line}")));
        bad.extend(rejected.into_iter().map(|bad| {
            let bytes = String::from_utf8_lossy(&bad.bytes);
            format!("{}@{}+{}: {bytes}: {}", bad.row, bad.line, bad.offset, bad.reason)
        }));
    }
    (good, bad)
}

#[test]
fn bad_rows_of_csv_keep_their_bytes_and_place() {
    let text = "id,ts,price\n1,2024-01-01,1.10\nA2,2024-01-01,1\n3,yesterday,1\n4\n5,2024-01-01,x\n6,,1\n7,2024-01-01,\n";
    let (good, bad) = read("x.csv", text, Limits::default());
    assert_eq!(
        good,
        ["0@2: 1 | 2024-01-01T00:00:00 | 1.10", "6@8: 7 | 2024-01-01T00:00:00 | NULL"]
    );
    assert_eq!(
        bad,
        [
            "1@3+30: A2,2024-01-01,1: file 'x.csv': row 2 (line 3), column 'id': 'A2' can't be read as Int64",
            "2@4+46: 3,yesterday,1: file 'x.csv': row 3 (line 4), column 'ts': 'yesterday' can't be read as Timestamp(µs)",
            "3@5+60: 4: file 'x.csv': row 4 (line 5) has 1 column, the header 3",
            "4@6+62: 5,2024-01-01,x: file 'x.csv': row 5 (line 6), column 'price': the value can't be read as Decimal128(6, 2)",
            "5@7+77: 6,,1: file 'x.csv': row 6 (line 7), column 'ts' is NOT NULL, but has no value",
        ]
    );
}

#[test]
fn reading_goes_on_behind_a_quote_that_is_never_closed() {
    let text = "id,ts,price\n1,2024-01-01,1\n2,\"2024,1\n3,2024-01-01,3\n4,2024-01-01,4\n";
    let (good, bad) = read("x.csv", text, Limits::default());
    assert_eq!(good.len(), 3, "{good:?}");
    let reason = "file 'x.csv': the quote opened in row 2 (line 3) is never closed";
    assert_eq!(bad, [format!("1@3+27: 2,\"2024,1: {reason}")]);
    let (good, bad) = read("x.csv", "id,ts,price\n1,2024-01-01,1\n5,\"20", Limits::default());
    assert_eq!(good.len(), 1, "{good:?}");
    let reason = "file 'x.csv': the quote opened in row 2 (line 3) is never closed";
    assert_eq!(bad, [format!("1@3+27: 5,\"20: {reason}")]);
}

#[test]
fn bad_lines_of_json_keep_their_bytes_and_place() {
    let text = concat!(
        "{\"id\":1,\"ts\":\"2024-01-01\"}\n",
        "not json\r\n",
        "{\"id\":\"x\",\"ts\":5}\n",
        "{\"id\":2,\"ts\":\"2024\n",
        "5\n",
        "{\"id\":3}\n",
        "{\"id\":4,\"ts\":1000}\n",
        "{\"id\":5,\"ts\":"
    );
    let (good, bad) = read("x.jsonl", text, Limits::default());
    assert_eq!(
        good,
        ["0@1: 1 | 2024-01-01T00:00:00 | NULL", "6@7: 4 | 1970-01-01T00:00:01 | NULL"]
    );
    assert_eq!(
        bad,
        [
            "1@2+27: not json: file 'x.jsonl': line 2: expected a value, found \"not\"",
            "2@3+37: {\"id\":\"x\",\"ts\":5}: file 'x.jsonl': line 3, column 'id': 'x' can't be read as Int64",
            "3@4+55: {\"id\":2,\"ts\":\"2024: file 'x.jsonl': line 4: a string isn't closed before the end of the line",
            "4@5+74: 5: file 'x.jsonl': line 5 is a number, not an object with fields",
            "5@6+76: {\"id\":3}: file 'x.jsonl': line 6, column 'ts' is NOT NULL, but has no value",
            "7@8+104: {\"id\":5,\"ts\":: file 'x.jsonl': line 8: a value isn't complete; the file may be cut off",
        ]
    );
}

#[test]
fn reading_goes_on_at_the_next_object() {
    let object = |id: &str| format!("  {{\n    \"id\": {id},\n    \"ts\": 0\n  }}");
    let text = format!("[\n{},\n{},\n{}\n]\n", object("1"), object("oops"), object("3"));
    let (good, bad) = read("x.json", text.as_str(), Limits::default());
    assert_eq!(good.len(), 2, "{good:?} {bad:?}");
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].contains("line 7: expected a value, found \"oops\""), "{bad:?}");
    let (good, bad) = read(
        "x.json",
        "[{\"id\":1,\"ts\":1},\n{oops},\n,\n{\"id\":2,\"ts\":1}\n",
        Limits::default(),
    );
    assert_eq!(good.len(), 2, "{good:?}");
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert!(bad[1].ends_with("line 5: the array isn't closed; the file may be cut off"), "{bad:?}");
}

#[test]
fn long_records_are_bad_rows_once() {
    let limits = Limits { record_bytes_max: 100, ..Limits::default() };
    let long = "x".repeat(1 << 20);
    let text =
        format!("{{\"id\":1,\"ts\":0}}\n{{\"id\":2,\"t\":\"{long}\"}}\n{{\"id\":3,\"ts\":0}}\n");
    let (good, bad) = read("x.jsonl", text.as_str(), limits.clone());
    assert_eq!((good.len(), bad.len()), (2, 1), "{good:?}");
    let text = format!("id,ts,price\n1,2024-01-01,\n2,{long},3\n3,2024-01-01,4\n");
    let (good, bad) = read("x.csv", text.as_str(), limits);
    assert_eq!((good.len(), bad.len()), (2, 1), "{good:?}");
    assert!(bad[0].ends_with("row 2 (line 3) exceeds record_bytes_max (100 bytes)"));
}

#[test]
fn damaged_compression_is_one_last_bad_row() {
    let mut text = "id,ts,price\n".to_string();
    (0..1000).for_each(|row| text.push_str(&format!("{row},2024-01-01,1\n")));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("compressed");
    let mut bytes = encoder.finish().expect("compressed");
    bytes.truncate(bytes.len() - 9);
    let (good, bad) = read("x.csv.gz", bytes, Limits::default());
    assert!(good.len() > 900, "{}", good.len());
    let last = bad.last().expect("a bad row");
    let row = good.len();
    assert!(last.starts_with(&format!("{row}@{}+", row + 2)) && last.contains(": 9"), "{last}");
    assert!(
        last.ends_with("file 'x.csv.gz' can't be decompressed: its gzip data is cut off"),
        "{last}"
    );
}

#[test]
fn a_file_without_a_row_gives_none() {
    for name in ["x.csv", "x.json"] {
        assert_eq!(read(name, "", Limits::default()), (Vec::new(), Vec::new()));
    }
    let dialect = sniff(&Memory::new("x.json", "[]"), &TextOptions::json(), &Limits::default());
    assert!(matches!(dialect, Ok(Dialect::Json(json)) if json.is_array));
}
