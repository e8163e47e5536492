//! CSV as people have it.

use super::{Memory, csv_of, read, refused, surveyed};
use crate::{Dialect, TextOptions, merge};

fn lines(result: crate::Result<Vec<String>>) -> Vec<String> {
    result.expect("readable")
}

#[test]
fn delimiters_are_found() {
    let expected = ["id Int64, text Utf8", "1 | a, b", "2 | c"];
    for delimiter in [",", ";", "\t", "|"] {
        let text = format!("id{delimiter}text\n1{delimiter}\"a, b\"\n2{delimiter}c\n");
        assert_eq!(lines(csv_of(text)), expected, "{delimiter:?}");
    }
    // A comma within numbers doesn't make it the delimiter.
    assert_eq!(lines(csv_of("price;name\n1,5;x\n2,5;y\n"))[1], "1,5 | x");
    // One column.
    assert_eq!(lines(csv_of("text\na b\nc;d\n")), ["text Utf8", "a b", "c;d"]);
    let given = TextOptions { delimiter: Some(b';'), ..TextOptions::csv() };
    assert_eq!(lines(read(&Memory::new("x.csv", "a,b\n1,2\n"), &given)), ["a,b Utf8", "1,2"]);
    let tabs = TextOptions { delimiter_preferred: b'\t', ..TextOptions::csv() };
    assert_eq!(lines(read(&Memory::new("x.tsv", "a\tb,c\n1\t2,3\n"), &tabs))[1], "1 | 2,3");
}

#[test]
fn quotes_and_escapes_are_found() {
    let text = "id,text\n1,\"he said \\\"hello, you\\\" to me\"\n2,\"a \\\\ b\"\n3,plain\n";
    let expected =
        ["id Int64, text Utf8", "1 | he said \"hello, you\" to me", r"2 | a \ b", "3 | plain"];
    assert_eq!(lines(csv_of(text)), expected);
    let text = "id;text\n1;'my card; was stolen'\n2;'it''s raining'\n";
    assert_eq!(lines(csv_of(text))[1..], ["1 | my card; was stolen", "2 | it's raining"]);
    // A backslash is a character where quotes are doubled, and an apostrophe is no quote.
    let text = "id,text\n1,\"across the US.\\\"\n2,\"a \"\"b\"\"\"\n3,'tis\n";
    assert_eq!(lines(csv_of(text))[1..], [r"1 | across the US.\", "2 | a \"b\"", "3 | 'tis"]);
}

#[test]
fn quotes_and_escapes_can_be_given() {
    let given = TextOptions { quote: Some(b'\''), escape: Some(b'^'), ..TextOptions::csv() };
    let file = Memory::new("x.csv", "id,text\n1,'it^'s, ^^so'\n2,\"a\"\n3,'a^b'\n");
    let found = lines(read(&file, &given));
    assert_eq!(found[1..], ["1 | it's, ^so", "2 | \"a\"", "3 | a^b"]);
}

#[test]
fn an_escape_that_comes_late_is_refused_and_not_misread() {
    let many = "7,\"plain, text that is long enough to fill the sample\"\n".repeat(8_000);
    let text = format!("id,text\n{many}8,\"he said \\\"no\\\" twice\"\n");
    let error = refused(csv_of(text));
    assert!(error.contains("row 8001 (line 8002)") && error.contains("escape => '\\'"), "{error}");
}

#[test]
fn a_header_is_recognised() {
    let has_header = |text: &str| {
        let found = surveyed(&Memory::new("x.csv", text), &TextOptions::csv()).expect("surveyed");
        let Dialect::Csv(csv) = found.dialect else { panic!("not CSV") };
        csv.has_header
    };
    for header in [
        "id,text\n1,a\n",
        "a,b\nc,d\n",
        "id,text\n",
        ",id,text\n0,1,a\n",
        "country,2020,2021\nUS,1,2\n",
        "country,2020\nUS,5\n",
        ",0,1,2\n0,5,6,9\n",
        "",
        "2,rain\n",
        "when,n\n2024-01-01,1\n",
        "1,2,3\n4,6,5\n",
    ] {
        assert!(has_header(header), "{header:?}");
    }
    for data in [
        "2,rain\n3,sun\n",
        "1.5,x\n2.5,y\n",
        "2024-01-01,a\n2024-01-02,b\n",
        "7,,x\n8,y,x\n",
        "a,true\nb,false\n",
    ] {
        assert!(!has_header(data), "{data:?}");
    }
    assert_eq!(
        lines(csv_of("2,rain\n3,sun\n")),
        ["column_1 Int64, column_2 Utf8", "2 | rain", "3 | sun"]
    );
    let with = TextOptions { header: Some(true), ..TextOptions::csv() };
    assert_eq!(
        lines(read(&Memory::new("x.csv", "2,rain\n3,sun\n"), &with))[0],
        "2 Int64, rain Utf8"
    );
    let without = TextOptions { header: Some(false), ..TextOptions::csv() };
    let text = "text,text\na,b\n";
    assert_eq!(lines(read(&Memory::new("x.csv", text), &without))[1], "text | text");
}

#[test]
fn names_of_columns_are_different_and_not_empty() {
    let message = refused(csv_of("id,text,text\n1,a,b\n"));
    assert_eq!(
        message,
        "file 'x.csv': two columns are named 'text'; rename one, or use header => false"
    );
    assert_eq!(lines(csv_of("id,,\n1,a,b\n"))[0], "id Int64, column_2 Utf8, column_3 Utf8");
    assert_eq!(lines(csv_of(",column_1\n1,a\n"))[0], "column_1_ Int64, column_1 Utf8");
    assert_eq!(lines(csv_of("text,Text\na,b\n"))[0], "text Utf8, Text Utf8");
    let bom = "\u{feff}\"id\",\"a \"\"b\"\"\"\n1,x\n";
    assert_eq!(lines(csv_of(bom))[0], "id Int64, a \"b\" Utf8");
}

#[test]
fn types_hold_for_every_row() {
    let late = |first: &str, last: &str| {
        let mut text = "id,text\n".to_string();
        (0..3000).for_each(|row| text.push_str(&format!("{},{first}\n", row % 10)));
        text.push_str(&format!("3000,{last}\n"));
        let lines = lines(csv_of(text));
        (lines[0].clone(), lines[1].clone(), lines[3001].clone())
    };
    let case = |first, last, kind: &str, shown: [&str; 2]| {
        let expected = (
            format!("id Int64, text {kind}"),
            format!("0 | {}", shown[0]),
            format!("3000 | {}", shown[1]),
        );
        assert_eq!(late(first, last), expected);
    };
    case("", "here is one", "Utf8", ["NULL", "here is one"]);
    case("5", "2.5", "Float64", ["5.0", "2.5"]);
    case("5", "A3001", "Utf8", ["5", "A3001"]);
    case("5", "18446744073709551615", "UInt64", ["5", "18446744073709551615"]);
    case("5", "184467440737095516150", "Utf8", ["5", "184467440737095516150"]);
    case("9007199254740993", "2.5", "Utf8", ["9007199254740993", "2.5"]);
    case("2024-01-01", "soon", "Utf8", ["2024-01-01", "soon"]);
    case("007", "8", "Utf8", ["007", "8"]);
    case("+1", "1", "Utf8", ["+1", "1"]);
    case("", "", "Utf8", ["NULL", "NULL"]);
    case("true", "1", "Utf8", ["true", "1"]);
    case("1e5", "2", "Float64", ["100000.0", "2.0"]);
    case(
        "2024-01-01",
        "2024-01-01T10:00:00",
        "Timestamp(s)",
        ["2024-01-01T00:00:00", "2024-01-01T10:00:00"],
    );
}

#[test]
fn what_is_empty_is_null() {
    let text = "id,text\n1,\n2,\"\"\n3,\" \"\n\n4,x\n";
    assert_eq!(
        lines(csv_of(text)),
        ["id Int64, text Utf8", "1 | NULL", "2 | NULL", "3 |  ", "4 | x"]
    );
    assert_eq!(lines(csv_of("")), [""]);
    assert_eq!(lines(csv_of("\u{feff}\r\n\n")), [""]);
    assert_eq!(lines(csv_of("id,text\n")), ["id Utf8, text Utf8"]);
}

#[test]
fn backslashes_and_quotes_are_characters() {
    let text = "a,b\n\"ends with \\\",x\nin \"side\" it,\\\n\"q\"\"q\", \"y\" \n";
    assert_eq!(
        lines(csv_of(text)),
        ["a Utf8, b Utf8", "ends with \\ | x", "in \"side\" it | \\", "q\"q |  \"y\" "]
    );
}

#[test]
fn rows_that_can_not_be_read_are_named() {
    let mut text = "a,b,c,d,e,f,g\n".to_string();
    (0..40).for_each(|_| text.push_str("\"1\n\",2,3,4,5,6,7\n"));
    text.push_str("1,2,3\n");
    assert_eq!(refused(csv_of(text)), "file 'x.csv': row 41 (line 82) has 3 columns, the header 7");
    let without = TextOptions { header: Some(false), ..TextOptions::csv() };
    let message = refused(read(&Memory::new("x.csv", "1,2\n3\n"), &without));
    assert_eq!(message, "file 'x.csv': row 2 (line 2) has 1 column, the first row 2");
    assert_eq!(
        refused(csv_of("id,text\n1,a\n2,\"b\nc")),
        "file 'x.csv': the quote opened in row 2 (line 3) is never closed"
    );
    assert_eq!(
        refused(csv_of("id,\"text\n1,a\n")),
        "file 'x.csv': the quote opened in the first row is never closed"
    );
    assert_eq!(
        refused(csv_of(b"id,text\n1,a\n2,gr\xf6\xdfe\n".to_vec())),
        "file 'x.csv': row 2 (line 3) isn't UTF-8, it has the byte 0xf6; convert the file to UTF-8"
    );
    let utf16: Vec<u8> = "\u{feff}id,text\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        refused(csv_of(utf16)),
        "file 'x.csv' is UTF-16; convert it with iconv -f UTF-16 -t UTF-8"
    );
}

#[test]
fn files_are_put_together_by_name() {
    let text = ["id,text,n\n1,a,5\n", "text,id\nb,x2\n", "id,text,late\n3,c,2024-01-01\n"];
    let files: Vec<Memory> = text.iter().map(|text| Memory::new("x.csv", *text)).collect();
    let found: Vec<_> =
        files.iter().map(|file| surveyed(file, &TextOptions::csv()).expect("surveyed")).collect();
    let named: Vec<_> = found.iter().map(|survey| ("x.csv", survey)).collect();
    let schema = merge(&named).expect("merged");
    let mut read = Vec::new();
    for (file, survey) in files.iter().zip(&found) {
        read.extend(super::shown(&super::read_as(file, survey, &schema).expect("read")));
    }
    read.retain(|line| !line.starts_with("id "));
    assert_eq!(read, ["1 | a | 5 | NULL", "x2 | b | NULL | NULL", "3 | c | NULL | 2024-01-01"]);

    let data = Memory::new("b.csv", "2,rain\n3,sun\n");
    let data = surveyed(&data, &TextOptions::csv()).expect("surveyed");
    let error = merge(&[("a.csv", &found[0]), ("b.csv", &data)]).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "file 'a.csv' begins with a header, 'b.csv' with a row; use header => true or header => false"
    );
}
