//! Deduplication against the definition, over all modes, preferences and sources of similarity.

use std::sync::Mutex;

use super::*;
use crate::host::Unbounded;
use crate::host::tests::Limited;
use crate::test_rows::{random_rows, random_topics};

/// Everything that a run needs, so that the plain way and the fast one get the same.
struct Case {
    distinct: Distinct,
    vectors: UnitVectors,
    earlier: Option<UnitVectors>,
    equal_earlier: Vec<Option<u32>>,
}

impl Case {
    /// Rows of which some have equal keys.
    fn new(rows: usize, keep: &Keep, with_earlier: bool) -> Self {
        let key = |row: usize| (row * row + 3 * row) % (rows * 2 / 3 + 1);
        let distinct = Distinct::of((0..rows).map(key), keep).expect("grouped");
        let vectors = random_rows(distinct.standing().len(), 5, 11);
        let earlier = with_earlier.then(|| random_rows(rows / 8 + 1, 5, 12));
        let equal = |row: usize| (key(row) % 17 == 5).then_some((row % 3) as u32);
        let equal_earlier: Vec<Option<u32>> =
            if with_earlier { (0..rows).map(equal).collect() } else { Vec::new() };
        Self { distinct, vectors, earlier, equal_earlier }
    }

    fn input(&self) -> Input<'_> {
        let near = Near::Vectors { rows: &self.vectors, earlier: self.earlier.as_ref() };
        Input { distinct: &self.distinct, near, equal_earlier: &self.equal_earlier }
    }

    /// The cosine of two distinct rows, or of one and an earlier one.
    fn cosine(&self, side: Side, a: u32, b: u32) -> Option<f32> {
        let others = match side {
            Side::Here => &self.vectors,
            Side::Earlier => self.earlier.as_ref()?,
        };
        let directed = self.vectors.has_direction(a as usize) && others.has_direction(b as usize);
        directed.then(|| self.vectors.cosine(a as usize, others, b as usize))
    }

    /// The score of a pair if it is similar, by the options.
    fn similar(&self, side: Side, a: u32, b: u32, options: &DedupOptions<'_>) -> Option<f32> {
        let score = self.cosine(side, a, b)?;
        let (threshold, margin) = (options.threshold as f32, |x: Confirmation<'_>| x.margin as f32);
        let Some(confirmation) = options.confirmation else {
            return (score >= threshold).then_some(score);
        };
        if score >= threshold + margin(confirmation) {
            return Some(score);
        }
        let standing = self.distinct.standing();
        let (a, b) = match side {
            Side::Here => {
                let (a, b) = (standing[a as usize], standing[b as usize]);
                (a.min(b), a.max(b))
            }
            Side::Earlier => (standing[a as usize], b),
        };
        (score >= threshold - margin(confirmation) && agrees(side, a, b)).then_some(score)
    }
}

/// What the judge of these tests thinks.
fn agrees(side: Side, a: u32, b: u32) -> bool {
    !(a * 7 + b * 3 + u32::from(side == Side::Here)).is_multiple_of(3)
}

/// The best of some candidates, each a row and its score; of equal ones the first.
fn best(candidates: impl Iterator<Item = (u32, Option<f32>)>) -> Option<(u32, f32)> {
    candidates.filter_map(|(row, score)| Some((row, score?))).fold(None, |best, found| match best {
        Some((_, score)) if score >= found.1 => best,
        _ => Some(found),
    })
}

/// Which of the rows each row is connected with: the smallest row that can be reached.
fn slow_roots(case: &Case, open: &[u32], options: &DedupOptions<'_>) -> Vec<u32> {
    let mut roots: Vec<u32> = (0..case.vectors.rows() as u32).collect();
    loop {
        let before = roots.clone();
        for a in open {
            for b in open {
                if a != b && case.similar(Side::Here, *a, *b, options).is_some() {
                    let root = roots[*a as usize].min(roots[*b as usize]);
                    (roots[*a as usize], roots[*b as usize]) = (root, root);
                }
            }
        }
        if roots == before {
            return roots;
        }
    }
}

fn slow_order(case: &Case, open: &[u32], roots: &[u32], options: &DedupOptions<'_>) -> Vec<u32> {
    let nearness = |row: u32| {
        let members = open.iter().filter(|other| roots[**other as usize] == roots[row as usize]);
        let mut sum = vec![0.0_f64; case.vectors.dimension()];
        let mut count = 0;
        for member in members {
            let values = case.vectors.row(*member as usize);
            sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += f64::from(*x));
            count += 1;
        }
        if count == 1 {
            return 1.0;
        }
        let centre = UnitVectors::new(sum.len(), sum.iter().map(|x| *x as f32).collect());
        case.vectors.cosine(row as usize, &centre.expect("one row"), 0)
    };
    let mut order = open.to_vec();
    match &options.keep {
        Keep::First => {}
        Keep::Ranked(ranks) => {
            order.sort_by_key(|row| ranks[case.distinct.standing()[*row as usize] as usize]);
        }
        Keep::Centroid => {
            order.sort_by(|x, y| nearness(*y).total_cmp(&nearness(*x)));
        }
    }
    order
}

/// The definition: for each distinct row its side, representative, score and whether it is exact.
fn slow_dedup(case: &Case, options: &DedupOptions<'_>) -> Vec<Verdict> {
    let standing = case.distinct.standing();
    let groups = standing.len() as u32;
    let mut drops: Vec<Option<Dropped>> = vec![None; groups as usize];
    for group in 0..groups {
        let equal = case.equal_earlier.get(standing[group as usize] as usize).copied().flatten();
        let rows = 0..case.earlier.as_ref().map_or(0, |earlier| earlier.rows() as u32);
        let nearest = best(rows.map(|row| (row, case.similar(Side::Earlier, group, row, options))));
        let (side, reason) = (Side::Earlier, Reason::Exact);
        drops[group as usize] = equal
            .map(|representative| Dropped { side, representative, score: Some(1.0), reason })
            .or(nearest.map(|(row, score)| near(side, row, Some(score))));
    }
    let open: Vec<u32> = (0..groups).filter(|group| drops[*group as usize].is_none()).collect();
    let roots = slow_roots(case, &open, options);
    let order = slow_order(case, &open, &roots, options);
    let mut kept: Vec<u32> = Vec::new();
    for row in order {
        let found = match options.mode {
            Mode::Star => {
                best(kept.iter().map(|kept| (*kept, case.similar(Side::Here, *kept, row, options))))
            }
            Mode::Closure => kept
                .iter()
                .find(|kept| roots[**kept as usize] == roots[row as usize])
                .map(|kept| (*kept, case.cosine(Side::Here, row, *kept).expect("directed"))),
        };
        match found {
            Some((kept, score)) => {
                drops[row as usize] = Some(near(Side::Here, kept, Some(score)));
            }
            None => kept.push(row),
        }
    }
    let mut verdicts: Vec<Verdict> = Vec::new();
    for row in 0..case.distinct.rows() as u32 {
        let group = case.distinct.group_of(row) as usize;
        let (side, representative, score, reason) = match drops[group] {
            Some(dropped) if dropped.side == Side::Earlier => {
                (Side::Earlier, dropped.representative, dropped.score, Some(dropped.reason))
            }
            Some(dropped) => {
                let representative = standing[dropped.representative as usize];
                (Side::Here, representative, dropped.score, Some(dropped.reason))
            }
            None if standing[group] == row => (Side::Here, row, None, None),
            None => (Side::Here, standing[group], Some(1.0), Some(Reason::Exact)),
        };
        let same = verdicts.iter().position(|other: &Verdict| {
            (other.side, other.representative) == (side, representative)
        });
        let cluster = same.map_or(row, |same| same as u32);
        verdicts.push(Verdict { cluster, representative, side, score, reason });
    }
    verdicts
}

fn keeps(rows: usize) -> [Keep; 3] {
    let ranks = (0..rows).map(|row| (row * 31 % 7) as u32).collect();
    [Keep::First, Keep::Ranked(ranks), Keep::Centroid]
}

#[test]
fn verdicts_are_what_the_definition_says() {
    for rows in [0, 1, 2, 40, 150] {
        for keep in keeps(rows) {
            for (mode, threshold, with_earlier) in [
                (Mode::Star, 0.8, false),
                (Mode::Star, 0.6, true),
                (Mode::Closure, 0.8, false),
                (Mode::Closure, 0.9, true),
            ] {
                let case = Case::new(rows, &keep, with_earlier);
                let options =
                    DedupOptions { threshold, mode, keep: keep.clone(), confirmation: None };
                let got = dedup(&case.input(), &options, &Unbounded).expect("told apart");
                let wanted = slow_dedup(&case, &options);
                assert_eq!(got, wanted, "{rows} rows, {mode:?}, {keep:?}, {threshold}");
            }
        }
    }
}

fn collected(search: impl FnOnce(&neighbours::PairSink<'_>) -> Result<()>) -> Vec<Pair> {
    let pairs = Mutex::new(Vec::new());
    search(&|found| {
        pairs.lock().expect("whole").extend_from_slice(found);
        Ok(())
    })
    .expect("emitted");
    pairs.into_inner().expect("whole")
}

/// Pairs saved at a low threshold, of another choice of the rows that stand for equal ones, serve
/// every higher one.
#[test]
fn saved_pairs_give_the_same_verdicts() {
    let saver = Case::new(150, &Keep::First, true);
    let earlier = saver.earlier.as_ref().expect("there");
    let within =
        collected(|sink| emit_pairs(&saver.distinct, &saver.vectors, 0.3, &Unbounded, sink));
    let mut earlier =
        collected(|sink| neighbours::pairs_between(&saver.vectors, earlier, 0.3, &Unbounded, sink));
    earlier.iter_mut().for_each(|pair| pair.a = saver.distinct.standing()[pair.a as usize]);
    let [first, ranked, centroid] = keeps(150);
    for keep in [first, ranked] {
        for (mode, threshold) in [(Mode::Star, 0.5), (Mode::Star, 0.9), (Mode::Closure, 0.8)] {
            let case = Case::new(150, &keep, true);
            let options = DedupOptions { threshold, mode, keep: keep.clone(), confirmation: None };
            let near = Near::Pairs { within: &within, earlier: &earlier };
            let input = Input { near, ..case.input() };
            let got = dedup(&input, &options, &Unbounded).expect("told apart");
            let mut wanted = dedup(&case.input(), &options, &Unbounded).expect("told apart");
            for verdict in &mut wanted {
                // Connected through others only: no pair says how similar they are.
                verdict.score = verdict.score.filter(|score| f64::from(*score) >= threshold);
            }
            assert_eq!(got, wanted, "{mode:?} {keep:?} {threshold}");
        }
    }
    let options = DedupOptions { keep: centroid, ..DedupOptions::default() };
    let near = Near::Pairs { within: &within, earlier: &[] };
    let error = dedup(&Input { near, ..saver.input() }, &options, &Unbounded).expect_err("centre");
    assert!(error.to_string().contains("needs vectors"), "{error}");
}

#[test]
fn pairs_near_the_threshold_are_confirmed_in_batches() {
    for keep in keeps(120) {
        for mode in [Mode::Star, Mode::Closure] {
            let asked = Mutex::new(Vec::new());
            let judge = |side, pairs: &[Pair]| {
                assert!(pairs.len() <= 16);
                asked.lock().expect("whole").extend(pairs.iter().map(|pair| pair.score));
                Ok(pairs.iter().map(|pair| agrees(side, pair.a, pair.b)).collect())
            };
            let confirmation = Some(Confirmation { margin: 0.1, batch: 16, judge: &judge });
            let case = Case::new(120, &keep, true);
            let options = DedupOptions { threshold: 0.8, mode, keep: keep.clone(), confirmation };
            let got = dedup(&case.input(), &options, &Unbounded).expect("told apart");
            assert_eq!(got, slow_dedup(&case, &options), "{mode:?} {keep:?}");
            let asked = asked.into_inner().expect("whole");
            assert!(!asked.is_empty());
            assert!(asked.iter().all(|score| (0.7 - 1e-6..0.9 + 1e-6).contains(score)));
        }
    }
}

/// More rows than are settled at once.
#[test]
fn large_stars_have_their_properties() {
    let vectors = random_topics(5000, 300, 16, 0.7, 8);
    let distinct = Distinct::all_different(5000);
    let near = Near::Vectors { rows: &vectors, earlier: None };
    let input = Input { distinct: &distinct, near, equal_earlier: &[] };
    let ranks: Vec<u32> = (0..5000).map(|row| row * 7919 % 5000).collect();
    let keep = Keep::Ranked(ranks.clone());
    let options = DedupOptions { threshold: 0.85, keep, ..DedupOptions::default() };
    let verdicts = dedup(&input, &options, &Unbounded).expect("told apart");
    let kept: Vec<usize> = (0..5000).filter(|row| verdicts[*row].is_kept()).collect();
    assert!((500..4500).contains(&kept.len()), "{} kept", kept.len());
    for row in 0..5000 {
        let before = kept.iter().filter(|kept| ranks[**kept] < ranks[row]);
        let nearest =
            best(before.map(|kept| (*kept as u32, Some(vectors.cosine(row, &vectors, *kept)))));
        let nearest = nearest.filter(|(_, score)| *score >= 0.85);
        let verdict = verdicts[row];
        assert_eq!(verdict.score, nearest.map(|(_, score)| score), "row {row}");
        if let Some((_, score)) = nearest {
            let representative = verdict.representative as usize;
            assert!(verdicts[representative].is_kept());
            assert_eq!(vectors.cosine(row, &vectors, representative), score);
        }
    }
    let saved = collected(|sink| emit_pairs(&distinct, &vectors, 0.8, &Unbounded, sink));
    let near = Near::Pairs { within: &saved, earlier: &[] };
    let again = dedup(&Input { near, ..input }, &options, &Unbounded).expect("told apart");
    assert_eq!(again, verdicts);
}

/// 12 million similar pairs, in memory for the longest list of a leaf.
#[test]
fn rows_that_are_all_similar_need_little_memory() {
    let vectors = random_topics(5000, 1, 8, 0.01, 1);
    let distinct = Distinct::all_different(5000);
    let near = Near::Vectors { rows: &vectors, earlier: None };
    let input = Input { distinct: &distinct, near, equal_earlier: &[] };
    // What each thread borrows should not decide.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
    for mode in [Mode::Star, Mode::Closure] {
        let host = Limited { limit: 96 << 20, ..Limited::default() };
        let options = DedupOptions { mode, ..DedupOptions::default() };
        let verdicts = threads.install(|| dedup(&input, &options, &host)).expect("lent enough");
        assert!(verdicts.iter().all(|verdict| verdict.representative == 0));
        assert_eq!(verdicts.iter().filter(|verdict| verdict.is_kept()).count(), 1);
        assert_eq!(host.lent.into_inner(), 0);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let case = Case::new(20, &Keep::First, false);
    let input = case.input();
    let refused = |input: &Input<'_>, options: DedupOptions<'_>| {
        dedup(input, &options, &Unbounded).expect_err("refused").to_string()
    };
    let options = DedupOptions { threshold: 7.0, ..DedupOptions::default() };
    assert_eq!(refused(&input, options), "threshold must be a cosine between -1 and 1, got 7");
    let options = DedupOptions { keep: Keep::Ranked(vec![1, 2]), ..DedupOptions::default() };
    let message = "2 ranks were given for 20 rows; each row needs one";
    assert_eq!(refused(&input, options), message);
    let pairs = [Pair { a: 3, b: 20, score: 1.0 }];
    let near = Near::Pairs { within: &pairs, earlier: &[] };
    let message = "a pair has row 20; there are 20 rows";
    assert_eq!(refused(&Input { near, ..input }, DedupOptions::default()), message);
    let vectors = random_rows(3, 5, 1);
    let near = Near::Vectors { rows: &vectors, earlier: None };
    let error = refused(&Input { near, ..input }, DedupOptions::default());
    assert!(error.starts_with("3 vectors were given for "), "{error}");
    let judge = |_, _: &[Pair]| Ok(Vec::new());
    for (margin, batch) in [(-0.1, 1), (f64::NAN, 1), (0.1, 0), (0.5, 9)] {
        let confirmation = Some(Confirmation { margin, batch, judge: &judge });
        let options = DedupOptions { confirmation, ..DedupOptions::default() };
        assert!(dedup(&input, &options, &Unbounded).is_err(), "{margin} {batch}");
    }
}
