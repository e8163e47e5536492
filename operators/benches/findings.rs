//! How long findings over pairs take, and how much memory above the vectors, as the rows grow.
//!
//! `cargo bench -p sembla-operators --bench findings -- FINDING [ROWS…]` with FINDING one of
//! `mine`, `communities`, `star`, `closure`, `exact`, `int8`, `binary`, `online` (two windows of
//! half the rows each). `DIMENSION` is 384 and `QUERIES` 1000 if not said. The vectors are made:
//! rows around one centre for each twenty of them, as near to it as texts on one subject are (a
//! cosine of about 0.75 between two of them), and every tenth row close to another.

#![expect(clippy::print_stdout, reason = "a benchmark speaks to a person")]

use std::time::Instant;

use sembla_operators::communities::{self, communities};
use sembla_operators::dedup::{self, Distinct, Input, Mode, Near, dedup};
use sembla_operators::online::{ClusterOptions, OnlineClusters, Window};
use sembla_operators::search::{self, CodedCorpus, Coding};
use sembla_operators::{Unbounded, UnitVectors, mining, neighbours};

/// Rows of one subject.
const SUBJECT_ROWS: usize = 20;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let finding = arguments.first().map_or("mine", String::as_str);
    let mut rows: Vec<usize> =
        arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    if rows.is_empty() {
        rows = vec![10_000, 20_000];
    }
    let dimension = setting("DIMENSION").unwrap_or(384);
    println!("{:>12} {:>9} {:>9} {:>12}  found", "", "rows", "seconds", "MB above");
    for rows in rows {
        let vectors = UnitVectors::new(dimension, values(rows, dimension)).expect("rows");
        let before = memory_mb("VmRSS");
        let begun = Instant::now();
        let found = find(finding, &vectors);
        let seconds = begun.elapsed().as_secs_f64();
        let above = memory_mb("VmHWM") - before;
        println!("{finding:>12} {rows:>9} {seconds:>9.2} {above:>12.0}  {found}");
    }
}

fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

fn find(finding: &str, vectors: &UnitVectors) -> String {
    let host = &Unbounded;
    match finding {
        "communities" => {
            let options = communities::CommunityOptions::default();
            format!("{} communities", communities(vectors, &options, host).expect("found").len())
        }
        "star" | "closure" => {
            let mode = if finding == "star" { Mode::Star } else { Mode::Closure };
            let distinct = Distinct::all_different(vectors.rows() as u32);
            let near = Near::Vectors { rows: vectors, earlier: None };
            let input = Input { distinct: &distinct, near, equal_earlier: &[] };
            let options = dedup::DedupOptions { mode, ..dedup::DedupOptions::default() };
            let verdicts = dedup(&input, &options, host).expect("told apart");
            format!("{} kept", verdicts.iter().filter(|verdict| verdict.is_kept()).count())
        }
        "exact" | "int8" | "binary" => {
            let asked = setting("QUERIES").unwrap_or(1000).min(vectors.rows());
            let queries = vectors.select(&(0..asked as u32).collect::<Vec<_>>());
            let begun = Instant::now();
            let coded = match finding {
                "int8" => Some(Coding::Int8),
                "binary" => Some(Coding::Binary),
                _ => None,
            };
            let coded =
                coded.map(|coding| CodedCorpus::new(vectors.clone(), coding, host).expect("coded"));
            let coding = begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            let exact = || neighbours::top_k(&queries, vectors, 10, -1.0, host).expect("found");
            let options = search::SearchOptions::default();
            let search = |coded: &CodedCorpus<'_>| coded.search(&queries, &options, host);
            let found = coded.as_ref().map_or_else(exact, |coded| search(coded).expect("found"));
            let seconds = begun.elapsed().as_secs_f64();
            let exact = exact();
            let common = |row: usize| {
                found.of(row).iter().filter(|found| exact.of(row).contains(found)).count()
            };
            let recall = (0..asked).map(common).sum::<usize>() as f64 / (10 * asked) as f64;
            format!("coding {coding:.2} s, {asked} queries {seconds:.4} s, recall {recall:.4}")
        }
        "online" => online(vectors),
        _ => {
            let options = mining::MiningOptions { top_k: 10, ..mining::MiningOptions::default() };
            format!("{} pairs", mining::mine(vectors, &options, host).expect("mined").len())
        }
    }
}

/// Online clusters of two windows: how long each takes, and what is remembered.
fn online(vectors: &UnitVectors) -> String {
    let mut clusters = OnlineClusters::new(ClusterOptions::default()).expect("options");
    let half = vectors.rows() / 2;
    let windows = (0_i64..).zip([0..half, half..vectors.rows()]);
    let told: Vec<String> = windows
        .map(|(number, rows)| {
            let rows: Vec<u32> = rows.map(|row| row as u32).collect();
            let window = Window { start: number, end: number + 1 };
            let begun = Instant::now();
            let rows = vectors.select(&rows);
            let found = clusters.step(window, &rows, &Unbounded).expect("a window");
            format!(
                "{} clusters of {} micro-clusters in {:.2} s",
                found.clusters.len(),
                clusters.micro_clusters(),
                begun.elapsed().as_secs_f64()
            )
        })
        .collect();
    told.join(", ")
}

fn values(rows: usize, dimension: usize) -> Vec<f32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    let subjects = rows.div_ceil(SUBJECT_ROWS);
    let centres: Vec<f32> = (0..subjects * dimension).map(|_| noise()).collect();
    let mut values: Vec<f32> = Vec::with_capacity(rows * dimension);
    for row in 0..rows {
        if row % 10 == 9 {
            let original = row / 2 * dimension;
            for at in original..original + dimension {
                values.push(values[at] + 0.2 * noise());
            }
        } else {
            let centre = &centres[row * 7919 % subjects * dimension..][..dimension];
            values.extend(centre.iter().map(|centre| centre + 0.58 * noise()));
        }
    }
    values
}

/// What Linux says of this process's memory; 0 elsewhere.
fn memory_mb(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
