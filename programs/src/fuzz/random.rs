//! The generator: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
//! 2014).

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of one thread. Generators of other threads have nothing to do with it.
    #[must_use]
    pub fn new(seed: u64, path: &[u64]) -> Self {
        let mut random = Self(seed);
        for step in path {
            random = Self(random.word() ^ step.wrapping_mul(0xd605_1b1c_8d3a_2f45));
        }
        random
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.word() % limit
    }

    /// True once in `count` times.
    pub fn once_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// One of several.
    pub fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_repeats_and_threads_differ() {
        let numbers = |path: &[u64]| {
            let mut random = Random::new(7, path);
            [(); 4].map(|()| random.word())
        };
        assert_eq!(numbers(&[1, 2, 3]), numbers(&[1, 2, 3]));
        assert_ne!(numbers(&[1, 2, 3]), numbers(&[1, 3, 2]));
        assert_ne!(numbers(&[0]), numbers(&[1]));
    }
}
