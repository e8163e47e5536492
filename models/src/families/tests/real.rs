//! Real models against published results. They need files that the repository doesn't carry, and
//! are skipped with a message where those are missing.

use std::io::Read;

use super::packed::{cosine, packed_session, parts, run_packed};
use super::*;
use crate::CancelToken;
use crate::inputs::{Input, Reading, TextReader};
use crate::pool::normalize;

/// A file or folder beside the repository, if it is there.
fn beside(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(path);
    if !found.exists() {
        eprintln!("skipped: ../shared/{path} is not there");
        return None;
    }
    Some(found)
}

/// Reads a gzip file with the system's own tool; the crate has no need for one.
fn gunzip(path: &Path) -> String {
    let mut child = std::process::Command::new("gzip")
        .arg("-dc")
        .arg(path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip");
    let mut text = String::new();
    child.stdout.take().expect("its output").read_to_string(&mut text).expect("UTF-8");
    assert!(child.wait().expect("gzip ends").success());
    text
}

fn reader(model: &Path, length: usize) -> TextReader {
    let reading = Reading {
        max_length: Some(length),
        add_special_tokens: true,
        lowercase: false,
        pools_prompt: true,
        reads_beginning: false,
        extent: crate::inputs::Extent::All,
        padding_token: None,
    };
    TextReader::load(&model.join("tokenizer.json"), "real", reading).expect("a tokenizer")
}

/// The normalised mean of a text's token vectors.
fn mean(tokens: &[f32], hidden: usize) -> Vec<f32> {
    let mut mean = vec![0.0; hidden];
    for row in tokens.chunks(hidden) {
        mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    normalize(&mut mean, 1e-12);
    mean
}

#[test]
fn minilm_gives_its_published_vectors() {
    let Some(goldens) = beside("goldens/embeddings.json.gz") else { return };
    let Some(model) = std::env::var_os("SEMBLA_TEST_MINILM").map(PathBuf::from) else {
        eprintln!("skipped: SEMBLA_TEST_MINILM doesn't name the folder of all-MiniLM-L6-v2");
        return;
    };
    let goldens: Value = serde_json::from_str(&gunzip(&goldens)).expect("JSON");
    let list = goldens["texts"].as_array().expect("texts");
    let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
    let sequences = reader(&model, 256).read(&inputs, "", &CancelToken::new()).expect("token ids");
    let batch: Vec<Tokens> = sequences.into_iter().map(|one| (one.ids, Vec::new())).collect();
    let want: Vec<Vec<f32>> =
        goldens["vectors"].as_array().expect("vectors").iter().map(floats).collect();
    assert_eq!(batch.len(), want.len());

    let (transformer, weights) = open(&model);
    let config = &transformer.config;
    let built = |form, quantised| {
        transformer.build(&weights, Task::Embed, form, quantised).expect("a graph")
    };
    let mut padded = session(&built(Form::Padded, false).bytes);
    for ((text, tokens), want) in texts.iter().zip(&batch).zip(&want) {
        let (_, values) = run_padded(&mut padded, config, std::slice::from_ref(tokens));
        assert_close(&format!("padded '{text}'"), &mean(&values, config.hidden), want, 1e-5);
    }
    for (quantised, what) in [(false, "packed"), (true, "in 8 bits")] {
        let mut session = packed_session(built(Form::Packed, quantised));
        let values = run_packed(&mut session, config, &batch);
        for ((text, tokens), want) in
            texts.iter().zip(parts(&values, &batch, config.hidden)).zip(&want)
        {
            let got = mean(tokens, config.hidden);
            if quantised {
                let near = cosine(&got, want);
                assert!(near > 0.99, "{what} '{text}': cosine {near}");
            } else {
                assert_close(&format!("{what} '{text}'"), &got, want, 1e-5);
            }
        }
    }
}

/// The fields of a CSV record; quotes may enclose a field and are doubled inside.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = fields.len() - 1;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields[last].push(other),
        }
    }
    fields
}

#[test]
fn a_trained_cross_encoder_gives_its_published_logits() {
    let (Some(model), Some(goldens), Some(data)) = (
        beside("models/cross-encoder-minilm-stsb"),
        beside("goldens/cross_encoder.json.gz"),
        beside("data/stsb/stsb-en-test.csv.gz"),
    ) else {
        return;
    };
    let goldens: Value = serde_json::from_str(&gunzip(&goldens)).expect("JSON");
    let want = floats(&goldens["logits"]);
    let rows: Vec<Vec<String>> =
        gunzip(&data).lines().map(fields).filter(|row| row.len() == 3).collect();
    assert_eq!(rows.len(), want.len());
    let pairs: Vec<Input<'_>> =
        rows.iter().take(200).map(|row| Input::Pair(&row[0], &row[1])).collect();
    let sequences = reader(&model, 128).read(&pairs, "", &CancelToken::new()).expect("token ids");
    let batch: Vec<Tokens> =
        sequences.into_iter().map(|one| (one.ids, one.type_ids.unwrap_or_default())).collect();

    let (transformer, weights) = open(&model);
    let config = &transformer.config;
    let built = |form| transformer.build(&weights, Task::Classify, form, false).expect("a graph");
    let (_, padded) = run_padded(&mut session(&built(Form::Padded).bytes), config, &batch);
    assert_close("padded", &padded, &want[..200], 1e-4);
    let packed = run_packed(&mut packed_session(built(Form::Packed)), config, &batch);
    assert_close("packed", &packed, &want[..200], 1e-4);
}
