//! How findings cluster rows: the options, and the numbers that come of them.

use arrow::array::Int64Array;
use sembla_operators::cluster::{self, Algorithm};
use sembla_operators::{Host, UnitVectors};

use super::options::{Kind, OptionDef, Options};
use crate::SqlError;

pub(crate) const ALGORITHM: OptionDef = OptionDef {
    name: "algorithm",
    kind: Kind::Choice {
        of: &["kmeans", "minibatch", "agglomerative", "dbscan", "hdbscan"],
        default: Some("kmeans"),
    },
    about: "How clusters are found.",
};
pub(crate) const K: OptionDef = OptionDef {
    name: "k",
    kind: Kind::Count { least: 1, default: None },
    about: "Number of clusters; of agglomerative in place of a threshold.",
};
pub(crate) const THRESHOLD: OptionDef = OptionDef {
    name: "threshold",
    kind: Kind::Number {
        least: 0.0,
        most: f64::MAX,
        what: "a distance, of at least 0",
        default: None,
    },
    about: "Of agglomerative: where merging ends, a cosine distance (with ward a euclidean one). Of dbscan: the cosine distance of neighbours.",
};
pub(crate) const LINKAGE: OptionDef = OptionDef {
    name: "linkage",
    kind: Kind::Choice { of: &["average", "complete", "single", "ward"], default: None },
    about: "Of agglomerative: how far apart two clusters are; 'average' if it is not given.",
};
pub(crate) const MIN_SIZE: OptionDef = OptionDef {
    name: "min_size",
    kind: Kind::Count { least: 1, default: None },
    about: "Of dbscan and hdbscan: fewest rows of a dense neighbourhood or a cluster; 5 if it is not given.",
};
pub(crate) const SEED: OptionDef = OptionDef {
    name: "seed",
    kind: Kind::Count { least: 0, default: Some(0) },
    about: "What random choices depend on.",
};

/// The algorithm that options ask for.
///
/// # Errors
/// Options that are missing, or that mean nothing to the algorithm.
pub(crate) fn algorithm(options: &Options) -> Result<Algorithm, SqlError> {
    let text = |name| options.text(name).map(str::to_string);
    let named = cluster::Options {
        algorithm: text("algorithm"),
        k: options.count("k"),
        threshold: options.number("threshold"),
        linkage: text("linkage"),
        min_size: options.count("min_size"),
        seed: options.count("seed").unwrap_or_default() as u64,
        ..cluster::Options::default()
    };
    Ok(named.algorithm()?)
}

/// The cluster of each row; `None` is none.
///
/// # Errors
/// What the operator or the host says.
pub(crate) fn cluster(
    vectors: &UnitVectors,
    algorithm: &Algorithm,
    host: &dyn Host,
) -> Result<Vec<Option<u32>>, SqlError> {
    let found = cluster::cluster(vectors, algorithm, host)?;
    if let Some(micro_clusters) = found.micro_clusters {
        tracing::warn!(
            rows = vectors.rows(),
            micro_clusters,
            "too many rows to compare all with all: micro-clusters were merged in their place"
        );
    }
    Ok(found.cluster_of)
}

/// Numbers of clusters or topics as a column; none is NULL.
pub(crate) fn numbers(found: &[Option<u32>]) -> Int64Array {
    found.iter().map(|number| number.map(i64::from)).collect()
}
