//! How good the topics of a stream are, on a drifting mix of labelled texts, against clustering
//! each window again and matching its clusters with those of the window before by their centres.
//!
//! `cargo bench -p sembla-sql -p sembla --bench online_topics -- [MODEL [FILE]]`; MODEL is
//! `potion` and FILE `examples/data/banking77.parquet` if not said, else a table with `id`, `text`
//! and `intent`. `WINDOWS` is 24 and `ROWS` (of a window) 500.
//!
//! A third of the intents is there all the time, a third begins in some window, a third ends in
//! one, and all become more and less frequent. A window is scored by its own rows; one without a
//! topic counts as a topic of its own. An intent's rows *keep* their id if it is the one that most
//! of the intent's rows had in the window before. An intent that begins is *seen* in the first
//! window where a topic that was not there before is mostly its rows, at least two.

#![expect(clippy::print_stdout, reason = "a benchmark speaks to a person")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::time::Instant;

use arrow::array::{AsArray, FixedSizeListArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float32Type};
use sembla_operators::cluster::{self, Algorithm, Cut, Linkage};
use sembla_operators::evaluate::Contingency;
use sembla_operators::online::{ClusterOptions, Grouping, OnlineClusters, Window};
use sembla_operators::{Unbounded, UnitVectors, neighbours};
use sembla_sql::{Outcome, Session, SessionOptions};

/// Windows before the first that is scored: ids and weights have to begin.
const UNSCORED: usize = 2;

/// The cosine of centres from which on a cluster of a window is one of the window before, for the
/// way that starts over: what BERTopic's `merge_models` takes.
const MATCHED_FROM: f32 = 0.7;

/// Labelled vectors.
struct Texts {
    vectors: UnitVectors,
    intents: Vec<usize>,
    intents_total: usize,
}

/// A stream of rows, window by window, and the window in which each intent begins.
struct Stream {
    windows: Vec<Vec<u32>>,
    begins: Vec<usize>,
}

/// Finds the topics of one window after another.
type Finder<'a> = Box<dyn FnMut(usize, &UnitVectors) -> Vec<Option<u64>> + 'a>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let model = arguments.first().map_or("potion", String::as_str);
    let banking = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/banking77.parquet");
    let file = arguments.get(1).map_or(banking, String::as_str);
    let texts = texts(model, file).await?;
    let stream = drifting(&texts, setting("WINDOWS", 24), setting("ROWS", 500));
    println!(
        "{model}, {} texts, {} intents, {} windows of {} rows\n",
        texts.intents.len(),
        texts.intents_total,
        stream.windows.len(),
        stream.windows[0].len()
    );
    println!("{:<34} ARI   NMI   topics none  kept  seen    after  ms/window", "");
    for distance in [0.4, 0.45, 0.5, 0.55] {
        let grouping = Grouping::Distance(distance);
        let options = ClusterOptions { grouping, ..ClusterOptions::default() };
        score(&format!("online, distance {distance}"), &texts, &stream, online(options)?);
    }
    let single = ClusterOptions { min_weight: 1.0, ..ClusterOptions::default() };
    score("online, distance 0.5, min_weight 1", &texts, &stream, online(single)?);
    let grouping = Grouping::Count { k: texts.intents_total, seed: 0 };
    let fixed = ClusterOptions { grouping, ..ClusterOptions::default() };
    score("online, k", &texts, &stream, online(fixed)?);
    for distance in [0.4, 0.45, 0.5, 0.55] {
        score(&format!("anew, distance {distance}"), &texts, &stream, anew(distance));
    }
    Ok(())
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Embeds the texts of a file.
async fn texts(model: &str, file: &str) -> Result<Texts, Box<dyn Error>> {
    let session = Session::new(SessionOptions::default())?;
    if !session.models().contains(model) {
        let create = format!("CREATE MODEL given WITH (path = '{model}')");
        session.execute(session.parse(&create)?.remove(0)).await?;
    }
    let known = if session.models().contains(model) { model } else { "given" };
    let sql = format!("SELECT intent, embed(text, '{known}') FROM '{file}' ORDER BY id");
    let Outcome::Rows(frame) = session.execute(session.parse(&sql)?.remove(0)).await? else {
        return Err("a query gives rows".into());
    };
    let schema = frame.schema().inner().clone();
    let rows: RecordBatch = concat_batches(&schema, &frame.collect().await?)?;
    let names = cast(rows.column(0), &DataType::Utf8)?;
    let names: Vec<&str> = names.as_string::<i32>().iter().flatten().collect();
    let vectors: &FixedSizeListArray = rows.column(1).as_fixed_size_list();
    let values = vectors.values().as_primitive::<Float32Type>().values().to_vec();
    let known: BTreeSet<&str> = names.iter().copied().collect();
    let known: Vec<&str> = known.into_iter().collect();
    let intents = names.iter().filter_map(|name| known.binary_search(name).ok()).collect();
    let vectors = UnitVectors::new(vectors.value_length() as usize, values)?;
    Ok(Texts { vectors, intents, intents_total: known.len() })
}

/// Random numbers in 0..1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() * bound as f64) as usize
    }
}

fn drifting(texts: &Texts, windows: usize, rows: usize) -> Stream {
    let mut random = Random(1);
    let total = texts.intents_total;
    let mut of_intent: Vec<Vec<u32>> = vec![Vec::new(); total];
    for (row, intent) in (0..).zip(&texts.intents) {
        of_intent[*intent].push(row);
    }
    let mut order: Vec<usize> = (0..total).collect();
    (0..total).for_each(|at| order.swap(at, at + random.below(total - at)));
    let (mut begins, mut ends) = (vec![0; total], vec![windows; total]);
    for (number, intent) in order.into_iter().enumerate() {
        match number % 3 {
            1 => begins[intent] = 2 + random.below(windows - 6),
            2 => ends[intent] = 4 + random.below(windows - 6),
            _ => {}
        }
    }
    let usual: Vec<f64> = (0..total).map(|_| 0.5 + random.next()).collect();
    let mut taken = vec![0; total];
    let window = |window: usize| {
        let weight = |intent: usize| {
            let is_there = (begins[intent]..ends[intent]).contains(&window);
            let swing = 1.0 + 0.5 * (window as f64 / 3.0 + intent as f64).sin();
            if is_there { usual[intent] * swing } else { 0.0 }
        };
        let weights: Vec<f64> = (0..total).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let mut draw = || {
            let mut left = random.next() * sum;
            let drawn = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            let intent = drawn.unwrap_or(0);
            taken[intent] += 1;
            of_intent[intent][(taken[intent] * 7919) % of_intent[intent].len()]
        };
        (0..rows).map(|_| draw()).collect()
    };
    let windows = (0..windows).map(window).collect();
    Stream { windows, begins }
}

fn online<'a>(options: ClusterOptions) -> Result<Finder<'a>, Box<dyn Error>> {
    const MINUTE: i64 = 60_000_000;
    let options = ClusterOptions { half_life: Some(4 * MINUTE), ..options };
    let mut clusters = OnlineClusters::new(options)?;
    Ok(Box::new(move |number, vectors| {
        let start = number as i64 * MINUTE;
        let window = Window { start, end: start + MINUTE };
        let found = clusters.step(window, vectors, &Unbounded).expect("a window");
        found.cluster_of
    }))
}

/// Clusters each window by itself; a cluster takes the id of the most similar one before.
fn anew<'a>(distance: f64) -> Finder<'a> {
    let (linkage, cut) = (Linkage::Average, Cut::Threshold(distance));
    let algorithm = Algorithm::Agglomerative { linkage, cut, rows_max: 100_000, seed: 0 };
    let (mut before, mut ids_before, mut next) = (UnitVectors::default(), Vec::new(), 0_u64);
    Box::new(move |_, vectors| {
        let found = cluster::cluster(vectors, &algorithm, &Unbounded).expect("clusters");
        let mut ids: Vec<Option<u64>> = vec![None; found.clusters()];
        if before.rows() > 0 {
            let near = neighbours::top_k(&found.centroids, &before, 10, MATCHED_FROM, &Unbounded);
            let near = near.expect("neighbours");
            let mut pairs: Vec<(f32, usize, usize)> = (0..ids.len())
                .flat_map(|c| {
                    near.of(c).iter().map(move |found| (found.score, c, found.row as usize))
                })
                .collect();
            pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
            let mut taken = BTreeSet::new();
            for (_, cluster, earlier) in pairs {
                if ids[cluster].is_none() && taken.insert(earlier) {
                    ids[cluster] = Some(ids_before[earlier]);
                }
            }
        }
        ids_before = ids
            .into_iter()
            .map(|id| {
                next += u64::from(id.is_none());
                id.unwrap_or(next - 1)
            })
            .collect();
        before = found.centroids;
        let id = |cluster: &Option<u32>| cluster.map(|cluster| ids_before[cluster as usize]);
        found.cluster_of.iter().map(id).collect()
    })
}

/// The most frequent of some ids; of equally frequent ones the lowest.
fn most(ids: impl Iterator<Item = u64>) -> Option<(u64, usize)> {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    ids.for_each(|id| *counts.entry(id).or_default() += 1);
    counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)))
}

fn score(name: &str, texts: &Texts, stream: &Stream, mut find: Finder<'_>) {
    let (mut ari, mut nmi, mut topics, mut none, mut scored) = (0.0, 0.0, 0, 0, 0_usize);
    let (mut kept, mut could_keep) = (0, 0);
    let mut first_window: HashMap<u64, usize> = HashMap::new();
    let mut usual: BTreeMap<usize, u64> = BTreeMap::new();
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    let begun = Instant::now();
    for (number, rows) in stream.windows.iter().enumerate() {
        let found = find(number, &texts.vectors.select(rows));
        let intents: Vec<usize> = rows.iter().map(|row| texts.intents[*row as usize]).collect();
        found.iter().flatten().for_each(|id| {
            first_window.entry(*id).or_insert(number);
        });
        if number >= UNSCORED {
            let mut table = Contingency::default();
            for (row, (id, intent)) in found.iter().zip(&intents).enumerate() {
                table.add(*intent as u64, id.unwrap_or(u64::MAX - row as u64));
            }
            ari += table.adjusted_rand_index().unwrap_or_default();
            nmi += table.normalized_mutual_information().unwrap_or_default();
            topics += found.iter().flatten().collect::<BTreeSet<_>>().len();
            none += found.iter().filter(|id| id.is_none()).count();
            scored += 1;
        }
        let of = |intent: usize| {
            let rows = found.iter().zip(&intents).filter(move |(_, of)| **of == intent);
            rows.map(|(id, _)| *id)
        };
        let present: BTreeSet<usize> = intents.iter().copied().collect();
        for (intent, id) in std::mem::take(&mut usual) {
            if number >= UNSCORED {
                could_keep += of(intent).count();
                kept += of(intent).filter(|now| *now == Some(id)).count();
            }
        }
        for intent in present {
            usual.extend(most(of(intent).flatten()).map(|(id, _)| (intent, id)));
            let begins = stream.begins[intent];
            let is_its_own = |id: u64| {
                let all = found.iter().filter(|other| **other == Some(id)).count();
                let own = of(intent).filter(|other| *other == Some(id)).count();
                first_window[&id] >= begins && own >= 2 && own * 2 > all
            };
            if begins > 0 && !seen.contains_key(&intent) && of(intent).flatten().any(is_its_own) {
                seen.insert(intent, number - begins);
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let late = stream.begins.iter().filter(|begins| **begins > 0).count();
    let after = seen.values().sum::<usize>() as f64 / seen.len().max(1) as f64;
    let windows = scored.max(1) as f64;
    let rows = windows * stream.windows[0].len() as f64;
    println!(
        "{name:<34} {:.3} {:.3} {:>5.0}  {:.3} {:.3} {:>3}/{late:<3} {after:>5.2}  {:.1}",
        ari / windows,
        nmi / windows,
        topics as f64 / windows,
        none as f64 / rows,
        kept as f64 / could_keep.max(1) as f64,
        seen.len(),
        1000.0 * seconds / stream.windows.len() as f64
    );
}
