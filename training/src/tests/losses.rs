//! Each loss's value and gradients are Sentence-Transformers'.

use serde_json::Value;

use super::{expected, floats};
use crate::losses::{self, Input, Labels, LossOptions, Matryoshka};

/// The made-up vectors of a column.
fn column(number: usize, rows: usize, width: usize) -> Vec<f32> {
    let value = |row: usize, place: usize| {
        let angle = 1.0 + 0.9 * row as f64 + 1.7 * place as f64 + 2.3 * number as f64;
        (angle.sin() + 0.1 * number as f64) as f32
    };
    (0..rows).flat_map(|row| (0..width).map(move |place| value(row, place))).collect()
}

fn labels(case: &Value, rows: usize, width: usize) -> Labels {
    if let Some(number) = case.get("vectors").and_then(Value::as_u64) {
        return Labels::Vectors { values: column(number as usize, rows, width), width };
    }
    match &case["labels"] {
        Value::Null => Labels::None,
        values if case["loss"] == "batch_all_triplet" => {
            Labels::Classes(floats(values).into_iter().map(|label| label as u32).collect())
        }
        values => {
            let values = floats(values);
            Labels::Scores { per_row: values.len() / rows, values }
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_sentence_transformers() {
    let cases = expected("losses.json");
    let rows = cases["rows"].as_u64().expect("rows") as usize;
    let mut seen = std::collections::BTreeSet::new();
    for case in cases["cases"].as_array().expect("cases") {
        let name = case["loss"].as_str().expect("a name");
        let width =
            case.get("width").unwrap_or(&cases["width"]).as_u64().expect("a width") as usize;
        let count = case["columns"].as_u64().expect("columns") as usize;
        let number = |key: &str| case["options"][key].as_f64().map(|value| value as f32);
        let options = LossOptions { scale: number("scale"), margin: number("margin") };
        let mut loss = (losses::find(name).expect("a loss").build)(options);
        if !case["dimensions"].is_null() {
            let dimensions = floats(&case["dimensions"]).into_iter().map(|d| d as usize).collect();
            loss = Box::new(Matryoshka { loss, dimensions });
        }
        let columns: Vec<Vec<f32>> = (0..count).map(|number| column(number, rows, width)).collect();
        let views: Vec<&[f32]> = columns.iter().map(|column| &column[..]).collect();
        let labels = labels(case, rows, width);
        let mut gradients = vec![vec![0f32; rows * width]; count];
        let input = Input { columns: &views, width, labels: &labels };
        let value = loss.value(&input, &mut gradients);
        let want = case["value"].as_f64().expect("a value");
        assert!((value - want).abs() < 2e-5 * want.abs().max(1.0), "{case}: {value}");
        for (number, gradient) in gradients.iter().enumerate() {
            let want = floats(&case["gradients"][number]);
            let most = want.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
            for (own, want) in gradient.iter().zip(&want) {
                assert!((own - want).abs() < 1e-4 * most, "{name}, column {number}: {own} {want}");
            }
        }
        seen.insert(name);
    }
    for def in losses::LOSSES {
        assert!(seen.contains(def.name), "no case for {}", def.name);
    }
}

#[test]
fn a_loss_is_found_by_any_of_its_names() {
    for def in losses::LOSSES {
        for name in def.aliases.iter().chain([&def.name]) {
            assert_eq!(losses::find(&name.to_uppercase()).expect("a loss").name, def.name);
        }
    }
    let message = losses::find("mnlr").expect_err("unknown").to_string();
    assert!(message.contains("mnrl") && message.contains("cosent"), "{message}");
}
