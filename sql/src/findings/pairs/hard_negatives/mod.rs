//! `hard_negatives(queries, corpus => …, positives => …)`: rows to train on, whose negatives are
//! those that a model finds nearest. `rows` puts them into columns.

mod rows;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use sembla_operators::evaluate::RandomState;
use sembla_operators::negatives::{NegativesOptions, choose};
use sembla_operators::{Loan, Neighbour, Neighbours, UnitVectors, host, neighbours};

use rows::{Rows, Sample};

use crate::SqlError;
use crate::columns::keys::Keys;
use crate::error::arrow_error;
use crate::findings::search::reranker::{RERANKER, Reranker};
use crate::relations::declaration::{Declaration, InputDef, Need, Planning, VECTORS};
use crate::relations::finding::{Emit, Finding, FindingHost};
use crate::relations::options::{OptionDef, OptionKind, OptionValues};
use crate::relations::roles::{InputTypes, column, list_of};
use crate::relations::table::Table;

/// Queries whose candidates are found together.
const QUERIES_TOGETHER: usize = 4096;

/// Most negatives of a query.
const NEGATIVES_MAX: usize = 1000;

const OUTPUTS: &[&str] = &["triplet", "n-tuple", "labeled-pair"];

/// A number of a score, which is a cosine or whatever a cross-encoder gives.
const fn number(least: f64, what: &'static str) -> OptionKind {
    OptionKind::Number { least, most: f32::MAX as f64, what, default: None }
}

pub(crate) static DECLARATION: Declaration = Declaration {
    name: "hard_negatives",
    about: "Rows to train on: for each query and positive the nearest rows of the corpus that are no positives. 'triplet' gives \
            anchor, positive, negative; 'n-tuple' gives anchor, positive, negative_1, … and leaves out queries with fewer than k; \
            'labeled-pair' gives anchor, document, label (1 for positives). Equal texts count once. The result is that of \
            sentence-transformers' mine_hard_negatives on the same vectors.",
    example: "SELECT * FROM hard_negatives((SELECT question AS text FROM 'faq.csv'), corpus => (SELECT answer AS text FROM 'faq.csv'), \
              relative_margin => 0.05)",
    inputs: &[
        InputDef {
            name: "queries",
            about: "A table, file or query with the texts that are searched for.",
            texts: Need::Must,
            prompt: "query_prompt",
            default_prompt: Some("query"),
            ..VECTORS
        },
        InputDef {
            name: "corpus",
            about: "A table, file or query with the texts that are found, positives among them.",
            texts: Need::Must,
            prompt: "document_prompt",
            default_prompt: Some("document"),
            ..VECTORS
        },
        InputDef {
            name: "positives",
            about: "Columns query_id and id: which rows of the corpus answer which queries. Without it, rows with equal ids belong \
                    together, which are those of the same place where there is no column of ids.",
            required: false,
            vectors: Need::No,
            columns: &["query_id", "id"],
            ..VECTORS
        },
    ],
    options: &[
        OptionDef {
            name: "k",
            kind: OptionKind::Count { least: 1, default: Some(3) },
            about: "Negatives of each query.",
        },
        OptionDef {
            name: "range_min",
            kind: OptionKind::Count { least: 0, default: Some(0) },
            about: "Skip so many of the nearest rows that could be negatives.",
        },
        OptionDef {
            name: "range_max",
            kind: OptionKind::Count { least: 1, default: None },
            about: "Look at no rows past this rank. By default as far as needed for k, and ten times that with a margin or max_score.",
        },
        OptionDef {
            name: "margin",
            kind: number(-f32::MAX as f64, "a number"),
            about: "A negative's score must be at least so much below that of the positive (of several, of the lowest).",
        },
        OptionDef {
            name: "relative_margin",
            kind: number(0.0, "a share >= 0, such as 0.05"),
            about: "The same as a share of the positive's score: 0.05 is five percent below it.",
        },
        OptionDef {
            name: "max_score",
            kind: number(-f32::MAX as f64, "a number"),
            about: "Leave out negatives with a higher score.",
        },
        OptionDef {
            name: "min_score",
            kind: number(-f32::MAX as f64, "a number"),
            about: "Leave out negatives with a lower score.",
        },
        OptionDef {
            name: "sampling",
            kind: OptionKind::Choice { of: &["top", "random"], default: Some("top") },
            about: "'top' takes the nearest, 'random' draws from all between range_min and range_max.",
        },
        OptionDef {
            name: "seed",
            kind: OptionKind::Count { least: 0, default: Some(42) },
            about: "What random choices depend on.",
        },
        OptionDef {
            about: "Cross-encoder whose scores take the place of cosines for candidates and positives; with a margin, max_score or \
                    min_score.",
            ..RERANKER
        },
        OptionDef {
            name: "output",
            kind: OptionKind::Choice { of: OUTPUTS, default: Some("triplet") },
            about: "The form of the rows.",
        },
        OptionDef {
            name: "scores",
            kind: OptionKind::Flag { default: false },
            about: "Add scores, a list of the score of the positive and those of the negatives; 'labeled-pair' gets score in place of \
                    label.",
        },
    ],
    carries: false,
    takes_index: false,
    plan,
};

/// The form of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Triplet,
    Tuple,
    LabeledPair,
}

#[derive(Debug)]
struct Negatives {
    options: NegativesOptions,
    output: Output,
    has_scores: bool,
    reranker: Option<Reranker>,
}

fn plan(planning: &Planning<'_>) -> Result<Arc<dyn Finding>, SqlError> {
    let wrong = |message: String| Err(SqlError::Statement(message));
    let options = options(planning.options)?;
    options.check()?;
    if options.k > NEGATIVES_MAX {
        return wrong(format!("k must be at most {NEGATIVES_MAX}, got {}", options.k));
    }
    if let Some(Some(positives)) = planning.inputs.get(2)
        && let Some(missing) =
            ["query_id", "id"].iter().find(|name| positives.extra(name).is_none())
    {
        return wrong(format!("positives have no column '{missing}'; name columns in a query"));
    }
    let reranker = Reranker::given(planning)?;
    if reranker.is_some() && !options.has_condition() {
        return wrong(
            "reranker changes nothing by itself; add margin, relative_margin, max_score or min_score".into(),
        );
    }
    let output = match planning.options.text("output") {
        Some("n-tuple") => Output::Tuple,
        Some("labeled-pair") => Output::LabeledPair,
        _ => Output::Triplet,
    };
    let has_scores = planning.options.flag("scores");
    Ok(Arc::new(Negatives { options, output, has_scores, reranker }))
}

fn options(options: &OptionValues) -> Result<NegativesOptions, SqlError> {
    let number = |name| options.number(name).map(|number| number as f32);
    let count = |name| options.count(name).unwrap_or_default();
    let seed = u32::try_from(count("seed")).map_err(|_| {
        SqlError::Statement(format!("seed must be at most {}, got {}", u32::MAX, count("seed")))
    })?;
    Ok(NegativesOptions {
        k: count("k"),
        range_min: count("range_min"),
        range_max: options.count("range_max"),
        margin: number("margin"),
        relative_margin: number("relative_margin"),
        max_score: number("max_score"),
        min_score: number("min_score"),
        is_random: options.text("sampling") == Some("random"),
        seed,
    })
}

impl Finding for Negatives {
    fn columns(&self, _inputs: &[Option<InputTypes>]) -> Vec<Field> {
        let text = |name: &str| column(name, DataType::Utf8);
        let scores = || column("scores", list_of(DataType::Float32));
        let mut columns = vec![text("anchor")];
        match self.output {
            Output::Triplet => columns.extend([text("positive"), text("negative")]),
            Output::Tuple => {
                columns.push(text("positive"));
                columns.extend((1..=self.options.k).map(|n| text(&format!("negative_{n}"))));
            }
            Output::LabeledPair => columns.extend([
                text("document"),
                match self.has_scores {
                    true => column("score", DataType::Float32),
                    false => column("label", DataType::Int64),
                },
            ]),
        }
        if self.has_scores && self.output != Output::LabeledPair {
            columns.push(scores());
        }
        columns
    }

    fn run(
        &self,
        tables: &[Option<Table>],
        host: &dyn FindingHost,
        emit: &mut Emit<'_>,
    ) -> Result<(), SqlError> {
        let [Some(queries), Some(corpus), positives] = tables else { return Ok(()) };
        let asked = Distinct::of(queries);
        let found = Distinct::of(corpus);
        let pairs = pairs(queries, corpus, positives.as_ref())?;
        let belonging = belonging(&pairs, &asked, &found);
        let positives_max = belonging.iter().map(Vec::len).max().unwrap_or_default();
        let range_max = self.options.range_max(positives_max, self.reranker.is_some());
        let pool = range_max.saturating_add(positives_max);
        let _copy = Loan::new(host, found.bytes(corpus))?;
        let vectors = found.vectors(corpus);
        let mut random = RandomState::new(self.options.seed);
        let with_positives: Vec<usize> =
            (0..asked.rows.len()).filter(|query| !belonging[*query].is_empty()).collect();
        let mut rows = Rows::new(self, queries, corpus);
        for some in with_positives.chunks(QUERIES_TOGETHER) {
            host::check(host)?;
            let _loan =
                Loan::new(host, 2 * Neighbours::bytes(some.len(), pool.min(corpus.rows())))?;
            let places: Vec<u32> = some.iter().map(|query| asked.rows[*query]).collect();
            let vectors_of_some = queries.vectors().select(&places);
            let nearest = neighbours::top_k(&vectors_of_some, &vectors, pool, -1.0, host)?;
            let mut scored = Vec::new();
            for (at, query) in some.iter().enumerate() {
                let mut positives: Vec<(u32, f32)> = Vec::new();
                for row in &belonging[*query] {
                    if positives.iter().all(|(known, _)| known != row) {
                        let score = vectors_of_some.cosine(at, &vectors, *row as usize);
                        positives.push((*row, score));
                    }
                }
                scored.push((places[at], positives, nearest.of(at).to_vec()));
            }
            if let Some(reranker) = &self.reranker {
                rescored(&mut scored, (queries, corpus, &found), reranker, host)?;
            }
            for (query, positives, candidates) in scored {
                let negatives =
                    choose(&candidates, &positives, range_max, &self.options, &mut random);
                let place = |row: u32| found.rows[row as usize];
                let positives =
                    positives.into_iter().map(|(row, score)| (place(row), score)).collect();
                let negatives =
                    negatives.into_iter().map(|found| (place(found.row), found.score)).collect();
                rows.add(Sample { query, positives, negatives }, emit)?;
            }
        }
        rows.flush(emit)
    }
}

/// The distinct texts of a table that have a vector.
struct Distinct {
    /// The first row of each.
    rows: Vec<u32>,
    /// Which of them each row of the table is.
    of_row: Vec<Option<u32>>,
}

impl Distinct {
    fn of(table: &Table) -> Self {
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let (mut rows, mut of_row) = (Vec::new(), Vec::with_capacity(table.rows()));
        for row in 0..table.rows() {
            let text = table.text(row).filter(|_| table.vectors().has_direction(row));
            of_row.push(text.map(|text| {
                *numbers.entry(text).or_insert_with(|| {
                    rows.push(row as u32);
                    rows.len() as u32 - 1
                })
            }));
        }
        Self { rows, of_row }
    }

    /// Bytes that [`Self::vectors`] copies.
    fn bytes(&self, table: &Table) -> usize {
        match self.rows.len() == table.rows() {
            true => 0,
            false => self.rows.len() * table.vectors().dimension() * size_of::<f32>(),
        }
    }

    /// The vectors of the distinct texts.
    fn vectors<'a>(&self, table: &'a Table) -> Cow<'a, UnitVectors> {
        match self.rows.len() == table.rows() {
            true => Cow::Borrowed(table.vectors()),
            false => Cow::Owned(table.vectors().select(&self.rows)),
        }
    }
}

/// Rows of queries and of the corpus that belong together, in the order of the positives.
fn pairs(
    queries: &Table,
    corpus: &Table,
    positives: Option<&Table>,
) -> Result<Vec<(u32, u32)>, SqlError> {
    let of_queries = queries.ids(0..queries.rows() as u32)?;
    let of_corpus = corpus.ids(0..corpus.rows() as u32)?;
    // Ids of another type are read as those of the table; what can't be read names no row.
    let as_ids = |ids: &ArrayRef, like: &ArrayRef| {
        cast(ids, like.data_type()).map_err(|error| arrow_error(&error))
    };
    let (wanted_queries, wanted_rows) = match positives {
        Some(positives) => (
            as_ids(&positives.whole("query_id")?, &of_queries)?,
            as_ids(&positives.whole("id")?, &of_corpus)?,
        ),
        None => (Arc::clone(&of_queries), as_ids(&of_queries, &of_corpus)?),
    };
    let queries = rows_of(&of_queries, &wanted_queries)?;
    let rows = rows_of(&of_corpus, &wanted_rows)?;
    let pairs: Vec<(u32, u32)> =
        queries.into_iter().zip(rows).filter_map(|(query, row)| Some((query?, row?))).collect();
    if pairs.is_empty() && !wanted_queries.is_empty() {
        return Err(SqlError::Data(match positives {
            Some(_) => "no row of positives names a query and a row of the corpus; check query_id and id".into(),
            None => "no query has the id of a row of the corpus; name what belongs together with positives => …".into(),
        }));
    }
    Ok(pairs)
}

/// The first row with each of the wanted ids.
fn rows_of(ids: &ArrayRef, wanted: &ArrayRef) -> Result<Vec<Option<u32>>, SqlError> {
    let mut keys = Keys::default();
    let mut first: Vec<u32> = Vec::new();
    for (row, key) in (0_u32..).zip(keys.of(ids)?) {
        // Keys are numbered in the order of their first rows.
        if key.is_some_and(|key| key as usize == first.len()) {
            first.push(row);
        }
    }
    let found = keys.find(wanted)?;
    Ok(found.into_iter().map(|key| first.get(key? as usize).copied()).collect())
}

/// The positives of each distinct query, with those that are named twice.
fn belonging(pairs: &[(u32, u32)], asked: &Distinct, found: &Distinct) -> Vec<Vec<u32>> {
    let mut belonging = vec![Vec::new(); asked.rows.len()];
    for (query, row) in pairs {
        let places = (asked.of_row[*query as usize], found.of_row[*row as usize]);
        if let (Some(query), Some(row)) = places {
            belonging[query as usize].push(row);
        }
    }
    belonging
}

/// The row of a query, its positives and its candidates.
type Candidates = (u32, Vec<(u32, f32)>, Vec<Neighbour>);

/// Puts the cross-encoder's scores in the place of cosines.
fn rescored(
    scored: &mut [Candidates],
    (queries, corpus, found): (&Table, &Table, &Distinct),
    reranker: &Reranker,
    host: &dyn FindingHost,
) -> Result<(), SqlError> {
    let text = |row: u32| corpus.text(found.rows[row as usize] as usize).unwrap_or_default();
    let mut pairs = Vec::new();
    for (query, positives, candidates) in scored.iter() {
        let query = queries.text(*query as usize).unwrap_or_default();
        pairs.extend(positives.iter().map(|(row, _)| (query, text(*row))));
        pairs.extend(candidates.iter().map(|candidate| (query, text(candidate.row))));
    }
    let mut scores = reranker.score(&pairs, host)?.into_iter();
    for (_, positives, candidates) in scored {
        let own = positives.iter_mut().map(|(_, score)| score);
        let all = own.chain(candidates.iter_mut().map(|candidate| &mut candidate.score));
        all.zip(scores.by_ref()).for_each(|(score, new)| *score = new);
    }
    Ok(())
}
