//! Huge pages: who gets one, and how one is split.
//!
//! A huge page is mapped by whole blocks only, in as many spaces as like. Whoever needs a part of
//! one drops its locks, splits it and starts again.
//!
//! To split one, every block that maps it is frozen; then its pieces become frames of their own,
//! which nobody can observe, for nobody can reach them; then tables of small entries take the
//! place of the blocks. Nothing is copied, so a piece that is held, or that has an error, does not
//! mind. Whoever unmaps a frozen block only empties the entry: its reference is whose freezing it
//! was.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::lock::{MutexGuard, relax};

use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::{
    AddressSpace, Entry, Errno, KernelFrame, Machine, Memory, PAGE_SHIFT, PageRange, Pfn,
    UserFrame, VirtualAddress,
};

/// Which private memory may be mapped by huge pages, as in
/// `/sys/kernel/mm/transparent_hugepage/enabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HugePolicy {
    /// All but what was advised against.
    Always,
    /// Only what was advised for.
    Madvise,
    /// None.
    Never,
}

/// What a process said about huge pages for an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugeAdvice {
    /// Nothing.
    None,
    /// They help (`MADV_HUGEPAGE`).
    For,
    /// They do not (`MADV_NOHUGEPAGE`).
    Against,
}

/// The policy, as something that CPUs share. A setting: any value that it has meanwhile will do.
#[derive(Debug)]
pub(crate) struct SharedPolicy(AtomicU8);

impl SharedPolicy {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(HugePolicy::Madvise as u8))
    }

    /// Whether memory with this advice may be mapped by huge pages.
    pub(crate) fn allows(&self, advice: HugeAdvice) -> bool {
        let policy = self.0.load(Ordering::Relaxed);
        match advice {
            HugeAdvice::None => policy == HugePolicy::Always as u8,
            HugeAdvice::For => policy != HugePolicy::Never as u8,
            HugeAdvice::Against => false,
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Sets which private memory may be mapped by huge pages. It starts as
    /// [`HugePolicy::Madvise`].
    pub fn set_huge_policy(&self, policy: HugePolicy) {
        self.huge_policy.0.store(policy as u8, Ordering::Relaxed);
    }

    /// The size of what maps an address, as a power of two: a page or a huge page.
    pub fn mapping_shift(&self, space: &AddressSpace, address: VirtualAddress) -> u32 {
        if address.page() >= crate::table::pages_end::<M>() {
            return PAGE_SHIFT;
        }
        let inner = space.0.inner.lock();
        let (pages, _) = inner.table.lookup(&self.machine, address.page());
        PAGE_SHIFT + pages.pages().trailing_zeros()
    }

    /// Splits the huge page that a frame is in, if it is in one
    /// (`/sys/kernel/debug/split_huge_pages`). Nobody notices.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory for the tables. `EBUSY`: it is being filled. `EINVAL`: it is one
    /// of the pool. It stays huge.
    pub fn split(&self, pfn: Pfn) -> Result<(), Errno> {
        let _one = self.failures.lock();
        if self.frames.find(pfn).is_some() && self.frames.lock_known(pfn).is_pooled() {
            return Err(Errno::EINVAL);
        }
        self.split_locked(pfn)
    }

    /// The same, for a caller who keeps errors one at a time.
    pub(crate) fn split_locked(&self, pfn: Pfn) -> Result<(), Errno> {
        let Some(page) = self.frames.get_piece(pfn) else {
            return Ok(());
        };
        let result = self.split_held(&page);
        self.frames.put(page);
        result.map(|_| ())
    }

    /// Splits a huge page of which the caller holds a piece. Returns how many pieces nobody needed
    /// any more.
    pub(crate) fn split_held(&self, page: &UserFrame) -> Result<usize, Errno> {
        let count = {
            let mut head = self.frames.lock(page);
            if head.migrating || head.is_damaged() {
                return Err(Errno::EBUSY);
            }
            // From here on it gains no mapper.
            head.migrating = true;
            head.mappers.len()
        };
        let head = self.frames.head_of(page.pfn());
        let parts = self.reserve_parts(page, count).inspect_err(|_| {
            self.frames.lock_known(head).migrating = false;
        })?;
        self.freeze(page);
        Ok(self.divide(page, head, parts))
    }

    /// All that splitting needs, so that it cannot fail later.
    fn reserve_parts(&self, page: &UserFrame, count: usize) -> Result<Parts, Errno> {
        let mut parts = Parts {
            mappers: Vec::new(),
            tables: Vec::new(),
        };
        self.permit().redeem()?;
        parts
            .mappers
            .try_reserve_exact(count)
            .map_err(|_| Errno::ENOMEM)?;
        self.permit().redeem()?;
        parts
            .tables
            .try_reserve_exact(count)
            .map_err(|_| Errno::ENOMEM)?;
        self.frames.reserve_split(page, count, || self.permit())?;
        for _ in 0..count {
            match self.frames.allocate_table(&self.machine) {
                Ok(table) => parts.tables.push(table),
                Err(error) => {
                    self.frames.unreserve_split(page);
                    parts.free(self);
                    return Err(error);
                }
            }
        }
        Ok(parts)
    }

    /// Makes frames of the pieces, and puts a table in the place of each frozen block.
    fn divide(&self, page: &UserFrame, head: Pfn, mut parts: Parts) -> usize {
        // It has been losing mappers until it was frozen, but does not any more.
        parts
            .mappers
            .extend(self.frames.lock(page).mappers.as_slice());
        let freed = self.frames.split(page);
        let frozen = Entry::Migration(head);
        for mapper in core::mem::take(&mut parts.mappers) {
            let Some(table) = parts.tables.pop() else {
                break;
            };
            if let Err(table) = self.link_one(mapper, frozen, table) {
                // It was unmapped meanwhile.
                self.frames.free_table(table);
                for piece in 0..self.frames.pieces() {
                    let frame = UserFrame::of_entry(Pfn(head.0 + piece));
                    self.end_mapping(mapper.offset(piece), frame);
                }
            }
        }
        parts.free(self);
        freed
    }

    fn link_one(
        &self,
        mapper: Mapper,
        frozen: Entry,
        table: KernelFrame,
    ) -> Result<(), KernelFrame> {
        let Some(space) = self.find_space(mapper.space()) else {
            return Err(table);
        };
        let inner = space.inner.lock();
        // A space that ends has no areas, and soon no tables.
        let (Some(area), Entry::Migration(head)) = (inner.vmas.find(mapper.page()), frozen) else {
            return Err(table);
        };
        // Stores come back by a fault.
        let protection = area.protection.read_only();
        inner
            .table
            .divide(&self.machine, mapper.page(), frozen, table, |piece| {
                Entry::Page(Pfn(head.0 + piece), protection)
            })
    }

    /// Locks a space in which no block crosses the ends of `pages`: what does is split.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: it could not be split. `EINVAL`: it is in an area that has huge pages of the pool,
    /// and must not be.
    pub(crate) fn lock_apart<'a>(
        &self,
        space: &'a AddressSpace,
        pages: PageRange,
    ) -> Result<MutexGuard<'a, Inner>, Errno> {
        loop {
            let inner = space.0.inner.lock();
            let pooled = |page| self.pooled_block_across(&inner, page).is_some();
            if pooled(pages.start()) || pooled(pages.end()) {
                return Err(Errno::EINVAL);
            }
            let across = |page| inner.table.block_across(&self.machine, page);
            let Some((block, entry)) = across(pages.start()).or_else(|| across(pages.end())) else {
                return Ok(inner);
            };
            match entry {
                Entry::Page(pfn, _) => {
                    drop(inner);
                    match self.split(pfn) {
                        Ok(()) | Err(Errno::EBUSY) => {}
                        Err(error) => return Err(error),
                    }
                }
                Entry::HwPoison(_) => {
                    let table = self.frames.allocate_table(&self.machine)?;
                    let divided =
                        inner
                            .table
                            .divide(&self.machine, block.start(), entry, table, |_| entry);
                    debug_assert!(divided.is_ok(), "the space is locked");
                }
                Entry::Migration(_)
                | Entry::Empty
                | Entry::Reserved
                | Entry::Taken
                | Entry::Swap(_) => {
                    drop(inner);
                    relax();
                }
            }
        }
    }
}

/// What takes the place of a huge page and its blocks.
struct Parts {
    mappers: Vec<Mapper>,
    tables: Vec<KernelFrame>,
}

impl Parts {
    /// Gives back the tables that were not needed.
    fn free<M: Machine>(self, memory: &Memory<M>) {
        for table in self.tables {
            memory.frames.free_table(table);
        }
    }
}
