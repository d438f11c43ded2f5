//! Page faults: one function from an address and an access to an outcome.
//!
//! A step runs under the space's lock. If it needs the lock released, because a page must be read
//! from its store or a frame it copied from turned out to be poisoned, it undoes what it did,
//! says so, and starts again when that is done.

mod pooled;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;

use crate::frame::Frame;
use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::table::pages_end;
use crate::vma::{Sharing, Vma};
use crate::{
    Access, AddressSpace, Context, Entry, Errno, File, FileKind, FrameState, Machine, Memory,
    PAGE_SHIFT, PageRange, Pfn, Protection, SpaceId, SwapSlot, UserFrame, VirtualAddress,
    VirtualPage,
};

/// Why a process gets `SIGSEGV`, with the values of `si_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum SegvCode {
    /// `SEGV_MAPERR`: nothing is mapped there.
    NotMapped = 1,
    /// `SEGV_ACCERR`: what is mapped there may not be accessed so.
    Denied = 2,
}

/// Why a process gets `SIGBUS`, with the values of `si_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum BusCode {
    /// `BUS_ADRERR`: beyond the end of the file, or its store failed, or the pool has no huge page.
    NoPage = 2,
    /// `BUS_MCEERR_AR`: the memory is lost, and the process needs it now.
    ActionRequired = 4,
    /// `BUS_MCEERR_AO`: the memory is lost, and the process has not touched it yet.
    ActionOptional = 5,
}

impl BusCode {
    /// Whether it stands for an uncorrectable memory error.
    pub const fn is_memory_error(self) -> bool {
        matches!(self, Self::ActionRequired | Self::ActionOptional)
    }
}

/// The fields of a `SIGBUS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sigbus {
    /// `si_code`.
    pub code: BusCode,
    /// `si_addr`.
    pub address: VirtualAddress,
    /// `si_addr_lsb`: the lost range is 2 to the power of this long. Zero if nothing is lost.
    pub lsb: u8,
}

impl Sigbus {
    /// One for a lost page.
    pub(crate) fn lost(code: BusCode, address: VirtualAddress) -> Self {
        Self::lost_block(code, address, 1)
    }

    /// One for so many pages, a power of two, that are lost together.
    pub(crate) fn lost_block(code: BusCode, address: VirtualAddress, pages: u64) -> Self {
        Self {
            code,
            address,
            lsb: (PAGE_SHIFT + pages.trailing_zeros()) as u8,
        }
    }
}

/// What became of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The access can be repeated.
    Resolved,
    /// The access is not allowed.
    Sigsegv(SegvCode),
    /// There is no page, or it is lost.
    Sigbus(Sigbus),
    /// Someone else is working on the page: let others run, then repeat the access.
    Retry,
    /// There is no memory.
    Oom,
}

/// What must happen without the lock before a fault can go on.
pub(crate) enum Need {
    /// A page from its store.
    Fetch(Arc<File>, u32),
    /// The isolation of a frame that could not be read.
    Isolation(Pfn),
    /// A huge page in small ones.
    Split(Pfn),
    /// One more huge page in the pool; or this one for this space alone, whose it is.
    HugePage(Option<(Pfn, SpaceId)>),
    /// A page from swap.
    SwapIn(SwapSlot),
}

/// How a step can end early.
pub(crate) enum Stop {
    Outcome(Outcome),
    Need(Need),
}

impl From<Errno> for Stop {
    fn from(_: Errno) -> Self {
        Self::Outcome(Outcome::Oom)
    }
}

/// More rounds than any fault needs, unless memory fails faster than it is isolated.
const ROUNDS: usize = 6;

impl<M: Machine> Memory<M> {
    /// Resolves a fault of `space`, or says what its process must be told.
    pub fn fault(&self, space: &AddressSpace, address: VirtualAddress, access: Access) -> Outcome {
        self.resolve(address, || self.step(space, address, access))
    }

    /// Makes the frame of a private page that is mapped this process's own.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EHWPOISON` if it could not be copied; `EFAULT` if the pool has no huge page for it.
    pub(crate) fn unshare_page(
        &self,
        space: &AddressSpace,
        page: VirtualPage,
    ) -> Result<(), Errno> {
        let unshare = || self.unshare_step(space, page);
        match self.resolve(page.address(), unshare) {
            Outcome::Oom => Err(Errno::ENOMEM),
            Outcome::Sigbus(bus) if bus.code.is_memory_error() => Err(Errno::EHWPOISON),
            Outcome::Sigbus(_) => Err(Errno::EFAULT),
            // Whatever else happened to the page, its next fault says.
            Outcome::Resolved | Outcome::Retry | Outcome::Sigsegv(_) => Ok(()),
        }
    }

    /// Repeats a step until it needs nothing more.
    fn resolve(&self, address: VirtualAddress, step: impl Fn() -> Result<(), Stop>) -> Outcome {
        loop {
            let before = self.frames.shortages();
            match self.try_resolve(address, &step) {
                Outcome::Oom if self.relieve(before) => {}
                outcome => return outcome,
            }
        }
    }

    fn try_resolve(&self, address: VirtualAddress, step: impl Fn() -> Result<(), Stop>) -> Outcome {
        for _ in 0..ROUNDS {
            let need = match step() {
                Ok(()) => return Outcome::Resolved,
                Err(Stop::Outcome(outcome)) => return outcome,
                Err(Stop::Need(need)) => need,
            };
            let met = match need {
                Need::Fetch(file, index) => self.fetch(&file, index),
                Need::SwapIn(slot) => self.swap_in(slot),
                Need::Split(pfn) => self.split(pfn),
                Need::Isolation(pfn) => {
                    self.isolate_consumed(pfn);
                    Ok(())
                }
                Need::HugePage(shared) => match (self.add_surplus(), shared) {
                    (Ok(()), _) => Ok(()),
                    (Err(_), Some((pfn, owner))) => {
                        self.take_from_others(pfn, owner);
                        Ok(())
                    }
                    (Err(_), None) => return bus(BusCode::NoPage, address),
                },
            };
            match met {
                Ok(()) => {}
                Err(Errno::ENOMEM) => return Outcome::Oom,
                Err(Errno::EBUSY) => return Outcome::Retry,
                Err(_) => return bus(BusCode::NoPage, address),
            }
        }
        Outcome::Retry
    }

    fn step(
        &self,
        space: &AddressSpace,
        address: VirtualAddress,
        access: Access,
    ) -> Result<(), Stop> {
        let page = address.page();
        if page >= pages_end::<M>() {
            return Err(Stop::Outcome(Outcome::Sigsegv(SegvCode::NotMapped)));
        }
        let inner = space.0.inner.lock();
        let Some(vma) = inner.vmas.find(page) else {
            return Err(Stop::Outcome(Outcome::Sigsegv(SegvCode::NotMapped)));
        };
        if !vma.allows(access) {
            return Err(Stop::Outcome(Outcome::Sigsegv(SegvCode::Denied)));
        }
        let fault = Fault {
            memory: self,
            space,
            inner: &inner,
            vma,
            page,
            address,
            access,
        };
        let (pages, entry) = inner.table.lookup(&self.machine, page);
        match entry {
            Entry::Empty | Entry::Reserved if vma.is_pooled() => {
                fault.pooled_page(entry == Entry::Reserved)
            }
            Entry::Empty if vma.is_private_anonymous() => fault.demand_zero(),
            Entry::Empty => fault.file_page(),
            Entry::Page(_, protection) if protection.allows(access) => {
                // Another CPU resolved it meanwhile, and removed what this one had cached.
                Ok(())
            }
            Entry::Page(pfn, _) if access == Access::Store => fault.store(pfn),
            Entry::Page(..) => {
                fault.protect(vma.protection.read_only());
                Ok(())
            }
            Entry::HwPoison(_) => {
                let lost = Sigbus::lost_block(BusCode::ActionRequired, address, pages.pages());
                Err(Stop::Outcome(Outcome::Sigbus(lost)))
            }
            Entry::Migration(_) => Err(Stop::Outcome(Outcome::Retry)),
            Entry::Taken | Entry::Reserved => Err(Stop::Outcome(bus(BusCode::NoPage, address))),
            Entry::Swap(slot) => {
                let pfn = self.map_swapped(space.id(), &inner, page, slot)?;
                match access {
                    Access::Store => fault.store(pfn),
                    Access::Load | Access::Fetch => Ok(()),
                }
            }
        }
    }

    fn unshare_step(&self, space: &AddressSpace, page: VirtualPage) -> Result<(), Stop> {
        let inner = space.0.inner.lock();
        match inner.table.get(&self.machine, page) {
            Entry::Page(pfn, _) if self.is_shared(&mut self.frames.lock_known(pfn)) => {
                self.unshare(space, &inner, page)
            }
            _ => Ok(()),
        }
    }

    /// Whether a locked frame is private memory that must be copied before one of its processes
    /// stores to it. If it is not it is in no swap cache any more.
    pub(crate) fn is_shared(&self, frame: &mut Frame) -> bool {
        frame.is_shared() || !self.leave_swap(frame)
    }

    /// Gives a page that shares its frame a copy of its own, as a store would.
    pub(crate) fn unshare(
        &self,
        space: &AddressSpace,
        inner: &Inner,
        page: VirtualPage,
    ) -> Result<(), Stop> {
        let (Some(vma), Entry::Page(pfn, _)) =
            (inner.vmas.find(page), inner.table.get(&self.machine, page))
        else {
            return Ok(());
        };
        let pooled = {
            let frame = self.frames.lock_known(pfn);
            if frame.has_failed() {
                return Err(Stop::Outcome(Outcome::Retry));
            }
            if frame.huge && !frame.is_pooled() {
                return Err(Stop::Need(Need::Split(pfn)));
            }
            frame.is_pooled()
        };
        let fault = Fault {
            memory: self,
            space,
            inner,
            vma,
            page,
            address: page.address(),
            access: Access::Store,
        };
        if pooled {
            return fault.copy_block_on_write(self.frames.head_of(pfn));
        }
        fault.copy_on_write(pfn)
    }

    /// Isolates a frame that the kernel itself failed to read. Nobody is told but those who want
    /// to know early: the operation that failed tells its caller.
    pub(crate) fn isolate_consumed(&self, pfn: Pfn) {
        // Whoever found it before us has isolated it when this returns.
        let _ = self.memory_failure(pfn, Context::default());
    }
}

fn bus(code: BusCode, address: VirtualAddress) -> Outcome {
    match code {
        BusCode::NoPage => Outcome::Sigbus(Sigbus {
            code,
            address,
            lsb: 0,
        }),
        _ => Outcome::Sigbus(Sigbus::lost(code, address)),
    }
}

/// A fault, with everything that is known about it.
struct Fault<'a, M> {
    memory: &'a Memory<M>,
    space: &'a AddressSpace,
    inner: &'a Inner,
    vma: &'a Vma,
    page: VirtualPage,
    address: VirtualAddress,
    access: Access,
}

impl<M: Machine> Fault<'_, M> {
    /// Private memory that was never touched: a huge page of zeros, or a page of them.
    fn demand_zero(&self) -> Result<(), Stop> {
        if let Some(fresh) = self.fresh_huge() {
            for piece in 0..self.memory.frames.pieces() {
                fresh.with_piece(piece, |piece| self.memory.machine.zero(piece));
            }
            return self.map_huge(fresh);
        }
        let fresh = self.fresh_frame()?;
        self.memory.machine.zero(&fresh);
        self.map_fresh(fresh)
    }

    /// A page of a file that has no entry yet.
    fn file_page(&self) -> Result<(), Stop> {
        let Some((file, index)) = self.vma.file_page(self.page) else {
            return Ok(());
        };
        let cached = self.cached(file, index)?;
        let result = if self.access == Access::Store && self.vma.sharing == Sharing::Private {
            self.copy_from_file(&cached)
        } else {
            self.map_cached(&cached)
        };
        self.memory.frames.put(cached);
        result
    }

    /// A page of the cache, or what is in the way of this fault.
    fn cached(&self, file: &Arc<File>, index: u32) -> Result<UserFrame, Stop> {
        self.memory.cached(file, index).map_err(|stop| match stop {
            Stop::Outcome(Outcome::Sigbus(lost)) => Stop::Outcome(Outcome::Sigbus(Sigbus {
                address: self.address,
                ..lost
            })),
            other => other,
        })
    }

    /// The first store to a private mapping of a file (`do_cow_fault`).
    fn copy_from_file(&self, cached: &UserFrame) -> Result<(), Stop> {
        let fresh = self.fresh_copy(cached)?;
        self.map_fresh(fresh)
    }

    /// Maps a page of the cache. A store was allowed by the area, and dirties the page.
    fn map_cached(&self, cached: &UserFrame) -> Result<(), Stop> {
        let memory = self.memory;
        let huge = memory.frames.lock(cached).huge;
        let pages = if huge {
            self.room_for_cached_block(cached)?
        } else {
            PageRange::single(self.page)
        };
        self.inner
            .table
            .prepare_for(&memory.machine, &memory.frames, pages)?;
        let permit = memory.permit();
        let mut frame = memory.frames.lock(cached);
        if frame.has_failed() || frame.migrating || frame.huge != huge {
            return Err(Stop::Outcome(Outcome::Retry));
        }
        frame
            .mappers
            .insert(permit, Mapper::new(self.space.id(), pages.start()))?;
        frame.references += 1;
        frame.touched = true;
        let mut protection = self.vma.protection.read_only();
        if self.access == Access::Store {
            frame.dirty = true;
            protection = self.vma.protection;
        }
        drop(frame);
        let first = if huge {
            memory.frames.head_of(cached.pfn())
        } else {
            cached.pfn()
        };
        let entry = Entry::Page(first, protection);
        self.inner.table.mark(&memory.machine, pages, entry);
        Ok(())
    }

    /// The block that a huge page of a file can be mapped by here, all of it and clean if it has a
    /// store; otherwise it must be split. Makes sure that no empty table is in the way.
    fn room_for_cached_block(&self, cached: &UserFrame) -> Result<PageRange, Stop> {
        let memory = self.memory;
        let (machine, table) = (&memory.machine, &self.inner.table);
        let block = PageRange::block(self.page, M::INDEX_BITS);
        let head = memory.frames.head_of(cached.pfn());
        let fits = self.vma.pages.covers(block)
            && self.page.0 - block.start().0 == cached.pfn().0 - head.0
            && self
                .vma
                .file_page(block.start())
                .is_some_and(|(file, index)| {
                    file.holds_block(index, head, memory.frames.pieces())
                        && (file.kind() != FileKind::Stored || self.access != Access::Store)
                });
        if fits && let Some(empty) = table.detach_empty(machine, self.page) {
            let loose = empty.flush(machine);
            memory.frames.free_table(loose.into_table());
        }
        if fits && table.has_room_for_block(machine, self.page) {
            return Ok(block);
        }
        Err(Stop::Need(Need::Split(cached.pfn())))
    }

    /// A store to a page that is mapped, but not for stores.
    fn store(&self, pfn: Pfn) -> Result<(), Stop> {
        let mut frame = self.memory.frames.lock_known(pfn);
        if frame.has_failed() || (frame.lazy_free && frame.migrating) {
            return Err(Stop::Outcome(Outcome::Retry));
        }
        let (huge, pooled) = (frame.huge, frame.is_pooled());
        let state = frame.state;
        let ours = match state {
            // A pinned page is nobody else's, and must stay the one that the process sees.
            FrameState::Anonymous
                if !self.memory.is_shared(&mut frame)
                    && (frame.references == 1 || frame.pins > 0) =>
            {
                frame.lazy_free = false;
                true
            }
            FrameState::Anonymous => false,
            _ if huge && !self.is_in_memory_only() => false,
            _ if self.vma.sharing == Sharing::Shared => {
                // Write-notify: from here on the page differs from its store.
                frame.dirty = true;
                true
            }
            _ => false,
        };
        drop(frame);
        if ours {
            self.protect(self.vma.protection);
            return Ok(());
        }
        if pooled {
            return self.copy_block_on_write(pfn);
        }
        if huge {
            return Err(Stop::Need(Need::Split(pfn)));
        }
        self.copy_on_write(pfn)
    }

    fn is_in_memory_only(&self) -> bool {
        let file = self.vma.backing.file();
        file.is_some_and(|file| file.kind() != FileKind::Stored)
    }

    /// Replaces a page by a private copy. Until the copy is complete nothing changes.
    fn copy_on_write(&self, pfn: Pfn) -> Result<(), Stop> {
        let memory = self.memory;
        let old = memory.frames.get(pfn);
        let fresh = self.fresh_copy(&old);
        memory.frames.put(old);
        let fresh = self.adopt(fresh?)?;
        // Break before make: no CPU may have a translation to each of the two frames.
        if let Some(unmapped) = self
            .inner
            .table
            .unmap(&memory.machine, self.page, Entry::Empty)
        {
            let old = unmapped.flush(&memory.machine);
            memory.end_mapping(Mapper::new(self.space.id(), self.page), old);
        }
        self.inner
            .table
            .map(&memory.machine, self.page, fresh, self.vma.protection);
        Ok(())
    }

    /// A huge page to be mapped here, if policy, the area and memory have it: else small ones do.
    fn fresh_huge(&self) -> Option<UserFrame> {
        let memory = self.memory;
        let table = &self.inner.table;
        let block = PageRange::block(self.page, M::INDEX_BITS);
        if !self.vma.pages.covers(block)
            || !memory.huge_policy.allows(self.vma.huge)
            || !table.has_room_for_block(&memory.machine, self.page)
            || table
                .prepare_for(&memory.machine, &memory.frames, block)
                .is_err()
        {
            return None;
        }
        memory
            .frames
            .allocate_huge(&memory.machine, FrameState::Anonymous)
            .ok()
    }

    /// Maps a huge page that nobody else has where there is room for it.
    fn map_huge(&self, fresh: UserFrame) -> Result<(), Stop> {
        let block = PageRange::block(self.page, M::INDEX_BITS);
        let fresh = self.adopt_at(fresh, block.start())?;
        let entry = Entry::Page(fresh.into_entry(), self.vma.protection);
        self.inner.table.mark(&self.memory.machine, block, entry);
        Ok(())
    }

    fn fresh_frame(&self) -> Result<UserFrame, Stop> {
        let memory = self.memory;
        self.inner
            .table
            .prepare(&memory.machine, &memory.frames, self.page)?;
        Ok(memory
            .frames
            .allocate_user(&memory.machine, FrameState::Anonymous)?)
    }

    /// A copy of a page, or the need to isolate it.
    fn fresh_copy(&self, from: &UserFrame) -> Result<UserFrame, Stop> {
        let fresh = self.fresh_frame()?;
        match self.memory.machine.copy_page(&fresh, from) {
            Ok(()) => Ok(fresh),
            Err(poisoned) => {
                self.memory.frames.put(fresh);
                Err(Stop::Need(Need::Isolation(poisoned.pfn)))
            }
        }
    }

    /// Maps a frame that nobody else has where there is no entry.
    fn map_fresh(&self, fresh: UserFrame) -> Result<(), Stop> {
        let fresh = self.adopt(fresh)?;
        self.inner
            .table
            .map(&self.memory.machine, self.page, fresh, self.vma.protection);
        Ok(())
    }

    /// Makes this page the mapper of a frame that nobody else has, or gives the frame back. An
    /// error of the frame that is found from here on waits for the space's lock.
    fn adopt(&self, fresh: UserFrame) -> Result<UserFrame, Stop> {
        self.adopt_at(fresh, self.page)
    }

    /// The same, for a page or the first page of a block.
    fn adopt_at(&self, fresh: UserFrame, page: VirtualPage) -> Result<UserFrame, Stop> {
        let permit = self.memory.permit();
        let adopted = {
            let mut frame = self.memory.frames.lock(&fresh);
            // A huge page counts as migrating while it is being filled; a small one does when
            // someone found it and moves it.
            if frame.has_failed() || frame.migrating && !frame.huge {
                Err(Stop::Outcome(Outcome::Retry))
            } else {
                frame.touched = true;
                let mapper = Mapper::new(self.space.id(), page);
                let adopted = frame.mappers.insert(permit, mapper).map_err(Stop::from);
                if adopted.is_ok() {
                    frame.migrating = false;
                    frame.take_reservation();
                }
                adopted
            }
        };
        match adopted {
            Ok(()) => Ok(fresh),
            Err(stop) => {
                self.memory.frames.put(fresh);
                Err(stop)
            }
        }
    }

    fn protect(&self, protection: Protection) {
        let machine = &self.memory.machine;
        if let Some(stale) = self.inner.table.protect(machine, self.page, protection) {
            stale.flush(machine);
        }
    }
}
