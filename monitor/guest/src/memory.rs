//! A model of three adjacent pages: their bytes, and which of their lines are poisoned.
//!
//! Offsets count bytes from the start of the first page.

use core::ops::Range;

use control::{LINE, PAGE};

/// Pages of the model.
pub const PAGES: usize = 3;

/// Bytes of the model.
pub const LENGTH: usize = PAGES * PAGE as usize;

/// Lines of the model.
pub const LINES: usize = LENGTH / LINE as usize;

const LINE_BYTES: usize = LINE as usize;

/// How a store is made, which decides when overwriting a whole line makes it good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// One instruction that the monitor must see for what it is: every line it fills is good.
    Whole,
    /// One of several stores. A line that has been overwritten by them bit by bit may be good:
    /// hardware that gathers them clears it, hardware that does not keeps it.
    Part,
}

/// What the pages hold.
#[derive(Clone, Debug)]
pub struct Memory {
    bytes: [u8; LENGTH],
    poisoned: [bool; LINES],
    /// The bytes of each poisoned line that were overwritten since it was poisoned.
    covered: [u64; LINES],
}

impl Memory {
    /// Pages full of zeros, without poison.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; LENGTH],
            poisoned: [false; LINES],
            covered: [0; LINES],
        }
    }

    /// All bytes, those of poisoned lines included: poison hides what a line held, it does not
    /// change it.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; LENGTH] {
        &self.bytes
    }

    /// All bytes, to be filled.
    pub const fn bytes_mut(&mut self) -> &mut [u8; LENGTH] {
        &mut self.bytes
    }

    /// Poisons the line with this number.
    pub const fn poison(&mut self, line: usize) {
        self.poisoned[line] = true;
        self.covered[line] = 0;
    }

    /// Makes every line good.
    pub const fn clear_all(&mut self) {
        self.poisoned = [false; LINES];
    }

    /// Whether the line with this number is poisoned.
    #[must_use]
    pub const fn is_poisoned(&self, line: usize) -> bool {
        self.poisoned[line]
    }

    /// How many lines are poisoned.
    #[must_use]
    pub fn poisoned_lines(&self) -> usize {
        self.poisoned.iter().filter(|poisoned| **poisoned).count()
    }

    /// The first byte of `range` that is poisoned.
    #[must_use]
    pub fn first_poisoned(&self, range: Range<usize>) -> Option<usize> {
        lines(&range)
            .find(|line| self.poisoned[*line])
            .map(|line| range.start.max(line * LINE_BYTES))
    }

    /// The last byte of `range` that is poisoned.
    #[must_use]
    pub fn last_poisoned(&self, range: Range<usize>) -> Option<usize> {
        lines(&range)
            .rev()
            .find(|line| self.poisoned[*line])
            .map(|line| range.end.min((line + 1) * LINE_BYTES) - 1)
    }

    /// Stores `data` at `at`. Never aborts.
    pub fn store(&mut self, at: usize, data: &[u8], coverage: Coverage) {
        let range = at..at + data.len();
        self.bytes[range.clone()].copy_from_slice(data);
        for line in lines(&range) {
            let start = line * LINE_BYTES;
            let from = range.start.max(start) - start;
            let to = range.end.min(start + LINE_BYTES) - start;
            let mask = (u64::MAX >> (LINE_BYTES - (to - from))) << from;
            self.covered[line] |= mask;
            if mask == u64::MAX && coverage == Coverage::Whole {
                self.poisoned[line] = false;
            }
        }
    }

    /// The poisoned lines of `range` that may have become good, because every byte of them was
    /// overwritten. Ask the monitor, and [`decide`](Self::decide).
    pub fn undecided(&self, range: Range<usize>) -> impl Iterator<Item = usize> + use<'_> {
        lines(&range).filter(|line| self.poisoned[*line] && self.covered[*line] == u64::MAX)
    }

    /// Settles the state of a line that was [`undecided`](Self::undecided). If it is still poisoned,
    /// any further store to it may make it good.
    pub const fn decide(&mut self, line: usize, poisoned: bool) {
        self.poisoned[line] = poisoned;
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The numbers of the lines that `range` touches.
fn lines(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        0..0
    } else {
        range.start / LINE_BYTES..(range.end - 1) / LINE_BYTES + 1
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    fn with_lines(poisoned: &[usize]) -> Memory {
        let mut memory = Memory::new();
        for line in poisoned {
            memory.poison(*line);
        }
        memory
    }

    #[test]
    fn the_first_poisoned_byte_is_the_start_of_the_access_or_of_the_line() {
        let memory = with_lines(&[2, 4]);
        assert_eq!(memory.first_poisoned(130..134), Some(130));
        assert_eq!(memory.first_poisoned(120..300), Some(128));
        assert_eq!(memory.first_poisoned(0..128), None);
        assert_eq!(memory.first_poisoned(192..256), None);
        assert_eq!(memory.first_poisoned(130..130), None);
    }

    #[test]
    fn the_last_poisoned_byte_is_the_end_of_the_access_or_of_the_line() {
        let memory = with_lines(&[2, 4]);
        assert_eq!(memory.last_poisoned(130..134), Some(133));
        assert_eq!(memory.last_poisoned(0..256), Some(191));
        assert_eq!(memory.last_poisoned(0..1000), Some(319));
    }

    #[test]
    fn one_instruction_that_fills_a_line_makes_it_good() {
        let mut memory = with_lines(&[0, 1, 2]);
        memory.store(32, &[1; 128], Coverage::Whole);
        assert_eq!(
            [0, 1, 2].map(|line| memory.is_poisoned(line)),
            [true, false, true]
        );
        assert_eq!(memory.undecided(0..LENGTH).count(), 0);
    }

    #[test]
    fn several_stores_that_fill_a_line_leave_it_open() {
        let mut memory = with_lines(&[1]);
        memory.store(64, &[1; 32], Coverage::Part);
        assert_eq!(memory.undecided(0..LENGTH).count(), 0);
        memory.store(96, &[1; 32], Coverage::Part);
        assert_eq!(memory.undecided(64..65).collect::<Vec<_>>(), [1]);
        memory.decide(1, true);
        assert!(memory.is_poisoned(1));
        assert_eq!(memory.undecided(0..LENGTH).count(), 1);
        memory.decide(1, false);
        assert_eq!(memory.undecided(0..LENGTH).count(), 0);
    }

    #[test]
    fn poisoning_a_line_again_forgets_what_was_overwritten() {
        let mut memory = with_lines(&[1]);
        memory.store(64, &[1; 63], Coverage::Part);
        memory.poison(1);
        memory.store(127, &[1; 1], Coverage::Part);
        assert_eq!(memory.undecided(0..LENGTH).count(), 0);
    }

    proptest! {
        /// Against the definition, byte by byte.
        #[test]
        fn first_and_last_agree_with_the_bytes(
            poisoned in proptest::collection::vec(0..LINES, 0..8),
            start in 0..LENGTH,
            length in 0..300_usize,
        ) {
            let memory = with_lines(&poisoned);
            let range = start..(start + length).min(LENGTH);
            let bad: Vec<usize> = range
                .clone()
                .filter(|at| poisoned.contains(&(at / LINE_BYTES)))
                .collect();
            prop_assert_eq!(memory.first_poisoned(range.clone()), bad.first().copied());
            prop_assert_eq!(memory.last_poisoned(range), bad.last().copied());
        }
    }
}
