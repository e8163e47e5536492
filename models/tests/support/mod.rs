//! What tests of the public interface share: models with options, and where results of other
//! libraries lie and how they are read.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sembla_models::{Model, ModelSpec};
use serde_json::Value;

/// The model of that name or directory, with options as a user writes them.
pub(crate) fn load(source: &str, options: &[(&str, &str)]) -> Model {
    let mut spec = ModelSpec::new(source);
    for (key, value) in options {
        spec.set(key, value).expect("option");
    }
    Model::load(&spec).expect("load")
}

pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

pub(crate) fn gunzip(path: &Path) -> Vec<u8> {
    let output = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip");
    assert!(output.status.success());
    output.stdout
}

pub(crate) fn golden(name: &str) -> Option<Value> {
    let path = shared(&format!("goldens/{name}.json.gz"))?;
    Some(serde_json::from_slice(&gunzip(&path)).expect("json"))
}

pub(crate) fn sts() -> Option<(Vec<String>, Vec<String>, Vec<f64>)> {
    let path = shared("data/stsb/stsb-en-test.csv.gz")?;
    let text = String::from_utf8(gunzip(&path)).expect("utf-8");
    let (mut a, mut b, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let fields = csv_fields(line);
        if let [first, second, score] = &fields[..] {
            a.push(first.clone());
            b.push(second.clone());
            scores.push(score.parse().expect("score"));
        }
    }
    Some((a, b, scores))
}

pub(crate) fn csv_fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

/// The first field of each record after the header; a quoted field may span lines.
pub(crate) fn csv_records(text: &str) -> Vec<String> {
    let (mut records, mut record) = (Vec::new(), String::new());
    for line in text.lines().skip(1) {
        if !record.is_empty() {
            record.push('\n');
        }
        record.push_str(line);
        if record.matches('"').count() % 2 == 0 {
            records.extend(csv_fields(&record).into_iter().next());
            record.clear();
        }
    }
    records
}
