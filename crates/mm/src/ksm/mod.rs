//! Kernel samepage merging: private pages with equal contents share one frame.
//!
//! A scanner reads the pages of areas that asked for it. A page whose contents are in the *stable
//! tree* is replaced by the frame there, which nobody can write. A page whose checksum is what it
//! was a pass ago waits in the *unstable tree*, until the next pass, for another with the same
//! contents; then one of the two frames becomes stable. A store to a stable frame copies it, as
//! after a fork.
//!
//! # Contents and poison
//!
//! The scanner reads whole pages of others, so it is a consumer of poison like any other: a read
//! that fails ends the step, the frame is isolated, and all pages are mapped as they were.
//!
//! Equal contents are found by checksum, and proven by comparing the frames while nobody can
//! store to them. Frames that were proven equal form a *class*. A frame has a limited number of
//! mappings, so that it can be unmapped in bounded time; a class that many share has several
//! frames. Each is a twin of the others for good: when one fails, its mappings get a copy of a
//! twin, and nobody is told. Two frames whose contents are merely likely to be equal, because the
//! checksums are, never stand in for each other.
//!
//! Zeros, if told to look for them, form a class that needs no twin.
//!
//! # Locks
//!
//! A step of the scanner holds the lock of errors, and so no frame is found to be poisoned and
//! none moves while it looks; then the one of the trees. An error needs both too.

mod heal;
mod merge;
mod scan;
mod tree;
mod unmerge;

use crate::map::OrderedMap;
use crate::rmap::Mapper;
use crate::{Errno, Machine, Memory, PAGE_SIZE, Pfn, SpaceId, UserFrame, VirtualPage};

pub(crate) use heal::Healing;
use tree::StableTree;
pub(crate) use unmerge::Membership;

/// The scanner, its trees and its settings.
#[derive(Debug)]
pub(crate) struct Ksm {
    stable: StableTree,
    /// Pages by checksum that kept it for a pass. Their contents may change at any time.
    unstable: OrderedMap<(u64, Mapper), ()>,
    /// The checksum that each page had when it was visited last.
    seen: OrderedMap<Mapper, u64>,
    /// The next page to visit.
    cursor: Mapper,
    /// The next stable frame to look at, to see whether anyone still uses it.
    prune_from: Pfn,
    use_zero_pages: bool,
    max_page_sharing: usize,
    full_scans: u64,
    pages_scanned: u64,
    healed: u64,
}

const START: Mapper = Mapper::new(SpaceId(0), VirtualPage(0));

impl Ksm {
    pub(crate) const fn new() -> Self {
        Self {
            stable: StableTree::new(),
            unstable: OrderedMap::new(),
            seen: OrderedMap::new(),
            cursor: START,
            prune_from: Pfn(0),
            use_zero_pages: false,
            max_page_sharing: 256,
            full_scans: 0,
            pages_scanned: 0,
            healed: 0,
        }
    }

    /// A stable frame has moved, with its mappings. Room for it was made.
    pub(crate) fn moved(&mut self, from: Pfn, to: Pfn) {
        self.stable.moved(from, to);
    }

    /// Makes room for one [`moved`](Self::moved).
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing changed.
    pub(crate) fn reserve(&mut self, permit: crate::machine::Permit) -> Result<(), Errno> {
        self.stable.reserve_move(permit)
    }

    /// Whether a frame is in the stable tree.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_stable(&self, pfn: Pfn) -> bool {
        self.stable.contains(pfn)
    }
}

/// What merging achieved, under the names of the files in `/sys/kernel/mm/ksm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KsmStatistics {
    /// Frames that are shared by their contents.
    pub pages_shared: u64,
    /// Pages that map them, beyond one for each: so many frames are saved.
    pub pages_sharing: u64,
    /// Pages without an equal, that did not change for a pass.
    pub pages_unshared: u64,
    /// Pages that change too often.
    pub pages_volatile: u64,
    /// Pages that were visited.
    pub pages_scanned: u64,
    /// Pages that map a shared frame of zeros (`ksm_zero_pages`).
    pub zero_pages: u64,
    /// How often all pages were visited.
    pub full_scans: u64,
    /// Contents that several frames share because one would have too many mappings.
    pub stable_node_chains: u64,
    /// The frames of those.
    pub stable_node_dups: u64,
    /// Bytes that merging saved, less those of its own bookkeeping.
    pub general_profit: i64,
    /// Frames that failed, and whose mappings nobody lost. Linux has no such count.
    pub pages_healed: u64,
}

impl<M: Machine> Memory<M> {
    /// Sets whether pages of zeros share a frame of their own class, which heals without a twin
    /// (`use_zero_pages`). Pages that are merged stay so.
    pub fn set_ksm_use_zero_pages(&self, use_them: bool) {
        self.ksm.lock().use_zero_pages = use_them;
    }

    /// Sets how many mappings merging gives to one frame (`max_page_sharing`). The fewer, the
    /// more copies there are of what many share, and the fewer does an error hit that finds no
    /// twin.
    ///
    /// # Errors
    ///
    /// `EINVAL`: below two. `EBUSY`: pages are merged by the old number.
    pub fn set_ksm_max_page_sharing(&self, mappings: usize) -> Result<(), Errno> {
        if mappings < 2 {
            return Err(Errno::EINVAL);
        }
        let _one = self.failures.lock();
        let mut ksm = self.ksm.lock();
        if mappings != ksm.max_page_sharing && self.in_use(&ksm).next().is_some() {
            return Err(Errno::EBUSY);
        }
        ksm.max_page_sharing = mappings;
        Ok(())
    }

    /// What merging achieved. The numbers of frames are exact, not those of the last pass.
    pub fn ksm_statistics(&self) -> KsmStatistics {
        let _one = self.failures.lock();
        let ksm = self.ksm.lock();
        let mut statistics = KsmStatistics {
            pages_unshared: ksm.unstable.len() as u64,
            pages_volatile: ksm.seen.len().saturating_sub(ksm.unstable.len()) as u64,
            pages_scanned: ksm.pages_scanned,
            full_scans: ksm.full_scans,
            pages_healed: ksm.healed,
            ..KsmStatistics::default()
        };
        let mut last = None;
        let mut frames_of_class = 0;
        for (class, mappings) in self.in_use(&ksm) {
            if class.is_zero() {
                statistics.zero_pages += mappings;
                continue;
            }
            statistics.pages_shared += 1;
            statistics.pages_sharing += mappings - 1;
            frames_of_class = if last == Some(class) {
                frames_of_class + 1
            } else {
                1
            };
            last = Some(class);
            statistics.stable_node_chains += u64::from(frames_of_class == 2);
            statistics.stable_node_dups += match frames_of_class {
                1 => 0,
                2 => 2,
                _ => 1,
            };
        }
        let saved = (statistics.pages_sharing + statistics.zero_pages) * PAGE_SIZE as u64;
        let spent = ksm.seen.len() * size_of::<(Mapper, u64)>()
            + ksm.unstable.len() * size_of::<(u64, Mapper)>()
            + ksm.stable.bytes();
        statistics.general_profit = saved as i64 - spent as i64;
        statistics
    }

    /// The stable frames that are in use, by class, with how many map each.
    fn in_use(&self, ksm: &Ksm) -> impl Iterator<Item = (tree::Class, u64)> {
        ksm.stable.iter().filter_map(|(class, pfn)| {
            let frame = self.stable_frame(pfn)?;
            let mappings = self.frames.lock(&frame).mappers.len() as u64;
            self.frames.put(frame);
            (mappings > 0).then_some((class, mappings))
        })
    }

    /// A reference to a frame of the stable tree, if it is still what the tree says. The lock of
    /// errors must be held.
    ///
    /// The tree holds no references: a frame may have become something else since. One that
    /// became stable again has taken its place in the tree anew.
    fn stable_frame(&self, pfn: Pfn) -> Option<UserFrame> {
        let mut frame = self.frames.find(pfn)?;
        if frame.state != crate::FrameState::Ksm || frame.poisoned {
            return None;
        }
        frame.references += 1;
        Some(UserFrame::of_entry(pfn))
    }

    /// The newest frame of a class that is in use and older than the one at `before`. Forgets
    /// those that are not in use.
    fn older_frame(
        &self,
        ksm: &mut Ksm,
        checksum: u64,
        class: tree::Class,
        before: Option<tree::Place>,
    ) -> Option<(tree::Place, UserFrame)> {
        loop {
            let (place, pfn) = ksm.stable.older(checksum, class, before)?;
            if let Some(frame) = self.stable_frame(pfn) {
                return Some((place, frame));
            }
            ksm.stable.remove(pfn);
        }
    }
}
