//! The random numbers of NumPy's `RandomState`, so that a sample which a published score was
//! measured on can be drawn again: MT19937 (Matsumoto and Nishimura 1998) and what NumPy makes of
//! its words.

/// Words of the state.
const STATE_WORDS: usize = 624;

/// How far the word is that each one is mixed with.
const SHIFT_WORDS: usize = 397;

/// A generator that gives the numbers of `numpy.random.RandomState(seed)`.
#[derive(Clone, Debug)]
pub struct RandomState {
    state: Vec<u32>,
    next: usize,
}

impl RandomState {
    /// The generator of a seed.
    pub fn new(seed: u32) -> Self {
        let mut state = Vec::with_capacity(STATE_WORDS);
        let mut word = seed;
        for index in 1..=STATE_WORDS as u32 {
            state.push(word);
            word = 1_812_433_253_u32.wrapping_mul(word ^ (word >> 30)).wrapping_add(index);
        }
        Self { state, next: STATE_WORDS }
    }

    /// The next 32 bits.
    pub fn word(&mut self) -> u32 {
        if self.next == STATE_WORDS {
            self.twist();
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for index in 0..STATE_WORDS {
            let following = self.state[(index + 1) % STATE_WORDS];
            let mixed = (self.state[index] & 0x8000_0000) | (following & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] =
                self.state[(index + SHIFT_WORDS) % STATE_WORDS] ^ (mixed >> 1) ^ odd;
        }
    }

    /// A number in `0..1`, of 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// A number in `0..=largest`, by drawing until one fits.
    pub fn up_to(&mut self, largest: u32) -> u32 {
        let mask = u32::MAX.checked_shr(largest.leading_zeros()).unwrap_or(0);
        if mask == 0 {
            return 0;
        }
        loop {
            let drawn = self.word() & mask;
            if drawn <= largest {
                return drawn;
            }
        }
    }

    /// `count` numbers in `0..bound`, which is at least 1; numbers may repeat.
    pub fn integers(&mut self, bound: u32, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.up_to(bound.saturating_sub(1))).collect()
    }

    /// Puts values in a random order.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for index in (1..values.len()).rev() {
            let other = self.up_to(u32::try_from(index).unwrap_or(u32::MAX));
            values.swap(index, other as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_numpy() {
        let mut random = RandomState::new(42);
        let words: Vec<u32> = (0..3).map(|_| random.word()).collect();
        assert_eq!(words, [1_608_637_542, 3_421_126_067, 4_083_286_876]);
        let mut random = RandomState::new(42);
        let uniform: Vec<f64> = (0..2).map(|_| random.uniform()).collect();
        assert_eq!(uniform, [0.374_540_118_847_362_5, 0.950_714_306_409_916_2]);
        let mut random = RandomState::new(42);
        assert_eq!(random.integers(10, 8), [6, 3, 7, 4, 6, 9, 2, 6]);
        assert_eq!(random.integers(1, 3), [0; 3], "no choice");
        let mut values: Vec<u32> = (0..10).collect();
        RandomState::new(42).shuffle(&mut values);
        assert_eq!(values, [8, 1, 5, 0, 7, 2, 9, 4, 3, 6]);
    }

    #[test]
    fn the_state_is_twisted_again_and_again() {
        let mut random = RandomState::new(7);
        let last = (0..5000).map(|_| random.word()).last();
        // numpy.random.RandomState(7).randint(0, 2**32, 5000, dtype=numpy.uint32)[-1]
        assert_eq!(last, Some(2_894_943_605));
    }
}
