//! Whole runs on tiny models: what they end with, what a kill changes (nothing), how they fail.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use sembla_models::trainable::Sequence;
use sembla_models::{CancelToken, Model, ModelSpec, Prompt};

use super::{model_folder, open};
use crate::evaluate::Metric;
use crate::losses::{self, LossOptions};
use crate::trainer::{Objective, Target, Training};
use crate::{CheckpointEvery, Dataset, Evaluator, Event, Labels, Network, Options, Summary, train};

const WORDS: [&str; 10] =
    ["cat", "dog", "snow", "park", "refund", "card", "london", "night", "red", "blue"];

fn text(number: usize) -> String {
    let word = |place: usize| WORDS[(number * 7 + place * 3 + number / 10) % WORDS.len()];
    format!("the {} and the {} {}", word(0), word(1), word(number % 5))
}

/// Pairs with a score.
fn pairs(rows: usize) -> (Vec<Vec<String>>, Labels) {
    let columns = [0, 31].map(|more| (0..rows).map(|row| text(row + more)).collect());
    let values = (0..rows).map(|row| (row * 13 % 11) as f32 / 10.0).collect();
    (columns.to_vec(), Labels::Scores { values, per_row: 1 })
}

fn objective(name: &str) -> Objective {
    let loss = losses::find(name).expect("a loss");
    Objective { loss, options: LossOptions::default(), matryoshka: Vec::new() }
}

fn options() -> Options {
    Options {
        epochs: 2,
        batch: 8,
        learning_rate: Some(1e-3),
        dropout: Some(0.1),
        checkpoint_every: CheckpointEvery::Steps(3),
        ..Options::default()
    }
}

/// Trains on scored pairs; `observe` hears of each event.
fn run(
    output: &Path,
    options: &Options,
    evaluates: bool,
    observe: &mut dyn FnMut(&Event),
) -> crate::Result<(Network, Summary)> {
    let mut network = open("bert");
    let cancel = CancelToken::new();
    let objective = objective("cosent");
    let (columns, labels) = pairs(40);
    let read = |network: &Network| {
        Dataset::read(network, objective.loss, &columns, labels.clone(), &cancel)
    };
    let data = read(&network)?;
    let evaluator = match evaluates {
        true => Some(Evaluator::new(read(&network)?)),
        false => None,
    };
    let target = Target { output: output.to_path_buf(), restart: false };
    let mut observe = |event: Event| observe(&event);
    let training = Training {
        data: &data,
        objective: &objective,
        options,
        evaluator: evaluator.as_ref(),
        target: &target,
    };
    let summary = train(&mut network, &training, &cancel, &mut observe)?;
    Ok((network, summary))
}

fn weights(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("model.safetensors")).expect("weights")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)
        } else {
            fs::copy(&path, &target).map(drop).expect("a copy")
        }
    }
}

#[test]
fn a_run_that_is_killed_and_resumed_ends_with_the_bits_of_one_that_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for evaluates in [false, true] {
        let options = Options { evaluate_every: Some(4), accumulate: 1, ..options() };
        // What a kill at step 8 would leave is what lies in the folder then.
        let (whole, work) = (path("whole"), path("whole.partial"));
        let mut snapshot = |event: &Event| {
            if let Event::Step { step: 8, .. } = event {
                copy(&work, &path("resumed.partial"));
            }
        };
        run(&whole, &options, evaluates, &mut snapshot).expect("a run");
        assert!(!work.exists(), "the work folder goes");
        let mut from = None;
        let mut watch = |event: &Event| {
            if let Event::Resumed { step, .. } = event {
                from = Some(*step);
            }
        };
        run(&path("resumed"), &options, evaluates, &mut watch).expect("a run");
        assert_eq!(from, Some(6), "the last checkpoint before the kill");
        assert_eq!(weights(&whole), weights(&path("resumed")));
        run(&path("again"), &options, evaluates, &mut |_| {}).expect("a run");
        assert_eq!(weights(&whole), weights(&path("again")), "the seed decides");
        let other = Options { seed: 7, ..options };
        run(&path("other"), &other, evaluates, &mut |_| {}).expect("a run");
        assert_ne!(weights(&whole), weights(&path("other")));
        fs::remove_dir_all(path("whole")).expect("removed");
        for name in ["resumed", "again", "other"] {
            fs::remove_dir_all(path(name)).expect("removed");
        }
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_a_torn_one_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let work = path("model.partial");
    let mut snapshot = |event: &Event| {
        if let Event::Step { step: 8, .. } = event {
            copy(&work, &path("kept"));
        }
    };
    run(&path("model"), &options(), false, &mut snapshot).expect("a run");
    fs::remove_dir_all(path("model")).expect("removed");
    copy(&path("kept"), &work);
    let other = Options { batch: 4, ..options() };
    let error = run(&path("model"), &other, false, &mut |_| {}).expect_err("refused").to_string();
    assert!(
        error.contains("other data, options or base") && error.contains("--restart"),
        "{error}"
    );
    let newest = work.join("step-000000006.state");
    let bytes = fs::read(&newest).expect("a checkpoint");
    fs::write(&newest, &bytes[..bytes.len() / 2]).expect("torn");
    let mut from = None;
    let mut watch = |event: &Event| {
        if let Event::Resumed { step, .. } = event {
            from = Some(*step);
        }
    };
    run(&path("model"), &options(), false, &mut watch).expect("a run");
    assert_eq!(from, Some(3));
}

#[test]
fn the_loss_falls_and_the_best_model_is_what_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("model");
    let options = Options { epochs: 8, dropout: Some(0.0), ..options() };
    let (_, summary) = run(&output, &options, true, &mut |_| {}).expect("a run");
    let losses = &summary.history.losses;
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    assert!(mean(&losses[losses.len() - 5..]) < 0.9 * mean(&losses[..5]), "{losses:?}");
    assert_eq!(summary.metric, Some(Metric::Spearman.name()));
    let (step, best) = summary.history.best.expect("a best");
    let most = summary.history.evaluations.iter().filter(|(step, _)| *step > 0);
    assert!(most.clone().all(|(_, value)| *value <= best));
    let before = summary.history.evaluations[0];
    assert!(before.0 == 0 && best > before.1, "{before:?} {best} at {step}");
    // The directory gives that value again.
    let mut again = Network::open(&ModelSpec::new(output.display().to_string())).expect("opens");
    let (columns, labels) = pairs(40);
    let cancel = CancelToken::new();
    let data =
        Dataset::read(&again, losses::find("cosent").expect("a loss"), &columns, labels, &cancel);
    let value = Evaluator::new(data.expect("data")).measure(&mut again, &cancel).expect("a value");
    assert!((value - best).abs() < 1e-12);
}

#[test]
fn big_batches_in_parts_train_as_whole_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = Options { dropout: Some(0.0), learning_rate: Some(1e-4), ..options() };
    let parts = Options { mini_batch: Some(3), ..plain.clone() };
    let losses = |name: &str, options: &Options| {
        let run = run(&folder.path().join(name), options, false, &mut |_| {}).expect("a run");
        run.1.history.losses
    };
    let (whole, parts) = (losses("whole", &plain), losses("parts", &parts));
    for (whole, parts) in whole.iter().zip(&parts) {
        assert!((whole - parts).abs() < 2e-3 * whole.abs(), "{whole} {parts}");
    }
}

#[test]
fn trained_models_load_and_give_the_vectors_that_training_saw() {
    let folder = tempfile::tempdir().expect("a folder");
    let cancel = CancelToken::new();
    let potion =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/builtin/potion-base-4M-int8");
    let fixtures = ["bert", "distilbert", "mpnet", "st-new", "roberta"].map(model_folder);
    for base in fixtures.into_iter().chain([potion]) {
        let name = base.file_name().expect("a name").to_string_lossy().into_owned();
        let mut network =
            Network::open(&ModelSpec::new(base.display().to_string())).expect("opens");
        let (columns, _) = pairs(16);
        let objective = objective("mnrl");
        let data = Dataset::read(&network, objective.loss, &columns, Labels::None, &cancel);
        let target = Target { output: folder.path().join(&name), restart: false };
        let training = Training {
            data: &data.expect("data"),
            objective: &objective,
            options: &options(),
            evaluator: None,
            target: &target,
        };
        train(&mut network, &training, &cancel, &mut |_| {}).expect("a run");
        let texts: Vec<&str> = columns[0].iter().map(String::as_str).collect();
        let sequences = network.read_texts(&texts, &cancel).expect("tokens");
        let sequences: Vec<&Sequence> = sequences.iter().collect();
        let own = network.vectors(&sequences, &cancel).expect("vectors");
        let model =
            Model::load(&ModelSpec::new(target.output.display().to_string())).expect("loads");
        let loaded = model.embed(&texts, Prompt::Text(""), &cancel).expect("vectors").values;
        let off = own.iter().zip(&loaded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let size = own.iter().map(|a| a.abs()).fold(0.0, f32::max);
        assert!(own.len() == loaded.len() && off < 1e-5 * size.max(1.0), "{name}: off by {off}");
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_with_a_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { learning_rate: Some(1e30), warmup: 0.0, ..options() };
    let output = folder.path().join("model");
    let error = run(&output, &options, false, &mut |_| {}).expect_err("refused").to_string();
    assert!(
        error.contains("is not a number at step") && error.contains("learning rate"),
        "{error}"
    );
    assert!(!error.contains('\n') && !output.exists());
}

#[test]
fn rows_that_do_not_fit_are_refused_with_what_would() {
    let network = open("bert");
    let cancel = CancelToken::new();
    let refuse = |loss: &str, columns: &[Vec<String>], labels: Labels| {
        let loss = losses::find(loss).expect("a loss");
        let read = Dataset::read(&network, loss, columns, labels, &cancel);
        read.expect_err("refused").to_string()
    };
    let (columns, labels) = pairs(8);
    let one: Vec<Vec<String>> = columns.iter().map(|column| column[..1].to_vec()).collect();
    assert!(refuse("mnrl", &one, Labels::None).contains("at least 2 rows, got 1"));
    assert!(refuse("mnrl", &[vec![], vec![]], Labels::None).contains("got 0"));
    assert!(refuse("triplet", &columns, Labels::None).contains("got 2 columns of text"));
    assert!(refuse("contrastive", &columns, labels.clone()).contains("cosent"));
    assert!(refuse("cosent", &columns, Labels::None).contains("sentence1, sentence2 and score"));
    assert!(refuse("bce", &columns, labels).contains("gives vectors"));
    let same = Labels::Scores { values: vec![0.5; 8], per_row: 1 };
    assert!(refuse("cosent", &columns, same).contains("teaches nothing"));
    let nan = Labels::Scores { values: vec![f32::NAN; 8], per_row: 1 };
    assert!(refuse("cosent", &columns, nan).contains("NaN"));
    let vectors = Labels::Vectors { values: vec![0.0; 24], width: 3 };
    assert!(refuse("mse", &columns[..1], vectors).contains("3 components"));
}

#[test]
fn batches_have_every_row_once_and_no_text_twice() {
    let network = open("bert");
    let cancel = CancelToken::new();
    let anchors: Vec<String> = (0..60).map(|row| text(row % 17)).collect();
    let positives: Vec<String> = (0..60).map(|row| text(40 + row % 23)).collect();
    let loss = losses::find("mnrl").expect("a loss");
    let columns = [anchors.clone(), positives.clone()];
    let data = Dataset::read(&network, loss, &columns, Labels::None, &cancel).expect("data");
    for epoch in 0..3 {
        let batches = data.batches(8, true, 1, epoch);
        let mut rows: Vec<u32> = batches.iter().flatten().copied().collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..60).collect::<Vec<u32>>());
        for batch in &batches {
            let texts: HashSet<&str> = batch
                .iter()
                .flat_map(|row| [&*anchors[*row as usize], &*positives[*row as usize]])
                .collect();
            let most = batch.iter().map(|row| {
                let row = *row as usize;
                1 + usize::from(anchors[row] != positives[row])
            });
            assert_eq!(texts.len(), most.sum::<usize>());
        }
    }
    assert_ne!(data.batches(8, true, 1, 0), data.batches(8, true, 1, 1));
}
