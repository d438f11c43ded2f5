//! Mappings of huge pages: where they may be, and what is reserved for them.

use crate::memory::Inner;
use crate::unmap::Gather;
use crate::vma::{Backing, Vma};
use crate::{
    AddressSpace, Entry, Errno, FileKind, Machine, Memory, PageRange, Sharing, Source, SpaceId,
    VirtualPage,
};

impl Source<'_> {
    /// Whether a mapping of it has huge pages of the pool.
    pub(crate) fn is_pooled(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Hugetlb => true,
            Self::File(file, _) => file.kind() == FileKind::Hugetlb,
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Whether a page is at the start of a block.
    fn is_at_block(page: VirtualPage) -> bool {
        page.0.is_multiple_of(1 << M::INDEX_BITS)
    }

    /// The pages of a mapping: whole blocks, if they come from the pool. Only memory without a
    /// file is rounded up.
    pub(crate) fn whole_blocks(
        &self,
        source: Source<'_>,
        pages: PageRange,
    ) -> Result<PageRange, Errno> {
        let end = match source {
            Source::Anonymous => return Ok(pages),
            Source::Hugetlb => pages.end().0.next_multiple_of(1 << M::INDEX_BITS),
            Source::File(file, _) if file.kind() != FileKind::Hugetlb => return Ok(pages),
            Source::File(_, offset) => {
                let offset = offset >> crate::PAGE_SHIFT;
                if !Self::is_at_block(VirtualPage(offset)) {
                    return Err(Errno::EINVAL);
                }
                pages.end().0
            }
        };
        let end = VirtualPage(end);
        if !Self::is_at_block(pages.start()) || !Self::is_at_block(end) {
            return Err(Errno::EINVAL);
        }
        PageRange::new(pages.start(), end)
            .filter(|pages| pages.end() <= crate::table::pages_end::<M>())
            .ok_or(Errno::ENOMEM)
    }

    /// The block of huge pages only that `page` is inside of, but not the first of.
    pub(crate) fn pooled_block_across(
        &self,
        inner: &Inner,
        page: VirtualPage,
    ) -> Option<PageRange> {
        if Self::is_at_block(page) || !inner.vmas.find(page).is_some_and(Vma::is_pooled) {
            return None;
        }
        Some(PageRange::block(page, M::INDEX_BITS))
    }

    /// The pages of a range but for a part of a huge page of the pool at its end.
    pub(crate) fn whole_blocks_of(
        &self,
        space: &AddressSpace,
        pages: PageRange,
    ) -> Option<PageRange> {
        let inner = space.0.inner.lock();
        match self.pooled_block_across(&inner, pages.end()) {
            Some(block) => PageRange::new(pages.start(), block.start()),
            None => Some(pages),
        }
    }

    /// The pages of a range, and all of the huge pages of the pool that cross its ends.
    pub(crate) fn with_whole_blocks(&self, space: &AddressSpace, pages: PageRange) -> PageRange {
        let inner = space.0.inner.lock();
        let across = |page| self.pooled_block_across(&inner, page);
        [pages.start(), pages.end()]
            .into_iter()
            .filter_map(across)
            .fold(pages, PageRange::hull)
    }

    /// Gets the pool what a mapping needs and it has not. No lock is held. If others are faster,
    /// or there is no memory, the reservation fails.
    pub(crate) fn prepare_pool(&self, backing: &Backing, sharing: Sharing, pages: PageRange) {
        if !backing.is_pooled() {
            return;
        }
        let count = pages.pages() >> M::INDEX_BITS;
        let needed = match (backing, sharing) {
            (Backing::File(file, first), Sharing::Shared) => {
                file.absent_blocks(*first, count as u32, M::INDEX_BITS)
            }
            _ => count,
        };
        while self.frames.pool().available() < needed && self.add_surplus().is_ok() {}
    }

    /// Reserves what a mapping needs. The last that can fail.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing is reserved.
    pub(crate) fn reserve_blocks(
        &self,
        inner: &Inner,
        backing: &Backing,
        sharing: Sharing,
        pages: PageRange,
    ) -> Result<(), Errno> {
        if !backing.is_pooled() {
            return Ok(());
        }
        let count = pages.pages() >> M::INDEX_BITS;
        if let (Backing::File(file, first), Sharing::Shared) = (backing, sharing) {
            return self.reserve_slots(file, *first, count as u32);
        }
        for block in blocks::<M>(pages) {
            let (machine, frames) = (&self.machine, &self.frames);
            inner.table.prepare_for(machine, frames, block)?;
        }
        match self.frames.pool().reserve(count) {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }

    /// Stores the reservations of a new private mapping where its huge pages will come.
    pub(crate) fn mark_reserved(&self, space: SpaceId, inner: &Inner, pages: PageRange) {
        let mut gather = Gather::new(self, space);
        self.zap_tables(&mut gather, inner, pages);
        gather.finish();
        for block in blocks::<M>(pages) {
            inner.table.mark(&self.machine, block, Entry::Reserved);
        }
    }
}

/// The blocks that make up `pages`.
fn blocks<M: Machine>(pages: PageRange) -> impl Iterator<Item = PageRange> {
    (pages.start().0..pages.end().0)
        .step_by(1 << M::INDEX_BITS)
        .map(|page| PageRange::block(VirtualPage(page), M::INDEX_BITS))
}
