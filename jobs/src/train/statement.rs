//! `CREATE MODEL … WITH (…) AS SELECT …`: the same training, asked for by a statement.

use std::path::PathBuf;
use std::str::FromStr;

use arrow::array::RecordBatch;
use sembla_models::{CancelToken, ModelSpec};
use sembla_options::{GivenOptions, Kind, OptionDef, Options as Read};
use sembla_sql::{PlannedTraining, Progress, SqlError};
use sembla_training::losses::LossOptions;
use sembla_training::{Event, Options, Schedule};

use super::{ClassifyOptions, TrainRequest, Watch, check, check_classify, classify, run};
use crate::failure::Failure;

/// The base where none is given.
const BASE: &str = "minilm";

/// What the statement takes in WITH.
pub const OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "task",
        Kind::Choice(&["embed", "classify"]),
        "embed fine-tunes the model, classify puts a classifier on its vectors",
    )
    .value_name("embed|classify")
    .or("embed"),
    OptionDef::new(
        "base",
        Kind::Text,
        "the model to begin with: a bundled name, a directory or a hub id",
    )
    .value_name("NAME or PATH")
    .or(BASE),
    OptionDef::new("path", Kind::Text, "the new model directory")
        .value_name("DIR")
        .or_else("a folder with the model's name, in the current folder"),
    OptionDef::new("eval", Kind::Text, "a query, in quotes, whose rows the model is measured on")
        .value_name("QUERY"),
    OptionDef::new("loss", Kind::Text, "the loss")
        .value_name("NAME")
        .or_else("the usual one for the columns"),
    OptionDef::new("epochs", Kind::at_least(1), "how often every row is seen").or("1"),
    OptionDef::new("max_steps", Kind::at_least(1), "stop after N steps, whatever the epochs"),
    OptionDef::new("batch", Kind::at_least(1), "rows per batch").or("32"),
    OptionDef::new("mini_batch", Kind::at_least(1), "texts that run at once (GradCache)")
        .or_else("all of the batch"),
    OptionDef::new(
        "accumulate",
        Kind::at_least(1),
        "batches whose gradients are averaged before each step",
    )
    .or("1"),
    OptionDef::new("learning_rate", Kind::Text, "the highest learning rate")
        .value_name("RATE")
        .or_else("2e-5; 1e-3 for a static model"),
    OptionDef::new("warmup", Kind::Text, "share of all steps in which the learning rate rises")
        .value_name("SHARE")
        .or("0.1"),
    OptionDef::new(
        "schedule",
        Kind::Choice(&["linear", "cosine", "constant"]),
        "how the learning rate falls afterwards",
    )
    .value_name("linear|cosine|constant")
    .or("linear"),
    OptionDef::new("weight_decay", Kind::Text, "weight decay; biases and norms are left out")
        .value_name("SHARE")
        .or("0.01"),
    OptionDef::new("max_grad_norm", Kind::Text, "scale gradients down to this length")
        .value_name("LENGTH")
        .or("1"),
    OptionDef::new("dropout", Kind::Text, "share of values that dropout drops")
        .value_name("SHARE")
        .or_else("what the model's config.json says"),
    OptionDef::new("seed", Kind::COUNT, "seed of shuffling, pairs and dropout").or("42"),
    OptionDef::new("eval_steps", Kind::at_least(1), "steps between evaluations")
        .or_else("one at the end of each epoch"),
    OptionDef::new("patience", Kind::at_least(1), "stop after N evaluations without a better one"),
    OptionDef::new(
        "matryoshka",
        Kind::Text,
        "sizes that vectors can be cut to, as in '384,128,64'",
    )
    .value_name("'A,B'"),
    OptionDef::new("scale", Kind::Text, "what mnrl and cosent multiply cosines by")
        .value_name("NUMBER")
        .or_else("20"),
    OptionDef::new("margin", Kind::Text, "margin of triplet and contrastive losses")
        .value_name("NUMBER")
        .or_else("the loss's own"),
    OptionDef::new("max_length", Kind::at_least(1), "longest text in tokens")
        .value_name("TOKENS")
        .or_else("the model's own"),
    OptionDef::new(
        "l2",
        Kind::Text,
        "task classify: L2 penalty on the classifier's weights, scikit-learn's 1/C",
    )
    .value_name("NUMBER")
    .or_else("1"),
    OptionDef::new(
        "fine_tune_pairs",
        Kind::at_least(1),
        "task classify: fine-tune first, on N pairs of each text with its label and N with others",
    ),
];

/// Trains models for SQL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trainer;

/// A training that a statement has asked for.
#[derive(Debug)]
struct Planned {
    request: TrainRequest,
    classifier: Option<ClassifyOptions>,
    eval: Option<String>,
}

impl sembla_sql::Trainer for Trainer {
    fn plan(
        &self,
        name: &str,
        options: &[(String, String)],
        replaces: bool,
    ) -> Result<Box<dyn PlannedTraining>, SqlError> {
        let given = GivenOptions::new("CREATE MODEL … AS", OPTIONS.to_vec(), options.to_vec())?;
        let read = given.read()?;
        let request = TrainRequest {
            base: ModelSpec {
                max_length: count(&read, "max_length")?,
                ..ModelSpec::new(read.text("base")?)
            },
            output: output(name, &read)?,
            overwrite: replaces,
            restart: false,
            loss: read.find_text("loss").map(str::to_string),
            loss_options: LossOptions {
                scale: number(&read, "scale")?,
                margin: number(&read, "margin")?,
            },
            matryoshka: sizes(&read, "matryoshka")?,
            options: training(&read)?,
            report: None,
        };
        let eval = read.find_text("eval").map(str::to_string);
        let classifier = classifier(&read)?;
        if eval.is_none() && (read.has("eval_steps") || read.has("patience")) {
            return Err(SqlError::Statement(
                "eval_steps and patience need the option eval = 'SELECT …'".into(),
            ));
        }
        match &classifier {
            Some(options) => check_classify(&request, options),
            None => check(&request),
        }
        .map_err(|failure| of_failure(failure, replaces))?;
        Ok(Box::new(Planned { request, classifier, eval }))
    }
}

impl PlannedTraining for Planned {
    fn eval(&self) -> Option<&str> {
        self.eval.as_deref()
    }

    fn target(&self) -> PathBuf {
        self.request.output.clone()
    }

    fn run(
        &self,
        data: &[RecordBatch],
        eval: Option<&[RecordBatch]>,
        cancel: &CancelToken,
        notice: &dyn Fn(&str),
        progress: &dyn Progress,
    ) -> Result<String, SqlError> {
        let mut observe = |event: &Event| {
            if let Event::Step { step, steps, .. } = event {
                progress.update(super::STAGE, *step as u64, Some(*steps as u64));
            }
        };
        let made = match &self.classifier {
            Some(options) => {
                let watch = Watch { cancel, notice, progress };
                classify(&self.request, options, data, eval, watch, &mut observe)
                    .map(|made| made.to_string())
            }
            None => run(&self.request, data, eval, cancel, notice, &mut observe)
                .map(|made| made.to_string()),
        };
        made.map_err(|failure| of_failure(failure, false))
    }
}

/// The new directory: where it is asked for, else a folder with the model's name.
fn output(name: &str, read: &Read) -> Result<PathBuf, SqlError> {
    if let Some(path) = read.find_text("path") {
        return Ok(PathBuf::from(path));
    }
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    match name.chars().all(is_plain) && !name.is_empty() {
        // Unlike a bare name, this is a directory to whatever reads it.
        true => Ok(PathBuf::from(".").join(name)),
        false => Err(SqlError::Statement(format!(
            "the name '{name}' can't be that of a folder; say where the model goes with path = '…'"
        ))),
    }
}

/// What is asked of a classifier; `None` where none is made.
fn classifier(read: &Read) -> Result<Option<ClassifyOptions>, SqlError> {
    if read.choice("task")? == "classify" {
        let l2 = number(read, "l2")?.unwrap_or(ClassifyOptions::L2);
        return Ok(Some(ClassifyOptions { l2, pairs: count(read, "fine_tune_pairs")? }));
    }
    match ["l2", "fine_tune_pairs"].into_iter().find(|key| read.has(key)) {
        Some(key) => Err(SqlError::Statement(format!(
            "{key} is for classifiers; add the option task = 'classify'"
        ))),
        None => Ok(None),
    }
}

/// How the model is trained.
fn training(read: &Read) -> Result<Options, SqlError> {
    let usual = Options::default();
    let or = |found: Option<usize>, usual: usize| found.unwrap_or(usual);
    Ok(Options {
        epochs: or(count(read, "epochs")?, usual.epochs),
        steps_max: count(read, "max_steps")?,
        batch: or(count(read, "batch")?, usual.batch),
        mini_batch: count(read, "mini_batch")?,
        accumulate: or(count(read, "accumulate")?, usual.accumulate),
        learning_rate: number(read, "learning_rate")?,
        warmup: number(read, "warmup")?.unwrap_or(usual.warmup),
        schedule: read
            .choice("schedule")?
            .parse::<Schedule>()
            .map_err(|error| SqlError::Statement(error.to_string()))?,
        weight_decay: number(read, "weight_decay")?.unwrap_or(usual.weight_decay),
        gradient_norm_max: number(read, "max_grad_norm")?.unwrap_or(usual.gradient_norm_max),
        dropout: number(read, "dropout")?,
        seed: read.count("seed")?,
        evaluate_every: count(read, "eval_steps")?,
        patience: count(read, "patience")?,
        ..usual
    })
}

fn count(read: &Read, key: &str) -> Result<Option<usize>, SqlError> {
    if !read.has(key) {
        return Ok(None);
    }
    Ok(Some(usize::try_from(read.count(key)?).unwrap_or(usize::MAX)))
}

/// A number that may have a fraction.
fn number<T: FromStr>(read: &Read, key: &str) -> Result<Option<T>, SqlError> {
    let Some(text) = read.find_text(key) else { return Ok(None) };
    let wrong = |_| SqlError::Statement(format!("{key} must be a number, got '{text}'"));
    text.trim().parse().map(Some).map_err(wrong)
}

/// Whole numbers with commas between.
fn sizes(read: &Read, key: &str) -> Result<Vec<usize>, SqlError> {
    let Some(text) = read.find_text(key) else { return Ok(Vec::new()) };
    let wrong =
        |_| SqlError::Statement(format!("{key} must be sizes such as '384,128,64', got '{text}'"));
    text.split(',').map(|size| size.trim().parse().map_err(wrong)).collect()
}

/// What a session is told. `replaces` is whether the statement replaces what is there.
fn of_failure(failure: Failure, replaces: bool) -> SqlError {
    match failure {
        Failure::User(message) if !replaces => SqlError::Statement(
            message.replace("--overwrite replaces it", "CREATE OR REPLACE MODEL replaces it"),
        ),
        Failure::User(message) => SqlError::Statement(message),
        Failure::Interrupted(_) | Failure::OutputClosed => SqlError::Cancelled,
        Failure::Other(message) => SqlError::Io(message),
    }
}

#[cfg(test)]
mod tests {
    use sembla_sql::Trainer as _;

    use super::*;

    fn plan(name: &str, options: &[(&str, &str)]) -> Result<PathBuf, String> {
        let options: Vec<(String, String)> =
            options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let planned = Trainer.plan(name, &options, false).map_err(|error| error.to_string())?;
        Ok(planned.target())
    }

    #[test]
    fn every_option_is_read() {
        for option in OPTIONS {
            let value = match option.key {
                "task" => "classify",
                "schedule" => "COSINE",
                "path" => "/no/such/folder/m",
                "eval" => "SELECT 1",
                "matryoshka" => "64, 32",
                "l2" | "fine_tune_pairs" => {
                    let given = [("task", "classify"), (option.key, "3")];
                    plan("m", &given).expect(option.key);
                    continue;
                }
                "eval_steps" | "patience" => {
                    let message = plan("m", &[(option.key, "3")]).expect_err("refused");
                    assert!(message.contains("eval = 'SELECT …'"), "{message}");
                    plan("m", &[(option.key, "3"), ("eval", "SELECT 1")]).expect(option.key);
                    continue;
                }
                _ => "1",
            };
            let found = plan("m", &[(option.key, value)]);
            match option.key {
                "path" => assert!(found.expect_err("refused").contains("does not exist")),
                _ => assert_eq!(found.expect(option.key), PathBuf::from("./m")),
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_any_row_is_read() {
        for (name, option, says) in [
            ("m", ("epocs", "1"), "did you mean 'epochs'"),
            ("m", ("epochs", "0"), "epochs must be a whole number >= 1"),
            ("m", ("learning_rate", "fast"), "learning_rate must be a number, got 'fast'"),
            ("m", ("matryoshka", "64,x"), "must be sizes such as"),
            ("m", ("l2", "1"), "add the option task = 'classify'"),
            ("../m", ("epochs", "1"), "say where the model goes with path"),
            ("src", ("epochs", "1"), "CREATE OR REPLACE MODEL replaces it"),
        ] {
            let message = plan(name, &[option]).expect_err("refused");
            assert!(message.contains(says), "{message}");
        }
    }
}
