//! How well clusters agree with labels: adjusted Rand index, mutual information, homogeneity,
//! completeness, V-measure and purity, all from one table of counts.
//!
//! Formulas and limits are scikit-learn's (`sklearn.metrics.cluster`), with the arithmetic mean as
//! normaliser. Logarithms are natural; sums run over the table in order of the keys, so that a
//! result doesn't depend on how the counts came together.

use std::collections::{BTreeMap, HashMap};

/// How often each label met each cluster. Labels and clusters are whatever numbers the caller
/// gives them; rows without a label or a cluster are the caller's to leave out or to number.
///
/// Memory: one entry for each pair that occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contingency {
    cells: HashMap<(u64, u64), u64>,
}

impl Contingency {
    /// Counts a row.
    pub fn add(&mut self, label: u64, cluster: u64) {
        self.add_count(label, cluster, 1);
    }

    /// Counts `count` rows.
    pub fn add_count(&mut self, label: u64, cluster: u64, count: u64) {
        if count > 0 {
            *self.cells.entry((label, cluster)).or_default() += count;
        }
    }

    /// Adds all that another table has counted.
    pub fn merge(&mut self, other: &Self) {
        other.cells().for_each(|(label, cluster, count)| self.add_count(label, cluster, count));
    }

    /// `(label, cluster, rows)`, in no order.
    pub fn cells(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.cells.iter().map(|((label, cluster), count)| (*label, *cluster, *count))
    }

    /// Bytes that the table takes, about.
    pub fn bytes(&self) -> usize {
        self.cells.capacity() * (size_of::<((u64, u64), u64)>() + 1)
    }

    /// Adjusted Rand index (Hubert and Arabie 1985): agreement on pairs of rows, 1 for equal
    /// partitions, about 0 for random ones. `None` without rows.
    pub fn adjusted_rand_index(&self) -> Option<f64> {
        let table = Table::of(self)?;
        let square = |count: u64| u128::from(count) * u128::from(count);
        let cells: u128 = table.cells.iter().map(|(_, _, count)| square(*count)).sum();
        let labels: u128 = table.labels.iter().copied().map(square).sum();
        let clusters: u128 = table.clusters.iter().copied().map(square).sum();
        // Ordered pairs of rows: in one label and cluster, in one cluster only, in one label only.
        let both = (cells - u128::from(table.rows)) as f64;
        let cluster_only = (clusters - cells) as f64;
        let label_only = (labels - cells) as f64;
        let neither = (square(table.rows) + cells - labels - clusters) as f64;
        if cluster_only == 0.0 && label_only == 0.0 {
            return Some(1.0);
        }
        let chance = (both + label_only) * (label_only + neither)
            + (both + cluster_only) * (cluster_only + neither);
        Some(2.0 * (both * neither - label_only * cluster_only) / chance)
    }

    /// Mutual information divided by the mean of both entropies: 1 for equal partitions, 0 for
    /// independent ones. `None` without rows.
    pub fn normalized_mutual_information(&self) -> Option<f64> {
        let table = Table::of(self)?;
        if table.is_whole() {
            return Some(1.0);
        }
        let shared = table.mutual_information();
        if shared <= f64::EPSILON {
            return Some(0.0);
        }
        Some(shared / table.mean_entropy())
    }

    /// Mutual information adjusted for chance (Vinh, Epps and Bailey 2010): 1 for equal
    /// partitions, about 0 for random ones. `None` without rows.
    ///
    /// Cost: the number of distinct sizes of labels times that of clusters, times the smaller size.
    pub fn adjusted_mutual_information(&self) -> Option<f64> {
        let table = Table::of(self)?;
        if table.is_whole() {
            return Some(1.0);
        }
        if table.labels.len() == 1 || table.clusters.len() == 1 {
            return Some(0.0);
        }
        let expected = table.expected_mutual_information();
        let away_from_zero =
            |x: f64| if x < 0.0 { x.min(-f64::EPSILON) } else { x.max(f64::EPSILON) };
        let gain = away_from_zero(table.mutual_information() - expected);
        Some(gain / away_from_zero(table.mean_entropy() - expected))
    }

    /// How far each cluster holds rows of one label only: `I(label; cluster) / H(label)`
    /// (Rosenberg and Hirschberg 2007). `None` without rows.
    pub fn homogeneity(&self) -> Option<f64> {
        let table = Table::of(self)?;
        Some(share(table.mutual_information(), table.entropy(&table.labels)))
    }

    /// How far the rows of each label are in one cluster: `I(label; cluster) / H(cluster)`.
    /// `None` without rows.
    pub fn completeness(&self) -> Option<f64> {
        let table = Table::of(self)?;
        Some(share(table.mutual_information(), table.entropy(&table.clusters)))
    }

    /// The harmonic mean of homogeneity and completeness. `None` without rows.
    pub fn v_measure(&self) -> Option<f64> {
        let (homogeneity, completeness) = (self.homogeneity()?, self.completeness()?);
        let sum = homogeneity + completeness;
        Some(if sum == 0.0 { 0.0 } else { 2.0 * homogeneity * completeness / sum })
    }

    /// The share of rows that have the most frequent label of their cluster. `None` without rows.
    pub fn purity(&self) -> Option<f64> {
        let table = Table::of(self)?;
        let mut most = vec![0; table.clusters.len()];
        for (_, cluster, count) in &table.cells {
            most[*cluster] = (*count).max(most[*cluster]);
        }
        Some(most.iter().sum::<u64>() as f64 / table.rows as f64)
    }
}

/// `part / whole`, and 1 where there is nothing to explain.
fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 1.0 } else { part / whole }
}

/// A contingency table in order, with its margins.
struct Table {
    /// Indices into `labels` and `clusters`, and the number of rows.
    cells: Vec<(usize, usize, u64)>,
    /// Rows of each label.
    labels: Vec<u64>,
    /// Rows of each cluster.
    clusters: Vec<u64>,
    rows: u64,
}

impl Table {
    /// `None` without rows.
    fn of(contingency: &Contingency) -> Option<Self> {
        let mut cells: Vec<_> = contingency.cells().collect();
        cells.sort_unstable();
        let (mut labels, mut clusters) = (BTreeMap::new(), BTreeMap::new());
        for (label, cluster, count) in &cells {
            *labels.entry(*label).or_insert(0) += count;
            *clusters.entry(*cluster).or_insert(0) += count;
        }
        let index = |margin: &BTreeMap<u64, u64>| -> HashMap<u64, usize> {
            margin.keys().enumerate().map(|(index, key)| (*key, index)).collect()
        };
        let (label_index, cluster_index) = (index(&labels), index(&clusters));
        let cells = cells
            .into_iter()
            .map(|(label, cluster, count)| (label_index[&label], cluster_index[&cluster], count));
        let rows = labels.values().sum();
        (rows > 0).then(|| Self {
            cells: cells.collect(),
            labels: labels.into_values().collect(),
            clusters: clusters.into_values().collect(),
            rows,
        })
    }

    /// Whether neither side splits the rows.
    fn is_whole(&self) -> bool {
        self.labels.len() == 1 && self.clusters.len() == 1
    }

    /// `Σ nᵢⱼ/n · ln(n·nᵢⱼ / (aᵢ·bⱼ))`, never below 0.
    fn mutual_information(&self) -> f64 {
        let n = self.rows as f64;
        let term = |(label, cluster, count): &(usize, usize, u64)| {
            let (a, b) = (self.labels[*label] as f64, self.clusters[*cluster] as f64);
            *count as f64 / n * ((n / a).ln() + (*count as f64 / b).ln())
        };
        self.cells.iter().map(term).sum::<f64>().max(0.0)
    }

    /// `-Σ p · ln p` of the shares of a margin.
    fn entropy(&self, margin: &[u64]) -> f64 {
        if margin.len() == 1 {
            return 0.0;
        }
        let share = |count: &u64| *count as f64 / self.rows as f64;
        margin.iter().map(share).map(|p| -p * p.ln()).sum()
    }

    fn mean_entropy(&self) -> f64 {
        0.5 * (self.entropy(&self.labels) + self.entropy(&self.clusters))
    }

    /// The mutual information that random partitions with these margins have on average: each cell
    /// is hypergeometric. Equal sizes give equal terms, so each pair of sizes is summed once.
    fn expected_mutual_information(&self) -> f64 {
        let sizes = |margin: &[u64]| {
            let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
            margin.iter().for_each(|size| *sizes.entry(*size).or_default() += 1);
            sizes
        };
        let clusters = sizes(&self.clusters);
        let mut sum = 0.0;
        for (a, labels) in sizes(&self.labels) {
            for (b, clusters) in &clusters {
                sum += (labels * clusters) as f64 * self.expected_cell(a, *b);
            }
        }
        sum
    }

    /// The expected term of a cell whose label has `a` rows and whose cluster has `b`.
    fn expected_cell(&self, a: u64, b: u64) -> f64 {
        let rows = self.rows;
        let n = rows as f64;
        let fixed =
            ln_factorial(a) + ln_factorial(b) + ln_factorial(rows - a) + ln_factorial(rows - b)
                - ln_factorial(rows);
        let least = (a + b).saturating_sub(rows).max(1);
        let term = |both: u64| {
            let free = ln_factorial(both)
                + ln_factorial(a - both)
                + ln_factorial(b - both)
                + ln_factorial(rows + both - a - b);
            let x = both as f64;
            x / n * ((n / a as f64).ln() + (x / b as f64).ln()) * (fixed - free).exp()
        };
        (least..=a.min(b)).map(term).sum()
    }
}

/// Up to here factorials are summed up one by one.
const SUMMED_FACTORIALS: u64 = 32;

/// `ln(n!)`, above [`SUMMED_FACTORIALS`] by Stirling's series, whose first left-out term is below
/// 1e-13 there.
fn ln_factorial(n: u64) -> f64 {
    if n <= SUMMED_FACTORIALS {
        return (2..=n).map(|k| k as f64).product::<f64>().ln();
    }
    let x = n as f64;
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    (x + 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series
}

#[cfg(test)]
mod tests;
