//! Options that online findings have in common.

use sembla_operators::online::{ClusterOptions, Grouping, HorizonOptions, Precision};

use crate::SqlError;
use crate::columns::interval::micros;
use crate::columns::shown;
use crate::findings::groups::clustering::SEED;
use crate::relations::options::{OptionDef, OptionKind, OptionValue, OptionValues, cosine};

pub(crate) const THRESHOLD: OptionDef = OptionDef {
    name: "threshold",
    kind: cosine(None),
    about: "Smallest cosine of a row to the centre of its micro-cluster; 0.65 by default.",
};
pub(crate) const DISTANCE: OptionDef = OptionDef {
    name: "distance",
    kind: OptionKind::Number {
        least: 0.0,
        most: 2.0,
        what: "a cosine distance between 0 and 2",
        default: None,
    },
    about: "Micro-clusters whose mean distance is below this form one cluster; 0.5 by default.",
};
pub(crate) const K: OptionDef = OptionDef {
    name: "k",
    kind: OptionKind::Count { least: 1, default: None },
    about: "A fixed number of clusters, instead of threshold and distance.",
};
pub(crate) const HALF_LIFE: OptionDef = OptionDef {
    name: "half_life",
    kind: OptionKind::Interval,
    about: "Event time after which a row counts half; ten times the length of the first window by default.",
};
pub(crate) const MIN_WEIGHT: OptionDef = OptionDef {
    name: "min_weight",
    kind: OptionKind::Number {
        least: 0.0,
        most: 1e9,
        what: "a number of rows >= 0",
        default: None,
    },
    about: "Decayed number of rows from which a micro-cluster can form a cluster; 2 by default. Rows of lighter ones are outliers, \
            unless a cluster is near.",
};
pub(crate) const MICRO_CLUSTERS_MAX: OptionDef = OptionDef {
    name: "micro_clusters_max",
    kind: OptionKind::Count { least: 1, default: None },
    about: "Micro-clusters to remember at most, the heaviest; 2000 by default.",
};
pub(crate) const MATCH_SHARE: OptionDef = OptionDef {
    name: "match_share",
    kind: share(0.3),
    about: "A cluster keeps the id of an earlier one if it holds at least this share of its weight.",
};
pub(crate) const CHANGE_SHARE: OptionDef = OptionDef {
    name: "change_share",
    kind: share(0.25),
    about: "A cluster has grown or shrunk if its weight changed by at least this share.",
};
pub(crate) const HORIZON: OptionDef = OptionDef {
    name: "horizon",
    kind: OptionKind::Interval,
    about: "Event time for which rows are remembered, from the end of their window to the end of another; forever by default.",
};
pub(crate) const PRECISION: OptionDef = OptionDef {
    name: "precision",
    kind: OptionKind::Choice { of: &["f32", "int8"], default: Some("f32") },
    about: "How vectors are remembered: as they are, or in 8 bits, which takes a quarter of the memory and changes cosines by about 0.001.",
};

const fn share(default: f64) -> OptionKind {
    let what = "a share, above 0 and up to 1";
    OptionKind::Number { least: f64::MIN_POSITIVE, most: 1.0, what, default: Some(default) }
}

/// The option of how many rows are remembered.
pub(crate) const fn rows_max(default: u64) -> OptionDef {
    OptionDef {
        name: "rows_max",
        kind: OptionKind::Count { least: 0, default: Some(default) },
        about: "Rows to remember at most, the latest.",
    }
}

/// The options of a finding about online clusters: its own, and those that all have.
macro_rules! online_cluster_options {
    ($($own:expr),*) => {
        &[
            $crate::findings::online::options::THRESHOLD,
            $crate::findings::online::options::DISTANCE,
            $crate::findings::online::options::K,
            $crate::findings::groups::clustering::SEED,
            $crate::findings::online::options::HALF_LIFE,
            $crate::findings::online::options::MIN_WEIGHT,
            $crate::findings::online::options::MICRO_CLUSTERS_MAX,
            $crate::findings::online::options::MATCH_SHARE,
            $crate::findings::online::options::CHANGE_SHARE,
            $($own,)*
        ]
    };
}
pub(crate) use online_cluster_options;

/// How online clusters are found.
///
/// # Errors
/// Options that don't go together, and intervals of no fixed length.
pub(crate) fn clusters(options: &OptionValues) -> Result<ClusterOptions, SqlError> {
    let defaults = ClusterOptions::default();
    let grouping = match (options.count(K.name), options.number(DISTANCE.name)) {
        (Some(k), _) => {
            let given = |option: &OptionDef| options.get(option.name).is_some();
            let strangers = [THRESHOLD, DISTANCE, MIN_WEIGHT, MICRO_CLUSTERS_MAX];
            if let Some(stranger) = strangers.into_iter().find(given) {
                return Err(SqlError::Statement(format!(
                    "{0} and k can't be combined: with a fixed number of clusters {0} has no effect; leave one out",
                    stranger.name
                )));
            }
            let seed = options.count(SEED.name).unwrap_or_default() as u64;
            Grouping::Count { k, seed }
        }
        (None, Some(distance)) => Grouping::Distance(distance),
        (None, None) => defaults.grouping,
    };
    Ok(ClusterOptions {
        threshold: options.number(THRESHOLD.name).unwrap_or(defaults.threshold),
        half_life: duration(options, &HALF_LIFE)?,
        min_weight: options.number(MIN_WEIGHT.name).unwrap_or(defaults.min_weight),
        micro_clusters_max: options
            .count(MICRO_CLUSTERS_MAX.name)
            .unwrap_or(defaults.micro_clusters_max),
        grouping,
        match_share: options.number(MATCH_SHARE.name).unwrap_or(defaults.match_share),
        change_share: options.number(CHANGE_SHARE.name).unwrap_or(defaults.change_share),
    })
}

/// For how long rows are remembered.
///
/// # Errors
/// An interval of no fixed length.
pub(crate) fn horizon(options: &OptionValues) -> Result<HorizonOptions, SqlError> {
    let defaults = HorizonOptions::default();
    Ok(HorizonOptions {
        horizon: duration(options, &HORIZON)?,
        rows_max: options.count("rows_max").unwrap_or(defaults.rows_max),
        precision: match options.text(PRECISION.name) {
            Some("int8") => Precision::Int8,
            _ => Precision::F32,
        },
    })
}

/// The microseconds of an interval, if it was given.
fn duration(options: &OptionValues, option: &OptionDef) -> Result<Option<i64>, SqlError> {
    let Some(OptionValue::Interval(interval)) = options.get(option.name) else { return Ok(None) };
    let positive = |time: i64| if time > 0 { Ok(time) } else { Err("must be longer than 0") };
    match micros(interval).and_then(positive) {
        Ok(time) => Ok(Some(time)),
        Err(must) => {
            let interval = shown(&interval.to_array()?, 0)?;
            Err(SqlError::Statement(format!("{} {must}, got {interval}", option.name)))
        }
    }
}
