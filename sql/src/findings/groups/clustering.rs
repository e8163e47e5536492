//! How findings cluster rows: the options, and the numbers that come of them.

use arrow::array::Int64Array;
use sembla_operators::cluster::{self, Algorithm};
use sembla_operators::{Host, UnitVectors};

use crate::SqlError;
use crate::relations::options::{OptionDef, OptionKind, OptionValues};

pub(crate) const ALGORITHM: OptionDef = OptionDef {
    name: "algorithm",
    kind: OptionKind::Choice {
        of: &["kmeans", "minibatch", "agglomerative", "dbscan", "hdbscan"],
        default: Some("kmeans"),
    },
    about: "Clustering algorithm.",
};
pub(crate) const K: OptionDef = OptionDef {
    name: "k",
    kind: OptionKind::Count { least: 1, default: None },
    about: "Number of clusters. For agglomerative, an alternative to threshold. For kmeans and minibatch the default is the square \
            root of half the rows, at most 100.",
};
pub(crate) const THRESHOLD: OptionDef = OptionDef {
    name: "threshold",
    kind: OptionKind::Number { least: 0.0, most: f64::MAX, what: "a distance >= 0", default: None },
    about: "For agglomerative: the cosine distance at which merging stops (Euclidean with ward). For dbscan: the cosine distance of neighbours.",
};
pub(crate) const LINKAGE: OptionDef = OptionDef {
    name: "linkage",
    kind: OptionKind::Choice { of: &["average", "complete", "single", "ward"], default: None },
    about: "For agglomerative: how the distance of two clusters is measured; 'average' by default.",
};
pub(crate) const MIN_SIZE: OptionDef = OptionDef {
    name: "min_size",
    kind: OptionKind::Count { least: 1, default: None },
    about: "For dbscan and hdbscan: smallest number of rows in a dense neighbourhood or a cluster; 5 by default.",
};
pub(crate) const SEED: OptionDef = OptionDef {
    name: "seed",
    kind: OptionKind::Count { least: 0, default: Some(0) },
    about: "Seed of the random numbers.",
};

/// How rows are clustered.
#[derive(Debug)]
pub(crate) struct Clustering {
    algorithm: Algorithm,
    /// Whether the number of clusters is to follow from the number of rows.
    guesses_k: bool,
}

/// The algorithm that options ask for.
///
/// # Errors
/// Options that are missing, or that mean nothing to the algorithm.
pub(crate) fn algorithm(options: &OptionValues) -> Result<Clustering, SqlError> {
    let text = |name| options.text(name).map(str::to_string);
    let (k, threshold) = (options.count("k"), options.number("threshold"));
    let needs_k = matches!(options.text("algorithm"), None | Some("kmeans" | "minibatch"));
    let guesses_k = needs_k && k.is_none();
    let named = cluster::ClusteringOptions {
        algorithm: text("algorithm"),
        k: if guesses_k { Some(1) } else { k },
        threshold,
        linkage: text("linkage"),
        min_size: options.count("min_size"),
        seed: options.count("seed").unwrap_or_default() as u64,
        ..cluster::ClusteringOptions::default()
    };
    Ok(Clustering { algorithm: named.algorithm()?, guesses_k })
}

/// The cluster of each row; `None` is none.
///
/// # Errors
/// What the operator or the host says.
pub(crate) fn cluster(
    vectors: &UnitVectors,
    clustering: &Clustering,
    host: &dyn Host,
) -> Result<Vec<Option<u32>>, SqlError> {
    let mut algorithm = clustering.algorithm;
    if clustering.guesses_k {
        let rows = (0..vectors.rows()).filter(|row| vectors.has_direction(*row)).count();
        if rows == 0 {
            return Ok(vec![None; vectors.rows()]);
        }
        algorithm = algorithm.with_k(cluster::default_k(rows));
    }
    let found = cluster::cluster(vectors, &algorithm, host)?;
    if let Some(micro_clusters) = found.micro_clusters {
        tracing::warn!(
            rows = vectors.rows(),
            micro_clusters,
            "too many rows to compare all with all: micro-clusters were merged in their place"
        );
    }
    let outside = found.cluster_of.iter().filter(|cluster| cluster.is_none()).count();
    if outside >= OUTSIDE_MIN && outside * 2 > vectors.rows() {
        tracing::warn!(
            rows = vectors.rows(),
            outside,
            "most rows are in no cluster or topic; a smaller min_size, a greater threshold, or kmeans takes more of them in"
        );
    }
    Ok(found.cluster_of)
}

/// So few rows outside of all clusters are not worth a word.
const OUTSIDE_MIN: usize = 10;

/// Numbers of clusters or topics as a column; none is NULL.
pub(crate) fn numbers(found: &[Option<u32>]) -> Int64Array {
    found.iter().map(|number| number.map(i64::from)).collect()
}
