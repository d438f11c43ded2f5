//! `mremap`: mappings that grow, shrink and move, with their pages.
//!
//! A move touches only entries that exist. Everything that can fail comes first: splits, room for
//! the new area, tables for the entries. A page keeps its frame; its mapper changes its address
//! while the space is locked, so that whoever looks for the mappers of a frame finds it before or
//! after the move.

use crate::calls::user_range;
use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::table::Stale;
use crate::unmap::Gather;
use crate::vma::Vma;
use crate::{
    AddressSpace, Entry, Errno, Locking, Machine, Memory, PAGE_SIZE, PageRange, Sharing, SpaceId,
    VirtualAddress, VirtualPage,
};

/// Where a mapping may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// It stays.
    Stay,
    /// Anywhere, if it cannot grow where it is (`MREMAP_MAYMOVE`).
    Anywhere,
    /// Exactly there, instead of what is mapped there (`MREMAP_MAYMOVE | MREMAP_FIXED`).
    Fixed(VirtualAddress),
}

impl<M: Machine> Memory<M> {
    /// Gives a mapping of `old_length` bytes at `old` a new length and perhaps a new place, which
    /// it returns. Lengths are rounded up to pages. With `keep` the old range stays mapped, but
    /// its pages are gone (`MREMAP_DONTUNMAP`). An old length of zero maps the pages of a shared
    /// mapping a second time.
    ///
    /// # Errors
    ///
    /// `EINVAL`: unaligned; the new length is zero; the ranges overlap; `keep` with a mapping
    /// that stays or whose length changes; an old length of zero for a private mapping; the
    /// file's pages have no number. `EFAULT`: the old range is not one mapping. `ENOMEM`: it
    /// cannot grow where it is, there is no room, or no memory. Nothing has changed.
    pub fn mremap(
        &self,
        space: &AddressSpace,
        old: VirtualAddress,
        old_length: u64,
        new_length: u64,
        destination: Destination,
        keep: bool,
    ) -> Result<VirtualAddress, Errno> {
        let start = self.with_reclaim(|| {
            self.try_mremap(space, old, old_length, new_length, destination, keep)
        })?;
        let end = |length: u64| VirtualPage(start.page().0 + length.div_ceil(PAGE_SIZE as u64));
        if let Some(added) = PageRange::new(end(old_length), end(new_length)) {
            // Whatever cannot be brought in, a fault will say of.
            let _ = self.populate_locked(space, added);
        }
        Ok(start)
    }

    fn try_mremap(
        &self,
        space: &AddressSpace,
        old: VirtualAddress,
        old_length: u64,
        new_length: u64,
        destination: Destination,
        keep: bool,
    ) -> Result<VirtualAddress, Errno> {
        let pages = |length: u64| length.div_ceil(PAGE_SIZE as u64);
        let old_pages = pages(old_length);
        let stays = destination == Destination::Stay;
        let remap = Remap {
            start: old.page(),
            old_pages,
            new_pages: pages(new_length),
            to: fixed_range::<M>(destination, new_length),
            may_move: !stays,
            keep,
        };
        let keeps_size = old_pages == remap.new_pages;
        if !old.is_aligned() || remap.new_pages == 0 || keep && (stays || !keeps_size) {
            return Err(Errno::EINVAL);
        }
        loop {
            match self.remap_step(space, &remap) {
                Ok(start) => return Ok(start.address()),
                Err(Stops::Error(error)) => return Err(error),
                Err(Stops::Moving) => crate::lock::relax(),
                Err(Stops::Block(block)) => {
                    // A range that ends in the middle of the block.
                    if let Some(part) = PageRange::new(block.start().next(), block.end()) {
                        drop(self.lock_apart(space, part)?);
                    }
                }
            }
        }
    }

    /// Does it, or says what block is in the way. Blocks do not move as they are: where they go
    /// they might not be aligned, or find a table.
    fn remap_step(&self, space: &AddressSpace, remap: &Remap) -> Result<VirtualPage, Stops> {
        let fixed = remap.to?;
        let mut inner = space.0.inner.lock();
        let vma = inner.vmas.find(remap.start).ok_or(Errno::EFAULT)?;
        remap.check(vma)?;
        let pooled = vma.is_pooled();
        if pooled {
            remap.check_pooled(self.frames.pieces())?;
        }
        let old_end = VirtualPage(remap.start.0 + remap.old_pages);
        // Even an empty range must not lie in the middle of what goes.
        if fixed.is_some_and(|to| to.start() < old_end && remap.start < to.end()) {
            return Err(Errno::EINVAL.into());
        }
        let old = PageRange::new(remap.start, old_end);
        if fixed.is_none() && !remap.keep {
            if remap.new_pages <= remap.old_pages {
                return self.shrink(space.id(), &mut inner, remap);
            }
            if inner.vmas.grow(old, remap.new_pages) {
                return Ok(remap.start);
            }
        }
        let to = match fixed {
            Some(to) => to,
            None if !remap.may_move => return Err(Errno::ENOMEM.into()),
            None => {
                let align = if pooled { self.frames.pieces() } else { 1 };
                let room = inner.vmas.find_room(remap.new_pages, align);
                room.ok_or(Errno::ENOMEM)?
            }
        };
        self.check_ends(&inner, to)?;
        let within = match pooled {
            true => self.moving_block(&inner, old)?,
            false => old.and_then(|old| inner.table.next_block(&self.machine, old)),
        };
        let across = |page| inner.table.block_across(&self.machine, page);
        let ends = || across(to.start()).or_else(|| across(to.end()));
        if let Some(block) = within.or_else(|| ends().map(|(block, _)| block)) {
            return Err(Stops::Block(block));
        }
        let moved = self.move_area(space.id(), &mut inner, remap, old, to);
        for pages in old.into_iter().chain([to]) {
            inner.vmas.merge(pages);
            // Those that were prepared in vain, or are not needed any more.
            let mut gather = Gather::new(self, space.id());
            self.zap_tables(&mut gather, &inner, pages);
            gather.finish();
        }
        moved?;
        Ok(to.start())
    }

    /// Whether a range ends where nothing must be split that cannot be.
    fn check_ends(&self, inner: &Inner, pages: PageRange) -> Result<(), Errno> {
        let across = |page| self.pooled_block_across(inner, page).is_some();
        if across(pages.start()) || across(pages.end()) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Blocks of the pool's huge pages move as they are, but not while someone else moves them.
    fn moving_block(
        &self,
        inner: &Inner,
        pages: Option<PageRange>,
    ) -> Result<Option<PageRange>, Stops> {
        let mut rest = pages;
        while let Some(range) = rest
            && let Some(block) = inner.table.next_block(&self.machine, range)
        {
            let (_, entry) = inner.table.lookup(&self.machine, block.start());
            if matches!(entry, Entry::Migration(_)) {
                return Err(Stops::Moving);
            }
            rest = PageRange::new(block.end(), range.end());
        }
        Ok(None)
    }

    fn shrink(
        &self,
        space: SpaceId,
        inner: &mut Inner,
        remap: &Remap,
    ) -> Result<VirtualPage, Stops> {
        let kept = VirtualPage(remap.start.0 + remap.new_pages);
        let end = VirtualPage(remap.start.0 + remap.old_pages);
        if let Some(tail) = PageRange::new(kept, end) {
            self.check_ends(inner, tail)?;
        }
        let across = |page| inner.table.block_across(&self.machine, page);
        if let Some((block, _)) = across(kept).or_else(|| across(end)) {
            return Err(Stops::Block(block));
        }
        if let Some(tail) = PageRange::new(kept, end) {
            self.split_at_ends(inner, tail)?;
            self.unmap_areas(space, inner, tail);
        }
        Ok(remap.start)
    }

    /// Moves an area with its pages. The areas at both places are left to be merged.
    fn move_area(
        &self,
        space: SpaceId,
        inner: &mut Inner,
        remap: &Remap,
        old: Option<PageRange>,
        to: PageRange,
    ) -> Result<(), Errno> {
        if let Some(old) = old {
            self.split_at_ends(inner, old)?;
            self.prepare_entries(inner, old, to)?;
        }
        self.split_at_ends(inner, to)?;
        inner.vmas.reserve(self.permit())?;
        let vma = inner.vmas.find(remap.start).ok_or(Errno::EFAULT)?;
        let moved = vma.moved(remap.start, to);
        // Nothing can fail any more. The tables at the new place are prepared, so they stay.
        let mut gather = Gather::new(self, space);
        self.remove_areas(&mut gather, inner, to);
        gather.finish();
        if let Some(old) = old {
            if let Some(stale) = self.move_entries(space, inner, old, to) {
                stale.flush(&self.machine);
            }
            if remap.keep {
                inner
                    .vmas
                    .change(old, |vma| vma.locking = Locking::Unlocked);
            } else {
                self.unmap_areas(space, inner, old);
            }
        }
        inner.vmas.insert_reserved(moved);
        Ok(())
    }

    /// Makes sure that the entries of `old` that fit can be stored in `to`.
    fn prepare_entries(&self, inner: &Inner, old: PageRange, to: PageRange) -> Result<(), Errno> {
        let mut rest = old.first(to.pages());
        while let Some((found, _)) = rest.and_then(|range| inner.table.next(&self.machine, range)) {
            let page = found.start();
            let target = shifted(page, old, to);
            let pages = moved_entry(found, target);
            inner
                .table
                .prepare_for(&self.machine, &self.frames, pages)?;
            rest = rest.and_then(|range| PageRange::new(found.end(), range.end()));
        }
        Ok(())
    }

    fn move_entries(
        &self,
        space: SpaceId,
        inner: &Inner,
        old: PageRange,
        to: PageRange,
    ) -> Option<Stale> {
        let mut all: Option<Stale> = None;
        let mut rest = old.first(to.pages());
        while let Some((found, entry)) =
            rest.and_then(|range| inner.table.next(&self.machine, range))
        {
            let page = found.start();
            let target = shifted(page, old, to);
            if found.pages() > 1
                && let Some(empty) = inner.table.detach_empty(&self.machine, target)
            {
                let loose = empty.flush(&self.machine);
                self.frames.free_table(loose.into_table());
            }
            let to_pages = moved_entry(found, target);
            if let Some(stale) = inner.table.relocate(&self.machine, page, to_pages) {
                all = Some(stale.and(all));
            }
            if let Entry::Page(pfn, _) | Entry::Migration(pfn) = entry {
                let (was, is) = (Mapper::new(space, page), Mapper::new(space, target));
                self.frames.lock_known(pfn).mappers.replace(was, is);
            }
            rest = rest.and_then(|range| PageRange::new(found.end(), range.end()));
        }
        all
    }
}

/// What is asked for.
struct Remap {
    start: VirtualPage,
    old_pages: u64,
    new_pages: u64,
    /// The destination, if it was chosen.
    to: Result<Option<PageRange>, Errno>,
    may_move: bool,
    keep: bool,
}

impl Remap {
    /// Whether the old range is a part of an area, and the area can have the new pages.
    fn check(&self, vma: &Vma) -> Result<(), Errno> {
        if self.old_pages == 0 && vma.sharing == Sharing::Private {
            return Err(Errno::EINVAL);
        }
        if self.old_pages > vma.pages.end().0 - self.start.0 {
            return Err(Errno::EFAULT);
        }
        match vma.file_page(self.start) {
            Some((_, index)) if u64::from(index) + self.new_pages > u64::from(u32::MAX) => {
                Err(Errno::EINVAL)
            }
            _ => Ok(()),
        }
    }
}

impl Remap {
    /// Whether a mapping of huge pages of the pool, of so many pieces each, can be changed so: they
    /// move whole, and no more are reserved.
    fn check_pooled(&self, pieces: u64) -> Result<(), Errno> {
        let to = self.to?.map_or(0, |to| to.start().0);
        let whole = [self.start.0, self.old_pages, self.new_pages, to]
            .into_iter()
            .all(|pages| pages.is_multiple_of(pieces));
        if !whole || self.keep || self.old_pages == 0 || self.new_pages > self.old_pages {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// Why a step ended early.
enum Stops {
    Error(Errno),
    /// This block must be split first, for which the space must not be locked.
    Block(PageRange),
    /// A block that must move as it is is being split or moved by someone else.
    Moving,
}

impl From<Errno> for Stops {
    fn from(error: Errno) -> Self {
        Self::Error(error)
    }
}

/// The destination, if it was chosen.
fn fixed_range<M: Machine>(
    destination: Destination,
    length: u64,
) -> Result<Option<PageRange>, Errno> {
    match destination {
        Destination::Fixed(start) => match user_range::<M>(start, length) {
            Ok(range) => Ok(Some(range)),
            Err(_) => Err(Errno::EINVAL),
        },
        Destination::Stay | Destination::Anywhere => Ok(None),
    }
}

/// The pages that an entry for `found` stands for when it is at `target`.
fn moved_entry(found: PageRange, target: VirtualPage) -> PageRange {
    PageRange::block(target, found.pages().trailing_zeros())
}

/// Where `page` of `from` goes if the range starts at `to`.
fn shifted(page: VirtualPage, from: PageRange, to: PageRange) -> VirtualPage {
    VirtualPage(to.start().0 + (page.0 - from.start().0))
}
