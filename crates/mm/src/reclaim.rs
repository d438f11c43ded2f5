//! Making room: clean pages of files leave memory, because their store has them, and private
//! pages that their process gave up, because it cannot tell.
//!
//! Candidates come from a hand that goes around the frame table (the second-chance, or clock,
//! algorithm): it passes once over a page that was touched since it came by. Entries carry no
//! sign of use by hardware, so "touched" means that the kernel had a part in it: a fault, a read,
//! a write.
//!
//! A page that leaves is marked as migrating, so that it gains no mapping meanwhile. What failed
//! for lack of frames is undone, drops its locks, comes here, and starts again.

use crate::mlock::is_locked_at;
use crate::{Entry, Errno, FileId, FrameState, Machine, Memory, Pfn, UserFrame};

/// How many frames an operation that ran out of them asks for: more than a fault needs, fewer
/// than anyone would miss.
const BATCH: usize = 32;

impl<M: Machine> Memory<M> {
    /// Frees up to `target` frames, and returns how many it did: under memory pressure, or to
    /// drop caches.
    pub fn reclaim(&self, target: usize) -> usize {
        let _one = self.failures.lock();
        let mut freed = 0;
        // In the second round nothing is spared for having been touched before the first.
        for _ in 0..2 * self.frames.count() {
            if freed >= target {
                break;
            }
            freed += self.evict(self.frames.next_candidate());
        }
        freed
    }

    /// Runs an operation again as long as it fails for lack of frames and some can be freed.
    pub(crate) fn with_reclaim<T>(
        &self,
        mut operation: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        loop {
            let before = self.frames.shortages();
            match operation() {
                Err(Errno::ENOMEM) if self.relieve(before) => {}
                result => return result,
            }
        }
    }

    /// Whether there was a shortage of frames since their count was `before`, and some were freed.
    pub(crate) fn relieve(&self, before: u64) -> bool {
        self.frames.shortages() != before && self.reclaim(BATCH) > 0
    }

    /// Frees a frame, or the huge page whose head it is, if nobody needs its contents and nobody
    /// uses it at this moment. Returns how many frames that makes.
    fn evict(&self, pfn: Pfn) -> usize {
        let state = {
            // Of a huge page this is the head, for all of it.
            let mut frame = self.frames.lock_known(pfn);
            if frame.huge && pfn != self.frames.head_of(pfn) {
                return 0;
            }
            let in_file = matches!(frame.state, FrameState::File { .. });
            if frame.huge && in_file {
                let touched = core::mem::take(&mut frame.touched);
                if touched || frame.dirty || frame.pins > 0 {
                    return 0;
                }
                let page = self.frames.get_locked(&mut frame, pfn);
                drop(frame);
                // Unmapped it needs no memory to be split, and its pieces leave one by one when
                // the hand comes by again.
                let freed = if self.unmap_unlocked(&page) {
                    self.split_held(&page).unwrap_or(0)
                } else {
                    0
                };
                self.frames.put(page);
                return freed;
            }
            let cached = match frame.state {
                FrameState::File { .. } if !frame.dirty && !frame.writeback => 1,
                FrameState::Anonymous if frame.lazy_free => 0,
                _ => return 0,
            };
            let touched = core::mem::take(&mut frame.touched);
            let alone = frame.references == frame.mappers.len() as u32 + cached;
            if touched || !alone || frame.has_failed() || frame.migrating {
                return 0;
            }
            frame.migrating = true;
            frame.references += 1;
            frame.state
        };
        let page = UserFrame::of_entry(pfn);
        if self.unmap_unlocked(&page)
            && let FrameState::File { file, index } = state
            && let Some(cached) = self.take_from_cache(&page, file, index)
        {
            self.frames.put(cached);
        }
        let evicted = {
            let mut frame = self.frames.lock(&page);
            frame.migrating = false;
            let frames = if frame.huge { self.frames.pieces() } else { 1 };
            match frame.references {
                1 => frames as usize,
                _ => 0,
            }
        };
        self.frames.put(page);
        evicted
    }

    /// Empties the entries of a page unless it is locked. Returns whether that was all of them.
    fn unmap_unlocked(&self, page: &UserFrame) -> bool {
        let mut locked = false;
        self.for_each_mapper(
            page,
            |_, inner, mapper| {
                locked |= is_locked_at(inner, mapper.page());
                if !locked {
                    self.unmap_one(inner, mapper, Entry::Empty);
                }
            },
            |_, _| {},
        );
        !locked
    }

    fn take_from_cache(&self, page: &UserFrame, file: FileId, index: u32) -> Option<UserFrame> {
        self.find_file(file)?.evict_if(index, page.pfn(), || {
            let frame = self.frames.lock(page);
            // The cache's reference and ours. A write that is under way has a third.
            frame.references == 2 && !frame.dirty
        })
    }

    /// Empties all entries of a page whose contents can be had again.
    pub(crate) fn unmap_clean(&self, page: &UserFrame) {
        self.for_each_mapper(
            page,
            |_, inner, mapper| self.unmap_one(inner, mapper, Entry::Empty),
            |_, _| {},
        );
    }
}
