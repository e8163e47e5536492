//! Reads what ONNX Runtime writes of the time that its operators take, and adds it up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::backends::OperatorTime;
use crate::{ModelError, Result};

/// Operators whose work is a product with a matrix of weights.
const PRODUCTS: &[&str] = &["QLinear", "Gemm", "MatMul", "FusedGemm", "FusedMatMul"];

/// Of an event only what is used here.
#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    /// Microseconds.
    #[serde(default)]
    dur: u64,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    op_name: String,
    /// One object a tensor: its type, and its dimensions.
    #[serde(default)]
    input_type_shape: Vec<Value>,
    #[serde(default)]
    output_type_shape: Vec<Value>,
}

/// Adds up the files of some sessions, by operator, the longest first.
///
/// # Errors
/// [`ModelError::BadModelFile`] for a file that is not such a profile.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<OperatorTime>> {
    let mut times = BTreeMap::new();
    for path in files {
        add(path, &mut times)?;
    }
    let mut times: Vec<OperatorTime> = times.into_values().collect();
    times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Ok(times)
}

fn add(path: &Path, times: &mut BTreeMap<String, OperatorTime>) -> Result<()> {
    let file = File::open(path).map_err(|error| ModelError::io(path, error))?;
    let events: Vec<Event> = serde_json::from_reader(BufReader::new(file))
        .map_err(|error| ModelError::file(path, format!("is no profile: {error}")))?;
    let nodes =
        events.iter().filter(|event| event.cat == "Node" && event.name.ends_with("_kernel_time"));
    for event in nodes {
        let (name, operations) = describe(&event.args);
        let time = times.entry(name.clone()).or_insert(OperatorTime {
            name,
            calls: 0,
            seconds: 0.0,
            operations: 0.0,
        });
        time.calls += 1;
        time.seconds += event.dur as f64 / 1e6;
        time.operations += operations;
    }
    Ok(())
}

/// What an operator is called, and how many multiplications and additions one call is.
fn describe(args: &Arguments) -> (String, f64) {
    let inputs = args.input_type_shape.first().map(dimensions).unwrap_or_default();
    let outputs = args.output_type_shape.first().map(dimensions).unwrap_or_default();
    match (inputs[..].last(), outputs[..].last()) {
        (Some(from), Some(to)) if PRODUCTS.contains(&args.op_name.as_str()) => {
            let values: f64 = outputs.iter().product();
            (format!("{} {from} x {to}", args.op_name), 2.0 * values * from)
        }
        _ => (args.op_name.clone(), 0.0),
    }
}

/// The dimensions of `{"float":[256,384]}`.
fn dimensions(tensor: &Value) -> Vec<f64> {
    let shape = tensor.as_object().and_then(|tensor| tensor.values().next());
    let sizes = shape.and_then(Value::as_array).into_iter().flatten();
    sizes.filter_map(Value::as_f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_added_up_by_operator_and_width() {
        let node = |op: &str, dur: u64, from: u64, to: u64| {
            format!(
                r#"{{"cat":"Node","name":"n_kernel_time","dur":{dur},"args":{{"op_name":"{op}",
                "input_type_shape":[{{"float":[10,{from}]}}],"output_type_shape":[{{"float":[10,{to}]}}]}}}}"#
            )
        };
        let text = format!(
            r#"[{{"cat":"Session","name":"model_run","dur":99,"args":{{}}}},
            {{"cat":"Node","name":"n_fence_before","dur":99,"args":{{"op_name":"Gemm"}}}},{}]"#,
            [
                node("QLinear", 2, 384, 1536),
                node("QLinear", 3, 384, 1536),
                node("QLinear", 40, 1536, 384),
                node("Attention", 4, 1152, 384),
            ]
            .join(",")
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("session.json");
        std::fs::write(&path, text).expect("written");
        let times = read(std::slice::from_ref(&path)).expect("read");
        let rows: Vec<_> =
            times.iter().map(|time| (time.name.as_str(), time.calls, time.operations)).collect();
        let products = 2.0 * 10.0 * 384.0 * 1536.0;
        assert_eq!(
            rows,
            [
                ("QLinear 1536 x 384", 1, products),
                ("QLinear 384 x 1536", 2, 2.0 * products),
                ("Attention", 1, 0.0),
            ]
        );
        assert!((times[1].seconds - 5e-6).abs() < 1e-12);
        std::fs::write(&path, "[{").expect("written");
        assert!(read(&[path]).is_err());
    }
}
