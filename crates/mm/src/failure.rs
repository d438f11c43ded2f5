//! What to do when memory fails: [`Memory::memory_failure`].

#[cfg(test)]
mod tests;

use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use crate::lock::{Mutex, MutexGuard};

use crate::frame::HugeSort;
use crate::ksm::Healing;
use crate::memory::Space;
use crate::{
    BusCode, Entry, Errno, FileId, FrameState, KernelFrame, KillPolicy, Machine, Memory, Pfn,
    Sigbus, SpaceId, UserFrame, VirtualAddress,
};

/// What is known about an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context {
    /// The process that touched the memory from user mode, and where: it cannot go on without.
    pub consumer: Option<Consumer>,
    /// The error is a test's, not the hardware's: the frame may be used again.
    pub simulated: bool,
}

/// A process that consumed poison in user mode.
#[derive(Clone, Copy, Debug)]
pub struct Consumer {
    /// Its address space.
    pub space: SpaceId,
    /// The address it touched, as far as it is known.
    pub address: VirtualAddress,
}

/// A process that lost memory it has not touched, and that wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its address space.
    pub space: SpaceId,
    /// What to tell it.
    pub signal: Sigbus,
}

/// What kind of page failed, in the words of Linux's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageType {
    /// In the allocator.
    FreeBuddy,
    /// The kernel's own, or nobody's.
    ReservedKernel,
    /// Private memory, or a page of a file that its store does not have.
    DirtyLru,
    /// A page of a file that can be read again, a merged page of which there is a copy, or
    /// private memory that was given up.
    CleanLru,
    /// As `DirtyLru`, in a locked area.
    DirtyMlockedLru,
    /// As `CleanLru`, in a locked area.
    CleanMlockedLru,
    /// A page of a file that left its cache, or has not entered it.
    TruncatedLru,
    /// Private memory that swap has too.
    CleanSwapCache,
    /// A huge page that could not be split, and is lost as a whole.
    UnsplitThp,
    /// In a huge page of the pool that was in use.
    HugePage,
    /// In a huge page that waited in the pool.
    FreeHuge,
}

impl PageType {
    fn of_locked(self) -> Self {
        match self {
            Self::DirtyLru => Self::DirtyMlockedLru,
            Self::CleanLru => Self::CleanMlockedLru,
            other => other,
        }
    }
}

impl core::fmt::Display for PageType {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::FreeBuddy => "free buddy page",
            Self::ReservedKernel => "reserved kernel page",
            Self::DirtyLru => "dirty LRU page",
            Self::CleanLru => "clean LRU page",
            Self::DirtyMlockedLru => "dirty mlocked LRU page",
            Self::CleanMlockedLru => "clean mlocked LRU page",
            Self::TruncatedLru => "already truncated LRU page",
            Self::CleanSwapCache => "clean swapcache page",
            Self::UnsplitThp => "unsplit thp",
            Self::HugePage => "huge page",
            Self::FreeHuge => "free huge page",
        })
    }
}

/// What was done about it, in the words of Linux's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing could be done; but the frame will not be used for anything else.
    Ignored,
    /// Tried, but someone still holds it; isolated when they let go.
    Failed,
    /// Nobody can reach it by a new mapping; isolated when its last user lets go.
    Delayed,
    /// Isolated.
    Recovered,
}

impl core::fmt::Display for Action {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Ignored => "Ignored",
            Self::Failed => "Failed",
            Self::Delayed => "Delayed",
            Self::Recovered => "Recovered",
        })
    }
}

/// What [`Memory::memory_failure`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// What it found.
    pub page: PageType,
    /// What it did.
    pub action: Action,
    /// What the consumer must be told. If `None`, it may repeat its access.
    pub signal: Option<Sigbus>,
}

/// Counts of errors, as in `/sys/devices/system/node/node*/memory_failure`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// All.
    pub total: u64,
    /// With [`Action::Ignored`].
    pub ignored: u64,
    /// With [`Action::Failed`].
    pub failed: u64,
    /// With [`Action::Delayed`].
    pub delayed: u64,
    /// With [`Action::Recovered`].
    pub recovered: u64,
}

#[derive(Debug)]
pub(crate) struct Failures {
    /// One error at a time.
    one: Mutex<()>,
    /// The default for processes without a policy (`vm.memory_failure_early_kill`). A setting: any
    /// value that it has meanwhile will do.
    early_kill: AtomicBool,
    /// A real error happened: frames may not be given back any more. Only used while errors are kept
    /// one at a time.
    real: AtomicBool,
    /// A statistic.
    counts: [AtomicU64; 4],
    /// So many corrected errors are too many for a frame. A setting too.
    pub(crate) corrected_threshold: AtomicU16,
}

impl Failures {
    pub(crate) fn new() -> Self {
        Self {
            one: Mutex::new(()),
            early_kill: AtomicBool::new(false),
            real: AtomicBool::new(false),
            counts: [const { AtomicU64::new(0) }; 4],
            corrected_threshold: AtomicU16::new(crate::corrected::DEFAULT_THRESHOLD),
        }
    }
}

impl Failures {
    /// Keeps errors, and whatever else moves pages away from their users, one at a time.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.one.lock()
    }
}

impl<M: Machine> Memory<M> {
    /// Deals with an uncorrectable error in a frame. When it returns, nobody can map the frame or
    /// reach it by a translation; and it is never handed out again.
    ///
    /// Call it in task context, with no lock held, before the consumer returns to user space. A
    /// kernel-mode consumer is not named in `context`: its operation fails, and it lives.
    ///
    /// # Errors
    ///
    /// `ENXIO`: the frame is not ours. `EHWPOISON`: it was known to be poisoned, and is dealt
    /// with; a consumer may repeat its access, which then faults.
    pub fn memory_failure(&self, pfn: Pfn, context: Context) -> Result<Report, Errno> {
        self.fail_frame(pfn, None, context)
    }

    /// The same, for a caller who may hold a reference to the frame, and gives it up.
    pub(crate) fn fail_frame(
        &self,
        pfn: Pfn,
        held: Option<UserFrame>,
        context: Context,
    ) -> Result<Report, Errno> {
        let one = self.failures.lock();
        if !context.simulated {
            self.failures.real.store(true, Ordering::Relaxed);
        }
        let page = {
            let mut frame = self.frames.find(pfn).ok_or(Errno::ENXIO)?;
            if !self.frames.mark_poisoned(&mut frame) {
                drop(frame);
                if let Some(held) = held {
                    self.frames.put(held);
                }
                return Err(Errno::EHWPOISON);
            }
            match frame.state {
                FrameState::Free => {
                    let isolated = self.frames.isolate_free(&mut frame, pfn);
                    let action = if isolated {
                        Action::Recovered
                    } else {
                        Action::Delayed
                    };
                    return Ok(self.report(PageType::FreeBuddy, action, None));
                }
                // It is isolated when compaction gives it back.
                FrameState::Claimed => {
                    return Ok(self.report(PageType::FreeBuddy, Action::Delayed, None));
                }
                FrameState::Reserved
                | FrameState::Kernel
                | FrameState::Table
                | FrameState::Isolated => {
                    return Ok(self.report(PageType::ReservedKernel, Action::Ignored, None));
                }
                FrameState::Anonymous | FrameState::Ksm | FrameState::File { .. }
                    if !frame.huge && held.is_none() =>
                {
                    frame.references += 1;
                    Some(UserFrame::of_entry(pfn))
                }
                FrameState::Anonymous
                | FrameState::Ksm
                | FrameState::File { .. }
                | FrameState::Hugetlb
                | FrameState::Tail => held,
            }
        };
        if page.is_none() && self.frames.dissolve_waiting(pfn) {
            return Ok(self.report(PageType::FreeHuge, Action::Recovered, None));
        }
        let Some(page) = page.or_else(|| self.frames.get_piece(pfn)) else {
            // The huge page that it was in has just been given back, all but this frame.
            return Ok(self.report(PageType::FreeBuddy, Action::Recovered, None));
        };
        let mut healing = Healing::default();
        let pooled = self.frames.lock(&page).is_pooled();
        // Where a huge page can be split, only this piece of it is lost.
        let small = self.split_locked(pfn).is_ok();
        let mut report = if small {
            self.page_failed(&page, context.consumer, &mut healing)
        } else if let Some(signal) = self.split_unmapped(&page, context.consumer) {
            let report = self.page_failed(&page, context.consumer, &mut healing);
            Report { signal, ..report }
        } else {
            self.huge_page_failed(&page, context.consumer)
        };
        if pooled {
            report.page = PageType::HugePage;
        }
        self.frames.put(page);
        drop(one);
        for twin in healing.unreadable.into_iter().flatten() {
            self.isolate_consumed(twin);
        }
        Ok(report)
    }

    fn page_failed(
        &self,
        page: &UserFrame,
        consumer: Option<Consumer>,
        healing: &mut Healing,
    ) -> Report {
        let (state, dirty, in_swap) = {
            let frame = self.frames.lock(page);
            let dirty = match frame.state {
                FrameState::File { .. } => frame.dirty || frame.writeback,
                FrameState::Anonymous => !frame.lazy_free,
                // Who gave it up merged it, and others may have it now.
                _ => true,
            };
            (frame.state, dirty, frame.slot.is_some())
        };
        if state == FrameState::Ksm {
            *healing = self.heal(page);
        }
        let locked = self.is_locked(page);
        let mut report = match state {
            FrameState::Ksm if healing.done => self.conclude(page, PageType::CleanLru, None),
            FrameState::File { file, index } => {
                self.file_page_failed(page, file, index, dirty, consumer)
            }
            _ if in_swap => {
                self.unmap_to_slot(page);
                self.conclude(page, PageType::CleanSwapCache, None)
            }
            // Its process cannot tell this from the kernel having taken the page back.
            _ if !dirty => {
                self.unmap_clean(page);
                self.conclude(page, PageType::CleanLru, None)
            }
            _ => {
                let signal = self.unmap_lost(page, Entry::HwPoison(page.pfn()), consumer);
                self.conclude(page, PageType::DirtyLru, signal)
            }
        };
        if locked {
            report.page = report.page.of_locked();
        }
        report
    }

    /// Splits a huge page of a file for which there is no memory: nobody keeps it mapped, so that
    /// none is needed. Its users find its pieces again. Returns what the consumer must be told.
    fn split_unmapped(
        &self,
        page: &UserFrame,
        consumer: Option<Consumer>,
    ) -> Option<Option<Sigbus>> {
        let dirty = {
            let mut head = self.frames.lock(page);
            let in_file = matches!(head.state, FrameState::File { .. });
            if !in_file || !head.huge || head.migrating || head.is_damaged() {
                return None;
            }
            // From here on it gains no mapper.
            head.migrating = true;
            head.dirty
        };
        let signal = if dirty {
            let (piece, _) = self.piece_of(page);
            self.unmap_and_tell(page, Entry::Empty, consumer, (piece, 1))
        } else {
            self.unmap_clean(page);
            None
        };
        self.frames.split(page);
        Some(signal)
    }

    /// Private memory in a huge page that cannot be split: nobody can reach any of it any more.
    /// When its last user lets go, what is sound of it is free again.
    fn huge_page_failed(&self, page: &UserFrame, consumer: Option<Consumer>) -> Report {
        let (given_up, pooled) = {
            let mut head = self.frames.lock(page);
            let pooled = head.is_pooled();
            self.frames.leave_pool(&mut head);
            head.sort = HugeSort::Damaged;
            (head.lazy_free, pooled)
        };
        let signal = if given_up {
            self.unmap_clean(page);
            None
        } else {
            self.unmap_lost(page, Entry::HwPoison(page.pfn()), consumer)
        };
        if pooled {
            return self.conclude(page, PageType::HugePage, signal);
        }
        self.report(PageType::UnsplitThp, Action::Failed, signal)
    }

    /// A page of a file: lost if it was dirty, otherwise there to be read again.
    fn file_page_failed(
        &self,
        page: &UserFrame,
        id: FileId,
        index: u32,
        dirty: bool,
        consumer: Option<Consumer>,
    ) -> Report {
        // First out of the cache, so that a fault in between finds the slot and not the frame.
        let file = self.find_file(id);
        let cached = file.and_then(|file| file.evict(index, page.pfn(), dirty));
        let page_type = match (&cached, dirty) {
            (None, _) => PageType::TruncatedLru,
            (Some(_), true) => PageType::DirtyLru,
            (Some(_), false) => PageType::CleanLru,
        };
        let signal = if dirty {
            self.unmap_lost(page, Entry::Empty, consumer)
        } else {
            self.unmap_clean(page);
            None
        };
        if let Some(cached) = cached {
            self.frames.put(cached);
        }
        self.conclude(page, page_type, signal)
    }

    /// Unmaps a page whose contents are gone, of which no mapping is added: whoever would do so
    /// sees under the frame's lock that it is poisoned. Finds out who must know. Returns what the
    /// consumer must be told.
    fn unmap_lost(
        &self,
        page: &UserFrame,
        left: Entry,
        consumer: Option<Consumer>,
    ) -> Option<Sigbus> {
        // The page itself; the rest of a huge page is lost too, but that is not where it failed.
        self.unmap_and_tell(page, left, consumer, self.piece_of(page))
    }

    /// The same, if piece number `piece` failed, and so many pages are lost with it.
    fn unmap_and_tell(
        &self,
        page: &UserFrame,
        left: Entry,
        consumer: Option<Consumer>,
        (piece, pages): (u64, u64),
    ) -> Option<Sigbus> {
        let mut told: Option<VirtualAddress> = None;
        let consumer_in = |space: &Space| consumer.filter(|consumer| consumer.space == space.id);
        self.for_each_mapper(
            page,
            |space, inner, mapper| {
                self.unmap_one(inner, mapper, left);
                let failed = mapper.offset(piece).page();
                // A page that is mapped twice has two addresses: the one touched counts.
                if let Some(consumer) = consumer_in(space)
                    && (told.is_none() || consumer.address.page() == failed)
                {
                    told = Some(failed.address());
                }
            },
            |space, mapper| {
                if consumer_in(space).is_none() && self.wants_early_kill(space) {
                    let address = mapper.offset(piece).page().address();
                    self.machine.notify(Victim {
                        space: space.id,
                        signal: Sigbus::lost_block(BusCode::ActionOptional, address, pages),
                    });
                }
            },
        );
        told.map(|address| Sigbus::lost_block(BusCode::ActionRequired, address, pages))
    }

    /// Which piece of how many a frame is.
    fn piece_of(&self, page: &UserFrame) -> (u64, u64) {
        if self.frames.lock(page).huge {
            let head = self.frames.head_of(page.pfn());
            (page.pfn().0 - head.0, self.frames.pieces())
        } else {
            (0, 1)
        }
    }

    fn wants_early_kill(&self, space: &Space) -> bool {
        match space.kill_policy() {
            KillPolicy::Default => self.early_kill(),
            KillPolicy::Early => true,
            KillPolicy::Late => false,
        }
    }

    /// Our reference is the last one if the page is isolated when we give it back.
    fn conclude(&self, page: &UserFrame, page_type: PageType, signal: Option<Sigbus>) -> Report {
        let alone = self.frames.lock(page).references == 1;
        let action = match (alone, page_type) {
            (true, _) => Action::Recovered,
            (false, PageType::TruncatedLru) => Action::Delayed,
            (false, _) => Action::Failed,
        };
        self.report(page_type, action, signal)
    }

    fn report(&self, page: PageType, action: Action, signal: Option<Sigbus>) -> Report {
        self.failures.counts[action as usize].fetch_add(1, Ordering::Relaxed);
        Report {
            page,
            action,
            signal,
        }
    }

    /// Makes an isolated frame free again, after a simulated error.
    ///
    /// # Errors
    ///
    /// `ENXIO`: the frame is not ours. `EOPNOTSUPP`: an error of the hardware happened, and
    /// nobody can tell the two apart any more. `EBUSY`: someone still holds the frame. `EINVAL`:
    /// it is not poisoned.
    pub fn unpoison(&self, pfn: Pfn) -> Result<(), Errno> {
        let _one = self.failures.lock();
        let mut frame = self.frames.find(pfn).ok_or(Errno::ENXIO)?;
        if self.failures.real.load(Ordering::Relaxed) {
            return Err(Errno::EOPNOTSUPP);
        }
        if !frame.poisoned {
            return Err(Errno::EINVAL);
        }
        if frame.state != FrameState::Isolated {
            return Err(Errno::EBUSY);
        }
        self.frames.restore(&mut frame, pfn);
        Ok(())
    }

    /// Sets whether processes without a policy are told at once (`vm.memory_failure_early_kill`).
    pub fn set_early_kill(&self, early: bool) {
        self.failures.early_kill.store(early, Ordering::Relaxed);
    }

    /// Whether they are.
    pub fn early_kill(&self) -> bool {
        self.failures.early_kill.load(Ordering::Relaxed)
    }

    /// The counts so far.
    pub fn failure_statistics(&self) -> Statistics {
        let [ignored, failed, delayed, recovered] = [
            Action::Ignored,
            Action::Failed,
            Action::Delayed,
            Action::Recovered,
        ]
        .map(|action| self.failures.counts[action as usize].load(Ordering::Relaxed));
        let total = ignored + failed + delayed + recovered;
        Statistics {
            total,
            ignored,
            failed,
            delayed,
            recovered,
        }
    }

    /// The memory of a translation table has failed, and the program whose it is will end: puts
    /// marks of an error in the place of what can be in the same lines of 64 bytes as `bytes` of
    /// it, so that nobody needs to read those again. What they led to is lost to the program, and
    /// its frames are never used again. Of a frame that is no table nothing changes.
    pub fn lose_descriptors(&self, table: Pfn, bytes: RangeInclusive<usize>) {
        const LINE: usize = 64;
        const DESCRIPTOR: usize = size_of::<u64>();
        let Some(frame) = self.frames.find(table) else {
            return;
        };
        if frame.state != FrameState::Table {
            return;
        }
        let lost = Entry::HwPoison(table).encode();
        let kernel = KernelFrame::of_descriptor(table);
        let end = (bytes.end() / LINE + 1) * LINE / DESCRIPTOR;
        for index in bytes.start() / LINE * LINE / DESCRIPTOR..end.min(1 << M::INDEX_BITS) {
            self.machine.store_entry(&kernel, index, lost);
        }
        // As long as it was locked, nobody could free the table.
        drop(frame);
    }

    /// Whether an error in the frame is known.
    pub fn is_poisoned(&self, pfn: Pfn) -> bool {
        self.frames.find(pfn).is_some_and(|frame| frame.poisoned)
    }

    /// How many bytes have an error (`HardwareCorrupted` in `/proc/meminfo`).
    pub fn corrupted_bytes(&self) -> u64 {
        self.frames.corrupted.load(Ordering::Relaxed) << crate::PAGE_SHIFT
    }
}
