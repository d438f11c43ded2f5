//! Making room: clean pages of files leave memory, because their store has them, and private
//! pages that their process gave up, because it cannot tell. Other private pages go to swap.
//!
//! Candidates come from a hand that goes around the frame table (the second-chance, or clock,
//! algorithm): it passes once over a page that was touched since it came by. Entries carry no
//! sign of use by hardware, so "touched" means that the kernel had a part in it: a fault, a read,
//! a write.
//!
//! A page that leaves is marked as migrating, so that it gains no mapping meanwhile. What failed
//! for lack of frames is undone, drops its locks, comes here, and starts again.

use crate::memory::Inner;
use crate::mlock::is_locked_at;
use crate::{
    AddressSpace, Entry, Errno, FileId, FrameState, Machine, Memory, PageRange, Pfn, StoreError,
    UserFrame,
};

/// How many frames an operation that ran out of them asks for: more than a fault needs, fewer
/// than anyone would miss.
const BATCH: usize = 32;

impl<M: Machine> Memory<M> {
    /// Frees up to `target` frames, and returns how many it did: under memory pressure, or to
    /// drop caches.
    pub fn reclaim(&self, target: usize) -> usize {
        let mut one = self.failures.lock();
        let mut freed = 0;
        let mut may_swap = self.may_swap();
        // In the second round nothing is spared for having been touched before the first.
        for _ in 0..2 * self.frames.count() {
            if freed >= target {
                break;
            }
            match self.evict(self.frames.next_candidate(), may_swap) {
                Ok(frames) => freed += frames,
                Err(StoreError::Io) => may_swap = false,
                Err(StoreError::Poisoned(poisoned)) => {
                    drop(one);
                    self.isolate_consumed(poisoned.pfn);
                    one = self.failures.lock();
                }
            }
        }
        freed
    }

    /// Makes reclaim take the pages of a range before others (`MADV_COLD`).
    pub(crate) fn cool(&self, inner: &Inner, pages: PageRange) {
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let Some((found, entry)) = inner.table.next(&self.machine, range) else {
                break;
            };
            rest = PageRange::new(found.end(), pages.end());
            if let Entry::Page(pfn, _) = entry {
                self.frames.lock_known(pfn).touched = false;
            }
        }
    }

    /// Evicts the pages of a range that nobody else maps (`MADV_PAGEOUT`).
    pub(crate) fn page_out(&self, space: &AddressSpace, pages: PageRange) {
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let next = space.0.inner.lock().table.next(&self.machine, range);
            let Some((found, entry)) = next else {
                break;
            };
            rest = PageRange::new(found.end(), pages.end());
            let Entry::Page(pfn, _) = entry else {
                continue;
            };
            // What is huge leaves piece by piece.
            if found.pages() > 1 && self.split(pfn).is_ok() {
                rest = Some(range);
                continue;
            }
            let one = self.failures.lock();
            let alone = self.frames.lock_known(pfn).mappers.len() == 1;
            let evicted = match alone {
                true => self.evict(pfn, self.may_swap()),
                false => Ok(0),
            };
            drop(one);
            match evicted {
                Ok(_) => {}
                Err(StoreError::Io) => break,
                Err(StoreError::Poisoned(poisoned)) => self.isolate_consumed(poisoned.pfn),
            }
        }
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
    /// uses it at this moment; or puts it into swap. Returns how many frames that makes.
    ///
    /// # Errors
    ///
    /// It could not be written, or not be read.
    fn evict(&self, pfn: Pfn, may_swap: bool) -> Result<usize, StoreError> {
        let (state, swaps) = {
            // Of a huge page this is the head, for all of it.
            let mut frame = self.frames.lock_known(pfn);
            // What is in the pool stays.
            if frame.huge && (frame.is_pooled() || pfn != self.frames.head_of(pfn)) {
                return Ok(0);
            }
            let in_file = matches!(frame.state, FrameState::File { .. });
            let swaps = frame.state == FrameState::Anonymous && !frame.lazy_free;
            if frame.huge && (in_file || swaps && may_swap) {
                let touched = core::mem::take(&mut frame.touched);
                if touched || frame.dirty || frame.pins > 0 {
                    return Ok(0);
                }
                let page = self.frames.get_locked(&mut frame, pfn);
                drop(frame);
                // Unmapped it needs no memory to be split, and its pieces leave one by one when
                // the hand comes by again.
                let free = match swaps {
                    true => !self.is_locked(&page),
                    false => self.unmap_unlocked(&page),
                };
                let freed = if free {
                    self.split_held(&page).unwrap_or(0)
                } else {
                    0
                };
                self.frames.put(page);
                return Ok(freed);
            }
            let cached = match frame.state {
                FrameState::File { .. } if !frame.dirty && !frame.writeback => 1,
                FrameState::Anonymous if frame.lazy_free || may_swap => 0,
                _ => return Ok(0),
            };
            let touched = core::mem::take(&mut frame.touched);
            let alone = frame.references == frame.least_references() + cached;
            if touched || !alone || frame.has_failed() || frame.migrating {
                return Ok(0);
            }
            frame.migrating = true;
            frame.references += 1;
            (frame.state, swaps)
        };
        let page = UserFrame::of_entry(pfn);
        let mut written = Ok(());
        if swaps {
            written = self.swap_out(&page);
        } else if self.unmap_unlocked(&page)
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
        written.map(|()| evicted)
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
