//! Sets of physical addresses, before there is a heap.

use core::fmt;

/// How many ranges a set can have.
const LIMIT: usize = 64;

/// A set of addresses: ranges in order, apart from each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ranges {
    ranges: [(u64, u64); LIMIT],
    count: usize,
}

/// A set would have too many ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Default for Ranges {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.iter().map(|(start, end)| start..end))
            .finish()
    }
}

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Self {
            ranges: [(0, 0); LIMIT],
            count: 0,
        }
    }

    /// Start and end of each range, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges[..self.count].iter().copied()
    }

    /// How many addresses there are.
    pub fn total(&self) -> u64 {
        self.iter().map(|(start, end)| end - start).sum()
    }

    fn insert(&mut self, index: usize, range: (u64, u64)) -> Result<(), Full> {
        if self.count == LIMIT {
            return Err(Full);
        }
        self.ranges.copy_within(index..self.count, index + 1);
        self.ranges[index] = range;
        self.count += 1;
        Ok(())
    }

    /// Adds the addresses from `start` to `end`, exclusively; none if they are the wrong way round.
    ///
    /// # Errors
    ///
    /// [`Full`]: the set is then without them.
    pub fn add(&mut self, start: u64, end: u64) -> Result<(), Full> {
        if start >= end {
            return Ok(());
        }
        let touches = |(from, to): (u64, u64)| from <= end && start <= to;
        let first = self
            .iter()
            .position(|(_, to)| to >= start)
            .unwrap_or(self.count);
        let merged = self
            .iter()
            .skip(first)
            .take_while(|range| touches(*range))
            .count();
        if merged == 0 {
            return self.insert(first, (start, end));
        }
        let last = self.ranges[first + merged - 1].1;
        self.ranges[first] = (start.min(self.ranges[first].0), end.max(last));
        self.ranges
            .copy_within(first + merged..self.count, first + 1);
        self.count -= merged - 1;
        Ok(())
    }

    /// Takes the addresses from `start` to `end` out, exclusively.
    ///
    /// # Errors
    ///
    /// [`Full`]: a range would have become two.
    pub fn remove(&mut self, start: u64, end: u64) -> Result<(), Full> {
        let mut index = 0;
        while index < self.count {
            let (from, to) = self.ranges[index];
            let (left, right) = ((from, to.min(start)), (from.max(end), to));
            match (left.0 < left.1, right.0 < right.1) {
                _ if start >= end || to <= start || end <= from => index += 1,
                (true, true) => {
                    self.insert(index + 1, right)?;
                    self.ranges[index] = left;
                    index += 2;
                }
                (true, false) => {
                    self.ranges[index] = left;
                    index += 1;
                }
                (false, true) => {
                    self.ranges[index] = right;
                    index += 1;
                }
                (false, false) => {
                    self.ranges.copy_within(index + 1..self.count, index);
                    self.count -= 1;
                }
            }
        }
        Ok(())
    }

    /// Takes out `length` addresses from a multiple of `alignment` on, the highest there are, and
    /// returns the first of them.
    pub fn take(&mut self, length: u64, alignment: u64) -> Option<u64> {
        let (_, start) = self
            .iter()
            .filter_map(|(from, to)| {
                let start = to.checked_sub(length)? / alignment * alignment;
                (start >= from).then_some((to, start))
            })
            .max()?;
        self.remove(start, start + length).ok().map(|()| start)
    }

    /// The same without what is not a whole multiple of `size`.
    pub fn whole(&self, size: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.iter().filter_map(move |(start, end)| {
            let (start, end) = (start.checked_next_multiple_of(size)?, end / size * size);
            (start < end).then_some((start, end))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Ranges;

    proptest! {
        #[test]
        fn sets_hold_what_was_put_in(
            steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..60), 0..60),
        ) {
            let mut ranges = Ranges::new();
            let mut model = [false; 60];
            for (add, start, end) in steps {
                let result = if add { ranges.add(start, end) } else { ranges.remove(start, end) };
                prop_assert!(result.is_ok());
                if start < end {
                    model[start as usize..end as usize].fill(add);
                }
                let mut found = [false; 60];
                let mut last = None;
                for (start, end) in ranges.iter() {
                    prop_assert!(start < end && last.is_none_or(|last| last < start));
                    last = Some(end);
                    found[start as usize..end as usize].fill(true);
                }
                prop_assert_eq!(found, model);
            }
        }
    }

    #[test]
    fn blocks_are_taken_from_the_top() {
        let mut ranges = Ranges::new();
        ranges.add(0, 10).unwrap();
        ranges.add(100, 207).unwrap();
        assert_eq!(ranges.take(50, 4), Some(156));
        assert_eq!(ranges.take(50, 4), Some(104));
        assert_eq!(ranges.take(50, 4), None);
        assert_eq!(ranges.take(8, 1), Some(2));
        assert_eq!(ranges.total(), 2 + 4 + 2 + 1);
        assert_eq!(ranges.whole(4).collect::<Vec<_>>(), [(100, 104)]);
    }

    #[test]
    fn too_many_are_refused() {
        let mut ranges = Ranges::new();
        for index in 0..64 {
            ranges.add(index * 4, index * 4 + 3).unwrap();
        }
        let before = ranges;
        assert!(ranges.add(1000, 1001).is_err());
        assert!(ranges.remove(1, 2).is_err());
        assert_eq!(ranges, before);
    }
}
