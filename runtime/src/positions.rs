//! Where reading goes on in each partition, and how that is written down: a module for
//! `#[serde(with = "positions")]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Partition;

/// By source, by partition: where reading goes on.
pub(crate) type Positions = BTreeMap<String, BTreeMap<Partition, i64>>;

pub(crate) fn serialize<S: Serializer>(
    positions: &Positions,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let by_source = positions.iter().map(|(source, partitions)| {
        let by_partition = partitions.iter().map(|(partition, position)| (&**partition, *position));
        (source.as_str(), by_partition.collect::<BTreeMap<&str, i64>>())
    });
    by_source.collect::<BTreeMap<_, _>>().serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Positions, D::Error> {
    let by_source = BTreeMap::<String, BTreeMap<String, i64>>::deserialize(deserializer)?;
    let named = |partitions: BTreeMap<String, i64>| {
        partitions.into_iter().map(|(partition, position)| (partition.into(), position)).collect()
    };
    Ok(by_source.into_iter().map(|(source, partitions)| (source, named(partitions))).collect())
}
