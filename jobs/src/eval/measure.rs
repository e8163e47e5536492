//! One model on all tasks of a suite: reads the rows of each task, runs the model on them with its
//! prompts, and takes the time.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use sembla_models::{CancelToken, Embeddings, Model, ModelInfo, ModelKind, ModelSpec, Prompt};
use sembla_operators::Host;
use sembla_sql::Session;
use serde::{Deserialize, Serialize};

use super::classes::Classes;
use super::kinds::Kind;
use super::score;
use super::suite::Task;
use super::tables::Table;
use crate::failure::{Failure, Result};
use crate::input::query_rows;
use crate::numbers::count;

/// Most texts of a task.
const TEXTS_MAX: usize = 5_000_000;

/// Where Linux says how much memory a process has taken.
const PROCESS_STATUS: &str = "/proc/self/status";

/// What was measured of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What the model is called.
    pub model: String,
    /// Components of a vector; `None` for a cross-encoder.
    pub dimension: Option<u64>,
    /// Longest input in tokens; `None` is no limit.
    pub max_length: Option<u64>,
    /// Number of parameters.
    pub parameters: u64,
    /// The score of each task, in their order; `None` where the model can't do it.
    pub scores: Vec<Option<f64>>,
    /// Distinct texts, or pairs of texts for a cross-encoder, that it was run on.
    pub texts: u64,
    /// Seconds that it took for them.
    pub seconds: f64,
    /// The most memory that a process with nothing but this took; `None` where the system doesn't
    /// say.
    pub peak_memory_bytes: Option<u64>,
}

impl Measured {
    /// Texts per second.
    pub fn texts_per_second(&self) -> f64 {
        self.texts as f64 / self.seconds.max(1e-9)
    }

    /// The mean score; `None` where a task has none.
    pub fn average(&self) -> Option<f64> {
        let scores: Option<Vec<f64>> = self.scores.iter().copied().collect();
        let scores = scores.filter(|scores| !scores.is_empty())?;
        Some(scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

/// Who hears of it.
pub trait Observer: Sync {
    /// A task of so many texts begins.
    fn begin(&self, task: &str, texts: u64);
    /// A line that the user should see.
    fn notice(&self, line: &str);
}

/// Measures a model in this process; `name` is what it is called in results.
///
/// Blocks while the model runs. Memory is that of the model, and of the texts and vectors of one
/// task.
///
/// # Errors
/// A model that can't be loaded, what the queries say, rows that have no score, and
/// [`Failure::Interrupted`].
pub async fn measure(
    source: &str,
    name: &str,
    tasks: &[Task],
    session: &Session,
    cancel: &CancelToken,
    observer: &dyn Observer,
) -> Result<Measured> {
    let model = Model::load(&ModelSpec::new(source))?;
    let mut subject = Subject { model: &model, cancel, texts: 0, seconds: 0.0 };
    subject.warm_up()?;
    let mut scores = Vec::new();
    for task in tasks {
        if !can_do(model.info(), task.kind) {
            observer.notice(&format!(
                "{name} is a cross-encoder, which has no vectors: task '{}' is left out",
                task.name
            ));
            scores.push(None);
            continue;
        }
        let tables = read(task, session, cancel, observer).await?;
        let measured = subject.run(task, tables, observer);
        scores.push(Some(measured.map_err(|failure| in_task(failure, task))?));
    }
    let info = model.info();
    let is_pair = info.kind == ModelKind::CrossEncoder;
    Ok(Measured {
        model: name.to_string(),
        dimension: (!is_pair).then_some(info.dimension as u64),
        max_length: info.max_length.map(|tokens| tokens as u64),
        parameters: info.parameters,
        scores,
        texts: subject.texts,
        seconds: subject.seconds,
        peak_memory_bytes: peak_memory(),
    })
}

fn in_task(failure: Failure, task: &Task) -> Failure {
    failure.context(format!("task '{}'", task.name))
}

/// Whether a model can do tasks of a kind: a cross-encoder scores pairs, and has no vectors.
fn can_do(info: &ModelInfo, kind: Kind) -> bool {
    info.kind != ModelKind::CrossEncoder || matches!(kind, Kind::Sts | Kind::Pairs | Kind::Rerank)
}

/// The most memory that this process has taken so far.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string(PROCESS_STATUS).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The tables of a task, in the order of its parts.
async fn read(
    task: &Task,
    session: &Session,
    cancel: &CancelToken,
    observer: &dyn Observer,
) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for (part, query) in task.parts()?.iter().zip(&task.queries) {
        let what = task.table(part);
        let batches = query_rows(session, query, cancel, TEXTS_MAX).await;
        let batches = batches.map_err(|failure| failure.context(&what))?;
        let table = Table::read(part, &batches, &what)?;
        if table.left_out > 0 {
            observer.notice(&format!(
                "{what}: {} of {} rows have a NULL and are left out",
                count(table.left_out as u64),
                count((table.left_out + table.rows) as u64)
            ));
        }
        tables.push(table);
    }
    Ok(tables)
}

/// A model that is measured.
struct Subject<'a> {
    model: &'a Model,
    cancel: &'a CancelToken,
    texts: u64,
    seconds: f64,
}

/// Stops operators when the token is set.
struct Stop<'a>(&'a CancelToken);

impl Host for Stop<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Subject<'_> {
    fn is_pair(&self) -> bool {
        self.model.info().kind == ModelKind::CrossEncoder
    }

    /// Runs the model once, so that what it makes at its first run is not in the time.
    fn warm_up(&mut self) -> Result<()> {
        if self.is_pair() {
            self.scores(&["warm".to_string()], &["up".to_string()])?;
        } else {
            self.embed(&["warm up".to_string()], Prompt::Default)?;
        }
        (self.texts, self.seconds) = (0, 0.0);
        Ok(())
    }

    /// The score of a task.
    fn run(&mut self, task: &Task, mut tables: Vec<Table>, observer: &dyn Observer) -> Result<f64> {
        let by = self.model.info().similarity;
        let host = Stop(self.cancel);
        if task.kind == Kind::Retrieval {
            let search = Search::of(tables, &task.name)?;
            observer.begin(&task.name, (search.queries.len() + search.corpus.len()) as u64);
            let queries = self.embed(&search.queries, Prompt::Query)?;
            let corpus = self.embed(&search.corpus, Prompt::Document)?;
            return score::retrieval(&queries, &corpus, by, &search.relevant, &host);
        }
        if task.kind == Kind::Classify {
            let classes = Classes::of(tables)?;
            observer.begin(&task.name, classes.texts() as u64);
            let train = self.embed(&classes.train.texts, Prompt::Default)?;
            let test = classes.test.as_ref().map(|test| self.embed(&test.texts, Prompt::Default));
            return classes.score(&train, test.transpose()?.as_ref(), &host);
        }
        let Some(table) = tables.first_mut() else {
            return Err(Failure::other("internal error: a task without a table"));
        };
        let a = table.words(0);
        if task.kind == Kind::Clustering {
            observer.begin(&task.name, a.len() as u64);
            let vectors = self.embed(&a, Prompt::Default)?;
            return score::clustering(&vectors, &table.words(1), &host);
        }
        let b = table.words(1);
        observer.begin(&task.name, 2 * a.len() as u64);
        if task.kind == Kind::Bitext {
            let (a, b) = (self.embed(&a, Prompt::Default)?, self.embed(&b, Prompt::Default)?);
            return score::bitext(&a, &b, by, &host);
        }
        let (first, second) = match task.kind {
            Kind::Rerank => (Prompt::Query, Prompt::Document),
            _ => (Prompt::Default, Prompt::Default),
        };
        let alike = match self.is_pair() {
            true => self.scores(&a, &b)?,
            false => score::similarities(&self.embed(&a, first)?, &self.embed(&b, second)?, by)?,
        };
        let labels = table.numbers(2).unwrap_or_default();
        match task.kind {
            Kind::Sts => score::sts(&alike, &labels),
            Kind::Pairs => score::pairs(&alike, &labels),
            _ => score::rerank(&numbered(&a), &alike, &labels),
        }
    }

    fn embed(&mut self, texts: &[String], prompt: Prompt<'_>) -> Result<Embeddings> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.texts += texts.iter().collect::<HashSet<_>>().len() as u64;
        let begun = Instant::now();
        let vectors = self.model.embed(&texts, prompt, self.cancel)?;
        self.seconds += begun.elapsed().as_secs_f64();
        Ok(vectors)
    }

    /// What a cross-encoder says of pairs.
    fn scores(&mut self, a: &[String], b: &[String]) -> Result<Vec<f64>> {
        let pairs: Vec<(&str, &str)> =
            a.iter().map(String::as_str).zip(b.iter().map(String::as_str)).collect();
        self.texts += pairs.iter().collect::<HashSet<_>>().len() as u64;
        let begun = Instant::now();
        let scores = self.model.score(&pairs, self.cancel)?;
        self.seconds += begun.elapsed().as_secs_f64();
        Ok(scores.into_iter().map(f64::from).collect())
    }
}

/// A number for each distinct text, from 0 in the order of their first rows.
fn numbered(texts: &[String]) -> Vec<u32> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut number = |text| {
        let next = numbers.len() as u32;
        *numbers.entry(text).or_insert(next)
    };
    texts.iter().map(|text| number(text.as_str())).collect()
}

/// What a retrieval task searches for, and in.
#[derive(Debug)]
struct Search {
    queries: Vec<String>,
    corpus: Vec<String>,
    /// The relevance of documents, by their places in the corpus, for each query.
    relevant: Vec<HashMap<u32, f64>>,
}

impl Search {
    fn of(tables: Vec<Table>, task: &str) -> Result<Self> {
        match <[Table; 3]>::try_from(tables) {
            Ok(tables) => Self::of_three(tables, task),
            Err(mut tables) => Ok(tables.first_mut().map_or_else(Self::none, Self::of_pairs)),
        }
    }

    fn none() -> Self {
        Self { queries: Vec::new(), corpus: Vec::new(), relevant: Vec::new() }
    }

    /// Queries, each with a document that answers it. The corpus is all documents.
    fn of_pairs(table: &mut Table) -> Self {
        let (queries, documents) = (table.words(0), table.words(1));
        let relevance = table.numbers(2);
        let (query_of, document_of) = (numbered(&queries), numbered(&documents));
        let mut search = Self::none();
        for (row, (query, document)) in queries.into_iter().zip(documents).enumerate() {
            if query_of[row] as usize == search.queries.len() {
                search.queries.push(query);
                search.relevant.push(HashMap::new());
            }
            if document_of[row] as usize == search.corpus.len() {
                search.corpus.push(document);
            }
            let gain = relevance.as_ref().map_or(1.0, |relevance| relevance[row]);
            search.relevant[query_of[row] as usize].insert(document_of[row], gain);
        }
        search
    }

    /// Queries and documents with ids, and which of them go together. Queries without a relevant
    /// document are left out.
    fn of_three([mut queries, mut corpus, mut relevant]: [Table; 3], task: &str) -> Result<Self> {
        let (query_ids, query_texts) = (queries.words(0), queries.words(1));
        let (corpus_ids, texts, titles) = (corpus.words(0), corpus.words(1), corpus.words(2));
        let query_places = places(&query_ids, &format!("queries of task '{task}'"))?;
        let corpus_places = places(&corpus_ids, &format!("corpus of task '{task}'"))?;
        let (of_query, of_document) = (relevant.words(0), relevant.words(1));
        let gains = relevant.numbers(2);
        let mut judged: Vec<HashMap<u32, f64>> = vec![HashMap::new(); query_ids.len()];
        let mut unknown = 0;
        for (row, (query, document)) in of_query.iter().zip(&of_document).enumerate() {
            let found = (query_places.get(query.as_str()), corpus_places.get(document.as_str()));
            let (Some(query), Some(document)) = found else {
                unknown += 1;
                continue;
            };
            let gain = gains.as_ref().map_or(1.0, |gains| gains[row]);
            judged[*query as usize].insert(*document, gain);
        }
        if unknown == of_query.len() {
            return Err(Failure::user(
                "no row of relevant names a query and a document that are there; check the ids",
            ));
        }
        let titled = |(row, text): (usize, String)| match titles.get(row) {
            Some(title) => format!("{title} {text}").trim().to_string(),
            None => text,
        };
        let corpus = texts.into_iter().enumerate().map(titled).collect();
        let measured = query_texts
            .into_iter()
            .zip(judged)
            .filter(|(_, judged)| judged.values().any(|gain| *gain > 0.0));
        let (queries, relevant) = measured.unzip();
        Ok(Self { queries, corpus, relevant })
    }
}

/// The place of each id.
fn places<'a>(ids: &'a [String], what: &str) -> Result<HashMap<&'a str, u32>> {
    let mut places = HashMap::with_capacity(ids.len());
    for (id, place) in ids.iter().zip(0_u32..) {
        if places.insert(id.as_str(), place).is_some() {
            return Err(Failure::user(format!(
                "id '{id}' is twice in the {what}; ids must differ"
            )));
        }
    }
    Ok(places)
}
