//! What a caller says about clusters, by name, and the checked [`Algorithm`] that comes of it.

use crate::error::{OperatorError, Result};

/// Least rows of a cluster, where nothing else is said.
const MIN_SIZE: usize = 5;

/// Rows up to which agglomerative clustering compares all with all, where nothing else is said:
/// 0.8 GB of distances.
const ROWS_MAX: usize = 20_000;

/// How far apart two clusters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// The mean cosine distance of their rows.
    Average,
    /// The largest cosine distance of their rows.
    Complete,
    /// The smallest cosine distance of their rows.
    Single,
    /// `√(2·m·n / (m + n))` times the euclidean distance of their means, `m` and `n` being their
    /// sizes: merging adds least to the squared distances from the means (Ward 1963).
    Ward,
}

/// Where a tree of merges is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// Clusters that are nearer than this are merged.
    Threshold(f64),
    /// Merges end when this many clusters are left.
    Count(usize),
}

/// How clusters are found, its options in their ranges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    /// `k` centres that each row is nearest to by cosine: spherical k-means (Dhillon and Modha
    /// 2001).
    KMeans {
        /// Number of clusters.
        k: usize,
        /// Random starts, of which the best is kept.
        runs: usize,
        /// What random choices depend on.
        seed: u64,
    },
    /// k-means from small batches of rows (Sculley 2010): less time, slightly worse.
    MiniBatch {
        /// Number of clusters.
        k: usize,
        /// What random choices depend on.
        seed: u64,
    },
    /// The two nearest clusters are merged, again and again.
    Agglomerative {
        /// How far apart two clusters are.
        linkage: Linkage,
        /// Where it ends.
        cut: Cut,
        /// Above this many rows, micro-clusters are merged instead of rows.
        rows_max: usize,
        /// What the random choices of micro-clusters depend on.
        seed: u64,
    },
    /// Rows that are connected through dense rows (Ester et al. 1996).
    Dbscan {
        /// Cosine distance up to which rows are neighbours.
        eps: f64,
        /// A row is dense if at least so many rows, itself among them, are within `eps`.
        min_size: usize,
    },
    /// The most persistent clusters over all densities (Campello, Moulavi and Sander 2013).
    Hdbscan {
        /// Least rows of a cluster.
        min_size: usize,
        /// How many rows, itself among them, decide how dense it is around a row.
        min_samples: usize,
    },
}

/// ClusteringOptions by name, none of them checked. [`ClusteringOptions::algorithm`] checks them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusteringOptions {
    /// `kmeans` (default), `minibatch`, `agglomerative`, `dbscan` or `hdbscan`.
    pub algorithm: Option<String>,
    /// Number of clusters: kmeans, minibatch and, instead of a threshold, agglomerative.
    pub k: Option<usize>,
    /// Distance where merging ends (agglomerative; with ward euclidean, else cosine), and up to
    /// which rows are neighbours (dbscan; cosine).
    pub threshold: Option<f64>,
    /// `average` (default), `complete`, `single` or `ward`: agglomerative.
    pub linkage: Option<String>,
    /// Least rows of a cluster (hdbscan), of a dense neighbourhood (dbscan); 5.
    pub min_size: Option<usize>,
    /// Random starts; 1: kmeans.
    pub runs: Option<usize>,
    /// Rows up to which all are compared with all; 20,000: agglomerative.
    pub rows_max: Option<usize>,
    /// What random choices depend on.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    KMeans,
    MiniBatch,
    Agglomerative,
    Dbscan,
    Hdbscan,
}

const METHODS: [(&str, Method); 5] = [
    ("kmeans", Method::KMeans),
    ("minibatch", Method::MiniBatch),
    ("agglomerative", Method::Agglomerative),
    ("dbscan", Method::Dbscan),
    ("hdbscan", Method::Hdbscan),
];

const LINKAGES: [(&str, Linkage); 4] = [
    ("average", Linkage::Average),
    ("complete", Linkage::Complete),
    ("single", Linkage::Single),
    ("ward", Linkage::Ward),
];

impl ClusteringOptions {
    /// The algorithm that these options describe.
    ///
    /// # Errors
    /// [`OperatorError::Option`] for an unknown name, a value out of range, a missing option, and
    /// one that means nothing to the algorithm.
    pub fn algorithm(&self) -> Result<Algorithm> {
        let name = self.algorithm.as_deref().unwrap_or("kmeans");
        let method = known("algorithm", name, &METHODS)?;
        self.refuse_strangers(method, name)?;
        let seed = self.seed;
        let min_size = self.min_size.unwrap_or(MIN_SIZE);
        let algorithm = match method {
            Method::KMeans => {
                Algorithm::KMeans { k: self.k_of(name)?, runs: self.runs.unwrap_or(1), seed }
            }
            Method::MiniBatch => Algorithm::MiniBatch { k: self.k_of(name)?, seed },
            Method::Agglomerative => Algorithm::Agglomerative {
                linkage: known("linkage", self.linkage.as_deref().unwrap_or("average"), &LINKAGES)?,
                cut: self.cut()?,
                rows_max: self.rows_max.unwrap_or(ROWS_MAX),
                seed,
            },
            Method::Dbscan => {
                let missing = || {
                    refusal("dbscan needs a threshold: the cosine distance of neighbours, like 0.3")
                };
                Algorithm::Dbscan { eps: self.threshold.ok_or_else(missing)?, min_size }
            }
            Method::Hdbscan => Algorithm::Hdbscan { min_size, min_samples: min_size },
        };
        algorithm.check()?;
        Ok(algorithm)
    }

    /// Rejects options that mean nothing to the method.
    fn refuse_strangers(&self, method: Method, name: &str) -> Result<()> {
        use Method::{Agglomerative, Dbscan, Hdbscan, KMeans, MiniBatch};
        let given: [(&str, bool, &[Method]); 6] = [
            ("k", self.k.is_some(), &[KMeans, MiniBatch, Agglomerative]),
            ("threshold", self.threshold.is_some(), &[Agglomerative, Dbscan]),
            ("linkage", self.linkage.is_some(), &[Agglomerative]),
            ("min_size", self.min_size.is_some(), &[Dbscan, Hdbscan]),
            ("runs", self.runs.is_some(), &[KMeans]),
            ("rows_max", self.rows_max.is_some(), &[Agglomerative]),
        ];
        for (option, is_given, methods) in given {
            if is_given && !methods.contains(&method) {
                let names = METHODS.iter().filter(|(_, method)| methods.contains(method));
                let names: Vec<&str> = names.map(|(name, _)| *name).collect();
                return Err(refusal(format!(
                    "{name} has no option {option}; it belongs to {}",
                    names.join(" and ")
                )));
            }
        }
        Ok(())
    }

    fn k_of(&self, name: &str) -> Result<usize> {
        self.k.ok_or_else(|| refusal(format!("{name} needs k, the number of clusters")))
    }

    fn cut(&self) -> Result<Cut> {
        match (self.k, self.threshold) {
            (Some(k), None) => Ok(Cut::Count(k)),
            (None, Some(threshold)) => Ok(Cut::Threshold(threshold)),
            (None, None) => Err(refusal(
                "agglomerative needs k, the number of clusters, or a threshold, the distance where merging ends",
            )),
            (Some(_), Some(_)) => {
                Err(refusal("agglomerative takes k or a threshold, not both; leave one out"))
            }
        }
    }
}

/// The most clusters that [`default_k`] gives.
const DEFAULT_K_MAX: f64 = 100.0;

/// A number of clusters for so many rows where none is asked for: the square root of half of them,
/// between 1 and 100.
pub fn default_k(rows: usize) -> usize {
    (rows as f64 / 2.0).sqrt().round().clamp(1.0, DEFAULT_K_MAX) as usize
}

impl Algorithm {
    /// The same with another number of clusters, where it has one.
    pub fn with_k(self, clusters: usize) -> Self {
        match self {
            Self::KMeans { runs, seed, .. } => Self::KMeans { k: clusters, runs, seed },
            Self::MiniBatch { seed, .. } => Self::MiniBatch { k: clusters, seed },
            other => other,
        }
    }

    /// Checks that options are in their ranges. Whether `k` is above the rows shows later.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::KMeans { k: 0, .. }
            | Self::MiniBatch { k: 0, .. }
            | Self::Agglomerative { cut: Cut::Count(0), .. } => {
                Err(refusal("k must be a number of clusters >= 1, got 0"))
            }
            Self::KMeans { runs: 0, .. } => Err(refusal("runs must be >= 1, got 0")),
            Self::Agglomerative { rows_max: 0 | 1, .. } => {
                Err(refusal("rows_max must be >= 2, because a merge needs two rows; raise it"))
            }
            Self::Agglomerative { linkage, cut: Cut::Threshold(threshold), .. } => {
                check_distance(*threshold, *linkage)
            }
            Self::Dbscan { min_size: 0, .. } => Err(refusal("min_size must be >= 1, got 0")),
            Self::Dbscan { eps, .. } => check_distance(*eps, Linkage::Single),
            Self::Hdbscan { min_size: size @ (0 | 1), .. } => {
                Err(refusal(format!("min_size must be >= 2 for hdbscan, got {size}")))
            }
            Self::Hdbscan { min_samples: 0, .. } => {
                Err(refusal("min_samples must be >= 1, because it counts the row itself; got 0"))
            }
            _ => Ok(()),
        }
    }
}

fn check_distance(threshold: f64, linkage: Linkage) -> Result<()> {
    if linkage == Linkage::Ward {
        if threshold >= 0.0 && threshold.is_finite() {
            return Ok(());
        }
        return Err(refusal(format!(
            "threshold must be a Euclidean distance >= 0 with ward linkage, got {threshold}"
        )));
    }
    if (0.0..=2.0).contains(&threshold) {
        return Ok(());
    }
    Err(refusal(format!("threshold must be a cosine distance between 0 and 2, got {threshold}")))
}

/// The value that a name stands for, in any case.
fn known<T: Copy>(what: &str, given: &str, names: &[(&str, T)]) -> Result<T> {
    if let Some((_, value)) = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(given)) {
        return Ok(*value);
    }
    let likeness = |name: &str| strsim::jaro_winkler(name, &given.to_lowercase());
    let nearest = names.iter().max_by(|(a, _), (b, _)| likeness(a).total_cmp(&likeness(b)));
    let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    Err(refusal(format!(
        "unknown {what} '{given}'; did you mean '{}'? Known: {}",
        nearest.map_or("", |(name, _)| *name),
        all.join(", ")
    )))
}

fn refusal(message: impl Into<String>) -> OperatorError {
    OperatorError::Option(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(algorithm: &str) -> ClusteringOptions {
        ClusteringOptions { algorithm: Some(algorithm.into()), ..ClusteringOptions::default() }
    }

    fn refused(options: ClusteringOptions) -> String {
        options.algorithm().expect_err("refused").to_string()
    }

    #[test]
    fn names_and_defaults_become_algorithms() {
        let kmeans =
            ClusteringOptions { k: Some(7), seed: 3, ..ClusteringOptions::default() }.algorithm();
        assert_eq!(kmeans, Ok(Algorithm::KMeans { k: 7, runs: 1, seed: 3 }));
        let ward = ClusteringOptions {
            linkage: Some("Ward".into()),
            threshold: Some(1.5),
            ..named("AGGLOMERATIVE")
        };
        let Ok(Algorithm::Agglomerative { linkage, cut, .. }) = ward.algorithm() else {
            panic!("{:?}", ward.algorithm());
        };
        assert_eq!((linkage, cut), (Linkage::Ward, Cut::Threshold(1.5)));
        assert_eq!(
            named("hdbscan").algorithm(),
            Ok(Algorithm::Hdbscan { min_size: 5, min_samples: 5 })
        );
    }

    #[test]
    fn each_mistake_gets_its_line() {
        assert_eq!(
            refused(named("kmean")),
            "unknown algorithm 'kmean'; did you mean 'kmeans'? \
             Known: kmeans, minibatch, agglomerative, dbscan, hdbscan"
        );
        assert_eq!(
            refused(ClusteringOptions {
                k: Some(2),
                linkage: Some("wrad".into()),
                ..named("agglomerative")
            }),
            "unknown linkage 'wrad'; did you mean 'ward'? \
             Known: average, complete, single, ward"
        );
        assert_eq!(
            refused(ClusteringOptions { k: Some(0), ..ClusteringOptions::default() }),
            "k must be a number of clusters >= 1, got 0"
        );
        assert_eq!(
            refused(ClusteringOptions { threshold: Some(7.0), ..named("agglomerative") }),
            "threshold must be a cosine distance between 0 and 2, got 7"
        );
        assert_eq!(
            refused(ClusteringOptions { k: Some(3), ..named("dbscan") }),
            "dbscan has no option k; it belongs to kmeans and minibatch and agglomerative"
        );
        assert!(refused(named("kmeans")).contains("needs k"));
        assert!(refused(named("agglomerative")).contains("needs k"));
        assert!(refused(named("dbscan")).contains("needs a threshold"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for options in [
            ClusteringOptions { threshold: Some(f64::NAN), ..named("dbscan") },
            ClusteringOptions { threshold: Some(-0.1), ..named("dbscan") },
            ClusteringOptions { threshold: Some(0.3), min_size: Some(0), ..named("dbscan") },
            ClusteringOptions { min_size: Some(1), ..named("hdbscan") },
            ClusteringOptions { k: Some(3), threshold: Some(0.3), ..named("agglomerative") },
            ClusteringOptions { k: Some(3), rows_max: Some(1), ..named("agglomerative") },
            ClusteringOptions { k: Some(3), runs: Some(0), ..named("kmeans") },
            ClusteringOptions {
                threshold: Some(f64::INFINITY),
                linkage: Some("ward".into()),
                ..named("agglomerative")
            },
        ] {
            assert!(!refused(options).contains('\n'));
        }
    }
}
