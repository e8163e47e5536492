//! As much of HTTP 1.1 as a client of JSON speaks.

use std::io::{BufRead, Write};

use serde_json::{Value, json};

/// A call.
pub(super) struct Request {
    pub(super) method: String,
    /// Method, path and query as they came.
    pub(super) line: String,
    /// The path without the query, as it came.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// The header `api-key`.
    pub(super) key: Option<String>,
    pub(super) is_json: bool,
    pub(super) body: String,
}

impl Request {
    /// The next call of a connection; `None` at its end.
    pub(super) fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
        let mut words = first.split_whitespace();
        let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query = pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let (path, line) = (path.to_string(), format!("{method} {target}"));
        let (key, is_json, body) = (None, false, String::new());
        let mut request = Self { method, line, path, query, key, is_json, body };
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok().filter(|bytes| *bytes > 0)?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "content-type" => request.is_json = value.trim().starts_with("application/json"),
                "api-key" => request.key = Some(value.trim().to_string()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        request.body = String::from_utf8(body).ok()?;
        Some(request)
    }
}

/// An answer.
pub(super) struct Response {
    status: u16,
    body: Value,
}

impl Response {
    /// What was asked for.
    pub(super) fn result(result: Value) -> Self {
        Self { status: 200, body: json!({ "result": result, "status": "ok", "time": 0.001 }) }
    }

    /// An error, as Qdrant writes them.
    pub(super) fn error(status: u16, text: &str) -> Self {
        Self { status, body: json!({ "status": { "error": text }, "time": 0.001 }) }
    }

    pub(super) fn write(&self, writer: &mut impl Write) -> std::io::Result<()> {
        let (status, body) = (self.status, self.body.to_string());
        let length = body.len();
        write!(
            writer,
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        writer.flush()
    }
}

/// A segment of a path as it was meant.
pub(super) fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}
