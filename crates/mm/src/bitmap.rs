//! A set of small numbers that finds its least member fast: a tree of 64-bit words.

use alloc::vec::Vec;

use crate::Errno;

/// A set of numbers below a bound. A set bit of level `n + 1` says that a word of level `n`
/// is not zero.
#[derive(Debug)]
pub(crate) struct Bitmap {
    levels: Vec<Vec<u64>>,
}

impl Bitmap {
    /// An empty set of numbers below `bound`.
    pub(crate) fn new(bound: usize) -> Result<Self, Errno> {
        let mut levels = Vec::new();
        let mut words = bound.max(1);
        loop {
            words = words.div_ceil(64);
            let mut level = Vec::new();
            level.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
            level.resize(words, 0);
            levels.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            levels.push(level);
            if words == 1 {
                return Ok(Self { levels });
            }
        }
    }

    pub(crate) fn contains(&self, member: usize) -> bool {
        self.levels[0]
            .get(member / 64)
            .is_some_and(|word| word >> (member % 64) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, mut member: usize) {
        for level in &mut self.levels {
            level[member / 64] |= 1 << (member % 64);
            member /= 64;
        }
    }

    pub(crate) fn remove(&mut self, mut member: usize) {
        for level in &mut self.levels {
            level[member / 64] &= !(1 << (member % 64));
            if level[member / 64] != 0 {
                return;
            }
            member /= 64;
        }
    }

    /// How many members there are; it visits them all.
    pub(crate) fn len(&self) -> usize {
        let ones = self.levels[0].iter().map(|word| word.count_ones() as usize);
        ones.sum()
    }

    /// The least member.
    pub(crate) fn first(&self) -> Option<usize> {
        let mut word = 0;
        for level in self.levels.iter().rev() {
            if level[word] == 0 {
                return None;
            }
            word = word * 64 + level[word].trailing_zeros() as usize;
        }
        Some(word)
    }
}
