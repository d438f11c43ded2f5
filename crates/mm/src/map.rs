//! An ordered map whose insertion can fail, in two levels of sorted arrays.
//!
//! The standard library's tree cannot report that memory ran out. Here lookup is two binary
//! searches, and an insertion moves at most one chunk and the list of chunks.

use alloc::vec::Vec;

use crate::{Errno, machine::Permit};

const CHUNK: usize = 128;

/// A map from `K` to `V` in order of `K`.
#[derive(Debug)]
pub(crate) struct OrderedMap<K, V> {
    /// Sorted, and each chunk is sorted and not empty.
    chunks: Vec<Vec<(K, V)>>,
    /// An empty chunk for the insertion it was reserved for.
    spare: Option<Vec<(K, V)>>,
}

impl<K: Ord + Copy, V> OrderedMap<K, V> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            spare: None,
        }
    }

    /// The chunk that holds the greatest key not above `key`.
    fn chunk(&self, key: K) -> Option<usize> {
        self.chunks
            .partition_point(|chunk| chunk[0].0 <= key)
            .checked_sub(1)
    }

    fn find(&self, key: K) -> Option<(usize, usize)> {
        let chunk = self.chunk(key)?;
        let slot = self.chunks[chunk]
            .binary_search_by_key(&key, |entry| entry.0)
            .ok()?;
        Some((chunk, slot))
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.find(key)
            .map(|(chunk, slot)| &self.chunks[chunk][slot].1)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (chunk, slot) = self.find(key)?;
        Some(&mut self.chunks[chunk][slot].1)
    }

    /// The entry with the greatest key not above `key`.
    pub(crate) fn floor(&self, key: K) -> Option<(K, &V)> {
        let chunk = &self.chunks[self.chunk(key)?];
        let slot = chunk.partition_point(|entry| entry.0 <= key) - 1;
        Some((chunk[slot].0, &chunk[slot].1))
    }

    /// The entry with the least key not below `key`.
    pub(crate) fn ceiling(&self, key: K) -> Option<(K, &V)> {
        let first = self.chunk(key).unwrap_or(0);
        self.chunks[first.min(self.chunks.len())..]
            .iter()
            .take(2)
            .find_map(|chunk| {
                let slot = chunk.partition_point(|entry| entry.0 < key);
                chunk.get(slot).map(|entry| (entry.0, &entry.1))
            })
    }

    /// The entries from the one with the least key not below `key` on.
    pub(crate) fn iter_from(&self, key: K) -> impl Iterator<Item = (K, &V)> {
        let first = self.chunk(key).unwrap_or(0);
        let chunks = self.chunks.get(first..).unwrap_or_default();
        let before = chunks
            .first()
            .map_or(0, |chunk| chunk.partition_point(|entry| entry.0 < key));
        let mut rest = chunks.iter();
        let here = rest.next().map_or(&[][..], |chunk| &chunk[before..]);
        here.iter()
            .chain(rest.flatten())
            .map(|entry| (entry.0, &entry.1))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.chunks
            .iter()
            .flatten()
            .map(|entry| (entry.0, &entry.1))
    }

    /// Inserts a key that is not there.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the map is as it was, and the value is gone.
    pub(crate) fn insert(&mut self, permit: Permit, key: K, value: V) -> Result<(), Errno> {
        permit.redeem()?;
        let chunk = self.chunk(key).unwrap_or(0);
        if self
            .chunks
            .get(chunk)
            .is_none_or(|chunk| chunk.len() == CHUNK)
        {
            self.make_room()?;
        }
        self.insert_reserved(key, value);
        Ok(())
    }

    /// Makes room for one [`insert_reserved`](Self::insert_reserved), whatever is removed before.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the map is as it was.
    pub(crate) fn reserve(&mut self, permit: Permit) -> Result<(), Errno> {
        permit.redeem()?;
        self.make_room()
    }

    fn make_room(&mut self) -> Result<(), Errno> {
        self.chunks.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        self.spare = Some(Self::empty_chunk()?);
        Ok(())
    }

    /// Inserts a key that is not there and for which there is room.
    pub(crate) fn insert_reserved(&mut self, key: K, value: V) {
        debug_assert!(self.get(key).is_none(), "the key is there already");
        let spare = self.spare.take().unwrap_or_default();
        let mut chunk = self.chunk(key).unwrap_or(0);
        if self.chunks.is_empty() {
            self.chunks.push(spare);
        } else if self.chunks[chunk].len() == CHUNK {
            let mut upper = spare;
            upper.extend(self.chunks[chunk].drain(CHUNK / 2..));
            let above = upper[0].0 <= key;
            self.chunks.insert(chunk + 1, upper);
            chunk += usize::from(above);
        }
        let slot = self.chunks[chunk].partition_point(|entry| entry.0 < key);
        self.chunks[chunk].insert(slot, (key, value));
    }

    fn empty_chunk() -> Result<Vec<(K, V)>, Errno> {
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(CHUNK).map_err(|_| Errno::ENOMEM)?;
        Ok(chunk)
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let (chunk, slot) = self.find(key)?;
        let (_, value) = self.chunks[chunk].remove(slot);
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
        }
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::OrderedMap;
    use crate::machine::Permit;

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "takes minutes")]
        fn behaves_as_the_standard_map(steps in prop::collection::vec((0u16..600, any::<bool>()), 0..2000)) {
            let mut ours = OrderedMap::new();
            let mut theirs = BTreeMap::new();
            for (key, insert) in steps {
                if insert && !theirs.contains_key(&key) {
                    ours.insert(Permit::for_test(), key, u32::from(key) * 3).unwrap();
                    theirs.insert(key, u32::from(key) * 3);
                } else {
                    prop_assert_eq!(ours.remove(key), theirs.remove(&key));
                }
                prop_assert_eq!(ours.get(key), theirs.get(&key));
                prop_assert_eq!(
                    ours.floor(key).map(|entry| entry.0),
                    theirs.range(..=key).next_back().map(|entry| *entry.0)
                );
                prop_assert_eq!(
                    ours.ceiling(key).map(|entry| entry.0),
                    theirs.range(key..).next().map(|entry| *entry.0)
                );
            }
            for from in (0..600).step_by(50) {
                prop_assert_eq!(
                    ours.iter_from(from).map(|entry| entry.0).collect::<Vec<_>>(),
                    theirs.range(from..).map(|entry| *entry.0).collect::<Vec<_>>()
                );
            }
            prop_assert_eq!(ours.len(), theirs.len());
            prop_assert_eq!(
                ours.iter().map(|entry| entry.0).collect::<Vec<_>>(),
                theirs.keys().copied().collect::<Vec<_>>()
            );
        }
    }
}
