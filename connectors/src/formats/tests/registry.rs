//! Schemas from a registry: a small server on the loopback address that speaks as one.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use sembla_runtime::Error;

use super::*;

/// What the server has by path, and the requests that it was sent.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers each path with a status and a body, other paths with 404.
    fn new(answers: &[(&str, u16, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let answers: HashMap<String, (u16, String)> = answers
            .iter()
            .map(|(path, status, body)| (path.to_string(), (*status, body.clone())))
            .collect();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                let (mut first, mut head, mut length) = (String::new(), String::new(), 0);
                reader.read_line(&mut first).expect("a line");
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a line");
                    let lower = line.to_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a length");
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push_str(&line);
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                let body = String::from_utf8(body).expect("text");
                seen.lock().expect("requests").push(format!("{first}{head}{body}"));
                let path = first.split(' ').nth(1).unwrap_or_default();
                let unknown = (404, r#"{"error_code":40403}"#.to_string());
                let (status, body) = answers.get(path).cloned().unwrap_or(unknown);
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )
                .expect("an answer");
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("requests").clone()
    }
}

fn schema(text: &str, kind: Option<&str>) -> String {
    let mut answer = serde_json::json!({ "schema": text });
    if let Some(kind) = kind {
        answer["schemaType"] = kind.into();
    }
    answer.to_string()
}

/// A payload with the header of a schema id.
fn framed(id: u8, body: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, id], body].concat()
}

fn id_column() -> Vec<Column> {
    vec![Column::new("id", DataType::Int64, true), Column::new("text", DataType::Utf8, true)]
}

fn ids(decoded: &Decoded) -> Vec<Option<i64>> {
    decoded.rows.column(0).as_primitive::<Int64Type>().iter().collect()
}

#[tokio::test]
async fn avro_schemas_by_id() {
    let v1 = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"}]}"#;
    let v2 = r#"{"type":"record","name":"R","fields":[{"name":"text","type":"string"},
        {"name":"id","type":"int"},{"name":"x","type":"double"}]}"#;
    let v3 = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"string"}]}"#;
    let server = Server::new(&[
        ("/schemas/ids/1", 200, schema(v1, None)),
        ("/schemas/ids/2", 200, schema(v2, Some("AVRO"))),
        ("/schemas/ids/3", 200, schema(v3, None)),
        ("/schemas/ids/4", 200, schema("syntax = 'proto3';", Some("PROTOBUF"))),
        ("/schemas/ids/5", 200, schema("{", None)),
    ]);
    let given = [
        ("format", "avro"),
        ("schema_registry", server.address.as_str()),
        ("schema_registry_user", "martin"),
        ("schema_registry_password", "secret"),
    ];
    let mut decoder = decoder(&id_column(), &given);
    let v2_body = [&[2, b'a', 4][..], &1.0f64.to_le_bytes()].concat();
    let payloads = [
        framed(1, &[2]),
        framed(2, &v2_body),
        framed(9, &[2]),
        framed(1, &[4]),
        framed(3, &[2, b'x']),
        framed(3, &[2, b'7']),
        framed(4, &[2]),
        framed(5, &[2]),
        b"{}".to_vec(),
        vec![0, 0, 0],
        framed(2, &v2_body),
    ];
    let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let decoded = decode(&mut decoder, &slices).await;
    assert_eq!(ids(&decoded), [Some(1), Some(2), Some(2), Some(7), Some(2)]);
    assert_eq!(decoded.sequences, [100, 101, 103, 105, 110]);
    let texts: Vec<_> = decoded.rows.column(1).as_string::<i32>().iter().collect();
    assert_eq!(texts, [None, Some("a"), None, None, Some("a")]);
    let expected = [
        (102, "schema id 9 is not known to the schema registry http://127.0.0.1"),
        (104, "column 'id': Cannot cast string 'x'"),
        (106, "schema id 4: it is PROTOBUF, but format is 'avro'"),
        (107, "schema id 5: it is not JSON"),
        (108, "begins with byte 0x7b, not with the zero byte"),
        (109, "has 3 bytes; its framing alone"),
    ];
    assert_eq!(decoded.rejected.len(), expected.len());
    for (rejected, (position, reason)) in decoded.rejected.iter().zip(expected) {
        assert_eq!(rejected.position, position);
        assert!(rejected.reason.contains(reason), "{}", rejected.reason);
    }
    let before = server.requests();
    assert!(before.iter().all(|request| request.contains("Basic bWFydGluOnNlY3JldA==")));
    decode(&mut decoder, &slices).await;
    let after: Vec<_> = server.requests().split_off(before.len());
    assert_eq!(after.len(), 1, "only the unknown id is asked for again: {after:?}");
    assert!(after[0].starts_with("GET /schemas/ids/9 "));
}

#[tokio::test]
async fn protobuf_schemas_by_id() {
    let text = "syntax = 'proto3'; import 'b.proto'; message Other {}
        message M { int64 id = 1; B b = 2; }";
    let mut answer: serde_json::Value =
        serde_json::from_str(&schema(text, Some("PROTOBUF"))).expect("JSON");
    answer["references"] = serde_json::json!([{"name": "b.proto", "subject": "b/b", "version": 3}]);
    let b = schema("syntax = 'proto3'; message B { string s = 1; }", None);
    let server = Server::new(&[
        ("/schemas/ids/1", 200, answer.to_string()),
        ("/subjects/b%2Fb/versions/3", 200, b),
    ]);
    let given =
        [("format", "protobuf"), ("schema_registry", server.address.as_str()), ("message", "M")];
    let mut decoder = decoder(&id_column(), &given);
    // The index path of M: one index, which is 1.
    let good = framed(1, &[2, 2, 8, 5]);
    let other = framed(1, &[0]);
    let decoded = decode(&mut decoder, &[&good, &other, &framed(1, &[]), &good]).await;
    assert_eq!(ids(&decoded), [Some(5), Some(5)]);
    let reasons: Vec<_> = decoded.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "the payload is not a M, but another message of the schema",
            "the payload ends within its framing"
        ]
    );
}

#[tokio::test]
async fn what_a_registry_can_answer() {
    let server = Server::new(&[
        ("/schemas/ids/1", 500, String::new()),
        ("/schemas/ids/2", 401, String::new()),
        ("/schemas/ids/3", 200, "no JSON".into()),
    ]);
    let closed =
        TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let closed = format!("http://{closed}");
    for (address, id, is_transient, text) in [
        (&server.address, 1, true, "HTTP 500"),
        (&server.address, 2, false, "denied access (HTTP 401)"),
        (&server.address, 3, false, "returned an invalid schema"),
        (&closed, 1, true, "can't be reached"),
    ] {
        let given = [("format", "avro"), ("schema_registry", address.as_str())];
        let mut decoder = decoder(&id_column(), &given);
        let payload = framed(id, &[2]);
        let error =
            decoder.decode(&origin(), &records(&[Some(&payload)])).await.expect_err("no schema");
        assert_eq!(error.is_transient(), is_transient, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn addresses_that_can_not_be() {
    let refusal = |address| {
        decoder_refusal(&id_column(), &[("format", "avro"), ("schema_registry", address)])
    };
    assert!(refusal("localhost:8081").contains("begins with http:// or https://"));
    let secret = refusal("http://martin:secret@localhost:8081");
    assert!(secret.contains("schema_registry_user") && !secret.contains("martin:"), "{secret}");
}

#[tokio::test]
async fn writers_register_once() {
    let server = Server::new(&[("/subjects/found-value/versions", 200, r#"{"id":7}"#.into())]);
    let rows = numbers(&[1, 2]);
    let proto = "syntax = 'proto3'; message Other {} message M { int64 id = 1; }";
    for (format, more) in
        [("avro", vec![]), ("protobuf", vec![("schema", proto), ("message", "M")])]
    {
        let mut given = vec![("format", format), ("schema_registry", server.address.as_str())];
        given.extend(more);
        let options = options(ENCODE_OPTIONS, &given);
        let mut encoder =
            Encoder::new(&rows.schema(), &options, "found-value").expect("an encoder");
        let before = server.requests().len();
        let payloads = encoder.encode(&rows).await.expect("payloads");
        encoder.encode(&rows).await.expect("payloads");
        let requests = server.requests().split_off(before);
        assert_eq!(requests.len(), 1);
        assert!(requests[0].contains(&format.to_uppercase()), "{}", requests[0]);
        assert!(payloads.iter().all(|payload| payload.starts_with(&[0, 0, 0, 0, 7])));
        let given = [("format", format), ("framing", "confluent")];
        let schema = requests[0].rsplit_once("\r\n").map_or("", |(_, body)| body);
        let schema: serde_json::Value = serde_json::from_str(schema).expect("JSON");
        let schema = schema["schema"].as_str().expect("a schema");
        let mut given = given.to_vec();
        given.push(("schema", schema));
        if format == "protobuf" {
            given.push(("message", "M"));
        }
        let mut decoder = decoder(&id_column()[..1], &given);
        let slices: Vec<&[u8]> = payloads.iter().map(AsRef::as_ref).collect();
        assert_eq!(ids(&decode(&mut decoder, &slices).await), [Some(1), Some(2)]);
    }
    let given = options(ENCODE_OPTIONS, &[("format", "avro"), ("framing", "confluent")]);
    let refused = Encoder::new(&rows.schema(), &given, "s").err().expect("a refusal");
    assert!(matches!(refused, Error::Option(_)));
}
