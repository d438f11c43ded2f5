//! The stable tree: the frames that pages share by contents, in order of a checksum.

use crate::machine::Permit;
use crate::map::OrderedMap;
use crate::{Errno, Pfn};

/// Contents. Frames of one class were proven equal, and cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class(u64);

impl Class {
    /// Zeros.
    pub(super) const ZERO: Self = Self(0);

    pub(super) fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    fn following(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where a frame is in the tree: those of one class together, the newest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) checksum: u64,
    pub(super) class: Class,
    sequence: u64,
}

/// The frames that are shared by contents. It holds no references to them.
#[derive(Debug)]
pub(super) struct StableTree {
    by_contents: OrderedMap<Place, Pfn>,
    by_frame: OrderedMap<Pfn, Place>,
    next: u64,
}

impl StableTree {
    pub(super) const fn new() -> Self {
        Self {
            by_contents: OrderedMap::new(),
            by_frame: OrderedMap::new(),
            next: 1,
        }
    }

    /// Makes room for one [`insert_reserved`](Self::insert_reserved).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing changed.
    pub(super) fn reserve(&mut self, permits: [Permit; 2]) -> Result<(), Errno> {
        let [contents, frame] = permits;
        self.by_contents.reserve(contents)?;
        self.by_frame.reserve(frame)
    }

    /// Makes room for one [`moved`](Self::moved).
    pub(super) fn reserve_move(&mut self, permit: Permit) -> Result<(), Errno> {
        self.by_frame.reserve(permit)
    }

    /// Adds a frame to a class, or to a new one.
    pub(super) fn insert_reserved(&mut self, pfn: Pfn, checksum: u64, class: Option<Class>) {
        // What the tree says of the frame is of an earlier life.
        self.remove(pfn);
        let sequence = self.next;
        self.next += 1;
        let place = Place {
            checksum,
            class: class.unwrap_or(Class(sequence)),
            sequence,
        };
        self.by_contents.insert_reserved(place, pfn);
        self.by_frame.insert_reserved(pfn, place);
    }

    pub(super) fn remove(&mut self, pfn: Pfn) -> Option<Place> {
        let place = self.by_frame.remove(pfn)?;
        self.by_contents.remove(place);
        Some(place)
    }

    /// Puts a frame in the place of another.
    pub(super) fn moved(&mut self, from: Pfn, to: Pfn) {
        self.remove(to);
        if let Some(place) = self.by_frame.remove(from)
            && let Some(pfn) = self.by_contents.get_mut(place)
        {
            *pfn = to;
            self.by_frame.insert_reserved(to, place);
        }
    }

    /// The first class with this checksum after `class`, or the very first.
    pub(super) fn class_after(&self, checksum: u64, class: Option<Class>) -> Option<Class> {
        let from = Place {
            checksum,
            class: class.map_or(Class::ZERO, Class::following),
            sequence: 0,
        };
        let (found, _) = self.by_contents.ceiling(from)?;
        (found.checksum == checksum).then_some(found.class)
    }

    /// The newest frame of a class that is older than the one at `before`, or the very newest.
    pub(super) fn older(
        &self,
        checksum: u64,
        class: Class,
        before: Option<Place>,
    ) -> Option<(Place, Pfn)> {
        let sequence = before.map_or(u64::MAX, |place| place.sequence - 1);
        let (found, pfn) = self.by_contents.floor(Place {
            checksum,
            class,
            sequence,
        })?;
        (found.checksum == checksum && found.class == class).then_some((found, *pfn))
    }

    /// The first frame from `pfn` on, by number.
    pub(super) fn frame_from(&self, pfn: Pfn) -> Option<Pfn> {
        self.by_frame.ceiling(pfn).map(|(found, _)| found)
    }

    /// All frames, class by class.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Class, Pfn)> {
        self.by_contents
            .iter()
            .map(|(place, pfn)| (place.class, *pfn))
    }

    /// About how much memory the tree takes.
    pub(super) fn bytes(&self) -> usize {
        self.by_frame.len() * 2 * size_of::<(Place, Pfn)>()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn contains(&self, pfn: Pfn) -> bool {
        self.by_frame.get(pfn).is_some()
    }
}
