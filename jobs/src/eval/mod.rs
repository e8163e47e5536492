//! Ranks models: each does all tasks of a suite in a process of its own, and one table says how
//! good, how fast and how large each is.
//!
//! [`suite`] reads what is to be measured, [`kinds`] declares the kinds of tasks and their tables,
//! `tables` reads rows, [`mod@measure`] runs a model, `score` and `classes` have the scores,
//! [`ranking`] makes the table of them and `page` a page.
//!
//! - *Invariant:* scores are those of MTEB, on the same rows and vectors; the fixtures of this
//!   crate's tests hold its figures.
//! - *Absent:* starting processes, which is the binary's. [`Order`] and [`Answer`] are what it
//!   passes to one and gets back.

mod classes;
#[cfg(test)]
mod fixture_tests;
pub mod kinds;
pub mod measure;
mod output;
mod page;
pub mod ranking;
mod score;
pub mod suite;
mod tables;

use sembla_models::{CancelToken, InputKind, Model, ModelSpec};
use sembla_sql::Session;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::input::query_columns;
pub use measure::{Measured, Observer, measure};
pub use output::Output;
pub use ranking::Ranking;
pub use suite::Task;

/// Most models of a run.
const MODELS_MAX: usize = 200;

/// What a process is asked to measure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The model.
    pub model: String,
    /// What it is called in the ranking.
    pub name: String,
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Memory limit of queries.
    pub memory_limit: Option<usize>,
    /// Partitions of queries.
    pub threads: Option<usize>,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// What it measured.
    Measured(Measured),
    /// A mistake of the user.
    User(String),
    /// Another failure.
    Other(String),
}

/// Looks whether all tasks can be read and all models loaded, before the long work begins. Models
/// are loaded one after another, and dropped.
///
/// Tells `loaded` how many models it has seen. Gives what each is called in the ranking: a
/// directory's name, if no other model has it.
///
/// # Errors
/// The first that can't.
pub async fn check(
    models: &[String],
    tasks: &[Task],
    session: &Session,
    cancel: &CancelToken,
    loaded: &dyn Fn(usize),
) -> Result<Vec<String>> {
    if models.is_empty() || models.len() > MODELS_MAX {
        return Err(Failure::user(format!(
            "a run takes 1 to {MODELS_MAX} models, got {}",
            models.len()
        )));
    }
    if let Some(twice) = models.iter().enumerate().find(|(at, name)| models[..*at].contains(name)) {
        return Err(Failure::user(format!("model '{}' is named twice", twice.1)));
    }
    Ranking::new(tasks, Vec::new()).rows()?;
    for task in tasks {
        for (part, query) in task.parts()?.iter().zip(&task.queries) {
            let what = task.table(part);
            let columns = query_columns(session, query, cancel).await;
            part.columns(&*columns.map_err(|failure| failure.context(&what))?, &what)?;
        }
    }
    let mut names = Vec::new();
    for name in models {
        loaded(names.len());
        let model = Model::load(&ModelSpec::new(name.as_str()))?;
        cancel.check()?;
        if model.info().takes == InputKind::Image {
            return Err(Failure::user(format!("model '{name}' takes images, no texts")));
        }
        if model.info().labels > 1 {
            return Err(Failure::user(format!(
                "model '{name}' gives {} scores for a pair of texts, so it can't say how alike they are",
                model.info().labels
            )));
        }
        let is_path = name.contains(std::path::MAIN_SEPARATOR);
        names.push(if is_path { model.info().name.clone() } else { name.clone() });
    }
    let is_shared = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
    let shown = models.iter().zip(&names);
    Ok(shown.map(|(typed, name)| if is_shared(name) { typed } else { name }.clone()).collect())
}
