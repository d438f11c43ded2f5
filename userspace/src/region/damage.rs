//! Which parts of a region are known to be lost.

use std::ops::Range;

/// Ranges in order that do not overlap. Neighbours stay apart: each is one extent that the kernel
/// took away, and is healed as a whole.
#[derive(Debug, Default)]
pub(super) struct Damage(Vec<Range<usize>>);

impl Damage {
    /// Adds what is lost; says whether any of it was not known.
    pub(super) fn add(&mut self, mut range: Range<usize>) -> bool {
        let overlap = |old: &Range<usize>| old.end.min(range.end) - old.start.max(range.start);
        let known: usize = self.within(&range).map(overlap).sum();
        if known == range.len() {
            return false;
        }
        self.0.retain(|old| {
            let apart = old.end <= range.start || range.end <= old.start;
            if !apart {
                range = range.start.min(old.start)..range.end.max(old.end);
            }
            apart
        });
        let place = self.0.partition_point(|old| old.start < range.start);
        self.0.insert(place, range);
        true
    }

    /// Forgets exactly this extent.
    pub(super) fn remove(&mut self, range: &Range<usize>) {
        self.0.retain(|old| old != range);
    }

    /// The extents that share a byte with `range`, in order.
    pub(super) fn within(&self, range: &Range<usize>) -> impl Iterator<Item = &Range<usize>> {
        let range = range.clone();
        self.0
            .iter()
            .filter(move |lost| lost.start < range.end && range.start < lost.end)
    }

    /// Where the first extent starts.
    pub(super) fn start(&self) -> Option<usize> {
        self.0.first().map(|range| range.start)
    }

    /// All extents, in order.
    pub(super) fn all(&self) -> &[Range<usize>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_stay_apart_and_overlaps_merge() {
        let mut damage = Damage::default();
        assert!(damage.add(10..12));
        assert!(damage.add(4..8));
        assert!(damage.add(8..10));
        assert_eq!(damage.all(), [4..8, 8..10, 10..12]);
        assert!(!damage.add(5..11));
        assert!(!damage.add(3..3));
        damage.remove(&(8..10));
        assert!(damage.add(7..11));
        assert_eq!(damage.all(), std::slice::from_ref(&(4..12)));
        damage.remove(&(4..8));
        assert_eq!(damage.start(), Some(4));
        damage.remove(&(4..12));
        assert_eq!(damage.start(), None);
    }

    proptest! {
        #[test]
        fn it_covers_what_was_added(ranges in prop::collection::vec((0..64_usize, 0..16_usize), 0..12)) {
            let mut damage = Damage::default();
            let mut covered = [false; 80];
            for (start, length) in ranges {
                let range = start..start + length;
                let new = covered[range.clone()].contains(&false);
                prop_assert_eq!(damage.add(range.clone()), new);
                covered[range].fill(true);
            }
            for (place, &covered) in covered.iter().enumerate() {
                prop_assert_eq!(damage.within(&(place..place + 1)).count(), usize::from(covered));
            }
            let all = damage.all();
            prop_assert!(all.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }
}
