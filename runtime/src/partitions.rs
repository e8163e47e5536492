//! The numbers of the input partitions of a pipeline. They settle the order of rows that have one
//! time and one sequence, so they depend on names alone, and a partition that is added to a topic
//! comes after those that were there.

use crate::{Assignment, Error, Partition, Result};

/// Bits of a number that tell partitions of one source apart.
const INDEX_BITS: u32 = 16;

/// By source, its partitions in their order, whoever reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Partitions {
    sources: Vec<Vec<Partition>>,
    /// By source, those that this instance reads.
    own: Vec<Vec<Partition>>,
}

impl Partitions {
    /// Numbers the partitions of each source.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn new(assignments: &[Assignment]) -> Result<Self> {
        let own: Vec<_> = assignments.iter().map(|given| in_order(&given.partitions)).collect();
        let all = |given: &Assignment| {
            let others = given.others.iter().flatten();
            in_order(&given.partitions.iter().chain(others).cloned().collect::<Vec<_>>())
        };
        let sources: Vec<_> = assignments.iter().map(all).collect();
        let most = 1 << INDEX_BITS;
        if sources.len() >= 1 << (31 - INDEX_BITS) || sources.iter().any(|all| all.len() > most) {
            return Err(Error::Option(format!("a source may have at most {most} partitions")));
        }
        Ok(Self { sources, own })
    }

    /// The number of a partition.
    ///
    /// # Errors
    /// When the source has none of that name.
    pub(crate) fn number(&self, source: usize, partition: &Partition) -> Result<i32> {
        let known = self.sources.get(source);
        let index = known.and_then(|all| all.iter().position(|known| known == partition));
        let index = index.ok_or_else(|| {
            Error::Bug(format!("rows of partition '{partition}', which was not assigned"))
        })?;
        Ok(number(source, index))
    }

    /// The partition of that number.
    pub(crate) fn name(&self, number: i32) -> Option<&Partition> {
        let source = usize::try_from(number >> INDEX_BITS).ok()?;
        self.sources.get(source)?.get((number & ((1 << INDEX_BITS) - 1)) as usize)
    }

    /// The partitions of a source that this instance reads.
    pub(crate) fn of(&self, source: usize) -> &[Partition] {
        self.own.get(source).map_or(&[], Vec::as_slice)
    }

    /// All partitions: the number of each one's source, its own, and its name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, i32, &Partition)> {
        self.sources.iter().enumerate().flat_map(|(source, all)| {
            all.iter().enumerate().map(move |(index, name)| (source, number(source, index), name))
        })
    }
}

fn number(source: usize, index: usize) -> i32 {
    (source as i32) << INDEX_BITS | index as i32
}

/// Names in their order: by what comes before a number at their end, then by the number.
fn in_order(names: &[Partition]) -> Vec<Partition> {
    let mut names = names.to_vec();
    names.sort_by_cached_key(|name| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name.get(stem.len()..).and_then(|digits| digits.parse::<u64>().ok());
        (stem.to_string(), number, Partition::clone(name))
    });
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(names: &[&str]) -> Assignment {
        Assignment::whole(names.iter().map(|&name| name.into()).collect())
    }

    #[test]
    fn numbers_depend_on_names_and_new_partitions_come_last() {
        let before = Partitions::new(&[assignment(&["t/9", "t/0"])]).expect("few");
        let after = Partitions::new(&[assignment(&["t/10", "t/9", "t/0"])]).expect("few");
        for name in ["t/0", "t/9"] {
            let name = name.into();
            assert_eq!(before.number(0, &name).ok(), after.number(0, &name).ok());
        }
        assert_eq!(after.number(0, &"t/10".into()).ok(), Some(2));
    }

    #[test]
    fn numbers_are_the_same_for_all_instances() {
        let part = |own: &[&str], others: &[&str]| Assignment {
            others: Some(assignment(others).partitions),
            ..assignment(own)
        };
        let one = Partitions::new(&[part(&["t/2"], &["t/0", "t/1"])]).expect("few");
        let two = Partitions::new(&[part(&["t/1", "t/0"], &["t/2"])]).expect("few");
        assert!(one.all().eq(two.all()));
        assert_eq!(one.number(0, &"t/2".into()).ok(), Some(2));
        assert_eq!((one.of(0).len(), two.of(0).len()), (1, 2));
    }

    #[test]
    fn numbers_and_names_are_each_others_inverse_over_sources() {
        let sources = [assignment(&["0"]), assignment(&["b", "a", "a1"])];
        let partitions = Partitions::new(&sources).expect("few");
        for (source, assignment) in sources.iter().enumerate() {
            for name in &assignment.partitions {
                let number = partitions.number(source, name).expect("known");
                assert_eq!(partitions.name(number), Some(name));
            }
        }
        assert_eq!(partitions.name(-1), None);
        assert_eq!(partitions.name(1 << INDEX_BITS | 3), None);
        assert!(partitions.number(0, &"a".into()).is_err());
    }
}
