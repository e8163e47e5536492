//! Files read with types that a user declares.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{Memory, read_as, shown, surveyed};
use crate::{Result, RowsRequest, TextOptions, rows};

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, to)| Field::new(*name, to.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn read(name: &str, text: &str, columns: &[(&str, DataType)]) -> Result<Vec<String>> {
    let options = if name.ends_with("csv") { TextOptions::csv() } else { TextOptions::json() };
    let file = Memory::new(name, text);
    let found = surveyed(&file, &options)?;
    Ok(shown(&read_as(&file, &found, &schema(columns))?)[1..].to_vec())
}

#[test]
fn declared_texts_stay_as_they_are_written() {
    use DataType::{LargeUtf8, Utf8, Utf8View};
    for text in [Utf8, LargeUtf8, Utf8View] {
        let columns = [("id", text.clone()), ("price", text.clone()), ("no", text)];
        let csv = "price,id\n1.10,007\n,8\n";
        assert_eq!(
            read("x.csv", csv, &columns).expect("read"),
            ["007 | 1.10 | NULL", "8 | NULL | NULL"]
        );
        let json = "{\"id\":\"007\",\"price\":1.10}\n{\"id\":8,\"price\":[1, 2]}";
        assert_eq!(
            read("x.json", json, &columns).expect("read"),
            ["007 | 1.10 | NULL", "8 | [1, 2] | NULL"]
        );
    }
}

#[test]
fn declared_types_of_all_kinds() {
    let list = DataType::new_list(DataType::Float32, true);
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let cases = [
        (DataType::Int16, "-5", "-5"),
        (DataType::UInt64, "18446744073709551615", "18446744073709551615"),
        (DataType::Float32, "1.5", "1.5"),
        (DataType::Decimal128(10, 2), "1.10", "1.10"),
        (DataType::Boolean, "True", "true"),
        (DataType::Date32, "2024-02-29", "2024-02-29"),
        (DataType::Time64(TimeUnit::Microsecond), "10:00:01", "10:00:01"),
        (
            DataType::Timestamp(TimeUnit::Microsecond, None),
            "2024-02-29T10:00:00.5",
            "2024-02-29T10:00:00.500",
        ),
        (DataType::Timestamp(TimeUnit::Microsecond, None), "1000", "1970-01-01T00:00:01"),
        (
            DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
            "2024-02-29 10:00:00+01:00",
            "2024-02-29T09:00:00Z",
        ),
        (list, "[1, 2.5]", "[1.0, 2.5]"),
        (DataType::FixedSizeList(item, 2), "[1, 2.5]", "[1.0, 2.5]"),
        (
            DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into()),
            "{\"a\": 3, \"b\": 4}",
            "{a: 3}",
        ),
    ];
    for (to, text, expected) in cases {
        let columns = [("v", to.clone())];
        let quoted = text.replace('"', "\"\"");
        let csv = format!("v,w\n\"{quoted}\",1\n,2\n");
        assert_eq!(read("x.csv", &csv, &columns).expect("read"), [expected, "NULL"], "{to}");
        let is_json = text.starts_with(['[', '{']) || text.parse::<f64>().is_ok();
        let json = if is_json { text.to_string() } else { format!("\"{text}\"") };
        let lines = format!("{{\"v\":{json}}}\n{{\"w\":1}}");
        assert_eq!(read("x.json", &lines, &columns).expect("read"), [expected, "NULL"], "{to}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_file_row_and_column() {
    let refusal = |name: &str, text: &str, to: DataType| {
        read(name, text, &[("id", to)]).expect_err("refused").to_string()
    };
    let csv = "id,t\n1,a\nA3001,b\n";
    assert_eq!(
        refusal("x.csv", csv, DataType::Int64),
        "file 'x.csv': row 2 (line 3), column 'id': 'A3001' can't be read as Int64"
    );
    assert_eq!(
        refusal("x.csv", csv, DataType::Decimal128(5, 1)),
        "file 'x.csv': row 2 (line 3), column 'id': the value can't be read as Decimal128(5, 1)"
    );
    let json = "{\"id\":1}\n{\"id\":\"x\"}\n";
    assert_eq!(
        refusal("x.json", json, DataType::Int64),
        "file 'x.json': line 2, column 'id': 'x' can't be read as Int64"
    );
    let nested = DataType::Struct(vec![Field::new("a", DataType::Int64, true)].into());
    assert_eq!(
        refusal("x.json", "{\"id\":{\"a\":1}}\n{\"id\":{\"a\":true}}\n", nested.clone()),
        "file 'x.json': line 2, column 'id.a': 'true' can't be read as Int64"
    );
    assert!(refusal("x.json", json, nested).contains("line 1, column 'id': '1' can't be read as"));
    let lists = DataType::new_list(DataType::Decimal128(5, 1), true);
    assert_eq!(
        refusal("x.json", "{\"id\":[1]}\n{\"id\":[2, \"x\"]}\n", lists.clone()),
        format!("file 'x.json': line 2, column 'id': the value can't be read as {lists}")
    );
    let unreadable = DataType::Interval(arrow::datatypes::IntervalUnit::DayTime);
    let unreadable = DataType::new_list(
        DataType::Map(Arc::new(Field::new("entries", unreadable, false)), false),
        true,
    );
    assert!(
        refusal("x.csv", csv, unreadable)
            .contains("file 'x.csv': column 'id': text can't be read as")
    );
}

#[test]
fn a_column_that_is_never_null_has_a_value_in_every_row() {
    let file = Memory::new("x.csv", "id,t\n1,a\n,b\n");
    let found = surveyed(&file, &TextOptions::csv()).expect("surveyed");
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let error = read_as(&file, &found, &schema).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "file 'x.csv': row 2 (line 3), column 'id' is NOT NULL, but has no value"
    );
}

#[test]
fn a_projection_reads_what_it_names_in_its_order() {
    let columns = [("c", DataType::Utf8), ("a", DataType::Int64)];
    assert_eq!(read("x.csv", "a,b,c\n1,2,3\n", &columns).expect("read"), ["3 | 1"]);
    assert_eq!(
        read("x.json", "{\"a\":1,\"b\":{\"x\":[]},\"c\":\"3\"}", &columns).expect("read"),
        ["3 | 1"]
    );
    assert_eq!(read("x.csv", "a,b,c\n1,2,3\n4,5,6\n", &[]).expect("read"), ["", ""]);
}

#[test]
fn batches_are_as_long_as_asked() {
    let text: String = std::iter::once("a,b\n".to_string())
        .chain((0..1000).map(|row| format!("{row},x\n")))
        .collect();
    let file = Memory::new("x.csv", text);
    let found = surveyed(&file, &TextOptions::csv()).expect("surveyed");
    let request = RowsRequest::new(found.dialect, schema(&[("a", DataType::Int64)]));
    let request = RowsRequest { batch_rows: 300, ..request };
    let lengths =
        rows(Arc::new(file), request).expect("opened").map(|b| b.expect("read").num_rows());
    assert_eq!(lengths.collect::<Vec<_>>(), [300, 300, 300, 100]);
}
