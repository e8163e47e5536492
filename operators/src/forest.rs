//! Groups that grow by being united in twos, from any number of threads: a union-find forest.
//!
//! A member's parent is never above itself, so the root of a group is its lowest member, in
//! whatever order the groups were united.

use std::sync::atomic::{AtomicU32, Ordering};

/// Disjoint groups of the numbers `0..n`. Memory: four bytes a member.
pub(crate) struct Forest {
    parents: Vec<AtomicU32>,
}

impl Forest {
    /// `n` groups of one member each.
    pub(crate) fn new(n: usize) -> Self {
        Self { parents: (0..n as u32).map(AtomicU32::new).collect() }
    }

    /// The lowest member of a group.
    pub(crate) fn root(&self, mut member: u32) -> u32 {
        loop {
            let parent = self.parents[member as usize].load(Ordering::Relaxed);
            if parent == member {
                return member;
            }
            let above = self.parents[parent as usize].load(Ordering::Relaxed);
            // Halves the way; a parent only ever becomes lower.
            self.parents[member as usize].fetch_min(above, Ordering::Relaxed);
            member = above;
        }
    }

    /// Makes the groups of two members one.
    pub(crate) fn unite(&self, a: u32, b: u32) {
        let (mut low, mut high) = (a, b);
        loop {
            (low, high) = (self.root(low), self.root(high));
            if low == high {
                return;
            }
            if low > high {
                std::mem::swap(&mut low, &mut high);
            }
            let parent = &self.parents[high as usize];
            // Where another thread was faster, `high` is no root any more.
            if parent.compare_exchange(high, low, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;
    use crate::similarity::tests::random_vector;

    #[test]
    fn roots_are_the_lowest_members_whatever_the_order() {
        for (n, pairs) in [(1, 0), (2, 1), (50, 20), (500, 400), (500, 5000)] {
            let ends: Vec<u32> = random_vector(2 * pairs, 3)
                .iter()
                .map(|x| ((x + 1.0) / 2.0 * n as f32) as u32)
                .collect();
            let pairs: Vec<(u32, u32)> = ends.as_chunks().0.iter().map(|[a, b]| (*a, *b)).collect();
            let forest = Forest::new(n);
            pairs.par_iter().for_each(|(a, b)| forest.unite(*a, *b));
            let mut slow: Vec<u32> = (0..n as u32).collect();
            for (a, b) in pairs {
                let (a, b) = (slow[a as usize], slow[b as usize]);
                slow.iter_mut().filter(|root| **root == a || **root == b).for_each(|root| {
                    *root = a.min(b);
                });
            }
            let roots: Vec<u32> = (0..n as u32).map(|member| forest.root(member)).collect();
            assert_eq!(roots, slow);
        }
    }
}
