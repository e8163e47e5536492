//! The numbers of what words of texts count as, so that each different word is looked at once.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;

/// Words that have been looked at.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Where the numbers of a word are.
    places: HashMap<Box<str>, Range<u32>, RandomState>,
    numbers: Vec<u32>,
}

impl Numbers {
    /// The numbers that a word counts as; `look` adds them for a word that is new.
    pub(super) fn of(&mut self, word: &str, look: impl FnOnce(&mut Vec<u32>)) -> &[u32] {
        let place = match self.places.get(word) {
            Some(place) => place.clone(),
            None => {
                let start = self.numbers.len() as u32;
                look(&mut self.numbers);
                let place = start..self.numbers.len() as u32;
                self.places.insert(word.into(), place.clone());
                place
            }
        };
        self.numbers.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    /// Forgets everything: for when words have got other numbers.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_looked_at_once() {
        let mut numbers = Numbers::default();
        let mut looks = 0;
        for _ in 0..2 {
            for (word, wanted) in [("a", vec![]), ("b-c", vec![1, 2]), ("d", vec![3])] {
                let found = numbers.of(word, |numbers| {
                    looks += 1;
                    numbers.extend(&wanted);
                });
                assert_eq!(found, wanted);
            }
        }
        assert_eq!(looks, 3);
        numbers.clear();
        assert_eq!(numbers.of("d", |numbers| numbers.push(7)), [7]);
    }
}
