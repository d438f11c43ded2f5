//! The scanner: which page is next, and what it may share a frame with.

use alloc::sync::Arc;

use super::merge::{Candidate, Proof};
use super::tree::Class;
use super::{Ksm, START};
use crate::machine::Permit;
use crate::map::OrderedMap;
use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::{
    Entry, FrameState, Machine, Memory, PageRange, Pfn, Poisoned, SpaceId, UserFrame, VirtualPage,
};

/// How many classes or pages of one checksum are compared with a page: more than one is a
/// collision, which an adversary may have made.
const COLLISIONS: usize = 8;
/// How many frames of a class are looked at for room, the newest first.
const FULL_FRAMES: usize = 16;
/// How many pages that are gone a step forgets at most.
const FORGET: usize = 64;
/// How many stable frames a step looks at, to forget those that are not in use.
const PRUNE: usize = 2;

/// What a step of the scanner did.
enum Step {
    Visited,
    PassEnded,
    Poisoned(Pfn),
}

/// A class that has the contents of a page.
struct Equal {
    class: Class,
    node: UserFrame,
    /// The frame may get one more mapping.
    room: bool,
}

impl<M: Machine> Memory<M> {
    /// Visits up to `pages` pages of the areas that asked for merging, and returns how many:
    /// fewer if that was the last of them. Each page is a step of its own, between which others
    /// get their turn.
    pub fn ksm_scan(&self, pages: usize) -> usize {
        for visited in 0..pages {
            match self.scan_step() {
                Step::Visited => {}
                Step::PassEnded => return visited,
                Step::Poisoned(pfn) => self.isolate_consumed(pfn),
            }
        }
        pages
    }

    fn scan_step(&self) -> Step {
        let _one = self.failures.lock();
        let mut ksm = self.ksm.lock();
        self.prune(&mut ksm);
        if ksm.cursor == START {
            ksm.unstable = OrderedMap::new();
        }
        let next = self.next_page(ksm.cursor);
        if !ksm.forget_gone(next) {
            return Step::Visited;
        }
        let Some(mapper) = next else {
            ksm.end_pass();
            return Step::PassEnded;
        };
        ksm.cursor = mapper.following();
        ksm.pages_scanned += 1;
        let Some(page) = self.candidate(mapper) else {
            ksm.seen.remove(mapper);
            return Step::Visited;
        };
        let considered = self.consider(&mut ksm, mapper, &page);
        self.frames.put(page);
        match considered {
            Ok(()) => Step::Visited,
            Err(poisoned) => Step::Poisoned(poisoned.pfn),
        }
    }

    /// Forgets some stable frames that are not in use any more.
    fn prune(&self, ksm: &mut Ksm) {
        for _ in 0..PRUNE {
            let Some(pfn) = ksm.stable.frame_from(ksm.prune_from) else {
                ksm.prune_from = Pfn(0);
                return;
            };
            ksm.prune_from = Pfn(pfn.0 + 1);
            match self.stable_frame(pfn) {
                Some(frame) => self.frames.put(frame),
                None => drop(ksm.stable.remove(pfn)),
            }
        }
    }

    /// The first page that is present in an area that asked for merging.
    fn next_page(&self, from: Mapper) -> Option<Mapper> {
        let (mut id, mut page) = (from.space(), from.page());
        loop {
            let found = self.spaces.lock();
            let (next, space) = found.ceiling(id)?;
            let space = Arc::clone(space);
            drop(found);
            if next > id {
                page = VirtualPage(0);
            }
            if space.merging.is_member()
                && let Some(page) = self.next_mergeable(&space.inner.lock(), page)
            {
                return Some(Mapper::new(next, page));
            }
            (id, page) = (SpaceId(next.0 + 1), VirtualPage(0));
        }
    }

    fn next_mergeable(&self, inner: &Inner, mut page: VirtualPage) -> Option<VirtualPage> {
        loop {
            let vma = inner.vmas.find_from(page)?;
            if vma.mergeable
                && let Some(rest) = PageRange::new(page.max(vma.pages.start()), vma.pages.end())
                && let Some((found, _)) = inner.table.next(&self.machine, rest)
            {
                return Some(found.start().max(rest.start()));
            }
            page = vma.pages.end();
        }
    }

    /// The private page that is mapped somewhere, if it may be merged.
    pub(super) fn candidate(&self, mapper: Mapper) -> Option<UserFrame> {
        let space = self.find_space(mapper.space())?;
        let inner = space.inner.lock();
        if !inner.vmas.find(mapper.page())?.mergeable {
            return None;
        }
        let Entry::Page(pfn, _) = inner.table.get(&self.machine, mapper.page()) else {
            return None;
        };
        {
            let frame = self.frames.lock_known(pfn);
            if frame.state != FrameState::Anonymous || frame.has_failed() {
                return None;
            }
        }
        // A piece of a huge page will do; only to be merged it must be on its own.
        Some(self.frames.get(pfn))
    }

    /// Merges a page, or remembers it.
    fn consider(&self, ksm: &mut Ksm, mapper: Mapper, page: &UserFrame) -> Result<(), Poisoned> {
        let checksum = self.machine.checksum(page)?;
        let zero = ksm.use_zero_pages && self.machine.is_zero(page)?;
        let candidate = Candidate {
            mapper,
            page,
            checksum,
        };
        let equal = self.search_stable(ksm, &candidate)?;
        let result = match &equal {
            Some(Equal { node, room, .. }) if *room => self.merge(&candidate, node),
            _ if zero => self.stabilise(ksm, &candidate, Proof::Zero),
            _ if ksm.seen.get(mapper) == Some(&checksum) => {
                self.search_unstable(ksm, &candidate, equal.as_ref())
            }
            _ => Ok(false),
        };
        if let Some(equal) = equal {
            self.frames.put(equal.node);
        }
        if result? {
            ksm.seen.remove(mapper);
        } else {
            ksm.remember(self.permit(), mapper, checksum);
        }
        Ok(())
    }

    /// The class that a page belongs to, by its contents of this moment.
    fn search_stable(
        &self,
        ksm: &mut Ksm,
        candidate: &Candidate<'_>,
    ) -> Result<Option<Equal>, Poisoned> {
        let mut class = None;
        for _ in 0..COLLISIONS {
            class = ksm.stable.class_after(candidate.checksum, class);
            let Some(class) = class else {
                break;
            };
            let Some((node, room)) = self.roomiest(ksm, candidate.checksum, class) else {
                continue;
            };
            match self.machine.compare(candidate.page, &node) {
                Ok(true) => return Ok(Some(Equal { class, node, room })),
                Ok(false) => self.frames.put(node),
                Err(poisoned) => {
                    self.frames.put(node);
                    return Err(poisoned);
                }
            }
        }
        Ok(None)
    }

    /// A frame of a class that may get another mapping, or else any.
    fn roomiest(&self, ksm: &mut Ksm, checksum: u64, class: Class) -> Option<(UserFrame, bool)> {
        let mut full = None;
        let mut before = None;
        for _ in 0..FULL_FRAMES {
            let Some((place, frame)) = self.older_frame(ksm, checksum, class, before) else {
                break;
            };
            before = Some(place);
            let room = self.frames.lock(&frame).mappers.len() < ksm.max_page_sharing;
            if let Some(other) = full.replace(frame) {
                self.frames.put(other);
            }
            if room {
                return full.map(|frame| (frame, true));
            }
        }
        full.map(|frame| (frame, false))
    }

    /// Merges a page with another that changed as little, or lets it wait for one. Returns
    /// whether it was merged.
    fn search_unstable(
        &self,
        ksm: &mut Ksm,
        candidate: &Candidate<'_>,
        full: Option<&Equal>,
    ) -> Result<bool, Poisoned> {
        let mut from = (candidate.checksum, START);
        for _ in 0..COLLISIONS {
            let Some((key, ())) = ksm.unstable.ceiling(from) else {
                break;
            };
            let (checksum, mapper) = key;
            if checksum != candidate.checksum {
                break;
            }
            from = (checksum, mapper.following());
            let Some(page) = self.candidate(mapper) else {
                ksm.unstable.remove(key);
                continue;
            };
            let other = Candidate {
                mapper,
                page: &page,
                checksum,
            };
            let merged = self.merge_two(ksm, candidate, &other, full);
            self.frames.put(page);
            if merged? {
                ksm.unstable.remove(key);
                ksm.seen.remove(mapper);
                return Ok(true);
            }
        }
        // Without memory for it the page finds its equal in a later pass.
        let key = (candidate.checksum, candidate.mapper);
        let _ = ksm.unstable.insert(self.permit(), key, ());
        Ok(false)
    }

    /// Makes the frame of one page stable, and the other page share it.
    fn merge_two(
        &self,
        ksm: &mut Ksm,
        one: &Candidate<'_>,
        other: &Candidate<'_>,
        full: Option<&Equal>,
    ) -> Result<bool, Poisoned> {
        // After a fork two pages may share a frame already.
        if one.page.pfn() == other.page.pfn() || !self.machine.compare(one.page, other.page)? {
            return Ok(false);
        }
        let proof = full.map_or(Proof::New, |equal| Proof::Equal(equal.class, &equal.node));
        if !self.stabilise(ksm, one, proof)? {
            return Ok(false);
        }
        let merged = self.merge(other, one.page);
        if merged != Ok(true) {
            self.destabilise(ksm, one.page);
        }
        merged
    }
}

impl Ksm {
    /// Forgets the pages before `until` that were not met on the way there. Returns whether that
    /// was all of them.
    fn forget_gone(&mut self, until: Option<Mapper>) -> bool {
        for _ in 0..FORGET {
            match self.seen.ceiling(self.cursor) {
                Some((gone, _)) if until.is_none_or(|until| gone < until) => {
                    self.seen.remove(gone);
                }
                _ => return true,
            }
        }
        false
    }

    fn end_pass(&mut self) {
        if self.cursor != START {
            self.full_scans += 1;
        }
        self.cursor = START;
    }

    /// Keeps a checksum for the next pass. Without memory for it the page just looks new then.
    fn remember(&mut self, permit: Permit, mapper: Mapper, checksum: u64) {
        match self.seen.get_mut(mapper) {
            Some(seen) => *seen = checksum,
            None => drop(self.seen.insert(permit, mapper, checksum)),
        }
    }
}
