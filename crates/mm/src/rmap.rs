//! The reverse map: for each frame, exactly the table entries that name it.
//!
//! A mapper is one word. One mapper costs nothing beyond the frame; more are a sorted array. That
//! is 8 bytes per shared mapping, and in exchange the map cannot disagree with the tables without
//! a test seeing it, and finding every mapper visits no other.

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

/// The mappers of a frame.
#[derive(Debug)]
pub(crate) enum Mappers {
    None,
    One(Mapper),
    /// Sorted; once many, it keeps its room until [`shrink`](Mappers::shrink).
    Many(Vec<Mapper>),
}

impl Mappers {
    pub(crate) fn as_slice(&self) -> &[Mapper] {
        match self {
            Self::None => &[],
            Self::One(mapper) => core::slice::from_ref(mapper),
            Self::Many(mappers) => mappers,
        }
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
        match self {
            Self::None => *self = Self::One(mapper),
            Self::One(first) => {
                let mut mappers = Vec::new();
                mappers.try_reserve(4).map_err(|_| Errno::ENOMEM)?;
                mappers.extend([mapper.min(*first), mapper.max(*first)]);
                *self = Self::Many(mappers);
            }
            Self::Many(mappers) => {
                mappers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                mappers.insert(mappers.partition_point(|other| *other < mapper), mapper);
            }
        }
        Ok(())
    }

    /// Makes room for `count` in all, in a set that is empty.
    pub(crate) fn reserve(&mut self, permit: Permit, count: usize) -> Result<(), Errno> {
        permit.redeem()?;
        debug_assert!(self.is_empty());
        if count > 1 {
            let mut mappers = Vec::new();
            mappers.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
            *self = Self::Many(mappers);
        }
        Ok(())
    }

    /// Adds one for which there is room.
    pub(crate) fn insert_reserved(&mut self, mapper: Mapper) {
        match self {
            Self::None => *self = Self::One(mapper),
            Self::One(_) => debug_assert!(false, "there is no room"),
            Self::Many(mappers) => {
                debug_assert!(mappers.len() < mappers.capacity());
                mappers.insert(mappers.partition_point(|other| *other < mapper), mapper);
            }
        }
    }

    /// Replaces one that is there.
    pub(crate) fn replace(&mut self, mapper: Mapper, by: Mapper) {
        debug_assert!(self.contains(mapper));
        match self {
            Self::None => {}
            Self::One(one) => *one = by,
            Self::Many(mappers) => {
                mappers.retain(|other| *other != mapper);
                mappers.insert(mappers.partition_point(|other| *other < by), by);
            }
        }
    }

    /// Removes one that is there. The room for it stays.
    pub(crate) fn remove(&mut self, mapper: Mapper) {
        debug_assert!(self.contains(mapper));
        match self {
            Self::None => {}
            Self::One(_) => *self = Self::None,
            Self::Many(mappers) => {
                if let Ok(slot) = mappers.binary_search(&mapper) {
                    mappers.remove(slot);
                }
            }
        }
    }

    /// Gives room back that nobody needs.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::None;
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
        let mut mappers = Mappers::None;
        mappers.reserve(Permit::for_test(), 3).unwrap();
        mappers.insert_reserved(mapper(1));
        mappers.remove(mapper(1));
        mappers.insert_reserved(mapper(2));
        mappers.insert_reserved(mapper(3));
        assert_eq!(mappers.len(), 2);
        mappers.remove(mapper(2));
        mappers.remove(mapper(3));
        mappers.shrink();
        assert!(matches!(mappers, Mappers::None));
    }
}
