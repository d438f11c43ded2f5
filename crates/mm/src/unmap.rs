//! Unmapping ranges: entries first, then the translation caches, then the frames.

use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::table::Unmapped;
use crate::vma::Backing;
use crate::{Entry, Machine, Memory, PageRange, SpaceId};

const BATCH: usize = 32;

/// Unmapped pages that share one invalidation. Their frames stay mapped, as far as the reverse
/// map is concerned, until that is done.
///
/// The only ways from an unmapped page to a frame that can be freed go through an invalidation:
///
/// ```compile_fail,E0603
/// use mm::table::Unmapped;
/// ```
pub(crate) struct Gather<'m, M: Machine> {
    memory: &'m Memory<M>,
    space: SpaceId,
    pages: [Option<Unmapped>; BATCH],
    count: usize,
    range: Option<PageRange>,
}

impl<'m, M: Machine> Gather<'m, M> {
    pub(crate) fn new(memory: &'m Memory<M>, space: SpaceId) -> Self {
        Self {
            memory,
            space,
            pages: [const { None }; BATCH],
            count: 0,
            range: None,
        }
    }

    pub(crate) fn add(&mut self, unmapped: Unmapped) {
        let page = PageRange::single(unmapped.page());
        self.range = Some(self.range.map_or(page, |range| range.hull(page)));
        self.pages[self.count] = Some(unmapped);
        self.count += 1;
        if self.count == BATCH {
            self.flush();
        }
    }

    /// Invalidates, and gives the frames back.
    pub(crate) fn finish(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        let Some(range) = self.range.take() else {
            return;
        };
        self.memory.machine.invalidate(self.space, range);
        for unmapped in self.pages[..self.count].iter_mut().filter_map(Option::take) {
            let (page, frame) = unmapped.flushed_with(range);
            self.memory
                .end_mapping(Mapper::new(self.space, page), frame);
        }
        self.count = 0;
    }
}

impl<M: Machine> Memory<M> {
    /// Replaces one mapping by `left`, and removes every translation of it.
    pub(crate) fn unmap_one(&self, inner: &Inner, mapper: Mapper, left: Entry) {
        if let Some(unmapped) = inner.table.unmap(&self.machine, mapper.page(), left) {
            let frame = unmapped.flush(&self.machine);
            self.end_mapping(mapper, frame);
        }
    }

    /// Empties all entries in `pages`.
    pub(crate) fn zap(&self, space: SpaceId, inner: &Inner, pages: PageRange) {
        let mut gather = Gather::new(self, space);
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let Some((page, _)) = inner.table.next(&self.machine, range) else {
                break;
            };
            if let Some(unmapped) = inner.table.unmap(&self.machine, page, Entry::Empty) {
                gather.add(unmapped);
            }
            rest = PageRange::new(page.next(), pages.end());
        }
        gather.finish();
    }

    /// Unmaps `pages`, of which no area crosses the ends.
    pub(crate) fn unmap_areas(&self, space: SpaceId, inner: &mut Inner, pages: PageRange) {
        while let Some(vma) = inner.vmas.remove_in(pages) {
            self.zap(space, inner, vma.pages);
            if let Backing::File(file, _) = vma.backing {
                self.close(file);
            }
        }
    }

    /// Unmaps the whole space.
    pub(crate) fn unmap_all(&self, space: SpaceId, inner: &mut Inner) {
        self.unmap_areas(space, inner, PageRange::ALL);
    }
}
