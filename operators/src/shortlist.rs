//! The best of many, while they come, in memory for twice as many as are wanted.

use std::cmp::Ordering;

/// The best `limit` of all that is pushed. Which those are doesn't depend on the order of pushes,
/// as long as no two are equal.
pub(crate) struct Shortlist<T> {
    limit: usize,
    /// Less is better.
    order: fn(&T, &T) -> Ordering,
    /// At least the best, in no order.
    found: Vec<T>,
    /// What is worse than this is not among the best.
    bound: Option<T>,
}

impl<T: Copy> Shortlist<T> {
    /// An empty list.
    pub(crate) fn new(limit: usize, order: fn(&T, &T) -> Ordering) -> Self {
        Self { limit, order, found: Vec::new(), bound: None }
    }

    /// What is worse than this need not be pushed.
    pub(crate) fn bound(&self) -> Option<&T> {
        self.bound.as_ref()
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.bound.is_some_and(|bound| (self.order)(&item, &bound).is_gt()) {
            return;
        }
        self.found.push(item);
        if self.found.len() >= self.limit.saturating_mul(2) {
            self.cut();
        }
    }

    /// The best of both.
    pub(crate) fn merged(mut self, mut other: Self) -> Self {
        if self.found.len() < other.found.len() {
            std::mem::swap(&mut self, &mut other);
        }
        other.found.into_iter().for_each(|item| self.push(item));
        self
    }

    /// The best, in no order.
    pub(crate) fn into_best(mut self) -> Vec<T> {
        self.cut();
        self.found
    }

    /// Lets go of all but the best.
    fn cut(&mut self) {
        if self.limit == 0 {
            self.found.clear();
        } else if self.found.len() > self.limit {
            let (_, worst, _) = self.found.select_nth_unstable_by(self.limit - 1, self.order);
            self.bound = Some(*worst);
            self.found.truncate(self.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_what_sorting_gives() {
        let numbers: Vec<u64> = (0..500).map(|x| x * 7919 % 500).collect();
        for limit in [0, 1, 7, 499, 500, 1000] {
            let mut lists: Vec<Shortlist<u64>> =
                (0..3).map(|_| Shortlist::new(limit, Ord::cmp)).collect();
            for (at, number) in numbers.iter().enumerate() {
                lists[at % 3].push(*number);
                assert!(lists[at % 3].found.len() <= (2 * limit).max(1));
            }
            let merged = lists.into_iter().reduce(Shortlist::merged).expect("three");
            let mut best = merged.into_best();
            best.sort_unstable();
            assert_eq!(best, (0..limit.min(500) as u64).collect::<Vec<_>>());
        }
    }
}
