//! JSON as people have it.

use super::{json_of, refused};

fn lines(result: crate::Result<Vec<String>>) -> Vec<String> {
    result.expect("readable")
}

#[test]
fn objects_are_found_in_any_shape() {
    let expected = ["id Int64, text Utf8", "1 | my card", "2 | rain, [is] {falling}"];
    let objects = [r#"{"id":1,"text":"my card"}"#, r#"{"id":2,"text":"rain, [is] {falling}"}"#];
    let pretty = "{\n  \"id\": 1,\n  \"text\": \"my card\"\n}\n{\n  \"id\": 2,\n  \"text\": \"rain, [is] {falling}\"\n}";
    for text in [
        objects.join("\n"),
        objects.join("\r\n\n \t\n") + "\n\n",
        objects.join(" "),
        objects.join(""),
        format!("[{}]", objects.join(",")),
        format!(" \n\n{}[\n{}\n]\n", " ".repeat(400), objects.join(",\n")),
        pretty.to_string(),
        format!("[\n  {}\n]", pretty.replace("}\n{", "},\n{")),
    ] {
        for bom in ["", "\u{feff}"] {
            assert_eq!(lines(json_of(format!("{bom}{text}"))), expected, "{text}");
        }
    }
    for empty in ["", "\n \n", "[]", " [ ] ", "\u{feff}"] {
        assert_eq!(lines(json_of(empty)), [""], "{empty:?}");
    }
    let nested = lines(json_of("{\"data\": [\n {\"id\": 1}, {\"x\": \"y\"}\n]}"));
    assert_eq!(nested[1], "[{id: 1, x: NULL}, {id: NULL, x: y}]");
}

#[test]
fn late_fields_are_columns_and_late_types_hold() {
    let mut text = String::new();
    (0..3000).for_each(|row| text.push_str(&format!("{{\"id\":{row},\"n\":1,\"m\":null}}\n")));
    text.push_str("{\"id\":\"A3001\",\"n\":2.5,\"extra\":\"late\"}\n");
    let lines = lines(json_of(text));
    assert_eq!(lines[0], "id Utf8, n Float64, m Utf8, extra Utf8");
    assert_eq!(lines[1], "0 | 1.0 | NULL | NULL");
    assert_eq!(lines[3001], "A3001 | 2.5 | NULL | late");
}

#[test]
fn numbers_keep_their_digits() {
    let of = |values: &str| {
        let objects = values.split(' ').map(|value| format!("{{\"n\":{value}}}"));
        lines(json_of(objects.collect::<Vec<_>>().join("\n"))).join("; ")
    };
    assert_eq!(of("9007199254740993"), "n Int64; 9007199254740993");
    assert_eq!(of("1 18446744073709551615"), "n UInt64; 1; 18446744073709551615");
    assert_eq!(of("1 18446744073709551616"), "n Utf8; 1; 18446744073709551616");
    assert_eq!(of("9007199254740993 0.5"), "n Utf8; 9007199254740993; 0.5");
    assert_eq!(of("1 1e2 -0.5"), "n Float64; 1.0; 100.0; -0.5");
    assert_eq!(of("1.5 NaN -Infinity"), "n Float64; 1.5; NaN; -inf");
}

#[test]
fn mixed_values_are_texts() {
    let of = |values: &[&str]| {
        let objects = values.iter().map(|value| format!("{{\"v\":{value}}}"));
        lines(json_of(objects.collect::<Vec<_>>().join("\n"))).join("; ")
    };
    assert_eq!(of(&["1", "\"x2\"", "1.50", "true", "null"]), "v Utf8; 1; x2; 1.50; true; NULL");
    assert_eq!(of(&["[1, 2]", "3"]), "v Utf8; [1, 2]; 3");
    assert_eq!(of(&["{\"a\": 1}", "\"b\""]), "v Utf8; {\"a\": 1}; b");
    assert_eq!(of(&["{\"a\":1}", "[]"]), "v Utf8; {\"a\":1}; []");
    assert_eq!(of(&["true", "false"]), "v Boolean; true; false");
    assert_eq!(of(&["{}", "null"]), "v Utf8; {}; NULL");
    assert_eq!(of(&["[]", "null"]), "v List(Utf8); []; NULL");
    assert_eq!(of(&["[1]", "[null, 2.5]", "[]"]), "v List(Float64); [1.0]; [NULL, 2.5]; []");
    assert_eq!(of(&["[\"a\", 1]"]), "v List(Utf8); [a, 1]");
    assert_eq!(of(&["\"\"", "\"x\""]), "v Utf8; ; x");
    assert_eq!(of(&["\"2024-01-01\""]), "v Utf8; 2024-01-01");
}

#[test]
fn strings_are_unescaped() {
    let text = r#"{"a\u0062":"tab\t \"q\" \\ \/ \u00e9 \ud83d\ude00 né"}"#;
    assert_eq!(lines(json_of(text)), ["ab Utf8", "tab\t \"q\" \\ / é 😀 né"]);
}

#[test]
fn what_is_no_json_is_refused_with_its_line() {
    let refusal = |text: &str| refused(json_of(text)).replacen("file 'x.json': ", "", 1);
    let good = "{\"id\":1}\n";
    assert_eq!(
        refusal(&format!("{good}{good}not json\n{good}")),
        "line 3: expected a value, found \"not\""
    );
    assert_eq!(
        refusal(&format!("{good}{{\"id\":2,\"text\":\"ra")),
        "line 2: a value isn't complete; the file may be cut off"
    );
    assert_eq!(
        refusal(&format!("{good}{{\"id\":2,\"t\":\"ra\n{good}")),
        "line 2: a string isn't closed before the end of the line"
    );
    assert_eq!(
        refusal(&format!("{good}{{\"id\":2\n{good}")),
        "line 3: expected ',' or '}', found \"{\""
    );
    assert_eq!(refusal("[{\"id\":1},\n{\"id\":2},\n]"), "line 3: expected a value, found \"]\"");
    assert_eq!(
        refusal("[{\"id\":1},\n{\"id\":2}\n"),
        "line 3: the array isn't closed; the file may be cut off"
    );
    assert_eq!(
        refusal("[{\"id\":1}\n{\"id\":2}]"),
        "line 2: expected ',' or ']' after an element of the array"
    );
    assert_eq!(
        refusal("[{\"id\":1}]\n{\"id\":2}"),
        "line 2: something follows the end of the array"
    );
    assert_eq!(refusal("{\"id\":1}\n5\n"), "line 2 is a number, not an object with fields");
    assert_eq!(refusal("[1, 2]"), "line 1 is a number, not an object with fields");
    assert_eq!(
        refusal(&format!("{good}{{\"a\":1,\n\"a\":2}}")),
        "line 3: an object names 'a' twice"
    );
    assert_eq!(refusal("{\"a\":\"\\ud83d\"}"), "line 1: '\\ud83d' is half of a surrogate pair");
    assert_eq!(refusal("{\"a\":\"\\x\"}"), "line 1: '\\x' is not a JSON escape");
    assert_eq!(refusal("{\"a\":01}"), "line 1: expected a number, found \"01\"");
    assert_eq!(refusal("{'a':1}"), "line 1: expected the name of a field in quotes, found \"'a\"");
    let latin = b"{\"id\":1}\n{\"text\":\"gr\xf6\xdfe\"}\n".to_vec();
    let message = refused(json_of(latin));
    assert_eq!(
        message,
        "file 'x.json': line 2 isn't UTF-8, it has the byte 0xf6; convert the file to UTF-8"
    );
}
