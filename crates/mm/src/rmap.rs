//! The reverse map: for each frame, exactly the table entries that name it.
//!
//! A mapper is one word. One mapper costs nothing beyond the frame; more are a sorted array. That
//! is 8 bytes per shared mapping, and in exchange the map cannot disagree with the tables without
//! a test seeing it, and finding every mapper visits no other.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::machine::Permit;
use crate::{Errno, SpaceId, VirtualPage};

const PAGE_BITS: u32 = crate::ADDRESS_BITS - crate::PAGE_SHIFT;

/// One entry of one address space's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mapper(u64);

impl Mapper {
    pub(crate) const fn new(space: SpaceId, page: VirtualPage) -> Self {
        Self((space.0 as u64) << PAGE_BITS | page.0)
    }

    pub(crate) fn space(self) -> SpaceId {
        SpaceId((self.0 >> PAGE_BITS) as u32)
    }

    /// The mapper of a page `pages` further on.
    pub(crate) fn offset(self, pages: u64) -> Self {
        Self(self.0 + pages)
    }

    /// The least mapper after this one.
    pub(crate) fn following(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn page(self) -> VirtualPage {
        VirtualPage(self.0 & ((1 << PAGE_BITS) - 1))
    }
}

/// Room for a mapper that is to come. No mapper is it, and none is greater.
const ROOM: Mapper = Mapper(u64::MAX);

/// The mappers of a frame.
#[derive(Debug)]
pub(crate) enum Mappers {
    /// One, or none if that is [`ROOM`]: so that both need no more space than a slice.
    Few(Mapper),
    /// Sorted, and after them room for more; once many, it keeps its room until
    /// [`shrink`](Mappers::shrink). A slice, for it is smaller than a vector.
    Many(Box<[Mapper]>),
}

/// Room for at least so many.
fn room(count: usize) -> Result<Box<[Mapper]>, Errno> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    // A vector that is full becomes a slice without being copied.
    room.resize(room.capacity(), ROOM);
    Ok(room.into_boxed_slice())
}

fn used(mappers: &[Mapper]) -> usize {
    mappers.partition_point(|mapper| *mapper != ROOM)
}

impl Mappers {
    /// No mapper, and no room beyond that for one.
    pub(crate) const NONE: Self = Self::Few(ROOM);

    fn room(&self) -> &[Mapper] {
        match self {
            Self::Few(mapper) => core::slice::from_ref(mapper),
            Self::Many(mappers) => mappers,
        }
    }

    fn room_mut(&mut self) -> &mut [Mapper] {
        match self {
            Self::Few(mapper) => core::slice::from_mut(mapper),
            Self::Many(mappers) => mappers,
        }
    }

    pub(crate) fn as_slice(&self) -> &[Mapper] {
        let room = self.room();
        &room[..used(room)]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn contains(&self, mapper: Mapper) -> bool {
        self.as_slice().binary_search(&mapper).is_ok()
    }

    /// The least mapper not below `mapper`.
    pub(crate) fn from(&self, mapper: Mapper) -> Option<Mapper> {
        let mappers = self.as_slice();
        mappers
            .get(mappers.partition_point(|other| *other < mapper))
            .copied()
    }

    /// Adds one. On `ENOMEM` nothing changed.
    pub(crate) fn insert(&mut self, permit: Permit, mapper: Mapper) -> Result<(), Errno> {
        permit.redeem()?;
        if self.len() == self.room().len() {
            let mut more = room((2 * self.len()).max(4))?;
            more[..self.len()].copy_from_slice(self.as_slice());
            *self = Self::Many(more);
        }
        self.insert_reserved(mapper);
        Ok(())
    }

    /// Makes room for `count` in all, in a set that is empty.
    pub(crate) fn reserve(&mut self, permit: Permit, count: usize) -> Result<(), Errno> {
        permit.redeem()?;
        debug_assert!(self.is_empty());
        if count > 1 {
            *self = Self::Many(room(count)?);
        }
        Ok(())
    }

    /// Adds one for which there is room.
    pub(crate) fn insert_reserved(&mut self, mapper: Mapper) {
        let room = self.room_mut();
        let slot = room.partition_point(|other| *other < mapper);
        let end = used(room);
        debug_assert!(end < room.len(), "there is no room");
        room[slot..=end].rotate_right(1);
        room[slot] = mapper;
    }

    /// Replaces one that is there.
    pub(crate) fn replace(&mut self, mapper: Mapper, by: Mapper) {
        debug_assert!(self.contains(mapper));
        self.remove(mapper);
        self.insert_reserved(by);
    }

    /// Removes one that is there. The room for it stays.
    pub(crate) fn remove(&mut self, mapper: Mapper) {
        debug_assert!(self.contains(mapper));
        let room = self.room_mut();
        let end = used(room);
        if let Ok(slot) = room[..end].binary_search(&mapper) {
            room[slot..end].rotate_left(1);
            room[end - 1] = ROOM;
        }
    }

    /// Whether there is room on the heap.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) const fn has_room(&self) -> bool {
        matches!(self, Self::Many(_))
    }

    /// Gives room back that nobody needs.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mapper, Mappers};
    use crate::machine::Permit;
    use crate::{SpaceId, VirtualPage};

    /// A page moves; the first process that got it back unmaps it before the last one has.
    #[test]
    fn room_that_was_made_outlives_the_mappers() {
        let mapper = |page| Mapper::new(SpaceId(1), VirtualPage(page));
        let mut mappers = Mappers::NONE;
        mappers.reserve(Permit::for_test(), 3).unwrap();
        mappers.insert_reserved(mapper(1));
        mappers.remove(mapper(1));
        mappers.insert_reserved(mapper(2));
        mappers.insert_reserved(mapper(3));
        assert_eq!(mappers.len(), 2);
        mappers.remove(mapper(2));
        mappers.remove(mapper(3));
        mappers.shrink();
        assert!(matches!(mappers, Mappers::Few(_)));
    }
}
