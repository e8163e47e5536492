//! Random CSV and JSON, in pieces and in ranges, compared with slow and obvious readers.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::plain::{self, Plain};
use super::{Memory, Random, read, read_as, shown, surveyed};
use crate::text::buffer::Buffer;
use crate::text::csv::records::CsvRecords;
use crate::text::csv::split;
use crate::text::records::{Records, Step};
use crate::{
    Cancel, Compression, CsvDialect, Limits, RowsRequest, TextOptions, merge, rows, survey,
};

/// What the reader makes of a CSV text without a header, whatever the widths of its rows.
fn ours(text: &str, piece: usize) -> Plain {
    let dialect = CsvDialect {
        compression: Compression::None,
        delimiter: b',',
        quote: b'"',
        escape: None,
        has_header: false,
        names: vec!["a".into()],
    };
    let file = Memory::new("x.csv", text).in_pieces(piece);
    let limits = Limits::default();
    let buffer = Buffer::open(&file, &limits, &Cancel::never()).expect("opened");
    let mut records = CsvRecords::over(buffer, &dialect, &limits);
    let mut found = Plain { records: Vec::new(), unclosed: None };
    loop {
        match records.next().expect("readable") {
            Step::End => return found,
            Step::Bad(fault) if fault.what.starts_with("the quote opened in row ") => {
                let words: Vec<&str> = fault.what.split(['(', ')', ' ']).collect();
                let number = |at: usize| words[at].parse::<u64>().expect("a number");
                found.unclosed = Some((number(5) as usize - 1, number(8)));
                return found;
            }
            Step::Record | Step::Bad(_) => {
                let text = records.text().expect("UTF-8");
                let value = |field: &split::Field| {
                    let raw = &text[field.start..field.end];
                    let mut value = raw.to_string();
                    if field.has_quotes {
                        split::unquote(raw, split::Marks::of(&dialect), &mut value);
                    }
                    value
                };
                let fields = records.fields().iter().map(value).collect();
                found.records.push((records.place().line, fields));
            }
        }
    }
}

/// What csv-core makes of it.
fn of_csv_core(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv_core::Reader::new();
    let text = &format!("{text}\n");
    let (mut input, mut records) = (text.as_bytes(), Vec::new());
    let (mut output, mut ends) = (vec![0; text.len() + 1], vec![0; text.len() + 2]);
    loop {
        let (result, read, _, fields) = reader.read_record(input, &mut output, &mut ends);
        input = &input[read..];
        match result {
            csv_core::ReadRecordResult::Record => {
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let field = |(start, end): (usize, &usize)| {
                    String::from_utf8(output[start..*end].to_vec()).expect("UTF-8")
                };
                records.push(starts.zip(&ends).take(fields).map(field).collect());
            }
            csv_core::ReadRecordResult::End => return records,
            csv_core::ReadRecordResult::InputEmpty => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn csv_is_cut_as_the_plain_reader_cuts_it() {
    let mut random = Random::new(1);
    let parts = [
        "a", "bc", "\"", "\"", "\"\"", ",", ",", "\n", "\r", "\r\n", "\\", "é", "12345678", " ",
        ";",
    ];
    let mut closed = 0;
    for _ in 0..10_000 {
        let count = random.below(24);
        let text: String = (0..count).map(|_| random.of(&parts)).collect();
        let expected = plain::parse(&text, ',');
        for piece in [1, 2, 3, 7, usize::MAX] {
            assert_eq!(ours(&text, piece), expected, "{text:?} in pieces of {piece}");
        }
        if expected.unclosed.is_none() {
            closed += 1;
            let fields: Vec<_> = expected.records.into_iter().map(|(_, fields)| fields).collect();
            assert_eq!(fields, of_csv_core(&text), "{text:?}");
        }
    }
    assert!(closed > 2_500);
}

/// A CSV text with a header, quoted line breaks, delimiters and quotes, and what its texts are.
fn table(random: &mut Random, rows: usize) -> (String, Vec<String>) {
    let parts =
        ["word", " ", "\n", "\r\n", ",", "\"", "größe", "\\", "日本", "a longer piece of text"];
    let (mut text, mut values) = ("id,text,n\r\n".to_string(), Vec::new());
    for row in 0..rows {
        let count = 1 + random.below(12);
        let value: String = (0..count).map(|_| random.of(&parts)).collect();
        let line_break = random.of(&["\n", "\r\n"]);
        text.push_str(&format!("{row},\"{}\",{}{line_break}", value.replace('"', "\"\""), row % 7));
        values.push(format!("{row} | {value} | {}", row % 7));
    }
    (text, values)
}

#[test]
fn line_breaks_in_quotes_are_read_at_any_size_and_in_any_pieces() {
    let mut random = Random::new(2);
    for rows in [0, 1, 3, 300, 3000] {
        let (text, values) = table(&mut random, rows);
        for bom in ["", "\u{feff}"] {
            for piece in [1, 4093, 65_536, usize::MAX] {
                let file = Memory::new("x.csv", format!("{bom}{text}")).in_pieces(piece);
                let found = read(&file, &TextOptions::csv()).expect("read");
                let types =
                    if rows == 0 { "Utf8, text Utf8, n Utf8" } else { "Int64, text Utf8, n Int64" };
                assert_eq!(found[0], format!("id {types}"));
                assert!(found[1..] == values, "{rows} rows in pieces of {piece}");
            }
        }
    }
}

/// The rows of all ranges together.
fn in_ranges(file: &Memory, options: &TextOptions, parts: usize) -> (usize, Vec<String>) {
    let found = surveyed(file, options).expect("surveyed");
    let schema: SchemaRef = merge(&[("x", &found)]).expect("merged");
    let ranges = found.ranges(parts);
    let mut lines = Vec::new();
    for range in &ranges {
        let request = RowsRequest::new(found.dialect.clone(), Arc::clone(&schema));
        let request = RowsRequest { range: Some(*range), ..request };
        for batch in rows(Arc::new(file.clone()), request).expect("opened") {
            lines.extend(shown(&batch.expect("read")).into_iter().skip(1));
        }
    }
    let whole = read_as(file, &found, &schema).expect("read");
    assert!(shown(&whole)[1..] == lines, "{parts} parts");
    (ranges.len(), lines)
}

#[test]
fn ranges_together_are_the_file() {
    let (text, values) = table(&mut Random::new(3), 60_000);
    assert!(text.len() > 2 << 20, "{}", text.len());
    let json_line = |value: &String| {
        let fields: Vec<&str> = value.splitn(2, " | ").collect();
        format!("{{\"id\": {}, \"text\": {}}}", fields[0], serde_json::json!(fields[1]))
    };
    let lines: Vec<String> = values.iter().map(json_line).collect();
    let json = [lines.join("\n"), format!("[{}]", lines.join(",\n ")), lines.join("")];
    for parts in [1, 2, 3, 16] {
        let file = Memory::new("x.csv", text.as_str());
        let (count, found) = in_ranges(&file, &TextOptions::csv(), parts);
        assert!(found == values);
        assert!(count >= parts.min(2));
        for text in &json {
            let file = Memory::new("x.json", text.as_str());
            let (count, found) = in_ranges(&file, &TextOptions::json(), parts);
            assert!(found == values, "{:?} {:?}", found.first(), values.first());
            assert!(count >= parts.min(2));
        }
    }
}

#[test]
fn an_error_in_a_range_names_the_row_of_the_file() {
    let (mut text, values) = table(&mut Random::new(4), 60_000);
    let found = surveyed(&Memory::new("x.csv", text.as_str()), &TextOptions::csv()).expect("found");
    let lines = text.bytes().filter(|byte| *byte == b'\n').count();
    text.push_str("last,x,y\n");
    let file = Memory::new("x.csv", text);
    let schema = merge(&[("x", &found)]).expect("merged");
    let last = *found.ranges(4).last().expect("a range");
    assert!(last.from.row > 30_000);
    let request = RowsRequest::new(found.dialect, schema);
    let request = RowsRequest { range: Some(last), ..request };
    let error = rows(Arc::new(file), request).expect("opened").find_map(Result::err);
    let (row, line) = (values.len() + 1, lines + 1);
    let expected = format!(
        "file 'x.csv': row {row} (line {line}), column 'id': 'last' can't be read as Int64"
    );
    assert_eq!(error.map(|error| error.to_string()), Some(expected));
}

#[test]
fn json_is_valid_where_serde_says_so() {
    let mut random = Random::new(5);
    let parts = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\"a\"",
        "\"b\":",
        ":",
        ",",
        "1",
        "-0.5e3",
        "01",
        "true",
        "null",
        " ",
        "\\n",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\x",
        "x",
        "\"a\":{",
        "\"c\":[",
        "2,",
    ];
    let mut valid = 0;
    for _ in 0..60_000 {
        let count = 1 + random.below(9);
        let inner: String = (0..count).map(|_| random.of(&parts)).collect();
        let text = format!("{{\"k\":{inner}}}");
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let file = Memory::new("x.json", text.as_str());
        let found = survey(&file, &TextOptions::json(), &Limits::default(), &Cancel::never());
        match (&found, &theirs) {
            (Ok(found), Ok(_)) => {
                valid += 1;
                assert_eq!(found.rows, 1, "{text}");
                read(&file, &TextOptions::json()).expect(&text);
            }
            // Keys that appear twice are rejected.
            (Err(error), Ok(_)) => assert!(error.to_string().contains("twice"), "{text}: {error}"),
            (Ok(found), Err(error)) => {
                // Objects may follow each other, and a number of any size is a text.
                let is_large = error.to_string().starts_with("number out of range");
                assert!(found.rows > 1 || is_large, "{text}: {error}");
            }
            (Err(_), Err(_)) => {}
        }
    }
    assert!(valid > 500, "{valid}");
}
