//! Teacher and students side by side, measured in one run: size, score and speed.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use sembla_models::{Model, ModelSpec, Prompt};

use super::in_floats;
use super::students::{Plan, School, all_layers};
use super::work::Work;
use crate::failure::Result;
use crate::numbers::{count, per_second};
use crate::train::rows::Rows;

/// Rounds in which every model runs once; the fastest of each counts.
const ROUNDS: usize = 3;

/// Fewest and most texts of a round.
const TEXTS: (usize, usize) = (32, 1024);

/// How long the slowest model's part of a round is about, in seconds.
const SECONDS: f64 = 2.0;

/// A model in the table.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its name: `teacher`, or that of its folder.
    pub name: String,
    /// Layers; `None` where it has none or can't be taken apart.
    pub layers: Option<usize>,
    /// Components of a vector.
    pub dimensions: usize,
    /// Weights.
    pub parameters: u64,
    /// The score on the rows of `--eval`.
    pub score: Option<f64>,
    /// Texts a second in 32-bit floats, on all cores; 0 where there was no text to measure with.
    pub texts_per_second: f64,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Distilled {
    /// The folder of the students.
    pub output: PathBuf,
    /// The teacher, then the students.
    pub models: Vec<Measured>,
    /// What the scores are.
    pub metric: Option<&'static str>,
}

impl School<'_> {
    /// Measures the teacher and all students of the work folder.
    ///
    /// # Errors
    /// Models that can't be loaded or run, and a stop that was asked for.
    pub(super) fn measure(
        &self,
        work: &Work,
        eval: Option<&Rows>,
        plans: &[Plan],
    ) -> Result<Distilled> {
        let request = self.request;
        let mut specs = vec![("teacher".to_string(), in_floats(&request.teacher))];
        for plan in plans {
            let name = plan.name();
            let path = work.student(&name).display().to_string();
            let max_length = request.base().max_length;
            specs.push((name, ModelSpec { max_length, ..in_floats(&ModelSpec::new(path)) }));
        }
        let mut loaded = Vec::new();
        let mut models = Vec::new();
        for (name, spec) in specs {
            let model = Model::load(&spec)?;
            let info = model.info();
            models.push(Measured {
                name,
                layers: all_layers(&spec),
                dimensions: info.dimension,
                parameters: info.parameters,
                score: self.score(&model, eval)?,
                texts_per_second: 0.0,
            });
            loaded.push(model);
        }
        let rates = self.rates(&loaded, eval)?;
        models.iter_mut().zip(rates).for_each(|(model, rate)| model.texts_per_second = rate);
        let metric = self.evaluator.as_ref().map(|evaluator| evaluator.metric().name());
        Ok(Distilled { output: request.output.clone(), models, metric })
    }

    /// The score of a model.
    fn score(&self, model: &Model, eval: Option<&Rows>) -> Result<Option<f64>> {
        let (Some(evaluator), Some(eval)) = (&self.evaluator, eval) else { return Ok(None) };
        let mut columns = Vec::new();
        for texts in eval.texts() {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            columns.push(model.embed(&texts, Prompt::Text(""), self.cancel)?.values);
        }
        Ok(Some(evaluator.score(columns, model.info().dimension)))
    }

    /// Texts a second of each model.
    fn rates(&self, models: &[Model], eval: Option<&Rows>) -> Result<Vec<f64>> {
        let of_eval = || eval.and_then(|eval| eval.texts().next()).unwrap_or_default();
        let all = if self.texts.is_empty() { of_eval() } else { &self.texts };
        if all.is_empty() {
            return Ok(vec![0.0; models.len()]);
        }
        let sample = |most: usize| -> Vec<&str> {
            all.iter().step_by(all.len().div_ceil(most).max(1)).map(String::as_str).collect()
        };
        let rate = |model: &Model, texts: &[&str]| -> Result<f64> {
            let begun = Instant::now();
            model.embed(texts, Prompt::Text(""), self.cancel)?;
            Ok(texts.len() as f64 / begun.elapsed().as_secs_f64().max(1e-9))
        };
        let few = sample(TEXTS.0);
        let mut slowest = f64::INFINITY;
        for model in models {
            slowest = slowest.min(rate(model, &few)?);
        }
        let texts = sample(((slowest * SECONDS) as usize).clamp(TEXTS.0, TEXTS.1));
        let mut best = vec![0f64; models.len()];
        for _ in 0..ROUNDS {
            for (best, model) in best.iter_mut().zip(models) {
                *best = best.max(rate(model, &texts)?);
            }
        }
        Ok(best)
    }
}

impl fmt::Display for Distilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(teacher) = self.models.first() else { return Ok(()) };
        let mut head = vec!["model", "layers", "dimensions", "parameters"];
        if let Some(metric) = self.metric {
            head.extend([metric, "decrease"]);
        }
        let has_rates = teacher.texts_per_second > 0.0;
        if has_rates {
            head.extend(["texts/s", "speed"]);
        }
        let mut lines = vec![head.into_iter().map(String::from).collect::<Vec<String>>()];
        for model in &self.models {
            let mut line = vec![
                model.name.clone(),
                model.layers.map_or("–".into(), |layers| layers.to_string()),
                model.dimensions.to_string(),
                count(model.parameters),
            ];
            if let (Some(score), Some(best)) = (model.score, teacher.score) {
                line.push(format!("{score:.4}"));
                line.push(format!("{:.2} %", 100.0 * (best - score) / best.abs()));
            }
            if has_rates {
                line.push(per_second(model.texts_per_second));
                line.push(format!("{:.2}×", model.texts_per_second / teacher.texts_per_second));
            }
            lines.push(line);
        }
        write_columns(f, &lines)
    }
}

/// Lines whose first column is aligned to the left and all others to the right.
fn write_columns(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            writeln!(f)?;
        }
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(f, "{cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, score: Option<f64>, texts_per_second: f64) -> Measured {
        let (layers, dimensions, parameters) = (Some(6), 384, 22_713_216);
        Measured { name: name.into(), layers, dimensions, parameters, score, texts_per_second }
    }

    #[test]
    fn the_table_compares_students_with_the_teacher() {
        let models = vec![
            model("teacher", Some(0.8), 100.0),
            Measured { layers: None, ..model("layers-3", Some(0.78), 150.0) },
        ];
        let output = PathBuf::from("students");
        let distilled = Distilled { output, models, metric: Some("spearman") };
        let table = distilled.to_string();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
            .collect();
        let head = [
            "model",
            "layers",
            "dimensions",
            "parameters",
            "spearman",
            "decrease",
            "texts/s",
            "speed",
        ];
        assert_eq!(lines[0], head);
        assert_eq!(lines[1][4..6], ["0.8000", "0.00 %"]);
        assert_eq!(lines[2][1], "–");
        assert_eq!(lines[2][4..6], ["0.7800", "2.50 %"]);
        assert_eq!(lines[2][7], "1.50×");
        let width = |line: &str| line.chars().count();
        assert!(
            table.lines().all(|line| width(line) == width(table.lines().next().expect("a line")))
        );
        let models = vec![model("teacher", None, 100.0)];
        let plain = Distilled { models, metric: None, ..distilled }.to_string();
        assert!(!plain.contains("decrease"), "{plain}");
    }
}
